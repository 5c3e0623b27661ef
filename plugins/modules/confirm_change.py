#!/usr/bin/python
# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: confirm_change
short_description: Prove over a new connection that a change has not locked us out, and keep it
version_added: 0.1.0
description:
  - M(homelab.mediaserver.ufw_rules), M(homelab.mediaserver.container_firewall) and
    M(homelab.mediaserver.sshd_settings) arm a revert before they change something.
  - This action drops the persistent connection, connects anew and disarms. When no new connection is possible the host
    puts everything back by itself; the action waits for that and then fails, naming the change.
  - With nothing armed it does nothing and needs no connection.
author: The homelab.mediaserver authors (@homelab)
attributes:
  check_mode:
    support: full
    description: Nothing is armed in check mode, so there is nothing to confirm.
  diff_mode:
    support: full
    description: The state of the changes before and after.
options:
  changes:
    description: What the modules returned as C(revert). Entries that are null are skipped.
    type: list
    elements: raw
    required: true
  wait:
    description: Seconds to try for a new connection. Longer than any C(revert_after), so that the return is seen.
    type: int
    default: 90
"""

EXAMPLES = r"""
- name: Set the firewall
  homelab.mediaserver.ufw_rules:
    rules: [{from: 192.168.1.0/24, port: "22", protocol: tcp}]
  register: firewall

- name: Prove that the host can still be reached
  homelab.mediaserver.confirm_change:
    changes: "{{ [firewall.revert] }}"
"""

RETURN = r"""
confirmed:
  description: The names of the changes that are kept.
  returned: always
  type: list
  elements: str
reverted:
  description: The names of the changes that went back.
  returned: always
  type: list
  elements: str
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.homelab.mediaserver.plugins.module_utils import _command
from ansible_collections.homelab.mediaserver.plugins.module_utils._deadman import Deadman
from ansible_collections.homelab.mediaserver.plugins.module_utils._reconcile import Failure, Plan, Step, main, run

SPEC = {
    "changes": {"type": "list", "elements": "raw", "required": True},
    "wait": {"type": "int", "default": 90},
}


def state_of(armed: str | None, reverted: str | None, change: str) -> str:
    """Where a change stands: ``armed``, ``reverted``, ``other`` (a later run has armed it) or ``done``."""
    if armed == change:
        return "armed"
    if reverted == change:
        return "reverted"
    return "other" if armed else "done"


def confirm(deadman: Deadman) -> None:
    if not deadman.confirm():
        raise Failure(f"Unable to confirm the change of {deadman.name}: the host was already putting it back")


def tidy(deadman: Deadman) -> None:
    deadman.wait_reverted()
    deadman.forget()


def plan(states: dict[str, str], deadmen: dict[str, Deadman]) -> Plan:
    def step(name: str) -> Step:
        if states[name] == "armed":
            return Step(f"keep the change of {name}", lambda: confirm(deadmen[name]))
        return Step(f"tidy up after the return of {name}", lambda: tidy(deadmen[name]))

    return Plan(
        before=states,
        after={name: "done" if state == "armed" else state for name, state in states.items()},
        steps=tuple(step(name) for name, state in states.items() if state in ("armed", "reverted")),
        warnings=tuple(
            f"The change of {name} was armed again by another run; that run has to confirm it"
            for name, state in states.items()
            if state == "other"
        ),
        result={
            "confirmed": [name for name, state in states.items() if state == "armed"],
            "reverted": [name for name, state in states.items() if state == "reverted"],
        },
    )


def work(module: AnsibleModule) -> dict[str, Any]:
    changes = [change for change in module.params["changes"] if change]
    if not all(isinstance(change, dict) and {"name", "id"} <= set(change) for change in changes):
        raise Failure("Unable to confirm changes: each must be what a module returned as revert (name and id)")
    deadmen = {change["name"]: Deadman(change["name"], _command.run) for change in changes}
    states = {}
    for change in changes:
        deadman = deadmen[change["name"]]
        states[deadman.name] = state_of(deadman.armed_id(), deadman.reverted_id(), change["id"])
    planned = plan(states, deadmen)
    result = run(module, planned)
    if planned.result["reverted"]:
        names = ", ".join(planned.result["reverted"])
        raise Failure(
            f"Unable to keep the change of {names}: the controller could not connect in time (or not at all), so the"
            " host has put back what it had before. Look at the rules for SSH from the controller's address",
            reverted=planned.result["reverted"],
        )
    return result


if __name__ == "__main__":
    main(AnsibleModule(argument_spec=SPEC, supports_check_mode=True), work)
