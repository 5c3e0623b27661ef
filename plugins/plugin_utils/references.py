# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``${...}`` in environments and settings: plain substitution from the site."""

from __future__ import annotations

import re
from typing import Any

from .model import Host, Service, Site, Tree
from .problems import Where, suggest

PATTERN = re.compile(r"\$\{([^}]*)\}")
PLAIN = (
    "domain",
    "timezone",
    "email",
    "url",
    "name",
    "host.name",
    "host.address",
    "host.address6",
    "network.gateway",
    "nameservers",
)


class Values:
    """What references mean for a service on a host."""

    def __init__(self, site: Site, service: Service, host: str) -> None:
        self.site, self.service, self.host = site, service, host

    def get(self, name: str) -> str | None:
        """The value, or None when the reference means nothing."""
        parts = name.split(".")
        if name in PLAIN:
            return self.plain(name)
        if len(parts) == 3 and parts[0] == "service" and parts[1] in self.site.catalog:
            return self.of_service(parts[1], parts[2])
        if len(parts) == 3 and parts[0] == "volume" and parts[1] in self.site.catalog:
            return self.of_volume(parts[1], parts[2])
        if len(parts) == 2 and parts[0] == "zone" and parts[1] in self.site.zones:
            return ",".join(self.site.zones[parts[1]])
        return None

    def plain(self, name: str) -> str:
        values = self.site.values
        host = self.site.hosts.get(self.host)
        return str(
            {
                "domain": values["site_domain"],
                "timezone": values["site_timezone"],
                "email": values["site_email"],
                "name": values["site_name"],
                "url": public_url(self.site, self.service),
                "host.name": self.host,
                "host.address": host.address if host else "",
                "host.address6": host.address6 if host else "",
                "network.gateway": values["site_network"]["gateway"],
                "nameservers": ",".join(values["site_network"]["nameservers"]),
            }[name]
            or ""
        )

    def of_service(self, name: str, what: str) -> str | None:
        service = self.site.services.get(name)
        if what not in ("url", "address"):
            return None
        if service is None:
            return ""
        if what == "url":
            return public_url(self.site, service)
        host = self.site.hosts.get(service.hosts[0]) if service.hosts else None
        return host.address if host else ""

    def of_volume(self, name: str, volume: str) -> str | None:
        """Its path on this host; empty where the service does not run."""
        if volume not in self.site.catalog[name].spec["volumes"]:
            return None
        service = self.site.services.get(name)
        if service is None or self.host not in service.hosts or volume not in service.volumes:
            return ""
        return service.volumes[volume].path

    def known(self) -> list[str]:
        zones = [f"zone.{name}" for name in self.site.zones]
        return [*PLAIN, *zones, *(f"service.{name}.url" for name in self.site.catalog)]


def domain_of(site: Site, name: str) -> str:
    domain = str(site.values["site_domain"] or "")
    return domain if name == "@" else f"{name}.{domain}"


def public_url(site: Site, service: Service) -> str:
    """https://name.domain, or the address where nobody publishes that name."""
    if service.route is not None and (
        site.provider("proxy") is not None
        or (site.provider("tunnel") is not None and "internet" in service.route["allow"])
    ):
        return f"https://{domain_of(site, str(service.route['name']))}"
    host = site.hosts.get(service.hosts[0]) if service.hosts else None
    port = next(iter(service.ports.values()), None)
    return f"http://{host.address}:{port.number}" if host and port else ""


def replace(value: Any, values: Values) -> Any:
    """``value`` with its references replaced."""
    if isinstance(value, dict):
        return {key: replace(item, values) for key, item in value.items()}
    if isinstance(value, list):
        return [replace(item, values) for item in value]
    if not isinstance(value, str) or "${" not in value:
        return value
    return PATTERN.sub(lambda match: values.get(match[1]) or "", value)


def check(value: Any, values: Values, where: Where) -> None:
    """Report every reference that means nothing."""
    if isinstance(value, dict):
        for key, item in value.items():
            check(item, values, where.at(key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            check(item, values, where.at(index))
    elif isinstance(value, str):
        for name in PATTERN.findall(value):
            if values.get(name) is None:
                values.site.problems.add(
                    "unknown-reference", where, f"${{{name}}} means nothing here", suggest(name, values.known())
                )


def settings(site: Site, host: Host, service: Service) -> Tree:
    """The service's settings on that host."""
    return dict(replace(service.settings, Values(site, service, host.name)))
