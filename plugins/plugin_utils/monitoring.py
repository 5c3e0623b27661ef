# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Scrape targets, alert rules and tiles."""

from __future__ import annotations

from .model import Host, Service, Site, Tree
from .ports import metrics_port
from .references import public_url
from .routes import alias


def scrape(site: Site, host: Host) -> list[Tree]:
    """What the Prometheus of this host asks: containers beside it by name, others by address."""
    if host.name not in site.provider_hosts("monitoring"):
        return []
    found = []
    for service in site.services.values():
        port = metrics_port(service)
        if port is None:
            continue
        targets, hosts = [], {}
        for name in service.hosts:
            if site.hosts[name].windows is not None:
                continue
            if name == host.name:
                inside = f"{alias(service, port.container)}:{port.inside}"
                target = f"host.docker.internal:{port.number}" if port.shared else inside
            else:
                target = f"{site.hosts[name].address}:{port.number}"
            targets.append(target)
            hosts[target] = name
        if targets:
            found.append(
                {
                    "job": service.name,
                    "service": service.name,
                    "targets": targets,
                    "hosts": hosts,
                    "path": service.spec["metrics"]["path"],
                }
            )
    return found


def target_files(site: Site, host: Host) -> list[Tree]:
    """One file per scraped service for Prometheus' file discovery: a service's own, so that its tag brings it along."""
    found = []
    provider = site.provider("monitoring")
    for entry in scrape(site, host):
        groups = [
            {
                "targets": [target],
                "labels": {"job": entry["job"], "__metrics_path__": entry["path"], "host": entry["hosts"][target]},
            }
            for target in entry["targets"]
        ]
        path = f"{site.root}/services/{provider.name if provider else ''}/files/config/targets/{entry['service']}.json"
        found.append({"path": path, "service": entry["service"], "mode": "0644", "owner": 0, "group": 0,
                      "secret": False, "yaml": groups})  # fmt: skip
    return found


def prometheus_url(site: Site, host: Host) -> str | None:
    """Prometheus as its own host reaches it."""
    provider = site.provider("monitoring")
    if provider is None or host.name not in provider.hosts or not provider.ports:
        return None
    return f"http://127.0.0.1:{next(iter(provider.ports.values())).number}"


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
