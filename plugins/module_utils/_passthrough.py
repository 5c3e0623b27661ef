# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""PCI devices of a host that guests get: who they are, who must leave them alone, and the limit of the ZFS cache."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

MODULES = "/etc/modules-load.d/mediaserver-vfio.conf"
OPTIONS = "/etc/modprobe.d/mediaserver-vfio.conf"
ZFS = "/etc/modprobe.d/zfs.conf"  # Proxmox VE's installer writes its own limit here
HEADER = "# Written by homelab.mediaserver.\n"
VFIO = "vfio-pci"
# (vendor, beginning of the class) -> the host's drivers; "" is any vendor
DRIVERS: dict[tuple[str, str], tuple[str, ...]] = {
    ("8086", "03"): ("i915", "xe"),
    ("1002", "03"): ("amdgpu", "radeon"),
    ("10de", "03"): ("nouveau", "nvidia", "nvidiafb"),
    ("", "0403"): ("snd_hda_intel",),
}
BRIDGE = "06"


@dataclass(frozen=True)
class Device:
    """A PCI function as sysfs shows it. ``group`` is empty without an IOMMU, ``driver`` without a driver."""

    path: str
    vendor: str
    product: str
    kind: str
    group: str = ""
    driver: str = ""

    @property
    def id(self) -> str:
        return f"{self.vendor}:{self.product}"

    @property
    def drivers(self) -> tuple[str, ...]:
        return next(
            (
                names
                for (vendor, kind), names in DRIVERS.items()
                if vendor in ("", self.vendor) and self.kind.startswith(kind)
            ),
            (),
        )


def read_devices(root: Path) -> list[Device]:
    """All PCI functions of the host, in the order of their addresses."""

    def text(path: Path) -> str:
        return path.read_text(encoding="ascii").strip().removeprefix("0x") if path.is_file() else ""

    def target(path: Path) -> str:
        return path.resolve().name if path.is_symlink() else ""

    folder = root / "sys/bus/pci/devices"
    return [
        Device(
            path=entry.name,
            vendor=text(entry / "vendor"),
            product=text(entry / "device"),
            kind=text(entry / "class"),
            group=target(entry / "iommu_group"),
            driver=target(entry / "driver"),
        )
        for entry in (sorted(folder.iterdir()) if folder.is_dir() else [])
    ]


def chosen(paths: Iterable[str], devices: list[Device]) -> list[Device]:
    """The named functions, and those of the same card that its IOMMU group ties to them (a GPU's sound)."""
    named = [device for device in devices if any(is_at(device, path) for path in paths)]
    slots = {(device.path.rpartition(".")[0], device.group) for device in named if device.group}
    return [
        device
        for device in devices
        if device in named
        or ((device.path.rpartition(".")[0], device.group) in slots and not device.kind.startswith(BRIDGE))
    ]


def is_at(device: Device, path: str) -> bool:
    """``0000:01:00`` without a function names them all."""
    return device.path == path if "." in path else device.path.startswith(f"{path}.")


def missing(paths: Iterable[str], devices: list[Device]) -> list[str]:
    return [path for path in paths if not any(is_at(device, path) for device in devices)]


def companions(devices: list[Device], taken: list[Device]) -> list[Device]:
    """Others in the IOMMU groups of taken devices: they would go to the guest as well, or hinder its start."""
    groups = {device.group for device in taken if device.group}
    return [
        device
        for device in devices
        if device.group in groups and device not in taken and not device.kind.startswith(BRIDGE)
    ]


def vfio_files(paths: list[str], devices: list[Device]) -> dict[str, str | None]:
    """Files that keep the host's drivers off the devices; without a device they go."""
    if not paths:
        return {MODULES: None, OPTIONS: None}
    taken = chosen(paths, devices)
    ids = ",".join(dict.fromkeys(device.id for device in taken))
    drivers = dict.fromkeys(name for device in taken for name in device.drivers)
    lines = [f"options vfio-pci ids={ids}"] if ids else []
    lines += [f"softdep {name} pre: vfio-pci" for name in drivers]
    return {
        MODULES: f"{HEADER}vfio\nvfio_iommu_type1\nvfio_pci\n",
        OPTIONS: HEADER + "".join(f"{line}\n" for line in lines),
    }


def held(taken: list[Device]) -> list[str]:
    """Devices that a driver of the host has taken; only a restart gets them back safely."""
    return [
        f"{device.path} still belongs to the host's driver {device.driver}"
        for device in taken
        if device.driver in device.drivers
    ]


def iommu_tokens(release: str, cpu: str) -> list[str]:
    """What the kernel must be told: from 6.8 on Proxmox VE's kernels switch Intel's IOMMU on by themselves."""
    numbers = [int(number) for number in re.findall(r"\d+", release)[:2]]
    needs = "GenuineIntel" in cpu and bool(numbers) and numbers < [6, 8]
    return [*(["intel_iommu=on"] if needs else []), "iommu=pt"]


def arc_text(text: str | None, limit: int) -> str:
    """/etc/modprobe.d/zfs.conf with the limit; other options stay."""
    lines = (text or "").splitlines()
    pattern = re.compile(r"\bzfs_arc_max=\S+")
    wanted = f"zfs_arc_max={limit}"
    at = [index for index, line in enumerate(lines) if is_option(line) and pattern.search(line)]
    for index in at:
        lines[index] = pattern.sub(wanted, lines[index])
    if not at:
        lines.append(f"options zfs {wanted}")
    return "\n".join(lines) + "\n"


def is_option(line: str) -> bool:
    return line.split()[:2] == ["options", "zfs"]


def other_limits(files: Mapping[str, str]) -> list[str]:
    """Other files of /etc/modprobe.d with a limit: which of them counts is a matter of names."""
    return [
        path
        for path, text in sorted(files.items())
        if path != ZFS and any(is_option(line) and "zfs_arc_max=" in line for line in text.splitlines())
    ]
