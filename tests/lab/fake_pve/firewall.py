# SPDX-License-Identifier: MIT
"""The firewall's configuration at datacenter, node and VM: options, rules, aliases, IP sets. Filters nothing."""

from __future__ import annotations

from typing import Any

from .errors import ApiError, invalid, no_config
from .routing import Call, route
from .schema import NOT_DEFINED
from .world import digest

RULE_KEYS = {"type", "action", "source", "dest", "proto", "dport", "sport", "iface", "log", "comment", "enable",
             "macro", "icmp-type"}  # fmt: skip
OPTION_KEYS = {
    "cluster": {"enable", "policy_in", "policy_out", "policy_forward", "log_ratelimit", "ebtables"},
    "node": {"enable", "log_level_in", "log_level_out", "nf_conntrack_max", "tcpflags", "nosmurfs", "ndp", "nftables",
             "smurf_log_level", "tcp_flags_log_level", "protection_synflood", "log_nf_conntrack"},
    "vm": {"enable", "policy_in", "policy_out", "dhcp", "ipfilter", "macfilter", "ndp", "radv", "log_level_in",
           "log_level_out"},
}  # fmt: skip
LEVELS = ("/cluster/firewall", "/nodes/{node}/firewall", "/nodes/{node}/qemu/{vmid}/firewall")


def _scope(call: Call, path: dict[str, str]) -> tuple[str, dict[str, Any]]:
    if "vmid" in path:
        if path["vmid"] not in call.world.data["vms"]:
            raise no_config(path["node"], int(path["vmid"]))
        kind, key = "vm", f"vm/{path['vmid']}"
    elif "node" in path:
        kind, key = "node", f"node/{path['node']}"
    else:
        kind, key = "cluster", "cluster"
    empty: dict[str, Any] = {"options": {}, "rules": [], "aliases": {}, "ipset": {}}
    return kind, call.world.data["firewall"].setdefault(key, empty)


def _check_digest(call: Call, scope: dict[str, Any]) -> None:
    if call.params.get("digest") not in (None, digest(scope)):
        raise ApiError(500, "detected modified configuration - file changed by other user? Try again.")


def _number(value: Any) -> Any:
    return int(value) if str(value).isdigit() else value


def _checked_rule(params: dict[str, Any]) -> dict[str, Any]:
    rule = {k: v for k, v in params.items() if k not in ("pos", "digest", "moveto", "delete")}
    errors = {key: NOT_DEFINED for key in rule if key not in RULE_KEYS}
    for key in ("dport", "sport"):
        if rule.get(key) and not rule.get("proto"):
            errors["proto"] = f"missing property - '{key}' requires this property"
    for key in ("type", "action"):
        if key not in rule:
            errors[key] = "property is missing and it is not optional"
    if errors:
        raise invalid(errors)
    return {**rule, "enable": int(rule.get("enable", 0))}


def get_options(call: Call, **path: str) -> Any:
    _kind, scope = _scope(call, path)
    return {**scope["options"], "digest": digest(scope)}


def put_options(call: Call, **path: str) -> Any:
    kind, scope = _scope(call, path)
    _check_digest(call, scope)
    params = {k: v for k, v in call.params.items() if k not in ("digest", "delete")}
    unknown = {key: NOT_DEFINED for key in params if key not in OPTION_KEYS[kind]}
    if unknown:
        raise invalid(unknown)
    for key in str(call.params.get("delete", "")).split(","):
        scope["options"].pop(key, None)
    scope["options"].update({key: _number(value) for key, value in params.items()})


def get_rules(call: Call, **path: str) -> Any:
    _kind, scope = _scope(call, path)
    return [{**rule, "pos": pos, "digest": digest(scope)} for pos, rule in enumerate(scope["rules"])]


def add_rule(call: Call, **path: str) -> Any:
    _kind, scope = _scope(call, path)
    _check_digest(call, scope)
    rule = _checked_rule(call.params)
    scope["rules"].insert(0, rule)  # whatever pos says


def put_rule(call: Call, pos: str, **path: str) -> Any:
    _kind, scope = _scope(call, path)
    _check_digest(call, scope)
    rule = _rule(scope, pos)
    if "moveto" in call.params:
        moved = scope["rules"].pop(int(pos))
        target = int(call.params["moveto"])
        scope["rules"].insert(target - 1 if target > int(pos) else target, moved)
        return
    removed = str(call.params.get("delete", "")).split(",")
    scope["rules"][int(pos)] = _checked_rule({**{k: v for k, v in rule.items() if k not in removed}, **call.params})


def _rule(scope: dict[str, Any], pos: str) -> dict[str, Any]:
    if not pos.isdigit() or int(pos) >= len(scope["rules"]):
        raise ApiError(500, f"no rule at position {pos}")
    return dict(scope["rules"][int(pos)])


def delete_rule(call: Call, pos: str, **path: str) -> Any:
    _kind, scope = _scope(call, path)
    _check_digest(call, scope)
    _rule(scope, pos)
    del scope["rules"][int(pos)]


def get_aliases(call: Call, **path: str) -> Any:
    _kind, scope = _scope(call, path)
    aliases = scope["aliases"]
    return [{"name": name, **alias, "digest": digest(aliases)} for name, alias in sorted(aliases.items())]


def add_alias(call: Call, **path: str) -> Any:
    _kind, scope = _scope(call, path)
    params = call.require("name", "cidr")
    if params["name"] in scope["aliases"]:
        raise invalid({"name": f"alias '{params['name']}' already exists"})
    scope["aliases"][params["name"]] = {k: params[k] for k in ("cidr", "comment") if k in params}


def delete_alias(call: Call, name: str, **path: str) -> Any:
    _kind, scope = _scope(call, path)
    scope["aliases"].pop(name, None)


def get_ipsets(call: Call, **path: str) -> Any:
    _kind, scope = _scope(call, path)
    return [{"name": name, "digest": digest(scope["ipset"])} for name in sorted(scope["ipset"])]


def add_ipset(call: Call, **path: str) -> Any:
    _kind, scope = _scope(call, path)
    scope["ipset"].setdefault(call.require("name")["name"], [])


def get_ipset(call: Call, name: str, **path: str) -> Any:
    _kind, scope = _scope(call, path)
    if name not in scope["ipset"]:
        raise ApiError(500, f"no such IPSet '{name}'")
    return [{**entry, "digest": digest(scope["ipset"][name])} for entry in scope["ipset"][name]]


def add_to_ipset(call: Call, name: str, **path: str) -> Any:
    get_ipset(call, name, **path)
    _kind, scope = _scope(call, path)
    params = call.require("cidr")
    if any(entry["cidr"] == params["cidr"] for entry in scope["ipset"][name]):
        raise invalid({"cidr": "address '" + params["cidr"] + "' already exists"})
    scope["ipset"][name].append({k: params[k] for k in ("cidr", "comment", "nomatch") if k in params})


for _level in LEVELS:
    route("GET", f"{_level}/options")(get_options)
    route("PUT", f"{_level}/options")(put_options)
    route("GET", f"{_level}/rules")(get_rules)
    route("POST", f"{_level}/rules")(add_rule)
    route("PUT", f"{_level}/rules/{{pos}}")(put_rule)
    route("DELETE", f"{_level}/rules/{{pos}}")(delete_rule)
    if _level != LEVELS[1]:
        route("GET", f"{_level}/aliases")(get_aliases)
        route("POST", f"{_level}/aliases")(add_alias)
        route("DELETE", f"{_level}/aliases/{{name}}")(delete_alias)
        route("GET", f"{_level}/ipset")(get_ipsets)
        route("POST", f"{_level}/ipset")(add_ipset)
        route("GET", f"{_level}/ipset/{{name}}")(get_ipset)
        route("POST", f"{_level}/ipset/{{name}}")(add_to_ipset)
