# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The mount guard: which units mount a class, and how a service's unit hangs on them.

A service binds to what mounts its classes: it starts after it and stops with it. It is wanted by the mount itself, so
it comes back with it, however the mount came about; a service that somebody stopped stays stopped until then.
"""

from __future__ import annotations

from . import nfs, storage
from .model import Host, Service, Site, Tree, is_mounted

SERIAL = "/dev/disk/by-id/scsi-0QEMU_QEMU_HARDDISK_"
FSTYPES = {"virtiofs": "virtiofs", "nfs": "nfs4", "rclone": "fuse.rclone", "local": ""}


def build(site: Site, host: Host, classes: list[str]) -> list[Tree]:
    """Mounts of a host, and the unit that makes each; none for a plain directory."""
    found = []
    for name in classes:
        body = site.storage(name)
        if body is None:
            continue
        kind, source = body["as"], body["source"]
        if kind == "virtiofs":
            source = storage.share_of(name, body, host)
        elif kind == "disk" and host.guest is not None:
            source = f"{SERIAL}{name}"
        elif kind == "nfs":
            source = nfs.source(site, host, body)
        found.append(
            {
                "class": name,
                "path": body["mount"].rstrip("/"),
                "kind": kind,
                "source": source,
                "fstype": body["fstype"] if kind == "disk" else FSTYPES[kind],
                "options": [option for option in body["options"].split(",") if option],
                "size": body["size"],
                "read_only": body["read_only"],
                "unit": owner_unit(body) or None,
            }
        )
    return found


def mount_unit(path: str) -> str:
    return f"{escape_path(path)}.mount"


def owner_unit(body: Tree) -> str:
    """The unit that mounts a class: its mount unit, or the service of rclone; empty for a plain directory."""
    if not is_mounted(body):
        return ""
    path = str(body["mount"])
    return f"rclone-{escape_path(path)}.service" if body["as"] == "rclone" else mount_unit(path)


def of_service(site: Site, service: Service) -> tuple[list[str], list[str]]:
    """Units that a service is bound to, and mounts that bring it back: those of the volumes it really uses."""
    bound, wanting = set(), set()
    for container in service.containers.values():
        for name in container["volumes"]:
            volume = service.volumes.get(name)
            body = site.storage(volume.storage) if volume is not None else None
            if body is not None and is_mounted(body):
                bound.add(owner_unit(body))
                # not the service of rclone: an rclone that waits to try again would be started at once by who wants it
                wanting.add(mount_unit(str(body["mount"])))
    return sorted(bound), sorted(wanting)


def escape_path(path: str) -> str:
    """As systemd-escape --path does."""
    text = path.strip("/").replace("//", "/")
    if not text:
        return "-"
    escaped = []
    for index, letter in enumerate(text):
        if letter == "/":
            escaped.append("-")
        elif letter.isascii() and (letter.isalnum() or letter in ":_" or (letter == "." and index > 0)):
            escaped.append(letter)
        else:
            escaped.append("".join(f"\\x{byte:02x}" for byte in letter.encode()))
    return "".join(escaped)
