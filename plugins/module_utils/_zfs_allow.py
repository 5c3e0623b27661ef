# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Delegated permissions: what ``zfs allow`` prints, and the commands that change it. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ansible_collections.homelab.mediaserver.plugins.module_utils._reconcile import Failure
from ansible_collections.homelab.mediaserver.plugins.module_utils._zfs import Command

Who = tuple[str, str]
"""(user, group or everyone; name)"""
Grants = dict[tuple[Who, str], frozenset[str]]
"""(who, scope) -> permissions"""

HEADINGS = {
    "Local permissions:": "local",
    "Descendent permissions:": "descendent",
    "Local+Descendent permissions:": "both",
}
SCOPES = {"local": ("-l",), "descendent": ("-d",), "both": ()}


def parse(text: str, dataset: str) -> Grants:
    """The dataset's own section of ``zfs allow DATASET``; permission sets and creation-time ones are left out."""
    found: Grants = {}
    mine, scope = False, ""
    for line in text.splitlines():
        if match := re.match(r"---- Permissions on (\S+) -*", line):
            mine, scope = match[1] == dataset, ""
        elif line and not line[0].isspace():
            scope = HEADINGS.get(line.strip(), "")
        elif mine and scope and line.strip():
            who, permissions = parse_line(line.strip())
            found[who, scope] = permissions
    return found


def parse_line(line: str) -> tuple[Who, frozenset[str]]:
    head, _space, permissions = line.rpartition(" ")
    kind, _space, name = head.partition(" ")
    # a user that is gone: "user (unknown: 1005) mount"
    if match := re.fullmatch(r"\(unknown: (\d+)\)", name):
        name = match[1]
    return (kind, name), frozenset(permissions.split(","))


def wanted(items: Iterable[Mapping[str, Any]], dataset: str, name_of: Callable[[str, str], str]) -> Grants:
    """``name_of`` gives a number its name, for zfs shows names wherever there are some."""
    found: Grants = {}
    for item in items:
        whos = [(kind, name_of(kind, str(item[kind]))) for kind in ("user", "group") if item.get(kind)]
        whos += [("everyone", "")] if item.get("everyone") else []
        if len(whos) != 1:
            raise Failure(f"Unable to delegate {dataset}: each entry names exactly one of user, group and everyone")
        key = (whos[0], item["scope"])
        found[key] = found.get(key, frozenset()) | frozenset(item["permissions"])
    return found


def commands(dataset: str, grants: Grants, current: Grants) -> list[Command]:
    """For those who are named, exactly the permissions that are named; others stay as they are."""
    found = []
    for (who, scope), permissions in sorted(grants.items()):
        has = current.get((who, scope), frozenset())
        for verb, names in (("allow", permissions - has), ("unallow", has - permissions)):
            if names:
                kind, name = who
                words = ("-e",) if kind == "everyone" else (f"-{kind[0]}", name)
                listed = ",".join(sorted(names))
                describe = f"{verb} {' '.join(filter(None, who))} {listed} on {dataset}"
                found.append(Command(describe, ("zfs", verb, *SCOPES[scope], *words, listed, dataset)))
    return found


def view(grants: Grants) -> list[str]:
    """For the diff."""
    return sorted(
        f"{' '.join(filter(None, who))} ({scope}): {', '.join(sorted(names))}"
        for (who, scope), names in grants.items()
        if names
    )
