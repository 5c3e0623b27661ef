# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""JSON Schemas of the declarations, for editors. Run as a script it writes docs/schemas."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from .catalog_schema import SERVICE
from .host_schema import HOST
from .site_schema import SITE

BASE = "https://github.com/homelab/mediaserver/raw/main/docs/schemas"


def schemas() -> dict[str, dict[str, Any]]:
    """File name -> schema."""
    site = SITE.json()
    # a site's variables may lie in several files, beside others
    site.pop("required", None)
    site["additionalProperties"] = True
    host = HOST.json()
    host["additionalProperties"] = True
    titles = {
        "service": ("A service of the catalog", SERVICE.json()),
        "site": ("Variables of a site", site),
        "host": ("Variables of a host", host),
    }
    return {
        f"{name}.json": {
            "$schema": "http://json-schema.org/draft-07/schema#",
            "$id": f"{BASE}/{name}.json",
            "title": title,
            **shape,
        }
        for name, (title, shape) in titles.items()
    }


def text(schema: dict[str, Any]) -> str:
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def write(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, schema in schemas().items():
        (folder / name).write_text(text(schema), encoding="utf-8")
