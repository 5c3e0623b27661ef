# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Folders of the inventory as external libraries of Immich."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

KEYS = ("owner", "exclude", "scan")


def folder_libraries(folders: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One library per folder, for the module immich_libraries; what a folder does not say is left out."""
    return [
        {"name": one["name"], "paths": [one["path"]], **{key: one[key] for key in KEYS if one.get(key) is not None}}
        for one in folders
    ]


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"folder_libraries": folder_libraries}
