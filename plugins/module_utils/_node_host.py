# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The state of a Proxmox VE node's own system that passthrough and the ZFS cache depend on, read once."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ansible_collections.homelab.mediaserver.plugins.module_utils import _boot, _passthrough
from ansible_collections.homelab.mediaserver.plugins.module_utils._deadman import read_file, write_file
from ansible_collections.homelab.mediaserver.plugins.module_utils._reconcile import Failure

STAMPS = "var/lib/mediaserver/node"
ARC = "sys/module/zfs/parameters/zfs_arc_max"
PENDING = "pending"


@dataclass(frozen=True)
class State:
    """What was read. ``initramfs_newer``: every initramfs was built after the files that go into it."""

    files: Mapping[str, str | None]
    grub_parts: Mapping[str, str]
    modprobe: Mapping[str, str]
    stamps: Mapping[str, str | None]
    running: str
    devices: list[_passthrough.Device]
    tokens: list[str]
    arc_live: int | None
    arc_least: int
    tools: frozenset[str]
    initramfs_newer: bool
    iommu: bool
    guests: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class Machine:
    """Reads and writes below ``root``."""

    root: Path

    def at(self, path: str) -> Path:
        return self.root / path.lstrip("/")

    def text(self, path: str) -> str | None:
        return read_file(self.at(path))

    def folder(self, path: str, ending: str) -> dict[str, str]:
        folder = self.at(path)
        files = sorted(folder.glob(f"*{ending}")) if folder.is_dir() else []
        return {f"{path}/{file.name}": file.read_text(encoding="utf-8", errors="replace") for file in files}

    def write(self, path: str, text: str | None) -> None:
        target = self.at(path)
        if text is None:
            target.unlink(missing_ok=True)
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        write_file(target, text)

    def write_live(self, path: str, text: str) -> None:
        """A parameter of a loaded module: written in place, sysfs knows no renaming."""
        try:
            self.at(path).write_text(text, encoding="ascii")
        except OSError as error:
            raise Failure(f"Unable to set /{path} to {text}: {error.strerror}") from error

    def stamp(self, name: str, value: str) -> None:
        folder = self.root / STAMPS
        folder.mkdir(parents=True, exist_ok=True)
        write_file(folder / name, value + "\n", 0o600)

    def read(self) -> State:
        paths = (_boot.GRUB, _boot.SYSTEMD_BOOT, _boot.ESPS, *INPUTS, _passthrough.MODULES)
        arc = self.text(ARC)
        groups = self.at("sys/kernel/iommu_groups")
        return State(
            files={path: self.text(path) for path in paths},
            grub_parts=self.folder(_boot.GRUB_PARTS, ".cfg"),
            modprobe=self.folder("/etc/modprobe.d", ".conf"),
            stamps={name: (self.text(f"{STAMPS}/{name}") or "").strip() or None for name in ("initramfs", "boot")},
            running=(self.text("proc/cmdline") or "").strip(),
            devices=_passthrough.read_devices(self.root),
            tokens=_passthrough.iommu_tokens(
                (self.text("proc/sys/kernel/osrelease") or "").strip(), self.text("proc/cpuinfo") or ""
            ),
            arc_live=int(arc) if arc is not None and arc.strip().isdigit() else None,
            arc_least=self.arc_least(),
            tools=frozenset(name for name in TOOLS if self.at(f"usr/sbin/{name}").exists()),
            initramfs_newer=self.initramfs_newer(),
            iommu=groups.is_dir() and any(groups.iterdir()),
            guests=self.guests(),
        )

    def arc_least(self) -> int:
        """The cache's lower limit, which the upper one must exceed; 0 while ZFS is not loaded."""
        found = re.search(r"^c_min\s+\d+\s+(\d+)", self.text("proc/spl/kstat/zfs/arcstats") or "", re.MULTILINE)
        return int(found[1]) if found else 0

    def initramfs_newer(self) -> bool:
        images = list(self.at("boot").glob("initrd.img-*")) if self.at("boot").is_dir() else []
        inputs = [self.at(path).stat().st_mtime for path in INPUTS if self.at(path).exists()]
        return bool(images) and min(image.stat().st_mtime for image in images) >= max(inputs, default=0)

    def guests(self) -> list[int]:
        """Running VMs and containers, as Proxmox VE itself finds them: by pid files and by LXC's sockets."""
        found = set()
        for file in self.at("run/qemu-server").glob("*.pid") if self.at("run/qemu-server").is_dir() else ():
            pid = (read_file(file) or "").strip()
            if file.stem.isdigit() and pid and self.at(f"proc/{pid}").exists():
                found.add(int(file.stem))
        sockets = self.text("proc/net/unix") or ""
        return sorted(found | {int(number) for number in re.findall(r"@/\S+/lxc/(\d+)/command\b", sockets)})


TOOLS = ("update-initramfs", "proxmox-boot-tool", "update-grub")
INPUTS = (_passthrough.OPTIONS, _passthrough.ZFS)


def digest(texts: Mapping[str, str | None], paths: Iterable[str]) -> str:
    known = {path: texts.get(path) for path in paths}
    return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()
