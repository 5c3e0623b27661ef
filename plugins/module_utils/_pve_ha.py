# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""High availability of a Proxmox VE cluster in one form for both releases. Pure.

Proxmox VE 8 has groups: a resource names its group, and the group says whether its resources go back to a better node.
Proxmox VE 9 has rules: a rule names its resources, and each resource says whether it goes back. A group and a node
affinity rule of the same name mean the same.
"""

from __future__ import annotations

import copy
import re
from typing import Any

from ansible_collections.homelab.mediaserver.plugins.module_utils import _pve_format as fmt
from ansible_collections.homelab.mediaserver.plugins.module_utils._reconcile import Failure

Entry = dict[str, Any]
Entries = dict[str, Entry]
State = dict[str, Entries]  # resources, node_affinity, resource_affinity
Rows = list[dict[str, Any]]
SID = re.compile(r"(vm|ct):[1-9][0-9]{2,8}")
NEW_RULE = {"resources": [], "comment": "", "enabled": True}
NEW: dict[str, Entry] = {
    "node_affinity": {**NEW_RULE, "nodes": [], "strict": False, "failback": True},
    "resource_affinity": {**NEW_RULE, "affinity": None},
}
LEAST = {"node_affinity": 1, "resource_affinity": 2}  # resources without which a rule says nothing


def truth(value: Any, default: bool = False) -> bool:
    return default if value is None else fmt.flag(value) == "1"


def sids(value: Any) -> list[str]:
    return sorted({item for item in re.split(r"[,;\s]+", str(value or "")) if item})


def nodes(items: list[str]) -> list[str]:
    """Nodes with their priorities; 0 is as good as none."""
    return sorted({item.strip().removesuffix(":0") for item in items if item.strip()})


def resource(row: dict[str, Any]) -> Entry:
    """What the API leaves out is its default."""
    state = str(row.get("state") or "started")
    state = "started" if state == "enabled" else state
    found: Entry = {"state": state, "comment": str(row.get("comment") or "").strip()}
    found.update({key: int(row[key]) for key in ("max_restart", "max_relocate") if row.get(key) is not None})
    return {**found, "group": row.get("group"), "failback": truth(row.get("failback"), True)}


def resources(rows: Rows) -> Entries:
    return {str(row["sid"]): resource(row) for row in rows}


def group(row: dict[str, Any]) -> Entry:
    return {
        "nodes": nodes(sids(row.get("nodes"))),
        "strict": truth(row.get("restricted")),
        "failback": not truth(row.get("nofailback")),
        "comment": str(row.get("comment") or "").strip(),
        "enabled": True,
    }


def groups(rows: Rows) -> Entries:
    return {str(row["group"]): group(row) for row in rows}


def rule(row: dict[str, Any]) -> Entry:
    found: Entry = {
        "resources": sids(row.get("resources")),
        "comment": str(row.get("comment") or "").strip(),
        "enabled": not truth(row.get("disable")),
    }
    if row["type"] == "node-affinity":
        return {**found, "nodes": nodes(sids(row.get("nodes"))), "strict": truth(row.get("strict"))}
    return {**found, "affinity": str(row.get("affinity"))}


def rules(rows: Rows, kind: str) -> Entries:
    wanted = kind.replace("_", "-")
    return {str(row["rule"]): rule(row) for row in rows if row["type"] == wanted}


def with_members(found: Entries, of: Entries) -> Entries:
    """Groups with their resources."""
    return {
        name: {**entry, "resources": sorted(sid for sid, item in of.items() if item["group"] == name)}
        for name, entry in found.items()
    }


def with_failback(found: Entries, of: Entries) -> Entries:
    """Rules with what their resources say of going back; None if they differ."""
    result = {}
    for name, entry in found.items():
        said = {of[sid]["failback"] if sid in of else True for sid in entry["resources"]}
        result[name] = {**entry, "failback": said.pop() if len(said) == 1 else None}
    return result


def check(params: dict[str, Any], major: int) -> None:
    """What one of the releases has no word for, and what no release can do."""
    for item in params["resources"] or []:
        if not SID.fullmatch(item["sid"]):
            raise Failure(f"Unable to use HA resource {item['sid']}: write it as vm:101 or ct:101")
    if major < 9 and params["resource_affinity"]:
        raise Failure("Unable to keep resource affinity: Proxmox VE 8 has no such rules, only 9")
    used: dict[str, str] = {}
    for item in params["node_affinity"] or []:
        if major < 9 and item.get("enabled") is False:
            raise Failure(f"Unable to disable node affinity {item['name']}: a group of Proxmox VE 8 always counts")
        for sid in item["resources"] or [] if item["state"] == "present" else []:
            if used.setdefault(sid, item["name"]) != item["name"]:
                raise Failure(f"Unable to keep node affinity {item['name']}: {sid} is in {used[sid]} already")


def wanted(params: dict[str, Any], now: State, major: int) -> State:
    """Everything as it is to be; what is not declared stays, but for resources that leave."""
    after = copy.deepcopy(now)
    for item in params["resources"] or []:
        if item["state"] == "absent":
            after["resources"].pop(item["sid"], None)
            continue
        entry = after["resources"].setdefault(item["sid"], resource({}))
        given = {key: item[key] for key in ("state", "max_restart", "max_relocate") if item[key] is not None}
        entry.update({**given, **({} if item["comment"] is None else {"comment": item["comment"].strip()})})
    for kind in NEW:
        left = set(now["resources"]) - set(after["resources"])
        for entry in after[kind].values():
            entry["resources"] = [sid for sid in entry["resources"] if sid not in left]
        for item in params[kind] or []:
            _declare(kind, item, after)
    if major < 9:
        for sid, entry in after["resources"].items():
            entry["group"] = next((name for name, of in after["node_affinity"].items() if sid in of["resources"]), None)
        return after
    for kind, least in LEAST.items():  # a group may be without resources, a rule not
        for name, entry in list(after[kind].items()):
            if len(entry["resources"]) < least and entry["resources"] != now[kind].get(name, {}).get("resources"):
                del after[kind][name]
    for item in params["node_affinity"] or []:
        if item["failback"] is not None and item["name"] in after["node_affinity"]:
            for sid in after["node_affinity"][item["name"]]["resources"]:
                after["resources"][sid]["failback"] = item["failback"]
    after["node_affinity"] = with_failback(after["node_affinity"], after["resources"])
    return after


def _declare(kind: str, item: dict[str, Any], after: State) -> None:
    name, found = item["name"], after[kind]
    to = f"keep {kind.replace('_', ' ')} {name}"
    if item["state"] == "absent":
        found.pop(name, None)
        return
    others = next(other for other in NEW if other != kind)
    if name in after[others]:
        raise Failure(f"Unable to {to}: there is a rule of the other kind with this name; remove it first")
    given = {key: item[key] for key in NEW[kind] if item.get(key) is not None}
    given = {key: value.strip() if key == "comment" else value for key, value in given.items()}
    if "resources" in given:
        given["resources"] = sorted(set(given["resources"]))
    if "nodes" in given:
        given["nodes"] = nodes(given["nodes"])
    entry = {**NEW[kind], **found.get(name, {}), **given}
    if len(entry["resources"]) < LEAST[kind] or not entry.get("nodes", True) or not entry.get("affinity", True):
        need = "resources and nodes" if kind == "node_affinity" else "affinity and two resources"
        raise Failure(f"Unable to {to}: it needs {need}")
    unknown = [sid for sid in entry["resources"] if sid not in after["resources"]]
    if unknown:
        raise Failure(f"Unable to {to}: {', '.join(unknown)} is no HA resource; name it under resources")
    if kind == "node_affinity":
        _move(name, entry["resources"], found)
    found[name] = entry


def _move(name: str, members: list[str], found: Entries) -> None:
    """A resource is in one node affinity at most: it leaves the others."""
    for other, entry in list(found.items()):
        if other != name and set(entry["resources"]) & set(members):
            entry["resources"] = [sid for sid in entry["resources"] if sid not in members]


def view(state: State) -> State:
    """All of it, because a declaration may move what it does not name."""
    return {kind: {key: _shown(kind, entry) for key, entry in entries.items()} for kind, entries in state.items()}


def _shown(kind: str, entry: Entry) -> Entry:
    """A resource's group, and whether it goes back, are said by the group or rule."""
    hidden = ("group", "failback") if kind == "resources" else ()
    return {key: value for key, value in entry.items() if key not in hidden and value != ""}
