# Copyright (c) 2026 The homelab.mediaserver authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt)
"""What to do with Immich's users: pure comparison, no requests.

A deleted user stays in the list for some days and blocks its e-mail address with a 500; so it is restored instead of
created anew. A storage label is cleaned by Immich before it is stored, so it is cleaned here before it is compared.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.homelab.mediaserver.plugins.module_utils._reconcile import Failure

UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
FIELDS = {"name": "name", "admin": "isAdmin", "storage_label": "storageLabel", "quota": "quotaSizeInBytes"}


@dataclass(frozen=True)
class Change:
    """`kind`: create, restore, update, set password of, delete."""

    kind: str
    email: str
    number: str = ""
    body: dict[str, Any] = field(default_factory=dict)


def size(text: str) -> int | None:
    """`50G`, `500MiB` or bytes as a number; `unlimited` is None."""
    if text.lower() in ("unlimited", "none"):
        return None
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?", text.strip(), re.IGNORECASE)
    if not found:
        raise Failure(f"Unable to use quota {text}: expected a number of bytes, one with K, M, G or T, or unlimited")
    return int(float(found.group(1)) * UNITS[found.group(2).upper()])


def label(text: str) -> str | None:
    """A storage label as Immich stores it: nothing that a file's name may not have anywhere; empty is none.

    Immich takes out the dots and hands the rest to the npm package sanitize-filename.
    """
    plain = re.sub(r'[./?<>\\:*|"\x00-\x1f\x80-\x9f]', "", text)
    plain = re.sub(r"^(con|prn|aux|nul|com[0-9]|lpt[0-9])$", "", plain, flags=re.IGNORECASE).rstrip(" ")
    return plain.encode()[:255].decode(errors="ignore") or None


def wanted_fields(option: dict[str, Any]) -> dict[str, Any]:
    """The fields of the API that the user speaks of."""
    wanted: dict[str, Any] = {}
    for key, api_name in FIELDS.items():
        value = option[key]
        if value is None:
            continue
        wanted[api_name] = size(value) if key == "quota" else label(value) if key == "storage_label" else value
    return wanted


def describe(user: dict[str, Any], keys: set[str]) -> dict[str, Any]:
    return {"deleted": bool(user.get("deletedAt")), **{key: user.get(key) for key in sorted(keys)}}


def plan_users(
    options: list[dict[str, Any]], existing: list[dict[str, Any]], always: bool
) -> tuple[list[Change], dict[str, Any], dict[str, Any]]:
    """The writes, and the states before and after. ``existing`` includes deleted users."""
    users = {str(user["email"]).lower(): user for user in existing}
    changes: list[Change] = []
    before: dict[str, Any] = {}
    after: dict[str, Any] = {}
    emails = [option["email"].lower() for option in options]
    check_labels(options, existing)
    for email, option in zip(emails, options, strict=True):
        if emails.count(email) > 1:
            raise Failure(f"Unable to plan user {email}: it is listed twice")
        current = users.get(email)
        wanted = wanted_fields(option)
        if current is not None:
            before[email] = describe(current, set(wanted))
        if option["state"] == "absent":
            alive = current is not None and not current.get("deletedAt")
            changes += [Change("delete", email, current["id"])] if current and alive else []
            if current is not None:
                after[email] = {**before[email], "deleted": True}
            continue
        after[email] = {"deleted": False, **wanted}
        changes += create(option, email, wanted) if current is None else update(option, email, current, wanted, always)
    return changes, before, after


def check_labels(options: list[dict[str, Any]], existing: list[dict[str, Any]]) -> None:
    """Immich answers a label that is taken with an unhelpful 500."""
    owners = {user["storageLabel"]: str(user["email"]).lower() for user in existing if user.get("storageLabel")}
    for option in options:
        name = label(option["storage_label"] or "")
        owner = owners.setdefault(name, option["email"].lower()) if name else None
        if owner is not None and owner != option["email"].lower() and option["state"] == "present":
            raise Failure(f"Unable to plan user {option['email']}: storage label {name} belongs to {owner}")


def create(option: dict[str, Any], email: str, wanted: dict[str, Any]) -> list[Change]:
    if not option["password"]:
        raise Failure(f"Unable to create user {email}: give a password")
    body = {"email": email, "name": email.partition("@")[0], **wanted, "password": option["password"]}
    if option["change_password"] is not None:
        body["shouldChangePassword"] = option["change_password"]
    return [Change("create", email, body=body)]


def update(
    option: dict[str, Any], email: str, current: dict[str, Any], wanted: dict[str, Any], always: bool
) -> list[Change]:
    number = current["id"]
    if current.get("status") == "removing":
        raise Failure(f"Unable to restore user {email}: Immich is still removing it; try again when that is done")
    changes = [Change("restore", email, number)] if current.get("deletedAt") else []
    different = {key: value for key, value in wanted.items() if current.get(key) != value}
    changes += [Change("update", email, number, different)] if different else []
    if always and option["password"]:
        changes.append(Change("set password of", email, number, {"password": option["password"]}))
    return changes
