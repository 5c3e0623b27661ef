# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An old Immich beside the planned one: its way there, and whether the planned database takes its files. Pure."""

from __future__ import annotations

from . import adopt_path
from .adopt_model import CHANGES, REFUSED, Found, Match, Side, Tree
from .adopt_path import number, tag


def immich(result: Found, side: Side, matched: list[Match]) -> None:
    server = next((old for old, _s, name in matched if name == "server" and not old["microservices"]), None)
    database = next((old for old, _s, name in matched if name == "database"), None)
    if server is None or database is None:
        missing = "server" if server is None else "database"
        note = f"its {missing} does not run in this set-up. Start it, or leave immich out of this host"
        result.add("immich", "version", "?", "", REFUSED, note)
        return
    if database["state"] != "running":
        note = "the database does not run. Start it, so that it can be looked at"
        result.add("immich", "database", database["state"], "", REFUSED, note)
        return
    about = database.get("database") or {"extensions": {}, "user": "", "name": ""}
    extensions = about["extensions"]
    pin = number(tag(str(side.container("immich", "server")["image"])))
    way = adopt_path.immich(number(server["version"]), pin, "vectors" in extensions and "vchord" not in extensions)
    between = [adopt_path.show(one) for one in way.stones]
    text = " -> ".join([*between, adopt_path.show(pin)])
    result.add("immich", "version", server["version"] or "?", text, REFUSED if way.refused else CHANGES, way.refused)
    image = str(side.container("immich", "database")["image"])
    major = next((one["postgresql"] for one in database["mounts"] if one.get("postgresql")), "")
    why = adopt_path.database(image, major, extensions)
    listed = ", ".join(f"{key} {value}" for key, value in extensions.items() if key in ("vectors", "vchord", "vector"))
    now = f"PostgreSQL {major or '?'}, {listed or 'no vectors'}"
    result.add("immich", "database", now, tag(image), REFUSED if why else CHANGES, why)
    environment = side.container("immich", "server").get("environment") or {}
    for key, variable, word in (("user", "DB_USERNAME", "role"), ("name", "DB_DATABASE_NAME", "database")):
        wanted = str(environment.get(variable, ""))
        if about[key] and wanted and about[key] != wanted:
            if key == "name":
                remedy = f'stop the server, ALTER DATABASE "{about[key]}" RENAME TO "{wanted}", set {variable}={wanted}'
            else:
                remedy = f"CREATE ROLE {wanted} SUPERUSER LOGIN PASSWORD (the present one), set {variable}={wanted}"
            note = (
                f"the {word} is called {about[key]}, the plan's {wanted}. In the old set-up: {remedy}, start it again"
            )
            result.add("immich", word, about[key], wanted, REFUSED, note)


def stones(side: Side, service: str, matched: list[Match]) -> list[Tree]:
    """What adopt_services runs between the old Immich and the new."""
    server = next((o for o, s, n in matched if (s, n) == ("immich", "server") and not o["microservices"]), None)
    database = next((o for o, s, n in matched if (s, n) == ("immich", "database")), None)
    if service != "immich" or server is None or database is None:
        return []
    extensions = (database.get("database") or {}).get("extensions") or {}
    image = str(side.container("immich", "server")["image"])
    pin = number(tag(image))
    way = adopt_path.immich(number(server["version"]), pin, "vectors" in extensions and "vchord" not in extensions)
    found = []
    for version in way.stones:
        old_folder = {adopt_path.OLD_FOLDER: side.source("immich", "server", "/data")}
        found.append(
            {
                "name": f"immich-{adopt_path.show(version)}",
                "service": "immich",
                "containers": ["database", "cache", "server"],
                "images": {"server": image[: -len(tag(image))] + f"v{adopt_path.show(version)}"},
                "volumes": {"server": old_folder} if version < adopt_path.DATA_FOLDER else {},
            }
        )
    return found
