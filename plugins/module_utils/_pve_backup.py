# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Backup jobs of a Proxmox VE cluster: one form for what the user gives and what the API answers."""

from __future__ import annotations

import functools
import re
from typing import Any

from ansible_collections.homelab.mediaserver.plugins.module_utils import _pve_format as fmt
from ansible_collections.homelab.mediaserver.plugins.module_utils._pve import Pve
from ansible_collections.homelab.mediaserver.plugins.module_utils._reconcile import Failure, Plan, Step

Job = dict[str, str]
PATH = "cluster/backup"
FLAGS = ("all", "enabled", "protected", "repeat-missed")
LISTS = ("exclude", "mailto", "vmid")
PROPERTIES = {"prune-backups": "", "fleecing": "enabled"}  # with their default keys
TEXTS = ("bwlimit", "comment", "compress", "ionice", "mailnotification", "mode", "node", "notes-template",
         "notification-mode", "pool", "schedule", "storage")  # fmt: skip
SELECTIONS = {"vmid": ("all", "exclude", "pool"), "all": ("vmid", "pool"), "pool": ("vmid", "all", "exclude")}


def canonical(key: str, value: Any) -> str:
    """One value as it is sent, whatever of its forms the API or the user gives; empty if it says nothing."""
    if key in FLAGS:
        return fmt.flag(value)
    if key in LISTS:
        items = value if isinstance(value, list) else re.split(r"[,;\s]+", str(value))
        return ",".join(sorted({str(item).strip() for item in items} - {""}, key=lambda item: (len(item), item)))
    if key in PROPERTIES:
        parts = value if isinstance(value, dict) else fmt.parse(value, PROPERTIES[key])
        flags = ("keep-all", "enabled")
        found = {name.replace("_", "-"): item for name, item in parts.items() if item is not None}
        return fmt.render({name: fmt.flag(item) if name in flags else str(item) for name, item in found.items()})
    return str(value).strip()


def current(row: dict[str, Any]) -> Job:
    """What this module manages of a job, without what says nothing."""
    keys = (*FLAGS, *LISTS, *PROPERTIES, *TEXTS)
    found = {key: canonical(key, row[key]) for key in keys if row.get(key) is not None}
    return {key: value for key, value in found.items() if value and (key, value) != ("all", "0")}


def find(pve: Pve, ident: str) -> Job | None:
    to = "list the backup jobs"
    row = next((row for row in pve.get_list(PATH, to) if row.get("id") == ident), None)
    return None if row is None else pve.understand(to, lambda: current(row))


def given(params: dict[str, Any]) -> Job:
    """What the user gives, in the API's names; an empty value takes a setting away."""
    names = {key: key.replace("-", "_") for key in (*FLAGS, *LISTS, *PROPERTIES, *TEXTS)} | {"vmid": "vmids"}
    wanted = {key: canonical(key, params[name]) for key, name in names.items() if params.get(name) is not None}
    return {key: "" if (key, value) == ("all", "0") else value for key, value in wanted.items()}


def refuse(ident: str, old: Job | None, wanted: Job) -> None:
    """What the API would refuse, or take for something else, told before anything is written."""
    to = f"{'update' if old is not None else 'create'} backup job {ident}"
    chosen = [key for key in SELECTIONS if wanted.get(key)]
    if len(chosen) > 1:
        raise Failure(f"Unable to {to}: give only one of vmids, all and pool")
    if wanted.get("exclude") and (chosen or [key for key in SELECTIONS if (old or {}).get(key)]) != ["all"]:
        raise Failure(f"Unable to {to}: exclude needs all")
    if old is None and not chosen:
        raise Failure(f"Unable to {to}: it needs one of vmids, all and pool")
    if old is None and not wanted.get("schedule"):
        raise Failure(f"Unable to {to}: it needs a schedule")
    left = [key for key in SELECTIONS if wanted.get(key, (old or {}).get(key))]
    if not left or not wanted.get("schedule", "kept"):
        raise Failure(f"Unable to {to}: one of vmids, all and pool must stay, and the schedule")


def merged(old: Job, wanted: Job) -> Job:
    """The job in the end. A new selection takes the place of the old one, as in the API."""
    replaced = {key for chosen, others in SELECTIONS.items() if wanted.get(chosen) for key in others}
    after = {**{key: value for key, value in old.items() if key not in replaced}, **wanted}
    return {key: value for key, value in after.items() if value}


def plan(pve: Pve, ident: str, old: Job | None, wanted: Job | None) -> Plan:
    """``wanted`` is None for a job that is to go."""
    before: dict[str, Any] = {"state": "absent"} if old is None else {"state": "present", **old}
    if wanted is None:
        steps = (_step(pve, "delete", ident),) if old is not None else ()
        return Plan(before, {"state": "absent"}, steps)
    refuse(ident, old, wanted)
    if old is None:
        after = merged({"enabled": "1"}, wanted)  # as the API does; said, so that the next run sees no difference
        return Plan(before, {"state": "present", **after}, (_step(pve, "post", ident, id=ident, **after),))
    after = merged(old, wanted)
    sets = {key: value for key, value in after.items() if old.get(key) != value}
    gone = sorted(key for key in old if key in wanted and key not in after)
    if gone:
        sets["delete"] = ",".join(gone)
    steps = (_step(pve, "put", ident, **sets),) if sets else ()
    return Plan(before, {"state": "present", **after}, steps)


def _step(pve: Pve, method: str, ident: str, **data: str) -> Step:
    verb = {"post": "create", "put": "update", "delete": "delete"}[method]
    describe = f"{verb} backup job {ident}"
    if method == "put":
        changed = {*data, *data.get("delete", "").split(",")} - {"delete", ""}
        describe += f": {', '.join(sorted(changed))}"
    path = PATH if method == "post" else f"{PATH}/{ident}"
    return Step(describe, functools.partial(pve.call, method, path, describe, **data))
