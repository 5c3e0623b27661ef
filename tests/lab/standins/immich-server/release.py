# SPDX-License-Identifier: MIT
"""Which release of Immich this stand-in behaves like: 1.144.1, 2.7.5 or 3.1.0 (by LAB_TEST_VERSION; 3.1.0 otherwise).

Every difference between them is asked for here by ``at_least``.
"""

from __future__ import annotations

import os

KNOWN = ((1, 144, 1), (2, 7, 5), (3, 1, 0))


def named(text: str) -> tuple[int, int, int]:
    major = text.lstrip("v").partition(".")[0]
    return next(version for version in KNOWN if str(version[0]) == major)


current = named(os.environ.get("LAB_TEST_VERSION", "3"))


def at_least(*version: int) -> bool:
    return current >= version


def text() -> str:
    return ".".join(map(str, current))
