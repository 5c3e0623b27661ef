#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Requests that immich_libraries makes for 20 libraries when nothing changes.

Counted at the fake of Immich (the lab's stand-in in this process), once as each release it knows.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "playbooks" / "collections"))

from ansible_collections.homelab.mediaserver.plugins.modules import immich_libraries
from ansible_collections.homelab.mediaserver.tests.unit.fakes.http_fake import no_sleep, run_module
from ansible_collections.homelab.mediaserver.tests.unit.fakes.immich_fake import VERSIONS, ImmichFake

LIBRARIES, TARGET = 20, 3


def requests(version: tuple[int, int, int]) -> int:
    """Requests of a run that changes nothing; fails where it changes something."""
    owner = "admin@example.org"
    wanted = [{"name": f"Library {n}", "owner": owner, "paths": [f"/photos/{n}"]} for n in range(LIBRARIES)]
    fake = ImmichFake(version)
    with pytest.MonkeyPatch.context() as monkeypatch, no_sleep(monkeypatch):
        arguments = {"api_key": "key-all", "libraries": wanted}
        made = run_module(immich_libraries, fake, arguments, monkeypatch=monkeypatch)
        again = run_module(immich_libraries, fake, arguments, monkeypatch=monkeypatch)
    if not made.get("changed") or again.get("changed") is not False:
        raise SystemExit(f"immich requests: the runs did not do what they should: {made.get('msg')} {again.get('msg')}")
    return len(fake.requests)


def main() -> int:
    figures = {".".join(map(str, version)): requests(version) for version in VERSIONS}
    worst = max(figures.values())
    shown = ", ".join(f"{figure} ({version})" for version, figure in figures.items())
    print(f"immich_libraries, {LIBRARIES} libraries without a change: requests {shown}; target at most {TARGET}")
    print("target met" if worst <= TARGET else "TARGET MISSED")
    return 0 if worst <= TARGET else 1


if __name__ == "__main__":
    sys.exit(main())
