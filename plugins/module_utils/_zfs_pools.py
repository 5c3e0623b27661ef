# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pools as wanted against pools as they are. Pure, but for the names of devices, which a function resolves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.homelab.mediaserver.plugins.module_utils import _zfs
from ansible_collections.homelab.mediaserver.plugins.module_utils._reconcile import Failure
from ansible_collections.homelab.mediaserver.plugins.module_utils._zfs import Command
from ansible_collections.homelab.mediaserver.plugins.module_utils._zfs_devices import Resolve, is_device
from ansible_collections.homelab.mediaserver.plugins.module_utils._zfs_status import Device, Vdev

LEAST = {"disk": 1, "mirror": 2, "raidz1": 2, "raidz2": 3, "raidz3": 4}
SCRUBS = {"monthly": "zfs-scrub-monthly@{}.timer", "weekly": "zfs-scrub-weekly@{}.timer"}
DEBIAN_SCRUB = "org.debian:periodic-scrub"
HEALTH = ("health", "size", "allocated", "free", "ashift")


@dataclass(frozen=True)
class Pool:
    """A pool that exists: its properties and vdevs."""

    properties: Mapping[str, str]
    vdevs: Sequence[Vdev]


def wanted_vdevs(item: Mapping[str, Any]) -> list[Vdev]:
    """The listed vdevs, data first; several devices of type disk are a vdev each."""
    found = []
    for group, key in (("", "vdevs"), ("special", "special"), ("log", "log")):
        for vdev in item.get(key) or []:
            kind, paths = vdev["type"], vdev["devices"]
            if len(paths) < LEAST[kind]:
                raise Failure(f"Unable to manage pool {item['name']}: {kind} wants {LEAST[kind]} devices or more")
            sets = [[path] for path in paths] if kind == "disk" else [paths]
            found += [Vdev(group, kind, tuple(Device(path, "", False) for path in paths)) for paths in sets]
    for group, key in (("cache", "cache"), ("spare", "spares")):
        found += [Vdev(group, "disk", (Device(path, "", False),)) for path in item.get(key) or []]
    return found


def paths_of(vdevs: Iterable[Vdev]) -> list[str]:
    return [device.path for vdev in vdevs for device in vdev.devices]


def check_paths(name: str, paths: Sequence[str], resolve: Resolve) -> None:
    """Absolute names, and no device twice under two of them."""
    for path in paths:
        if not path.startswith("/"):
            raise Failure(f"Unable to manage pool {name}: {path} is no absolute path (/dev/disk/by-id/...)")
    reals = [resolve(path) for path in paths]
    if twice := [path for path, real in zip(paths, reals, strict=True) if reals.count(real) > 1]:
        raise Failure(f"Unable to manage pool {name}: {', '.join(twice)} are one device")


def words(vdevs: Iterable[Vdev]) -> list[str]:
    """The vdevs as ``zpool create`` and ``zpool add`` take them; each group once, data first."""
    argv: list[str] = []
    group = ""
    for vdev in vdevs:
        if vdev.group != group:
            group = vdev.group
            argv.append(group)
        argv += [*([] if vdev.kind == "disk" else [vdev.kind]), *(device.path for device in vdev.devices)]
    return argv


def show(vdev: Vdev) -> str:
    return " ".join([*filter(None, [vdev.group]), vdev.kind, *(device.path for device in vdev.devices)])


def compare(
    name: str, wanted: Sequence[Vdev], current: Sequence[Vdev], resolve: Resolve
) -> tuple[list[Vdev], list[Vdev]]:
    """Wanted vdevs that the pool lacks, and the pool's that nobody listed. What is otherwise is an error: nothing is
    attached, replaced, detached or removed here."""
    lacking, matched = [], []
    for vdev in wanted:
        paths = [device.path for device in vdev.devices]
        found = next((other for other in current if any(holds(other, path, resolve) for path in paths)), None)
        if found is None:
            lacking.append(vdev)
            continue
        matched.append(found)
        missing = [path for path in paths if not holds(found, path, resolve)]
        if found.group != vdev.group or found.kind != vdev.kind or missing:
            raise Failure(
                f"Unable to make {show(vdev)} of pool {name}: the pool has {show(found)}; use zpool attach, replace, "
                "detach or remove by hand, or list what is there",
                pool=name,
            )
    data = [vdev for vdev in wanted if not vdev.group]
    if data and not any(not vdev.group for vdev in matched):
        raise Failure(
            f"Unable to manage pool {name}: the pool of this name has none of the listed devices, but "
            f"{'; '.join(show(vdev) for vdev in current if not vdev.group)}",
            pool=name,
        )
    return lacking, [vdev for vdev in current if vdev not in matched]


def holds(vdev: Vdev, path: str, resolve: Resolve) -> bool:
    return any(is_device(path, device, resolve) for device in vdev.devices)


def unstable(paths: Iterable[str]) -> list[str]:
    """Names that another disk may have after the next boot."""
    return [path for path in paths if path.startswith(("/dev/sd", "/dev/vd", "/dev/nvme", "/dev/hd"))]


def create_command(item: Mapping[str, Any], vdevs: Sequence[Vdev], dry: bool = False) -> Command:
    argv = ["zpool", "create", *(["-n"] if dry else [])]
    for prop, value in _zfs.canonical_all(item["properties"], item["name"]).items():
        argv += ["-o", f"{prop}={value}"]
    for prop, value in _zfs.canonical_all(item["filesystem_properties"], item["name"]).items():
        argv += ["-O", _zfs.argument(prop, value)]
    argv += ["-m", item["mountpoint"]] if item.get("mountpoint") else []
    return Command(f"create pool {item['name']}", (*argv, item["name"], *words(vdevs)))


def add_command(item: Mapping[str, Any], vdevs: Sequence[Vdev], dry: bool = False) -> Command:
    ashift = item["properties"].get("ashift")
    argv = ["zpool", "add", *(["-n"] if dry else []), *(["-o", f"ashift={ashift}"] if ashift else [])]
    describe = f"add {'; '.join(map(show, vdevs))} to pool {item['name']}"
    return Command(describe, (*argv, item["name"], *words(vdevs)))


def properties_differ(name: str, wanted: Mapping[str, str], pool: Pool, ashifts: set[str]) -> dict[str, str]:
    """Properties to set. ``ashifts`` are those of the vdevs, for a pool whose own is 0 (chosen by ZFS)."""
    differ = {}
    for prop, value in wanted.items():
        has = pool.properties.get(prop, "-")
        if prop == "ashift":
            real = ashifts or {has}
            if real != {value}:
                raise Failure(
                    f"Unable to set ashift of pool {name}: its vdevs have {', '.join(sorted(real))}, wanted is "
                    f"{value}; it can only be chosen when a vdev is made",
                    pool=name,
                    property=prop,
                )
        elif not (same(prop, value, has)):
            differ[prop] = value
    return differ


def same(prop: str, wanted: str, has: str) -> bool:
    if prop.startswith("feature@"):
        return wanted == has or (wanted == "enabled" and has == "active")
    return _zfs.same(prop, wanted, has) or (has == "-" and wanted in ("", "none"))


def health_warnings(name: str, pool: Pool) -> list[str]:
    health = pool.properties.get("health", "")
    bad = [
        f"{device.path} {device.state}"
        for vdev in pool.vdevs
        for device in vdev.devices
        if device.state not in ("ONLINE", "AVAIL", "INUSE", "")
    ]
    if health == "ONLINE" and not bad:
        return []
    return [f"pool {name} is {health}: {', '.join(bad) or 'see zpool status'}"]


def scrub_commands(name: str, wanted: str, states: Mapping[str, str], debian: str) -> list[Command]:
    """One timer at most, and Debian's own monthly job (cron) off, so that no pool is scrubbed twice."""
    found = []
    for kind, unit in SCRUBS.items():
        timer = unit.format(name)
        enabled = states.get(timer) == "enabled"
        if enabled != (kind == wanted):
            verb = "enable" if kind == wanted else "disable"
            found.append(Command(f"{verb} {timer}", ("systemctl", verb, "--now", timer)))
    if debian != "disable":
        describe = f"turn off Debian's own scrub of {name}"
        found.append(Command(describe, ("zfs", "set", f"{DEBIAN_SCRUB}=disable", name)))
    return found
