# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""NFS, both sides: who serves a class to whom, root-squashed and to named hosts only, and what root cannot do there."""

from __future__ import annotations

from . import backup, guests, ingest, storage
from .model import Host, Site, Tree
from .problems import Where

PORT = 2049
OPTIONS = "sync,root_squash,no_subtree_check,sec=sys"
# With these a write is lost when the server is away for a while; a hard mount waits
SOFT = ("soft", "softerr", "async", "nolock")


def server_of(site: Site, client: Host, body: Tree) -> Host | None:
    """The host of the inventory that serves a class: its guest's node unless `server` names another."""
    if body["server"] is None:
        return site.hosts.get(str((client.guest or {}).get("node")))
    return next((host for host in site.hosts.values() if body["server"] in (host.name, *host.addresses)), None)


def source(site: Site, client: Host, body: Tree) -> str:
    """``server:/path`` as the client mounts it."""
    server = server_of(site, client, body)
    address = server.address if server is not None else str(body["server"] or "")
    return f"{address}:{path_on(server, str(body['source']))}"


def path_on(server: Host | None, path: str) -> str:
    if server is not None and server.node is not None and not path.startswith("/"):
        return storage.node_path(server, path)
    return path


def served(site: Site, server: Host) -> list[tuple[str, Tree, Host]]:
    """Classes that a host serves: name, declaration, client."""
    found = []
    for client in site.managed():
        for name in guests.classes(site, client):
            body = site.storage(name) or {}
            if body.get("as") == "nfs" and client is not server and server_of(site, client, body) is server:
                found.append((name, body, client))
    return found


def clients(site: Site, server: Host) -> list[Host]:
    found: dict[str, Host] = {client.name: client for _name, _body, client in served(site, server)}
    return list(found.values())


def server_plan(site: Site, server: Host, plans: dict[str, Tree]) -> Tree:
    """Exports (text of /etc/exports.d), and folders that the clients' root may not make: the server makes them."""
    lines: dict[str, list[str]] = {}
    folders: dict[str, Tree] = {}
    for _name, body, client in served(site, server):
        path, mount = path_on(server, str(body["source"])), str(body["mount"]).rstrip("/")
        mode = "ro" if body["read_only"] else "rw"
        lines.setdefault(path, []).extend(f"{address}({mode},{OPTIONS})" for address in client.addresses)
        for folder in plans[client.name]["directories"]:
            if folder.get("below") == mount:
                there = f"{path}{folder['path'].removeprefix(mount)}"
                folders.setdefault(there, {key: folder[key] for key in ("owner", "group", "mode")} | {"path": there})
    return {
        "exports": "".join(f'"{path}" {" ".join(dict.fromkeys(hosts))}\n' for path, hosts in sorted(lines.items())),
        "paths": sorted(lines),
        "directories": [folders[path] for path in sorted(folders)],
    }


def check(site: Site) -> None:
    for name, body in site.values["site_storage"].items():
        if body["as"] == "nfs":
            check_options(site, body, site.where("site_storage", name))
    for host in site.managed():
        for name in guests.classes(site, host):
            body = site.storage(name) or {}
            if body.get("as") == "nfs":
                check_client(site, host, name, body)


def check_options(site: Site, body: Tree, where: Where) -> None:
    for option in [option.strip() for option in body["options"].split(",")]:
        if option in SOFT or option.startswith("--"):
            site.problems.add(
                "mount-option",
                where.at("options"),
                f"with {option} a write may be lost while the server is away"
                if option in SOFT
                else f"{option!r} is no mount option of NFS",
                "Remove it: a hard mount waits and goes on when the server is back",
            )


def check_client(site: Site, host: Host, name: str, body: Tree) -> None:
    where = site.where("site_storage", name)
    server = server_of(site, host, body)
    if server is None and body["server"] is None:
        site.problems.add(
            "nfs-without-server",
            where.at("server"),
            f"{host.name} is no guest, so nothing says who serves {name}",
            "Add server: a host of the inventory, or the address of a NAS",
        )
    elif server is host:
        site.problems.add(
            "nfs-to-itself", where.at("server"), f"{host.name} would mount {name} from itself", "Say as: local there"
        )
    elif not path_on(server, str(body["source"])).startswith("/"):
        site.problems.add(
            "nfs-source", where.at("source"), f"{body['source']!r} is no path on the server", "Write it as /srv/media"
        )
    warn_unreadable(site, host, name)
    for who, key in as_root(site, host, name):
        site.problems.add(
            "nfs-root-squashed",
            where.at("as"),
            f"{who} works as root, whom NFS makes nobody, and could not write there",
            f"Choose another class for {key}, or as: virtiofs, disk or local for this one",
        )


def warn_unreadable(site: Site, host: Host, name: str) -> None:
    """Backups run as root, whom the server makes nobody: what only its owner may read fails them."""
    for service in site.on(host.name) if backup.has_tool(site, host) else []:
        for volume in service.kept:
            lies = service.volumes.get(volume)
            written = any(
                volume in container["volumes"] and not container["volumes"][volume]["read_only"]
                for container in service.containers.values()
            )
            if lies is not None and lies.storage == name and written:
                site.problems.warn(
                    "nfs-backup-as-nobody",
                    site.where("site_storage", name, "as"),
                    f"the backup of {service.name}'s {volume} on {host.name} reads it over NFS as nobody and fails on "
                    "what only its owner may read: back it up on the server, or choose virtiofs",
                )


def as_root(site: Site, host: Host, name: str) -> list[tuple[str, str]]:
    """What writes into a class as root: setup markers, repositories, copies from clouds."""
    found = []
    for service in site.on(host.name):
        marker = service.volumes.get(str(service.spec["setup_marker"] or "").partition("/")[0])
        if marker is not None and marker.storage == name:
            found.append((f"the role that sets up {service.name}", f"its volume {marker.name}"))
    if name in backup.classes(site, host):
        found.append(("restic", "the repository"))
    if name in ingest.classes(site, host):
        found.append(("the service that fetches from clouds", "its copies"))
    return found
