# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A guest's changes as actions in their order, and which of them will wait for a restart. Pure: no API, no clock."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ansible_collections.homelab.mediaserver.plugins.module_utils import _pve_format as fmt
from ansible_collections.homelab.mediaserver.plugins.module_utils._pve_guest_plan import Changes, Current
from ansible_collections.homelab.mediaserver.plugins.module_utils._pve_kind import Desired


@dataclass(frozen=True)
class Action:
    """One write: what it is called, what it is, and with which data."""

    describe: str
    kind: str
    data: dict[str, Any] = field(default_factory=dict)


@dataclass
class Course:
    """The actions, and the states before and after for the diff."""

    before: dict[str, Any]
    after: dict[str, Any]
    actions: list[Action] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    waiting: list[str] = field(default_factory=list)  # keys that will wait for a restart
    running: bool = False


def waits(current: Current, desired: Desired, changes: Changes) -> list[str]:
    """Keys whose value will come into force at the next start only."""
    if not current.running:
        return []
    kind, found = desired.kind, []
    for key in sorted({*changes.values, *changes.delete, *current.waiting}):
        target = None if key in changes.delete else changes.values.get(key, current.config.get(key))
        runs = current.effective.get(key)
        if _same(desired, key, runs, target):
            continue
        untouched = key in current.waiting and key not in changes.values and key not in changes.delete
        if untouched or not kind.live(key, runs, target, current.effective):
            found.append(key)
    return found


def _same(desired: Desired, key: str, one: str | None, other: str | None) -> bool:
    if one is None or other is None:
        return one is other
    kind = desired.kind
    bare = [kind.join(key, {k: v for k, v in kind.split(key, text).items() if k != "size"})
            if kind.disk.fullmatch(key) else text for text in (one, other)]  # fmt: skip
    return kind.same(key, bare[0], bare[1])


@dataclass
class Writes:
    """Writes in their order; ``late`` ones want what is pending to have come into force."""

    early: list[Action] = field(default_factory=list)
    late: list[Action] = field(default_factory=list)


def writes(what: str, desired: Desired, changes: Changes, current: Current | None = None) -> Writes:
    """Grow disks first: a pending disk string would bring the old size back at the next start."""
    kind = desired.kind
    found = Writes([resize(what, slot, count) for slot, count in sorted(changes.resize.items())
                    if current is None or slot in current.effective])  # fmt: skip
    keep = [key for key in changes.delete if key not in desired.destroy or not kind.frees_by_force]
    gone = [key for key in changes.delete if key in desired.destroy]
    values = dict(changes.values)
    if values.get("protection") == "0" and (changes.delete or any(kind.disk.fullmatch(key) for key in values)):
        # it guards the disks until it is written
        data = {"set": {"protection": values.pop("protection")}, "delete": []}
        found.early.insert(0, Action(f"set protection of {what}", "config", data))
    # new devices enter the boot order and removed ones leave it: the wanted order is written once that has happened
    boot = {"boot": values.pop("boot")} if "boot" in values and (len(values) > 1 or changes.delete) else {}
    if values or keep:
        parts = [f"set {', '.join(sorted(values))}"] if values else []
        parts += [f"remove {', '.join(keep)}"] if keep else []
        found.early.append(Action(f"{' and '.join(parts)} of {what}", "config", {"set": values, "delete": keep}))
    if gone and kind.frees_by_force:
        found.early.append(Action(f"remove {', '.join(gone)} of {what} with its data", "config",
                                  {"set": {}, "delete": gone, "force": True}))  # fmt: skip
    elif gone and current is not None:
        volumes = {key: kind.split(key, current.effective.get(key, "")).get("file", "") for key in gone}
        volumes = {key: volume for key, volume in volumes.items() if ":" in volume and not volume.startswith("/")}
        found.late += [Action(f"destroy the data of {', '.join(volumes)} of {what}", "free",
                              {"volumes": list(volumes.values())})] if volumes else []  # fmt: skip
    if boot:
        found.early.append(Action(f"set boot of {what}", "config", {"set": boot, "delete": []}))
    later = {slot: count for slot, count in changes.resize.items() if current and slot not in current.effective}
    for slot, count in sorted({**changes.resize_after, **later}.items()):
        attached = current is None or not current.running or (slot in changes.resize_after and kind.live(
            slot, None, changes.values.get(slot, ""), current.effective
        ))  # fmt: skip
        (found.early if attached else found.late).append(resize(what, slot, count))
    found.late += [Action(f"move {slot} of {what} to {storage}", "move", {"slot": slot, "storage": storage})
                   for slot, storage in sorted(changes.move.items())]  # fmt: skip
    return found


def resize(what: str, slot: str, count: int) -> Action:
    text = fmt.show_size(count)
    return Action(f"grow disk {slot} of {what} to {text}", "resize", {"disk": slot, "size": text})
