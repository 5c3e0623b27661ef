# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which datasets may be destroyed: only what was asked for by name, or lies below a parent that was. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ansible_collections.homelab.mediaserver.plugins.module_utils._reconcile import Failure
from ansible_collections.homelab.mediaserver.plugins.module_utils._zfs import Command
from ansible_collections.homelab.mediaserver.plugins.module_utils._zfs_wanted import NAME, below, parents, renamed

# disks of guests: Proxmox VE makes and destroys them itself
GUESTS = re.compile(r".*/(vm|base|subvol|basevol)-\d+-")
LIST = ("zfs", "list", "-Hp", "-r", "-t", "filesystem,volume,snapshot", "-o", "name,type,userrefs,clones")


class Listing:
    """Everything at and below some datasets, under the names that they have after the renames of this run."""

    def __init__(self, text: str, renames: Sequence[tuple[str, str]] = ()) -> None:
        self.datasets: dict[str, str] = {}
        self.snapshots: dict[str, list[str]] = {}
        self.held: set[str] = set()
        self.clones: dict[str, list[str]] = {}
        for name, kind, holds, clones in (line.split("\t") for line in text.splitlines() if "\t" in line):
            dataset, _at, snapshot = name.partition("@")
            for old, new in renames:
                dataset = renamed(dataset, old, new)
            if kind != "snapshot":
                self.datasets[dataset] = kind
                continue
            self.snapshots.setdefault(dataset, []).append(f"{dataset}@{snapshot}")
            if holds not in ("0", "-"):
                self.held.add(dataset)
            for clone in clones.split(",") if clones not in ("", "-") else ():
                for old, new in renames:
                    clone = renamed(clone, old, new)
                self.clones.setdefault(dataset, []).append(clone)

    def tree(self, top: str) -> list[str]:
        return [name for name in self.datasets if name == top or below(name, top)]

    def ties(self, names: Sequence[str], going: Iterable[str]) -> str | None:
        """Why ZFS will not destroy these, with their snapshots: what people or other datasets still want of them."""
        for name in names:
            if clones := [clone for clone in self.clones.get(name, []) if clone not in {*names, *going}]:
                return f"{', '.join(clones)} is a clone of a snapshot of {name}"
            if name in self.held:
                return f"a snapshot of {name} is held"
        return None

    def clones_first(self, names: Sequence[str]) -> list[str]:
        """Deepest first, and a clone before what it is a clone of."""
        left = sorted(names, key=lambda name: (-name.count("/"), name))
        found: list[str] = []
        while left:
            free = (name for name in left if not any(other in self.clones.get(name, []) or below(other, name)
                                                     for other in left))  # fmt: skip
            found.append(next(free, left[0]))
            left.remove(found[-1])
        return found

    def snapshot_count(self, names: Iterable[str]) -> int:
        return sum(len(self.snapshots.get(name, [])) for name in names)


def check_absent(items: Sequence[Mapping[str, Any]], present: Iterable[str], listing: Listing) -> list[str]:
    """The datasets that are absent by name and still there; refuses what was not asked for in so many words."""
    gone = {item["name"] for item in items}
    found = []
    for item in items:
        name = item["name"]
        if not NAME.fullmatch(name):
            raise Failure(f"Unable to destroy dataset {name}: this is no name of a dataset (pool/dataset)")
        if "/" not in name:
            raise Failure(f"Unable to destroy dataset {name}: it is a pool, and pools are never destroyed")
        if kept := [other for other in present if below(other, name)]:
            raise Failure(f"Unable to destroy dataset {name}: {', '.join(sorted(kept))} below it is wanted")
        if name not in listing.datasets:
            continue
        if not item["destroy"]:
            raise Failure(
                f"Unable to destroy dataset {name}: it holds data; say destroy: true if all of it may be lost",
                dataset=name,
            )
        if others := [other for other in listing.tree(name) if other not in gone]:
            raise Failure(f"Unable to destroy dataset {name}: {', '.join(others)} below it is not listed as absent")
        if listing.snapshots.get(name) and not item["destroy_snapshots"]:
            raise Failure(
                f"Unable to destroy dataset {name}: it has {len(listing.snapshots[name])} snapshots; say "
                "destroy_snapshots: true if they may be lost, too",
                dataset=name,
            )
        if tie := listing.ties([name], gone):
            raise Failure(f"Unable to destroy dataset {name}: {tie}; see zfs promote and zfs release", dataset=name)
        found.append(name)
    return found


def check_purge(
    purge: Mapping[str, Any] | None, present: Sequence[str], absent: Sequence[str], listing: Listing
) -> tuple[list[str], dict[str, str]]:
    """Unlisted datasets below the parents, and those that stay with the reason."""
    going: set[str] = set(listing.datasets)
    while purge:  # until no clone that stays holds one that goes
        doomed, kept = purged(purge, present, absent, listing, going)
        if going == {*doomed, *absent}:
            return doomed, kept
        going = {*doomed, *absent}
    return [], {}


def purged(
    purge: Mapping[str, Any], present: Iterable[str], absent: Iterable[str], listing: Listing, going: Iterable[str]
) -> tuple[list[str], dict[str, str]]:
    named = set(present) | set(absent)
    needed = {above for name in present for above in parents(name)}
    doomed: list[str] = []
    kept: dict[str, str] = {}
    for name in sorted(listing.datasets):
        outside = not any(below(name, top) for top in purge["below"])
        inside = any(below(name, top) for top in (*doomed, *kept))
        if outside or inside or name in named or name in needed:
            continue
        tree = listing.tree(name)
        if any(GUESTS.match(member) for member in tree):
            kept[name] = "Proxmox VE's own"
        elif any(member in named for member in tree[1:]):
            kept[name] = "something below it is listed"
        elif len(tree) > 1 and not purge["children"]:
            kept[name] = "it has children"
        elif listing.snapshot_count(tree) and not purge["snapshots"]:
            kept[name] = "it has snapshots"
        elif tie := listing.ties(tree, going):
            kept[name] = tie
        else:
            doomed += tree
    return doomed, kept


def commands(names: Sequence[str], listing: Listing) -> list[Command]:
    """Each dataset alone, snapshots before it: never -r, which would also take what appeared since it was read."""
    found = []
    for name in listing.clones_first(names):
        if listing.snapshots.get(name):
            marks = ",".join(mark.partition("@")[2] for mark in listing.snapshots[name])
            found.append(Command(f"destroy the snapshots of {name}", ("zfs", "destroy", f"{name}@{marks}")))
        found.append(Command(f"destroy {name}", ("zfs", "destroy", name)))
    return found
