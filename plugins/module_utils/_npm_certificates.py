# Copyright (c) 2026 The homelab.mediaserver authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt)
"""What to do with Nginx Proxy Manager's certificates: pure comparison, no requests.

An uploaded certificate is compared by its fingerprint where the API shows it, else by its time of expiry. That is told
in the container's own time zone and without saying so: the difference must be a whole number of quarter hours, as those
between time zones are, to the second.
"""

from __future__ import annotations

import hashlib
import re
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from ansible_collections.homelab.mediaserver.plugins.module_utils._reconcile import Failure

PEM = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
ZONES = 15 * 3600  # seconds that two clocks in different zones may differ
QUARTER = 900  # seconds; zones differ by multiples of it
TIME = re.compile(rb"\x17\x0d(\d{12})Z|\x18\x0f(\d{14})Z")  # DER: UTCTime, GeneralizedTime


@dataclass(frozen=True)
class Change:
    """`kind`: create (and upload), upload, request, delete."""

    kind: str
    name: str
    number: int = 0


def first_der(text: str) -> bytes:
    """The first certificate of a PEM text."""
    found = PEM.search(text)
    if not found:
        raise Failure("Unable to read certificate: there is no PEM certificate in it")
    try:
        return ssl.PEM_cert_to_DER_cert(found.group())
    except ValueError as error:
        raise Failure(f"Unable to read certificate: {error}") from error


def fingerprint(text: str) -> str:
    return hashlib.sha256(first_der(text)).hexdigest()


def expiry(text: str) -> float:
    """When the first certificate of a PEM text expires: the second of the two times of its validity."""
    times = [short or long for short, long in TIME.findall(first_der(text))]
    if len(times) < 2:
        raise Failure("Unable to read certificate: it has no validity")
    digits = times[1].decode()
    if len(digits) == 12:
        digits = ("19" if digits[:2] >= "50" else "20") + digits
    return datetime.strptime(digits, "%Y%m%d%H%M%S").replace(tzinfo=UTC).timestamp()


def told_expiry(text: Any) -> float | None:
    """`2036-11-18 08:00:00` or `2036-11-18T08:00:00.000Z` as seconds; None for anything else."""
    try:
        return datetime.fromisoformat(str(text).replace("Z", "")).replace(tzinfo=UTC).timestamp()
    except ValueError:
        return None


def same(option: dict[str, Any], current: dict[str, Any]) -> bool:
    """Whether the certificate stored is the one wanted."""
    stored = (current.get("meta") or {}).get("certificate")
    if isinstance(stored, str) and PEM.search(stored):
        return fingerprint(stored) == fingerprint(option["certificate"])
    told = told_expiry(current.get("expires_on"))
    uploaded = bool(stored or current.get("domain_names"))  # a run was killed before the upload otherwise
    if told is None or not uploaded:
        return False
    difference = abs(told - expiry(option["certificate"]))
    return difference < ZONES and (difference + 1) % QUARTER <= 2


def find(option: dict[str, Any], existing: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The certificate of that name, or Let's Encrypt's for just these domains."""
    if option["domains"]:
        domains = {name.lower() for name in option["domains"]}
        found = [
            entry
            for entry in existing
            if entry["provider"] == "letsencrypt"
            and {name.lower() for name in entry.get("domain_names") or []} == domains
        ]
        return found[-1] if found else None
    found = [entry for entry in existing if entry["provider"] == "other" and entry["nice_name"] == option["name"]]
    if len(found) > 1:
        numbers = ", ".join(f"#{entry['id']}" for entry in found)
        raise Failure(f"Unable to manage certificate {option['name']}: there are several of that name ({numbers})")
    return found[0] if found else None


def title(option: dict[str, Any]) -> str:
    return str(option["name"] or ", ".join(option["domains"]))


def plan_certificates(
    options: list[dict[str, Any]], existing: list[dict[str, Any]]
) -> tuple[list[tuple[Change, dict[str, Any]]], dict[str, Any], dict[str, Any]]:
    """The writes, each with the option that asks for it, and the states before and after."""
    changes: list[tuple[Change, dict[str, Any]]] = []
    before: dict[str, Any] = {}
    after: dict[str, Any] = {}
    for option in options:
        name = title(option)
        current = find(option, existing)
        number = int(current["id"]) if current else 0
        if current:
            before[name] = describe(current)
        if option["state"] == "absent":
            changes += [(Change("delete", name, number), option)] if current else []
            continue
        if option["domains"]:
            after[name] = before.get(name, {"provider": "letsencrypt", "domains": sorted(option["domains"])})
            changes += [] if current else [(Change("request", name), option)]
            continue
        after[name] = {"provider": "other", "sha256": fingerprint(option["certificate"])}
        if current is None:
            changes.append((Change("create", name), option))
        elif same(option, current):
            before[name] = after[name]
        else:
            changes.append((Change("upload", name, number), option))
    return changes, before, after


def describe(current: dict[str, Any]) -> dict[str, Any]:
    """A certificate for the diff: never its key."""
    if current["provider"] != "other":
        return {"provider": current["provider"], "domains": sorted(current.get("domain_names") or [])}
    stored = (current.get("meta") or {}).get("certificate")
    known = isinstance(stored, str) and PEM.search(stored)
    return {"provider": "other", "sha256": fingerprint(str(stored)) if known else None}
