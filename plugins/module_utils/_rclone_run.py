# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plan and write of rclone_remotes."""

from __future__ import annotations

import grp
import pwd
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.homelab.mediaserver.plugins.module_utils._rclone_backends import Backends
from ansible_collections.homelab.mediaserver.plugins.module_utils._rclone_host import Host, State
from ansible_collections.homelab.mediaserver.plugins.module_utils._rclone_plan import (
    Changes,
    Policy,
    Remote,
    edit,
    shown,
    text_of,
    unlike,
)
from ansible_collections.homelab.mediaserver.plugins.module_utils._reconcile import Failure, Plan, Step


def leaves(value: Any) -> Iterator[str]:
    """All texts in an option's value."""
    if isinstance(value, Mapping):
        for item in value.values():
            yield from leaves(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from leaves(item)
    elif value is not None and not isinstance(value, bool):
        yield str(value)


def secrets(items: Iterable[Mapping[str, Any]], backends: Backends) -> tuple[set[str], set[str]]:
    """The texts in the wanted options that are secret, and those that are not."""
    hidden: set[str] = set()
    plain: set[str] = set()
    for item in items:
        backend = backends.any(str(item.get("type") or ""))
        for key, value in (item.get("options") or {}).items():
            text = text_of(value, backend.option(str(key)))
            group = hidden if backend.hidden(str(key), text) else plain
            group.update((text, *leaves(value)))
    return hidden - {""}, plain - hidden


@dataclass
class Work:
    """What one run of the module wants of one file."""

    host: Host
    remotes: Sequence[Remote]
    backends: Backends
    policy: Policy

    def plan(self) -> Plan:
        host = self.host
        state = host.read()
        before, after = host.parse(state), host.parse(state)
        changes = edit(after, self.remotes, self.backends, self.policy)
        names = [*dict.fromkeys([*(remote.name for remote in self.remotes), *changes.removed])]
        old, new = shown(before, after, names, self.backends)
        exists = state.text is not None
        file_old = self._file(state) if exists else {"state": "absent"}
        file_new = self._wanted(state) if exists or changes else file_old
        words = changes.words() + [
            f"{key} {file_new[key]}" for key in file_new if exists and file_new[key] != file_old.get(key)
        ]
        steps = [Step(f"write {host.path}: {'; '.join(words)}", lambda: self.write(changes))] if words else []
        if host.program is None:
            steps.insert(0, Step("use rclone, which is not installed", self.refuse))
        result = {"created": changes.created, "updated": list(changes.updated), "removed": changes.removed}
        return Plan({"file": file_old, "remotes": old}, {"file": file_new, "remotes": new}, tuple(steps), result=result)

    def refuse(self) -> None:
        raise Failure("Unable to configure rclone: it is not installed on this host, or not in its PATH")

    def write(self, planned: Changes) -> None:
        """Edit the file as it is now: what rclone wrote into it meanwhile (a renewed token) stays."""
        with self.host.locked():
            state = self.host.read()
            document = self.host.parse(state)
            if edit(document, self.remotes, self.backends, self.policy) != planned:
                raise Failure(f"Unable to write {self.host.path}: its remotes were changed meanwhile; run again")
            self.host.write(document.render(), state.raw)

    def read_back(self) -> dict[str, Any]:
        """rclone's own word that it reads what is wanted."""
        sections = self.host.dump() if self.host.raw() is not None else {}
        found = unlike(sections, self.remotes, self.backends)
        if found:
            raise Failure(
                f"Unable to configure rclone: it reads {self.host.path} otherwise than wanted: {', '.join(found)}",
                unlike=found,
            )
        return {"remotes": sorted(sections)}

    def _file(self, state: State) -> dict[str, Any]:
        """What is managed of the file itself."""
        found: dict[str, Any] = {"state": "file", "mode": f"{state.mode:04o}", "encrypted": state.encrypted}
        if self.host.owner is not None:
            found["owner"] = name_of(state.uid, pwd.getpwuid)
        if self.host.group is not None:
            found["group"] = name_of(state.gid, grp.getgrgid)
        return found

    def _wanted(self, state: State) -> dict[str, Any]:
        uid, gid = self.host.ids()
        found: dict[str, Any] = {"state": "file", "mode": f"{self.host.mode:04o}"}
        found["encrypted"] = self.host.password is not None
        if uid is not None:
            found["owner"] = name_of(uid, pwd.getpwuid) if uid >= 0 else self.host.owner
        if gid is not None:
            found["group"] = name_of(gid, grp.getgrgid) if gid >= 0 else self.host.group
        return found


def name_of(ident: int, database: Callable[[int], Any]) -> str:
    try:
        return str(database(ident)[0])
    except KeyError:
        return str(ident)
