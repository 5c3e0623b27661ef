#!/usr/bin/python
# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: proxmox_firewall
short_description: The firewall of a Proxmox VE datacenter, node or VM
version_added: 0.1.0
description:
  - Keeps options and the whole ordered list of rules of one level.
  - Missing rules are inserted before others are removed, rules are in place before the firewall is switched on, and it
    is switched off before rules go, so that an interrupted run locks nobody out.
extends_documentation_fragment:
  - homelab.mediaserver.proxmox
options:
  level:
    description: What the rules are for.
    type: str
    choices: [datacenter, node, guest]
    required: true
  node:
    description: Name of the node. Required unless O(level=datacenter).
    type: str
  vmid:
    description: Number of the VM. Required if O(level=guest).
    type: int
  options:
    description:
      - Options as the API names them, such as C(enable), C(policy_in), C(policy_out), C(ipfilter).
      - Options not named stay; an empty value brings the default back.
    type: dict
    default: {}
  rules:
    description: The whole list of rules in order. Without it the rules stay as they are; an empty list removes all.
    type: list
    elements: dict
    suboptions:
      type:
        description: Direction, or V(group) for a security group named by O(rules[].action).
        type: str
        choices: [in, out, forward, group]
        default: in
      action:
        description: V(ACCEPT), V(DROP), V(REJECT) or the name of a security group.
        type: str
        required: true
      macro:
        description: Predefined set of ports, such as V(SSH).
        type: str
      source:
        description: Address, network, alias or C(+ipset).
        type: str
      dest:
        description: Address, network, alias or C(+ipset).
        type: str
      proto:
        description: Protocol.
        type: str
      dport:
        description: Destination ports.
        type: str
      sport:
        description: Source ports.
        type: str
      icmp_type:
        description: ICMP type.
        type: str
      iface:
        description: Network interface.
        type: str
      log:
        description: Log level.
        type: str
      comment:
        description: Text shown with the rule.
        type: str
      enable:
        description: Whether the rule counts.
        type: bool
        default: true
"""

EXAMPLES = r"""
- name: Only SSH and the web interface from the LAN
  homelab.mediaserver.proxmox_firewall:
    level: datacenter
    options: {enable: true, policy_in: DROP}
    rules:
      - {action: ACCEPT, proto: tcp, dport: "22", source: 192.168.1.0/24, comment: ssh}
      - {action: ACCEPT, proto: tcp, dport: "8006", source: 192.168.1.0/24, comment: web interface}
"""

RETURN = r"""
steps:
  description: What was done, or would be done.
  returned: always
  type: list
  elements: str
"""

import functools
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.homelab.mediaserver.plugins.module_utils import _pve_firewall as fw
from ansible_collections.homelab.mediaserver.plugins.module_utils import _reconcile
from ansible_collections.homelab.mediaserver.plugins.module_utils._pve import CONNECTION, ApiFailure, Pve
from ansible_collections.homelab.mediaserver.plugins.module_utils._reconcile import Plan, Step

TEXT: dict[str, Any] = {"type": "str"}
RULE: dict[str, Any] = {
    "type": {"type": "str", "choices": ["in", "out", "forward", "group"], "default": "in"},
    "action": {"type": "str", "required": True},
    "enable": {"type": "bool", "default": True},
    **dict.fromkeys(
        ("macro", "source", "dest", "proto", "dport", "sport", "icmp_type", "iface", "log", "comment"), TEXT
    ),
}
ARGUMENTS: dict[str, Any] = {
    **CONNECTION,
    "level": {"type": "str", "choices": ["datacenter", "node", "guest"], "required": True},
    "node": {"type": "str"},
    "vmid": {"type": "int"},
    "options": {"type": "dict", "default": {}},
    "rules": {"type": "list", "elements": "dict", "options": RULE},
}


def rule_step(pve: Pve, path: str, what: str, write: fw.Write, digest: dict[str, str]) -> Step:
    """``digest`` guards the first write only; every write changes it."""
    if write.rule is not None:
        describe = f"add rule to {what}: {fw.name(write.rule)}"
        return Step(describe, functools.partial(insert, pve, path, describe, write, digest))
    describe = f"remove rule {write.pos} of {what}"
    return Step(describe, functools.partial(pve.call, "delete", f"{path}/rules/{write.pos}", describe, **digest))


def insert(pve: Pve, path: str, to: str, write: fw.Write, digest: dict[str, str]) -> None:
    """The API puts a new rule first, whatever position is asked for; it is moved from there."""
    pve.call("post", f"{path}/rules", to, **(write.rule or {}), **digest)
    if write.pos:
        pve.call("put", f"{path}/rules/0", to, moveto=write.pos + 1)


def option_step(pve: Pve, path: str, what: str, sets: dict[str, str], gone: list[str]) -> Step:
    describe = f"set {', '.join([*sorted(sets), *gone])} of the firewall of {what}"
    data = {**sets, **({"delete": ",".join(gone)} if gone else {})}
    return Step(describe, functools.partial(pve.call, "put", f"{path}/options", describe, **data))


def plan(
    pve: Pve, path: str, what: str, params: dict[str, Any], options: dict[str, Any], rows: list[dict[str, Any]]
) -> Plan:
    current = fw.current_rules(rows)
    wanted = current if params["rules"] is None else [fw.rule_from_user(rule) for rule in params["rules"]]
    sets, gone = fw.options_change(options, params["options"])
    off_first = sets.get("enable") == "0"
    digest = {"digest": str(rows[0]["digest"])} if rows and rows[0].get("digest") and not off_first else {}
    steps = [
        rule_step(pve, path, what, write, digest if number == 0 else {})
        for number, write in enumerate(fw.writes(current, wanted))
    ]
    if sets or gone:
        step = option_step(pve, path, what, sets, gone)
        steps = [step, *steps] if off_first else [*steps, step]
    named = {key: fw.text(options[key]) for key in params["options"] if key in options}
    after = {**{key: value for key, value in named.items() if key not in gone}, **sets}
    return Plan({"options": named, "rules": current}, {"options": after, "rules": wanted}, tuple(steps))


def read(pve: Pve, path: str, to: str, params: dict[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Options and rules. A VM that is not there yet has none; writing to it is refused by the API."""
    try:
        options = pve.get_dict(f"{path}/options", to) if params["options"] else {}
        return options, pve.get_list(f"{path}/rules", to)
    except ApiFailure as failure:
        if params["level"] == "guest" and failure.is_missing_vm(params["vmid"]):
            return {}, []
        raise


def work(module: AnsibleModule) -> dict[str, Any]:
    params = module.params
    pve = Pve(params)
    path, what = fw.base_path(params["level"], params["node"], params["vmid"])
    options, rows = read(pve, path, f"read the firewall of {what}", params)
    return _reconcile.run(module, plan(pve, path, what, params, options, rows))


def main() -> None:
    module = AnsibleModule(
        ARGUMENTS,
        supports_check_mode=True,
        required_if=[("level", "node", ("node",)), ("level", "guest", ("node", "vmid"))],
    )
    _reconcile.main(module, work)


if __name__ == "__main__":
    main()
