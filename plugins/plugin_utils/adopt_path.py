# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which versions lie between what runs and what the plan wants.

Immich's rules are upstream's: since 1.133.0 it upgrades from 1.107.2 or later only; 1.137.0 and later want a database
that 1.132.0 to 1.136.x migrated, for which upstream recommends 1.132.3; 3.0 knows pgvecto.rs no more, so a 2.x has to
move the vectors to VectorChord first, in a database image that carries both.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

Version = tuple[int, ...]
OLDEST: Version = (1, 107, 2)
SCHEMA: Version = (1, 132, 3)
LAST_TWO: Version = (2, 7, 5)
DATA_FOLDER: Version = (1, 137, 0)
"""From here on Immich finds its media in /data."""
OLD_FOLDER = "/usr/src/app/upload"


@dataclass
class Path_:
    """The stepping stones, oldest first, or why there is no path and what to do."""

    stones: list[Version] = field(default_factory=list)
    refused: str = ""


def number(text: str) -> Version:
    """``v1.118.0`` or ``14-vectorchord0.4.3`` as numbers; empty where it begins with none."""
    match = re.match(r"v?(\d+(?:\.\d+)*)", text)
    return tuple(int(part) for part in match[1].split(".")) if match else ()


def show(version: Version) -> str:
    return ".".join(str(part) for part in version)


def tag(image: str) -> str:
    return image.partition("@")[0].rpartition("/")[2].partition(":")[2]


def repository(image: str) -> str:
    """``jellyfin/jellyfin`` of ``10.0.0.5:5000/docker.io/jellyfin/jellyfin:latest``: no registries, no tag."""
    parts = image.partition("@")[0].split("/")
    parts[-1] = parts[-1].partition(":")[0]
    while len(parts) > 1 and (re.search(r"[.:]", parts[0]) or parts[0] in ("localhost", "library")):
        parts = parts[1:]
    return "/".join(parts)


def newer(old: Version, new: Version) -> bool:
    """Whether ``old`` is newer, as far as both say."""
    length = min(len(old), len(new))
    return bool(length) and old[:length] > new[:length]


def immich(version: Version, pin: Version, vectors: bool) -> Path_:
    """From a running server to the pinned one; ``vectors``: the database still has its vectors in pgvecto.rs only."""
    if not version:
        return Path_(refused="its version is unknown. Start it, so that it can tell its version")
    if version < OLDEST:
        return Path_(
            refused=f"{show(version)} is older than {show(OLDEST)}, before which no later version takes its database. "
            f"In the old compose file set the tag v{show(OLDEST)}, start it, wait until it answers, and run this again"
        )
    if newer(version, pin):
        return Path_(refused=downgrade("Immich", version, pin))
    found: list[Version] = []
    if version < SCHEMA[:2]:
        found.append(SCHEMA)
    if pin >= (3,) and version < (3,) and (version < LAST_TWO or vectors):
        found.append(max(version, LAST_TWO))
    if version >= (3,) and vectors:
        return Path_(
            refused="version 3 runs on a database without VectorChord, which it cannot; nothing is known of it"
        )
    return Path_(found)


def downgrade(name: str, version: Version, pin: Version) -> str:
    return (
        f"{name} {show(version)} is newer than the {show(pin)} of the catalog, and its data cannot go back. "
        "Take a collection whose catalog has at least that version"
    )


def database(image: str, major: str, extensions: dict[str, str]) -> str:
    """Why the planned database image cannot take the old one's files; empty when it can."""
    name = tag(image)
    wanted = number(name)
    if major and wanted and major != str(wanted[0]):
        return (
            f"the files are PostgreSQL {major}'s, the catalog's image is PostgreSQL {wanted[0]}. Dump it "
            "(pg_dump --clean --if-exists), load the dump into an empty folder with an image of the new version in the "
            "old compose file, and run this again"
        )
    for extension, word, title in (("vchord", "vectorchord", "VectorChord"), ("vectors", "pgvectors", "pgvecto.rs")):
        has = re.search(rf"(?<![a-z]){word}([0-9.]+)", name)
        old = extensions.get(extension, "")
        if not old or not wanted:
            continue
        if extension == "vectors" and (has is None or number(has[1].rstrip(".")) != number(old)):
            return (
                f"the vectors are in {title} {old}, which the image {name} does not carry. In the old compose file set "
                f"the image ghcr.io/immich-app/postgres:{wanted[0]}-vectorchord<version>-pgvectors{old} without "
                "`command:`, start it once with Immich 1.133 to 2.7, which moves the vectors, then run "
                "`DROP EXTENSION vectors` and this again"
            )
        if extension == "vchord" and has is not None and newer(number(old), number(has[1].rstrip("."))):
            return downgrade(title, number(old), number(has[1].rstrip(".")))
    return ""
