# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which file of the inventory a variable comes from, so that a message can name it."""

from __future__ import annotations

import re
from pathlib import Path

SUFFIXES = (".yml", ".yaml", ".json")


class Sources:
    """The inventory's files by what stands in them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._variables: dict[str, str] = {}
        for path in sorted((folder / "group_vars").rglob("*")):
            if path.suffix in SUFFIXES and path.is_file():
                for name in re.findall(r"^([a-z_][a-z0-9_]*):", self._text(path), re.MULTILINE):
                    self._variables[name] = str(path.relative_to(folder))
        self._hosts_file = next(
            (name for name in ("hosts.yml", "hosts.yaml", "inventory.yml") if (folder / name).is_file()), "hosts.yml"
        )

    def of_variable(self, name: str) -> str:
        """Its file, or where it belongs."""
        return self._variables.get(name, "group_vars/all/site.yml")

    def of_host(self, name: str) -> str:
        """The file with a host's own variables: its host_vars, else the list of hosts."""
        for suffix in SUFFIXES:
            if (self.folder / "host_vars" / f"{name}{suffix}").is_file():
                return f"host_vars/{name}{suffix}"
        folder = self.folder / "host_vars" / name
        files = sorted(path for path in folder.glob("*") if path.suffix in SUFFIXES) if folder.is_dir() else []
        return str(files[0].relative_to(self.folder)) if files else self._hosts_file

    @staticmethod
    def _text(path: Path) -> str:
        try:
            return path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            return ""
