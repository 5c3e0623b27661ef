# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Mistakes in pools that ZFS would refuse, or would take and the owner regret: told before a disk is touched."""

from __future__ import annotations

import re
from collections.abc import Iterator

from . import sizes, zfs
from .model import Host, Site, Tree
from .problems import Where, suggest

STEADY = ("/dev/disk/by-id/", "/dev/disk/by-partuuid/", "/dev/disk/by-vdev/", "/dev/mapper/")
PLACEHOLDER = re.compile(r"YOURS|CHANGE_?ME|XXXX|<|>", re.IGNORECASE)
LEAST = {"disk": 1, "mirror": 2, "raidz1": 2, "raidz2": 3, "raidz3": 4}
RESERVED = re.compile(r"(mirror|raidz|draid|spare|log|cache|special|dedup)|^(?![A-Za-z])|^c[0-9]")
GROUPS = ("vdevs", "special", "log")
LISTS = ("cache", "spares")
ARC_LEAST = 64 * 1024**2  # zfs_arc_max below it is ignored, as is one that is not above arc_min (memory / 32)


def check(site: Site, node: Host) -> None:
    check_arc(site, node)
    check_devices(site, node)
    for name, body in zfs.pools(node).items():
        where = node.where.at("node", "pools", name)
        if body["kind"] != "zfs":
            check_directory(site, name, body, where)
            continue
        check_pool(site, name, body, where)
        for dataset, options in body["datasets"].items():
            check_dataset(site, node, name, dataset, options, where.at("datasets", dataset))


def check_arc(site: Site, node: Host) -> None:
    body = node.node or {}
    arc, memory = sizes.parse(body["arc_max"]) or 0, sizes.parse(body["memory"]) or 0
    least = max(memory // 32, ARC_LEAST)
    if 0 < arc <= least:
        site.problems.add(
            "arc-too-small",
            node.where.at("node", "arc_max"),
            f"ZFS ignores a limit of {sizes.show(arc)}: it must be more than {sizes.show(least)} on {node.name} "
            f"({sizes.show(memory)} of memory)",
            f"Write at least {sizes.show(2 * least)}",
        )


def devices(body: Tree, where: Where) -> Iterator[tuple[str, Where]]:
    for group in GROUPS:
        for index, vdev in enumerate(body[group]):
            for number, device in enumerate(vdev["devices"]):
                yield device, where.at(group, index, "devices", number)
    for group in LISTS:
        for index, device in enumerate(body[group]):
            yield device, where.at(group, index)


def check_devices(site: Site, node: Host) -> None:
    """Each device once on the node, by a name that stays, and a real one."""
    taken: dict[str, str] = {}
    for pool, body in zfs.pools(node).items():
        for device, where in devices(body, node.where.at("node", "pools", pool)):
            if PLACEHOLDER.search(device):
                site.problems.add(
                    "device-placeholder",
                    where,
                    f"{device} stands for a device that only the owner knows; what lies on it will be erased",
                    f"Write yours, as `ls -l /dev/disk/by-id` shows it on {node.name}; without `vdevs` the pool must "
                    "exist already",
                )
            elif not device.startswith(STEADY):
                site.problems.add(
                    "device-not-by-id",
                    where,
                    f"{device} may be another disk after the next start",
                    f"Use its name in /dev/disk/by-id: `ls -l /dev/disk/by-id` on {node.name}",
                )
            check_taken(site, taken, pool, device, where)


def check_taken(site: Site, taken: dict[str, str], pool: str, device: str, where: Where) -> None:
    whole = re.sub(r"-part[0-9]+$", "", device)
    for other, owner in taken.items():
        same = other == device or (whole == other and whole != device) or re.sub(r"-part[0-9]+$", "", other) == device
        if same:
            site.problems.add(
                "device-twice",
                where,
                f"{device} is in pool {owner} already" if other == device else f"{other} in pool {owner} is on it",
                "Give each place a device of its own",
            )
            return
    taken[device] = pool


def check_directory(site: Site, name: str, body: Tree, where: Where) -> None:
    used = [key for key in (*GROUPS, *LISTS, "properties", "snapshots") if body[key]]
    used += [f"datasets.{one}" for one, options in body["datasets"].items() if more_than_quota(options)]
    for key in used:
        site.problems.add(
            "only-for-zfs",
            where.at(key),
            f"pool {name} is a plain directory, which has no such thing",
            "Remove it, or use kind: zfs",
        )


def more_than_quota(options: Tree) -> bool:
    return any(value not in (None, False, {}) for key, value in options.items() if key not in ("quota", "purpose"))


def check_pool(site: Site, name: str, body: Tree, where: Where) -> None:
    if RESERVED.match(name) or not re.fullmatch(r"[A-Za-z0-9_.:-]+", name):
        reason = f"ZFS takes no pool of the name {name}"
        site.problems.add("bad-pool-name", where, reason, "Begin with a letter, and not with mirror, raidz, spare, log")
    for group in GROUPS:
        for index, vdev in enumerate(body[group]):
            if len(vdev["devices"]) < LEAST[vdev["type"]]:
                site.problems.add(
                    "too-few-devices",
                    where.at(group, index, "devices"),
                    f"a {vdev['type']} needs at least {LEAST[vdev['type']]} devices, there are {len(vdev['devices'])}",
                    "Add a device, or use type: disk (which loses all with one device)",
                )
    kinds = {(vdev["type"], 1 if vdev["type"] == "disk" else len(vdev["devices"])) for vdev in body["vdevs"]}
    if len(kinds) > 1:
        site.problems.add(
            "vdevs-differ",
            where.at("vdevs"),
            "its groups hold the data in different ways, and a pool is only as safe as the weakest: ZFS refuses that",
            "Give all groups the same type and number of devices",
        )
    others = [key for key in ("special", "log", *LISTS) if body[key]]
    if others and not body["vdevs"]:
        site.problems.add(
            "vdevs-missing",
            where.at("vdevs"),
            f"{', '.join(others)} cannot be a pool without groups for the data",
            "Name the groups that the pool has: vdevs",
        )
    if any(vdev["type"] == "disk" for vdev in body["special"]):
        site.problems.warn(
            "special-without-mirror",
            where.at("special"),
            f"pool {name} is lost as a whole when its one special device breaks",
        )


def check_dataset(site: Site, node: Host, pool: str, name: str, options: Tree, where: Where) -> None:
    parent = name.rpartition("/")[0]
    if parent and parent not in zfs.pools(node)[pool]["datasets"]:
        reason = f"its parent {pool}/{parent} is not listed"
        site.problems.add("dataset-without-parent", where, reason, f"Add it: datasets: {{{parent}: {{}}}}")
    size = sizes.parse(options["recordsize"])
    if size is not None and (size & (size - 1) or not 512 <= size <= 16 * 1024**2):
        site.problems.add(
            "bad-recordsize",
            where.at("recordsize"),
            f"{options['recordsize']} is no power of two up to 16M",
            "Write 16K, 32K, 64K, 128K or 1M",
        )
    taken = [key for key in ("quota", "recordsize", "compression", "atime") if options[key] is not None]
    taken += ["encryption", "keyformat", "keylocation"] if options["encryption"] else []
    for key in set(taken) & set(options["properties"]):
        site.problems.add("property-twice", where.at("properties", key), f"{key} is given twice", "Remove one of them")
    known = zfs.policies(node)
    policy = zfs.policy_of(node, pool, options)
    if policy and policy not in known:
        own = bool(options["snapshots"])
        place = where.at("snapshots") if own else node.where.at("node", "pools", pool, "snapshots")
        remedy = suggest(policy, known)
        site.problems.add("unknown-snapshot-policy", place, f"no policy is called {policy!r}", remedy)
