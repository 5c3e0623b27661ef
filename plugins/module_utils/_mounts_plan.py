# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From wanted mounts and what is there to the writes between. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ansible_collections.homelab.mediaserver.plugins.module_utils._mounts import Mount
from ansible_collections.homelab.mediaserver.plugins.module_utils._reconcile import Failure, Plan, Step


@dataclass(frozen=True)
class State:
    """What a host has of a mount. ``content``: what blkid found on a disk that is not mounted (None: nothing);
    ``elsewhere``: where else that disk is mounted."""

    mounted: bool = False
    unit: str | None = None
    boot: bool = False
    unfinished: bool = False
    exists: bool = False
    entries: tuple[str, ...] = ()
    content: Mapping[str, str] | None = None
    grown: bool = False
    elsewhere: tuple[str, ...] = ()


class Writes(Protocol):
    """The writes, as the host does them."""

    def directory(self, mount: Mount) -> Any: ...
    def guard(self, mount: Mount) -> Any: ...
    def format(self, mount: Mount) -> Any: ...
    def write_unit(self, mount: Mount) -> Any: ...
    def enable(self, mount: Mount) -> Any: ...
    def start(self, mount: Mount, again: bool) -> Any: ...
    def grow(self, mount: Mount) -> Any: ...
    def remove(self, unit: str) -> Any: ...


def plan(
    mounts: Sequence[Mount],
    states: Mapping[str, State],
    unlisted: Sequence[str],
    format_: str,
    purge: bool,
    writes: Writes,
) -> Plan:
    """Each mount in turn, outer before inner; a unit goes only with ``purge``."""
    steps: list[Step] = []
    before: dict[str, Any] = {}
    after: dict[str, Any] = {}
    for mount in mounts:
        state = states[mount.path]
        before[mount.path], after[mount.path] = shown(mount, state)
        steps += mount_steps(mount, state, format_, writes) if mount.mounted else local_steps(mount, state, writes)
    if purge:
        for unit in unlisted:
            before[unit] = "ours, not listed"
            steps.append(Step(f"unmount and forget {unit}", lambda unit=unit: writes.remove(unit)))  # type: ignore[misc]
    return Plan(before, after, tuple(steps), result={"unlisted": [] if purge else list(unlisted)})


def shown(mount: Mount, state: State) -> tuple[Any, Any]:
    """The diff of one mount."""
    if not mount.mounted:
        return ("directory" if state.exists else "absent"), "directory"
    before: dict[str, Any] = {"mounted": state.mounted, "boot": state.boot, "unit": state.unit or ""}
    after: dict[str, Any] = {"mounted": True, "boot": True, "unit": mount.unit_text()}
    if mount.kind == "disk":
        before["fills_disk"], after["fills_disk"] = not state.grown, True
    if mount.kind == "disk" and not state.mounted:
        before["content"] = dict(state.content).get("TYPE", "") if state.content else "blank"
        after["content"] = mount.fstype
    return before, after


def local_steps(mount: Mount, state: State, writes: Writes) -> list[Step]:
    return [] if state.exists else [Step(f"create directory {mount.path}", lambda: writes.directory(mount))]


def mount_steps(mount: Mount, state: State, format_: str, writes: Writes) -> list[Step]:
    steps = []
    if not state.mounted:
        refuse_full(mount, state.entries)
        if mount.kind == "disk":
            refuse_elsewhere(mount, state.elsewhere)
            refuse_other_content(mount, state.content, format_)
            if state.content is None:
                steps.append(Step(f"make {mount.fstype} on {mount.source}", lambda: writes.format(mount)))
        steps.append(Step(f"guard the bare mount point {mount.path}", lambda: writes.guard(mount)))
    rewritten = state.unit != mount.unit_text() or state.unfinished
    if rewritten:
        steps.append(Step(f"write {mount.unit}", lambda: writes.write_unit(mount)))
    if not state.boot:
        steps.append(Step(f"enable {mount.unit}", lambda: writes.enable(mount)))
    if not state.mounted or rewritten:
        verb = "mount anew" if state.mounted else "mount"
        steps.append(Step(f"{verb} {mount.path}", lambda: writes.start(mount, state.mounted)))
    if state.grown:
        steps.append(Step(f"grow {mount.path}", lambda: writes.grow(mount)))
    return steps


def refuse_full(mount: Mount, entries: Sequence[str]) -> None:
    if entries:
        some = ", ".join(sorted(entries)[:5])
        raise Failure(
            f"Unable to mount {mount.name} at {mount.path}: nothing is mounted there, yet the directory holds {some}."
            " Mounting would hide it; move it away first",
            path=mount.path,
            entries=sorted(entries)[:50],
        )


def refuse_elsewhere(mount: Mount, places: Sequence[str]) -> None:
    """The system's own disk would pass for one of ours: it too holds the wanted file system."""
    if places:
        raise Failure(
            f"Unable to mount {mount.name} at {mount.path}: {mount.source} is mounted at {', '.join(places)} already."
            " Name another disk, or unmount it there",
            places=list(places),
        )


def refuse_other_content(mount: Mount, content: Mapping[str, str] | None, format_: str) -> None:
    """A disk is used when it is blank (and may be formatted) or holds the wanted file system, never else."""
    if content is None:
        if format_ == "never":
            raise Failure(f"Unable to mount {mount.name}: {mount.source} is blank and format is never")
        return
    found = content.get("TYPE") or (f"a {content['PTTYPE']} partition table" if "PTTYPE" in content else "data")
    if found != mount.fstype:
        raise Failure(
            f"Unable to mount {mount.name}: {mount.source} holds {found}, not {mount.fstype}. It is not formatted: if"
            " nothing of it is needed, wipe it yourself (wipefs --all, and zero its first MiB)",
            content=dict(content),
        )
