# SPDX-License-Identifier: MIT
"""What Linux and Windows do not have in common: locks, owners, and how restic names a drive inside a snapshot."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path
from typing import IO, Any

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

WINDOWS = os.name == "nt"
DRIVE = re.compile(r"([A-Za-z]):[\\/]?")
TRY_AGAIN = 1.0


def wait_for_lock(stream: IO[Any]) -> None:
    """A file's lock, gone with its process; who comes second waits."""
    if fcntl is not None:
        fcntl.flock(stream, fcntl.LOCK_EX)
        return
    import msvcrt

    while True:
        stream.seek(0)
        try:
            msvcrt.locking(stream.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined,unused-ignore]
        except OSError:
            time.sleep(TRY_AGAIN)
        else:
            return


def in_snapshot(path: str) -> str:
    r"""How restic names a local path inside a snapshot: D:\Films is /D/Films."""
    drive = DRIVE.match(path)
    return f"/{drive[1].upper()}/{path[drive.end() :]}".replace("\\", "/").rstrip("/") if drive else path


def on_disk(path: str, windows: bool = WINDOWS) -> str:
    """The other way round."""
    found = re.fullmatch(r"/([A-Z])(/.*)?", path) if windows else None
    return f"{found[1]}:{found[2] or '/'}" if found else path


def is_local(address: str) -> bool:
    """Whether a repository's address is a place on a disk."""
    return address.startswith("/") or bool(re.match(r"[A-Za-z]:[\\/]", address))


def give_to(path: str | Path, user: int, group: int) -> None:
    """Windows gives what is made below a folder that folder's rights."""
    if hasattr(os, "chown"):
        os.chown(path, user, group)
