# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Firewall rules of every layer, from the openings of each host."""

from __future__ import annotations

from . import addresses, network, nfs
from .model import Host, Site, Tree
from .ports import Opening, is_measured


def host_rules(site: Site, host: Host, found: list[Opening]) -> list[Tree]:
    """UFW: SSH, what systemd runs, what shares the host's network."""
    admin = site.values["site_admin"]
    rules = [rule(source, admin["ssh_port"], "tcp", "ssh") for source in network.cidrs(site, admin["reach"])]
    for opening in found:
        port, name = opening.port, opening.service.name
        if not port.shared:
            continue
        label = f"{name} {port.name}"
        rules += [rule(source, port.number, port.protocol, label, name, opening.marker) for source in opening.sources]
        if is_measured(site, opening.service, port) and host.name in site.provider_hosts("monitoring"):
            subnet = network.shared_subnets(site).get("monitoring")
            if subnet:
                rules.append(rule(subnet, port.number, port.protocol, f"{label} from monitoring", name))
    return unique([*rules, *nfs_rules(site, host)])


def container_rules(found: list[Opening]) -> list[Tree]:
    """Our own nftables table: who may reach published ports. Containers are published by IPv4 only."""
    rules = []
    for opening in found:
        if opening.port.shared:
            continue
        port, name = opening.port, opening.service.name
        four = [source for source in opening.sources if addresses.version(source) != 6]
        rules += [
            rule(source, port.number, port.protocol, f"{name} {port.name}", name, opening.marker) for source in four
        ]
    return unique(rules)


def flows(site: Site, host: Host, found: list[Opening]) -> list[Tree]:
    """Who may reach what, in the words of the declarations: for people."""
    listed = [
        {
            "zone": zone,
            "host": host.name,
            "service": None,
            "port": site.values["site_admin"]["ssh_port"],
            "protocol": "tcp",
        }
        for zone in site.values["site_admin"]["reach"]
    ]
    for opening in found:
        zones = list(opening.port.reach)
        if is_measured(site, opening.service, opening.port) and "monitoring" not in zones:
            zones.append("monitoring")
        for zone in zones:
            other = [one for one in site.zones.get(zone, []) if one not in map(addresses.single, host.addresses)]
            if other and (opening.sources or opening.port.shared):
                body = {"zone": zone, "host": host.name, "service": opening.service.name}
                listed.append(body | {"port": opening.port.number, "protocol": opening.port.protocol})
    return listed


def routed_rules(site: Site, host: Host) -> list[Tree]:
    """What the VPN's host passes on: its clients may reach the whole LAN (UFW refuses to forward anything else)."""
    if host.name not in site.provider_hosts("vpn"):
        return []
    clients, targets = network.cidrs(site, ["vpn"]), network.cidrs(site, ["lan"])
    return [
        {"from": source, "to": target, "comment": "vpn clients to the lan"}
        for source in clients
        for target in targets
        if addresses.version(source) == addresses.version(target)
    ]


def plain(rules: list[Tree]) -> list[Tree]:
    """What UFW is told."""
    return [{key: one[key] for key in ("from", "port", "protocol", "comment")} for one in rules]


def rule(source: str, port: int, protocol: str, comment: str, service: str = "", marker: str = "") -> Tree:
    return {
        "from": source,
        "port": port,
        "protocol": protocol,
        "service": service,
        "comment": comment,
        "marker": marker or None,
    }


def unique(rules: list[Tree]) -> list[Tree]:
    """Each rule once, and none that a wider one makes needless."""
    kept: list[Tree] = []
    for one in rules:
        if not any(covers(other, one) for other in kept):
            kept = [other for other in kept if not covers(one, other)] + [one]
    return kept


def covers(wide: Tree, narrow: Tree) -> bool:
    same = all(wide[key] == narrow[key] for key in ("port", "protocol", "marker"))
    return same and addresses.contains(wide["from"], narrow["from"])


def node_rules(site: Site, host: Host) -> list[Tree]:
    """The Proxmox node's own rules: SSH, the web interface, NFS where a class asks for it."""
    node = host.node or {}
    sources = network.cidrs(site, node["reach"])
    if not sources:
        site.problems.add(
            "node-closed",
            host.where.at("node", "reach"),
            f"nobody could reach SSH and the web interface of {host.name}, the controller included",
            "Name the zone from which you work, as in reach: [lan]",
        )
    rules = [
        rule(source, port, "tcp", comment)
        for port, comment in ((22, "ssh"), (node["api"]["port"], "web interface"))
        for source in sources
    ]
    return unique([*rules, *nfs_rules(site, host)])


def nfs_rules(site: Site, host: Host) -> list[Tree]:
    """NFS for exactly the hosts that mount something from here."""
    return [
        rule(addresses.single(address), nfs.PORT, "tcp", f"nfs for {client.name}")
        for client in nfs.clients(site, host)
        for address in client.addresses
    ]


def proxmox_rules(rules: list[Tree]) -> list[Tree]:
    """The same rules as Proxmox VE's firewall writes them."""
    found: list[Tree] = []
    for one in rules:
        entry: Tree = {
            "type": "in",
            "action": "ACCEPT",
            "proto": one["protocol"],
            "dport": str(one["port"]),
            "comment": one["comment"],
            "enable": True,
        }
        if one["from"] != addresses.ANY:
            entry["source"] = one["from"]
        if not any({**entry, "comment": ""} == {**other, "comment": ""} for other in found):
            found.append(entry)
    return found


def proxmox(site: Site, host: Host, plans: dict[str, Tree]) -> Tree:
    """Datacenter, node and VM level for one node; default deny for what comes in."""
    guests = {}
    for guest in site.hosts.values():
        if guest.guest is None or guest.guest["node"] != host.name or guest.name not in plans:
            continue
        both = plans[guest.name]["firewall"]
        outside = [one for one in both["host"] if one["from"] not in network.shared_subnets(site).values()]
        guests[str(guest.guest["vmid"])] = {
            "host": guest.name,
            "rules": proxmox_rules(unique(strip(outside + both["containers"]))),
        }
    return {
        "datacenter": {"policy_in": "DROP", "policy_out": "ACCEPT", "rules": proxmox_rules(node_rules(site, host))},
        "node": {"rules": proxmox_rules(node_rules(site, host))},
        "guests": guests,
    }


def strip(rules: list[Tree]) -> list[Tree]:
    """Without markers: the node does not see files of its guests; the guest's own firewall holds them."""
    return [{**one, "marker": None} for one in rules]
