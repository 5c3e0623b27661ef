# Copyright (c) 2026 The homelab.mediaserver authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt)
"""What to do with Immich's external libraries: pure comparison, no requests.

Paths and patterns are sets. Immich compares nothing itself: names are not unique, a request without a change still
bumps a library, and one with nothing known in it is a 500; so only what differs is sent.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from ansible_collections.homelab.mediaserver.plugins.module_utils._reconcile import Failure


@dataclass(frozen=True)
class Change:
    """`kind`: create, update, delete. ``number`` is Immich's id of the library ("" for a new one)."""

    kind: str
    name: str
    owner: str  # e-mail
    number: str = ""
    body: dict[str, Any] = field(default_factory=dict)

    @property
    def title(self) -> str:
        return f"{self.kind} library {self.name} of {self.owner}"


AT_ONCE = 1.0  # seconds within which Immich writes both times of a library when it has walked it


def unscanned(library: dict[str, Any]) -> bool:
    """Whether a library was changed after it was last walked: a run that was killed in between did not scan it."""
    if not library.get("importPaths"):
        return False
    if not library.get("refreshedAt"):
        return True
    try:
        walked, written = (
            datetime.fromisoformat(str(library[key]).replace("Z", "+00:00")) for key in ("refreshedAt", "updatedAt")
        )
        return (written - walked).total_seconds() > AT_ONCE
    except (KeyError, ValueError, TypeError):
        return False


def path_of(text: str) -> str:
    return text.rstrip("/") or "/"


def describe(library: dict[str, Any]) -> dict[str, Any]:
    return {
        "paths": sorted({path_of(path) for path in library.get("importPaths") or []}),
        "exclude": sorted(set(library.get("exclusionPatterns") or [])),
    }


def check(options: list[dict[str, Any]]) -> None:
    seen = set()
    for option in options:
        identity = (option["name"], option["owner"].lower())
        if identity in seen:
            raise Failure(f"Unable to plan library {option['name']}: it is listed twice for {option['owner']}")
        seen.add(identity)
        if not option["name"].strip():
            raise Failure("Unable to plan a library: its name is empty")
        for path in option["paths"] or []:
            if not path.startswith("/"):
                raise Failure(f"Unable to plan library {option['name']}: path {path!r} is not absolute")


def find(option: dict[str, Any], owner: str, existing: list[dict[str, Any]]) -> dict[str, Any] | None:
    found = [lib for lib in existing if lib["name"] == option["name"] and lib["ownerId"] == owner]
    if len(found) > 1:
        numbers = ", ".join(lib["id"] for lib in found)
        raise Failure(
            f"Unable to manage library {option['name']} of {option['owner']}: there are {len(found)} of that name "
            f"({numbers}); rename or delete all but one",
            duplicates=[lib["id"] for lib in found],
        )
    return found[0] if found else None


def refuse_other_owner(
    option: dict[str, Any], existing: list[dict[str, Any]], claimed: set[tuple[str, str]], emails: dict[str, str]
) -> None:
    """A library of that name under an owner nobody asks for is most likely the wanted one: its owner cannot change."""
    for library in existing:
        if library["name"] == option["name"] and (library["name"], library["ownerId"]) not in claimed:
            other = emails.get(library["ownerId"], library["ownerId"])
            raise Failure(
                f"Unable to change the owner of library {option['name']} ({library['id']}) from {other} to "
                f"{option['owner']}: Immich cannot; delete or rename it first, or list both"
            )


def plan_libraries(
    options: list[dict[str, Any]], existing: list[dict[str, Any]], users: dict[str, str], purge: bool
) -> tuple[list[Change], dict[str, Any], dict[str, Any]]:
    """The writes, and the states before and after. ``users`` are ids by e-mail."""
    check(options)
    emails = {number: email for email, number in users.items()}
    claimed: set[tuple[str, str]] = set()
    for option in options:
        if option["owner"].lower() not in users:
            raise Failure(f"Unable to manage library {option['name']}: there is no user {option['owner']}")
        claimed.add((option["name"], users[option["owner"].lower()]))
    changes: list[Change] = []
    before: dict[str, Any] = {}
    after: dict[str, Any] = {}
    for option in options:
        owner = users[option["owner"].lower()]
        current = find(option, owner, existing)
        key = f"{option['name']} of {option['owner'].lower()}"
        if current is not None:
            before[key] = describe(current)
        if option["state"] == "absent":
            changes += [Change("delete", option["name"], option["owner"], current["id"])] if current else []
            continue
        if current is None:
            refuse_other_owner(option, existing, claimed, emails)
        change, after[key] = compare(option, owner, current)
        changes += [change] if change else []
    for library in existing if purge else []:
        if (library["name"], library["ownerId"]) not in claimed:
            email = emails.get(library["ownerId"], library["ownerId"])
            before[f"{library['name']} of {email}"] = describe(library)
            changes.append(Change("delete", library["name"], email, library["id"]))
    return changes, before, after


def compare(option: dict[str, Any], owner: str, current: dict[str, Any] | None) -> tuple[Change | None, dict[str, Any]]:
    wanted: dict[str, Any] = {}
    if option["paths"] is not None:
        wanted["paths"] = sorted({path_of(path) for path in option["paths"]})
    if option["exclude"] is not None:
        wanted["exclude"] = sorted(set(option["exclude"]))
    name, email = option["name"], option["owner"]
    if current is None:
        body = {"ownerId": owner, "name": name, **to_api(wanted)}
        return Change("create", name, email, body=body), wanted
    now = describe(current)
    different = {key: value for key, value in wanted.items() if now[key] != value}
    change = Change("update", name, email, current["id"], to_api(different)) if different else None
    return change, {**now, **wanted}


def to_api(wanted: dict[str, Any]) -> dict[str, Any]:
    names = {"paths": "importPaths", "exclude": "exclusionPatterns"}
    return {names[key]: value for key, value in wanted.items()}
