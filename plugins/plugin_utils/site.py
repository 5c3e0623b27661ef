# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads the inventory's variables into a :class:`Site`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from . import raspberrypi
from .host_schema import HOST
from .model import Entry, Host, Site
from .problems import Problems, Where, suggest
from .schema import fresh
from .site_schema import SITE


def load(
    raw: Mapping[str, Any],
    hosts: Mapping[str, Any],
    places: dict[str, str],
    catalog: dict[str, Entry],
    problems: Problems,
) -> Site:
    """``raw``: the site_* variables; ``hosts``: each with file, groups and vars; ``places``: files by variable."""
    values: dict[str, Any] = {}
    for name, kind in SITE.fields.items():
        where = Where(places.get(name, "group_vars/all/site.yml"), name)
        if raw.get(name) is not None:
            cleaned = kind.clean(raw[name], where, problems)
            values[name] = fresh(kind) if cleaned is None else cleaned
        else:
            values[name] = fresh(kind)
            if name in SITE.required:
                problems.add("missing-key", where, "missing", f"Add it: {kind.help}")
    for name in raw:
        if name.startswith("site_") and name not in SITE.fields:
            where = Where(places.get(name, "group_vars/all/site.yml"), name)
            problems.add("unknown-key", where, "unknown variable", suggest(name, SITE.fields))
    fill_backup(values)
    site = Site(values, places, {}, catalog, problems)
    for name, body in hosts.items():
        site.hosts[name] = load_host(name, body, problems)
    return site


def fill_backup(values: dict[str, Any]) -> None:
    """Defaults below site_backup, whether or not it was given."""
    kind = SITE.fields["site_backup"]
    given = values["site_backup"] or {}
    for key, inner in kind.fields.items():  # type: ignore[attr-defined]
        if not given.get(key):
            given[key] = fresh(inner)
    values["site_backup"] = given


def load_host(name: str, body: Mapping[str, Any], problems: Problems) -> Host:
    where = Where(str(body.get("file") or "hosts.yml"), name)
    given = body.get("vars") or {}
    known = {key: value for key, value in given.items() if key in HOST.fields} if isinstance(given, Mapping) else given
    cleaned = HOST.clean(known, where, problems) or {}
    return Host(
        name=name,
        where=where,
        groups=list(body.get("groups") or []),
        address=cleaned.get("ansible_host") or "",
        address6=cleaned.get("address6") or "",
        node=cleaned.get("node"),
        guest=cleaned.get("guest"),
        prober_zone=cleaned.get("prober_zone") or "",
        gpu=bool(cleaned.get("gpu")),
        memory=cleaned.get("memory"),
        windows=cleaned.get("windows"),
        wsl=str((cleaned.get("wsl") or {}).get("host") or ""),
        architecture=cleaned.get("architecture") or raspberrypi.architecture(body.get("groups") or []),
        root_disk=cleaned.get("root_disk") or "",
    )
