# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings of the service that fetches from clouds: what they may say, and whether its moves can ever be safe."""

from __future__ import annotations

from . import backup, references
from .catalog_schema import FOLDER, NAME
from .model import Host, Service, Site, Tree, is_mounted
from .problems import Where, suggest
from .schema import Anything, Items, Named, Number, Size, Table, Text

FAMILIES = ("photos", "videos", "other")
FAMILY = Text("Kind of file", choices=FAMILIES)
DURATION = r"^[0-9]+[smhdw]?$"
REMOTE = r"^[^\s:/\\-][^:/\\]*$"
GOOGLE = ("google photos", "googlephotos", "gphotos")
NO_GOOGLE = (
    "Google Photos shows rclone only what rclone itself uploaded, and lets no program delete",
    "Let the phones upload to OneDrive, Google Drive or Dropbox, or take the library out with Google Takeout and "
    "immich-go",
)

JOB = Table(
    {
        "remote": Text(
            "Name of the remote in rclone's configuration", pattern=REMOTE, wanted="a remote's name, no colon"
        ),
        "paths": Items(Text(), "Folders of the remote; default all of it"),
        "copy": Items(FAMILY, "What is copied and stays in the cloud", default=("photos",)),
        "move": Items(
            FAMILY, "What is deleted in the cloud once it is here and in a checked backup", default=("videos",)
        ),
        "class": Text("Storage class of the copies", default="photos", pattern=f"^{NAME}$", wanted="a storage class"),
        "folder": Text(
            "Folder below the class's mount; default library/<job>", pattern=FOLDER, wanted="a relative path"
        ),
        "owner": Text("uid:gid of the copies", pattern=r"^[0-9]+:[0-9]+$", wanted='two numbers as "1000:1000"'),
        "min_age": Text("How old a file must be", default="1h", numbers=True, pattern=DURATION, wanted="a time as 1h"),
        "quota": Size("What the folder may hold"),
        "min_free": Size("What must stay free on the disk", default="5G"),
        "include": Items(Text(), "Patterns of rclone: only these files"),
        "exclude": Items(Text(), "Patterns of rclone: not these files"),
        "bandwidth": Text("Limit, as of rclone's --bwlimit", numbers=True, wanted="a bandwidth as 10M"),
        "schedule": Text("How often", default="daily", choices=("hourly", "daily", "weekly")),
        "copies": Number(
            "Repositories that must hold a file before it is deleted in the cloud", default=1, least=1, most=9
        ),
        "library": Text("Immich's external library to scan when something came"),
    },
    "A source",
    required=("remote",),
)
SETTINGS = Table(
    {
        "jobs": Named(JOB, "Sources by name", pattern=NAME),
        "remotes": Named(
            Table({"type": Text("Its backend")}, "What the plan knows of a remote", short="type"), "Remotes"
        ),
        "immich": Named(Anything(), "Immich's address and key: {url, api_key_file}", default=None),
        "time": Text("When daily jobs run, as systemd's OnCalendar"),
    },
    "Settings of ingest",
)


def services(site: Site, host: Host) -> list[Service]:
    return [service for service in site.on(host.name) if service.entry.provides() == "ingest"]


def clean(site: Site, service: Service) -> None:
    """The merged settings with their defaults; mistakes are reported where the inventory says them."""
    if service.entry.provides() == "ingest":
        where = service.where.at("settings")
        service.settings = SETTINGS.clean(service.settings, where, site.problems) or {"jobs": {}, "remotes": {}}


def lies(site: Site, name: str, job: Tree) -> tuple[str, str]:
    """Folder and mount point of a job's copies; empty where there is no such class."""
    mount = str((site.storage(job["class"]) or {}).get("mount") or "").rstrip("/")
    folder = (job["folder"] or f"library/{name}").strip("/")
    return (f"{mount}/{folder}", mount) if mount else ("", "")


def classes(site: Site, host: Host) -> list[str]:
    """Storage classes that the host needs for the copies."""
    return [job["class"] for service in services(site, host) for job in service.settings["jobs"].values()]


def directories(site: Site, host: Host) -> list[Tree]:
    found = []
    for service in services(site, host):
        for name, job in service.settings["jobs"].items():
            path, mount = lies(site, name, job)
            owner, _colon, group = (job["owner"] or "0:0").partition(":")
            if path:
                found.append({"path": path, "owner": int(owner), "group": int(group), "mode": "0755", "below": mount,
                              "service": service.name})  # fmt: skip
    return found


def settings(site: Site, host: Host, service: Service) -> Tree:
    """What the role gets: jobs as a list, with their places."""
    found = references.settings(site, host, service)
    if service.entry.provides() != "ingest":
        return found
    jobs = []
    for name, job in found["jobs"].items():
        path, mount = lies(site, name, job)
        known = {key: value for key, value in job.items() if key not in ("class", "folder") and value is not None}
        storage = site.storage(job["class"])
        guard = mount if storage is None or is_mounted(storage) else None
        jobs.append({"name": name, "target": path, "mount": guard, **known})
    return {**{key: value for key, value in found.items() if value is not None}, "jobs": jobs}


def check(site: Site) -> None:
    for host in [*site.managed(), *site.windows_hosts()]:
        for service in services(site, host):
            if len(service.hosts) > 1:
                site.problems.add(
                    "ingest-on-two-hosts",
                    service.where.at("hosts"),
                    "two hosts would fetch the same files, and delete them for each other",
                    "Place it on one host",
                )
            for name, job in service.settings["jobs"].items():
                check_source(site, service, name, job)
                check_target(site, host, name, job, service.where.at("settings", "jobs", name))


def check_source(site: Site, service: Service, name: str, job: Tree) -> None:
    where = service.where.at("settings", "jobs", name)
    known = {**service.settings["remotes"], **site.values["site_rclone"]}
    body = known.get(job["remote"]) or {}
    if str(body.get("type") or "").lower().replace("_", " ") in GOOGLE:
        site.problems.add("ingest-google-photos", where.at("remote"), *NO_GOOGLE)
    both = sorted(set(job["copy"]) & set(job["move"]))
    if both:
        site.problems.add(
            "ingest-copied-and-moved",
            where.at("move"),
            f"{', '.join(both)} are copied and moved",
            "Keep one of the two",
        )
    if not job["copy"] and not job["move"]:
        site.problems.add("ingest-nothing", where, "it fetches nothing", "Name photos, videos or other in copy or move")


def check_target(site: Site, host: Host, name: str, job: Tree, where: Where) -> None:
    """The copies must lie on a disk of the host, and in a backup before anything may be deleted elsewhere."""
    storage = site.storage(job["class"])
    if storage is None:
        known = site.values["site_storage"]
        remedy = suggest(job["class"], known, f"Add it: site_storage: {{{job['class']}: {{...}}}}")
        site.problems.add(
            "unknown-class", where.at("class"), f"no storage class {job['class']!r} in site_storage", remedy
        )
        return
    if storage["as"] == "rclone" or storage["read_only"]:
        why = "is a cloud itself" if storage["as"] == "rclone" else "is mounted read-only"
        site.problems.add(
            "ingest-target", where.at("class"), f"class {job['class']} {why}", "Choose a class that lies on a disk"
        )
        return
    path, _mount = lies(site, name, job)
    if not job["move"]:
        return
    plan = backup.jobs(site, host) if backup.has_tool(site, host) else []
    known = site.values["site_backup"]["repositories"]
    covered = [one for one in plan if any(below(path, source["path"]) for source in one.get("paths", []))]
    if not covered or not known:
        site.problems.add(
            "ingest-move-without-backup",
            where.at("move"),
            f"no backup of {host.name} holds {path}, so nothing could ever be deleted in the cloud",
            f"Place restic on {host.name} and choose a class and folder that a service there backs up, or say move: []",
        )
    elif job["copies"] > len(known):
        site.problems.add(
            "ingest-copies",
            where.at("copies"),
            f"{job['copies']} repositories must hold a file, there are {len(known)}",
            "Add repositories to site_backup, or ask for fewer",
        )


def below(path: str, folder: str) -> bool:
    return f"{path}/".startswith(f"{folder.rstrip('/')}/")
