# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Raspberry Pis: what must not lie on the SD card, and images for another processor."""

from __future__ import annotations

from collections.abc import Iterable

from . import backup, guests, ingest, rclone, storage
from .model import Host, Site

GROUP = "raspberrypi"
SSD = "a class `as: disk` whose source is the SSD: /dev/disk/by-id/..."


def architecture(groups: Iterable[str]) -> str:
    """Of a host that says nothing about it."""
    return "arm64" if GROUP in groups else "amd64"


def check(site: Site) -> None:
    for host in site.managed():
        check_images(site, host)
        if GROUP in host.groups and host.root_disk != "ssd":
            check_card(site, host)
            check_cache(site, host)


def check_images(site: Site, host: Host) -> None:
    """Images that are known not to be there for the host's processor; those nobody looked for are told."""
    for service in site.on(host.name):
        for name, container in service.containers.items():
            known = container["platforms"]
            where = service.entry.where.at("containers", name, "platforms")
            if known is None and host.architecture != "amd64":
                site.problems.warn(
                    "platform-unknown",
                    where,
                    f"nobody looked whether {container['image']} of {service.name} exists for {host.architecture}, "
                    f"which {host.name} needs",
                )
            elif known is not None and host.architecture not in known:
                site.problems.add(
                    "no-image-for-platform",
                    service.where.at("hosts"),
                    f"{service.name} cannot run on {host.name}: {container['image']} exists for "
                    f"{', '.join(known)}, not for {host.architecture}",
                    "Place it on another host, or name another image that exists: site_services."
                    f"{service.name}.images.{name}",
                )


def written(site: Site, host: Host) -> dict[str, str]:
    """Storage classes that the host writes, each with who writes there."""
    found: dict[str, str] = {}
    for service, _container, volume, use in storage.uses(site, host):
        if not use["read_only"]:
            found.setdefault(volume.storage, f"{service.name}.{volume.name}")
    for name in [*backup.classes(site, host), *ingest.classes(site, host)]:
        found.setdefault(name, "backups or what is fetched from clouds")
    return found


def check_card(site: Site, host: Host) -> None:
    """A database wears an SD card out within months, and a card that fails takes it without a warning."""
    for name, who in written(site, host).items():
        if (site.storage(name) or {}).get("as") == "local":
            site.problems.add(
                "data-on-sd-card",
                site.where("site_storage", name, "as"),
                f"class {name} of {host.name} lies on the SD card, and {who} writes there: databases and caches wear "
                "it out, and take the data with it",
                f"Make it {SSD}. If the system itself lies on an SSD, say root_disk: ssd at {host.name}",
            )


def check_cache(site: Site, host: Host) -> None:
    """What waits for its way into the cloud lies in rclone's cache."""
    bodies = [site.storage(name) or {} for name in guests.classes(site, host)]
    disks = [str(body["mount"]).rstrip("/") for body in bodies if body.get("as") == "disk"]
    for name, body in rclone.classes(site, host):
        path = str(body["cache_path"] or rclone.CACHE["cache_path"])
        if not body["read_only"] and not any(f"{path}/".startswith(f"{disk}/") for disk in disks):
            site.problems.add(
                "cache-on-sd-card",
                site.where("site_storage", name, "cache_path"),
                f"what {host.name} writes to {name} waits at {path} on the SD card for its way into the cloud",
                "Name a folder on the SSD: cache_path: /mnt/ssd/rclone-cache",
            )
