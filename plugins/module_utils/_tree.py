# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host's tree of configuration files: what is there, and what has to be done about it."""

from __future__ import annotations

import grp
import hashlib
import json
import os
import pwd
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

MANIFESTS = Path("/var/lib/mediaserver/trees")
MOUNTS = Path("/proc/self/mountinfo")
TEXT_LIMIT = 65536


def fingerprint(data: bytes, key: str) -> str:
    """A file's content as a keyed digest: the key differs from run to run, so what is logged tells nothing."""
    return hashlib.blake2b(data, key=key.encode()[:64], digest_size=24).hexdigest()


def temporary(path: str) -> str:
    """Where a file is written before it is renamed; always the same, so that a killed run's rest is found."""
    folder, _slash, name = path.rpartition("/")
    return f"{folder}/.{name}.mediaserver-tmp"


@dataclass(frozen=True)
class State:
    """What lies at a path: kind is file, directory or other (a link, a device)."""

    kind: str
    mode: str
    uid: int
    gid: int
    digest: str = ""


@dataclass(frozen=True)
class Wanted:
    """A file or directory as it shall be. ``digest`` is empty for directories."""

    path: str
    mode: str
    owner: str
    group: str
    service: str = ""
    secret: bool = False
    digest: str = ""
    below: str = ""
    keep: bool = False

    @property
    def kind(self) -> str:
        return "file" if self.digest else "directory"


@dataclass
class Tree:
    """The current state of everything a plan needs to know."""

    states: dict[str, State] = field(default_factory=dict)
    leftovers: set[str] = field(default_factory=set)
    manifest: dict[str, dict[str, Any]] = field(default_factory=dict)
    made: dict[str, str] = field(default_factory=dict)
    entries: dict[str, list[str]] = field(default_factory=dict)
    mounted: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Action:
    """One write: verb is directory, content, attributes, remove, rmdir, leftover."""

    verb: str
    path: str
    wanted: Wanted | None = None


def mount_points(text: str) -> set[str]:
    """The mount points in the text of /proc/self/mountinfo."""
    points = set()
    for line in text.splitlines():
        fields = line.split(" ")
        if len(fields) > 4:
            points.add(re.sub(r"\\([0-7]{3})", lambda match: chr(int(match.group(1), 8)), fields[4]))
    return points


def user_id(owner: str) -> int | None:
    """The number of a user given by number or name; None when there is no such user (yet)."""
    if owner.isdigit():
        return int(owner)
    try:
        return pwd.getpwnam(owner).pw_uid
    except KeyError:
        return None


def group_id(group: str) -> int | None:
    """The number of a group given by number or name; None when there is no such group (yet)."""
    if group.isdigit():
        return int(group)
    try:
        return grp.getgrnam(group).gr_gid
    except KeyError:
        return None


def read_state(path: str, key: str, content: bool) -> State | None:
    """What lies at ``path``, without following a link; the content is read only where it is to be compared."""
    try:
        found = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    kind = {0o040000: "directory", 0o100000: "file"}.get(found.st_mode & 0o170000, "other")
    digest = ""
    if kind == "file" and content:
        digest = fingerprint(Path(path).read_bytes(), key)
    return State(kind, f"{found.st_mode & 0o7777:04o}", found.st_uid, found.st_gid, digest)


def read_manifest(path: Path) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """What earlier runs wrote: files and the directories they made. A missing manifest is an empty one."""
    try:
        data = json.loads(path.read_text())
    except FileNotFoundError:
        return {}, {}
    return dict(data.get("files", {})), dict(data.get("directories", {}))


def read(name: str, wanted: Iterable[Wanted], key: str) -> Tree:
    """Read everything once."""
    tree = Tree()
    tree.manifest, tree.made = read_manifest(MANIFESTS / f"{name}.json")
    tree.mounted = mount_points(MOUNTS.read_text())
    paths: dict[str, bool] = dict.fromkeys([*tree.manifest, *tree.made], False)
    for entry in wanted:
        paths[entry.path] = bool(entry.digest)
        if entry.digest and os.path.lexists(temporary(entry.path)):
            tree.leftovers.add(temporary(entry.path))
        paths.update(dict.fromkeys((p for p in parents(entry.path) if p not in paths), False))
    for path, content in paths.items():
        state = read_state(path, key, content)
        if state is not None:
            tree.states[path] = state
    for path in tree.made:
        if path in tree.states and tree.states[path].kind == "directory":
            tree.entries[path] = [entry.name for entry in Path(path).iterdir()]
    return tree


def parents(path: str) -> list[str]:
    """The directories above ``path``, the highest first, without the root."""
    return [str(parent) for parent in reversed(Path(path).parents)][1:]


Finder = Callable[[str], "int | None"]


def attributes_differ(state: State, wanted: Wanted, uid: Finder, gid: Finder) -> bool:
    """Whether mode or owner must be set."""
    return (state.mode, state.uid, state.gid) != (f"{int(wanted.mode, 8):04o}", uid(wanted.owner), gid(wanted.group))


def plan(
    wanted: list[Wanted],
    tree: Tree,
    only: Iterable[str] = (),
    uid: Finder = user_id,
    gid: Finder = group_id,
) -> list[Action]:
    """What to do, in the order in which a killed run does no harm: folders, files, a project's .env last, removals."""
    actions: list[Action] = []
    seen: set[str] = set()
    for entry in sorted(wanted, key=lambda e: (e.kind == "file", e.path.endswith("/.env"), e.path)):
        for parent in parents(entry.path):
            if parent not in tree.states and parent not in seen and not _listed(parent, wanted):
                actions.append(Action("directory", parent, Wanted(parent, "0755", "0", "0", entry.service)))
                seen.add(parent)
        state = tree.states.get(entry.path)
        if state is None or state.kind != entry.kind or state.digest != entry.digest:
            actions.append(Action("content" if entry.digest else "directory", entry.path, entry))
        elif not entry.keep and attributes_differ(state, entry, uid, gid):
            actions.append(Action("attributes", entry.path, entry))
        elif temporary(entry.path) in tree.leftovers:
            actions.append(Action("leftover", temporary(entry.path)))
    return actions + removals(wanted, tree, set(only))


def _listed(path: str, wanted: list[Wanted]) -> bool:
    return any(entry.path == path for entry in wanted if not entry.digest)


def removals(wanted: list[Wanted], tree: Tree, only: set[str]) -> list[Action]:
    """What earlier runs wrote and nobody wants any more; with ``only`` nothing of other services.

    A directory goes when this collection made it and nothing else lies in it.
    """
    keep = {entry.path for entry in wanted}
    keep.update(parent for entry in wanted for parent in parents(entry.path))

    def unwanted(path: str, service: str) -> bool:
        return path not in keep and (not only or service in only) and path in tree.states

    files = [p for p, meta in sorted(tree.manifest.items()) if unwanted(p, meta.get("service", ""))]
    actions = [Action("remove", path) for path in files if tree.states[path].kind != "directory"]
    gone = {action.path for action in actions}
    for path in sorted((p for p, service in tree.made.items() if unwanted(p, service)), reverse=True):
        if all(f"{path}/{name}" in gone for name in tree.entries.get(path, ())):
            actions.append(Action("rmdir", path))
            gone.add(path)
    return actions


def manifest_after(wanted: list[Wanted], tree: Tree, actions: list[Action], only: Iterable[str]) -> dict[str, Any]:
    """What the manifest says afterwards."""
    chosen = set(only)
    files = {p: m for p, m in tree.manifest.items() if chosen and m.get("service", "") not in chosen}
    gone = {action.path for action in actions if action.verb == "rmdir"}
    made = {p: s for p, s in tree.made.items() if p not in gone and p in tree.states}
    for entry in wanted:
        if entry.digest:
            files[entry.path] = {"service": entry.service, "secret": entry.secret}
        elif not entry.below:
            made.setdefault(entry.path, entry.service)
    for action in actions:
        if action.verb == "directory" and action.wanted is not None and not action.wanted.below:
            made.setdefault(action.path, action.wanted.service)
    return {"files": dict(sorted(files.items())), "directories": dict(sorted(made.items()))}


def unmounted(wanted: Iterable[Wanted], tree: Tree) -> list[str]:
    """Mount points that must be mounted before anything is written below them, and are not."""
    return sorted({entry.below for entry in wanted if entry.below and entry.below not in tree.mounted})


def view(state: State | None) -> dict[str, Any]:
    """A state as the diff shows it; never its content or a digest of it."""
    if state is None:
        return {"state": "absent"}
    return {"state": state.kind, "mode": state.mode, "owner": str(state.uid), "group": str(state.gid)}
