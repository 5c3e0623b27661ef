# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Copies that a Proxmox node makes itself: whole guests by vzdump, datasets by syncoid."""

from __future__ import annotations

import re
from typing import Any

from . import sizes
from .catalog_schema import NAME
from .model import Host, Site, Tree
from .problems import suggest
from .schema import Flag, Items, Named, Number, Size, Table, Text

JOB = "mediaserver"
PASSWORD_HELP = "password, or the token's secret, of the user at Proxmox Backup Server"
KEEP = {"last": 0, "hourly": 0, "daily": 7, "weekly": 4, "monthly": 0, "yearly": 0}

SERVER = Table(
    {
        "host": Text("Address of the Proxmox Backup Server"),
        "port": Number("Its port", least=1, most=65535),
        "datastore": Text("Its datastore"),
        "namespace": Text("Namespace in it"),
        "user": Text("user@realm, or a token as user@realm!name", default="root@pam"),
        "fingerprint": Text(
            "SHA-256 fingerprint of its certificate",
            pattern=r"^([0-9A-Fa-f]{2}:){31}[0-9A-Fa-f]{2}$",
            wanted="32 pairs of hexadecimal digits with colons",
        ),
    },
    "A Proxmox Backup Server; becomes the storage",
    required=("host", "datastore"),
)
GUEST_BACKUP = Table(
    {
        "storage": Text("Proxmox storage of the backups"),
        "server": SERVER,
        "schedule": Text("When, as Proxmox VE writes it", default="01:00"),
        "mode": Text("How a running guest is treated", default="snapshot", choices=("snapshot", "suspend", "stop")),
        "keep": Table(
            {unit: Number(default=count) for unit, count in KEEP.items()}, "How many to keep", default=dict(KEEP)
        ),
        "exclude": Items(Text(), "Guests of the inventory that are left out"),
        "bandwidth": Size("At most this much a second"),
    },
    "Whole guests, by vzdump",
    required=("storage",),
)
REPLICATION = Table(
    {
        "source": Text("Dataset, or user@host:pool/dataset"),
        "target": Text("Dataset, or user@host:pool/dataset; it is made"),
        "schedule": Text("When, as systemd's OnCalendar", default="*-*-* 03:30:00"),
        "recursive": Flag("With the datasets below it", default=True),
        "ssh_key": Text(
            "File on the node with the SSH key for the other machine", pattern="^/", wanted="an absolute path"
        ),
    },
    "A copy of a dataset with its snapshots, by syncoid",
    required=("source", "target"),
)
REPLICATIONS = Named(REPLICATION, "Copies of datasets by syncoid", pattern=NAME.replace("_", ""))


def guests_of(site: Site, node: Host) -> list[Host]:
    return [host for host in site.hosts.values() if host.guest is not None and host.guest["node"] == node.name]


def password(node: Host) -> str:
    return f"{node.name}.backup_server_password"


def secrets(node: Host) -> list[Tree]:
    body = (node.node or {})["backup"]
    return [{"name": password(node), "ask": True, "help": PASSWORD_HELP}] if body and body["server"] else []


def guest_backup(site: Site, node: Host) -> Tree | None:
    """Options of proxmox_storage (where a server is named) and proxmox_backup_job."""
    body = (node.node or {})["backup"]
    if not body:
        return None
    limit = (sizes.parse(body["bandwidth"]) or 0) // sizes.UNITS["K"]
    job = {
        "id": job_id(site, node),
        "schedule": body["schedule"],
        "storage": body["storage"],
        "vmids": [
            host.guest["vmid"] for host in guests_of(site, node) if host.guest and host.name not in body["exclude"]
        ],
        "mode": body["mode"],
        "compress": "zstd",
        "prune_backups": {f"keep_{unit}": count for unit, count in body["keep"].items() if count},
        "notes_template": "{{guestname}}",
        "bwlimit": limit,
    }
    return {"storage": server_storage(body) if body["server"] else None, "secret": server_secret(node), "job": job}


def job_id(site: Site, node: Host) -> str:
    """A cluster has one list for all its nodes."""
    return JOB if len(machines(site)) == 1 else f"{JOB}-{node.name}"


def server_secret(node: Host) -> str | None:
    return password(node) if (node.node or {})["backup"]["server"] else None


def server_storage(body: Tree) -> Tree:
    server = body["server"]
    given = {
        "storage": body["storage"],
        "type": "pbs",
        "server": server["host"],
        "port": server["port"],
        "datastore": server["datastore"],
        "namespace": server["namespace"],
        "username": server["user"],
        "fingerprint": server["fingerprint"],
    }
    return {key: value for key, value in given.items() if value is not None}


def machines(site: Site) -> list[Host]:
    return [host for host in site.hosts.values() if host.node is not None]


def replications(node: Host) -> list[Tree]:
    """As role zfs_snapshots takes them."""
    return [
        {"name": name, **{key: value for key, value in body.items() if value is not None}}
        for name, body in (node.node or {})["replications"].items()
    ]


def check(site: Site, node: Host) -> None:
    body = (node.node or {})["backup"]
    names = [host.name for host in guests_of(site, node)]
    for index, name in enumerate(body["exclude"] if body else []):
        if name not in names:
            where = node.where.at("node", "backup", "exclude", index)
            site.problems.add("backup-guest", where, f"{node.name} has no guest {name!r}", suggest(name, names))
    for name, one in (node.node or {})["replications"].items():
        check_replication(site, node, name, one)


def check_replication(site: Site, node: Host, name: str, one: Tree) -> None:
    where = node.where.at("node", "replications", name)
    if re.match(r"[^/]+@", one["source"]) and re.match(r"[^/]+@", one["target"]):
        site.problems.add(
            "replication-elsewhere", where.at("target"), "neither side is on this node", "Name a dataset of this node"
        )
        return
    for side in ("source", "target"):
        pool = one[side].partition("/")[0]
        if "@" not in one[side].partition("/")[0] and pool not in (node.node or {})["pools"]:
            known: Any = (node.node or {})["pools"]
            site.problems.add(
                "replication-pool", where.at(side), f"{node.name} has no pool {pool!r}", suggest(pool, known)
            )
    if one["source"].partition("/")[0] == one["target"].partition("/")[0]:
        site.problems.add(
            "replication-same-pool",
            where.at("target"),
            "the copy lies in the pool of its source: one broken pool takes both",
            "Name another pool, or user@host:pool/dataset",
        )
    pool, _slash, dataset = one["source"].partition("/")
    declared = ((node.node or {})["pools"].get(pool) or {}).get("datasets", {}).get(dataset)
    if declared is not None and (declared["snapshots"] or node.node["pools"][pool]["snapshots"]) in (None, "", "none"):  # type: ignore[index]
        site.problems.add(
            "replication-without-snapshots",
            where.at("source"),
            f"{one['source']} has no snapshots, which are what is copied",
            f"Give it a policy: pools.{pool}.datasets.{dataset}.snapshots: standard",
        )
