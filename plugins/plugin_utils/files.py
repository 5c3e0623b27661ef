# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files of a host's services: compose file, templates, secrets, unit."""

from __future__ import annotations

from . import compose, mounts, references
from .model import Host, Service, Site, Tree
from .ports import Opening


def build(site: Site, host: Host, openings: list[Opening]) -> list[Tree]:
    found = []
    for service in site.on(host.name):
        if not service.containers:
            continue
        own = [one for one in openings if one.service is service]
        folder = site.directory(service)
        found.append(entry(service, f"{folder}/compose.yaml", yaml=compose.build(site, host, service, own)))
        found += templates(site, host, service, folder)
        found += secrets(service, folder)
        found.append(
            entry(
                service,
                f"/etc/systemd/system/mediaserver-{service.name}.service",
                content=unit(site, host, service, folder),
            )
        )
    return found


def entry(
    service: Service,
    path: str,
    owner: int = 0,
    group: int = 0,
    mode: str = "0644",
    secret: bool = False,
    **source: object,
) -> Tree:
    return {
        "path": path,
        "service": service.name,
        "mode": mode,
        "owner": owner,
        "group": group,
        "secret": secret,
        **source,
    }


def ids(container: Tree) -> tuple[int, int]:
    """uid and gid of a container's process."""
    owner, _colon, group = str(container["user"]).partition(":")
    return int(owner), int(group)


def templates(site: Site, host: Host, service: Service, folder: str) -> list[Tree]:
    """Files below templates/ that some container is given."""
    used: dict[str, tuple[int, int]] = {}
    for container in service.containers.values():
        user = ids(container)
        for name in container["files"]:
            used.setdefault(name, user)
    found = []
    for path in service.entry.templates:
        top = next((name for name in used if path.startswith(f"{name}/")), None)
        if top is None:
            continue
        source = f"{service.entry.folder}/templates/{path}"
        if not path.endswith(".j2"):
            found.append(entry(service, f"{folder}/files/{path}", copy=source))
            continue
        secret = path in service.entry.secret_templates
        owner, group = used[top] if secret else (0, 0)
        variables = {"service": service.name, "settings": references.settings(site, host, service)}
        found.append(
            entry(
                service,
                f"{folder}/files/{path[:-3]}",
                owner,
                group,
                "0400" if secret else "0644",
                secret,
                template=source,
                variables=variables,
            )
        )
    return found


def secrets(service: Service, folder: str) -> list[Tree]:
    """One file per container and secret, readable by that container's user only."""
    found = []
    for name, container in service.containers.items():
        owner, group = ids(container)
        for secret in container["secrets"]:
            path = f"{folder}/secrets/{name}/{secret}"
            found.append(entry(service, path, owner, group, "0400", True, secret_ref=f"{service.name}.{secret}"))
    return found


def unit(site: Site, host: Host, service: Service, folder: str) -> str:
    bound, wanting = (" ".join(units) for units in mounts.of_service(site, service))
    after = f"docker.service network-online.target {bound}".strip()
    lines = [
        "[Unit]",
        f"Description={service.name}: {service.spec['summary']}",
        "Requires=docker.service",
        "Wants=network-online.target",
        f"After={after}",
        *([f"BindsTo={bound}"] if bound else []),
        "",
        "[Service]",
        "Type=oneshot",
        "RemainAfterExit=yes",
        f"WorkingDirectory={folder}",
        "ExecStart=/usr/bin/docker compose up --detach --remove-orphans",
        "ExecStop=/usr/bin/docker compose stop",
        "TimeoutStartSec=900",
        "TimeoutStopSec=120",
        "",
        "[Install]",
        f"WantedBy={f'multi-user.target {wanting}'.strip()}",
    ]
    return "\n".join(lines) + "\n"
