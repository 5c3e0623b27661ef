#!/usr/bin/python
# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: units
short_description: Keep systemd units enabled and running with the files that are on disk
version_added: 0.1.0
description:
  - Takes the whole list and asks systemd once.
  - A unit whose own conditions keep it from this machine (as the clock's in a container) is left alone.
  - A unit is restarted when it was started before one of its files was last written. As that follows from the host's
    state, the next run makes up for one that was killed between writing and restarting.
author: The homelab.mediaserver authors (@homelab)
attributes:
  check_mode:
    support: full
    description: Reads only and says what it would do. A unit that is not there yet counts as stopped.
  diff_mode:
    support: full
    description: The state of each unit before and after.
options:
  units:
    description: The units.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: The name with its suffix.
        type: str
        required: true
      files:
        description: Files and directories that the unit reads when it starts. Those that do not exist do not count.
        type: list
        elements: path
        default: []
      enabled:
        description: Whether it starts at boot. Unset leaves it alone; static units are always left alone.
        type: bool
      reload:
        description: Reload instead of restart.
        type: bool
        default: false
"""

EXAMPLES = r"""
- name: Keep the journal with its limits
  homelab.mediaserver.units:
    units:
      - {name: systemd-journald.service, files: [/etc/systemd/journald.conf.d/10-mediaserver.conf]}
"""

RETURN = r"""
steps:
  description: What was done or, in check mode, would be.
  returned: always
  type: list
  elements: str
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.homelab.mediaserver.plugins.module_utils import _command
from ansible_collections.homelab.mediaserver.plugins.module_utils._deadman import Run, checked
from ansible_collections.homelab.mediaserver.plugins.module_utils._reconcile import Failure, Plan, Step, main, run

STAMP = "/run/mediaserver/reloaded"
PROPERTIES = (
    "Id,ActiveState,UnitFileState,InactiveExitTimestamp,NeedDaemonReload,ConditionResult,ConditionTimestampMonotonic"
)
ASPIRED = {"running": True, "with_present_files": True}
UNIT = {
    "name": {"type": "str", "required": True},
    "files": {"type": "list", "elements": "path", "default": []},
    "enabled": {"type": "bool"},
    "reload": {"type": "bool", "default": False},
}
SPEC = {"units": {"type": "list", "elements": "dict", "required": True, "options": UNIT}}


def parse_show(text: str) -> list[dict[str, str]]:
    """``systemctl show``: one block per unit, in the order asked."""
    return [dict(line.split("=", 1) for line in block.splitlines() if "=" in line) for block in text.split("\n\n")]


def parse_time(text: str) -> float:
    """``Sat 2026-11-21 09:03:47.123456 UTC`` in seconds; 0 when the unit never started."""
    parts = text.split()
    if len(parts) != 4:
        return 0.0
    form = "%Y-%m-%d %H:%M:%S.%f" if "." in parts[2] else "%Y-%m-%d %H:%M:%S"
    return datetime.strptime(f"{parts[1]} {parts[2]}", form).replace(tzinfo=UTC).timestamp()


def newest(paths: Sequence[str]) -> float:
    """When something below these paths was last written (or renamed into its place, which only ctime tells)."""
    found = 0.0
    for top in map(Path, paths):
        members = [top, *top.rglob("*")] if top.is_dir() else [top] if top.exists() else []
        found = max([found, *(member.stat().st_ctime for member in members)])
    return found


def plan(
    units: Sequence[dict[str, Any]],
    shown: Sequence[dict[str, str]],
    written: Callable[[dict[str, Any]], float],
    started: Callable[[dict[str, Any], dict[str, str]], float],
    do: Callable[..., Callable[[], Any]],
) -> Plan:
    """``do(action, unit)`` makes a write."""
    steps: list[Step] = []
    before: dict[str, Any] = {}
    after: dict[str, Any] = {}
    if any(state.get("NeedDaemonReload") == "yes" for state in shown):
        steps.append(Step("let systemd read changed units", do("daemon-reload", None)))
    for unit, state in zip(units, shown, strict=True):
        name = unit["name"]
        running, boot = state.get("ActiveState") in ("active", "reloading"), state.get("UnitFileState", "")
        # its conditions were judged and say that it is not for this machine (the clock of a container)
        unfit = state.get("ConditionResult") == "no" and state.get("ConditionTimestampMonotonic", "0") != "0"
        wrong_boot = (
            unit["enabled"] is not None
            and boot not in ("static", "generated", "alias", "indirect")
            and ((boot == "enabled") != unit["enabled"])
        )
        old = running and written(unit) > started(unit, state)
        before[name] = {"running": running, "with_present_files": running and not old, "boot": boot}
        after[name] = before[name] if unfit and not running else {**ASPIRED, "boot": boot}
        if wrong_boot:
            action = "enable" if unit["enabled"] else "disable"
            after[name] = {**after[name], "boot": f"{action}d"}
            steps.append(Step(f"{action} {name}", do(action, unit)))
        if old or not (running or unfit):
            action = "start" if not running else "reload" if unit["reload"] else "restart"
            steps.append(Step(f"{action} {name}", do(action, unit)))
    return Plan(before, after, tuple(steps))


def work(module: AnsibleModule) -> dict[str, Any]:
    units = module.params["units"]
    names = [unit["name"] for unit in units]
    argv = ["systemctl", "show", f"--property={PROPERTIES}", "--timestamp=us+utc", *names]
    shown = parse_show(checked(_command.run, argv, "ask systemd")) if names else []
    if len(shown) != len(units):
        raise Failure(f"Unable to ask systemd for {', '.join(names)}: it answered {len(shown)} times")

    def started(unit: dict[str, Any], state: dict[str, str]) -> float:
        stamp = Path(STAMP) / unit["name"]
        reloaded = stamp.stat().st_mtime if unit["reload"] and stamp.exists() else 0.0
        return max(parse_time(state.get("InactiveExitTimestamp", "")), reloaded)

    return run(module, plan(units, shown, lambda unit: newest(unit["files"]), started, writes(_command.run)))


def writes(execute: Run) -> Callable[..., Callable[[], Any]]:
    def do(action: str, unit: dict[str, Any] | None) -> Callable[[], Any]:
        def apply() -> None:
            name = [unit["name"]] if unit else []
            stamp = Path(STAMP) / unit["name"] if unit and action == "reload" else None
            if stamp:  # the time before the reload: what is written during it counts as not read
                stamp.parent.mkdir(parents=True, exist_ok=True)
                stamp.with_name(f".{stamp.name}").touch()
            checked(execute, ["systemctl", action, *name], f"{action} {' '.join(name)}".strip())
            if stamp:
                stamp.with_name(f".{stamp.name}").rename(stamp)

        return apply

    return do


if __name__ == "__main__":
    main(AnsibleModule(argument_spec=SPEC, supports_check_mode=True), work)
