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

from . import catalog_checks
from .catalog_schema import NAME, NAME_TEXT, SERVICE
from .model import Entry, Tree
from .problems import Problems, Where
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


PROVIDERS = {
    "nginx-proxy-manager": "proxy",
    "traefik": "proxy",
    "cloudflared": "tunnel",
    "prometheus": "monitoring",
    "restic": "backup",
    "ingest": "ingest",
}


def make_entry(folder: Path, where: Where, spec: Tree, own: bool, problems: Problems) -> Entry:
    """The service with its files, checked for what can be seen in this one file."""
    templates = folder / "templates"
    found = sorted(str(path.relative_to(templates)) for path in templates.rglob("*") if path.is_file())
    alerts = folder / "alerts.yml"
    spec["provides"] = spec["provides"] or PROVIDERS.get(folder.name)
    secret = frozenset(path for path in found if path.endswith(".j2") and holds_secrets(templates / path))
    entry = Entry(
        folder.name, where, str(folder), spec, own, tuple(found), secret, str(alerts) if alerts.is_file() else ""
    )
    catalog_checks.check(entry, problems)
    check_alerts(entry, problems)
    return entry


def holds_secrets(template: Path) -> bool:
    """Whether a template reads the variable `secrets`."""
    return re.search(r"[{(\s]secrets\s*[\[.]", template.read_text(encoding="utf-8", errors="replace")) is not None


def check_alerts(entry: Entry, problems: Problems) -> None:
    if entry.alerts:
        where = Where(f"catalog/{entry.name}/alerts.yml")
        raw = read(Path(entry.alerts), where, problems)
        if raw is not None and not isinstance(raw.get("groups"), list):
            problems.add(
                "alerts-without-groups",
                where.at("groups"),
                "Prometheus rules are a list of groups",
                "Write `groups: [...]`",
            )
