#!/usr/bin/python
# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: proxmox_preflight
short_description: Whether a Proxmox VE node has what its guests need
version_added: 0.1.0
description:
  - Asks the API for its version, the node's storages and PCI devices, and compares them with what images and guests
    need. Tells all that is missing at once, each with what to do. Changes nothing.
  - Of devices for guests it tells those that are missing, those without an IOMMU group and those that share theirs
    with something else; of guests with devices, a machine that cannot take them.
extends_documentation_fragment:
  - homelab.mediaserver.proxmox
  - homelab.mediaserver.attributes.info
options:
  node:
    description: Name of the node.
    type: str
    required: true
  minimum_version:
    description: Oldest release that will do.
    type: str
    default: "8.4"
  images:
    description: Images to download; O(images[].storage) must take disk images.
    type: list
    elements: dict
    default: []
    suboptions:
      storage:
        description: Storage.
        type: str
        required: true
  snippet_storage:
    description: Storage of cloud-init snippets.
    type: str
  guests:
    description: Guests, as options of M(homelab.mediaserver.proxmox_vm).
    type: list
    elements: dict
    default: []
  devices:
    description: Addresses of PCI devices that are to be passed through.
    type: list
    elements: str
    default: []
  fatal:
    description: Whether a problem fails the module. Otherwise it is a warning.
    type: bool
    default: true
"""

EXAMPLES = r"""
- name: See what is missing
  homelab.mediaserver.proxmox_preflight:
    node: pve
    images: [{storage: local}]
    snippet_storage: local
    devices: ["0000:00:02.0"]
"""

RETURN = r"""
problems:
  description: What is missing and what to do.
  returned: always
  type: list
  elements: str
version:
  description: Version of Proxmox VE.
  returned: always
  type: str
  sample: 9.1.9
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.homelab.mediaserver.plugins.module_utils import _reconcile
from ansible_collections.homelab.mediaserver.plugins.module_utils._pve import CONNECTION, Pve

ARGUMENTS: dict[str, Any] = {
    **CONNECTION,
    "node": {"type": "str", "required": True},
    "minimum_version": {"type": "str", "default": "8.4"},
    "images": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {"storage": {"type": "str", "required": True}},
    },
    "snippet_storage": {"type": "str"},
    "guests": {"type": "list", "elements": "dict", "default": []},
    "devices": {"type": "list", "elements": "str", "default": []},
    "fatal": {"type": "bool", "default": True},
}


def numbers(version: str) -> list[int]:
    return [int(part) for part in version.split(".") if part.isdigit()]


def needed_contents(params: dict[str, Any]) -> dict[str, set[str]]:
    """Storage -> kinds of content that it must take (pure)."""
    found: dict[str, set[str]] = {}
    for image in params["images"]:
        found.setdefault(image["storage"], set()).add("import")
    if params["snippet_storage"]:
        found.setdefault(params["snippet_storage"], set()).add("snippets")
    for guest in params["guests"]:
        disks = [disk for disk in (guest.get("disks") or {}).values() if isinstance(disk, dict)]
        disks += [guest[name] for name in ("efidisk", "tpm", "cloud_init") if guest.get(name)]
        for disk in disks:
            if disk.get("storage"):
                found.setdefault(str(disk["storage"]), set()).add("images")
    return found


def storage_problems(node: str, needed: dict[str, set[str]], rows: list[dict[str, Any]]) -> list[str]:
    """(pure)"""
    have = {row["storage"]: row for row in rows}
    problems = []
    for name, kinds in sorted(needed.items()):
        row = have.get(name)
        if row is None:
            known = ", ".join(sorted(have)) or "none"
            problems.append(f"node {node} has no storage {name} (it has {known}): add it, or name another one")
            continue
        if not row.get("active", 1) or not row.get("enabled", 1):
            problems.append(f"storage {name} of node {node} is not active")
        content = {kind for kind in str(row.get("content", "")).split(",") if kind}
        if not kinds <= content:
            missing = ", ".join(sorted(kinds - content))
            command = f"pvesm set {name} --content {','.join(sorted(content | kinds))}"
            problems.append(f"storage {name} of node {node} does not take {missing}: run `{command}` on it")
    return problems


def group_of(row: dict[str, Any]) -> int:
    value = row.get("iommugroup")
    return int(value) if value is not None else -1


def device_problems(node: str, wanted: list[str], rows: list[dict[str, Any]]) -> list[str]:
    """(pure) The API leaves out bridges, which may share a group."""
    have = {str(row.get("id")): row for row in rows}
    problems = []
    for path in wanted:
        row = have.get(path)
        if row is None:
            known = ", ".join(sorted(have)) or "none"
            problems.append(f"node {node} has no PCI device {path} (it has {known}): is it on in the firmware?")
        elif group_of(row) < 0:
            problems.append(
                f"PCI device {path} of node {node} has no IOMMU group: switch on VT-d (Intel) or AMD-Vi in the firmware"
                " and, before kernel 6.8, intel_iommu=on on the kernel's command line; then restart the node"
            )
        else:
            problems += sharers(node, path, row, rows)
    return problems


def sharers(node: str, path: str, row: dict[str, Any], rows: list[dict[str, Any]]) -> list[str]:
    """(pure) Functions of the same card may go along; anything else in the group hinders."""
    card = path.rpartition(".")[0]
    others = [other for other in rows if group_of(other) == group_of(row) and not str(other.get("id")).startswith(card)]
    if not others:
        return []
    names = ", ".join(f"{other.get('id')} {other.get('device_name') or ''}".strip() for other in others)
    return [
        f"PCI device {path} of node {node} shares IOMMU group {group_of(row)} with {names}: a guest would take these "
        "from the host as well. Try another slot, or newer firmware"
    ]


def guest_problems(guests: list[dict[str, Any]]) -> list[str]:
    """(pure) Machines that cannot take their devices: the task of the start would fail."""
    problems = []
    for guest in guests:
        name = guest.get("name") or guest.get("vmid")
        q35 = "q35" in str(guest.get("machine") or "")
        for slot, device in sorted((guest.get("pci") or {}).items()):
            if not isinstance(device, dict):
                continue
            if device.get("legacy_igd") and (q35 or guest.get("vga") != "none"):
                problems.append(f"{slot} of {name} is a legacy IGD: it needs machine pc (i440fx, no q35) and vga none")
            if device.get("pcie") and not q35:
                problems.append(f"{slot} of {name} is PCI Express: it needs machine q35, or no pcie")
    return problems


def work(module: AnsibleModule) -> dict[str, Any]:
    params = module.params
    pve = Pve(params)
    node = params["node"]
    version = str(pve.get_dict("version", "read the version").get("version", "0"))
    problems = []
    if numbers(version) < numbers(params["minimum_version"]):
        problems.append(f"Proxmox VE {version} is older than {params['minimum_version']}: upgrade node {node}")
    to = f"list the storages of {node}"
    rows = pve.get_list(f"nodes/{node}/storage", to)
    problems += pve.understand(to, lambda: storage_problems(node, needed_contents(params), rows))
    if params["devices"]:
        to = f"read the PCI devices of {node}"
        found = pve.get_list(f"nodes/{node}/hardware/pci", to)
        problems += device_problems(node, params["devices"], found)
    problems += guest_problems(params["guests"])
    if problems and params["fatal"]:
        raise _reconcile.Failure(f"Unable to use node {node}: " + "; ".join(problems), problems=problems)
    for problem in problems:
        module.warn(problem)
    return {"changed": False, "problems": problems, "version": version}


def main() -> None:
    _reconcile.main(AnsibleModule(ARGUMENTS, supports_check_mode=True), work)


if __name__ == "__main__":
    main()
