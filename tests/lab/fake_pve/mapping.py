# SPDX-License-Identifier: MIT
"""PCI devices of the node, PCI and directory mappings."""

from __future__ import annotations

from typing import Any

from .errors import ApiError, TaskError, invalid
from .routing import Call, route
from .schema import parse
from .world import World, digest


def _expected(device: dict[str, Any]) -> dict[str, str]:
    """The properties that a mapping entry of this device must carry, and no others."""
    result = {"id": f"{device['vendor'][2:]}:{device['device'][2:]}"}
    if device.get("iommugroup", -1) != -1:
        result["iommugroup"] = str(device["iommugroup"])
    if device.get("subsystem_vendor") and device.get("subsystem_device"):
        result["subsystem-id"] = f"{device['subsystem_vendor'][2:]}:{device['subsystem_device'][2:]}"
    return result


def check_pci(world: World, entry: dict[str, str]) -> str | None:
    """What is wrong with one entry of a PCI mapping on this node, in the API's words."""
    path = entry.get("path", "")
    device = next((d for d in world.data["pci"] if d["id"] == path or d["id"].rsplit(".", 1)[0] == path), None)
    if device is None:
        return f"pci device '{path}' not found"
    expected = _expected(device)
    for name in ("id", "iommugroup", "subsystem-id"):
        if name in expected and name not in entry:
            return f"missing expected property '{name}' for device '{path}'"
        if name not in expected and name in entry:
            return f"unexpected property '{name}' configured for device '{path}'"
        if name in expected and entry[name] != expected[name]:
            return f"'{name}' does not match for '{path}' ({entry[name]} != {expected[name]})"
    return None


def check_dir(world: World, entry: dict[str, str]) -> str | None:
    path = entry.get("path", "")
    if not world.path(path).exists():
        return f"Path {path} does not exist"
    if not world.path(path).is_dir():
        return f"Path {path} exists but is not a directory"
    return None


CHECKS = {"pci": check_pci, "dir": check_dir}
PREFIX = {"pci": "Invalid configuration", "dir": "Invalid configuration"}


def entries(mapping: dict[str, Any]) -> list[dict[str, str]]:
    return [parse(text) for text in mapping["map"]]


def resolve(world: World, kind: str, ident: str) -> dict[str, str]:
    """The entry of this node, checked as a start of a VM checks it; raises TaskError."""
    word = "PCI device mapping" if kind == "pci" else "Directory mapping"
    mapping = world.data["mappings"][kind].get(ident)
    if mapping is None:
        noun = "hostpci" if kind == "pci" else "directory"
        raise TaskError(f"{noun} mapping '{ident}' not found" if kind == "dir" else f"{word} not found for '{ident}'")
    here = [entry for entry in entries(mapping) if entry.get("node") == world.node]
    if not here:
        raise TaskError(f"no {word} found for current node '{world.node}'")
    problem = CHECKS[kind](world, here[0])
    if problem:
        changed = "(hardware probably changed)" if kind == "pci" else "invalid"
        prefix = f"PCI device mapping invalid {changed}: " if kind == "pci" else "Directory mapping invalid: "
        raise TaskError(f"{prefix}{problem}")
    return here[0]


def _all(world: World, kind: str) -> dict[str, Any]:
    if kind not in CHECKS:
        raise ApiError(501, f"Method 'GET /cluster/mapping/{kind}' not implemented")
    return dict(world.data["mappings"][kind])


@route("GET", "/nodes/{node}/hardware/pci")
def list_pci(call: Call, node: str) -> Any:
    call.need("Sys.Audit", "/nodes/" + node)
    return call.world.data["pci"]


@route("GET", "/cluster/mapping/{kind}")
def list_mappings(call: Call, kind: str) -> Any:
    world = call.world
    result = []
    for ident, mapping in sorted(_all(world, kind).items()):
        item = {"id": ident, "type": kind, "map": mapping["map"], "digest": digest(world.data["mappings"][kind])}
        if mapping.get("description"):
            item["description"] = mapping["description"]
        if call.params.get("check-node") == world.node:
            here = [entry for entry in entries(mapping) if entry.get("node") == world.node]
            problems = [CHECKS[kind](world, entry) for entry in here]
            item["checks"] = [{"severity": "error", "message": f"{PREFIX[kind]}: {p}\n"} for p in problems if p]
            if not here:
                item["checks"] = [{"severity": "warning", "message": f"No mapping for node {world.node}."}]
        result.append(item)
    return result


@route("GET", "/cluster/mapping/{kind}/{ident}")
def get_mapping(call: Call, kind: str, ident: str) -> Any:
    mapping = _existing(call.world, kind, ident)
    return {**mapping, "id": ident, "digest": digest(call.world.data["mappings"][kind])}


def _existing(world: World, kind: str, ident: str) -> dict[str, Any]:
    mapping = _all(world, kind).get(ident)
    if mapping is None:
        raise ApiError(500, f"mapping '{ident}' not found")
    return dict(mapping)


def _checked_map(call: Call) -> list[str]:
    maps = call.list_param("map")
    for number, text in enumerate(maps):
        entry = parse(text)
        missing = [name for name in ("node", "path") if name not in entry]
        if missing:
            raise invalid({f"map/{number}": f"{missing[0]}: property is missing and it is not optional\n"})
    return maps


@route("POST", "/cluster/mapping/{kind}")
def create_mapping(call: Call, kind: str) -> Any:
    params = call.require("id", "map")
    call.need("Mapping.Modify", f"/mapping/{kind}")
    if params["id"] in _all(call.world, kind):
        raise ApiError(500, f"{'PCI' if kind == 'pci' else kind} mapping '{params['id']}' already exists")
    mapping = {"map": _checked_map(call)}
    if params.get("description"):
        mapping["description"] = params["description"]
    call.world.data["mappings"][kind][params["id"]] = mapping


@route("PUT", "/cluster/mapping/{kind}/{ident}")
def update_mapping(call: Call, kind: str, ident: str) -> Any:
    mapping = _existing(call.world, kind, ident)
    call.need("Mapping.Modify", f"/mapping/{kind}/{ident}")
    if call.params.get("digest") not in (None, digest(call.world.data["mappings"][kind])):
        raise ApiError(500, "checksum mismatch (file change by other user?)")
    if "map" in call.params:
        mapping["map"] = _checked_map(call)
    if "description" in call.params:
        mapping["description"] = call.params["description"]
    for key in str(call.params.get("delete", "")).split(","):
        mapping.pop(key, None)
    call.world.data["mappings"][kind][ident] = mapping


@route("DELETE", "/cluster/mapping/{kind}/{ident}")
def delete_mapping(call: Call, kind: str, ident: str) -> Any:
    call.need("Mapping.Modify", f"/mapping/{kind}/{ident}")
    _all(call.world, kind)
    call.world.data["mappings"][kind].pop(ident, None)
