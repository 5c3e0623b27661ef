# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Mistakes about Windows machines and the Debian inside."""

from __future__ import annotations

from collections.abc import Callable

from . import backup, ingest, repositories
from .drives import on_drive
from .model import Host, Service, Site, Tree
from .problems import Where, suggest
from .windows import DRILL, TIME

LONGEST_ACTIVE = 18


def check(site: Site) -> None:
    for host in site.hosts.values():
        if host.wsl:
            check_inside(site, host)
    for host in site.windows_hosts():
        body, where = host.windows or {}, host.where.at("windows")
        check_active_hours(site, body["active_hours"], where.at("active_hours"))
        check_shares(site, host, where.at("shares"))
        check_repositories(site, host)
        check_times(site, host)
        for service in ingest.services(site, host):
            check_jobs(site, host, service)
        if not site.inside(host):
            site.problems.add(
                "windows-without-debian",
                where,
                f"no host of the inventory is the Debian inside {host.name}",
                f"Add one to the group single with wsl: {host.name}",
            )
    check_databases(site)


def check_inside(site: Site, host: Host) -> None:
    outer = site.hosts.get(host.wsl)
    if outer is None or outer.windows is None:
        known = [one.name for one in site.windows_hosts()]
        site.problems.add(
            "unknown-windows",
            host.where.at("wsl"),
            f"{host.wsl!r} is no Windows machine of the inventory",
            suggest(host.wsl, known, "Add it to the group windows, with windows: {}"),
        )
        return
    if outer.address == host.address and site.values["site_admin"]["ssh_port"] == outer.windows["management_port"]:
        site.problems.add(
            "windows-port-taken",
            site.where("site_admin", "ssh_port"),
            f"{host.name} has the address of {outer.name}, where Windows itself answers on port "
            f"{outer.windows['management_port']}",
            "Give Debian's SSH another port, as in site_admin: {ssh_port: 2222}",
        )


def check_active_hours(site: Site, hours: Tree, where: Where) -> None:
    length = (hours["end"] - hours["start"]) % 24
    if not 0 < length <= LONGEST_ACTIVE:
        site.problems.add(
            "active-hours",
            where,
            f"from {hours['start']} to {hours['end']} are {length} hours, Windows takes 1 to {LONGEST_ACTIVE}",
            "Write as in {start: 7, end: 23}",
        )


def check_shares(site: Site, host: Host, where: Where) -> None:
    for name, share in (host.windows or {})["shares"].items():
        check_class(site, host, share["class"], where.at(name, "class"))
        for user in share["users"]:
            if user.lower() == (host.windows or {})["user"].lower():
                site.problems.add(
                    "share-of-system-user",
                    where.at(name, "users"),
                    f"{user} is who Windows logs on by itself",
                    "Name another user: a share's password is typed into other computers",
                )


def check_class(site: Site, host: Host, name: str, where: Where) -> None:
    """What Windows itself reads or writes lies on a drive that it sees."""
    body = site.storage(name)
    if body is None:
        remedy = suggest(name, site.values["site_storage"])
        site.problems.add("unknown-class", where, f"no storage class {name!r} in site_storage", remedy)
    elif not on_drive(body):
        site.problems.add(
            "class-not-on-windows",
            where,
            f"{host.name} is Windows, and class {name} lies on none of its drives",
            f"Write the class as {{source: /mnt/d/Folder, as: local, mount: {body['mount']}}} for D:\\Folder",
        )


def check_repositories(site: Site, host: Host) -> None:
    if not backup.has_tool(site, host):
        return
    for name, body in site.values["site_backup"]["repositories"].items():
        where = site.where("site_backup", "repositories", name)
        if body["url"] and repositories.kind_of(body["url"]) in ("sftp", "rclone"):
            site.problems.add(
                "repository-not-on-windows",
                where.at("url"),
                f"{host.name} is Windows, where this collection's restic reaches no {body['url'].partition(':')[0]}",
                "Use a class on another drive, S3, Azure, B2 or a REST server, or place restic in Debian only",
            )
        elif not body["url"]:
            check_class(site, host, str(body["class"]), where.at("class"))


def check_times(site: Site, host: Host) -> None:
    times = site.values["site_backup"]["times"] if backup.has_tool(site, host) else {}
    forms: dict[str, Callable[[str], object]] = {"daily": TIME.fullmatch, "drill": DRILL.fullmatch}
    said = [(site.where("site_backup", "times", key), times.get(key), forms[key]) for key in forms]
    for service in ingest.services(site, host):
        said.append((service.where.at("settings", "time"), service.settings.get("time"), TIME.fullmatch))
    for where, text, fits in said:
        if text and not fits(text):
            site.problems.add(
                "windows-time",
                where,
                f"{text!r} says more than a task of Windows on {host.name} is told",
                "Write '*-*-* 02:30:00', for the drill '*-*-05 04:30:00'",
            )


def check_jobs(site: Site, host: Host, service: Service) -> None:
    for name, job in service.settings["jobs"].items():
        check_class(site, host, job["class"], service.where.at("settings", "jobs", name, "class"))


def check_databases(site: Site) -> None:
    """A drive of Windows has no locks that a database trusts, no owners, and is slow for small files."""
    for host in site.managed():
        for service in site.on(host.name) if host.wsl else []:
            for volume in service.volumes.values():
                own = volume.storage in ("appdata", "database") and not any(
                    one.volume == volume.name for one in service.folders
                )
                if own and on_drive(site.storage(volume.storage) or {}):
                    site.problems.add(
                        "database-on-drive",
                        site.where("site_storage", volume.storage, "source"),
                        f"{service.name} would keep settings and databases on a drive of Windows, which loses them",
                        "Leave them inside Debian: {as: local, source: '', mount: /srv/...}",
                    )
