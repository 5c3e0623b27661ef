# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Zones, addresses and the networks of containers."""

from __future__ import annotations

from itertools import combinations

from . import addresses
from .model import Host, Site
from .problems import Where, suggest

DERIVED = ("internet", "edge", "monitoring", "node")
USUAL = ("lan", "vpn")
"""Zones that the collection's catalog speaks of; a home that has none of the name simply has nobody there."""
SHARED_NETWORKS = ("monitoring", "proxy")
SHARED_PREFIX = 24


def resolve(site: Site) -> None:
    """Fill ``site.zones`` and check addresses."""
    check_zones(site)
    check_local_network(site)
    check_hosts(site)
    check_pool(site)
    site.zones["internet"] = [addresses.ANY]
    site.zones["edge"] = host_networks(site, site.door_hosts())
    site.zones["monitoring"] = host_networks(site, site.provider_hosts("monitoring"))
    site.zones["node"] = host_networks(site, [host.name for host in site.hosts.values() if host.node is not None])


def host_networks(site: Site, names: list[str]) -> list[str]:
    return [addresses.single(address) for name in names for address in site.hosts[name].addresses]


def check_zones(site: Site) -> None:
    for name, networks in site.values["site_zones"].items():
        where = site.where("site_zones", name)
        if name in DERIVED or name == "host":
            site.problems.add(
                "zone-is-derived", where, f"the zone {name} is derived by the plan", "Choose another name"
            )
            continue
        good = []
        for text in networks:
            if addresses.network(text) is None:
                site.problems.add(
                    "bad-network", where, f"{text!r} is no network", "Write it as 192.168.1.0/24 or fd00:1::/64"
                )
            elif addresses.has_host_bits(text):
                site.problems.add(
                    "network-with-host",
                    where,
                    f"{text} names an address in a network",
                    f"Write {addresses.canonical(text)}",
                )
            else:
                good.append(addresses.canonical(text))
        site.zones[name] = good
    for (one, first), (two, second) in combinations(list(site.zones.items()), 2):
        for left in first:
            for right in second:
                if addresses.overlap(left, right):
                    site.problems.add(
                        "zones-overlap",
                        site.where("site_zones", two),
                        f"{right} overlaps {left} of zone {one}",
                        "Give each zone networks of its own",
                    )
    if "lan" not in site.zones and site.values["site_zones"]:
        site.problems.add("no-lan", site.where("site_zones"), "there is no zone lan", "Add it: lan: [192.168.1.0/24]")


def check_local_network(site: Site) -> None:
    local = site.values["site_network"]
    for key in ("gateway", "gateway6"):
        text = local[key]
        if not text:
            continue
        where = site.where("site_network", key)
        if addresses.address(text) is None:
            site.problems.add("bad-address", where, f"{text!r} is no IP address", "Write it as 192.168.1.1")
        elif not in_zone(site, text, "lan"):
            site.problems.add(
                "gateway-outside",
                where,
                f"{text} is in none of the networks of zone lan",
                "Correct the gateway or site_zones.lan",
            )
    for index, text in enumerate(local["nameservers"]):
        if addresses.address(text) is None:
            site.problems.add(
                "bad-address",
                site.where("site_network", "nameservers", index),
                f"{text!r} is no IP address",
                "Write it as 192.168.1.1",
            )


def in_zone(site: Site, text: str, zone: str) -> bool:
    return any(addresses.contains(network, text) for network in site.zones.get(zone, []))


def check_hosts(site: Site) -> None:
    """Each host's address: valid, its own, in the LAN."""
    taken: dict[str, str] = {}
    local = site.values["site_network"]
    gateways = [text for text in (local["gateway"], local["gateway6"]) if text]
    for host in site.hosts.values():
        for key, text in (("ansible_host", host.address), ("address6", host.address6)):
            where = host.where.at(key)
            if not text:
                if key == "ansible_host" and (host.guest is not None or site.on(host.name)):
                    site.problems.add("no-address", where, "the host has no address", "Add ansible_host: <IP address>")
                continue
            if addresses.address(text) is None:
                site.problems.add(
                    "bad-address",
                    where,
                    f"{text!r} is no IP address",
                    "Write an IP address; guests get it from the plan",
                )
                continue
            if addresses.version(text) != (6 if key == "address6" else 4):
                site.problems.add(
                    "wrong-family",
                    where,
                    f"{text} is of the wrong IP version",
                    "ansible_host is IPv4, address6 is IPv6",
                )
            if text in taken and not one_machine(site, host, site.hosts[taken[text]]):
                site.problems.add(
                    "address-twice",
                    where,
                    f"{text} is the address of {taken[text]} too",
                    "Give each host its own address",
                )
            if text in gateways:
                site.problems.add(
                    "address-is-gateway", where, f"{text} is the gateway's address", "Choose another address"
                )
            taken[text] = host.name
            check_place(site, host, text, where)


def one_machine(site: Site, host: Host, other: Host) -> bool:
    """Windows and the Debian inside share their addresses (mirrored network of WSL)."""
    return host.wsl == other.name or other.wsl == host.name or bool(host.wsl and host.wsl == other.wsl)


def check_place(site: Site, host: Host, text: str, where: Where) -> None:
    if host.guest is not None and site.zones.get("lan") and not in_zone(site, text, "lan"):
        networks = ", ".join(site.zones["lan"])
        site.problems.add(
            "address-outside",
            where,
            f"{text} is outside the zone lan ({networks})",
            "Choose an address inside, or correct site_zones.lan",
        )
    local = site.values["site_network"]
    gateway, prefix = (
        (local["gateway6"], local["prefix6"]) if addresses.version(text) == 6 else (local["gateway"], local["prefix"])
    )
    if (
        host.guest is not None
        and gateway
        and addresses.address(gateway) is not None
        and not addresses.in_local_network(text, gateway, prefix)
    ):
        site.problems.add(
            "gateway-unreachable",
            where,
            f"{text}/{prefix} cannot reach the gateway {gateway} directly",
            "Correct the address or site_network.prefix",
        )
    if host.prober_zone and host.prober_zone not in site.zones and host.prober_zone not in DERIVED:
        site.problems.add(
            "unknown-zone",
            host.where.at("prober_zone"),
            f"no zone {host.prober_zone!r}",
            suggest(host.prober_zone, [*site.zones, *DERIVED]),
        )


def check_pool(site: Site) -> None:
    """Container networks must not hide anything that hosts talk to."""
    pool, where = site.values["site_network"]["container_pool"], site.where("site_network", "container_pool")
    if addresses.network(pool) is None or addresses.version(pool) != 4:
        site.problems.add("bad-network", where, f"{pool!r} is no IPv4 network", "Write it as 172.20.0.0/16")
        return
    if addresses.network(pool).prefixlen > 20:
        site.problems.add(
            "pool-too-small",
            where,
            f"{pool} is too small for the containers' networks",
            "Give it a prefix of at most 20",
        )
    for zone, networks in site.zones.items():
        for network in networks:
            if addresses.overlap(pool, network):
                site.problems.add(
                    "pool-overlaps",
                    where,
                    f"{pool} overlaps {network} of zone {zone}",
                    "Choose a range that nothing else uses, as 172.20.0.0/16",
                )
    for host in site.hosts.values():
        if host.address and addresses.address(host.address) is not None and addresses.contains(pool, host.address):
            site.problems.add(
                "pool-overlaps",
                where,
                f"{pool} holds {host.name}'s address {host.address}",
                "Choose a range that nothing else uses",
            )


def check_reach(site: Site) -> None:
    """Every zone that the inventory names must exist; the catalog may name the usual ones too."""
    known = [*site.values["site_zones"], *DERIVED]
    usual = [*known, *USUAL]
    for service in site.services.values():
        for port in service.ports.values():
            mine = (service.placement["ports"].get(port.name) or {}).get("reach") is not None
            where = service.where.at("ports", port.name, "reach") if mine else service.entry.where.at("reach")
            for zone in port.reach:
                unknown_zone(site, where, zone, known if mine else usual)
        mine = bool((service.placement["route"] or {}).get("allow"))
        where = (service.where if mine else service.entry.where).at("route", "allow")
        for zone in (service.route or {}).get("allow") or []:
            unknown_zone(site, where, zone, known if mine else usual)
    for zone in site.values["site_admin"]["reach"]:
        unknown_zone(site, site.where("site_admin", "reach"), zone, known)
    for host in site.hosts.values():
        for zone in (host.node or {}).get("reach") or []:
            unknown_zone(site, host.where.at("node", "reach"), zone, known)


def unknown_zone(site: Site, where: Where, zone: str, known: list[str]) -> None:
    if zone not in known:
        site.problems.add("unknown-zone", where, f"no zone {zone!r}", suggest(zone, known))


def shared_subnets(site: Site) -> dict[str, str]:
    """Networks that projects of a host share, by short name: the first of the pool, the same on every host."""
    found = addresses.subnets(site.values["site_network"]["container_pool"], SHARED_PREFIX, len(SHARED_NETWORKS))
    return dict(zip(SHARED_NETWORKS, found, strict=False))


def cidrs(site: Site, zones: tuple[str, ...] | list[str]) -> list[str]:
    """Sources of these zones, ``["any"]`` as soon as one is the Internet."""
    found: list[str] = []
    for zone in zones:
        for network in site.zones.get(zone, []):
            if network == addresses.ANY:
                return [addresses.ANY]
            if network not in found:
                found.append(network)
    return [one for one in found if not any(one != other and addresses.contains(other, one) for other in found)]
