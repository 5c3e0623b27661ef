# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One writer at a time on a host.

A module lives on after its killed controller, so two runs can meet. Whoever writes a host's tree or its projects holds
an advisory lock; the kernel frees it when the holder ends, however it ends, so a lock never outlives its holder.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

from ansible_collections.homelab.mediaserver.plugins.module_utils._reconcile import Failure

FOLDER = Path("/run/lock")
PAUSE = 0.2


def _holder(descriptor: int) -> str:
    """Who wrote itself into the lock file last."""
    text = os.pread(descriptor, 64, 0).decode("ascii", "replace").strip()
    return text if text.isdigit() else "unknown"


@contextlib.contextmanager
def lock(name: str, timeout: float = 300, folder: Path | None = None) -> Iterator[None]:
    """Hold the lock ``name``; wait up to ``timeout`` seconds for another holder to end."""
    where = folder or FOLDER
    where.mkdir(parents=True, exist_ok=True)
    path = where / f"mediaserver-{name}.lock"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        deadline = time.monotonic() + timeout
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    pid = _holder(descriptor)
                    raise Failure(
                        f"Unable to lock {name}: process {pid} still holds {path} after {timeout:g} seconds; "
                        f"another run (or what is left of a killed one) is working, wait for it or end process {pid}",
                        lock=str(path),
                        holder=pid,
                    ) from None
                time.sleep(PAUSE)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)
