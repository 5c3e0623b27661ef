# SPDX-License-Identifier: MIT
"""High availability: resources, and groups (8.4) or rules (9.1). Nothing is started or moved."""

from __future__ import annotations

import re
from typing import Any

from . import guests
from .errors import ApiError, invalid
from .firewall import only, truth
from .routing import Call, route
from .schema import NOT_DEFINED
from .world import World, digest

STATES = ("started", "stopped", "enabled", "disabled", "ignored")
SID = re.compile(r"(vm|ct):(\d+)")
MIGRATED = "ha groups have been migrated to rules"
RULE_KEYS = {"node-affinity": ("resources", "nodes", "strict", "affinity", "disable", "comment"),
             "resource-affinity": ("resources", "affinity", "disable", "comment")}  # fmt: skip


def _old(call: Call) -> bool:
    return call.world.release.startswith("8")


def _part(world: World, name: str) -> dict[str, Any]:
    """resources, groups or rules by name."""
    found: dict[str, Any] = world.data.setdefault("ha", {}).setdefault(name, {})
    return found


def _unchanged(call: Call, part: dict[str, Any]) -> None:
    if call.params.get("digest") not in (None, digest(part)):
        raise ApiError(500, "detected modified configuration - file changed by other user? Try again.")


def _gone(call: Call, known: tuple[str, ...], needed: tuple[str, ...] = ()) -> list[str]:
    names = [name for name in str(call.params.get("delete", "")).split(",") if name]
    for name in names:
        if name not in known:
            raise ApiError(500, f"no such option '{name}'")
        if name in needed:
            raise ApiError(500, f"unable to delete required option '{name}'")
        if name in call.params:
            raise ApiError(500, f"unable to set and delete property '{name}' at the same time!")
    return names


def _resource_keys(call: Call) -> tuple[str, ...]:
    keys = ("state", "group", "max_restart", "max_relocate", "comment")
    return keys if _old(call) else (*keys, "failback")


def _settings(call: Call) -> dict[str, Any]:
    params = {key: value for key, value in call.params.items() if key in _resource_keys(call)}
    if params.get("state", "started") not in STATES:
        enum = f"value '{params['state']}' does not have a value in the enumeration '{', '.join(STATES)}'"
        raise invalid({"state": enum})
    if "group" in params and not _old(call):
        raise ApiError(500, f"invalid parameter 'group': {MIGRATED}")
    for key in ("max_restart", "max_relocate"):
        if key in params:
            if not str(params[key]).isdigit():
                raise invalid({key: f"type check ('integer') failed - got '{params[key]}'"})
            params[key] = int(params[key])
    return {**params, **({"failback": int(truth(params["failback"]))} if "failback" in params else {})}


def _sid(text: str) -> tuple[str, str, str]:
    match = SID.fullmatch(text)
    if match is None:
        raise ApiError(500, f"unable to parse service id '{text}'")
    return text, match[1], match[2]


@route("GET", "/cluster/ha/resources")
def list_resources(call: Call) -> Any:
    call.need("Sys.Audit", "/")
    part = _part(call.world, "resources")
    return [{**entry, "sid": sid, "type": sid[:2], "digest": digest(part)} for sid, entry in part.items()]


@route("POST", "/cluster/ha/resources")
def create_resource(call: Call) -> Any:
    call.need("Sys.Console", "/")
    only(call, "sid", "type", *_resource_keys(call))
    sid, _kind, vmid = _sid(str(call.require("sid")["sid"]))
    if guests.kind_of(call.world, vmid) is None:
        raise ApiError(500, f"resource '{sid}' does not exists in cluster")
    part, entry = _part(call.world, "resources"), _settings(call)
    if sid in part:
        raise ApiError(500, f"create resource failed: resource ID '{sid}' already defined")
    part[sid] = entry


@route("PUT", "/cluster/ha/resources/{sid}")
def update_resource(call: Call, sid: str) -> Any:
    call.need("Sys.Console", "/")
    only(call, "type", "digest", "delete", *_resource_keys(call))
    part, entry = _part(call.world, "resources"), _settings(call)
    if entry.get("group") and entry["group"] not in _part(call.world, "groups"):
        raise ApiError(500, f"HA group '{entry['group']}' does not exist")
    _unchanged(call, part)
    if sid not in part:
        raise ApiError(500, f"update resource failed: no such resource '{sid}'")
    gone = _gone(call, _resource_keys(call))
    part[sid] = {**{key: value for key, value in part[sid].items() if key not in gone}, **entry}


@route("DELETE", "/cluster/ha/resources/{sid}")
def delete_resource(call: Call, sid: str) -> Any:
    call.need("Sys.Console", "/")
    only(call, *(() if _old(call) else ("purge",)))
    part = _part(call.world, "resources")
    if sid not in part:
        raise ApiError(500, f"resource '{sid}' is not HA managed")
    del part[sid]
    if not _old(call) and truth(call.params.get("purge", 1)):
        rules = _part(call.world, "rules")
        for name, rule in list(rules.items()):
            rule["resources"] = [other for other in rule["resources"] if other != sid]
            if not rule["resources"]:
                del rules[name]


GROUP_KEYS = ("nodes", "restricted", "nofailback", "comment")


def _groups(call: Call, verb: str) -> dict[str, Any]:
    if not _old(call):
        raise ApiError(500, f"cannot {verb}: {MIGRATED}")
    return _part(call.world, "groups")


def _group(call: Call) -> dict[str, Any]:
    found = {key: value for key, value in call.params.items() if key in GROUP_KEYS}
    return {key: int(truth(value)) if key in ("restricted", "nofailback") else value for key, value in found.items()}


@route("GET", "/cluster/ha/groups")
def list_groups(call: Call) -> Any:
    call.need("Sys.Audit", "/")
    part = _groups(call, "index groups")
    return [{**entry, "group": name, "type": "group", "digest": digest(part)} for name, entry in part.items()]


@route("POST", "/cluster/ha/groups")
def create_group(call: Call) -> Any:
    call.need("Sys.Console", "/")
    part = _groups(call, "create group")
    only(call, "group", "type", *GROUP_KEYS)
    name = call.require("group", "nodes")["group"]
    if name in part:
        raise ApiError(500, f"create ha group failed: ha group ID '{name}' already defined")
    part[name] = _group(call)


@route("PUT", "/cluster/ha/groups/{name}")
def update_group(call: Call, name: str) -> Any:
    call.need("Sys.Console", "/")
    part = _groups(call, "update group")
    only(call, "type", "digest", "delete", *GROUP_KEYS)
    _unchanged(call, part)
    if name not in part:
        raise ApiError(500, f"update ha group failed: no such ha group '{name}'")
    gone = _gone(call, GROUP_KEYS, ("nodes",))
    part[name] = {**{key: value for key, value in part[name].items() if key not in gone}, **_group(call)}


@route("DELETE", "/cluster/ha/groups/{name}")
def delete_group(call: Call, name: str) -> Any:
    call.need("Sys.Console", "/")
    part = _groups(call, "delete group")
    for sid, entry in _part(call.world, "resources").items():
        if entry.get("group") == name:
            raise ApiError(500, f"delete ha group failed: ha group is used by service '{sid}'")
    part.pop(name, None)


def _rules(call: Call, method: str, path: str) -> dict[str, Any]:
    if _old(call):
        raise ApiError(501, f"Method '{method} {path}' not implemented")
    return _part(call.world, "rules")


def _split(text: str) -> list[str]:
    return [item for item in re.split(r"[,;\s]+", text) if item]


def _rule(call: Call, kind: str) -> dict[str, Any]:
    """What is given, as it is kept. The schema of each type knows only its own properties."""
    params = {key: value for key, value in call.params.items() if key not in ("rule", "type", "digest", "delete")}
    unknown = {key: NOT_DEFINED for key in params if key not in RULE_KEYS[kind]}
    if unknown:
        raise invalid(unknown)
    found: dict[str, Any] = {
        key: int(truth(value)) if key in ("strict", "disable") else value for key, value in params.items()
    }
    found = {key: value for key, value in found.items() if value != 0}  # a 0 is overlooked, it must be deleted
    if "resources" in found:
        found["resources"] = sorted(set(_split(found["resources"])))
        left = [sid for sid in found["resources"] if sid not in _part(call.world, "resources")]
        if left:
            raise ApiError(500, f"cannot use unmanaged resource(s) {', '.join(left)}.")
    if "nodes" in found:
        found["nodes"] = sorted(set(_split(found["nodes"])))
        known = {call.world.node, *call.world.data.get("other_nodes", [])}
        strange = [node for node in found["nodes"] if node.split(":")[0] not in known]
        if strange:
            raise ApiError(500, f"cannot use non-existant node(s) {', '.join(strange)}.")
    return found


def _feasible(call: Call, name: str, rules: dict[str, Any]) -> None:
    rule = rules[name]
    others = [other for key, other in rules.items() if key != name and not other.get("disable")]
    problem = None
    if rule.get("disable"):
        return
    if rule["type"] == "node-affinity":
        taken = {sid for other in others if other["type"] == rule["type"] for sid in other["resources"]}
        twice = [sid for sid in rule["resources"] if sid in taken]
        problem = f"resource '{twice[0]}' is already used in another node affinity rule" if twice else None
    elif len(rule["resources"]) < 2:
        problem = "rule is ineffective as there are less than two resources"
    elif rule["affinity"] == "negative" and len(rule["resources"]) > 1 + len(call.world.data.get("other_nodes", [])):
        problem = "rule defines more resources than available nodes"
    if problem:
        raise ApiError(400, f"Rule '{name}' is invalid.", {"resources": problem})


@route("GET", "/cluster/ha/rules")
def list_rules(call: Call) -> Any:
    part = _rules(call, "GET", "/cluster/ha/rules")
    call.need("Sys.Audit", "/")
    rows = []
    for order, (name, rule) in enumerate(part.items(), 1):
        texts = {key: ",".join(value) if isinstance(value, list) else value for key, value in rule.items()}
        rows.append({"affinity": "positive", **texts, "rule": name, "order": order, "digest": digest(part)})
    return rows


@route("POST", "/cluster/ha/rules")
def create_rule(call: Call) -> Any:
    part = _rules(call, "POST", "/cluster/ha/rules")
    call.need("Sys.Console", "/")
    kind = str(call.require("rule", "type", "resources")["type"])
    if kind not in RULE_KEYS:
        raise invalid({"type": f"value '{kind}' does not have a value in the enumeration '{', '.join(RULE_KEYS)}'"})
    call.require("nodes" if kind == "node-affinity" else "affinity")
    if "digest" in call.params:
        raise invalid({"digest": NOT_DEFINED})
    name, rule = call.params["rule"], _rule(call, kind)
    if name in part:
        raise ApiError(500, f"create ha rule failed: HA rule '{name}' already defined")
    _feasible(call, name, {**part, name: {"type": kind, **rule}})
    part[name] = {"type": kind, **rule}


@route("PUT", "/cluster/ha/rules/{name}")
def update_rule(call: Call, name: str) -> Any:
    part = _rules(call, "PUT", f"/cluster/ha/rules/{name}")
    call.need("Sys.Console", "/")
    call.require("type")
    _unchanged(call, part)
    if name not in part:
        raise ApiError(500, f"update HA rules failed: HA rule '{name}' does not exist")
    kind = part[name]["type"]
    found = _rule(call, kind)
    gone = _gone(call, RULE_KEYS[kind], ("resources", "nodes"))
    changed = {**{key: value for key, value in part[name].items() if key not in gone}, **found}
    _feasible(call, name, {**part, name: changed})
    part[name] = changed


@route("DELETE", "/cluster/ha/rules/{name}")
def delete_rule(call: Call, name: str) -> Any:
    part = _rules(call, "DELETE", f"/cluster/ha/rules/{name}")
    call.need("Sys.Console", "/")
    only(call)
    part.pop(name, None)
