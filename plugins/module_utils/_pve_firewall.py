# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Proxmox VE's firewall: rules as an ordered list, and the fewest writes from one list to the other. Pure."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Any

from ansible_collections.homelab.mediaserver.plugins.module_utils._reconcile import Failure

Rule = dict[str, str]
KEYS = ("type", "action", "macro", "source", "dest", "proto", "dport", "sport", "icmp-type", "iface", "log", "comment",
        "enable")  # fmt: skip


@dataclass(frozen=True)
class Write:
    """Insert ``rule`` at ``pos``, or delete what is there."""

    pos: int
    rule: Rule | None = None


def base_path(level: str, node: str | None, vmid: int | None) -> tuple[str, str]:
    """(path of the API, name for messages)."""
    if level == "datacenter":
        return "cluster/firewall", "the datacenter"
    if level == "node":
        return f"nodes/{node}/firewall", f"node {node}"
    return f"nodes/{node}/qemu/{vmid}/firewall", f"VM {vmid}"


def text(value: Any) -> str:
    if isinstance(value, bool):
        return "1" if value else "0"
    return str(value).strip()


def rule_from_user(given: dict[str, Any]) -> Rule:
    rule = {name.replace("_", "-"): text(value) for name, value in given.items() if value not in (None, "")}
    rule = {"type": "in", "enable": "1", **rule}
    for port in ("dport", "sport"):
        if port in rule and "proto" not in rule:
            raise Failure(f"Unable to use the firewall rule {given.get('comment') or rule}: {port} needs proto")
    return canonical(rule)


def canonical(rule: dict[str, Any]) -> Rule:
    found = {key: text(rule[key]) for key in KEYS if rule.get(key) not in (None, "")}
    found.setdefault("enable", "0")
    if found.get("log") == "nolog":
        del found["log"]
    if found["type"] != "group":
        found["action"] = found.get("action", "").upper()
    if "proto" in found:
        found["proto"] = found["proto"].lower()
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


def options_change(current: dict[str, Any], wanted: dict[str, Any]) -> tuple[dict[str, str], list[str]]:
    """(options to set, options to delete); a wanted None means: back to the default."""
    have = {key: text(value) for key, value in current.items() if key != "digest"}
    sets = {key: text(value) for key, value in wanted.items() if value is not None and have.get(key) != text(value)}
    return sets, sorted(key for key, value in wanted.items() if value is None and key in have)
