# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What must answer, per zone of the asker. Everything else is expected to be closed."""

from __future__ import annotations

from . import addresses
from .model import Host, Service, Site, Tree
from .ports import measured

ANSWERS = [200, 204, 301, 302, 303, 307, 308, 400, 401, 403, 404, 405]
"""Any of these shows that the application itself answers."""


REFUSED = [403]
"""What the proxy answers to somebody whom a name's access list does not name."""


def build(
    site: Site, hosts: dict[str, Tree], nodes: dict[str, list[Tree]], routes: list[Tree], forwards: list[Tree]
) -> list[Tree]:
    found = names(site, hosts, routes, forwards)  # first: a port that is asked by name is not asked again without
    for zone in ("lan", "edge", "vpn"):
        for askers in askers_of(site, zone):
            for name, plan in hosts.items():
                found += from_rules(site, zone, askers, site.hosts[name], plan["firewall"]["host"], six=True)
                found += from_rules(site, zone, askers, site.hosts[name], plan["firewall"]["containers"], six=False)
            for name, rules in nodes.items():
                found += from_rules(site, zone, askers, site.hosts[name], rules, six=True)
    found += through_router(site, hosts, forwards)
    return unique([one for one in found if not silent(site, one)])


def askers_of(site: Site, zone: str) -> list[dict[int, str]]:
    """Whoever asks from a zone: its address or network by IP version; what one of them may reach, the zone may."""
    if zone == "edge":
        found = [site.hosts[name] for name in site.door_hosts()]
        return [{addresses.version(address): address for address in host.addresses} | {0: host.name} for host in found]
    by_version: dict[int, str] = {}
    for network in site.zones.get(zone, []):
        by_version.setdefault(addresses.version(network), network)
    return [by_version] if by_version else []


def from_rules(site: Site, zone: str, asker: dict[int, str], host: Host, rules: list[Tree], six: bool) -> list[Tree]:
    """The ports of a host that its rules open to the asker."""
    if asker.get(0) == host.name:
        return []
    found = []
    for rule in rules:
        four_open = bool(asker.get(4)) and addresses.contains(rule["from"], asker.get(4))
        six_open = six and bool(asker.get(6)) and bool(host.address6) and addresses.contains(rule["from"], asker.get(6))
        for version, opened in ((4, four_open), (6, six_open)):
            if opened:
                found.append(probe(site, zone, host, rule, version))
    return found


def probe(site: Site, zone: str, host: Host, rule: Tree, version: int) -> Tree:
    service = site.services.get(str(rule.get("service") or ""))
    address = host.address if version == 4 else host.address6
    return entry(
        host.name,
        address,
        version,
        rule["port"],
        rule["protocol"],
        zone,
        service,
        rule.get("marker"),
        **conversation(site, service, rule),
    )


def conversation(site: Site, service: Service | None, rule: Tree) -> Tree:
    """How to speak to a port."""
    port, protocol = rule["port"], rule["protocol"]
    if service is None:
        known = {site.values["site_admin"]["ssh_port"]: {"speak": "ssh"}, 22: {"speak": "ssh"}}
        if rule["comment"] == "web interface":
            return {
                "speak": "https",
                "path": "/",
                "status": ANSWERS,
                "verify_certificate": False,
            }  # the node's own authority
        return known.get(port, {"speak": "tcp"})
    if protocol == "udp":
        return {"speak": "udp", "payload": "00"}
    name = next((one.name for one in service.ports.values() if one.number == port), "")
    declared = service.ports.get(name)
    if service.entry.provides() == "proxy":
        if port == 443:
            return {"speak": "tls", "server_name": first_name(site)}
        return {"speak": "http", "path": "/", "status": ANSWERS}
    path = next((one["path"] for port_, one in measured(site, service) if port_ is declared), None)
    if path and (service.route or {}).get("port") != name:
        return {"speak": "http", "path": path}
    container = service.containers.get(declared.container) if declared else None
    health = (container or {}).get("health")
    if health and health["http"] and health["port"] == name:
        return {"speak": "http", "path": health["http"]}
    if (service.route or {}).get("port") == name or (container and service.spec["configure"]):
        return {"speak": "http", "path": (service.route or {}).get("path") or "/"}
    return {"speak": "tcp"}


def first_name(site: Site) -> str | None:
    for service in site.services.values():
        if service.route is not None:
            return f"{service.route['name']}.{site.values['site_domain']}"
    return None


def entry(
    host: str,
    address: str | None,
    version: int,
    port: int,
    protocol: str,
    zone: str,
    service: Service | None,
    marker: object,
    **how: object,
) -> Tree:
    body: Tree = {
        "host": host,
        "address": address if version == 4 else None,
        "address6": address if version == 6 else None,
        "port": port,
        "protocol": protocol,
        "zone": zone,
        "expect": "open",
        "speak": "tcp",
        "path": None,
        "status": None,
        "server_name": None,
        "payload": None,
        "verify_certificate": True,
        "service": service.name if service else "system",
        "after_marker": marker,
    }
    return body | {key: value for key, value in how.items() if key in body}


def public(site: Site) -> list[tuple[int, str]]:
    """The home's outside addresses that are addresses, not names."""
    router = site.values["site_router"]
    found = [router["public_address"], router["public_address6"]]
    return [(addresses.version(text), text) for text in found if text and addresses.address(text) is not None]


def through_router(site: Site, hosts: dict[str, Tree], forwards: list[Tree]) -> list[Tree]:
    """Forwarded ports as the Internet sees them."""
    found = []
    for forward in forwards:
        service = site.services[forward["service"]]
        name = next((one for one in service.hosts if site.hosts[one].address == forward["to"]), service.hosts[0])
        rules = [*hosts[name]["firewall"]["host"], *hosts[name]["firewall"]["containers"]]
        rule = next(
            (one for one in rules if one["port"] == forward["port"] and one["protocol"] == forward["protocol"]), None
        )
        for version, address in public(site):
            if rule is not None and version == 4:
                found.append(
                    entry(
                        "router",
                        address,
                        4,
                        forward["port"],
                        forward["protocol"],
                        "internet",
                        service,
                        rule.get("marker"),
                        **conversation(site, service, {**rule, "service": service.name}),
                    )
                )
    return found


def names(site: Site, hosts: dict[str, Tree], routes: list[Tree], forwards: list[Tree]) -> list[Tree]:
    """Public names, asked through the proxy from each zone that may use them, and from the Internet in any case: a name
    that is not for it must be refused by the proxy."""
    found = []
    for route in routes:
        proxy, service = site.hosts[route["host"]], site.services[route["service"]]
        asked = [
            (zone, proxy.name, proxy.address)
            for zone in ("lan", "vpn")
            if site.zones.get(zone) and may(site, route, zone)
        ]
        outside: list[str] = []
        if any(one["port"] == 443 and one["to"] == proxy.address for one in forwards):
            outside = [address for version, address in public(site) if version == 4]
        how: Tree = {
            "speak": "https",
            "path": health_path(service) or route["path"],
            "server_name": route["domains"][0],
        }
        for zone, name, address in asked:
            found.append(entry(name, address, 4, 443, "tcp", zone, service, None, **how))
        refused = {} if route["allow"] == "any" else {"expect": "refused", "status": REFUSED}
        for address in outside:
            found.append(entry("router", address, 4, 443, "tcp", "internet", service, None, **how, **refused))
    return found


def may(site: Site, route: Tree, zone: str) -> bool:
    if route["allow"] == "any":
        return True
    return any(addresses.contains(one, network) for one in route["allow"] for network in site.zones[zone])


def health_path(service: Service) -> str | None:
    port = service.ports.get(str((service.route or {}).get("port")))
    container = service.containers.get(port.container) if port else None
    health = (container or {}).get("health") or {}
    return health.get("http") if health.get("port") == (port.name if port else None) else None


def unique(found: list[Tree]) -> list[Tree]:
    kept: dict[tuple[object, ...], Tree] = {}
    for one in found:
        key = tuple(one[name] for name in ("zone", "address", "address6", "protocol", "port", "server_name"))
        kept.setdefault(key, one)
    return list(kept.values())


def silent(site: Site, one: Tree) -> bool:
    """VPN servers answer only to who holds a key: from outside such a port looks closed, open or not."""
    service = site.services.get(one["service"])
    return service is not None and any(
        port.silent and (port.protocol, port.number) == (one["protocol"], one["port"])
        for port in service.ports.values()
    )


def unprobed(site: Site) -> list[Tree]:
    """Ports that are open without answering strangers: said, never shown as proved."""
    reason = "answers only to who holds a key"
    return [
        {"host": name, "service": service.name, "port": port.number, "protocol": port.protocol, "reason": reason}
        for service in site.services.values()
        for port in service.ports.values()
        if port.silent
        for name in service.hosts
    ]


def targets(site: Site) -> list[Tree]:
    """Addresses whose every port is looked at: all hosts and nodes, and the router, but that only from outside:
    what it offers at home is its owner's business. ``zone`` limits a target to askers of that zone."""
    found = [
        {"name": host.name, "address": address}
        for host in site.hosts.values()
        if not host.prober_zone
        for address in host.addresses
        # Windows and the Debian inside share theirs
        if host.windows is None or address not in [other for one in site.inside(host) for other in one.addresses]
    ]
    return found + [{"name": "router", "address": address, "zone": "internet"} for _version, address in public(site)]
