# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Changes values in a YAML text and nothing else: comments, order and layout stay."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import yaml
from ansible.errors import AnsibleFilterError


def scalars(node: Any) -> Iterator[Any]:
    """Every scalar that is a value."""
    if isinstance(node, yaml.MappingNode):
        for _key, value in node.value:
            yield from scalars(value)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            yield from scalars(value)
    else:
        yield node


def find(node: Any, path: str) -> Any:
    """The node at a dotted path; a number picks an element of a list."""
    for part in path.split("."):
        if isinstance(node, yaml.MappingNode):
            node = next((value for key, value in node.value if key.value == part), None)
        elif isinstance(node, yaml.SequenceNode) and part.isdigit() and int(part) < len(node.value):
            node = node.value[int(part)]
        else:
            node = None
        if node is None:
            raise AnsibleFilterError(f"There is no {path} in the text: nothing can be set there")
    return node


def written(value: Any) -> str:
    """A value on one line. JSON is YAML; a plain word needs no quotes."""
    text = str(value)
    if isinstance(value, str) and text and " #" not in text and ": " not in text and not set(text) & set("{}[],\n"):
        try:
            if yaml.safe_load(text) == text:
                return text
        except yaml.YAMLError:
            pass
    return json.dumps(value, ensure_ascii=False)


def yaml_set(text: str, values: Mapping[str, Any], rename: Mapping[str, str] | None = None) -> str:
    """``text`` with ``values`` (dotted path -> value) set, and ``rename`` done in all other text values."""
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    changes: dict[tuple[int, int], str] = {}
    for path, value in values.items():
        node = find(root, path)
        changes[span(node, text)] = written(value)
    for node in scalars(root):
        new = node.value
        for old, other in (rename or {}).items():
            new = new.replace(old, other)
        if new != node.value:
            changes.setdefault(span(node, text), written(new))
    for (start, end), new in sorted(changes.items(), reverse=True):
        text = text[:start] + new + text[end:]
    return text


def span(node: Any, text: str) -> tuple[int, int]:
    """Where a node stands; a block's end lies behind its last line break and comments, so blocks are refused."""
    if not isinstance(node, yaml.ScalarNode) and not node.flow_style:
        raise AnsibleFilterError(f"Unable to set a value of several lines (line {node.start_mark.line + 1})")
    return node.start_mark.index, node.end_mark.index


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"yaml_set": yaml_set}
