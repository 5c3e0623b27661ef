# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pools, datasets and snapshots of a node, as the roles zfs and zfs_snapshots take them."""

from __future__ import annotations

from collections.abc import Iterator

from . import backup, node_backup, storage
from .model import Host, Site, Tree
from .pool_schema import PURPOSES

KEYS = "/etc/zfs/keys"
COMMON = {"atime": "off", "xattr": "sa", "acltype": "posixacl", "compression": "lz4"}
# The block of a file that is written anew as a whole: large for what is read from end to end, small for databases
PRESETS: dict[str, dict[str, str]] = {
    "media": {"recordsize": "1M"},
    "photos": {"recordsize": "1M"},
    "backups": {"recordsize": "1M"},
    "appdata": {"recordsize": "64K"},
    "database": {"recordsize": "32K"},
    "logs": {"compression": "zstd"},
    "downloads": {"recordsize": "16K"},
    "disks": {},
    "plain": {},
}
# Templates of role zfs_snapshots; "none" also removes the snapshots that it made before
POLICIES = ("standard", "brief", "none")


def pools(node: Host) -> dict[str, Tree]:
    found: dict[str, Tree] = (node.node or {})["pools"]
    return found


def zfs_pools(node: Host) -> dict[str, Tree]:
    return {name: body for name, body in pools(node).items() if body["kind"] == "zfs"}


def node_plan(site: Site, node: Host) -> Tree:
    return {
        "pools": [pool_plan(node, name, body) for name, body in zfs_pools(node).items() if body["vdevs"]],
        "datasets": [
            dataset_plan(site, node, pool, name) for pool in zfs_pools(node) for name in parents_first(node, pool)
        ],
        "snapshots": snapshots(site, node),
        "keys": [
            {"path": key_path(pool, name), "secret": secret_name(node, pool, name)}
            for pool, name, body in datasets(node)
            if body["encryption"]
        ],
    }


def pool_plan(node: Host, name: str, body: Tree) -> Tree:
    """A pool that the role makes when it is missing."""
    return {
        "name": name,
        "vdevs": body["vdevs"],
        "special": body["special"],
        "log": body["log"],
        "cache": body["cache"],
        "spares": body["spares"],
        "properties": {"ashift": 12, "autotrim": True, **body["properties"]},
        "filesystem_properties": dict(COMMON),
        "mountpoint": body["path"].rstrip("/"),
        "scrub": body["scrub"],
    }


def parents_first(node: Host, pool: str) -> list[str]:
    return sorted(pools(node)[pool]["datasets"], key=lambda name: name.count("/"))


def dataset_plan(site: Site, node: Host, pool: str, name: str) -> Tree:
    body = pools(node)[pool]["datasets"][name]
    given = {key: body[key] for key in ("recordsize", "compression", "atime") if body[key] is not None}
    # a disk limits itself: a quota of its size would have no room for the disk's metadata
    if body["quota"] and not holds_disks(site, node, pool, name):
        given["quota"] = body["quota"]
    key = {"encryption": {"key_file": key_path(pool, name), "key_format": "hex"}} if body["encryption"] else {}
    return {
        "name": f"{pool}/{name}",
        "type": "filesystem",
        "properties": {**preset(site, node, pool, name), **given, **body["properties"]},
        **key,
    }


def preset(site: Site, node: Host, pool: str, name: str) -> dict[str, str]:
    """What suits the purpose. A pool that somebody made by hand gets only what is written down."""
    body = pools(node)[pool]
    if not body["vdevs"] and not body["datasets"][name]["purpose"]:
        return {}
    return {**COMMON, **PRESETS[purpose(site, node, pool, name)]}


def purpose(site: Site, node: Host, pool: str, name: str) -> str:
    """As written; else by use (disks), by the storage class that lies there, by the dataset's name; else plain."""
    named = pools(node)[pool]["datasets"][name]["purpose"]
    if named:
        return str(named)
    if holds_disks(site, node, pool, name):
        return "disks"
    lying = [one for one, body in site.values["site_storage"].items() if body["source"] == f"{pool}/{name}"]
    return next((word for word in [*lying, name.rpartition("/")[2]] if word in PURPOSES), "plain")


def holds_disks(site: Site, node: Host, pool: str, name: str) -> bool:
    body = (node.node or {})["pools"][pool]["datasets"][name]
    return body["purpose"] == "disks" or any(
        found["as"] == "disk" and found["source"] == f"{pool}/{name}" for found in disk_classes(site, node)
    )


def disk_classes(site: Site, node: Host) -> Iterator[Tree]:
    """Storage classes of the node's guests."""
    for host in site.hosts.values():
        if host.guest is not None and host.guest["node"] == node.name:
            for name in storage.classes_on(site, host, backup.classes(site, host)):
                yield site.storage(name) or {}


def datasets(node: Host) -> Iterator[tuple[str, str, Tree]]:
    """(pool, name, body) of every dataset of a ZFS pool."""
    for pool, body in zfs_pools(node).items():
        for name in parents_first(node, pool):
            yield pool, name, body["datasets"][name]


def key_path(pool: str, name: str) -> str:
    return f"{KEYS}/{pool}-{name.replace('/', '-')}.key"


def secret_name(node: Host, pool: str, name: str) -> str:
    return f"zfs_key.{node.name}-{pool}-{name.replace('/', '-')}"


def secrets(node: Host) -> list[Tree]:
    """Keys of encrypted datasets: 32 bytes, generated once."""
    return [
        {"name": secret_name(node, pool, name), "length": 64, "kind": "hex"}
        for pool, name, body in datasets(node)
        if body["encryption"]
    ]


def policies(node: Host) -> list[str]:
    return [*POLICIES, *(node.node or {})["snapshot_policies"]]


def policy_of(node: Host, pool: str, body: Tree) -> str:
    """Name of the policy of a dataset; empty: its snapshots are not ours."""
    return str(body["snapshots"] or pools(node)[pool]["snapshots"] or "")


def snapshots(site: Site, node: Host) -> Tree:
    """As role zfs_snapshots takes it. The disks of guests lie one below."""
    found = []
    for pool, name, body in datasets(node):
        policy = policy_of(node, pool, body)
        if policy:
            below = "yes" if holds_disks(site, node, pool, name) else "no"
            found.append({"name": f"{pool}/{name}", "template": policy, "recursive": below})
    copies = node_backup.replications(node)
    return {"templates": (node.node or {})["snapshot_policies"], "datasets": found, "replications": copies}
