# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether it all fits: memory, cores, disks, pools. What cannot fit is refused with a way out."""

from __future__ import annotations

from . import node_backup, sizes, zfs_checks
from .guests import classes
from .model import Host, Site
from .problems import all_of

SYSTEM_MEMORY = "512M"


def check(site: Site) -> None:
    for host in site.hosts.values():
        if host.node is not None:
            guests = [one for one in site.hosts.values() if one.guest is not None and one.guest["node"] == host.name]
            check_memory(site, host, guests)
            check_cores(site, host, guests)
            check_disks(site, host, guests)
            check_pools(site, host, guests)
            zfs_checks.check(site, host)
            node_backup.check(site, host)
    for host in site.managed():
        check_services(site, host)


def check_memory(site: Site, node: Host, guests: list[Host]) -> None:
    body = node.node or {}
    total = sizes.parse(body["memory"]) or 0
    reserved, arc = sizes.parse(body["reserved_memory"]) or 0, sizes.parse(body["arc_max"]) or 0
    wanted = {guest.name: sizes.parse((guest.guest or {})["memory"]) or 0 for guest in guests}
    left = total - reserved - arc
    if not guests or sum(wanted.values()) <= left:
        check_pools_without_arc(site, node, arc)
        return
    listed = all_of(f"{name} {sizes.show(size)}" for name, size in wanted.items())
    largest = max(wanted, key=lambda name: wanted[name])
    over = sum(wanted.values()) - left
    reason = (
        f"the guests ({listed}) want {sizes.show(sum(wanted.values()))}, but {node.name} has {sizes.show(total)}, "
        "of which "
        f"{sizes.show(reserved)} stay for the host and {sizes.show(arc)} for the ZFS cache: "
        f"{sizes.show(max(left, 0))} are left"
    )
    smaller = wanted[largest] - over
    remedy = f"Give {largest} at most {sizes.show(smaller)}" if smaller >= 1024**3 else "Leave a guest out"
    site.problems.add(
        "memory-over-node",
        node.where.at("node", "memory"),
        reason,
        f"{remedy}, or add {sizes.show(over)} of memory to the machine",
    )


def check_pools_without_arc(site: Site, node: Host, arc: int) -> None:
    body = node.node or {}
    if arc == 0 and any(pool["kind"] == "zfs" for pool in body["pools"].values()):
        site.problems.warn(
            "arc-without-limit",
            node.where.at("node", "arc_max"),
            f"{node.name} has ZFS pools and no arc_max: the cache may take half of the memory",
        )


def check_cores(site: Site, node: Host, guests: list[Host]) -> None:
    cores = (node.node or {})["cores"]
    for guest in guests:
        if (guest.guest or {})["cores"] > cores:
            site.problems.add(
                "cores-over-node",
                guest.where.at("guest", "cores"),
                f"{guest.name} wants {(guest.guest or {})['cores']} cores, {node.name} has {cores}",
                f"Give it at most {cores}",
            )


def check_disks(site: Site, node: Host, guests: list[Host]) -> None:
    body = node.node or {}
    size = sizes.parse(body["disk_storage_size"])
    if size is None:
        return
    wanted = {guest.name: sizes.parse((guest.guest or {})["disk"]) or 0 for guest in guests}
    for guest in guests:
        for name in classes(site, guest):
            found = site.storage(name) or {}
            if found["as"] == "disk" and found["source"] == body["disk_storage"]:
                wanted[f"{guest.name}'s {name}"] = sizes.parse(found["size"]) or 0
    if sum(wanted.values()) > size:
        listed = all_of(f"{name} {sizes.show(count)}" for name, count in wanted.items())
        site.problems.add(
            "disks-over-storage",
            node.where.at("node", "disk_storage_size"),
            f"the disks ({listed}) want {sizes.show(sum(wanted.values()))}, {body['disk_storage']} has "
            f"{sizes.show(size)}",
            "Make a disk smaller, or move a storage class to another pool",
        )


def check_pools(site: Site, node: Host, guests: list[Host]) -> None:
    """Quotas and disks of a pool against its size."""
    for pool, body in (node.node or {})["pools"].items():
        where, size = node.where.at("node", "pools", pool), sizes.parse(body["size"])
        if size is None:
            continue
        wanted = {
            name: sizes.parse(options["quota"]) or 0
            for name, options in body["datasets"].items()
            if options["quota"] and "/" not in name  # a child's quota lies within its parent's
        }
        for guest in guests:
            for name in classes(site, guest):
                found = site.storage(name) or {}
                source = str(found["source"])
                if found["as"] == "disk" and source.partition("/")[0] == pool:
                    dataset = source.partition("/")[2]
                    disk = sizes.parse(found["size"]) or 0
                    if dataset in wanted and disk > wanted[dataset]:
                        site.problems.add(
                            "disk-over-dataset",
                            site.where("site_storage", name, "size"),
                            f"the disk of {sizes.show(disk)} does not fit into {source} "
                            f"({sizes.show(wanted[dataset])})",
                            "Make one fit the other",
                        )
                    elif not dataset:
                        wanted[f"{guest.name}'s disk {name}"] = disk
        if sum(wanted.values()) > size:
            listed = all_of(f"{name} {sizes.show(count)}" for name, count in wanted.items())
            site.problems.add(
                "datasets-over-pool",
                where.at("size"),
                f"{listed} are {sizes.show(sum(wanted.values()))}, the pool has {sizes.show(size)}",
                "Make a dataset smaller, or move it to another pool",
            )
        elif body["kind"] == "zfs" and sum(wanted.values()) > size * 0.95:
            site.problems.warn(
                "pool-nearly-full", where.at("size"), f"quotas may fill {pool} to more than 95 %: ZFS slows down"
            )


def check_services(site: Site, host: Host) -> None:
    """Limits of the containers against their host."""
    text = (host.guest or {}).get("memory") or host.memory
    total = sizes.parse(text)
    if total is None:
        return
    wanted = {
        f"{service.name}.{name}": sizes.parse(body["memory"]) or 0
        for service in site.on(host.name)
        for name, body in service.containers.items()
    }
    system = sizes.parse(SYSTEM_MEMORY) or 0
    if sum(wanted.values()) + system > total:
        largest = all_of(
            f"{name} {sizes.show(size)}" for name, size in sorted(wanted.items(), key=lambda one: -one[1])[:3]
        )
        where = host.where.at("guest", "memory") if host.guest else host.where.at("memory")
        site.problems.add(
            "services-over-host",
            where,
            f"the containers on {host.name} may take {sizes.show(sum(wanted.values()))} (most: {largest}) and the "
            f"system {SYSTEM_MEMORY}, {host.name} has {sizes.show(total)}",
            f"Give it {sizes.show(sum(wanted.values()) + system)}, place a service elsewhere, or lower a limit: "
            "site_services.<service>.memory",
        )
