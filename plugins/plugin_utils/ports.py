# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which ports a host publishes, and to whom: the one place where `reach` becomes sources."""

from __future__ import annotations

import re
from dataclasses import dataclass

from . import addresses, network
from .model import Host, Port, Service, Site, Tree
from .problems import Where

DATABASE_IMAGE = re.compile(r"(postgres|mariadb|mysql|valkey|redis|mongo)")
DATABASE_PORTS = {5432: "PostgreSQL", 3306: "MariaDB", 6379: "Redis"}


@dataclass(frozen=True)
class Opening:
    """A port of a service on one host, with the sources that may reach it from outside the host."""

    service: Service
    port: Port
    sources: tuple[str, ...]
    local: bool  # also needed on the host itself, by the role that configures the application or asks Prometheus
    marker: str = ""

    @property
    def published(self) -> bool:
        """Whether it takes a port number of the host."""
        return self.port.shared or bool(self.sources) or self.local


def openings(site: Site, host: Host) -> list[Opening]:
    """All ports of a host's services."""
    found = []
    for service in site.on(host.name):
        local = application_port(service) or monitoring_port(service)
        for port in service.ports.values():
            found.append(
                Opening(service, port, tuple(sources(site, host, service, port)), port is local, marker(service))
            )
    return found


def sources(site: Site, host: Host, service: Service, port: Port) -> list[str]:
    """Who may reach the port from elsewhere."""
    zones = list(port.reach)
    if is_measured(site, service, port):
        zones.append("monitoring")
    own = {addresses.single(address) for address in host.addresses}
    return [network_ for network_ in network.cidrs(site, zones) if network_ not in own]


def measured(site: Site, service: Service) -> list[tuple[Port, Tree]]:
    """The ports that Prometheus asks, each with the catalog's entry of `metrics`; none without Prometheus. Ports of
    containers that are left out are not there."""
    if site.provider("monitoring") is None:
        return []
    found = [(service.ports[one["port"]], one) for one in service.spec["metrics"] if one["port"] in service.ports]
    return [(port, one) for port, one in found if not one["hidden"] or proxy_alone(site, service, port)]


def proxy_alone(site: Site, service: Service, port: Port) -> bool:
    """Whether people come to the port through the proxy only: nobody's zone reaches it, no tunnel leads there."""
    tunnelled = site.provider("tunnel") is not None and "internet" in (service.route or {}).get("allow", [])
    return not tunnelled and not set(port.reach) - {"edge", "monitoring"}


def is_measured(site: Site, service: Service, port: Port) -> bool:
    return any(one is port for one, _entry in measured(site, service))


def application_port(service: Service) -> Port | None:
    """The port that the configuring role speaks to: `admin`, the route's, `web`, else the first."""
    if not service.spec["configure"]:
        return None
    names = ["admin", (service.route or {}).get("port"), "web", *service.ports]
    return next((service.ports[name] for name in names if name in service.ports), None)


def monitoring_port(service: Service) -> Port | None:
    """Where Prometheus answers: the first port of what provides it."""
    return next(iter(service.ports.values()), None) if service.entry.provides() == "monitoring" else None


def marker(service: Service) -> str:
    """Path of the file that says a first administrator exists."""
    volume, _slash, name = str(service.spec["setup_marker"] or "").partition("/")
    return f"{service.volumes[volume].path}/{name}" if volume in service.volumes else ""


def image_of(opening: Opening) -> str:
    container = opening.service.containers.get(opening.port.container)
    return str(container["image"]).rpartition(":")[0] if container else ""


def check(site: Site, host: Host, found: list[Opening]) -> None:
    """Collisions, and ports that must never be open."""
    taken: dict[tuple[str, int], str] = {("tcp", site.values["site_admin"]["ssh_port"]): "SSH"}
    for opening in found:
        port, where = opening.port, place_of(opening)
        if opening.published:
            key = (port.protocol, port.number)
            owner = taken.setdefault(key, f"{opening.service.name} ({port.name})")
            if owner != f"{opening.service.name} ({port.name})":
                site.problems.add(
                    "port-taken",
                    where,
                    f"port {port.number}/{port.protocol} on {host.name} belongs to {owner} already",
                    "Move one to another host, or give it another port: "
                    f"site_services.{opening.service.name}.ports: {{{port.name}: <number>}}",
                )
        check_database(site, opening)
        check_internet(site, opening)


def place_of(opening: Opening) -> Where:
    port = opening.port
    if port.name in opening.service.placement["ports"]:
        return opening.service.where.at("ports", port.name)
    if port.container:
        return opening.service.entry.where.at("containers", port.container, "ports", port.name)
    return opening.service.entry.where.at("system", "ports", port.name)


def check_database(site: Site, opening: Opening) -> None:
    kind = DATABASE_PORTS.get(opening.port.inside) or (
        "the database" if DATABASE_IMAGE.search(image_of(opening)) else ""
    )
    metrics = is_measured(site, opening.service, opening.port)
    if kind and opening.port.container and not metrics and (opening.sources or opening.port.reach):
        site.problems.add(
            "database-published",
            place_of(opening),
            f"{kind} of {opening.service.name} would be reachable from {', '.join(opening.port.reach)}",
            "Remove the port: containers of one service reach each other by name; or give it `reach: []`",
        )


def check_internet(site: Site, opening: Opening) -> None:
    """What has a public name is reached through the proxy, where its login and certificate are."""
    service = opening.service
    if "internet" in opening.port.reach and service.route and service.entry.provides() != "proxy":
        site.problems.add(
            "past-the-proxy",
            place_of(opening),
            f"{service.name} would be open to the Internet past the proxy",
            "Replace internet by edge in `reach`; `route.allow` opens its name",
        )
    if (
        "internet" in opening.port.reach
        and service.spec["configure"]
        and not opening.marker
        and service.entry.provides() != "proxy"
    ):
        site.problems.add(
            "setup-in-public",
            place_of(opening),
            f"anybody could set up {service.name} before its owner",
            "Add `setup_marker`",
        )
