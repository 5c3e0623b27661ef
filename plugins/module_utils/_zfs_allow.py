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
"""(who, local or descendent) -> permissions: the two that ZFS keeps. What both have is shown, and given, as one."""

HEADINGS = {
    "Local permissions:": "local",
    "Descendent permissions:": "descendent",
    "Local+Descendent permissions:": "both",
}
PARTS = {"local": ("local",), "descendent": ("descendent",), "both": ("local", "descendent")}
FLAGS = {"local": ("-l",), "descendent": ("-d",), "both": ()}


def parse(text: str, dataset: str) -> Grants:
    """The dataset's own section of ``zfs allow DATASET``; permission sets and creation-time ones are left out."""
    found: Grants = {}
    mine, scope = False, ""
    for line in text.splitlines():
        if match := re.fullmatch(r"---- Permissions on (.*?) -*", line):
            mine, scope = match[1] == dataset, ""
        elif line and not line[0].isspace():
            scope = HEADINGS.get(line.strip(), "")
        elif mine and scope and line.strip():
            who, permissions = parse_line(line.strip())
            for part in PARTS[scope]:
                found[who, part] = found.get((who, part), frozenset()) | permissions
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
        for part in PARTS["both"]:
            named = frozenset(item["permissions"]) if part in PARTS[item["scope"]] else frozenset()
            found[whos[0], part] = found.get((whos[0], part), frozenset()) | named
    return found


def by_scope(local: frozenset[str], descendent: frozenset[str]) -> dict[str, frozenset[str]]:
    return {"both": local & descendent, "descendent": descendent - local, "local": local - descendent}


def commands(dataset: str, grants: Grants, current: Grants) -> list[Command]:
    """For those who are named, exactly the permissions that are named; others stay as they are."""
    found = []
    for who in sorted({who for who, _part in grants}):
        want, has = ([held.get((who, part), frozenset()) for part in PARTS["both"]] for held in (grants, current))
        words = ("-e",) if who[0] == "everyone" else (f"-{who[0][0]}", who[1])
        for verb, more, less in (("allow", want, has), ("unallow", has, want)):
            for scope, names in by_scope(more[0] - less[0], more[1] - less[1]).items():
                if names:
                    listed = ",".join(sorted(names))
                    describe = f"{verb} {' '.join(filter(None, who))} {listed} on {dataset}"
                    found.append(Command(describe, ("zfs", verb, *FLAGS[scope], *words, listed, dataset)))
    return found


def view(grants: Grants) -> list[str]:
    """For the diff."""
    return sorted(
        f"{' '.join(filter(None, who))} ({scope}): {', '.join(sorted(names))}"
        for who in {who for who, _part in grants}
        for scope, names in by_scope(*(grants.get((who, part), frozenset()) for part in PARTS["both"])).items()
        if names
    )
