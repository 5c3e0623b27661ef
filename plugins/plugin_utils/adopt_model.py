# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a comparison of a hand-made set-up with the plan of its host consists of."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

Tree = dict[str, Any]
SAME, CHANGES, STAYS, LINES, OWNER, REFUSED = "same", "changes", "stays", "inventory", "you", "refused"
"""Nothing to do; the take-over changes it; it is left alone; the printed lines are needed; only the owner can; no."""


@dataclass
class Row:
    """One difference. ``verdict`` is one of the words above."""

    service: str
    what: str
    now: str
    plan: str
    verdict: str
    note: str = ""


@dataclass
class Found:
    """What the comparison says."""

    rows: list[Row] = field(default_factory=list)
    inventory: Tree = field(default_factory=dict)
    reveal: list[Tree] = field(default_factory=list)
    request: Tree = field(default_factory=dict)
    services: list[str] = field(default_factory=list)

    def add(self, *values: str) -> None:
        self.rows.append(Row(*values))

    @property
    def refused(self) -> list[str]:
        """What hinders a take-over, one sentence each."""
        return [
            f"{row.service}: {row.what}: {row.note or row.now}" for row in self.rows if row.verdict in (REFUSED, LINES)
        ]


@dataclass
class Side:
    """The plan of one host and what its services are.

    ``given`` are names of secrets that the owner has written down, ``stored`` those of the vault, ``storage`` is
    site_storage.
    """

    name: str
    host: Tree
    catalog: Mapping[str, Tree]
    given: Collection[str] = ()
    stored: Collection[str] = ()
    storage: Mapping[str, Tree] = field(default_factory=dict)

    def compose(self, service: str) -> Tree:
        """The planned compose file; empty where the service has no containers here."""
        for one in self.host["files"]:
            if one["service"] == service and one["path"].endswith("/compose.yaml"):
                return dict(one["yaml"])
        return {}

    def container(self, service: str, name: str) -> Tree:
        return dict(self.compose(service).get("services", {}).get(name) or {})

    def source(self, service: str, name: str, at: str) -> str:
        """Where the plan has the folder that a container sees at ``at``."""
        found = [one["source"] for one in self.container(service, name).get("volumes") or [] if bind_at(one) == at]
        return str(found[0]) if found else ""

    def place(self, path: str) -> tuple[str, str] | None:
        """Storage class and folder of a path; the class's mount itself is the folder ``.``."""
        for name, body in self.storage.items():
            mount = str(body["mount"]).rstrip("/")
            if path.rstrip("/") == mount:
                return name, "."
            if path.startswith(f"{mount}/"):
                return name, path[len(mount) + 1 :].strip("/")
        return None


def bind_at(one: Any) -> str:
    return str(one.get("target")) if isinstance(one, Mapping) else str(one).split(":")[1]


Match = tuple[Tree, str, str]
"""An old container, its service and its container in the catalog."""
