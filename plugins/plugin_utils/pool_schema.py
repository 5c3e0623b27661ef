# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the inventory may say about the pools of a node: devices, datasets, snapshots."""

from __future__ import annotations

from .schema import Anything, Flag, Items, Named, Number, Size, Table, Text
from .site_schema import ABSOLUTE

PURPOSES = ("media", "photos", "backups", "appdata", "database", "logs", "downloads", "disks", "plain")
DEVICES = Items(Text("Device, as /dev/disk/by-id/..."), "Whole disks or partitions, by /dev/disk/by-id", least=1)
VDEV_TYPES = ("disk", "mirror", "raidz1", "raidz2", "raidz3")
VDEV = Table(
    {
        "type": Text("How the devices hold the data", default="disk", choices=VDEV_TYPES),
        "devices": DEVICES,
    },
    "A group of devices; a pool is as safe as its weakest",
    required=("devices",),
)
SPECIAL = Table(
    {"type": Text("How the devices hold the data", default="disk", choices=("disk", "mirror")), "devices": DEVICES},
    "A group of devices beside the data",
    required=("devices",),
)
PROPERTIES = Named(
    Anything("Text, number, true or false"), "Properties as ZFS names them", pattern=r"[a-z0-9@._:-]+", wanted="a name"
)
DATASET = Table(
    {
        "quota": Size("Most that it may take, its snapshots included"),
        "purpose": Text(
            "What lies there, for recordsize and the like; default by name and use, else plain", choices=PURPOSES
        ),
        "recordsize": Size("Largest block of a file"),
        "compression": Text("lz4, zstd, off, ..."),
        "atime": Flag("Whether reading a file is written down", default=None),
        "encryption": Flag("Encrypted, by a key that is generated and lies on the node's system disk"),
        "snapshots": Text(
            "Policy: standard, brief, your own, or none, which also removes those made before; default the pool's"
        ),
        "properties": PROPERTIES,
    },
    "A dataset",
    short="quota",
)
DATASET_NAME = r"[A-Za-z0-9][A-Za-z0-9_.:-]*(/[A-Za-z0-9][A-Za-z0-9_.:-]*)*"
POOL = Table(
    {
        "kind": Text("zfs or directory", default="zfs", choices=("zfs", "directory")),
        "path": ABSOLUTE,
        "size": Size("Size of the pool"),
        "vdevs": Items(VDEV, "Devices; without them the pool must exist already"),
        "special": Items(SPECIAL, "Devices for metadata and small files. Lost with them: the whole pool"),
        "log": Items(SPECIAL, "Devices for synchronous writes"),
        "cache": Items(Text("Device, as /dev/disk/by-id/..."), "Devices that cache reads"),
        "spares": Items(Text("Device, as /dev/disk/by-id/..."), "Devices that take a broken one's place"),
        "properties": PROPERTIES,
        "scrub": Text(
            "How often all data is read and repaired", default="monthly", choices=("monthly", "weekly", "never")
        ),
        "snapshots": Text("Policy of snapshots of all its datasets"),
        "datasets": Named(DATASET, "Datasets: a quota, or more", pattern=DATASET_NAME, wanted="a dataset's name"),
    },
    "A pool of the node",
    required=("path",),
)
COUNT = Number("How many are kept", least=0, most=10000, default=0)
SNAPSHOT_POLICY = Table(
    {
        "frequently": COUNT,
        "hourly": COUNT,
        "daily": COUNT,
        "weekly": COUNT,
        "monthly": COUNT,
        "yearly": COUNT,
    },
    "How many snapshots of each kind are kept",
)
