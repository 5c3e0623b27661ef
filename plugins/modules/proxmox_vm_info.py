#!/usr/bin/python
# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: proxmox_vm_info
short_description: What virtual machines and containers a Proxmox VE node has
version_added: 0.1.0
description:
  - Lists the virtual machines and containers of a node, with their configuration and addresses if asked.
extends_documentation_fragment:
  - homelab.mediaserver.proxmox
  - homelab.mediaserver.attributes.info
options:
  node:
    description: Name of the node.
    type: str
    required: true
  vmid:
    description: Only this virtual machine or container. It need not exist.
    type: int
  config:
    description: Whether configuration and pending changes are read too, with one more request for each.
    type: bool
    default: false
  addresses:
    description:
      - Whether running ones are asked for their addresses, with one more request for each.
      - A virtual machine tells them through its guest agent; without one it has none here.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: What runs
  homelab.mediaserver.proxmox_vm_info:
    node: pve
    addresses: true
  register: guests

- name: Show it
  ansible.builtin.debug:
    msg: "{{ (guests.vms + guests.containers) | map(attribute='summary') }}"
"""

RETURN = r"""
vms:
  description: The virtual machines in the order of their numbers.
  returned: always
  type: list
  elements: dict
  contains: &contains
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
    lock:
      description: What it is locked for, such as V(backup); empty if it is not.
      type: str
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
    addresses:
      description: IP addresses but those of the loopback device and of links. With O(addresses=true).
      type: list
      elements: str
  sample:
    - {vmid: 101, name: intranet, status: running, summary: "101 intranet: running, 3 cores, 10G"}
containers:
  description: The containers in the order of their numbers.
  returned: always
  type: list
  elements: dict
  contains: *contains
"""

import ipaddress
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.homelab.mediaserver.plugins.module_utils import _pve_format, _reconcile
from ansible_collections.homelab.mediaserver.plugins.module_utils._pve import CONNECTION, ApiFailure, Pve
from ansible_collections.homelab.mediaserver.plugins.module_utils._pve_guest_plan import current_from

ARGUMENTS: dict[str, Any] = {
    **CONNECTION,
    "node": {"type": "str", "required": True},
    "vmid": {"type": "int"},
    "config": {"type": "bool", "default": False},
    "addresses": {"type": "bool", "default": False},
}
KINDS = {"qemu": ("vms", "VM", "agent/network-get-interfaces"), "lxc": ("containers", "container", "interfaces")}


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
        "lock": str(row.get("lock", "")),
    }
    what = "template" if found["template"] else found["status"]
    what += f" ({found['lock']})" if found["lock"] else ""
    cores = f"{found['cores']} core{'s' if found['cores'] != 1 else ''}"
    summary = f"{found['vmid']} {found['name']}: {what}, {cores}, {_pve_format.show_size(found['memory'])}"
    return {**found, "summary": summary}


def addresses_of(answer: Any) -> list[str]:
    """Of the guest agent's interfaces or of a container's: what others reach it by (pure)."""
    rows = answer.get("result") if isinstance(answer, dict) else answer
    texts: list[str] = []
    for row in rows or []:
        texts += [str(item.get("ip-address", "")) for item in row.get("ip-addresses") or []]
        texts += [str(row.get(name, "")).partition("/")[0] for name in ("inet", "inet6")]
    found = []
    for text in texts:
        try:
            address = ipaddress.ip_address(text.partition("%")[0])
        except ValueError:
            continue
        if not address.is_loopback and not address.is_link_local and str(address) not in found:
            found.append(str(address))
    return found


def ask_addresses(pve: Pve, path: str, to: str) -> list[str]:
    try:
        return addresses_of(pve.call("get", path, to))
    except ApiFailure as failure:
        if failure.status == 500:  # no guest agent, or it does not answer
            return []
        raise


def read(pve: Pve, params: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    _key, word, interfaces = KINDS[kind]
    path = f"nodes/{params['node']}/{kind}"
    to = f"list the {word}s of {params['node']}"
    rows = pve.get_list(path, to)
    found = pve.understand(to, lambda: [describe(row) for row in rows])
    guests = [guest for guest in found if params["vmid"] in (None, guest["vmid"])]
    for guest in guests:
        where = f"{path}/{guest['vmid']}"
        if params["config"]:
            pending = pve.get_list(f"{where}/pending", f"read {word} {guest['vmid']}")
            current = current_from(pending, guest)
            guest["config"] = {key: value for key, value in current.config.items() if key != "cipassword"}
            guest["pending"] = sorted(current.waiting)
        if params["addresses"]:
            to = f"read the addresses of {word} {guest['vmid']}"
            guest["addresses"] = ask_addresses(pve, f"{where}/{interfaces}", to) if guest["status"] == "running" else []
    return sorted(guests, key=lambda guest: int(guest["vmid"]))


def work(module: AnsibleModule) -> dict[str, Any]:
    params = module.params
    pve = Pve(params)
    return {"changed": False, **{key: read(pve, params, kind) for kind, (key, _word, _path) in KINDS.items()}}


def main() -> None:
    _reconcile.main(AnsibleModule(ARGUMENTS, supports_check_mode=True), work)


if __name__ == "__main__":
    main()
