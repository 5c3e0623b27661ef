# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Backup jobs and repositories of each host, and whether they can be relied on."""

from __future__ import annotations

from . import cluster_dumps, repositories, sizes
from .drives import on_drive, path_on_windows
from .model import Host, Service, Site, Tree
from .problems import suggest

MISSING = "backup-without-restic"
UNWISE = ("backup-on-protected-disk", "backup-repository-too-small", "backup-without-off-site")
PERIODS = {"hourly": 3600, "daily": 86400, "weekly": 7 * 86400, "monthly": 30 * 86400}
RTO = 4 * 3600
SQLITE_SUFFIXES = ("", "-wal", "-shm", "-journal")


def jobs(site: Site, host: Host) -> list[Tree]:
    """What is backed up on this host. Windows saves what lies on its drives, the Debian inside what lies in itself."""
    if host.windows is not None:
        inside = [one for debian in site.inside(host) for one in declared(site, debian)]
        return [*(one for one in inside if lies_on_drive(site, one)), *declared(site, host)]
    outer = site.hosts.get(host.wsl)
    found = declared(site, host)
    if outer is not None and has_tool(site, outer):
        return [one for one in found if not lies_on_drive(site, one)]
    return found


def lies_on_drive(site: Site, job: Tree) -> bool:
    mounts = {str(body["mount"]).rstrip("/"): body for body in site.values["site_storage"].values()}
    return bool(job.get("paths")) and all(on_drive(mounts.get(one["mount"] or "", {})) for one in job["paths"])


def declared(site: Site, host: Host) -> list[Tree]:
    """The jobs of the services that are placed here."""
    found: list[Tree] = []
    for service in site.on(host.name):
        backup = service.spec["backup"] or {"paths": {}, "databases": {}}
        for volume, schedule in service.kept.items():
            lies = service.volumes.get(volume)
            if lies is not None:
                what: Tree = {"paths": [{"path": lies.path, "mount": lies.guard}]}
                if left_out := [*dumped(service, volume), *left(service, volume)]:
                    what["exclude"] = left_out
                found.append(job(site, service, volume, schedule, **what))
        for name, body in backup["paths"].items():
            found.append(job(site, service, name, body["schedule"], paths=[{"path": body["path"], "mount": None}]))
        for name, body in backup["databases"].items():
            database = dump(service, body)
            if database:
                found.append(job(site, service, name, body["schedule"], database=database))
    return found


def dump(service: Service, body: Tree) -> Tree:
    """What the runner dumps: a server's database, or a file of SQLite; nothing where that does not run here."""
    if body["kind"] == "sqlite":
        lies = service.volumes.get(body["volume"])
        return {"kind": "sqlite", "file": f"{lies.path}/{body['file']}", "mount": lies.guard} if lies else {}
    if body["container"] not in service.containers:
        return {}
    return {key: body[key] for key in ("container", "kind", "name", "user")}


def dumped(service: Service, volume: str) -> list[str]:
    """Files that a copy of the volume leaves out, as a dump has them: copied while it is written, one may be torn.

    So does the marker of a finished setup: a volume that came back without its database must not open the ports.
    """
    bodies = (service.spec["backup"] or {}).get("databases", {}).values()
    files = [body["file"] for body in bodies if body["kind"] == "sqlite" and body["volume"] == volume]
    if not files or volume not in service.volumes:
        return []
    paths = [f"{file}{suffix}" for file in files for suffix in SQLITE_SUFFIXES]
    marker_volume, _slash, marker = str(service.spec["setup_marker"] or "").partition("/")
    if marker_volume == volume:
        paths.append(marker)
    return [f"{service.volumes[volume].path}/{path}" for path in paths]


def objective(site: Site, service: str, key: str) -> int | None:
    """Seconds, of the service or of all; None where nothing is said."""
    said = site.values["site_backup"]["objectives"]
    return sizes.seconds((said["services"].get(service) or {}).get(key) or said[key])


def often_enough(site: Site, service: str, schedule: str) -> str:
    """The declared schedule, or the rarest that keeps the service's RPO."""
    rpo = objective(site, service, "rpo")
    if rpo is None or PERIODS[schedule] <= rpo:
        return schedule
    return max((one for one in PERIODS if PERIODS[one] <= rpo), key=lambda one: PERIODS[one], default="hourly")


def left(service: Service, volume: str) -> list[str]:
    """Patterns that the catalog leaves out, as something else holds the same."""
    patterns = (service.spec["backup"] or {}).get("exclude", {}).get(volume, [])
    return [f"{service.volumes[volume].path}/{pattern}" for pattern in patterns]


def job(site: Site, service: Service, name: str, schedule: str, **what: object) -> Tree:
    schedule = often_enough(site, service.name, schedule)
    keep = {unit: count for unit, count in site.values["site_backup"]["keep"].items() if count}
    return {
        "name": f"{service.name}-{name}",
        "service": service.name,
        "unit": service.unit,
        "directory": None if service.system else site.directory(service),
        "schedule": schedule,
        "rpo": objective(site, service.name, "rpo") or PERIODS[schedule] * 3 // 2,
        **what,
        "keep": keep,
    }


def classes(site: Site, host: Host) -> list[str]:
    """Storage classes that the host needs for its repositories."""
    if not has_tool(site, host):
        return []
    dumps = cluster_dumps.classes(site, host)
    if not jobs(site, host):
        return dumps
    bodies = site.values["site_backup"]["repositories"].values()
    return [*dumps, *(str(body["class"]) for body in bodies if not body["url"] and site.storage(str(body["class"])))]


def has_tool(site: Site, host: Host) -> bool:
    return any(service.entry.provides() == "backup" for service in site.on(host.name))


def build(site: Site, host: Host) -> Tree:
    found = jobs(site, host)
    if found and not has_tool(site, host):
        names = ", ".join(sorted({one["service"] for one in found}))
        site.problems.warn(
            MISSING,
            site.where("site_services", "restic"),
            f"nothing on {host.name} makes the backups that {names} want: place restic there",
        )
        return {"repositories": [], "jobs": [], "pruned": [], "rto": {}, "warnings": [], "dumps": []}
    times = site.values["site_backup"]["times"]
    places = repositories.of_host(site, host) if found else []
    pruned = repositories.pruned(site, host) if found else []
    services = sorted({one["service"] for one in found})
    return {
        "repositories": places,
        "jobs": found,
        "dumps": cluster_dumps.of_host(site, host) if has_tool(site, host) else [],
        "times": times,
        "pruned": pruned,
        "rto": {name: objective(site, name, "rto") or RTO for name in services},
        "warnings": [
            {"name": one.name, "message": one.message}
            for one in site.problems.warnings
            if one.name in UNWISE and one.name not in site.values["site_accept"]
        ],
    }


def directories(site: Site, host: Host) -> list[Tree]:
    """Folders of local repositories."""
    dumps = cluster_dumps.directories(site, host) if has_tool(site, host) else []
    return dumps + [
        {"path": one["path"], "owner": 0, "group": 0, "mode": "0700", "below": one["mount"], "service": "restic"}
        for one in (repositories.of_host(site, host) if jobs(site, host) and has_tool(site, host) else [])
        if one["mount"]
    ]


def pool_of(site: Site, name: str) -> str:
    """Where a class's data really lies: the pool, or the machine's own disk."""
    body = site.storage(name) or {}
    if on_drive(body):
        return f"drive {path_on_windows(site, str(body['mount']))[:2]}"
    if body.get("as") == "local" and any(host.wsl for host in site.hosts.values()):
        return "drive C:"  # where the disk of the Debian inside is a file
    return (
        f"{body.get('as')}:{body.get('server') or ''}"
        if body.get("as") in ("local", "nfs", "rclone")
        else str(body.get("source") or "").partition("/")[0]
    )


def quota(site: Site, name: str) -> int:
    body = site.storage(name) or {}
    pool, _slash, dataset = str(body.get("source") or "").partition("/")
    for host in site.hosts.values():
        found = (((host.node or {}).get("pools") or {}).get(pool) or {}).get("datasets", {}).get(dataset)
        if found and found["quota"]:
            return sizes.parse(found["quota"]) or 0
    return sizes.parse(body.get("size")) or 0


def check(site: Site) -> None:
    """Unwise: the only copy on the disk it protects; a repository smaller than its sources."""
    repositories.check(site)
    cluster_dumps.check(site)
    check_objectives(site)
    protected: dict[str, set[str]] = {}
    for host in site.managed():
        if has_tool(site, host) or (host.wsl in site.hosts and has_tool(site, site.hosts[host.wsl])):
            for service in site.on(host.name):
                for volume in service.kept:
                    if volume in service.volumes:
                        protected.setdefault(service.volumes[volume].storage, set()).add(service.name)
    if not protected:
        return
    locations = site.values["site_backup"]["repositories"]
    if any(body["url"] for body in locations.values()):
        return  # what one disk takes is elsewhere too
    for name, body in locations.items():
        storage = str(body["class"])
        where = site.where("site_backup", "repositories", name)
        if site.storage(storage) is None:
            continue
        same = sorted(one for one in protected if pool_of(site, one) == pool_of(site, storage))
        if same:
            site.problems.warn(
                "backup-on-protected-disk",
                where,
                f"repository {name} lies on {pool_of(site, storage)}, like {', '.join(same)}, which it protects: "
                "one broken disk takes both",
            )
        size, sources = quota(site, storage), sum(quota(site, one) for one in protected)
        if size and sources > size:
            site.problems.warn(
                "backup-repository-too-small",
                where,
                f"repository {name} has {sizes.show(size)}, its sources may grow to {sizes.show(sources)}",
            )
    site.problems.warn(
        "backup-without-off-site",
        site.where("site_backup", "repositories"),
        "no copy leaves the house: fire and thieves take everything",
    )


def check_objectives(site: Site) -> None:
    said = site.values["site_backup"]["objectives"]
    places = {"rpo": said["rpo"], **{f"services.{name}.rpo": body["rpo"] for name, body in said["services"].items()}}
    for key, rpo in places.items():
        if rpo and (sizes.seconds(rpo) or 0) < PERIODS["hourly"]:
            where = site.where("site_backup", "objectives", key)
            site.problems.add("objective-too-short", where, f"backups run each hour at most, not each {rpo}", "Say 1h")
    for name in said["services"]:
        if name not in site.services:
            where = site.where("site_backup", "objectives", "services", name)
            site.problems.add(
                "objective-of-nothing", where, f"no placed service is called {name!r}", suggest(name, site.services)
            )
