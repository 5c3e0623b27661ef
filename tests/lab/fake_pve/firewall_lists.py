# SPDX-License-Identifier: MIT
"""The firewall's aliases, IP sets and security groups."""

from __future__ import annotations

import ipaddress
from typing import Any

from . import firewall
from .errors import ApiError, invalid
from .firewall import LEVELS, may, only, scope_of, truth, unchanged, with_digest
from .routing import Call, route

GROUP = "/cluster/firewall/groups/{group}"


def _clean(value: str) -> str:
    """A network without host bits, a single address without /32, as the API and its file's parser make it."""
    try:
        network = ipaddress.ip_network(value, strict=False)
    except ValueError:
        problem = "invalid format - value does not look like a valid IP address or CIDR network\n"
        raise invalid({"cidr": problem}) from None
    return str(network.network_address if network.prefixlen == network.max_prefixlen else network)


def _noted(row: dict[str, Any], comment: Any) -> dict[str, Any]:
    return {**row, **({"comment": str(comment).strip()} if str(comment or "").strip() else {})}


def _aliases(scope: dict[str, Any]) -> list[dict[str, Any]]:
    return [alias for _key, alias in sorted(scope["aliases"].items())]


def get_aliases(call: Call, **path: str) -> Any:
    may(call, path, write=False)
    return with_digest(_aliases(scope_of(call, path)[1]))


def add_alias(call: Call, **path: str) -> Any:
    may(call, path, write=True)
    params = only(call, "name", "cidr", "comment")
    call.require("name", "cidr")
    aliases = scope_of(call, path)[1]["aliases"]
    if params["name"].lower() in aliases:
        raise invalid({"name": f"alias '{params['name']}' already exists"})
    _put_alias(aliases, params["name"], params)


def _put_alias(aliases: dict[str, Any], name: str, params: dict[str, Any]) -> None:
    cidr = _clean(params["cidr"])
    row = {"name": name, "cidr": cidr, "ipversion": 6 if ":" in cidr else 4}
    aliases[name.lower()] = _noted(row, params.get("comment"))


def put_alias(call: Call, name: str, **path: str) -> Any:
    may(call, path, write=True)
    params = only(call, "cidr", "comment", "rename", "digest")
    call.require("cidr")
    scope = scope_of(call, path)[1]
    unchanged(call, _aliases(scope))
    if name.lower() not in scope["aliases"]:
        raise invalid({"name": "no such alias"})
    _put_alias(scope["aliases"], name, params)


def delete_alias(call: Call, name: str, **path: str) -> Any:
    may(call, path, write=True)
    only(call, "digest")
    scope = scope_of(call, path)[1]
    unchanged(call, _aliases(scope))
    scope["aliases"].pop(name.lower(), None)


def _named(scope: dict[str, Any], kind: str, field: str) -> list[dict[str, Any]]:
    comments = scope["ipset_comments" if kind == "ipset" else "group_comments"]
    return [_noted({field: name}, comments.get(name)) for name in sorted(scope[kind])]


def _create_or_rename(call: Call, scope: dict[str, Any], kind: str, field: str, noun: str) -> None:
    """A rename to the same name gives a new comment."""
    params = only(call, field, "comment", "rename", "digest")
    name = str(call.require(field)[field]).lower()
    comments = scope["ipset_comments" if kind == "ipset" else "group_comments"]
    old = str(params.get("rename", "")).lower()
    if old:
        unchanged(call, _named(scope, kind, field))
        if old not in scope[kind]:
            raise invalid({field: f"{noun} '{params['rename']}' does not exists"})
        if name in scope[kind] and name != old:
            raise invalid({field: f"{noun} '{name}' does already exist"})
        scope[kind][name] = scope[kind].pop(old)
        comments[name] = comments.pop(old, "")
    elif name in scope[kind]:
        raise invalid({field: f"{noun} '{name}' already exists"})
    else:
        scope[kind][name] = []
    if "comment" in params:
        comments[name] = params["comment"]


def get_ipsets(call: Call, **path: str) -> Any:
    may(call, path, write=False)
    return with_digest(_named(scope_of(call, path)[1], "ipset", "name"))


def add_ipset(call: Call, **path: str) -> Any:
    may(call, path, write=True)
    _create_or_rename(call, scope_of(call, path)[1], "ipset", "name", "IPSet")


def _ipset(call: Call, name: str, path: dict[str, str]) -> list[dict[str, Any]]:
    members: list[dict[str, Any]] | None = scope_of(call, path)[1]["ipset"].get(name.lower())
    if members is None:
        raise ApiError(500, f"no such IPSet '{name}'")
    return members


def get_ipset(call: Call, name: str, **path: str) -> Any:
    may(call, path, write=False)
    return with_digest(_ipset(call, name, path))


def delete_ipset(call: Call, name: str, **path: str) -> Any:
    may(call, path, write=True)
    only(call, "force")
    if _ipset(call, name, path) and not truth(call.params.get("force")):
        raise ApiError(500, f"IPSet '{name}' is not empty")
    scope = scope_of(call, path)[1]
    del scope["ipset"][name.lower()]
    scope["ipset_comments"].pop(name.lower(), None)


def add_member(call: Call, name: str, **path: str) -> Any:
    may(call, path, write=True)
    params = only(call, "cidr", "comment", "nomatch")
    members, cidr = _ipset(call, name, path), str(call.require("cidr")["cidr"])
    alias = firewall.NAME.fullmatch(cidr)
    if alias:
        places = [scope_of(call, path)[1], scope_of(call, {})[1]]
        if not any(alias[2].lower() in place["aliases"] for place in places):
            raise ApiError(500, f"no such alias '{cidr}'")
    else:
        cidr = _clean(cidr)
    if any(member["cidr"] == cidr for member in members):
        raise invalid({"cidr": f"address '{cidr}' already exists"})
    if cidr.endswith("/0"):
        raise invalid({"cidr": "a zero prefix is not allowed in ipset entries"})
    members.append(_member({"cidr": cidr}, params))
    members.sort(key=lambda member: str(member["cidr"]))  # as they are written


def _member(row: dict[str, Any], params: dict[str, Any]) -> dict[str, Any]:
    return _noted({**row, **({"nomatch": 1} if truth(params.get("nomatch")) else {})}, params.get("comment"))


def put_member(call: Call, name: str, cidr: str, **path: str) -> Any:
    may(call, path, write=True)
    params = only(call, "comment", "nomatch", "digest")
    members = _ipset(call, name, path)
    unchanged(call, members)
    for pos, member in enumerate(members):
        if member["cidr"] == cidr:
            members[pos] = _member({"cidr": cidr}, params)
            return
    raise invalid({"cidr": "no such IP/Network"})


def delete_member(call: Call, name: str, cidr: str, **path: str) -> Any:
    may(call, path, write=True)
    only(call, "digest")
    members = _ipset(call, name, path)
    unchanged(call, members)
    members[:] = [member for member in members if member["cidr"] != cidr]


@route("GET", "/cluster/firewall/groups")
def get_groups(call: Call) -> Any:
    may(call, {}, write=False)
    return with_digest(_named(scope_of(call, {})[1], "groups", "group"))


@route("POST", "/cluster/firewall/groups")
def add_group(call: Call) -> Any:
    may(call, {}, write=True)
    _create_or_rename(call, scope_of(call, {})[1], "groups", "group", "Security group")


@route("DELETE", GROUP)
def delete_group(call: Call, group: str) -> Any:
    may(call, {}, write=True)
    only(call)
    scope = scope_of(call, {})[1]
    if group.lower() not in scope["groups"]:
        raise ApiError(500, f"no such security group '{group}'")
    if scope["groups"][group.lower()]:
        raise ApiError(500, f"Security group '{group}' is not empty")
    del scope["groups"][group.lower()]
    scope["group_comments"].pop(group.lower(), None)


firewall.register(GROUP)
for _level in LEVELS:
    if _level.startswith("/nodes/{node}/firewall"):
        continue
    route("GET", f"{_level}/aliases")(get_aliases)
    route("POST", f"{_level}/aliases")(add_alias)
    route("PUT", f"{_level}/aliases/{{name}}")(put_alias)
    route("DELETE", f"{_level}/aliases/{{name}}")(delete_alias)
    route("GET", f"{_level}/ipset")(get_ipsets)
    route("POST", f"{_level}/ipset")(add_ipset)
    route("GET", f"{_level}/ipset/{{name}}")(get_ipset)
    route("DELETE", f"{_level}/ipset/{{name}}")(delete_ipset)
    route("POST", f"{_level}/ipset/{{name}}")(add_member)
    route("PUT", f"{_level}/ipset/{{name}}/{{cidr}}")(put_member)
    route("DELETE", f"{_level}/ipset/{{name}}/{{cidr}}")(delete_member)
