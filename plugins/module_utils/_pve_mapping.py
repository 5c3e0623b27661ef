# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""PCI and directory mappings: a node's entry in a mapping of the whole cluster."""

from __future__ import annotations

import functools
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.homelab.mediaserver.plugins.module_utils import _pve_format as fmt
from ansible_collections.homelab.mediaserver.plugins.module_utils import _reconcile
from ansible_collections.homelab.mediaserver.plugins.module_utils._pve import Pve
from ansible_collections.homelab.mediaserver.plugins.module_utils._reconcile import Failure, Plan, Step

Entry = dict[str, str]
Mapping = dict[str, Any]


def entries(mapping: Mapping | None) -> list[Entry]:
    texts = (mapping or {}).get("map") or []
    return [fmt.parse(text) for text in ([texts] if isinstance(texts, str) else texts)]


def render(entry: Entry) -> str:
    order = ["node", "path", "id", "iommugroup", "subsystem-id"]
    keys = sorted(entry, key=lambda key: (order.index(key) if key in order else len(order), key))
    return ",".join(f"{key}={entry[key]}" for key in keys)


def _first_function(address: str) -> str:
    """An address without a function is the whole device; Proxmox VE looks at its first function."""
    return address if "." in address else f"{address}.0"


def device_entry(node: str, path: str, devices: list[dict[str, Any]]) -> Entry:
    """The entry that Proxmox VE accepts at the start of a VM: all that the node knows of the device, and no more."""
    by_address = {str(item.get("id")): item for item in devices}
    found = [by_address.get(_first_function(part)) for part in path.split(";")]
    device = found[0]
    if device is None or None in found:
        known = ", ".join(sorted(by_address)) or "none"
        raise Failure(f"Unable to map PCI device {path}: node {node} has no such device (it has {known})")

    def short(name: str) -> str:
        return str(device.get(name) or "").removeprefix("0x")

    entry = {"node": node, "path": path, "id": f"{short('vendor')}:{short('device')}"}
    if int(device.get("iommugroup", -1)) >= 0:
        entry["iommugroup"] = str(device["iommugroup"])
    if short("subsystem_vendor") and short("subsystem_device"):
        entry["subsystem-id"] = f"{short('subsystem_vendor')}:{short('subsystem_device')}"
    return entry


def find(pve: Pve, kind: str, ident: str, node: str) -> Mapping | None:
    to = f"read the {kind} mappings"
    rows = pve.get_list(f"cluster/mapping/{kind}", to, **{"check-node": node})
    return next((row for row in rows if row.get("id") == ident), None)


def view(mapping: Mapping | None) -> dict[str, Any]:
    if mapping is None:
        return {"state": "absent"}
    return {
        "state": "present",
        "description": mapping.get("description", ""),
        "map": sorted(render(entry) for entry in entries(mapping)),
    }


def plan(pve: Pve, kind: str, params: dict[str, Any], current: Mapping | None, wanted: Entry | None) -> Plan:
    """``wanted`` is this node's entry, None to take it away; the entries of other nodes stay."""
    ident, node = params["id"], params["node"]
    mine = [entry for entry in entries(current) if entry.get("node") == node]
    others = [entry for entry in entries(current) if entry.get("node") != node]
    merged = [*others, *([wanted] if wanted else [])]
    before = view(current)
    if not merged:
        steps = (_step(pve, "delete", kind, ident),) if current is not None else ()
        return Plan(before, {"state": "absent"}, steps)
    new: Mapping = {"map": [render(entry) for entry in merged], "description": (current or {}).get("description", "")}
    if params.get("description") is not None:
        new["description"] = params["description"]
    after = view(new)
    same = current is not None and before == after and mine == ([wanted] if wanted else [])
    if same:
        return Plan(before, before)
    data = {"map": new["map"]}
    if new["description"]:
        data["description"] = new["description"]
    elif current and current.get("description"):
        data["delete"] = "description"
    if current is None:
        return Plan(before, after, (_step(pve, "post", kind, ident, id=ident, **data),))
    return Plan(before, after, (_step(pve, "put", kind, ident, digest=current.get("digest"), **data),))


def _step(pve: Pve, method: str, kind: str, ident: str, **data: Any) -> Step:
    verb = {"post": "create", "put": "update", "delete": "delete"}[method]
    describe = f"{verb} {kind} mapping {ident}"
    path = f"cluster/mapping/{kind}" + ("" if method == "post" else f"/{ident}")
    return Step(describe, functools.partial(pve.call, method, path, describe, **data))


def run(module: AnsibleModule, pve: Pve, kind: str, plan_: Plan) -> dict[str, Any]:
    """Carry the plan out; what the node finds wrong with its entry is a warning too, as a VM would not start."""
    ident, node = module.params["id"], module.params["node"]
    result = _reconcile.run(module, plan_, lambda: read_back(pve, kind, ident, node))
    for problem in result.get("problems", []):
        module.warn(f"{kind} mapping {ident} of node {node}: {problem}")
    return result


def read_back(pve: Pve, kind: str, ident: str, node: str) -> dict[str, Any]:
    mapping = find(pve, kind, ident, node)
    checks = [check for check in (mapping or {}).get("checks", []) if check.get("severity") == "error"]
    problems = [str(check.get("message", "")).strip() for check in checks]
    return {"map": view(mapping).get("map", []), "problems": problems}
