#!/usr/bin/python
# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: proxmox_ha
short_description: High availability of guests in a Proxmox VE cluster
version_added: 0.1.0
description:
  - Keeps which guests the cluster restarts elsewhere, and where they may run.
  - One declaration for both releases. Node affinity is a group on Proxmox VE 8 and a rule on Proxmox VE 9.
  - Entries that are not listed stay, and so do settings that are not given; an empty comment removes the comment.
  - A resource that leaves takes itself out of all groups and rules; on Proxmox VE 9 a rule that then says nothing goes.
  - Needs C(Sys.Audit) and C(Sys.Console) on C(/).
extends_documentation_fragment:
  - homelab.mediaserver.proxmox
  - homelab.mediaserver.attributes
options:
  resources:
    description: Guests under high availability.
    type: list
    elements: dict
    suboptions:
      sid:
        description: The guest, such as V(vm:101) or V(ct:210).
        type: str
        required: true
      state:
        description: What the cluster sees to. V(absent) takes the guest out of high availability; it runs on.
        type: str
        choices: [started, stopped, disabled, ignored, absent]
      max_restart:
        description: How often a start is tried on one node.
        type: int
      max_relocate:
        description: How often another node is tried.
        type: int
      comment:
        description: Text shown with it.
        type: str
  node_affinity:
    description: On which nodes guests run. A guest is in one of these at most.
    type: list
    elements: dict
    suboptions:
      name:
        description: Name of the group or rule.
        type: str
        required: true
      resources:
        description: All guests that it is for. A new one needs at least one; they leave the group or rule they were in.
        type: list
        elements: str
      nodes:
        description: All its nodes, each with a priority if wanted, such as V(pve1:2). A new one needs at least one.
        type: list
        elements: str
      strict:
        description: Whether its guests stop rather than run on another node.
        type: bool
      failback:
        description: Whether its guests go back when a better node returns.
        type: bool
      enabled: &enabled
        description: Whether it counts. Proxmox VE 8 cannot disable a group.
        type: bool
        default: true
      comment: &comment
        description: Text shown with it.
        type: str
      state: &state
        description: Whether it is there.
        type: str
        choices: [present, absent]
        default: present
  resource_affinity:
    description: Which guests run together or apart. Proxmox VE 8 has no such rules, there it is an error.
    type: list
    elements: dict
    suboptions:
      name:
        description: Name of the rule.
        type: str
        required: true
      resources:
        description: All guests that it is for, at least two.
        type: list
        elements: str
      affinity:
        description: V(positive) keeps them on one node, V(negative) on different nodes.
        type: str
        choices: [positive, negative]
      enabled: *enabled
      comment: *comment
      state: *state
"""

EXAMPLES = r"""
- name: The media server prefers the node with the graphics device
  homelab.mediaserver.proxmox_ha:
    resources:
      - {sid: "vm:101", state: started, max_restart: 2}
      - {sid: "ct:210", state: started}
    node_affinity:
      - {name: graphics, resources: ["vm:101"], nodes: ["pve1:2", "pve2:1"], failback: true}
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
from ansible_collections.homelab.mediaserver.plugins.module_utils import _pve_ha as ha
from ansible_collections.homelab.mediaserver.plugins.module_utils import _pve_ha_steps, _reconcile
from ansible_collections.homelab.mediaserver.plugins.module_utils._pve import CONNECTION, Pve

TEXT: dict[str, Any] = {"type": "str"}
NEEDED: dict[str, Any] = {"type": "str", "required": True}
FLAG: dict[str, Any] = {"type": "bool"}
NUMBER: dict[str, Any] = {"type": "int"}
TEXTS: dict[str, Any] = {"type": "list", "elements": "str"}
RULE: dict[str, Any] = {
    "name": NEEDED,
    "resources": TEXTS,
    "enabled": {"type": "bool", "default": True},
    "comment": TEXT,
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
}


def entries(**options: Any) -> dict[str, Any]:
    return {"type": "list", "elements": "dict", "options": options}


STATES = ["started", "stopped", "disabled", "ignored", "absent"]
ARGUMENTS: dict[str, Any] = {
    **CONNECTION,
    "resources": entries(
        sid=NEEDED, state={"type": "str", "choices": STATES}, max_restart=NUMBER, max_relocate=NUMBER, comment=TEXT
    ),
    "node_affinity": entries(**RULE, nodes=TEXTS, strict=FLAG, failback=FLAG),
    "resource_affinity": entries(**RULE, affinity={"type": "str", "choices": ["positive", "negative"]}),
}


def work(module: AnsibleModule) -> dict[str, Any]:
    params = module.params
    pve = Pve(params)
    to = "read the release of Proxmox VE"
    release = pve.get_dict("version", to)
    major = pve.understand(to, lambda: int(str(release["release"]).partition(".")[0]))
    ha.check(params, major)
    now = pve.understand("read the high availability", lambda: _pve_ha_steps.read(pve, major))
    after = ha.wanted(params, now, major)
    steps = _pve_ha_steps.steps(pve, major, now, after)
    return _reconcile.run(module, _reconcile.Plan(ha.view(now), ha.view(after), tuple(steps)))


def main() -> None:
    _reconcile.main(AnsibleModule(ARGUMENTS, supports_check_mode=True), work)


if __name__ == "__main__":
    main()
