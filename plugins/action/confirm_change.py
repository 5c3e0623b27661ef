# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Drop the persistent connection, connect anew, run the module of the same name (its documentation is there)."""

from __future__ import annotations

import time
from typing import Any

from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

display = Display()
PAUSE = 4.0  # sshd punishes those who try too often


class ActionModule(ActionBase):
    """``confirm_change``."""

    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        arguments = dict(self._task.args)
        changes = [change for change in arguments.get("changes") or [] if change]
        if not changes:
            return {**result, "changed": False, "confirmed": [], "reverted": []}
        arguments["changes"] = changes
        deadline = time.monotonic() + int(arguments.get("wait") or 90)
        lost = None
        while True:
            try:
                self._reset()
                answer = self._execute_module(
                    module_name="homelab.mediaserver.confirm_change", module_args=arguments, task_vars=task_vars
                )
            except AnsibleConnectionFailure as error:
                lost, answer = str(error), {"unreachable": True}
            if not answer.get("unreachable"):
                return {**result, **answer}
            lost = answer.get("msg", lost)
            names = ", ".join(str(change.get("name")) for change in changes)
            if time.monotonic() > deadline:
                return {
                    **result,
                    "failed": True,
                    "msg": f"Unable to confirm the change of {names}: no new connection ({lost}). If the change caused"
                    " that, the host puts it back by itself.",
                }
            display.warning(f"No new connection after the change of {names} yet; trying on, the host will undo it")
            time.sleep(PAUSE)

    def _reset(self) -> None:
        """Close the shared connection, so that the next command really connects."""
        reset = getattr(self._connection, "reset", None)
        if reset is not None:
            reset()
