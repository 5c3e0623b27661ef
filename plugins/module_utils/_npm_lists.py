# Copyright (c) 2026 The homelab.mediaserver authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt)
"""What to do with Nginx Proxy Manager's access lists: pure comparison, no requests.

The order of the clients counts (nginx takes the first rule that fits). Passwords never come back, so they are compared
by the names of the users only. Deleting a list opens the hosts that use it, so that is refused.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import ip_network
from typing import Any

from ansible_collections.homelab.mediaserver.plugins.module_utils._reconcile import Failure


@dataclass(frozen=True)
class Change:
    kind: str
    name: str
    number: int = 0
    body: dict[str, Any] = field(default_factory=dict)


def address(text: str) -> str:
    """An address or network in one form; host bits are cut off, as nginx would do with a complaint."""
    if text == "all":
        return text
    try:
        network = ip_network(text, strict=False)
    except ValueError as error:
        raise Failure(f"Unable to use client address {text}: {error}") from error
    return str(network.network_address) if network.num_addresses == 1 else str(network)


def clients(entries: list[dict[str, Any]] | None) -> list[dict[str, str]]:
    return [{"address": address(entry["address"]), "directive": entry["directive"]} for entry in entries or []]


def canonical(entry: dict[str, Any]) -> dict[str, Any]:
    """A list of the API as far as it can be compared."""
    stored = []
    for client in entry.get("clients") or []:
        try:
            stored += clients([client])
        except Failure:  # a host name, which the web page allows: kept as it is
            stored.append({"address": client["address"], "directive": client["directive"]})
    return {
        "name": entry["name"],
        "satisfy_any": bool(entry.get("satisfy_any")),
        "pass_auth": bool(entry.get("pass_auth")),
        "clients": stored,
        "users": sorted(user["username"] for user in entry.get("items") or []),
    }


def find(name: str, existing: list[dict[str, Any]]) -> dict[str, Any] | None:
    found = [entry for entry in existing if entry["name"] == name]
    if len(found) > 1:
        numbers = ", ".join(f"#{entry['id']}" for entry in found)
        raise Failure(f"Unable to manage access list {name}: there are several of that name ({numbers})")
    return found[0] if found else None


def body_of(option: dict[str, Any], current: dict[str, Any] | None, always: bool) -> dict[str, Any]:
    """The request: an empty password keeps the one that is stored."""
    known = set() if current is None or always else {user["username"] for user in current.get("items") or []}
    users = option["users"] or []
    return {
        "name": option["name"],
        "satisfy_any": option["satisfy_any"],
        "pass_auth": option["pass_auth"],
        "clients": clients(option["clients"]),
        "items": [
            {"username": user["username"], "password": "" if user["username"] in known else user["password"]}
            for user in users
        ],
    }


def plan_lists(
    options: list[dict[str, Any]], existing: list[dict[str, Any]], prefix: str | None, always: bool
) -> tuple[list[Change], list[Any], list[Any]]:
    """The writes, and the states before and after of the lists they are about."""
    names = [option["name"] for option in options]
    if len(set(names)) != len(names):
        raise Failure(f"Unable to plan access lists: a name is listed twice among {', '.join(names)}")
    changes: list[Change] = []
    before: list[Any] = []
    after: list[Any] = []
    for option in options:
        current = find(option["name"], existing)
        before += [canonical(current)] if current else []
        if option["state"] == "absent":
            changes += [removal(current)] if current else []
            continue
        body = body_of(option, current, always)
        wanted = canonical({**body, "items": body["items"]})
        after.append(wanted)
        if current is None:
            changes.append(Change("create", option["name"], 0, body))
        elif wanted != canonical(current) or (always and body["items"]):
            changes.append(Change("update", option["name"], int(current["id"]), body))
    for entry in existing:
        if prefix and entry["name"].startswith(prefix) and entry["name"] not in names:
            # whether a host still uses it is asked when it is deleted: a dry run has not changed the hosts
            before.append(canonical(entry))
            changes.append(Change("purge", entry["name"], int(entry["id"])))
    return changes, before, after


def removal(entry: dict[str, Any]) -> Change:
    refuse_in_use(entry)
    return Change("delete", entry["name"], int(entry["id"]))


def refuse_in_use(entry: dict[str, Any]) -> None:
    if int(entry.get("proxy_host_count") or 0):
        raise Failure(
            f"Unable to delete access list {entry['name']}: {entry['proxy_host_count']} proxy host(s) use it, "
            "and would then be open to everybody"
        )
