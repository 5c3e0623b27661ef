# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""rclone on the hosts: which remotes a host gets, what it mounts, and what cannot work."""

from __future__ import annotations

import re
from typing import Any

from ansible_collections.homelab.mediaserver.plugins.module_utils._rclone_backends import PLAIN_NAME, SECRET_NAME

from . import backup, guests, ingest, sizes, storage
from .model import Host, Site, Tree
from .problems import Where, suggest

# What the role itself says to `rclone mount`
OWN_OPTIONS = ("--allow-other", "--cache-dir", "--vfs-cache-mode", "--vfs-cache-max-size", "--vfs-cache-max-age",
               "--read-only", "--uid", "--gid", "--umask", "--daemon", "--config")  # fmt: skip
CACHE = {"cache": "10G", "cache_age": "24h", "cache_mode": "writes", "cache_path": "/var/cache/rclone"}
# Backends that keep files only: a folder that holds none is gone when it is looked at anew
BUCKETS = ("azureblob", "b2", "google cloud storage", "oracleobjectstorage", "qingstor", "s3", "swift")
KEEPER = ".mediaserver"
SOURCE = re.compile(r"([a-z][a-z0-9_-]*):(.*)")
# Part of a guest's disk that all caches together may take; the rest is the system's, the images' and the logs'
CACHE_SHARE = 0.5


def remotes(site: Site) -> Tree:
    found: Tree = site.values["site_rclone"]
    return found


def classes(site: Site, host: Host) -> list[tuple[str, Tree]]:
    """Classes that the host mounts by rclone."""
    found = [(name, site.storage(name) or {}) for name in guests.classes(site, host)]
    return [(name, body) for name, body in found if body.get("as") == "rclone"]


def remote_of(source: str) -> str:
    match = SOURCE.fullmatch(source)
    return match[1] if match else ""


def beneath(body: Tree) -> list[str]:
    """Remotes that a remote stands on, as crypt and union do."""
    named = [body["options"].get("remote"), *str(body["options"].get("upstreams") or "").split()]
    return [remote_of(str(one)) for one in named if one and remote_of(str(one))]


def needed(site: Site, host: Host) -> list[str]:
    """Remotes of a host: for its mounts, for what is fetched from clouds, for repositories, and those below them."""
    known = remotes(site)
    open_ = [remote_of(str(body["source"])) for _name, body in classes(site, host)]
    for service in ingest.services(site, host):
        open_ += [job["remote"] for job in service.settings["jobs"].values()]
    if backup.has_tool(site, host):
        urls = [str(body["url"] or "") for body in site.values["site_backup"]["repositories"].values()]
        open_ += [remote_of(url.removeprefix("rclone:")) for url in urls if url.startswith("rclone:")]
    found: set[str] = set()
    while open_:
        name = open_.pop()
        if name in known and name not in found:
            found.add(name)
            open_ += beneath(known[name])
    return [name for name in known if name in found]


def forgets_folders(site: Site, name: str) -> bool:
    """Whether a remote, or what it stands on, knows no empty folders."""
    body = remotes(site).get(name)
    if body is None:
        return False
    return body["type"] in BUCKETS or any(forgets_folders(site, one) for one in beneath(body) if one != name)


def keepers(site: Site, host: Host, directories: list[Tree]) -> list[Tree]:
    """A file for each folder of such a mount: a container whose folder is gone after an unmount would not start."""
    mounts = [
        str(body["mount"]).rstrip("/")
        for _name, body in classes(site, host)
        if not body["read_only"] and forgets_folders(site, remote_of(str(body["source"])))
    ]
    below = [one for one in directories if one.get("below") in mounts]
    leaves = [one for one in below if not any(other["path"].startswith(f"{one['path']}/") for other in below)]
    text = "Written by homelab.mediaserver: this folder is in use, and would not be there without a file.\n"
    return [
        {"path": f"{one['path']}/{KEEPER}", "service": one["service"], "mode": "0644", "owner": one["owner"],
         "group": one["group"], "secret": False, "content": text}
        for one in leaves
    ]  # fmt: skip


def secret_name(remote: str, option: str) -> str:
    return f"rclone.{remote}_{option}"


def secrets(site: Site) -> list[tuple[str, str]]:
    """Names of the secrets of the remotes that some host gets, with what they are for."""
    used = {name for host in [*site.managed(), *site.windows_hosts()] for name in needed(site, host)}
    return [
        (secret_name(name, option), f"option {option} of rclone's remote {name}")
        for name, body in remotes(site).items()
        if name in used
        for option in body["secrets"]
    ]


def host_plan(site: Site, host: Host) -> Tree:
    """What role rclone takes."""
    known = remotes(site)
    return {
        "remotes": [
            {
                "name": name,
                "type": known[name]["type"],
                "options": known[name]["options"],
                "secrets": {option: secret_name(name, option) for option in known[name]["secrets"]},
            }
            for name in needed(site, host)
        ],
        "mounts": [mount(site, host, name, body) for name, body in classes(site, host)],
    }


def mount(site: Site, host: Host, name: str, body: Tree) -> Tree:
    return {
        "remote": body["source"],
        "path": str(body["mount"]).rstrip("/"),
        "read_only": body["read_only"],
        "owner": storage.owner_on(site, host, name),
        **{key: body[key] or default for key, default in CACHE.items()},
        "options": [option for option in body["options"].split(",") if option],
    }


def check(site: Site) -> None:
    for name, body in remotes(site).items():
        check_remote(site, name, body, site.where("site_rclone", name))
    for name, body in site.values["site_storage"].items():
        where = site.where("site_storage", name)
        if body["as"] == "rclone":
            check_class(site, body, where)
        else:
            check_no_cache(site, body, where)
    for host in site.managed():
        check_cache(site, host)


def check_remote(site: Site, name: str, body: Tree, where: Where) -> None:
    if body["type"].lower().replace("_", " ") in ingest.GOOGLE and used_as_class(site, name):
        site.problems.add("rclone-google-photos", where.at("type"), *ingest.NO_GOOGLE)
    for option, value in body["options"].items():
        if isinstance(value, str) and SECRET_NAME.search(option) and not PLAIN_NAME.fullmatch(option):
            site.problems.add(
                "rclone-secret-in-clear",
                where.at("options", option),
                f"{option} is a secret and would stand in the inventory for all to read",
                f"Write secrets: [{option}] here and its value, encrypted by ansible-vault, in "
                f"site_secrets: {{rclone: {{{name}_{option}: ...}}}}",
            )
    for other in beneath(body):
        if other not in remotes(site):
            unknown(site, other, where.at("options"))


def used_as_class(site: Site, name: str) -> bool:
    bodies = site.values["site_storage"].values()
    return any(body["as"] == "rclone" and remote_of(str(body["source"])) == name for body in bodies)


def unknown(site: Site, name: str, where: Where) -> None:
    remedy = suggest(name, remotes(site), f"Add it: site_rclone: {{{name}: {{type: ...}}}}")
    site.problems.add("unknown-remote", where, f"no remote {name!r} in site_rclone", remedy)


def check_class(site: Site, body: Tree, where: Where) -> None:
    source = str(body["source"])
    if source and not remote_of(source):
        site.problems.add(
            "rclone-source", where.at("source"), f"{source!r} is no remote and folder", "Write it as azure:photos"
        )
    elif source and remote_of(source) not in remotes(site):
        unknown(site, remote_of(source), where.at("source"))
    for option in [option.strip() for option in body["options"].split(",") if option.strip()]:
        name, _equals, value = option.partition("=")
        reason = ""
        if not re.fullmatch(r"--[a-z0-9][a-z0-9-]*", name):
            reason = f"{option!r} is no option of `rclone mount`"
        elif name in OWN_OPTIONS:
            reason = f"{name} is said by the role itself"
        elif SECRET_NAME.search(name.replace("-", "_")) and value:
            reason = f"{name} looks like a secret, and every user of the host sees the options"
        if reason:
            remedy = "Write options as --dir-cache-time=1h; caches have keys of their own: cache, cache_age, cache_mode"
            site.problems.add("mount-option", where.at("options"), reason, remedy)


def check_no_cache(site: Site, body: Tree, where: Where) -> None:
    for key in CACHE:
        if body[key] is not None:
            site.problems.add(
                "cache-without-rclone", where.at(key), f"as {body['as']} it has no cache of rclone", f"Remove {key}"
            )


def check_cache(site: Site, host: Host) -> None:
    """The caches of all mounts against the guest's system disk, or the disk of the class where they lie."""
    rooms: dict[str, int] = {}
    wanted: dict[str, list[Any]] = {}
    for name, body in classes(site, host):
        path = str(body["cache_path"] or CACHE["cache_path"])
        below = next(
            (
                (label, other)
                for label, other in site.values["site_storage"].items()
                if f"{path}/".startswith(f"{str(other['mount']).rstrip('/')}/") and label != name
            ),
            None,
        )
        label = f"class {below[0]}" if below else f"the system disk of {host.name}"
        size = below[1]["size"] if below else (host.guest or {}).get("disk")
        rooms[label] = sizes.parse(size) or 0
        wanted.setdefault(label, []).append((name, sizes.parse(body["cache"] or CACHE["cache"]) or 0))
    for label, caches in wanted.items():
        room, total = rooms[label], sum(size for _name, size in caches)
        if room and total > room * CACHE_SHARE:
            site.problems.add(
                "cache-over-disk",
                site.where("site_storage", caches[-1][0], "cache"),
                f"rclone's caches on {label} may take {sizes.show(total)} of its {sizes.show(room)}: more than half, "
                "and a full disk stops everything",
                f"Keep them below {sizes.show(room * CACHE_SHARE)} together, or name another disk in cache_path",
            )
