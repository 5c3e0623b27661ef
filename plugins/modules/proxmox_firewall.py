#!/usr/bin/python
# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: proxmox_firewall
short_description: The firewall of a Proxmox VE datacenter, node, VM or container
version_added: 0.1.0
description:
  - Keeps options, aliases, IP sets, security groups and the ordered list of rules of one level.
  - Each list is a whole list. What it does not name is removed, also by an empty list. A list that is not given is not
    managed.
  - Aliases, IP sets and groups are there before a rule names them, and go after the last rule that names them. What is
    still in use anywhere is not removed; the module fails and says by whom.
  - Missing rules are inserted before others are removed, rules are in place before the firewall is switched on or a
    policy becomes stricter, and it is switched off, or the policy becomes looser, before rules go, so that an
    interrupted run locks nobody out.
  - Names of aliases, IP sets and groups are the same in small and capital letters.
extends_documentation_fragment:
  - homelab.mediaserver.proxmox
  - homelab.mediaserver.attributes
options:
  level:
    description: What the rules are for.
    type: str
    choices: [datacenter, node, guest]
    required: true
  node:
    description: Name of the node. Required if O(level=node). A guest is found on whatever node it is.
    type: str
  vmid:
    description: Number of the VM or container. Required if O(level=guest).
    type: int
  options:
    description:
      - Options as the API names them, such as C(enable), C(policy_in), C(policy_out), C(ipfilter).
      - Options not named stay; an empty value brings the default back.
    type: dict
    default: {}
  aliases:
    description: Names for addresses, of the datacenter or a guest.
    type: list
    elements: dict
    suboptions:
      name:
        description: Name.
        type: str
        required: true
      cidr:
        description: Address or network.
        type: str
        required: true
      comment: &comment
        description: Text shown with it. Without it the text stays; an empty one removes it.
        type: str
  ipsets:
    description: Sets of addresses, of the datacenter or a guest.
    type: list
    elements: dict
    suboptions:
      name:
        description: Name.
        type: str
        required: true
      comment: *comment
      members:
        description: The whole set. Without it the members stay.
        type: list
        elements: dict
        suboptions:
          cidr:
            description: Address, network or alias.
            type: str
            required: true
          nomatch:
            description: Whether this address is taken out of the set.
            type: bool
            default: false
          comment: *comment
  groups:
    description: Security groups. Only if O(level=datacenter).
    type: list
    elements: dict
    suboptions:
      name:
        description: Name.
        type: str
        required: true
      comment: *comment
      rules:
        description: The whole list of the group's rules in order. Without it they stay.
        type: list
        elements: dict
        suboptions: &rule
          type:
            description: Direction, or V(group) for a security group named by the action.
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
            description: Addresses, networks, alias or C(+ipset).
            type: str
          dest:
            description: Addresses, networks, alias or C(+ipset).
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
  rules:
    description: The whole list of rules in order.
    type: list
    elements: dict
    suboptions: *rule
"""

EXAMPLES = r"""
- name: Only SSH and the web interface from the LAN
  homelab.mediaserver.proxmox_firewall:
    level: datacenter
    options: {enable: true, policy_in: DROP}
    aliases:
      - {name: lan, cidr: 192.168.1.0/24}
    ipsets:
      - {name: admins, members: [{cidr: lan}, {cidr: 192.168.1.66, nomatch: true, comment: television}]}
    groups:
      - {name: web, rules: [{action: ACCEPT, macro: HTTPS}]}
    rules:
      - {action: ACCEPT, macro: SSH, source: +admins}
      - {action: ACCEPT, proto: tcp, dport: "8006", source: +admins, comment: web interface}

- name: A container that only answers HTTPS
  homelab.mediaserver.proxmox_firewall:
    level: guest
    vmid: 210
    options: {enable: true, policy_in: DROP}
    rules:
      - {type: group, action: web}
"""

RETURN = r"""
steps:
  description: What was done, or would be done.
  returned: always
  type: list
  elements: str
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.homelab.mediaserver.plugins.module_utils import _pve_firewall_scope as scopes
from ansible_collections.homelab.mediaserver.plugins.module_utils import _reconcile
from ansible_collections.homelab.mediaserver.plugins.module_utils._pve import CONNECTION, Pve

TEXT: dict[str, Any] = {"type": "str"}
NEEDED: dict[str, Any] = {"type": "str", "required": True}
RULE: dict[str, Any] = {
    "type": {"type": "str", "choices": ["in", "out", "forward", "group"], "default": "in"},
    "action": NEEDED,
    "enable": {"type": "bool", "default": True},
    **dict.fromkeys(
        ("macro", "source", "dest", "proto", "dport", "sport", "icmp_type", "iface", "log", "comment"), TEXT
    ),
}


def entries(**options: Any) -> dict[str, Any]:
    return {"type": "list", "elements": "dict", "options": options}


MEMBERS = entries(cidr=NEEDED, nomatch={"type": "bool", "default": False}, comment=TEXT)
ARGUMENTS: dict[str, Any] = {
    **CONNECTION,
    "level": {"type": "str", "choices": ["datacenter", "node", "guest"], "required": True},
    "node": TEXT,
    "vmid": {"type": "int"},
    "options": {"type": "dict", "default": {}},
    "aliases": entries(name=NEEDED, cidr=NEEDED, comment=TEXT),
    "ipsets": entries(name=NEEDED, comment=TEXT, members=MEMBERS),
    "groups": entries(name=NEEDED, comment=TEXT, rules=entries(**RULE)),
    "rules": entries(**RULE),
}


def work(module: AnsibleModule) -> dict[str, Any]:
    params = module.params
    scopes.refuse_lists_of_other_levels(params)
    pve = Pve(params)
    scope, now, known = pve.understand("read the firewall", lambda: scopes.all_of(pve, params))
    after = scopes.wanted(params, now, known)
    pve.understand("see what is in use", lambda: scopes.refuse_if_used(pve, scope, now, after))
    return _reconcile.run(module, scopes.plan(pve, scope, params, now, after))


def main() -> None:
    module = AnsibleModule(
        ARGUMENTS,
        supports_check_mode=True,
        required_if=[("level", "node", ("node",)), ("level", "guest", ("vmid",))],
    )
    _reconcile.main(module, work)


if __name__ == "__main__":
    main()
