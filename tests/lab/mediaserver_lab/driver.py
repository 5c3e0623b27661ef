# SPDX-License-Identifier: MIT
"""Boots the fake Proxmox VE's virtual machines as containers; runs on the node (see tests/lab/fake_pve/driver.py)."""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote

from fake_pve.driver import Config, DriverError

from . import machines
from .layout import DISK_MARK, FIRST_LOOP, LABEL, PREFIX
from .shell import LabError, docker, run

DISK_KEY = re.compile(r"(scsi|virtio)(\d+)")
UNITS = {"": 1 << 30, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
DRIVER_SETTINGS = "/etc/mediaserver-lab/driver.json"
"""On the node; written by fixed.py."""
SLOTS = {"scsi": 31, "virtio": 16}
LOOPS_PER_MACHINE = sum(SLOTS.values())


def container_name(vmid: int) -> str:
    return f"{PREFIX}-vm-{vmid}"


def options(text: str) -> tuple[str, dict[str, str]]:
    """``"local:disk,size=4G,ssd=1"`` -> (``"local:disk"``, ``{"size": "4G", "ssd": "1"}``)."""
    first, *rest = text.split(",")
    pairs = dict(item.split("=", 1) for item in ([first, *rest] if "=" in first else rest) if "=" in item)
    return ("" if "=" in first else first), pairs


def size_in_bytes(text: str) -> int:
    match = re.fullmatch(r"(\d+)([KMGT]?)", text)
    if not match:
        raise DriverError(f"the lab does not understand the disk size '{text}'")
    return int(match[1]) * UNITS[match[2]]


def loop_numbers(vmid: int) -> range:
    """Loop devices are shared by the whole Docker host: each machine has a range of its own."""
    first = FIRST_LOOP + (vmid % 1000) * LOOPS_PER_MACHINE
    return range(first, first + LOOPS_PER_MACHINE)


def boot_disk(config: Config) -> str:
    order = re.search(r"order=([^,]*)", str(config.get("boot", "")))
    names = [name for name in (order[1].split(";") if order else []) if DISK_KEY.fullmatch(name)]
    return names[0] if names else "scsi0"


def file_name(volume: str) -> str:
    return DISK_MARK + volume.replace(":", "_").replace("/", "_")


def disks(vmid: int, config: Config) -> list[dict[str, Any]]:
    """The data disks (the boot disk is the container's own file system), named by their slots."""
    found: list[dict[str, Any]] = []
    slots = [(match[1], int(match[2])) for match in map(DISK_KEY.fullmatch, config) if match]
    for kind, slot in sorted(slots):
        key = f"{kind}{slot}"
        volume, settings = options(str(config[key]))
        if settings.get("media") == "cdrom":
            continue
        # by slot, so that nothing moves when a disk comes or goes while the machine runs
        letter = "abcdefghijklmnopqrstuvwxyzABCDE"[slot]
        if key == boot_disk(config):
            continue
        name = settings.get("serial", f"drive-{key}")
        found.append({
            "file": f"/.lab/disks/{file_name(volume)}",
            "bytes": size_in_bytes(settings.get("size", "1G")),
            "loop": loop_numbers(vmid)[slot if kind == "scsi" else SLOTS["scsi"] + slot],
            "device": f"/dev/{'sd' if kind == 'scsi' else 'vd'}{letter}",
            "id": f"scsi-0QEMU_QEMU_HARDDISK_{name}" if kind == "scsi" else f"virtio-{name}",
        })  # fmt: skip
    return found


def volumes_of(config: Config) -> list[str]:
    """File names of all volumes the configuration still knows, unused ones included."""
    keys = [k for k in config if DISK_KEY.fullmatch(k) or re.fullmatch(r"unused\d+", k)]
    return sorted(file_name(options(str(config[k]))[0]) for k in keys)


def network(config: Config, subnet: str) -> dict[str, Any]:
    """Interface, routes and name servers that cloud-init would set up from net0, ipconfig0 and nameserver."""
    if "net0" not in config:
        raise DriverError("the lab boots only machines with a network card net0")
    if "net1" in config:
        raise DriverError("the lab's machines have one network card; net1 is not supported")
    _, card = options(str(config["net0"]))
    mac = next((v for k, v in card.items() if re.fullmatch(r"(?:[0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2}", v)), None)
    _, address = options(str(config.get("ipconfig0", "")))
    for key in ("ip", "ip6"):
        if address.get(key) in ("dhcp", "auto"):
            raise DriverError(f"the lab has no DHCP: ipconfig0 needs a static {key}")
    if "ip" not in address:
        raise DriverError("the lab boots only machines with a static IPv4 address in ipconfig0")
    addresses = [address[key] for key in ("ip", "ip6") if key in address]
    routes = [{"to": "default", "via": address[key]} for key in ("gw", "gw6") if key in address]
    return {
        "interfaces": [{"subnet": subnet, "mac": mac, "addresses": addresses}],
        "routes": routes,
        "nameservers": str(config.get("nameserver", "")).split(),
    }


def host_keys(vendor_data: str | None) -> dict[str, dict[str, str]]:
    """SSH host keys from the vendor data; a key of it that the stand-in for cloud-init cannot apply is an error."""
    if not vendor_data:
        return {}
    import yaml

    data = yaml.safe_load(vendor_data) or {}
    unknown = sorted(set(data) - {"ssh_keys", "ssh_deletekeys", "preserve_hostname", "manage_etc_hosts"})
    if unknown:
        raise DriverError(f"the lab's stand-in for cloud-init does not know {', '.join(unknown)} of the vendor data")
    keys: dict[str, dict[str, str]] = {}
    for name, text in (data.get("ssh_keys") or {}).items():
        kind, _, part = name.rpartition("_")
        keys.setdefault(kind, {})[part] = text
    return keys


class ContainerDriver:
    """A ``MachineDriver``: every VM is a container of the lab's machine image."""

    def __init__(self, settings: Mapping[str, Any] | None = None) -> None:
        if settings is None:
            settings = dict(json.loads(Path(DRIVER_SETTINGS).read_text()))
        self.image: str = settings["image"]
        self.mounts: dict[str, str] = settings["mounts"]
        self.network: str = settings["network"]
        self.subnet: str = settings["subnet"]
        self.apt_proxy: str | None = settings.get("apt_proxy")

    def describe(
        self, vmid: int, config: Config, virtiofs: Mapping[str, str], vendor_data: str | None
    ) -> dict[str, Any]:
        """What the machine is told at boot (pure)."""
        keys = [line.strip() for line in unquote(str(config.get("sshkeys", ""))).splitlines() if line.strip()]
        return {
            "hostname": str(config.get("name", f"VM{vmid}")),
            **network(config, self.subnet),
            "apt_proxy": self.apt_proxy,
            "disks": disks(vmid, config),
            "volumes": volumes_of(config),
            "virtiofs": {tag: self.inside(path) for tag, path in virtiofs.items()},
            "gpu": any(re.fullmatch(r"hostpci\d+", key) for key in config),
            "instance": {
                "user": str(config.get("ciuser", "debian")),
                "ssh_keys": keys,
                "host_keys": host_keys(vendor_data),
            },
        }

    def inside(self, path: str) -> str:
        """Where a folder of the node lies in a machine."""
        for mount in self.mounts:
            if PurePosixPath(path).is_relative_to(mount):
                return f"/.lab/node{path}"
        raise DriverError(f"the directory {path} is on none of the lab node's disks ({', '.join(self.mounts)})")

    def container(self, vmid: int, config: Config) -> machines.Container:
        name = container_name(vmid)
        shared = {host: f"/.lab/node{path}" for path, host in self.mounts.items() if path != "/var/lib/vz"}
        return machines.Container(
            name=name,
            image=self.image,
            role="vm",
            network=self.network,
            binds=shared,
            volumes={
                f"{name}-disks": "/.lab/disks",
                f"{name}-docker": "/var/lib/docker",
                f"{name}-containerd": "/var/lib/containerd",
            },
            memory=int(str(config.get("memory", 512)).removeprefix("current=")),
        )

    def create(self, vmid: int, config: Config) -> None:
        """Nothing: the container is made at the first start."""

    def start(self, vmid: int, config: Config, virtiofs: dict[str, str], vendor_data: str | None) -> None:
        with driver_errors():
            name = container_name(vmid)
            if machines.is_running(name):
                return
            description = self.describe(vmid, config, virtiofs, vendor_data)
            wanted = self.container(vmid, config)
            if not machines.exists(name):
                machines.create(wanted)
            docker("update", "--memory", f"{wanted.memory}m", "--memory-swap", f"{wanted.memory}m", name)
            detach_loops(vmid)
            machines.boot(name, description)

    def hotplug(self, vmid: int, config: Config, virtiofs: dict[str, str]) -> None:
        """Show a running machine its disks of now (Proxmox VE does so for scsi disks and their size)."""
        with driver_errors():
            name = container_name(vmid)
            if machines.is_running(name):
                description = self.describe(vmid, config, virtiofs, None)
                machines.hotplug(name, description)

    def stop(self, vmid: int) -> None:
        with driver_errors():
            if machines.is_running(container_name(vmid)):
                docker("kill", container_name(vmid))
            detach_loops(vmid)

    def shutdown(self, vmid: int) -> None:
        with driver_errors():
            if machines.is_running(container_name(vmid)):
                docker("stop", "--time", "60", container_name(vmid))
            detach_loops(vmid)

    def destroy(self, vmid: int) -> None:
        with driver_errors():
            name = container_name(vmid)
            if machines.exists(name):
                docker("rm", "--force", "--volumes", name)
            detach_loops(vmid)
            for volume in docker("volume", "ls", "-q", "--filter", f"name=^{name}-").splitlines():
                docker("volume", "rm", volume)

    def running(self) -> set[int]:
        with driver_errors():
            names = docker("ps", "--filter", f"label={LABEL}=vm", "--format", "{{.Names}}").splitlines()
        return {int(name.rpartition("-")[2]) for name in names}


class driver_errors:
    """Turn the lab's errors into the API's."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, LabError):
            raise DriverError(str(error)) from error


def attached_loops() -> dict[int, str]:
    """Number of each loop device of the lab on the whole Docker host -> name of the file behind it."""
    found: dict[int, str] = {}
    for path in Path("/sys/block").glob("loop*/loop/backing_file"):
        name = Path(path.read_text()).name
        if name.startswith(DISK_MARK):
            found[int(path.parts[3].removeprefix("loop"))] = name
    return found


def detach_loops(vmid: int) -> None:
    """Let go of the disks of a machine that is off."""
    for number in sorted(set(attached_loops()) & set(loop_numbers(vmid))):
        device = f"/dev/loop{number}"
        if not Path(device).exists():
            os.mknod(device, stat.S_IFBLK | 0o660, os.makedev(7, number))
        run(["losetup", "--detach", device], check=False)
