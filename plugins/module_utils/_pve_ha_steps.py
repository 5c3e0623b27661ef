# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The writes to Proxmox VE's high availability, in an order that the API accepts: a rule names only what is a
resource, a resource only a group that is there, and a resource leaves one rule before it enters another.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from ansible_collections.homelab.mediaserver.plugins.module_utils import _pve_ha as ha
from ansible_collections.homelab.mediaserver.plugins.module_utils._pve import Pve
from ansible_collections.homelab.mediaserver.plugins.module_utils._reconcile import Step

BASE = "cluster/ha"
Data = dict[str, Any]


def read(pve: Pve, major: int) -> ha.State:
    found = ha.resources(pve.get_list(f"{BASE}/resources", "list the HA resources"))
    if major < 9:
        groups = ha.groups(pve.get_list(f"{BASE}/groups", "list the HA groups"))
        return {"resources": found, "node_affinity": ha.with_members(groups, found), "resource_affinity": {}}
    rows = pve.get_list(f"{BASE}/rules", "list the HA rules")
    return {
        "resources": found,
        "node_affinity": ha.with_failback(ha.rules(rows, "node_affinity"), found),
        "resource_affinity": ha.rules(rows, "resource_affinity"),
    }


def steps(pve: Pve, major: int, now: ha.State, after: ha.State) -> list[Step]:
    old, new = now["resources"], after["resources"]
    entries = [step for sid in new for step in _resource(pve, major, sid, old.get(sid), new[sid])]
    leave = [_delete(pve, f"resources/{sid}", f"remove HA resource {sid}") for sid in sorted(set(old) - set(new))]
    if major >= 9:
        return [*entries, *_rules(pve, now, after), *leave]
    groups, others = now["node_affinity"], after["node_affinity"]
    made = [step for name in others for step in _group(pve, name, groups.get(name), others[name])]
    gone = [_delete(pve, f"groups/{name}", f"remove HA group {name}") for name in sorted(set(groups) - set(others))]
    return [*made, *entries, *leave, *gone]


def _delete(pve: Pve, path: str, to: str) -> Step:
    return Step(to, functools.partial(pve.call, "delete", f"{BASE}/{path}", to))


def _change(
    pve: Pve, kind: str, key: str, to: str, data: Data, same: Callable[[ha.Rows], bool], old: Data, fixed: Data
) -> list[Step]:
    """A PUT of what differs. What says nothing is deleted: the API overlooks a 0."""
    sets = {name: value for name, value in data.items() if value is not None and old.get(name) != value}
    gone = sorted(name for name, value in data.items() if value is None and old.get(name) is not None)
    if not sets and not gone:
        return []
    to = f"update {to}: {', '.join(sorted([*sets, *gone]))}"

    def change() -> None:
        digest = pve.digest(f"{BASE}/{kind}", to, same)
        pve.call("put", f"{BASE}/{kind}/{key}", to, **fixed, **sets, **digest, delete=",".join(gone) or None)

    return [Step(to, change)]


def _create(pve: Pve, kind: str, to: str, data: Data) -> Step:
    to = f"create {to}"
    return Step(to, functools.partial(pve.call, "post", f"{BASE}/{kind}", to, **data))


def _resource_data(major: int, entry: ha.Entry) -> Data:
    data = {key: entry.get(key) for key in ("state", "max_restart", "max_relocate")}
    data["comment"] = entry["comment"] or None
    return {**data, "group": entry["group"]} if major < 9 else {**data, "failback": int(entry["failback"])}


def _resource(pve: Pve, major: int, sid: str, old: ha.Entry | None, entry: ha.Entry) -> list[Step]:
    data, to = _resource_data(major, entry), f"HA resource {sid}"
    if old is None:
        given = {key: value for key, value in data.items() if value is not None and (key, value) != ("failback", 1)}
        return [_create(pve, "resources", to, {"sid": sid, **given})]

    def same(rows: ha.Rows) -> bool:
        return ha.resources(rows).get(sid) == old

    return _change(pve, "resources", sid, to, data, same, _resource_data(major, old), {})


def _group_data(entry: ha.Entry) -> Data:
    return {
        "nodes": ",".join(entry["nodes"]),
        "restricted": 1 if entry["strict"] else None,
        "nofailback": None if entry["failback"] else 1,
        "comment": entry["comment"] or None,
    }


def _group(pve: Pve, name: str, old: ha.Entry | None, entry: ha.Entry) -> list[Step]:
    data, to = _group_data(entry), f"HA group {name}"
    if old is None:
        given = {key: value for key, value in data.items() if value is not None}
        return [_create(pve, "groups", to, {"group": name, **given})]

    def same(rows: ha.Rows) -> bool:
        return _group_data(ha.groups(rows)[name]) == _group_data(old) if name in ha.groups(rows) else False

    return _change(pve, "groups", name, to, data, same, _group_data(old), {})


def _rule_data(entry: ha.Entry) -> Data:
    data = {"resources": ",".join(entry["resources"]), "disable": None if entry["enabled"] else 1}
    data["comment"] = entry["comment"] or None
    if "affinity" in entry:
        return {**data, "affinity": entry["affinity"]}
    return {**data, "nodes": ",".join(entry["nodes"]), "strict": 1 if entry["strict"] else None}


def _rules(pve: Pve, now: ha.State, after: ha.State) -> list[Step]:
    """First what rules lose, then what they win."""
    lose: list[Step] = []
    win: list[Step] = []
    for kind, least in ha.LEAST.items():
        old, new = now[kind], after[kind]
        wins = {sid for name, entry in new.items() for sid in entry["resources"]
                if sid not in old.get(name, {}).get("resources", [])}  # fmt: skip
        for name in sorted({*old, *new}):
            between, entry = old.get(name), new.get(name)
            if between is not None and (entry is None or wins & (set(between["resources"]) - set(entry["resources"]))):
                step, between = _lose(pve, kind, name, between, entry, least)
                lose += step
            if entry is not None:
                win += _rule(pve, kind, name, between, entry)
    return [*lose, *win]


def _lose(
    pve: Pve, kind: str, name: str, old: ha.Entry, entry: ha.Entry | None, least: int
) -> tuple[list[Step], ha.Entry | None]:
    """(writes, the rule as they leave it). A rule that would have too few resources rests until it has its new ones."""
    if entry is None:
        return [_delete(pve, f"rules/{name}", f"remove HA rule {name}")], None
    kept = [sid for sid in old["resources"] if sid in entry["resources"]]
    between = {**old, "resources": kept} if len(kept) >= least else {**old, "enabled": False}
    return _rule(pve, kind, name, old, between), between


def _rule(pve: Pve, kind: str, name: str, old: ha.Entry | None, entry: ha.Entry) -> list[Step]:
    data, to = _rule_data(entry), f"HA rule {name}"
    fixed = {"type": kind.replace("_", "-")}  # wanted with each write, though it never changes
    if old is None:
        given = {key: value for key, value in data.items() if value is not None}
        return [_create(pve, "rules", to, {"rule": name, **fixed, **given})]

    def same(rows: ha.Rows) -> bool:
        found = ha.rules(rows, kind).get(name)
        return found is not None and _rule_data(found) == _rule_data(old)

    return _change(pve, "rules", name, to, data, same, _rule_data(old), fixed)
