# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sizes of folders and files that survive a power cut. Also a file of role upgrade, whose programs run without Ansible:
so it imports nothing of this collection."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path


def size(paths: Iterable[Path]) -> int:
    """Bytes on the disk; a file with several names counts once. Files may vanish meanwhile: a service runs."""
    seen: dict[tuple[int, int], int] = {}
    for path in paths:
        with contextlib.suppress(FileNotFoundError):
            info = path.lstat()
            seen[info.st_dev, info.st_ino] = info.st_blocks * 512
    return sum(seen.values())


def write_durably(path: Path, text: str) -> None:
    """The old text or the new one, also after a power cut; readable by its owner only."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.tmp")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(descriptor)
    beside.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
