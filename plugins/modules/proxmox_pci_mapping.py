#!/usr/bin/python
# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: proxmox_pci_mapping
short_description: Name a PCI device of a Proxmox VE node
version_added: 0.1.0
description:
  - Keeps one node's entry in a PCI mapping of the cluster; the entries of other nodes stay as they are.
  - Device id, IOMMU group and subsystem id are taken from the node. Without them a VM would not start.
  - What a change of the firmware or of the slots did to them is corrected, but another device at the same address is
    refused unless O(replace_device=true).
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
    description:
      - Address of the device, such as V(0000:00:02.0). Required unless O(state=absent).
      - V(0000:01:00) is a device with all its functions; several addresses are joined by V(;).
    type: str
  description:
    description: Text shown with the mapping.
    type: str
  replace_device:
    description: Whether the mapping may move to a device of another kind.
    type: bool
    default: false
  state:
    description: V(absent) removes the node's entry, and the mapping with its last entry.
    type: str
    choices: [present, absent]
    default: present
"""

EXAMPLES = r"""
- name: The processor's graphics
  homelab.mediaserver.proxmox_pci_mapping:
    id: igpu
    node: pve
    path: "0000:00:02.0"
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
  sample: ["node=pve,path=0000:00:02.0,id=8086:1912,iommugroup=0,subsystem-id=1462:7972"]
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
    "replace_device": {"type": "bool", "default": False},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
}


def refuse_other_device(params: dict[str, Any], current: dict[str, Any] | None, wanted: dict[str, str]) -> None:
    """The same address may carry another device after a card was added: never hand that to a VM unasked."""
    for entry in _pve_mapping.entries(current):
        if entry.get("node") == params["node"] and entry.get("id") != wanted["id"] and not params["replace_device"]:
            raise _reconcile.Failure(
                f"Unable to update pci mapping {params['id']}: {params['path']} on {params['node']} is now "
                f"{wanted['id']}, the mapping is for {entry.get('id')} (replace_device: true accepts it)"
            )


def work(module: AnsibleModule) -> dict[str, Any]:
    params = module.params
    pve = Pve(params)
    ident, node = params["id"], params["node"]
    current = _pve_mapping.find(pve, "pci", ident, node)
    wanted = None
    if params["state"] == "present":
        to = f"read the PCI devices of {node}"
        devices = pve.get_list(f"nodes/{node}/hardware/pci", to)
        wanted = _pve_mapping.device_entry(node, params["path"], devices)
        refuse_other_device(params, current, wanted)
        if "iommugroup" not in wanted:
            text = "shows no IOMMU group: VT-d or AMD-Vi is off, passthrough will fail"
            module.warn(f"PCI device {params['path']} of {node} {text}")
    plan = _pve_mapping.plan(pve, "pci", params, current, wanted)
    return _pve_mapping.run(module, pve, "pci", plan)


def main() -> None:
    module = AnsibleModule(ARGUMENTS, supports_check_mode=True, required_if=[("state", "present", ("path",))])
    _reconcile.main(module, work)


if __name__ == "__main__":
    main()
