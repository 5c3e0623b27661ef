# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a container's paths lie on its machine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import PurePosixPath
from typing import Any


def host_paths(paths: list[str], volumes: dict[str, dict[str, str]]) -> list[str]:
    """Paths strictly below a volume, on the host, each once; the volumes' own folders and all others are left out."""
    found = []
    for path in map(PurePosixPath, paths):
        inside = [v for v in volumes.values() if PurePosixPath(v["container"]) in path.parents]
        if inside and ".." not in path.parts:
            volume = max(inside, key=lambda entry: len(entry["container"]))
            found.append(str(PurePosixPath(volume["host"]) / path.relative_to(volume["container"])))
    return list(dict.fromkeys(found))


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"host_paths": host_paths}
