# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What can be seen to be wrong within one service.yml."""

from __future__ import annotations

import re

from .model import Entry, Tree
from .problems import Problems, Where, suggest

FLOATING = ("latest", "stable", "release", "main", "master", "edge", "nightly")


def check(entry: Entry, problems: Problems) -> None:
    """All checks of one service."""
    check_kind(entry, problems)
    for name, container in entry.spec["containers"].items():
        check_container(entry, name, container, problems)
    check_used(entry, problems)
    check_backup(entry, problems)
    check_folders(entry, problems)
    check_upgrade(entry, problems)


def check_kind(entry: Entry, problems: Problems) -> None:
    spec = entry.spec
    if not spec["containers"] and spec["system"] is None:
        problems.add("empty-service", entry.where, "it has neither containers nor system", "Add one of them")
    if spec["containers"] and spec["system"] is not None:
        problems.add(
            "two-kinds",
            entry.where.at("system"),
            "a service is either containers or system",
            "Split it into two services",
        )


def check_container(entry: Entry, name: str, container: Tree, problems: Problems) -> None:
    """What a container says must fit the rest of its file."""
    where, spec = entry.where.at("containers", name), entry.spec
    check_image(container["image"], where.at("image"), problems)
    for volume in container["volumes"]:
        if volume not in spec["volumes"]:
            problems.add(
                "volume-undeclared",
                where.at("volumes", volume),
                "no such volume under `volumes`",
                suggest(volume, spec["volumes"], f"Add it: volumes: {{{volume}: {{class: appdata}}}}"),
            )
    for secret in container["secrets"]:
        if secret not in spec["secrets"]:
            problems.add(
                "secret-undeclared",
                where.at("secrets"),
                f"no such secret {secret!r} under `secrets`",
                suggest(secret, spec["secrets"], f"Add it: secrets: {{{secret}: {{}}}}"),
            )
    check_after(spec["containers"], name, where.at("after"), problems)
    for folder in container["files"]:
        if not any(path.startswith(f"{folder}/") for path in entry.templates):
            problems.add(
                "files-missing",
                where.at("files", folder),
                "templates/ has no such folder, or it is empty",
                f"Put the files into templates/{folder}/",
            )
    check_health(container, where.at("health"), problems)


def check_after(containers: Tree, name: str, where: Where, problems: Problems) -> None:
    """Only a healthy container can be waited for."""
    for other in containers[name]["after"]:
        if other not in containers or other == name:
            problems.add(
                "after-unknown",
                where,
                f"{other!r} is no other container of this service",
                suggest(other, set(containers) - {name}),
            )
        elif not healthy(containers[other]):
            problems.add(
                "after-without-health",
                where,
                f"{other!r} has no health check to wait for",
                f"Give containers.{other} a `health`",
            )


def healthy(container: Tree) -> bool:
    health = container["health"]
    return bool(health and (health["http"] or health["command"] or health["image"]))


def check_health(container: Tree, where: Where, problems: Problems) -> None:
    health = container["health"]
    if health is None:
        return
    ways = [key for key in ("http", "command", "image") if health[key]]
    if len(ways) != 1:
        problems.add(
            "health-unclear",
            where,
            f"{len(ways)} ways to check health",
            "Say one of http with port, command, or image: true",
        )
    if health["http"] and health["port"] not in container["ports"]:
        problems.add(
            "health-port",
            where.at("port"),
            f"the container has no port {health['port']!r}",
            suggest(str(health["port"]), container["ports"], "Name one of its ports"),
        )


def check_image(image: object, where: Where, problems: Problems) -> None:
    """Images are pinned, with their registry."""
    if not isinstance(image, str):
        return
    name, _at, _digest = image.partition("@")
    repository, colon, tag = name.rpartition(":")
    if not colon or "/" in tag:
        problems.add(
            "image-without-tag", where, f"{image!r} names no version", "Pin a version: registry/repository:tag"
        )
        return
    if tag in FLOATING:
        problems.add("floating-tag", where, f"the tag {tag!r} is another image tomorrow", "Pin a version")
    registry = repository.split("/")[0]
    if "/" not in repository or not ("." in registry or ":" in registry or registry == "localhost"):
        problems.add("image-without-registry", where, f"{image!r} names no registry", f"Write docker.io/{name}")


def check_used(entry: Entry, problems: Problems) -> None:
    """Names used by route, metrics, backup and marker must exist; port names must be unique."""
    spec, where = entry.spec, entry.where
    ports: dict[str, str] = {}
    for container, body in spec["containers"].items():
        for port in body["ports"]:
            if port in ports:
                problems.add(
                    "port-name-twice",
                    where.at("containers", container, "ports", port),
                    f"container {ports[port]} has a port of this name too",
                    "Give ports of one service different names",
                )
            ports[port] = container
    ports.update(dict.fromkeys((spec["system"] or {}).get("ports") or {}, ""))
    for key, used in [("route", spec["route"]), *(("metrics", one) for one in spec["metrics"])]:
        if used is not None and used["port"] not in ports:
            problems.add(
                f"{key}-port",
                where.at(key, "port"),
                f"no port is named {used['port']!r}",
                suggest(str(used["port"]), ports, "Add that port"),
            )
    marker = str(spec["setup_marker"] or "").partition("/")[0]
    if marker and marker not in spec["volumes"]:
        problems.add(
            "marker-volume",
            where.at("setup_marker"),
            f"no volume is named {marker!r}",
            suggest(marker, spec["volumes"], "Add that volume"),
        )
    if marker and not spec["configure"]:
        problems.add(
            "marker-without-role",
            where.at("setup_marker"),
            "no role is named that would write the marker",
            "Add `configure`, or remove it",
        )


def check_backup(entry: Entry, problems: Problems) -> None:
    backup, spec = entry.spec["backup"], entry.spec
    if backup is None:
        return
    for part, volume in [(key, name) for key in ("volumes", "exclude") for name in backup[key]]:
        if volume not in spec["volumes"]:
            problems.add(
                "backup-volume",
                entry.where.at("backup", part, volume),
                "no such volume under `volumes`",
                suggest(volume, spec["volumes"]),
            )
    for name, database in backup["databases"].items():
        container, where = database["container"], entry.where.at("backup", "databases", name)
        if database["kind"] == "sqlite":
            if database["volume"] not in spec["volumes"]:
                problems.add(
                    "backup-volume",
                    where.at("volume"),
                    f"no volume is named {database['volume']!r}",
                    suggest(str(database["volume"]), spec["volumes"]),
                )
            if not database["file"]:
                problems.add("backup-file", where.at("file"), "SQLite's file is missing", "Name it: file: data/app.db")
        elif container not in spec["containers"]:
            problems.add(
                "backup-container",
                where.at("container"),
                f"no container is named {container!r}",
                suggest(str(container), spec["containers"]),
            )


def check_upgrade(entry: Entry, problems: Problems) -> None:
    """Its rules speak of volumes and containers that there are."""
    rules, spec = entry.spec["upgrade"], entry.spec
    if rules is None:
        return
    where = entry.where.at("upgrade")
    names = [(where.at("leave"), name, "volume", spec["volumes"]) for name in rules["leave"]]
    for key in ("majors", "same"):
        names += [(where.at(key), name, "container", spec["containers"]) for name in rules[key]]
    for index, need in enumerate(rules["needs"]):
        at = where.at("needs", index)
        names += [(at.at(key), need[key], "container", spec["containers"]) for key in ("container", "with")]
        try:
            re.compile(need["matches"])
        except re.error as error:
            problems.add("upgrade-pattern", at.at("matches"), f"no regular expression: {error}", "Correct it")
    for place, name, kind, known in names:
        if name not in known:
            problems.add("upgrade-unknown", place, f"there is no {kind} {name!r}", suggest(name, known))


def check_folders(entry: Entry, problems: Problems) -> None:
    """Folders of the inventory need a container, and a place in it where no volume is."""
    containers = entry.spec["containers"]
    for key, folders in entry.spec["folders"].items():
        where, container = entry.where.at("folders", key), containers.get(folders["container"])
        if container is None:
            remedy = suggest(str(folders["container"]), containers, "Name a container")
            problems.add("folders-container", where.at("container"), "no such container", remedy)
            continue
        at = str(folders["at"]).rstrip("/")
        for volume, use in container["volumes"].items():
            if f"{use['at']}/".startswith(f"{at}/") or f"{at}/".startswith(f"{use['at'].rstrip('/')}/"):
                problems.add(
                    "folders-in-volume",
                    where.at("at"),
                    f"{at} and the volume {volume} at {use['at']} lie in each other",
                    "Choose a folder of their own, for instance /mnt/folders",
                )
