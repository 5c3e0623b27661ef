# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What must not stand where the Internet reaches, and what must not be opened where it should not."""

from __future__ import annotations

from . import addresses, guests, raspberrypi
from .model import Host, Site
from .ports import Opening, place_of

PRIVATE = ("media", "photos", "database")
EDGE_GROUP, PRIVATE_GROUP, SINGLE_GROUP = "extranet", "intranet", "single"
DOORS = ("proxy", "vpn", "tailnet")
# Groups that open nothing to the Internet: name of the mistake, what such a host is, the way out
CLOSED = {
    PRIVATE_GROUP: (
        "internet-on-private-host",
        ", a private host",
        "Replace internet by edge in `reach`, or place the service on a host of the group extranet",
    ),
    raspberrypi.GROUP: (
        "internet-on-raspberrypi",
        "",
        "Remove internet from `reach`: the tunnel brings its name to the Internet without an open port",
    ),
}
TAILNET = "100.64.0.0/10"


def check(site: Site, host: Host, found: list[Opening]) -> None:
    """Hosts keep to the purpose of their groups."""
    for group, (kind, what, remedy) in CLOSED.items():
        if group in host.groups:
            check_closed(site, found, kind, f"{host.name}{what} (group {group})", remedy)
    if SINGLE_GROUP in host.groups:
        check_single(site, host, found)
    if EDGE_GROUP in host.groups:
        for service in site.on(host.name):
            for volume in service.volumes.values():
                if volume.storage in PRIVATE:
                    site.problems.add(
                        "private-data-on-edge",
                        service.where.at("hosts"),
                        f"{service.name} keeps {volume.storage} on {host.name}, which the Internet reaches (group "
                        "extranet)",
                        "Place it on a host of the group intranet",
                    )


def check_closed(site: Site, found: list[Opening], kind: str, host: str, remedy: str) -> None:
    for opening in found:
        if "internet" in opening.port.reach:
            reason = f"{opening.service.name} opens a port to the Internet on {host}"
            site.problems.add(kind, place_of(opening), reason, remedy)


def check_single(site: Site, host: Host, found: list[Opening]) -> None:
    """A machine that has everything shows the Internet its doors, nothing else."""
    for opening in found:
        if "internet" in opening.port.reach and opening.service.entry.provides() not in DOORS:
            site.problems.add(
                "internet-beside-the-proxy",
                place_of(opening),
                f"{opening.service.name} opens a port to the Internet on {host.name}, which holds everything (group "
                "single)",
                "Remove internet from `reach` and give the service a `route`: the proxy brings it to the Internet",
            )


def check_tailnet(site: Site) -> None:
    """Devices that come through the tailnet are somebody's zone, else they reach nothing."""
    provider = site.provider("tailnet")
    if provider is not None and not any(
        addresses.overlap(TAILNET, network) for networks in site.zones.values() for network in networks
    ):
        site.problems.add(
            "tailnet-without-zone",
            site.where("site_zones"),
            f"{provider.name} brings devices home that no zone names: they would reach nothing",
            f'Add one, as vpn: [{TAILNET}, "fd7a:115c:a1e0::/48"]',
        )


def check_shares(site: Site) -> None:
    """A folder that the Internet's host may write is no safe place for others."""
    edge = [host for host in site.managed() if EDGE_GROUP in host.groups and host.guest is not None]
    others = [host for host in site.managed() if EDGE_GROUP not in host.groups and host.guest is not None]
    for host in edge:
        mine = {name for name, _source in guests.shares(site, host)}
        for name in site.values["site_storage"]:
            sharers = [
                other.name for other in others if name in {share for share, _source in guests.shares(site, other)}
            ]
            if name in mine and sharers:
                site.problems.warn(
                    "storage-shared-with-edge",
                    site.where("site_storage", name),
                    f"{host.name}, which the Internet reaches, shares {name} with {', '.join(sharers)} and may "
                    "write there; "
                    "`per_host: true` gives each its own folder",
                )
