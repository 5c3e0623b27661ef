# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Mounts, mount points and disks of the host: reads (no process when nothing changes) and writes."""

from __future__ import annotations

import fcntl
import os
import struct
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.homelab.mediaserver.plugins.module_utils._deadman import Run, checked, read_file, write_file
from ansible_collections.homelab.mediaserver.plugins.module_utils._mounts import (
    HEADER,
    MIB,
    Mount,
    file_system_size,
    has_grown,
    mount_points,
    mounted_at,
    parse_blkid,
    xfs_log_size,
)
from ansible_collections.homelab.mediaserver.plugins.module_utils._mounts_plan import (
    State,
    refuse_full,
    refuse_other_content,
)
from ansible_collections.homelab.mediaserver.plugins.module_utils._reconcile import Failure

FS_IOC_GETFLAGS, FS_IOC_SETFLAGS = 0x80086601, 0x40086602
FS_IMMUTABLE_FL = 0x10


def set_immutable(path: Path, on: bool) -> bool:
    """``chattr +i`` (or -i). False where the file system or this kernel's confinement does not let us."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        flags = struct.unpack("l", fcntl.ioctl(handle, FS_IOC_GETFLAGS, struct.pack("l", 0)))[0]
        wanted = flags | FS_IMMUTABLE_FL if on else flags & ~FS_IMMUTABLE_FL
        if wanted != flags:
            fcntl.ioctl(handle, FS_IOC_SETFLAGS, struct.pack("l", wanted))
    except OSError:
        return False
    finally:
        os.close(handle)
    return True


def names_in(path: Path) -> tuple[str, ...]:
    return tuple(member.name for member in path.iterdir())


@dataclass
class Host:
    """This machine."""

    run: Run
    units: Path = Path("/etc/systemd/system")
    stamps: Path = Path("/var/lib/mediaserver/mounts")
    mountinfo: Path = Path("/proc/self/mountinfo")

    # --- reads
    def read(self, mount: Mount) -> State:
        path = Path(mount.path)
        if not mount.mounted:
            return State(exists=path.is_dir())
        mounted = mount.path in mount_points(self.mountinfo.read_text(encoding="utf-8"))
        is_disk = mount.kind == "disk"
        return State(
            mounted=mounted,
            unit=read_file(self.units / mount.unit),
            boot=(self.units / "multi-user.target.wants" / mount.unit).is_symlink(),
            unfinished=(self.stamps / mount.unit).exists(),
            exists=path.is_dir(),
            entries=() if mounted or not path.is_dir() else names_in(path),
            content=self.content(mount.source) if is_disk and not mounted else None,
            grown=is_disk and self.grown(mount, mounted),
            elsewhere=self.elsewhere(mount.source) if is_disk and not mounted else (),
        )

    def elsewhere(self, device: str) -> tuple[str, ...]:
        if not Path(device).exists():
            return ()
        number = Path(device).stat().st_rdev
        name = f"{os.major(number)}:{os.minor(number)}"
        return tuple(mounted_at(self.mountinfo.read_text(encoding="utf-8"), name))

    def content(self, device: str) -> Mapping[str, str] | None:
        """What is on a device. A device that is not there (yet) counts as blank; the writes look again."""
        if not Path(device).exists():
            return None
        code, out, _err = self.run(["blkid", "--probe", "--output", "export", device])
        found = parse_blkid(code, out)
        if found is None and any(self.head(device, MIB)):
            return {"TYPE": "", "USAGE": "unknown"}
        return found

    def head(self, device: str, length: int = 4096) -> bytes:
        with Path(device).open("rb") as file:
            return file.read(length)

    def grown(self, mount: Mount, mounted: bool) -> bool:
        if not Path(mount.source).exists():
            return False
        with Path(mount.source).open("rb") as file:
            head = file.read(4096)
            size = file.seek(0, os.SEEK_END)
        inside = file_system_size(head)
        if mounted and (log := xfs_log_size(head)):
            status = os.statvfs(mount.path)
            inside = status.f_blocks * status.f_frsize + log
        return has_grown(size, inside)

    def unlisted(self, listed: Collection[str]) -> list[str]:
        """Units of ours for mounts that nobody wants any more."""
        found = [path.name for path in self.units.glob("*.mount") if (read_file(path) or "").startswith(HEADER)]
        return sorted(name for name in found if name not in listed)

    # --- writes
    def directory(self, mount: Mount) -> None:
        Path(mount.path).mkdir(parents=True, exist_ok=True)

    def guard(self, mount: Mount) -> None:
        """An empty directory that nobody can write into; the parents as usual."""
        path = Path(mount.path)
        path.mkdir(parents=True, exist_ok=True)
        refuse_full(mount, names_in(path))
        if path.stat().st_mode & 0o7777:
            set_immutable(path, False)
            path.chmod(0)
        set_immutable(path, True)

    def format(self, mount: Mount) -> None:
        if not Path(mount.source).exists():
            raise Failure(f"Unable to mount {mount.name}: there is no device {mount.source}. Is the disk attached?")
        content = self.content(mount.source)
        refuse_other_content(mount, content, "if_blank")
        if content is None:
            quiet = ["-q", "-L", mount.name[:12].strip("/").replace("/", "-")]
            checked(self.run, [f"mkfs.{mount.fstype}", *quiet, mount.source], f"format {mount.source}")

    def write_unit(self, mount: Mount) -> None:
        self.stamps.mkdir(parents=True, exist_ok=True)
        (self.stamps / mount.unit).touch()
        write_file(self.units / mount.unit, mount.unit_text())
        checked(self.run, ["systemctl", "daemon-reload"], f"let systemd read {mount.unit}")

    def enable(self, mount: Mount) -> None:
        checked(self.run, ["systemctl", "enable", mount.unit], f"enable {mount.unit}")

    def start(self, mount: Mount, again: bool) -> None:
        """Mount, or mount anew with changed settings; the journal's words when that fails."""
        code, _out, err = self.run(["systemctl", "restart" if again else "start", mount.unit])
        if code != 0:
            _code, log, _err = self.run(["journalctl", f"--unit={mount.unit}", "--lines=5", "--output=cat", "--quiet"])
            raise Failure(f"Unable to mount {mount.name} at {mount.path}: {(log or err).strip()}", unit=mount.unit)
        (self.stamps / mount.unit).unlink(missing_ok=True)

    def grow(self, mount: Mount) -> None:
        argv = ["resize2fs", mount.source] if mount.fstype == "ext4" else ["xfs_growfs", mount.path]
        checked(self.run, argv, f"grow {mount.path} to the size of its disk")

    def remove(self, unit: str) -> None:
        checked(self.run, ["systemctl", "disable", "--now", unit], f"unmount {unit}")
        (self.units / unit).unlink(missing_ok=True)
        (self.stamps / unit).unlink(missing_ok=True)
        checked(self.run, ["systemctl", "daemon-reload"], "let systemd read its units")
