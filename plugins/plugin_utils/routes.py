# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Public names: from the proxy to the service, and what the router forwards."""

from __future__ import annotations

from . import addresses, network
from .model import Service, Site, Tree
from .ports import measured
from .references import domain_of


def build(site: Site) -> list[Tree]:
    """Names that the proxy serves. What the tunnel publishes is checked here too, its names are in cloudflare.py."""
    proxy_hosts = site.provider_hosts("proxy")
    found: list[Tree] = []
    names: dict[str, str] = {}
    for service in site.services.values():
        if service.route is None:
            continue
        if not site.doors():
            site.problems.add(
                "route-without-proxy",
                service.entry.where.at("route"),
                f"{service.name} has a public name, but no placed service is a proxy",
                "Place nginx-proxy-manager: site_services: {nginx-proxy-manager: {hosts: [...]}}",
            )
            continue
        if not service.hosts or not site.door_hosts():
            continue
        domain = domain_of(site, str(service.route["name"]))
        if domain in names:
            site.problems.add(
                "name-twice",
                service.where.at("route", "name"),
                f"{domain} is the name of {names[domain]} already",
                f"Give it another: site_services.{service.name}.route.name",
            )
        names[domain] = service.name
        check_login(site, service)
        upstream = find_upstream(site, service, proxy_hosts[0]) if proxy_hosts else None
        if upstream is not None:
            found.append(entry(site, service, domain, upstream, proxy_hosts[0]))
    return found


def through_tunnel(site: Site) -> list[Service]:
    """Services whose names the tunnel publishes: those that the Internet may ask for."""
    if not site.provider_hosts("tunnel"):
        return []
    return [
        service
        for service in site.services.values()
        if service.route is not None and service.hosts and "internet" in service.route["allow"]
    ]


def check_login(site: Site, service: Service) -> None:
    route = service.route or {}
    if route["login"] != "none":
        return
    key = (
        service.where.at("route", "login")
        if (service.placement["route"] or {}).get("login")
        else service.entry.where.at("route", "login")
    )
    if "internet" in route["allow"]:
        site.problems.add(
            "internet-without-login",
            key,
            f"{service.name} would be open to the Internet without login",
            "Say login: proxy (the proxy asks) or application, or remove internet from allow",
        )


def find_upstream(site: Site, service: Service, proxy_host: str, who: str = "proxy") -> Tree | None:
    """How the proxy (or the tunnel) reaches it: by container name on its own host, else by address."""
    route = service.route or {}
    port = service.ports.get(str(route["port"]))
    if port is None:
        return None
    host = site.hosts[service.hosts[0]]
    if proxy_host in service.hosts:
        if port.shared:
            return {
                "host": proxy_host,
                "address": "host.docker.internal",
                "port": port.number,
                "scheme": route["scheme"],
            }
        return {
            "host": proxy_host,
            "address": alias(service, port.container),
            "port": port.inside,
            "scheme": route["scheme"],
        }
    sources = network.cidrs(site, port.reach)
    address = site.hosts[proxy_host].address
    if address and not any(addresses.contains(source, address) for source in sources):
        site.problems.add(
            "proxy-cannot-reach",
            service.entry.where.at("reach"),
            f"the {who} on {proxy_host} may not reach {service.name}'s port {port.name} on {host.name}",
            "Add edge to `reach`",
        )
    return {"host": host.name, "address": host.address, "port": port.number, "scheme": route["scheme"]}


def alias(service: Service, container: str) -> str:
    """A container's name on networks that several projects share."""
    return (
        service.name
        if container in ("", service.name) or len(service.containers) == 1
        else f"{service.name}-{container}"
    )


def entry(site: Site, service: Service, domain: str, upstream: Tree, proxy_host: str) -> Tree:
    route = service.route or {}
    # where the tunnel publishes a name, the Internet has it from there: the proxy serves the home alone, and cannot be
    # used to get past Access
    zones = list(site.values["site_zones"]) if service in through_tunnel(site) else list(route["allow"])
    allow = network.cidrs(site, zones)
    return {
        "service": service.name,
        "name": route["name"],
        "domains": [domain],
        "upstream": upstream,
        "allow": "any" if addresses.ANY in allow else allow,
        "zones": zones,
        "login": route["login"],
        "websockets": route["websockets"],
        "path": route["path"],
        "hidden": [one["path"] for _port, one in measured(site, service) if one["hidden"]],
        "host": proxy_host,
    }


def names(site: Site, routes: list[Tree]) -> list[Tree]:
    """DNS: where each public name leads from inside, and whether it exists outside."""
    found = []
    for route in routes:
        proxy = site.hosts[route["host"]]
        for domain in route["domains"]:
            found.append(
                {
                    "name": domain,
                    "address": proxy.address,
                    "address6": proxy.address6 or None,
                    "public": route["allow"] == "any" or site.services[route["service"]] in through_tunnel(site),
                    "service": route["service"],
                }
            )
    return found


def forwards(site: Site) -> list[Tree]:
    """Ports that the router must forward: those open to the Internet."""
    found: dict[tuple[str, int], Tree] = {}
    for service in site.services.values():
        for port in service.ports.values():
            if "internet" not in port.reach:
                continue
            for name in service.hosts:
                one = {
                    "protocol": port.protocol,
                    "port": port.number,
                    "to": site.hosts[name].address,
                    "service": service.name,
                }
                other = found.setdefault((port.protocol, port.number), one)
                if other["to"] != one["to"]:
                    site.problems.add(
                        "forward-twice",
                        service.where.at("hosts"),
                        f"the router can forward port {port.number}/{port.protocol} to one machine, but "
                        f"{other['to']} and {one['to']} want it",
                        "Place it on one host, or give it another port",
                    )
    derived = list(found.values())
    check_written(site, derived)
    return derived


def check_written(site: Site, derived: list[Tree]) -> None:
    """Forwards written by hand must be those that are derived."""
    written = site.values["site_router"]["forwards"]
    if not written:
        return
    wanted = {(one["protocol"], one["port"], one["to"]) for one in derived}
    for index, one in enumerate(written):
        key = (one.get("protocol"), one.get("port"), one.get("to")) if isinstance(one, dict) else None
        if key not in wanted:
            site.problems.add(
                "forward-unneeded",
                site.where("site_router", "forwards", index),
                "no service wants this forward",
                "Remove it; the plan derives the forwards",
            )
