# Copyright (c) 2026 The homelab.mediaserver authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt)
"""The one way a module of this collection changes something.

A module reads the current state once, computes a :class:`Plan` with a pure function and hands it to :func:`run`.
``changed`` is "the plan has steps", the diff is the plan's ``before`` and ``after``, and this file is the only place
that looks at check mode, so idempotence, check mode and diff are the same for every module.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ansible.module_utils.basic import AnsibleModule


class Failure(Exception):
    """A problem with a message for the user: "Unable to <verb> <object> <id>: <the system's text>".

    ``details`` becomes the structured ``failure`` of the module's result; it must hold no secret.
    """

    def __init__(self, message: str, **details: Any) -> None:
        super().__init__(message)
        self.message = message
        self.details = details


@dataclass(frozen=True)
class Step:
    """One write. ``describe`` is shown to the user ("create dataset tank/media"), ``apply`` does it."""

    describe: str
    apply: Callable[[], Any]


@dataclass(frozen=True)
class Plan:
    """What to do, without having done anything: states before and after (free of secrets) and the writes between."""

    before: Any
    after: Any
    steps: tuple[Step, ...] = ()
    warnings: tuple[str, ...] = ()
    result: dict[str, Any] = field(default_factory=dict)


def run(
    module: AnsibleModule,
    plan: Plan,
    read_back: Callable[[], dict[str, Any]] | None = None,
) -> dict[str, Any]:
    """Apply ``plan`` unless in check mode and return the module's result.

    ``read_back`` is called after the writes (and in a run without changes) and returns further result keys.
    Raises whatever a step raises; a failed step names itself in :class:`Failure` details as ``step``, with the steps
    ``done`` before it, because what was done stays done and the next run goes on from there.
    """
    result: dict[str, Any] = {
        "changed": bool(plan.steps),
        "diff": {"before": plan.before, "after": plan.after},
        "steps": [step.describe for step in plan.steps],
        **plan.result,
    }
    for warning in plan.warnings:
        module.warn(warning)
    if not module.check_mode:
        done: list[str] = []
        for step in plan.steps:
            try:
                step.apply()
            except Failure as failure:
                failure.details.setdefault("step", step.describe)
                failure.details.setdefault("done", done)
                raise
            done.append(step.describe)
    if read_back is not None and (not plan.steps or not module.check_mode):
        result.update(read_back())
    return result


def main(module: AnsibleModule, work: Callable[[AnsibleModule], dict[str, Any]]) -> None:
    """Run ``work`` and end the module: the only caller of exit_json and fail_json besides AnsibleModule itself."""
    try:
        result = work(module)
    except Failure as failure:
        module.fail_json(msg=failure.message, failure=failure.details)
    else:
        module.exit_json(**result)
