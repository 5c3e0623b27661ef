# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""compose.yaml of a service, and the unit that owns its start and stop."""

from __future__ import annotations

from typing import Any

from . import network, references
from .model import Host, Service, Site, Tree
from .placement import gpu_on
from .ports import Opening, measured
from .routes import alias

LOG = {"driver": "json-file", "options": {"max-size": "10m", "max-file": "3"}}


def image(site: Site, name: str) -> str:
    """Through the site's mirror, which keeps the upstream registry in the path."""
    prefix = str(site.values["site_registry"]).rstrip("/")
    return f"{prefix}/{name}" if prefix else name


def shared_networks(site: Site, host: Host, service: Service) -> dict[str, list[str]]:
    """Per container: the networks it shares with other projects, by short name."""
    joined: dict[str, list[str]] = {name: [] for name in service.containers}

    def join(container: str, short: str) -> None:
        if container in joined and not service.containers[container]["host_network"] and short not in joined[container]:
            joined[container].append(short)

    if host.name in site.provider_hosts("monitoring"):
        for port, _entry in measured(site, service):
            join(port.container, "monitoring")
        if service.entry.provides() == "monitoring":
            for container in service.containers:
                join(container, "monitoring")
    if host.name in site.door_hosts():
        routed = service.ports.get((service.route or {}).get("port") or "")
        if routed is not None:
            join(routed.container, "proxy")
        if service in site.doors():
            for container in service.containers:
                join(container, "proxy")
    return joined


def check_names(site: Site, host: Host) -> None:
    """Compose makes a container's short name known on every network it joins: shared networks must not confuse two."""
    on_shared: dict[tuple[str, str], str] = {}
    for service in site.on(host.name):
        for container, networks in shared_networks(site, host, service).items():
            for short in networks:
                on_shared.setdefault((short, container), service.name)
    for service in site.on(host.name):
        joined = {short for networks in shared_networks(site, host, service).values() for short in networks}
        for container in service.containers:
            for short in joined:
                other = on_shared.get((short, container))
                if other not in (None, service.name):
                    site.problems.add(
                        "container-name-shared",
                        service.entry.where.at("containers", container),
                        f"on {host.name}, {other} has a container {container!r} on the network {short} too, so "
                        "the name would lead to either",
                        f"Call it {service.name}-{container}",
                    )


def build(site: Site, host: Host, service: Service, openings: list[Opening]) -> Tree:
    """The whole compose file."""
    joined = shared_networks(site, host, service)
    values = references.Values(site, service, host.name)
    services = {}
    for name, container in service.containers.items():
        published = [one for one in openings if one.port.container == name and one.published and not one.port.shared]
        body = {
            "image": image(site, container["image"]),
            "restart": "unless-stopped",
            "labels": {"mediaserver.project": service.name, "mediaserver.digest": "${MEDIASERVER_DIGEST}"},
            "security_opt": ["no-new-privileges:true"],
            "logging": LOG,
            **identity(host, container),
            **process(service, container, values),
            **wiring(service, name, container, joined[name], published),
        }
        options = escape(references.replace(container["options"], values))
        services[name] = {
            key: value for key, value in merge_options(body, options).items() if value not in (None, [], {})
        }
    shared = sorted({short for networks in joined.values() for short in networks})
    compose: Tree = {"name": service.name, "services": services}
    if shared:
        compose["networks"] = {short: {"external": True, "name": f"mediaserver-{short}"} for short in shared}
    return compose


def identity(host: Host, container: Tree) -> Tree:
    found: Tree = {} if container["fixed_user"] else {"user": container["user"]}
    if container["gpu"] and gpu_on(host):
        found["devices"] = [{"$late": "gpu_devices"}]
        found["group_add"] = [{"$late": "render_gid"}]
    return found


def process(service: Service, container: Tree, values: references.Values) -> Tree:
    environment = references.replace(container["environment"], values)
    found: Tree = {
        "command": escape(container["command"]),
        "environment": escape(environment),
        "mem_limit": container["memory"],
        "healthcheck": healthcheck(service, container),
        "depends_on": {
            other: {"condition": "service_healthy"} for other in container["after"] if other in service.containers
        },
    }
    return found


def healthcheck(service: Service, container: Tree) -> Tree | None:
    """An HTTP check uses what images have: wget, curl or bash."""
    health = container["health"]
    if health is None or health["image"]:
        return None
    times = {"interval": "15s", "timeout": "10s", "retries": 8, "start_period": "120s", "start_interval": "2s"}
    if health["command"]:
        return {"test": ["CMD", *(str(word) for word in escape(health["command"]))], **times}
    port = container["ports"].get(health["port"])
    if not health["http"] or port is None:
        return None
    return {"test": ["CMD-SHELL", http_check(port["port"], health["http"])], **times}


def http_check(port: int, path: str) -> str:
    """A shell line that works with what the image has: curl, wget or bash."""
    url = f"http://127.0.0.1:{port}{path}"
    request = f"GET {path} HTTP/1.0\\r\\nHost: localhost\\r\\n\\r\\n"
    talk = f'exec 3<>/dev/tcp/127.0.0.1/{port}; printf "{request}" >&3; head -n 1 <&3 | grep -q " [23]"'
    return (
        f"if command -v curl >/dev/null; then curl -fsS -o /dev/null {url}; "
        f"elif command -v wget >/dev/null; then wget -q -O /dev/null {url}; "
        f"else bash -c '{talk}'; fi"
    )


def wiring(service: Service, name: str, container: Tree, joined: list[str], published: list[Opening]) -> Tree:
    found: Tree = {"volumes": binds(service, name, container)}
    if container["host_network"]:
        found["network_mode"] = "host"
        return found
    if joined:
        found["networks"] = {"default": None, **{short: {"aliases": [alias(service, name)]} for short in joined}}
        found["extra_hosts"] = ["host.docker.internal:host-gateway"] if service.entry.provides() else None
    found["ports"] = [
        {
            "target": one.port.inside,
            "published": str(one.port.number),
            "protocol": one.port.protocol,
            "host_ip": "0.0.0.0" if one.sources else "127.0.0.1",
        }
        for one in published
    ]
    return found


def binds(service: Service, name: str, container: Tree) -> list[Tree]:
    """Folders only, never single files: a replaced file would keep its old content inside."""
    found = []
    for volume, use in container["volumes"].items():
        if volume in service.volumes:
            found.append(bind(service.volumes[volume].path, use["at"], use["read_only"]))
    for folder, inside in container["files"].items():
        found.append(bind(f"./files/{folder}", inside, True))
    if container["secrets"]:
        found.append(bind(f"./secrets/{name}", "/run/secrets", True))
    return found


def bind(source: str, target: str, read_only: bool) -> Tree:
    entry: Tree = {"type": "bind", "source": source, "target": target}
    if read_only:
        entry["read_only"] = True
    return {**entry, "bind": {"create_host_path": False}}


def escape(value: Any) -> Any:
    """Compose replaces $NAME itself; what is meant literally is doubled."""
    if isinstance(value, dict):
        return {key: escape(item) for key, item in value.items()}
    if isinstance(value, list):
        return [escape(item) for item in value]
    return value.replace("$", "$$") if isinstance(value, str) else value


def merge_options(body: Tree, options: Tree) -> Tree:
    """Free-form keys last: mappings merge, lists join, the rest is replaced."""
    merged = dict(body)
    for key, value in options.items():
        old = merged.get(key)
        if isinstance(old, dict) and isinstance(value, dict):
            merged[key] = {**old, **value}
        elif isinstance(old, list) and isinstance(value, list):
            merged[key] = [*old, *(item for item in value if item not in old)]
        else:
            merged[key] = value
    if merged.get("privileged") is True:
        merged["security_opt"] = [
            item for item in merged["security_opt"] if not str(item).startswith("no-new-privileges")
        ]
    return merged


def project(site: Site, host: Host, service: Service) -> Tree:
    joined = shared_networks(site, host, service)
    shared = sorted({short for networks in joined.values() for short in networks})
    return {
        "name": service.name,
        "service": service.name,
        "directory": site.directory(service),
        "unit": service.unit,
        "networks": shared,
        "wait": 300,
    }


def networks(site: Site, host: Host) -> list[Tree]:
    """Shared networks that some project of the host joins."""
    joined = {
        short
        for service in site.on(host.name)
        for names in shared_networks(site, host, service).values()
        for short in names
    }
    return [
        {"name": f"mediaserver-{short}", "subnet": subnet}
        for short, subnet in network.shared_subnets(site).items()
        if short in joined
    ]
