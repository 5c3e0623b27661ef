# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which devices zpool was about to write to: a record on the host, kept until zpool has ended well.

zpool partitions whole disks before it looks at the properties of the pool, and before it makes the pool. When it fails
after that, or the power does, the disks carry something, and nobody could tell them from disks with data. So what was
seen to be empty is written down first; the next run takes such a disk when it carries nothing but zpool's partitions.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ansible_collections.homelab.mediaserver.plugins.module_utils._zfs import Command, Zfs
from ansible_collections.homelab.mediaserver.plugins.module_utils._zfs_devices import Disks
from ansible_collections.homelab.mediaserver.plugins.module_utils._zfs_pools import unstable

FOLDER = Path("/var/lib/mediaserver/zfs")
BOOT = Path("/proc/sys/kernel/random/boot_id")


class Intent:
    """The record of one pool."""

    def __init__(self, pool: str, disks: Disks) -> None:
        self.path, self.disks = FOLDER / f"{pool}.json", disks

    def read(self) -> dict[str, Any]:
        """``boot`` and ``devices`` (name -> bytes); empty when there is none that can be read."""
        with contextlib.suppress(OSError, ValueError):
            found = json.loads(self.path.read_text())
            if isinstance(found, dict) and isinstance(found.get("devices"), dict):
                return found
        return {}

    def covers(self, path: str) -> bool:
        """Whether this device was seen to be empty, and carries nothing but what zpool then put on it."""
        record = self.read()
        if path not in record.get("devices", {}) or record["devices"][path] != self.disks.size(path):
            return False
        if unstable([path]) and record.get("boot") != BOOT.read_text().strip():
            return False  # another disk may have this name now
        return self.disks.half_made(path)

    def run(self, zfs: Zfs, command: Command, paths: Iterable[str]) -> Any:
        """Run ``command``, which writes to these devices, between writing the record and taking it away."""
        from ansible_collections.homelab.mediaserver.plugins.module_utils._tree_write import write_atomic

        record = {"boot": BOOT.read_text().strip(), "devices": {path: self.disks.size(path) for path in paths}}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(str(self.path), f"{json.dumps(record)}\n".encode(), 0o600, 0, 0)
        answer = zfs.write(command)
        self.forget()
        return answer

    def forget(self) -> None:
        self.path.unlink(missing_ok=True)
