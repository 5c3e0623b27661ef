# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
r"""Windows machines: what role windows gets, derived from the services in the Debian inside.

Containers run in Debian, an ordinary Linux host. On Windows itself run backups, ingest and the tunnel: they read and
write drives that both see, so a storage class whose source is /mnt/d/Films is D:\Films there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from . import backup, ingest, network, rclone, repositories
from .drives import native, path_on_windows
from .model import Host, Site, Tree

SMB = 445
TIME = re.compile(r"\*-\*-\* ([0-2][0-9]:[0-5][0-9]):00")
DRILL = re.compile(r"\*-\*-([0-3][0-9]) ([0-2][0-9]:[0-5][0-9]):00")


def build(site: Site, plans: dict[str, Tree]) -> dict[str, Tree]:
    return {host.name: host_plan(site, host, plans) for host in site.windows_hosts()}


def host_plan(site: Site, host: Host, plans: dict[str, Tree]) -> Tree:
    """What role windows takes."""
    body = host.windows or {}
    tunnel = next((one for one in site.on(host.name) if one.entry.provides() == "tunnel"), None)
    inside = [one.name for one in site.inside(host)]
    return {
        "address": host.address,
        "services": [service.name for service in site.on(host.name)],
        "inside": inside,
        "host_key": f"ssh_host_key.{inside[0]}" if inside else None,
        "distribution": body["distribution"],
        "docker": body["docker"],
        "memory": body["memory"],
        "user": {"name": body["user"], "secret": secret_of(host, body["user"])},
        "boot_task": body["boot_task"],
        "active_hours": body["active_hours"],
        "reboot": body["reboot"],
        "folders": folders(site, host),
        "shares": shares(site, host),
        "firewall": {
            "windows": grouped(rules(site, host)),
            "debian": grouped(
                one
                for name in inside
                for one in [*plans[name]["firewall"]["host"], *plans[name]["firewall"]["containers"]]
            ),
        },
        "exclusions": [*repository_folders(site, host), *body["exclusions"]],
        "ingest": ingest_plan(site, host),
        "backups": backup_plan(site, host),
        "rclone": rclone.host_plan(site, host)["remotes"],
        "tunnel": {"secret": f"{tunnel.name}.tunnel_token"} if tunnel else None,
    }


def docker(site: Site, host: Host) -> Tree:
    """What runs the containers of a Linux host, and further settings of Docker's engine."""
    outer = site.hosts.get(host.wsl)
    if outer is None or outer.windows is None:
        return {"engine": True, "settings": {}}
    # WSL's mirrored network does not let Docker's proxy answer on 127.0.0.1, the kernel does (moby issue 48056)
    return {"engine": outer.windows["docker"] == "wsl", "settings": {"userland-proxy": False}}


def secret_of(host: Host, user: str) -> str:
    return f"windows.{host.name}_{user.lower()}"


def secrets(site: Site) -> list[Tree]:
    """Passwords of the local users that are made."""
    names = [
        secret_of(host, user) for host in site.windows_hosts() for user in [(host.windows or {})["user"], *users(host)]
    ]
    return [{"name": name, "length": 24, "kind": "password"} for name in names]


def users(host: Host) -> list[str]:
    """Local users of the shares, each once."""
    found = [user for share in (host.windows or {})["shares"].values() for user in share["users"]]
    return list(dict.fromkeys(found))


def shares(site: Site, host: Host) -> list[Tree]:
    return [
        {
            "name": name,
            "path": native(path_on_windows(site, share_path(site, share))),
            "users": [{"name": user, "secret": secret_of(host, user)} for user in share["users"]],
        }
        for name, share in (host.windows or {})["shares"].items()
        if site.storage(share["class"]) and path_on_windows(site, share_path(site, share))
    ]


def share_path(site: Site, share: Tree) -> str:
    mount = str((site.storage(share["class"]) or {}).get("mount") or "").rstrip("/")
    return f"{mount}/{share['folder'].strip('/')}" if share["folder"] else mount


def folders(site: Site, host: Host) -> list[str]:
    """Folders that must be there before Debian binds them, before anything is fetched, shared or saved."""
    paths = [str(body["mount"]) for body in site.values["site_storage"].values()]
    paths += [share_path(site, share) for share in (host.windows or {})["shares"].values()]
    paths += [one["path"] for one in ingest.directories(site, host)]
    found = {native(place) for place in (path_on_windows(site, path) for path in paths) if place}
    return sorted({*found, *repository_folders(site, host), *(host.windows or {})["folders"]})


def repository_folders(site: Site, host: Host) -> list[str]:
    if not backup.has_tool(site, host):
        return []
    places = [path_on_windows(site, one["path"]) for one in repositories.of_host(site, host) if not is_remote(one)]
    return [native(place) for place in places if place]


def is_remote(repository: Tree) -> bool:
    return not str(repository["path"]).startswith("/")


def rules(site: Site, host: Host) -> list[Tree]:
    """Windows' own openings: by what Ansible reaches it, and its shares."""
    body = host.windows or {}
    wanted = [(body["management_port"], body["reach"], "management")]
    wanted += [(SMB, share["reach"], f"share {name}") for name, share in body["shares"].items()]
    found: list[Tree] = []
    for port, zones, comment in wanted:
        for source in network.cidrs(site, zones):
            one = {"from": source, "port": port, "protocol": "tcp", "comment": comment}
            if not any({**other, "comment": ""} == {**one, "comment": ""} for other in found):
                found.append(one)
    return found


def grouped(found: Iterable[Tree]) -> list[Tree]:
    """One rule a port, as Windows' firewall takes many sources in one."""
    kept: dict[str, Tree] = {}
    for one in found:
        name = f"mediaserver {one['comment']} {one['port']}/{one['protocol']}"
        rule = kept.setdefault(name, {"name": name, "port": one["port"], "protocol": one["protocol"], "from": []})
        if one["from"] not in rule["from"]:
            rule["from"].append(one["from"])
    return list(kept.values())


def probed(site: Site) -> dict[str, list[Tree]]:
    """The same for who looks from outside."""
    return {host.name: [{**one, "service": "", "marker": None} for one in rules(site, host)]
            for host in site.windows_hosts() if host.address}  # fmt: skip


def flows(site: Site) -> list[Tree]:
    """For people: who may use what Windows itself offers."""
    found = []
    for host in site.windows_hosts():
        body = host.windows or {}
        ports = dict.fromkeys(body["reach"], body["management_port"])
        found += [{"zone": zone, "host": host.name, "service": None, "port": port, "protocol": "tcp"}
                  for zone, port in ports.items()]  # fmt: skip
        found += [
            {"zone": zone, "host": host.name, "service": f"share {name}", "port": SMB, "protocol": "tcp"}
            for name, share in body["shares"].items()
            for zone in share["reach"]
        ]
    return found


def ingest_plan(site: Site, host: Host) -> Tree | None:
    """Jobs with the paths of Windows. Immich lies in Debian and looks for new files at its own time."""
    for service in ingest.services(site, host):
        said = ingest.settings(site, host, service)
        jobs = [
            {**{key: value for key, value in job.items() if key not in ("owner", "library")},
             "target": path_on_windows(site, job["target"]), "mount": None}
            for job in said["jobs"]
        ]  # fmt: skip
        return {"jobs": jobs, "time": clock(said.get("time")) or "05:00"}
    return None


def backup_plan(site: Site, host: Host) -> Tree | None:
    """Jobs and repositories with the paths of Windows."""
    tool = next((one for one in site.on(host.name) if one.entry.provides() == "backup"), None)
    if tool is None:
        return None
    found = backup.build(site, host)

    def place(path: str) -> str:
        return path_on_windows(site, path) or path

    times = {"daily": "*-*-* 02:30:00", "drill": "*-*-05 04:30:00", **found["times"]}
    day, at = DRILL.fullmatch(times["drill"]).groups() if DRILL.fullmatch(times["drill"]) else ("05", "04:30")  # type: ignore[union-attr]
    return {
        "jobs": [
            {**job, "unit": None, "directory": None,
             "paths": [{"path": place(one["path"]), "mount": None} for one in job["paths"]]}
            for job in found["jobs"]
        ],
        "repositories": [
            one if is_remote(one) else {**one, "path": place(one["path"]), "mount": None}
            for one in found["repositories"]
        ],
        "rto": found["rto"],
        "warnings": found["warnings"],
        "times": {"daily": clock(times["daily"]) or "02:30", "drill": {"day": int(day), "at": at}},
        "secret": f"{tool.name}.password",
    }  # fmt: skip


def clock(text: str | None) -> str | None:
    """``14:30`` of systemd's `*-*-* 14:30:00`; a task of Windows is not told more."""
    found = TIME.fullmatch(text or "")
    return found[1] if found else None
