# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From declarations to the plan: every step in its order, all mistakes at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import (
    addresses,
    backup,
    capacity,
    catalog,
    cloudflare,
    compose,
    exposure,
    files,
    firewall,
    guests,
    ingest,
    monitoring,
    mounts,
    network,
    nfs,
    nodes,
    placement,
    ports,
    probes,
    raspberrypi,
    rclone,
    references,
    routes,
    secrets,
    storage,
    upgrade,
    windows,
    windows_checks,
)
from . import site as site_loader
from .model import Host, Service, Site, Tree
from .problems import Problems, Where, suggest

ACCEPTABLE = {
    "arc-without-limit": "ZFS may take half of the memory",
    "backup-on-protected-disk": "backups on the disk they protect",
    "backup-repository-too-small": "a repository smaller than its sources",
    "backup-without-off-site": "no copy outside the house",
    "backup-without-restic": "backups are declared, nothing makes them",
    "database-on-network-storage": "a database on NFS or rclone",
    "gpu-optional-missing": "a service could use a GPU that its host has not",
    "name-without-free-certificate": "a name that Cloudflare's free certificate does not cover",
    "nfs-backup-as-nobody": "a backup of files on NFS that only their owner may read",
    "no-backup": "a service's own data is in no backup",
    "pool-nearly-full": "quotas may fill a ZFS pool",
    "recovery-kit-missing": "nothing to rebuild from when this computer is lost",
    "recovery-kit-old": "the recovery kit lacks the newest secrets",
    "platform-unknown": "an image that nobody looked for on this processor",
    "special-without-mirror": "a pool that one special device can take with it",
    "storage-shared-with-edge": "the Internet's host writes where private hosts read",
}


@dataclass
class Inputs:
    """What the plan is made of, as plain data."""

    values: Mapping[str, Any]
    hosts: Mapping[str, Any]
    catalogs: Iterable[tuple[Path, bool]]
    places: dict[str, str] = field(default_factory=dict)
    public_keys: list[str] = field(default_factory=list)
    known_secrets: Iterable[str] = ()
    kit: str = ""


@dataclass
class Result:
    plan: Tree
    problems: Problems


def build(inputs: Inputs) -> Result:
    """The plan, or what hinders it: ``problems.found`` must be empty before a plan is used."""
    problems = Problems()
    site = site_loader.load(
        inputs.values, inputs.hosts, inputs.places, catalog.load(inputs.catalogs, problems), problems
    )
    given = site.values["site_secrets"]
    site.given_secrets = frozenset([*given, *inputs.known_secrets])
    site.public_keys = [*site.values["site_admin"]["ssh_keys"], *inputs.public_keys]
    placement.place(site)
    network.resolve(site)
    network.check_reach(site)
    storage.resolve(site)
    placement.resolve_settings(site)
    check_site(site)
    check_kit(site, inputs.kit)
    return Result(assemble(site), problems)


def assemble(site: Site) -> Tree:
    guest_list = guests.build(site)
    guests.check_storage(site)
    capacity.check(site)
    backup.check(site)
    ingest.check(site)
    rclone.check(site)
    nfs.check(site)
    upgrade.check(site)
    windows_checks.check(site)
    exposure.check_shares(site)
    raspberrypi.check(site)
    exposure.check_tailnet(site)
    plans = {host.name: host_plan(site, host) for host in site.managed()}
    found_routes = routes.build(site)
    forwards = routes.forwards(site)
    found_cloudflare = cloudflare.build(site)
    for name, plan in plans.items():
        finish_applications(site, plan, found_routes)
        plan["nfs"] = nfs.server_plan(site, site.hosts[name], plans)
    secret_list = secrets.build(site)
    machines = [host for host in site.hosts.values() if host.node is not None]
    node_rules = {host.name: firewall.node_rules(site, host) for host in machines}
    node_plans = {
        host.name: nodes.node_plan(site, host, firewall.proxmox(site, host, plans))
        | {"nfs": nfs.server_plan(site, host, plans)}
        for host in machines
    }
    found_probes = probes.build(site, plans, node_rules | windows.probed(site), found_routes, forwards)
    windows_plans = windows.build(site, plans)
    for plan in plans.values():
        plan["firewall"]["host"] = firewall.plain(plan["firewall"]["host"])
    return {
        "site": site_plan(site, found_routes),
        "warnings": warnings(site),
        "secrets": secret_list,
        "known_hosts": secrets.known_hosts(site),
        "nodes": node_plans,
        "guests": guest_list,
        "hosts": plans,
        "windows": windows_plans,
        "edge": [name for name in site.door_hosts() if name in plans],
        "routes": found_routes,
        "cloudflare": found_cloudflare,
        "names": routes.names(site, found_routes),
        "alerts": monitoring.alerts(site),
        "tiles": monitoring.tiles(site),
        "forwards": forwards,
        "targets": probes.targets(site),
        "flows": [
            *(flow for host in site.managed() for flow in firewall.flows(site, host, ports.openings(site, host))),
            *windows.flows(site),
        ],
        "probes": found_probes,
        "unprobed": [*probes.unprobed(site), *cloudflare.unprobed(found_cloudflare)],
        "catalog": {service.name: service.spec["summary"] for service in site.services.values()},
        "zones": site.zones,
        "retirable": upgrade.retirable(site),
    }


def site_plan(site: Site, found_routes: list[Tree]) -> Tree:
    values = site.values
    domains = [domain for route in found_routes for domain in route["domains"]]
    return {
        "name": values["site_name"],
        "domain": values["site_domain"],
        "email": values["site_email"],
        "timezone": values["site_timezone"],
        "admin": {**values["site_admin"], "ssh_keys": list(site.public_keys)},
        "registry": values["site_registry"],
        "root": site.root,
        "tls": {"issuer": values["site_tls"]["issuer"], "domains": domains or [values["site_domain"]]},
        "router": {key: values["site_router"][key] for key in ("public_address", "public_address6")},
        "network": values["site_network"],
        "container_pool": addresses.second_half(values["site_network"]["container_pool"]),
    }


def host_plan(site: Site, host: Host) -> Tree:
    openings = ports.openings(site, host)
    ports.check(site, host, openings)
    exposure.check(site, host, openings)
    compose.check_names(site, host)
    check_gpu(site, host)
    classes = guests.classes(site, host)
    directories = storage.directories(site, host, [*backup.directories(site, host), *ingest.directories(site, host)])
    host_files = [
        *files.build(site, host, openings),
        *monitoring.target_files(site, host),
        *rclone.keepers(site, host, directories),
    ]
    return {
        "address": host.address,
        "address6": host.address6 or None,
        "groups": host.groups,
        "architecture": host.architecture,
        "services": [service.name for service in site.on(host.name)],
        "directories": directories,
        "files": host_files,
        "projects": [compose.project(site, host, service) for service in site.on(host.name) if service.containers],
        "networks": compose.networks(site, host),
        "mounts": mounts.build(site, host, classes),
        "rclone": rclone.host_plan(site, host),
        "firewall": {
            "host": firewall.host_rules(site, host, openings),
            "containers": firewall.container_rules(openings),
            "routed": firewall.routed_rules(site, host),
        },
        "system": [system_entry(site, host, service) for service in site.on(host.name) if service.system],
        "applications": [
            application(site, host, service) for service in site.on(host.name) if service.spec["configure"]
        ],
        "backups": backup.build(site, host),
        "upgrades": upgrade.build(site, host),
        "scrape": monitoring.scrape(site, host),
        "prometheus_url": monitoring.prometheus_url(site, host),
        "docker": windows.docker(site, host),
        "late": ["render_gid", "gpu_devices"] if uses_gpu(site, host) else [],
        "gpu": gpu_of(site, host),
    }


def uses_gpu(site: Site, host: Host) -> bool:
    wanted = any(body["gpu"] for service in site.on(host.name) for body in service.containers.values())
    return wanted and placement.gpu_on(host)


def gpu_of(site: Site, host: Host) -> str | None:
    """Whether the host has a GPU to set up, and whether a service cannot do without it."""
    if not placement.gpu_on(host):
        return None
    needs = any(body["gpu"] == "required" for service in site.on(host.name) for body in service.containers.values())
    return "required" if needs else "optional"


def check_gpu(site: Site, host: Host) -> None:
    if placement.gpu_on(host):
        return
    for service in site.on(host.name):
        if any(body["gpu"] == "optional" for body in service.containers.values()):
            site.problems.warn(
                "gpu-optional-missing",
                service.where.at("hosts"),
                f"{service.name} on {host.name} works without a GPU, and slowly",
            )


def secret_names(service: Any) -> Tree:
    return {name: f"{service.name}.{name}" for name in service.spec["secrets"]}


def system_entry(site: Site, host: Host, service: Any) -> Tree:
    system = service.system or {}
    return {
        "service": service.name,
        "role": system["role"],
        "unit": service.unit,
        "settings": ingest.settings(site, host, service),
        "secrets": secret_names(service),
        "ports": {port.name: {"port": port.number, "protocol": port.protocol} for port in service.ports.values()},
    }


def application(site: Site, host: Host, service: Any) -> Tree:
    port = ports.application_port(service)
    number = port.number if port else 0
    volumes: Tree = {}
    for container in service.containers.values():
        for name, use in container["volumes"].items():
            if name in service.volumes:
                volumes.setdefault(name, {"host": service.volumes[name].path, "container": use["at"]})
    return {
        "service": service.name,
        "role": service.spec["configure"],
        "url": f"http://127.0.0.1:{number}",
        "public_url": references.public_url(site, service),
        "settings": references.settings(site, host, service),
        "secrets": secret_names(service),
        "marker": ports.marker(service) or None,
        "volumes": volumes,
        "folders": named_folders(service),
        "gpu": uses_gpu(site, host) and any(body["gpu"] for body in service.containers.values()),
        "containers": list(service.containers),
        "measured": bool(ports.measured(site, service)),
        "routes": [],
    }


def named_folders(service: Service) -> Tree:
    """The inventory's folders by the setting that names them, as the service's container sees them."""
    found: Tree = {key: [] for key in service.spec["folders"]}
    for one in service.folders:
        found[one.key].append({"name": one.name, "path": one.path, "read_only": one.read_only, **one.values})
    return found


def finish_applications(site: Site, plan: Tree, found_routes: list[Tree]) -> None:
    """The proxy's role gets the routes, and the tags of their services reach it."""
    for entry in plan["applications"]:
        if site.services[entry["service"]].entry.provides() == "proxy":
            entry["routes"] = found_routes


def check_site(site: Site) -> None:
    for index, name in enumerate(site.values["site_accept"]):
        if name not in ACCEPTABLE:
            site.problems.add(
                "unknown-warning",
                site.where("site_accept", index),
                f"no warning is called {name!r}",
                suggest(name, ACCEPTABLE),
            )
    if not site.public_keys and any(host.guest for host in site.hosts.values()):
        site.problems.add(
            "no-ssh-key",
            site.where("site_admin", "ssh_keys"),
            "nobody could log in: there is no SSH key",
            "Add a public key to ssh_keys, or a file to ssh_key_files",
        )
    for index, key in enumerate(site.values["site_admin"]["ssh_keys"]):
        if not key.startswith(("ssh-", "ecdsa-", "sk-")) or len(key.split()) < 2:
            site.problems.add(
                "bad-ssh-key",
                site.where("site_admin", "ssh_keys", index),
                "this is no public SSH key",
                "Copy the whole line of the .pub file",
            )
    for service in site.services.values():
        kept = {**(service.spec["backup"] or {}).get("volumes", {})}
        databases = (service.spec["backup"] or {}).get("databases", {})
        if "config" in service.volumes and "config" not in kept and not databases:
            site.problems.warn(
                "no-backup", service.entry.where.at("backup"), f"{service.name}'s volume config is in no backup"
            )
        for name, schedule in service.placement["backup"].items():
            if schedule == "never":
                site.problems.warn(
                    "no-backup", service.where.at("backup", name), f"{service.name}'s volume {name} is in no backup"
                )


def check_kit(site: Site, state: str) -> None:
    """``state`` as recovery_kit.state says it."""
    if state in ("missing", "old"):
        site.problems.warn(
            f"recovery-kit-{state}",
            Where(".secrets/recovery-kit"),
            "without a recovery kit nobody opens the backups once this computer is lost: make recovery-kit"
            if state == "missing"
            else "the recovery kit is older than the newest secrets: make recovery-kit, and copy it to its places",
        )


def warnings(site: Site) -> list[Tree]:
    accepted = site.values["site_accept"]
    return [
        {
            "name": one.name,
            "message": one.message,
            "file": one.where.file,
            "key": one.where.key,
            "accepted": one.name in accepted,
        }
        for one in site.problems.warnings
    ]
