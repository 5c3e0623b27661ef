# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The named things of Proxmox VE's firewall as values: aliases, IP sets, security groups, and who names them. Pure.

Names are compared in small letters, as Proxmox VE reads them from its files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from ansible_collections.homelab.mediaserver.plugins.module_utils import _pve_firewall as fw
from ansible_collections.homelab.mediaserver.plugins.module_utils._reconcile import Failure

Entry = dict[str, Any]
Use = tuple[str, str, str, str]  # kind, scope, name, who names it
Entries = dict[str, Entry]
NOUNS = {"alias": "alias", "ipset": "IP set", "group": "security group"}


def with_comment(entry: Entry, *comments: Any) -> Entry:
    """The first comment that is not None counts; an empty one is none."""
    found = next((fw.comment(given) for given in comments if given is not None), "")
    return {**entry, **({"comment": found} if found else {})}


def keyed(pairs: Iterable[tuple[str, Entry]], noun: str) -> Entries:
    result: Entries = {}
    for key, entry in pairs:
        if key in result:
            raise Failure(f"Unable to use the list: {noun} {key} stands in it twice")
        result[key] = entry
    return result


def aliases_now(rows: list[dict[str, Any]]) -> Entries:
    return {str(row["name"]).lower(): with_comment({"cidr": fw.cidr(row["cidr"])}, row.get("comment")) for row in rows}


def aliases_wanted(given: list[dict[str, Any]], now: Entries) -> Entries:
    def entry(key: str, item: dict[str, Any]) -> Entry:
        return with_comment({"cidr": fw.cidr(item["cidr"])}, item.get("comment"), now.get(key, {}).get("comment"))

    return keyed(((item["name"].lower(), entry(item["name"].lower(), item)) for item in given), "alias")


def member(item: dict[str, Any], now: Entry) -> Entry:
    entry = {"nomatch": True} if fw.text(item.get("nomatch") or False) == "1" else {}
    return with_comment(entry, item.get("comment"), now.get("comment"))


def members_now(rows: list[dict[str, Any]]) -> Entries:
    return {fw.cidr(row["cidr"]): member(row, {}) for row in rows}


def members_wanted(given: list[dict[str, Any]], now: Entries) -> Entries:
    pairs = ((fw.cidr(item["cidr"]), item) for item in given)
    return keyed(((key, member(item, now.get(key, {}))) for key, item in pairs), "member")


def ipsets_wanted(given: list[dict[str, Any]], now: Entries) -> Entries:
    def entry(old: Entry, item: dict[str, Any]) -> Entry:
        members = old.get("members", {})
        if item.get("members") is not None:
            members = members_wanted(item["members"], members)
        return with_comment({"members": members}, item.get("comment"), old.get("comment"))

    names = ((item["name"].lower(), item) for item in given)
    return keyed(((key, entry(now.get(key, {}), item)) for key, item in names), "IP set")


def groups_wanted(given: list[dict[str, Any]], now: Entries, rule: Callable[[dict[str, Any]], fw.Rule]) -> Entries:
    def entry(old: Entry, item: dict[str, Any]) -> Entry:
        rules = old.get("rules", []) if item.get("rules") is None else [rule(each) for each in item["rules"]]
        return with_comment({"rules": rules}, item.get("comment"), old.get("comment"))

    names = ((item["name"].lower(), item) for item in given)
    return keyed(((key, entry(now.get(key, {}), item)) for key, item in names), "security group")


def gone(now: dict[str, Any], after: dict[str, Any]) -> set[tuple[str, str]]:
    """(kind, name) of all that is removed."""
    kinds = {"alias": "aliases", "ipset": "ipsets", "group": "groups"}
    return {(kind, key) for kind, part in kinds.items() for key in set(now.get(part, {})) - set(after.get(part, {}))}


def uses(rules: list[fw.Rule], ipsets: Entries, where: str) -> list[Use]:
    """All that these rules and members name."""
    found = []
    for pos, rule in enumerate(rules):
        found += [(*reference, f"rule {pos} of {where}") for reference in fw.references(rule)]
    for name, entry in ipsets.items():
        for key in entry["members"]:
            found += [(*reference, f"IP set {name} of {where}") for reference in fw.named(key)]
    return found


def refuse_if_used(removed: set[tuple[str, str]], found: list[Use], scopes: tuple[str, ...]) -> None:
    """What is removed must not be named by anything that stays."""
    for kind, scope, name, who in sorted(found):
        if (kind, name) in removed and scope in scopes:
            raise Failure(f"Unable to remove {NOUNS[kind]} {name}: {who} refers to it")
