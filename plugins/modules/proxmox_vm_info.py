#!/usr/bin/python
# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: proxmox_vm_info
short_description: What virtual machines a Proxmox VE node has
version_added: 0.1.0
description:
  - Lists the virtual machines of a node, with their configuration if asked.
extends_documentation_fragment:
  - homelab.mediaserver.proxmox
attributes:
  diff_mode:
    description: Returns the states before and after, free of secrets.
    support: none
    details: Changes nothing.
options:
  node:
    description: Name of the node.
    type: str
    required: true
  vmid:
    description: Only this VM. It need not exist.
    type: int
  config:
    description: Whether each VM's configuration and pending changes are read too, with one more request per VM.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: What runs
  homelab.mediaserver.proxmox_vm_info:
    node: pve
  register: guests

- name: Show it
  ansible.builtin.debug:
    msg: "{{ guests.vms | map(attribute='summary') }}"
"""

RETURN = r"""
vms:
  description: The VMs in the order of their numbers.
  returned: always
  type: list
  elements: dict
  contains:
    vmid:
      description: Number.
      type: int
    name:
      description: Name.
      type: str
    status:
      description: V(running) or V(stopped).
      type: str
    template:
      description: Whether it is a template.
      type: bool
    cores:
      description: Processors.
      type: int
    memory:
      description: Memory in bytes.
      type: int
    uptime:
      description: Seconds since the start.
      type: int
    tags:
      description: Tags.
      type: list
      elements: str
    summary:
      description: One line for a person.
      type: str
    config:
      description: Configuration with what is pending merged in, without passwords. With O(config=true).
      type: dict
    pending:
      description: Keys that wait for a restart. With O(config=true).
      type: list
      elements: str
  sample:
    - {vmid: 101, name: intranet, status: running, summary: "101 intranet: running, 3 cores, 10G"}
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.homelab.mediaserver.plugins.module_utils import _pve_format, _reconcile
from ansible_collections.homelab.mediaserver.plugins.module_utils._pve import CONNECTION, Pve
from ansible_collections.homelab.mediaserver.plugins.module_utils._pve_guest_plan import current_from

ARGUMENTS: dict[str, Any] = {
    **CONNECTION,
    "node": {"type": "str", "required": True},
    "vmid": {"type": "int"},
    "config": {"type": "bool", "default": False},
}


def describe(row: dict[str, Any]) -> dict[str, Any]:
    """A row of the API's list for a person (pure)."""
    found: dict[str, Any] = {
        "vmid": int(row["vmid"]),
        "name": str(row.get("name", "")),
        "status": str(row.get("status", "unknown")),
        "template": bool(row.get("template", 0)),
        "cores": int(row.get("cpus", 1)),
        "memory": int(row.get("maxmem", 0)),
        "uptime": int(row.get("uptime", 0)),
        "tags": _pve_format.tags(row.get("tags", "")),
    }
    what = "template" if found["template"] else found["status"]
    cores = f"{found['cores']} core{'s' if found['cores'] != 1 else ''}"
    summary = f"{found['vmid']} {found['name']}: {what}, {cores}, {_pve_format.show_size(found['memory'])}"
    return {**found, "summary": summary}


def work(module: AnsibleModule) -> dict[str, Any]:
    params = module.params
    pve = Pve(params)
    path = f"nodes/{params['node']}/qemu"
    to = f"list the VMs of {params['node']}"
    rows = [row for row in pve.get_list(path, to) if params["vmid"] in (None, row.get("vmid"))]
    vms = pve.understand(to, lambda: [describe(row) for row in rows])
    for vm in vms if params["config"] else []:
        pending = pve.get_list(f"{path}/{vm['vmid']}/pending", f"read VM {vm['vmid']}")
        current = current_from(pending, vm)
        vm["config"] = {key: value for key, value in current.config.items() if key != "cipassword"}
        vm["pending"] = sorted(current.waiting)
    return {"changed": False, "vms": sorted(vms, key=lambda vm: vm["vmid"])}


def main() -> None:
    _reconcile.main(AnsibleModule(ARGUMENTS, supports_check_mode=True), work)


if __name__ == "__main__":
    main()
