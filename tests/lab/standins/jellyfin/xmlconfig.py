# SPDX-License-Identifier: MIT
"""Jellyfin's configuration files (system.xml, network.xml, encoding.xml): read over typed defaults, written back."""

from __future__ import annotations

import copy
import xml.etree.ElementTree as tree
from pathlib import Path
from typing import Any


def read(path: Path, defaults: dict[str, Any]) -> dict[str, Any]:
    values = copy.deepcopy(defaults)
    if not path.exists():
        return values
    for element in tree.parse(path).getroot():
        default = defaults.get(element.tag)
        if isinstance(default, list):
            values[element.tag] = [child.text or "" for child in element]
        elif isinstance(default, bool):
            values[element.tag] = (element.text or "").strip().lower() == "true"
        elif isinstance(default, (int, float)):
            values[element.tag] = type(default)(element.text or 0)
        elif element.tag in defaults:
            values[element.tag] = element.text or ""
    return values


def write(path: Path, root: str, values: dict[str, Any]) -> None:
    top = tree.Element(root)
    for key, value in values.items():
        element = tree.SubElement(top, key)
        if isinstance(value, list):
            for item in value:
                tree.SubElement(element, "string").text = str(item)
        else:
            element.text = str(value).lower() if isinstance(value, bool) else str(value)
    tree.indent(top)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".new")
    tree.ElementTree(top).write(temporary, encoding="utf-8", xml_declaration=True)
    temporary.replace(path)
