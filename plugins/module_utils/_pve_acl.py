# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Access control lists: entries as a map, the difference of two, and few calls for it."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from ansible_collections.homelab.mediaserver.plugins.module_utils import _pve_access as access
from ansible_collections.homelab.mediaserver.plugins.module_utils._pve import Pve
from ansible_collections.homelab.mediaserver.plugins.module_utils._pve_format import flag
from ansible_collections.homelab.mediaserver.plugins.module_utils._reconcile import Failure, Plan, Step

KINDS = ("user", "group", "token")


class Entry(NamedTuple):
    path: str
    role: str
    kind: str
    name: str


Acl = dict[Entry, bool]  # whether it propagates


def clean_path(text: str) -> str:
    """As Proxmox VE writes it."""
    return re.sub("/+", "/", f"/{text.strip()}").rstrip("/") or "/"


def desired(entries: list[dict[str, Any]]) -> Acl:
    """The entries as a map (pure). Exactly one of the kinds is given, the module's arguments see to that."""
    result: Acl = {}
    for given in entries:
        kind = next(kind for kind in KINDS if given.get(kind))
        entry = Entry(clean_path(given["path"]), given["role"], kind, given[kind])
        if entry.name == "root@pam":
            raise Failure(f"Unable to change the rights of root@pam on {entry.path}: it always has all of them")
        if result.setdefault(entry, given["propagate"]) != given["propagate"]:
            raise Failure(f"Unable to understand the entries: {show(entry, True)} is there with and without propagate")
    return result


def current(rows: list[dict[str, Any]]) -> Acl:
    return {
        Entry(str(row["path"]), str(row["roleid"]), str(row["type"]), str(row["ugid"])): flag(row["propagate"]) == "1"
        for row in rows
    }


def show(entry: Entry, propagate: bool) -> str:
    return f"{entry.path} {entry.kind} {entry.name} {entry.role}" + ("" if propagate else " (not below)")


def purged(entry: Entry, purge: dict[str, Any] | None) -> bool:
    """Is this entry one of those that the caller wants to hold whole (pure)?"""
    if purge is None:
        return False
    below = [clean_path(path) for path in purge["below"] or []]
    within = any(entry.path == path or entry.path.startswith(path.rstrip("/") + "/") for path in below)
    subjects = {kind: purge[f"{kind}s"] or [] for kind in KINDS}
    mine = entry.name in subjects[entry.kind]
    return (within or not below) and (mine or not any(subjects.values()))


def plan(pve: Pve, wanted: Acl, have: Acl, purge: dict[str, Any] | None, state: str) -> Plan:
    """Grants first: whoever asks may live by an entry that goes."""
    keep = wanted if state == "present" else {}
    gone = {entry for entry in have if entry not in keep and (entry in wanted or purged(entry, purge))}
    grants = {entry: propagate for entry, propagate in keep.items() if have.get(entry) is not propagate}
    before = {entry: propagate for entry, propagate in have.items() if entry in gone or entry in keep}
    steps = [
        _step(pve, "grant", path, role, subjects, propagate=propagate)
        for (path, role, propagate), subjects in _grouped(grants).items()
    ]
    steps += [
        _step(pve, "revoke", path, role, subjects, delete=True)
        for (path, role, _propagate), subjects in _grouped(dict.fromkeys(gone, True)).items()
    ]
    return Plan(_shown(before), _shown(keep), tuple(steps))


def _shown(acl: Acl) -> dict[str, list[str]]:
    return {"entries": sorted(show(entry, propagate) for entry, propagate in acl.items())}


def _grouped(acl: Acl) -> dict[tuple[str, str, bool], list[Entry]]:
    """What one call can do: one role on one path for any number of users, groups and tokens."""
    groups: dict[tuple[str, str, bool], list[Entry]] = {}
    for entry, propagate in sorted(acl.items()):
        groups.setdefault((entry.path, entry.role, propagate), []).append(entry)
    return groups


def _step(pve: Pve, verb: str, path: str, role: str, entries: list[Entry], **data: Any) -> Step:
    who = ", ".join(("@" if entry.kind == "group" else "") + entry.name for entry in entries)
    for kind in KINDS:
        names = [entry.name for entry in entries if entry.kind == kind]
        if names:
            data[f"{kind}s"] = ",".join(names)
    below = "" if data.get("propagate", True) else ", not below it,"
    describe = f"{verb} {role} on {path}{below} {'to' if verb == 'grant' else 'from'} {who}"
    return access.step(pve, describe, "put", "access/acl", path=path, roles=role, **data)
