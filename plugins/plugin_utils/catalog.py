# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads the catalog: the collection's services and those beside the inventory."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from .catalog_schema import NAME, NAME_TEXT, SERVICE
from .model import Entry, Tree
from .problems import Problems, Where, suggest
from .tags import CONCERNS, SPECIAL

Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def service_folders(catalog: Path) -> list[Path]:
    """Folders of a catalog that hold a service, by name."""
    if not catalog.is_dir():
        return []
    return sorted(folder for folder in catalog.iterdir() if (folder / "service.yml").is_file())


def names(catalogs: Iterable[Path]) -> list[str]:
    """Names of all services of these catalogs, without reading them."""
    return sorted({folder.name for catalog in catalogs for folder in service_folders(catalog)})


def load(catalogs: Iterable[tuple[Path, bool]], problems: Problems) -> dict[str, Entry]:
    """Read catalogs, given as folder and whether it is the user's own."""
    entries: dict[str, Entry] = {}
    for catalog, own in catalogs:
        for folder in service_folders(catalog):
            where = Where(f"catalog/{folder.name}/service.yml")
            if not name_is_free(folder.name, own, entries, where, problems):
                continue
            raw = read(folder / "service.yml", where, problems)
            if raw is None:
                continue
            spec = SERVICE.clean(raw, where, problems)
            if spec is not None:
                entries[folder.name] = make_entry(folder, where, spec, own, problems)
    return entries


def name_is_free(name: str, own: bool, entries: dict[str, Entry], where: Where, problems: Problems) -> bool:
    if not re.fullmatch(NAME, name):
        problems.add("bad-service-name", where, f"the folder's name {name!r} is not {NAME_TEXT}", "Rename the folder")
        return False
    if name in CONCERNS or name in SPECIAL:
        reason = f"{name!r} is also the tag of a concern, so --tags {name} would mean two things"
        problems.add("name-is-a-tag", where, reason, "Rename the folder")
        return False
    if own and name in entries:
        reason = f"the collection's catalog has a service {name!r} already"
        problems.add("service-twice", where, reason, f"Rename the folder, for instance to my-{name}")
        return False
    return True


def read(path: Path, where: Where, problems: Problems) -> Tree | None:
    """The file as a mapping, or None with the reason reported."""
    try:
        raw = yaml.load(path.read_text(encoding="utf-8"), Loader=Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" in line {mark.line + 1}" if mark else ""
        text = getattr(error, "problem", None) or "it cannot be parsed"
        problems.add("bad-yaml", where, f"no valid YAML{line}: {text}", "Correct the file")
        return None
    except (OSError, UnicodeDecodeError) as error:
        problems.add("unreadable-file", where, f"cannot be read: {error}", "Make it a readable UTF-8 file")
        return None
    if not isinstance(raw, dict):
        problems.add("wrong-type", where, "the file holds no mapping", "Start with `summary: ...`")
        return None
    return raw


PROVIDERS = {"nginx-proxy-manager": "proxy", "traefik": "proxy", "prometheus": "monitoring", "restic": "backup"}


def make_entry(folder: Path, where: Where, spec: Tree, own: bool, problems: Problems) -> Entry:
    """The service with its files, checked for what can be seen in this one file."""
    templates = folder / "templates"
    found = sorted(str(path.relative_to(templates)) for path in templates.rglob("*") if path.is_file())
    alerts = folder / "alerts.yml"
    spec["provides"] = spec["provides"] or PROVIDERS.get(folder.name)
    secret = frozenset(path for path in found if path.endswith(".j2") and holds_secrets(templates / path))
    entry = Entry(folder.name, where, str(folder), spec, own, tuple(found), secret, str(alerts) if alerts.is_file() else "")
    check_kind(entry, problems)
    for name, container in spec["containers"].items():
        check_container(entry, name, container, problems)
    check_used(entry, problems)
    check_alerts(entry, problems)
    return entry


def holds_secrets(template: Path) -> bool:
    """Whether a template reads the variable `secrets`."""
    return re.search(r"[{(\s]secrets\s*[\[.]", template.read_text(encoding="utf-8", errors="replace")) is not None


def check_kind(entry: Entry, problems: Problems) -> None:
    spec = entry.spec
    if not spec["containers"] and spec["system"] is None:
        problems.add("empty-service", entry.where, "it has neither containers nor system", "Add one of them")
    if spec["containers"] and spec["system"] is not None:
        problems.add("two-kinds", entry.where.at("system"), "a service is either containers or system", "Split it into two services")


def check_container(entry: Entry, name: str, container: Tree, problems: Problems) -> None:
    """What a container says must fit the rest of its file."""
    where, spec = entry.where.at("containers", name), entry.spec
    check_image(container["image"], where.at("image"), problems)
    for volume in container["volumes"]:
        if volume not in spec["volumes"]:
            problems.add("volume-undeclared", where.at("volumes", volume), "no such volume under `volumes`",
                         suggest(volume, spec["volumes"], f"Add it: volumes: {{{volume}: {{class: appdata}}}}"))
    for secret in container["secrets"]:
        if secret not in spec["secrets"]:
            problems.add("secret-undeclared", where.at("secrets"), f"no such secret {secret!r} under `secrets`",
                         suggest(secret, spec["secrets"], f"Add it: secrets: {{{secret}: {{}}}}"))
    for other in container["after"]:
        if other not in spec["containers"] or other == name:
            problems.add("after-unknown", where.at("after"), f"{other!r} is no other container of this service",
                         suggest(other, set(spec["containers"]) - {name}))
        elif not healthy(spec["containers"][other]):
            problems.add("after-without-health", where.at("after"), f"{other!r} has no health check to wait for",
                         f"Give containers.{other} a `health`")
    for folder in container["files"]:
        if not any(path.startswith(f"{folder}/") for path in entry.templates):
            problems.add("files-missing", where.at("files", folder), "templates/ has no such folder, or it is empty",
                         f"Put the files into templates/{folder}/")
    check_health(container, where.at("health"), problems)


def healthy(container: Tree) -> bool:
    health = container["health"]
    return bool(health and (health["http"] or health["command"] or health["image"]))


def check_health(container: Tree, where: Where, problems: Problems) -> None:
    health = container["health"]
    if health is None:
        return
    ways = [key for key in ("http", "command", "image") if health[key]]
    if len(ways) != 1:
        problems.add("health-unclear", where, f"{len(ways)} ways to check health", "Say one of http with port, command, or image: true")
    if health["http"] and health["port"] not in container["ports"]:
        problems.add("health-port", where.at("port"), f"the container has no port {health['port']!r}",
                     suggest(str(health["port"]), container["ports"], "Name one of its ports"))


def check_image(image: object, where: Where, problems: Problems) -> None:
    """Images are pinned, with their registry."""
    if not isinstance(image, str):
        return
    name, _, _digest = image.partition("@")
    repository, colon, tag = name.rpartition(":")
    if not colon or "/" in tag:
        problems.add("image-without-tag", where, f"{image!r} names no version", "Pin a version: registry/repository:tag")
        return
    if tag in ("latest", "stable", "release", "main", "master", "edge", "nightly"):
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
                problems.add("port-name-twice", where.at("containers", container, "ports", port),
                             f"container {ports[port]} has a port of this name too", "Give ports of one service different names")
            ports[port] = container
    ports.update(dict.fromkeys((spec["system"] or {}).get("ports") or {}, ""))
    for key in ("route", "metrics"):
        if spec[key] is not None and spec[key]["port"] not in ports:
            problems.add(f"{key}-port", where.at(key, "port"), f"no port is named {spec[key]['port']!r}", suggest(str(spec[key]["port"]), ports, "Add that port"))
    check_backup(entry, problems)
    marker = str(spec["setup_marker"] or "").partition("/")[0]
    if marker and marker not in spec["volumes"]:
        problems.add("marker-volume", where.at("setup_marker"), f"no volume is named {marker!r}", suggest(marker, spec["volumes"], "Add that volume"))
    if marker and not spec["configure"]:
        problems.add("marker-without-role", where.at("setup_marker"), "no role is named that would write the marker", "Add `configure`, or remove it")


def check_backup(entry: Entry, problems: Problems) -> None:
    backup, spec = entry.spec["backup"], entry.spec
    if backup is None:
        return
    for volume in backup["volumes"]:
        if volume not in spec["volumes"]:
            problems.add("backup-volume", entry.where.at("backup", "volumes", volume), "no such volume under `volumes`", suggest(volume, spec["volumes"]))
    for name, database in backup["databases"].items():
        container, where = database["container"], entry.where.at("backup", "databases", name)
        if database["kind"] == "sqlite":
            if database["volume"] not in spec["volumes"]:
                problems.add("backup-volume", where.at("volume"), f"no volume is named {database['volume']!r}", suggest(str(database["volume"]), spec["volumes"]))
        elif container not in spec["containers"]:
            problems.add("backup-container", where.at("container"), f"no container is named {container!r}", suggest(str(container), spec["containers"]))


def check_alerts(entry: Entry, problems: Problems) -> None:
    if entry.alerts:
        where = Where(f"catalog/{entry.name}/alerts.yml")
        raw = read(Path(entry.alerts), where, problems)
        if raw is not None and not isinstance(raw.get("groups"), list):
            problems.add("alerts-without-groups", where.at("groups"), "Prometheus rules are a list of groups", "Write `groups: [...]`")
