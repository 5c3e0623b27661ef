# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From the questions of a new environment and their answers to what its files say."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.homelab.mediaserver.plugins.plugin_utils import environment


def new_environment(
    questions: list[dict[str, Any]], system: str, answers: dict[str, Any] | None = None, name: str = ""
) -> Any:
    """Without ``answers`` the questions that the system has, with them what they change."""
    if answers is None:
        return environment.asked(questions, system)
    try:
        return dataclasses.asdict(environment.changes(questions, system, answers, name))
    except environment.AnswerError as error:
        raise AnsibleFilterError(str(error)) from None


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"new_environment": new_environment}
