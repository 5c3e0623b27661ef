# Copyright (c) 2026 The homelab.mediaserver authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt)
"""What to do with Jellyfin's libraries: pure comparison, no requests. Paths are sets."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ansible_collections.homelab.mediaserver.plugins.module_utils._http import merge, only_wanted, unknown_keys
from ansible_collections.homelab.mediaserver.plugins.module_utils._reconcile import Failure


@dataclass(frozen=True)
class Change:
    """`kind`: create, add path, remove path, set options of, remove."""

    kind: str
    library: str
    path: str = ""
    item: str = ""  # Jellyfin's id of the library
    options: dict[str, Any] = field(default_factory=dict)
    type: str | None = None

    @property
    def title(self) -> str:
        return (
            f"{self.kind} {self.path} of library {self.library}" if self.path else f"{self.kind} library {self.library}"
        )


def path_of(text: str) -> str:
    return text.rstrip("/") or "/"


def paths_of(library: dict[str, Any]) -> list[str]:
    return sorted({path_of(path) for path in library.get("Locations") or []})


def describe(library: dict[str, Any], wanted: dict[str, Any]) -> dict[str, Any]:
    """A library as far as the user speaks of it."""
    return {
        "type": library.get("CollectionType") or "mixed",
        "paths": paths_of(library),
        "options": only_wanted(library.get("LibraryOptions") or {}, wanted),
    }


def check(options: list[dict[str, Any]]) -> None:
    names = [option["name"].casefold() for option in options]
    for option in options:
        if names.count(option["name"].casefold()) > 1:
            raise Failure(f"Unable to plan library {option['name']}: it is listed twice")
        for key in option["options"]:
            if key == "PathInfos":
                raise Failure(f"Unable to plan library {option['name']}: give paths instead of options.PathInfos")


def plan_libraries(
    options: list[dict[str, Any]], existing: list[dict[str, Any]], purge: bool
) -> tuple[list[Change], dict[str, Any], dict[str, Any]]:
    check(options)
    found = {library["Name"]: library for library in existing}
    changes: list[Change] = []
    before: dict[str, Any] = {}
    after: dict[str, Any] = {}
    for option in options:
        name = option["name"]
        current = found.pop(name, None)
        wanted = option["options"]
        if current is not None:
            before[name] = describe(current, wanted)
        paths = sorted({path_of(path) for path in option["paths"]})
        after[name] = {"type": option["type"], "paths": paths, "options": wanted}
        changes += create(option, paths) if current is None else update(option, paths, current)
        if current is not None:
            after[name]["options"] = only_wanted(merge(current.get("LibraryOptions") or {}, wanted), wanted)
    for name in found if purge else ():
        before[name] = describe(found[name], {})
        changes.append(Change("remove", name))
    return changes, before, after


def create(option: dict[str, Any], paths: list[str]) -> list[Change]:
    body = {**option["options"], "PathInfos": [{"Path": path} for path in paths]}
    kind = None if option["type"] == "mixed" else option["type"]
    return [Change("create", option["name"], options=body, type=kind)]


def update(option: dict[str, Any], paths: list[str], current: dict[str, Any]) -> list[Change]:
    name = option["name"]
    kind = current.get("CollectionType") or "mixed"
    if kind != option["type"]:
        raise Failure(
            f"Unable to change the type of library {name} from {kind} to {option['type']}: Jellyfin cannot; "
            "remove the library first"
        )
    stored = {path_of(path): path for path in current.get("Locations") or []}
    changes = [Change("add path", name, path) for path in paths if path not in stored]
    changes += [Change("remove path", name, stored[path]) for path in sorted(stored) if path not in paths]
    old = current.get("LibraryOptions") or {}
    unknown = unknown_keys(old, option["options"])
    if unknown:
        raise Failure(f"Unable to set options of library {name}: {'; '.join(unknown)}")
    new = merge(old, option["options"])
    if new != old:
        # the whole object is sent, so its paths must be those that the changes above leave
        infos = {path_of(info["Path"]): info for info in old.get("PathInfos") or []}
        new["PathInfos"] = [infos.get(path, {"Path": stored.get(path, path)}) for path in paths]
        changes.append(Change("set options of", name, item=str(current.get("ItemId")), options=new))
    return changes
