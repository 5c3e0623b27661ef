# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Storage classes: where volumes lie on a host, what must be mounted, which folders must exist."""

from __future__ import annotations

import re

from . import folders
from .model import Host, Service, Site, Tree, Volume, is_mounted
from .problems import suggest


def resolve(site: Site) -> None:
    """Give each placed service its volumes' paths."""
    check_classes(site)
    for service in site.services.values():
        for name, declared in service.spec["volumes"].items():
            change = service.placement["volumes"].get(name) or {}
            if declared["optional"] and not change:
                continue
            storage = change.get("class") or declared["class"]
            folder = change.get("folder") or declared["folder"] or f"{service.name}/{name}"
            where = (
                service.where.at("volumes", name) if change.get("class") else service.entry.where.at("volumes", name)
            )
            found = site.storage(storage)
            if found is None:
                known = site.values["site_storage"]
                site.problems.add(
                    "unknown-class",
                    where,
                    f"no storage class {storage!r} in site_storage",
                    suggest(storage, known, f"Add it: site_storage: {{{storage}: {{...}}}}"),
                )
                continue
            mount = found["mount"].rstrip("/")
            # a set-up that was taken over may use the class's mount itself
            path = mount if folder.strip("/") == "." else f"{mount}/{folder.strip('/')}"
            service.volumes[name] = Volume(name, storage, path, mount, is_mounted(found))
        for key, name in [(part, one) for part in ("volumes", "backup") for one in service.placement[part]]:
            if name not in service.spec["volumes"]:
                site.problems.add(
                    "unknown-volume",
                    service.where.at(key, name),
                    f"{service.name} has no such volume",
                    suggest(name, service.spec["volumes"]),
                )
    folders.resolve(site)
    check_databases(site)
    check_sqlite(site)
    check_folders(site)


def check_classes(site: Site) -> None:
    mounts: dict[str, str] = {}
    for name, body in site.values["site_storage"].items():
        where = site.where("site_storage", name)
        mount = str(body["mount"]).rstrip("/") or "/"
        for other, taken in mounts.items():
            if mount == taken or mount.startswith(f"{taken}/") or taken.startswith(f"{mount}/"):
                site.problems.add(
                    "mounts-overlap",
                    where.at("mount"),
                    f"{mount} and {taken} of class {other} lie in each other",
                    "Give each class a mount of its own",
                )
        mounts[name] = mount
        if body["as"] == "disk" and not body["size"] and not is_device(body):
            site.problems.add("disk-without-size", where.at("size"), "a disk needs a size", "Add size: 20G")
        if body["as"] != "local" and not body["source"]:
            site.problems.add(
                "no-source",
                where.at("source"),
                "it says not where the data lies",
                "Add source: pool/dataset, a Proxmox storage, an export or a remote",
            )
        if mount == site.root or f"{site.root}/".startswith(f"{mount}/"):
            site.problems.add(
                "mount-over-root", where.at("mount"), f"{mount} would hide {site.root}", "Mount it elsewhere"
            )


def check_databases(site: Site) -> None:
    """A database server's files never lie on NFS or rclone (unless accepted), nor on virtiofs without a word."""
    for service in site.services.values():
        for name, container in service.containers.items():
            if not re.search(
                r"(postgres|mariadb|mysql|valkey|redis)", container["image"].rpartition(":")[0].rpartition("/")[2]
            ):
                continue
            for volume in container["volumes"]:
                lies = service.volumes.get(volume)
                kind = (site.storage(lies.storage) or {}).get("as") if lies else None
                if kind not in ("nfs", "rclone") or "valkey" in container["image"] or "redis" in container["image"]:
                    continue
                if "database-on-network-storage" in site.values["site_accept"]:
                    site.problems.warn(
                        "database-on-network-storage",
                        service.where,
                        f"{service.name}'s {name} keeps its files on {kind}",
                    )
                    continue
                site.problems.add(
                    "database-on-network-storage",
                    site.where("site_storage", lies.storage if lies else "", "as"),
                    f"the database {service.name}.{name} would lie on {kind}, which loses data when the server "
                    "restarts",
                    "Use `as: disk`, or accept the risk: site_accept: [database-on-network-storage]",
                )


def check_sqlite(site: Site) -> None:
    """SQLite wants locks and a shared memory that neither NFS nor rclone gives."""
    for service in site.services.values():
        for body in ((service.spec["backup"] or {}).get("databases") or {}).values():
            lies = service.volumes.get(body["volume"] or "") if body["kind"] == "sqlite" else None
            kind = (site.storage(lies.storage) or {}).get("as") if lies else None
            if lies is None or kind not in ("nfs", "rclone"):
                continue
            if "database-on-network-storage" in site.values["site_accept"]:
                reason = f"{service.name} keeps its SQLite database on {kind}"
                site.problems.warn("database-on-network-storage", service.where, reason)
                continue
            site.problems.add(
                "database-on-network-storage",
                service.where.at("volumes", lies.name),
                f"the SQLite database of {service.name} would lie on {kind}, which has no locks that SQLite trusts",
                "Choose a class that is a disk, local or virtiofs, or accept the risk: "
                "site_accept: [database-on-network-storage]",
            )


def check_folders(site: Site) -> None:
    """Two writers of one folder must be the same user, and those of one mount by rclone too: it has one owner."""
    for host in site.managed():
        for name, users in writers_of(site, host).items():
            if (site.storage(name) or {}).get("as") == "rclone" and len(users) > 1:
                site.problems.add(
                    "rclone-of-two-users",
                    site.where("site_storage", name),
                    f"on {host.name} {' and '.join(sorted(users))} would write there, but everything on a mount by "
                    "rclone belongs to one user",
                    "Make a second class of another folder of the remote, or give the containers the same user",
                )
        writers: dict[str, tuple[str, str]] = {}
        for service, container, volume, use in uses(site, host):
            if use["read_only"]:
                continue
            user, label = str(container["user"]), f"{service.name}.{volume.name}"
            known = writers.setdefault(volume.path, (user, label))
            if known[0] != user:
                site.problems.add(
                    "folder-of-two-users",
                    service.entry.where.at("volumes", volume.name),
                    f"{volume.path} on {host.name} would belong to {known[0]} ({known[1]}) and to {user}",
                    "Give one of them another folder, or the same user",
                )
            for path, (_user, other) in writers.items():
                if (
                    path != volume.path
                    and volume.path.startswith(f"{path}/")
                    and other.partition(".")[0] != service.name
                ):
                    site.problems.add(
                        "folder-in-folder",
                        service.entry.where.at("volumes", volume.name),
                        f"{volume.path} lies inside {path} of {other}",
                        "Choose folders that do not lie in each other",
                    )


def uses(site: Site, host: Host) -> list[tuple[Service, Tree, Volume, Tree]]:
    """Every use of a volume by a container on a host."""
    found = []
    for service in site.on(host.name):
        for container in service.containers.values():
            for name, use in container["volumes"].items():
                if name in service.volumes:
                    found.append((service, container, service.volumes[name], use))
    return found


def writers_of(site: Site, host: Host) -> dict[str, set[str]]:
    """Users that write into each class of a host."""
    found: dict[str, set[str]] = {}
    for _service, container, volume, use in uses(site, host):
        if not use["read_only"]:
            found.setdefault(volume.storage, set()).add(str(container["user"]))
    return found


def owner_on(site: Site, host: Host, name: str) -> str:
    """``uid:gid`` of everything on a mount by rclone: of who writes there, else root's."""
    return min(writers_of(site, host).get(name, {"0:0"}))


def is_device(body: Tree) -> bool:
    """A disk that is named by its path is the host's own, as a USB disk of a Raspberry Pi."""
    return str(body["source"]).startswith("/dev/")


def classes_on(site: Site, host: Host, further: list[str]) -> list[str]:
    """Storage classes a host needs, in the inventory's order, so that disks keep their slots."""
    needed = {volume.storage for _service, _container, volume, _use in uses(site, host)} | set(further)
    return [name for name in site.values["site_storage"] if name in needed]


def share_of(name: str, body: Tree, host: Host) -> str:
    """Name of the directory mapping by which a guest gets a class."""
    return f"{name}-{host.name}" if body["per_host"] else name


def node_path(node: Host, source: str) -> str:
    """Path on the node of ``pool/dataset``."""
    pool, _slash, dataset = source.partition("/")
    path = (((node.node or {}).get("pools") or {}).get(pool) or {}).get("path") or f"/{pool}"
    return f"{path.rstrip('/')}/{dataset}".rstrip("/")


def folder_mode(volume: Volume, use: Tree) -> str:
    """Mode of a volume's folder. PostgreSQL sets 0700 on its own at each start: another mode would change for ever."""
    own = not use["read_only"]
    if volume.storage == "database" or (own and use["at"].startswith("/var/lib/postgresql")):
        return "0700"
    return "0750" if own else "0755"


def directories(site: Site, host: Host, further: list[Tree]) -> list[Tree]:
    """Folders that must exist before containers start: parents first, each once."""
    by_mount = {str(body["mount"]).rstrip("/"): name for name, body in site.values["site_storage"].items()}
    found: dict[str, Tree] = {}
    for service, container, volume, use in uses(site, host):
        owner, _colon, group = str(container["user"]).partition(":")
        known = found.get(volume.path)
        if known is not None and (known["owned"] or use["read_only"]):
            continue
        own = not use["read_only"]
        found[volume.path] = {
            "path": volume.path,
            "owner": int(owner) if own else 0,
            "group": int(group) if own else 0,
            "mode": folder_mode(volume, use),
            "below": volume.mount,
            "service": service.name,
            "owned": own,
            "keep": not own and bool(use.get("found")),
        }
    for entry in further:
        found.setdefault(entry["path"], {**entry, "owned": True})
    for entry in list(found.values()):
        parent = entry["path"].rpartition("/")[0]
        while parent.startswith(f"{entry['below']}/"):
            found.setdefault(
                parent,
                {
                    "path": parent,
                    "owner": 0,
                    "group": 0,
                    "mode": "0755",
                    "below": entry["below"],
                    "service": entry["service"],
                    "owned": False,
                    "keep": entry.get("keep", False),
                },
            )
            parent = parent.rpartition("/")[0]
    for entry in found.values():
        name = by_mount.get(entry["below"], "")
        if (site.storage(name) or {}).get("as") == "rclone":
            # so rclone shows every folder: it keeps neither owners nor modes
            owner, _colon, group = owner_on(site, host, name).partition(":")
            entry |= {"owner": int(owner), "group": int(group), "mode": "0755", "keep": False}
    plain = {str(body["mount"]).rstrip("/") for body in site.values["site_storage"].values() if not is_mounted(body)}
    # `keep` (whose folder it was before us stays) is said only where it is so, `below` where something is mounted
    return [
        {
            key: value
            for key, value in found[path].items()
            if key != "owned" and (key != "keep" or value) and (key != "below" or value not in plain)
        }
        for path in sorted(found)
    ]
