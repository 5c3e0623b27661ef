# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Dumps of whole PostgreSQL clusters as plain files in a folder, beside restic's: any psql can load them."""

from __future__ import annotations

from .model import Host, Service, Site, Tree
from .problems import Where, suggest


def of_host(site: Site, host: Host) -> list[Tree]:
    """As the runner takes them."""
    found = []
    for name, body in site.values["site_backup"]["dumps"].items():
        service, storage = site.services.get(body["service"]), site.storage(body["class"])
        if service is None or storage is None or host.name not in service.hosts:
            continue
        database = database_of(service, body)
        if database is None or database["container"] not in service.containers:
            continue
        mount = storage["mount"].rstrip("/")
        found.append(
            {
                "name": f"dumpall-{name}",
                "service": service.name,
                "container": database["container"],
                "user": database["user"],
                "folder": f"{mount}/{body['folder'].strip('/')}",
                "mount": mount,
                "schedule": body["schedule"],
                "keep": body["keep"],
            }
        )
    return found


def database_of(service: Service, body: Tree) -> Tree | None:
    """The server that is dumped: the one that is named, else the service's first of PostgreSQL."""
    known: Tree = postgresql(service)
    return known.get(body["database"]) if body["database"] else next(iter(known.values()), None)


def postgresql(service: Service) -> Tree:
    databases = (service.spec["backup"] or {}).get("databases", {})
    return {name: one for name, one in databases.items() if one["kind"] == "postgresql"}


def classes(site: Site, host: Host) -> list[str]:
    """Storage classes that the host needs for them."""
    names = {one["name"] for one in of_host(site, host)}
    declared = site.values["site_backup"]["dumps"]
    return [body["class"] for name, body in declared.items() if f"dumpall-{name}" in names]


def directories(site: Site, host: Host) -> list[Tree]:
    return [
        # kept as it is where it exists: a mounted cloud knows neither owners nor modes
        {
            "path": one["folder"],
            "owner": 0,
            "group": 0,
            "mode": "0700",
            "below": one["mount"],
            "service": "restic",
            "keep": True,
        }
        for one in of_host(site, host)
    ]


def check(site: Site) -> None:
    for name, body in site.values["site_backup"]["dumps"].items():
        where = site.where("site_backup", "dumps", name)
        if site.storage(body["class"]) is None:
            known = site.values["site_storage"]
            remedy = suggest(body["class"], known, "Add it to site_storage")
            site.problems.add("dump-class", where.at("class"), f"no storage class {body['class']!r}", remedy)
        check_database(site, body, where)


def check_database(site: Site, body: Tree, where: Where) -> None:
    service = site.services.get(body["service"])
    with_database = [one.name for one in site.services.values() if postgresql(one)]
    if service is None or not postgresql(service):
        site.problems.add(
            "dump-service",
            where.at("service"),
            f"no placed service {body['service']!r} has a PostgreSQL",
            suggest(body["service"], with_database),
        )
    elif database_of(service, body) is None:
        site.problems.add(
            "dump-database",
            where.at("database"),
            f"{service.name} has no database {body['database']!r}",
            suggest(body["database"], postgresql(service)),
        )
