# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Folders that the inventory names in a service's settings: each becomes a volume of one of its containers.

A catalog entry says which list of its settings holds them and where its container finds them (`folders:`). From there
on they are volumes like others: mounts, directories, binds and backups follow. The service's role gets them with the
path inside the container (`application.folders`).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from typing import Any

from . import references
from .catalog_schema import FOLDER, SCHEDULES
from .model import Folder, Service, Site, Tree, Volume, is_mounted
from .problems import Where, suggest
from .schema import Flag, Items, Table, Text, wrong

KINDS: dict[str, Any] = {"text": Text(), "texts": Items(Text(), default=None), "flag": Flag(default=None)}
KINDS["user"] = Text(pattern=r"^[^@\s]+@[^@\s]+$", wanted="an e-mail address")


def resolve(site: Site) -> None:
    """Give each placed service the folders that its settings name."""
    for service in site.services.values():
        for key, declared in service.spec["folders"].items():
            if declared["container"] in service.containers:
                find(site, service, key, declared)


def find(site: Site, service: Service, key: str, declared: Tree) -> None:
    given = service.placement["settings"]
    where = (service.where if key in given else service.entry.where).at("settings", key)
    value = given.get(key, service.spec["settings"].get(key, []))
    if not isinstance(value, (list, tuple)):
        wrong(where, site.problems, value, "a list of folders")
        return
    shape = item(declared)
    for index, raw in enumerate(value):
        cleaned = shape.clean(replaced(site, service, raw), where.at(index), site.problems)
        if cleaned is not None:
            add(site, service, key, declared, cleaned, where.at(index))


def item(declared: Tree) -> Table:
    """What an entry of the list may say."""
    fields: dict[str, Any] = {
        "name": Text("What it is called", pattern=r"\S", wanted="a name"),
        "storage": Text(
            "Storage class and folder", pattern=r"^[^/]+/.", wanted="a class and a folder as photos/albums"
        ),
        "read_only": Flag("The service may only read it", default=True),
        "backup": Text("How often it is backed up", default=declared["backup"], choices=(*SCHEDULES, "never")),
    }
    fields.update({name: KINDS[kind] for name, kind in declared["keys"].items()})
    fields.update({name: Text(choices=tuple(words)) for name, words in declared["choices"].items()})
    return Table(fields, "A folder", required=("name", "storage"))


def replaced(site: Site, service: Service, raw: Any) -> Any:
    host = service.hosts[0] if service.hosts else ""
    return references.replace(raw, references.Values(site, service, host)) if isinstance(raw, Mapping) else raw


def add(site: Site, service: Service, key: str, declared: Tree, cleaned: Tree, where: Where) -> None:
    """The entry as a volume, unless something about it is wrong."""
    storage, _slash, folder = cleaned["storage"].partition("/")
    volume = f"{key}-{file_name(cleaned['name'])}"
    body = site.storage(storage)
    good = [
        check_name(site, service, volume, cleaned["name"], where.at("name")),
        check_class(site, storage, where.at("storage")),
        check_path(site, folder, where.at("storage")),
        *(
            check_user(site, service, str(cleaned[name]), where.at(name))
            for name, kind in declared["keys"].items()
            if kind == "user" and cleaned[name] is not None
        ),
    ]
    if not all(good) or body is None:
        return
    mount = str(body["mount"]).rstrip("/")
    path = f"{mount}/{folder.strip('/')}"
    if not check_own(site, service, path, where.at("storage")):
        return
    inside = f"{declared['at'].rstrip('/')}/{file_name(cleaned['name'])}"
    service.volumes[volume] = Volume(volume, storage, path, mount, is_mounted(body))
    service.containers[declared["container"]]["volumes"][volume] = {
        "at": inside,
        "read_only": cleaned["read_only"],
        "found": True,
    }
    more = {name: cleaned[name] for name in (*declared["keys"], *declared["choices"]) if cleaned[name] is not None}
    schedule = None if cleaned["backup"] in (None, "never") else cleaned["backup"]
    service.folders.append(Folder(key, cleaned["name"], volume, inside, cleaned["read_only"], schedule, more))


def file_name(name: str) -> str:
    """A name as a folder's: small letters, digits and -."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")


def check_name(site: Site, service: Service, volume: str, name: str, where: Where) -> bool:
    if volume.endswith("-"):
        site.problems.add(
            "folder-name", where, f"{name!r} has no letter or digit to name a folder by", "Choose a name of letters a-z"
        )
        return False
    if volume in service.volumes:
        other = next((folder.name for folder in service.folders if folder.volume == volume), volume)
        site.problems.add(
            "folder-twice", where, f"{name!r} and {other!r} would be the same folder inside", "Give it another name"
        )
        return False
    return True


def check_class(site: Site, storage: str, where: Where) -> bool:
    if site.storage(storage) is not None:
        return True
    otherwise = f"Add it: site_storage: {{{storage}: {{...}}}}"
    reason = f"no storage class {storage!r} in site_storage"
    site.problems.add("unknown-class", where, reason, suggest(storage, site.values["site_storage"], otherwise))
    return False


def check_path(site: Site, folder: str, where: Where) -> bool:
    if re.search(FOLDER, folder) and folder.strip("/"):
        return True
    site.problems.add("bad-form", where, f"{folder!r} is not a path below the class", "Write <class>/<folder>")
    return False


def check_user(site: Site, service: Service, email: str, where: Where) -> bool:
    """A user is the administrator or one of `users` in the service's settings."""
    settings = {**service.spec["settings"], **service.placement["settings"]}
    listed = settings.get("users") or []
    users = [user for user in listed if isinstance(user, Mapping)] if isinstance(listed, list) else []
    wanted = [str(user.get("email")) for user in users if user.get("state") != "absent"]
    known = [str(settings.get("admin_email") or site.values["site_email"]), *wanted]
    if email.lower() in [one.lower() for one in known]:
        return True
    remedy = suggest(email, known, f"Add it: settings.users: [{{email: {email}, ...}}]")
    site.problems.add("unknown-user", where, f"{service.name} has no user {email}", remedy)
    return False


def check_own(site: Site, service: Service, path: str, where: Where) -> bool:
    """What the service itself keeps is no folder of the inventory's."""
    for body in service.containers.values():
        for name, use in body["volumes"].items():
            own = service.volumes.get(name)
            if own is None or use["read_only"] or use.get("found"):
                continue
            if f"{path}/".startswith(f"{own.path}/") or f"{own.path}/".startswith(f"{path}/"):
                site.problems.add(
                    "folder-is-own",
                    where,
                    f"{path} and {own.path}, where {service.name} keeps its own {name}, lie in each other",
                    "Choose a folder outside",
                )
                return False
    return True
