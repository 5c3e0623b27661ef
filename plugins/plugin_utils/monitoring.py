# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Scrape targets, alert rules and tiles."""

from __future__ import annotations

from .model import Host, Port, Service, Site, Tree
from .ports import measured, monitoring_port
from .references import public_url
from .routes import alias


def scrape(site: Site, host: Host) -> list[Tree]:
    """What the Prometheus of this host asks: containers beside it by name, others by address."""
    if host.name not in site.provider_hosts("monitoring"):
        return []
    found = []
    for service in site.services.values():
        for port, entry in measured(site, service):
            measured_on = [name for name in service.hosts if site.hosts[name].windows is None]
            hosts = {target_of(site, host, service, port, name): name for name in measured_on}
            if hosts:
                body = {"job": service.name, "service": service.name, "path": entry["path"]}
                found.append(body | {"targets": list(hosts), "hosts": hosts})
    return found


def target_of(site: Site, host: Host, service: Service, port: Port, name: str) -> str:
    """How the Prometheus of this host reaches a port of a service on the host ``name``."""
    if name != host.name:
        return f"{site.hosts[name].address}:{port.number}"
    if port.shared:
        return f"host.docker.internal:{port.number}"
    return f"{alias(service, port.container)}:{port.inside}"


def target_files(site: Site, host: Host) -> list[Tree]:
    """One file per scraped service for Prometheus' file discovery: a service's own, so that its tag brings it along."""
    groups: dict[str, list[Tree]] = {}
    for entry in scrape(site, host):
        for target in entry["targets"]:
            labels = {"job": entry["job"], "__metrics_path__": entry["path"], "host": entry["hosts"][target]}
            groups.setdefault(entry["service"], []).append({"targets": [target], "labels": labels})
    provider = site.provider("monitoring")
    folder = f"{site.root}/services/{provider.name if provider else ''}/files/config/targets"
    body = {"mode": "0644", "owner": 0, "group": 0, "secret": False}
    return [
        {"path": f"{folder}/{service}.json", "service": service, **body, "yaml": found}
        for service, found in groups.items()
    ]


def prometheus_url(site: Site, host: Host) -> str | None:
    """Prometheus as its own host reaches it."""
    provider = site.provider("monitoring")
    port = monitoring_port(provider) if provider and host.name in provider.hosts else None
    return f"http://127.0.0.1:{port.number}" if port else None


def alerts(site: Site) -> list[Tree]:
    return [
        {"service": service.name, "file": service.entry.alerts}
        for service in site.services.values()
        if service.entry.alerts
    ]


def tiles(site: Site) -> list[Tree]:
    return [tile(site, service) for service in site.services.values() if service.spec["tile"] is not None]


def tile(site: Site, service: Service) -> Tree:
    body = service.spec["tile"]
    return {
        "service": service.name,
        "group": body["group"],
        "icon": body["icon"],
        "title": body["title"] or service.name.replace("-", " ").title(),
        "summary": service.spec["summary"],
        "url": public_url(site, service),
    }
