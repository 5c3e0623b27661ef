# Copyright (c) 2026 The homelab.mediaserver authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt)
"""Scan libraries and wait until what was found is imported.

A library's `refreshedAt` says that the folders were walked, not that the files are in; and an empty queue may be the
gap between two jobs. So both count, the queue twice in a row. The queue is shared by all libraries. A library of which
Immich sees no folder is never walked: then the queue stays empty and `refreshedAt` as it was.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from ansible_collections.homelab.mediaserver.plugins.module_utils._http import HttpFailure
from ansible_collections.homelab.mediaserver.plugins.module_utils._immich import Immich
from ansible_collections.homelab.mediaserver.plugins.module_utils._reconcile import Failure

PAUSE = 1.0  # seconds between two looks at the queue
QUIET = 2  # looks in a row that must find it empty
STALLED = 5  # looks in a row at an empty queue after which a library that was not walked will not be
WORK = ("active", "waiting", "delayed", "paused")
TO = "look at the library queue"


def ask_queue(immich: Immich) -> tuple[Any, Any]:
    """Whether the library queue is paused, and its counts: by its own route, before version 2.4 by that of jobs."""
    try:
        answer = immich.object("/queues/library", TO)
        return answer.get("isPaused"), answer.get("statistics")
    except HttpFailure as failure:
        if failure.status not in (403, 404):
            raise
        first = failure
    try:
        answer = immich.object("/jobs", TO).get("library") or {}
    except HttpFailure as failure:
        # the right that the newer route asks for is the one to name
        raise (first if (first.status, failure.status) == (403, 403) else failure) from None
    return (answer.get("queueStatus") or {}).get("isPaused"), answer.get("jobCounts")


def queue_work(immich: Immich) -> int:
    """Number of jobs in the library queue; a paused queue fails, because it would never end."""
    paused, counts = ask_queue(immich)
    if not isinstance(counts, dict):
        raise Failure(f"Unable to {TO}: the answer has no counts")
    if paused:
        raise Failure("Unable to scan: Immich's library queue is paused; resume it in the administration's job page")
    return sum(int(counts.get(kind) or 0) for kind in WORK)


def refreshed(immich: Immich) -> dict[str, str | None]:
    return {library["id"]: library.get("refreshedAt") for library in immich.libraries()}


class Scan:
    """One scan of several libraries: ``start`` for each, then ``wait`` once."""

    def __init__(self, immich: Immich, timeout: int, warn: Callable[[str], None]) -> None:
        self.immich = immich
        self.timeout = timeout
        self.warn = warn
        self.known: dict[str, str | None] | None = None
        self.former: dict[str, str | None] = {}
        self.names: dict[str, str] = {}
        self.complete = True

    def start(self, number: str, name: str) -> None:
        if self.known is None:
            self.known = refreshed(self.immich)
        self.former[number] = self.known.get(number)
        self.names[number] = name
        self.immich.call("POST", f"/libraries/{number}/scan", f"scan library {name}")

    def wait(self) -> None:
        end = time.monotonic() + self.timeout
        pending = set(self.former)
        quiet = idle = 0
        while time.monotonic() < end:
            if pending:
                pending = self._not_walked(pending)
            idle = 0 if queue_work(self.immich) else idle + 1
            quiet = 0 if pending or not idle else quiet + 1
            if quiet >= QUIET:
                return
            if pending and idle >= STALLED:
                break
            time.sleep(PAUSE)
        self.complete = False
        names = ", ".join(sorted(self.names[number] for number in pending))
        if pending and idle >= STALLED:
            self.warn(f"Immich did not walk {names}: it sees none of the folders")
        else:
            self.warn(f"Immich has not finished scanning within {self.timeout} s; it goes on in the background")

    def _not_walked(self, numbers: set[str]) -> set[str]:
        now = refreshed(self.immich)
        gone = sorted(self.names[number] for number in numbers - set(now))
        if gone:
            raise Failure(f"Unable to scan library {', '.join(gone)}: it is gone")
        return {number for number in numbers if now[number] is None or now[number] == self.former[number]}
