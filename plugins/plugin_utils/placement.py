# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which service runs where, and what the inventory changes about it."""

from __future__ import annotations

import copy
from typing import Any

from . import catalog_checks, ingest, references
from .model import Entry, Host, Port, Service, Site, Tree
from .problems import Where, suggest

ON_WINDOWS = ("backup", "ingest", "tunnel")
"""What runs on Windows itself; everything else runs in the Debian inside."""


def place(site: Site) -> None:
    """Fill ``site.services`` from ``site_services``, without the profiles that are left out."""
    left_out = check_profiles(site)
    for name, body in site.values["site_services"].items():
        if name in left_out:
            continue
        where = site.where("site_services", name)
        entry = site.catalog.get(name)
        if entry is None:
            otherwise = f"Add inventories/<env>/catalog/{name}/service.yml, or remove it"
            site.problems.add(
                "unknown-service", where, "no such service in the catalog", suggest(name, site.catalog, otherwise)
            )
            continue
        hosts = check_hosts(site, where.at("hosts"), body["hosts"], entry)
        service = Service(entry, where, hosts, body)
        service.containers = pick_containers(site, service)
        service.route = merge_route(entry, body)
        site.services[name] = service
    for service in site.services.values():
        service.ports = find_ports(site, service)
    check_providers(site)


def check_profiles(site: Site) -> set[str]:
    """Names of the services that are left out: as if nobody had placed them."""
    profiles, left_out = site.values["site_profiles"], site.values["site_leave_out"]
    placed = site.values["site_services"]
    for profile, members in profiles.items():
        for index, name in enumerate(members):
            if name not in placed:
                otherwise = "Place it in site_services, or take it out of the profile"
                site.problems.add(
                    "profile-of-nothing",
                    site.where("site_profiles", profile, index),
                    f"site_services does not place {name!r}",
                    suggest(name, placed, otherwise),
                )
    for index, profile in enumerate(left_out):
        if profile not in profiles:
            otherwise = f"Declare it: site_profiles: {{{profile}: [<service>, …]}}"
            site.problems.add(
                "unknown-profile",
                site.where("site_leave_out", index),
                f"no profile is called {profile!r}",
                suggest(profile, profiles, otherwise),
            )
    return {name for profile in left_out for name in profiles.get(profile, [])}


def check_hosts(site: Site, where: Where, hosts: list[str], entry: Entry) -> list[str]:
    good = []
    managed = [host.name for host in site.managed()]
    for name in hosts:
        host = site.hosts.get(name)
        if host is None:
            site.problems.add("unknown-host", where, f"no host {name!r} in the inventory", suggest(name, managed))
        elif host.node is not None or host.prober_zone:
            kind = "a Proxmox node" if host.node is not None else "a prober"
            site.problems.add(
                "host-runs-nothing", where, f"{name} is {kind} and runs no services", suggest(name, managed)
            )
        elif host.windows is not None and entry.provides() not in ON_WINDOWS:
            known = [other.name for other in site.inside(host)] or managed
            site.problems.add(
                "windows-runs-not",
                where,
                f"{name} is Windows, where {entry.name} does not run",
                f"Place it on the Debian inside: {', '.join(known)}",
            )
        elif name in good:
            site.problems.add("host-twice", where, f"{name} is named twice", "Name each host once")
        else:
            good.append(name)
    return good


def pick_containers(site: Site, service: Service) -> dict[str, Tree]:
    """The catalog's containers with the inventory's `with`, `without`, `environment`, `memory` and `images`."""
    declared, body = service.spec["containers"], service.placement
    for key in ("with", "without", "memory", "images"):
        for name in body[key]:
            if name not in declared:
                site.problems.add(
                    "unknown-container",
                    service.where.at(key),
                    f"{service.name} has no container {name!r}",
                    suggest(name, declared),
                )
    chosen = {}
    for name, container in declared.items():
        if name in body["without"] or (container["optional"] and name not in body["with"]):
            continue
        chosen[name] = copy.deepcopy(container)
        chosen[name]["environment"].update(body["environment"])
        if name in body["memory"]:
            chosen[name]["memory"] = body["memory"][name]
        if name in body["images"]:
            catalog_checks.check_image(body["images"][name], service.where.at("images", name), site.problems)
            chosen[name]["image"] = body["images"][name]
    for name, container in chosen.items():
        for other in container["after"]:
            if other in declared and other not in chosen:
                site.problems.add(
                    "after-left-out",
                    service.where.at("without"),
                    f"container {name} waits for {other}, which is left out",
                    f"Leave out {name} too, or keep {other}",
                )
    return chosen


def merge_route(entry: Entry, body: Tree) -> Tree | None:
    if entry.spec["route"] is None:
        return None
    route = dict(entry.spec["route"])
    route.update({key: value for key, value in (body["route"] or {}).items() if value is not None})
    return route


def find_ports(site: Site, service: Service) -> dict[str, Port]:
    """All ports of a placed service with the inventory's changes."""
    changes: Tree = service.placement["ports"]
    ports: dict[str, Port] = {}
    sources: list[tuple[str, bool, Tree]] = [
        (name, body["host_network"], body["ports"]) for name, body in service.containers.items()
    ]
    sources.append(("", True, (service.system or {}).get("ports") or {}))
    for container, shared, declared in sources:
        for name, port in declared.items():
            ports[name] = make_port(site, service, container, shared, name, port, changes.get(name) or {})
    for name in changes:
        if name not in ports:
            site.problems.add(
                "unknown-port",
                service.where.at("ports", name),
                f"{service.name} has no port of that name",
                suggest(name, ports),
            )
    return ports


def make_port(site: Site, service: Service, container: str, shared: bool, name: str, port: Tree, change: Tree) -> Port:
    """A declared port with its change."""
    number = change.get("port") or port["port"]
    if shared and container and change.get("port"):
        site.problems.add(
            "port-of-host-network",
            service.where.at("ports", name),
            f"container {container} shares the host's network and picks its port itself",
            "Change the application's own setting",
        )
        number = port["port"]
    return Port(
        service=service.name,
        name=name,
        number=number,
        inside=port["port"] if container else number,
        protocol=port["protocol"],
        reach=tuple(first(change.get("reach"), port["reach"], service.spec["reach"], [])),
        container=container,
        shared=shared,
        silent=port["protocol"] == "udp" and name == "vpn" if port["silent"] is None else port["silent"],
    )


def first(*values: Any) -> Any:
    return next((value for value in values if value is not None), None)


def check_providers(site: Site) -> None:
    """A site has one proxy, one tunnel and one monitoring service."""
    for what in ("proxy", "tunnel", "monitoring"):
        providers = [service for service in site.services.values() if service.entry.provides() == what]
        if len(providers) > 1:
            names = " and ".join(service.name for service in providers)
            site.problems.add("provider-twice", providers[1].where, f"{names} both provide {what}", "Place one of them")
        if providers and len(providers[0].hosts) > 1:
            site.problems.add(
                "provider-on-two-hosts",
                providers[0].where.at("hosts"),
                f"{what} runs on {len(providers[0].hosts)} hosts",
                "Place it on one host",
            )


def resolve_settings(site: Site) -> None:
    """Merge settings and replace references, once placement and volumes are known."""
    for service in site.services.values():
        merged = merge(copy.deepcopy(service.spec["settings"]), service.placement["settings"])
        service.settings = merged
        for name, container in service.containers.items():
            where = service.entry.where.at("containers", name, "environment")
            values = references.Values(site, service, service.hosts[0] if service.hosts else "")
            references.check(container["environment"], values, where)
        values = references.Values(site, service, service.hosts[0] if service.hosts else "")
        references.check(service.spec["settings"], values, service.entry.where.at("settings"))
        references.check(service.placement["settings"], values, service.where.at("settings"))
        ingest.clean(site, service)


def merge(base: Tree, over: Tree) -> Tree:
    """``over`` laid over ``base``: mappings merge, everything else is replaced."""
    for key, value in over.items():
        if isinstance(value, dict) and isinstance(base.get(key), dict):
            base[key] = merge(base[key], value)
        else:
            base[key] = value
    return base


def gpu_on(host: Host) -> bool:
    return bool((host.guest or {}).get("gpu")) or (host.guest is None and host.gpu)
