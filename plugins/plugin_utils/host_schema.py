# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the inventory may say about a host: Proxmox nodes, guests, probers, Windows machines and their Debian."""

from __future__ import annotations

from .catalog_schema import ZONE
from .node_backup import GUEST_BACKUP, REPLICATIONS
from .pool_schema import POOL, SNAPSHOT_POLICY
from .schema import Flag, Items, Named, Number, Size, Table, Text
from .site_schema import ADDRESS
from .windows_schema import WINDOWS, WSL

IMAGE = Table(
    {
        "url": Text("Address of the image"),
        "file": Text(
            "File name in the import storage",
            pattern=r"^[A-Za-z0-9._-]+\.(qcow2|raw|img)$",
            wanted="a file name that ends in .qcow2, .raw or .img",
        ),
        "checksum": Text(
            "sha256:... or sha512:...", pattern=r"^sha(256|512):[0-9a-f]+$", wanted="sha512:<hexadecimal>"
        ),
        "full_kernel": Flag("The kernel has GPU drivers; default: the name ends in -full", default=None),
    },
    "A cloud image",
    required=("url", "file"),
)
NODE = Table(
    {
        "name": Text("Name of the node in Proxmox VE"),
        "cores": Number("Threads", least=1, wanted="a number of cores"),
        "memory": Size("Memory of the machine"),
        "reserved_memory": Size("Kept for the host itself", default="2G"),
        "arc_max": Size("Limit of the ZFS cache", default="0G"),
        "bridge": Text("Bridge of the guests", default="vmbr0"),
        "gpu": Table(
            {
                "address": Text(
                    "PCI address",
                    pattern=r"^[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]$",
                    wanted="a PCI address as 0000:00:02.0",
                ),
                "mapping": Text("Name of the mapping", default="igpu"),
            },
            "The GPU that a guest may get",
            required=("address",),
        ),
        "api": Table(
            {
                "host": Text("Address of the API"),
                "port": Number(default=8006, least=1, most=65535),
                "user": Text("user@realm"),
                "token_id": Text("Name of the token"),
                "ca_path": Text("Certificate to trust"),
                "validate_certs": Flag(default=True),
            },
            "The API",
            required=("host", "user", "token_id"),
        ),
        "image_storage": Text("Storage of images", default="local"),
        "disk_storage": Text("Storage of guests' disks", default="local-lvm"),
        "disk_storage_size": Size("Its size"),
        "snippet_storage": Text("Storage of snippets", default="local"),
        "snippet_path": Text(
            "Folder of that storage on the node",
            default="/var/lib/vz/snippets",
            pattern="^/",
            wanted="an absolute path",
        ),
        "images": Named(IMAGE, "Cloud images"),
        "pools": Named(POOL, "Pools"),
        "snapshot_policies": Named(
            SNAPSHOT_POLICY, "Policies of snapshots beside the ones that are there", nullable=True
        ),
        "backup": GUEST_BACKUP,
        "replications": REPLICATIONS,
        "prepare": Flag("Whether kernel, ZFS cache and package sources of the node are configured", default=True),
        "repositories": Text(
            "Proxmox VE's package sources: as they are, for subscribers, or for all others",
            default="keep",
            choices=("keep", "enterprise", "no-subscription"),
        ),
        "reboot": Text(
            "When the node may be restarted: never, when no guest runs, or also when guests run",
            default="never",
            choices=("never", "if_idle", "if_needed"),
        ),
        "reach": Items(ZONE, "Zones that may use SSH and the web interface", default=("lan",)),
    },
    "A Proxmox node",
    required=("name", "cores", "memory", "api"),
)
GUEST = Table(
    {
        "node": Text("Host of the node in the inventory"),
        "vmid": Number("Number of the VM", least=100, most=999999999, wanted="a VM number"),
        "cores": Number("Cores", least=1, wanted="a number of cores"),
        "memory": Size("Memory"),
        "disk": Size("System disk"),
        "image": Text("Image of the node"),
        "gpu": Flag("Gets the node's GPU"),
        "start_order": Number("Place in the start order", default=10, least=0),
        "start_wait": Number("Seconds until the next one starts", default=15, least=0),
        "protection": Flag("Cannot be destroyed by mistake", default=True),
        "tags": Items(Text(), "Tags in Proxmox VE"),
    },
    "A guest",
    required=("node", "vmid", "cores", "memory", "disk", "image"),
)
HOST = Table(
    {
        "ansible_host": ADDRESS,
        "address6": ADDRESS,
        "node": NODE,
        "guest": GUEST,
        "prober_zone": ZONE,
        "windows": WINDOWS,
        "wsl": WSL,
        "gpu": Flag("A physical host's GPU"),
        "memory": Size("Memory of a physical host"),
        "architecture": Text(
            "Processor of the host; default amd64, in the group raspberrypi arm64", choices=("amd64", "arm64")
        ),
        "root_disk": Text(
            "What a Raspberry Pi's system lies on; default sd_card, where nothing that is written often may lie",
            choices=("sd_card", "ssd"),
        ),
    },
    "A host",
)
