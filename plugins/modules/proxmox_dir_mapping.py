#!/usr/bin/python
# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: proxmox_dir_mapping
short_description: Name a directory of a Proxmox VE node for virtiofs
version_added: 0.1.0
description:
  - Keeps one node's entry in a directory mapping of the cluster; the entries of other nodes stay as they are.
  - The name is the tag by which a guest mounts the directory.
  - The directory is neither made nor removed. RV(problems) says if it is missing.
extends_documentation_fragment:
  - homelab.mediaserver.proxmox
  - homelab.mediaserver.attributes
options:
  id:
    description: Name of the mapping.
    type: str
    required: true
  node:
    description: Name of the node.
    type: str
    required: true
  path:
    description: Directory on the node. Required unless O(state=absent).
    type: str
  description:
    description: Text shown with the mapping.
    type: str
  state:
    description: V(absent) removes the node's entry, and the mapping with its last entry.
    type: str
    choices: [present, absent]
    default: present
"""

EXAMPLES = r"""
- name: Media for the guests
  homelab.mediaserver.proxmox_dir_mapping:
    id: media
    node: pve
    path: /tank-hdd/media
"""

RETURN = r"""
steps:
  description: What was done, or would be done.
  returned: always
  type: list
  elements: str
map:
  description: All entries of the mapping.
  returned: unless changes were only predicted
  type: list
  elements: str
  sample: ["node=pve,path=/tank-hdd/media"]
problems:
  description: What Proxmox VE finds wrong with the node's entry.
  returned: unless changes were only predicted
  type: list
  elements: str
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.homelab.mediaserver.plugins.module_utils import _pve_mapping, _reconcile
from ansible_collections.homelab.mediaserver.plugins.module_utils._pve import CONNECTION, Pve

ARGUMENTS: dict[str, Any] = {
    **CONNECTION,
    "id": {"type": "str", "required": True},
    "node": {"type": "str", "required": True},
    "path": {"type": "str"},
    "description": {"type": "str"},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
}


def work(module: AnsibleModule) -> dict[str, Any]:
    params = module.params
    pve = Pve(params)
    ident, node = params["id"], params["node"]
    current = _pve_mapping.find(pve, "dir", ident, node)
    wanted = {"node": node, "path": params["path"]} if params["state"] == "present" else None
    plan = _pve_mapping.plan(pve, "dir", params, current, wanted)
    return _pve_mapping.run(module, pve, "dir", plan)


def main() -> None:
    module = AnsibleModule(ARGUMENTS, supports_check_mode=True, required_if=[("state", "present", ("path",))])
    _reconcile.main(module, work)


if __name__ == "__main__":
    main()
