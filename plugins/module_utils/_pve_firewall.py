# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Proxmox VE's firewall as values: rules as an ordered list, and the fewest writes from one list to the other. Pure."""

from __future__ import annotations

import difflib
import ipaddress
import re
from dataclasses import dataclass
from typing import Any

from ansible_collections.homelab.mediaserver.plugins.module_utils import _pve_format as fmt
from ansible_collections.homelab.mediaserver.plugins.module_utils._reconcile import Failure

Rule = dict[str, str]
KEYS = ("type", "action", "macro", "source", "dest", "proto", "dport", "sport", "icmp-type", "iface", "log", "comment",
        "enable")  # fmt: skip
GROUP_KEYS = ("type", "action", "iface", "comment", "enable")  # all that a rule of the type group keeps
NAME = re.compile(r"(?:(dc|guest)/)?([a-z][a-z0-9_-]+)")


@dataclass(frozen=True)
class Write:
    """Insert ``rule`` at ``pos``, or delete what is there."""

    pos: int
    rule: Rule | None = None


def base_path(level: str, node: str | None, vmid: int | None, kind: str = "qemu") -> tuple[str, str]:
    """(path of the API, name for messages)."""
    if level == "datacenter":
        return "cluster/firewall", "the datacenter"
    if level == "node":
        return f"nodes/{node}/firewall", f"node {node}"
    return f"nodes/{node}/{kind}/{vmid}/firewall", f"{'container' if kind == 'lxc' else 'VM'} {vmid}"


def text(value: Any) -> str:
    if isinstance(value, bool):
        return "1" if value else "0"
    return str(value).strip()


def comment(value: Any) -> str:
    """A comment as the firewall's file keeps it: one line, without spaces around it."""
    found = text(value)
    if "\n" in found or "\r" in found:
        raise Failure(f"Unable to use the comment {found!r}: Proxmox VE keeps one line")
    return found


def cidr(value: Any) -> str:
    """One address, network, range or name as Proxmox VE takes it for the same: no host bits, no /32, names in small
    letters. What cannot be understood stays; the API says what is wrong with it."""
    found = text(value)
    try:
        if "-" in found and not NAME.fullmatch(found.lower()):
            return "-".join(str(ipaddress.ip_address(part.strip())) for part in found.split("-"))
        network = ipaddress.ip_network(found, strict=False)
    except ValueError:
        return found.lower() if NAME.fullmatch(found.lower().removeprefix("+")) else found
    return str(network.network_address if network.prefixlen == network.max_prefixlen else network)


def items(value: Any, one: Any = text) -> str:
    """A list with commas, in one order."""
    return ",".join(sorted(one(item) for item in text(value).split(",") if item.strip()))


def rule_from_user(given: dict[str, Any], macros: dict[str, str] | None = None) -> Rule:
    """``macros`` has the name of each macro by its name in small letters."""
    rule = {name.replace("_", "-"): text(value) for name, value in given.items() if value not in (None, "")}
    rule = canonical({"type": "in", "enable": "1", **rule})
    shown = f"the firewall rule {given.get('comment') or name(rule)}"
    for needy in ("dport", "sport", "icmp-type"):
        if needy in rule and "proto" not in rule:
            raise Failure(f"Unable to use {shown}: {needy} needs proto")
    if rule["type"] == "group" and set(rule) - set(GROUP_KEYS):
        extra = ", ".join(sorted(set(rule) - set(GROUP_KEYS)))
        raise Failure(f"Unable to use {shown}: Proxmox VE keeps no {extra} in a rule that names a security group")
    if "macro" in rule and macros is not None:
        if rule["macro"].lower() not in macros:
            raise Failure(f"Unable to use {shown}: Proxmox VE has no macro {rule['macro']}")
        rule["macro"] = macros[rule["macro"].lower()]
    return rule


def canonical(rule: dict[str, Any]) -> Rule:
    found = {key: text(rule[key]) for key in KEYS if rule.get(key) not in (None, "")}
    found["enable"] = "0" if found.get("enable", "0") == "0" else "1"
    if found.get("log") == "nolog":
        del found["log"]
    found["action"] = found.get("action", "").lower() if found["type"] == "group" else found.get("action", "").upper()
    for key in {"source", "dest"} & set(found):
        found[key] = items(found[key], cidr)
    for key in {"dport", "sport"} & set(found):
        found[key] = items(found[key])
    if "proto" in found:
        found["proto"] = found["proto"].lower()
    if "comment" in found:
        found["comment"] = comment(found["comment"])
    return found


def current_rules(rows: list[dict[str, Any]]) -> list[Rule]:
    return [canonical(row) for row in sorted(rows, key=lambda row: int(row.get("pos", 0)))]


def writes(current: list[Rule], wanted: list[Rule]) -> list[Write]:
    """First all that is missing is inserted, the last one first, then the rest is deleted from the end: what both
    lists allow stays allowed all the time, so that nobody is locked out half way."""
    old, new = [tuple(sorted(rule.items())) for rule in current], [tuple(sorted(rule.items())) for rule in wanted]
    inserts: list[Write] = []
    doomed: list[int] = []
    position = 0  # in the list that has both, old and new
    for _tag, i1, i2, j1, j2 in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        same = _tag == "equal"
        if not same:
            inserts += [Write(i1, rule) for rule in wanted[j1:j2]]
            position += j2 - j1
        for _line in range(i1, i2):
            if not same:
                doomed.append(position)
            position += 1
    return [*reversed(inserts), *(Write(pos) for pos in reversed(doomed))]


def name(rule: Rule) -> str:
    """A rule in one line."""
    parts = [rule["type"], rule.get("action", ""), rule.get("macro", ""), rule.get("proto", "")]
    parts.append(f"to port {rule['dport']}" if "dport" in rule else "")
    parts.append(f"from {rule['source']}" if "source" in rule else "")
    parts += [f"({rule['comment']})" if "comment" in rule else ""]
    return " ".join(part for part in parts if part)


def option(key: str, value: Any) -> str:
    """The value of an option as the firewall's file keeps it."""
    found = text(value)
    if key.startswith("policy_"):
        return found.upper()
    if key == "log_ratelimit":
        return fmt.render({**fmt.parse(found, "enable")}, "")
    return found


def options_change(current: dict[str, Any], wanted: dict[str, Any]) -> tuple[dict[str, str], list[str]]:
    """(options to set, options to delete); an empty value means: back to the default."""
    have = {key: option(key, value) for key, value in current.items() if key != "digest"}
    given = {key: option(key, value) for key, value in wanted.items() if value not in (None, "")}
    sets = {key: value for key, value in given.items() if have.get(key) != value}
    return sets, sorted(key for key in wanted if key not in given and key in have)


Options = tuple[dict[str, str], list[str]]  # to set, to bring back to their defaults


def loosening(sets: dict[str, str], gone: list[str]) -> tuple[list[Options], list[Options]]:
    """(what lets more through, what lets less through or neither): at most one write each. Once the firewall is off,
    the rest does no harm."""
    if sets.get("enable") == "0" or "enable" in gone:
        return [(sets, gone)], []
    looser = {key: value for key, value in sets.items() if key.startswith("policy_") and value == "ACCEPT"}
    back = [key for key in gone if key == "policy_out"]  # its default is ACCEPT
    parts = (looser, back), ({key: sets[key] for key in sets if key not in looser}, [k for k in gone if k not in back])
    first, last = ([part] if any(part) else [] for part in parts)
    return first, last


def references(rule: Rule) -> set[tuple[str, str, str]]:
    """What a rule names: (alias, ipset or group; scope dc, guest or nothing; name)."""
    found = {("group", "", rule["action"])} if rule["type"] == "group" else set()
    return found.union(*(named(rule.get(key, "")) for key in ("source", "dest")))


def named(addresses: str) -> set[tuple[str, str, str]]:
    found = set()
    for item in addresses.split(","):
        match = NAME.fullmatch(item.removeprefix("+"))
        if match:
            found.add(("ipset" if item.startswith("+") else "alias", match[1] or "", match[2]))
    return found
