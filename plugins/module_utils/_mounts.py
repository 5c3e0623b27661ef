# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Mount units of storage classes, and what disks and mount points look like. Pure."""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.homelab.mediaserver.plugins.module_utils._reconcile import Failure

HEADER = "# Written by homelab.mediaserver (storage_mounts).\n"
KINDS = ("virtiofs", "disk", "nfs", "local")
FILE_SYSTEMS = ("ext4", "xfs")
MIB = 1 << 20
# less than this is what mkfs leaves at the end of a disk, not growth
GROWN = 16 * MIB


@dataclass(frozen=True)
class Mount:
    """One storage class on this host. ``local`` without a source is a plain directory on the host's own disk."""

    name: str
    path: str
    kind: str
    source: str = ""
    fstype: str = ""
    options: tuple[str, ...] = ()
    read_only: bool = False

    @property
    def mounted(self) -> bool:
        return self.kind != "local" or bool(self.source)

    @property
    def unit(self) -> str:
        return unit_name(self.path)

    def unit_text(self) -> str:
        kind = {"virtiofs": "virtiofs", "nfs": self.fstype or "nfs4", "local": "none"}.get(self.kind, self.fstype)
        options = [*(["bind"] if self.kind == "local" else []), *(["ro"] if self.read_only else []), *self.options]
        lines = [HEADER + "[Unit]", f"Description=Storage class {self.name} at {self.path} (homelab.mediaserver)"]
        if self.kind == "nfs":
            lines += ["Wants=network-online.target", "After=network-online.target"]
        lines += ["", "[Mount]", f"What={escape(self.source)}", f"Where={escape(self.path)}", f"Type={kind}"]
        if options:
            lines.append(f"Options={escape(','.join(options))}")
        if self.kind == "nfs":
            # a server that is away must not hold up who unmounts; a hard mount has what was not written yet elsewhere
            lines.append("ForceUnmount=yes")
        # not local-fs.target: a disk that is away must not hold the boot in emergency mode; what needs it binds to it
        return "\n".join([*lines, "", "[Install]", "WantedBy=multi-user.target", ""])


def escape(value: str) -> str:
    return value.replace("%", "%%")


def unit_name(path: str) -> str:
    """``systemd-escape --path --suffix=mount``."""
    parts = [part for part in path.split("/") if part]
    if not parts:
        return "-.mount"

    def quote(part: str, first: bool) -> str:
        return "".join(
            char
            if re.fullmatch(r"[A-Za-z0-9:_]", char) or (char == "." and not (first and index == 0))
            else "".join(f"\\x{byte:02x}" for byte in char.encode())
            for index, char in enumerate(part)
        )

    return "-".join(quote(part, number == 0) for number, part in enumerate(parts)) + ".mount"


def clean(items: Iterable[Mapping[str, Any]]) -> list[Mount]:
    """The module's ``mounts``, checked, outer before inner."""
    mounts = []
    for item in items:
        path, kind, name = os.path.normpath(item["path"]), item["kind"], str(item.get("class") or item["path"])
        source, fstype = str(item.get("source") or ""), str(item.get("fstype") or "")
        options = item.get("options") or ()
        if not path.startswith("/") or path == "/":
            raise Failure(f"Unable to mount {name}: {item['path']} is no absolute path below /")
        if kind == "local":
            source = "" if source and os.path.normpath(source) == path else source
            if source and not source.startswith("/"):
                raise Failure(f"Unable to mount {name}: the source of a local directory is a path, not {source}")
        elif not source:
            raise Failure(f"Unable to mount {name}: kind {kind} needs a source")
        if kind == "disk":
            fstype = fstype or "ext4"
            if not source.startswith("/dev/"):
                raise Failure(f"Unable to mount {name}: the source of a disk is a path below /dev, not {source}")
            if fstype not in FILE_SYSTEMS:
                raise Failure(f"Unable to mount {name}: file system {fstype} is none of {', '.join(FILE_SYSTEMS)}")
        mounts.append(Mount(name, path, kind, source, fstype, tuple(map(str, options)), bool(item.get("read_only"))))
    paths = [mount.path for mount in mounts]
    if doubles := sorted({path for path in paths if paths.count(path) > 1}):
        raise Failure(f"Unable to mount twice at {', '.join(doubles)}")
    return sorted(mounts, key=lambda mount: mount.path)


def mount_points(mountinfo: str) -> dict[str, set[str]]:
    """Mount points of /proc/self/mountinfo with their options; the last mount on a point counts."""
    found = {}
    for line in mountinfo.splitlines():
        fields = line.split(" ")
        if len(fields) > 5:
            path = re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), fields[4])
            found[path] = set(fields[5].split(","))
    return found


def mounted_at(mountinfo: str, device: str) -> list[str]:
    """Where the whole file system of a device (``major:minor``) is mounted; binds of its folders do not count."""
    lines = [line.split(" ") for line in mountinfo.splitlines()]
    return [fields[4] for fields in lines if len(fields) > 5 and fields[2] == device and fields[3] == "/"]


def file_system_size(head: bytes) -> int | None:
    """The size in bytes that the ext4 or xfs file system at the head of a device believes in."""
    if head[:4] == b"XFSB" and len(head) >= 16:
        size, blocks = struct.unpack(">IQ", head[4:16])
        return int(size * blocks)
    if len(head) >= 2048 and head[1080:1082] == b"\x53\xef":
        low, log_size = struct.unpack_from("<I", head, 1028)[0], struct.unpack_from("<I", head, 1048)[0]
        wide = struct.unpack_from("<I", head, 1024 + 0x60)[0] & 0x80
        high = struct.unpack_from("<I", head, 1024 + 0x150)[0] if wide else 0
        return int((high << 32 | low) << (10 + log_size))
    return None


def xfs_log_size(head: bytes) -> int:
    """Bytes of an xfs file system's own log, which statvfs does not count; 0 for other file systems.

    A mounted xfs writes its head late, so its size comes from statvfs and this."""
    if head[:4] != b"XFSB" or len(head) < 100:
        return 0
    block_size, log_start, log_blocks = (
        struct.unpack_from(form, head, at)[0] for form, at in ((">I", 4), (">Q", 48), (">I", 96))
    )
    return int(block_size * log_blocks) if log_start else 0


def has_grown(device: int, file_system: int | None) -> bool:
    """Whether the disk is larger than its file system."""
    return file_system is not None and device - file_system >= GROWN


def parse_blkid(code: int, out: str) -> dict[str, str] | None:
    """``blkid --probe --output export``: what is on a device; None when nothing is. Whatever is unclear fails."""
    if code == 2 and not out.strip():
        return None
    if code != 0:
        raise Failure(f"Unable to tell what is on the device: blkid ended with {code}: {out.strip()}")
    return dict(line.split("=", 1) for line in out.splitlines() if "=" in line)
