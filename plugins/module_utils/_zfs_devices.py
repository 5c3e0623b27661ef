# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Disks and partitions: which of their names mean the same, and what they carry. Only reads."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

from ansible_collections.homelab.mediaserver.plugins.module_utils._reconcile import Failure
from ansible_collections.homelab.mediaserver.plugins.module_utils._zfs import Run
from ansible_collections.homelab.mediaserver.plugins.module_utils._zfs_status import Device

Resolve = Callable[[str], str]


# How zpool partitions a whole disk: number -> type; the ninth is 8 MiB that nobody uses
ZPOOL_PARTITIONS = {1: "6a898cc3-1dd2-11b2-99a6-080020736631", 9: "6a945a3b-1dd2-11b2-99a6-080020736631"}


def partition(path: str, number: int) -> str:
    if path.startswith("/dev/disk/"):
        return f"{path}-part{number}"
    return f"{path}p{number}" if path[-1:].isdigit() else f"{path}{number}"


def first_partition(path: str) -> str:
    """Where ZFS keeps its data when it is given a whole disk."""
    return partition(path, 1)


def names(path: str, resolve: Resolve) -> set[str]:
    """Every name under which a pool may know a wanted device."""
    real = resolve(path)
    return {path, real, first_partition(path), first_partition(real)}


def is_device(path: str, device: Device, resolve: Resolve) -> bool:
    """Whether the pool's device is this one. What is missing is known by its old name only."""
    known = {device.path} if device.missing else {device.path, resolve(device.path)}
    return bool(names(path, resolve) & known)


class Disks:
    """The devices of one host."""

    def __init__(self, run: Run) -> None:
        self.run = run

    @staticmethod
    def resolve(path: str) -> str:
        return os.path.realpath(path)

    @staticmethod
    def exists(path: str) -> bool:
        return Path(path).exists()

    def carries(self, path: str) -> str | None:
        """What speaks against writing to it; None when it is empty and free."""
        real = Path(self.resolve(path))
        try:
            mode = real.stat().st_mode
        except OSError:
            return "there is no such device"
        if not (stat.S_ISBLK(mode) or stat.S_ISREG(mode)):
            return "it is no disk, partition or file"
        found = self.signature(str(real))
        part = Path(first_partition(str(real)))
        if found and found.startswith("a partition table") and part.exists():
            found += f", its first partition {self.signature(str(part)) or 'nothing known'}"
        if found:
            return f"it carries {found}"
        return self.used(str(real)) if stat.S_ISBLK(mode) else None

    @staticmethod
    def used(real: str) -> str | None:
        try:  # refused while it is mounted, swap, or held by LVM, mdraid or a pool; so for any partition of a disk
            os.close(os.open(real, os.O_RDONLY | os.O_EXCL | os.O_CLOEXEC))
        except OSError as error:
            return f"it is in use ({error.strerror})"
        return None

    def size(self, path: str) -> int:
        """Bytes; 0 when it cannot be read."""
        try:
            descriptor = os.open(self.resolve(path), os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return 0
        try:
            return os.lseek(descriptor, 0, os.SEEK_END)
        finally:
            os.close(descriptor)

    @staticmethod
    def partitions(real: str) -> set[str]:
        """Those that the kernel knows of a disk."""
        return {f"/dev/{entry.parent.name}" for entry in Path("/sys/class/block", Path(real).name).glob("*/partition")}

    def half_made(self, path: str) -> bool:
        """Whether a disk is free and carries the two partitions of zpool, with nothing in them, and nothing else."""
        real = self.resolve(path)
        expected = {partition(real, number): kind for number, kind in ZPOOL_PARTITIONS.items()}
        if self.partitions(real) != set(expected) or self.used(real):
            return False
        for name, kind in expected.items():
            found = self.probe(name)
            if "TYPE" in found or "PTTYPE" in found or found.get("PART_ENTRY_TYPE") != kind:
                return False
        return self.probe(first_partition(real)).get("PART_ENTRY_NAME", "").startswith("zfs-")

    def signature(self, real: str) -> str | None:
        """A partition table, file system, RAID, volume group, swap or pool on the device."""
        pairs = self.probe(real)
        if "TYPE" in pairs:
            label = f" {pairs['LABEL']}" if "LABEL" in pairs else ""
            return f"{pairs['TYPE']}{label}"
        return f"a partition table ({pairs['PTTYPE']})" if "PTTYPE" in pairs else None

    def probe(self, real: str) -> dict[str, str]:
        """What blkid finds."""
        try:
            code, out, err = self.run(["blkid", "-p", "-o", "export", real])
        except FileNotFoundError:
            raise Failure(f"Unable to look at {real}: blkid is not installed") from None
        if code == 8:
            return {"TYPE": "more than one signature"}
        if code not in (0, 2):
            raise Failure(f"Unable to look at {real}: {err.strip() or f'blkid ended with {code}'}")
        return dict(line.split("=", 1) for line in out.splitlines() if "=" in line)

    def belongs_to(self, path: str, pool: str) -> bool:
        """Whether its label says that it is part of this pool: all that can be known before OpenZFS is loaded."""
        real = self.resolve(path)
        places = [real, *([first_partition(real)] if Path(first_partition(real)).exists() else [])]
        return any(self.signature(place) == f"zfs_member {pool}" for place in places)
