# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What pools are made of, from ``zpool status -P`` as JSON (OpenZFS 2.3 and later) or as text (before). Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.homelab.mediaserver.plugins.module_utils._reconcile import Failure

# heading of `zpool status` -> word of `zpool create`; "" are the data vdevs
GROUPS = {"special": "special", "dedup": "dedup", "logs": "log", "log": "log", "cache": "cache", "l2cache": "cache",
          "spares": "spare", "spare": "spare"}  # fmt: skip
STATES = {"CANT_OPEN": "UNAVAIL"}  # of JSON and of text
KINDS = re.compile(r"(mirror|raidz[123]?|draid[^-]*|replacing|spare|indirect)-\d+")
LINE = re.compile(r"\t( *)(.+?)(?:\s+([A-Z]+)(?:\s+(.*))?)?$")


@dataclass
class Node:
    """A line of ``zpool status``: a vdev or a device."""

    name: str
    state: str = ""
    was: str = ""
    children: list[Node] = field(default_factory=list)

    def leaves(self) -> Iterator[Node]:
        if not self.children:
            yield self
        for child in self.children:
            yield from child.leaves()


@dataclass(frozen=True)
class Device:
    """``path`` as the pool knows it; ``missing`` when the pool only remembers it."""

    path: str
    state: str
    missing: bool


@dataclass(frozen=True)
class Vdev:
    """A top-level vdev. ``group`` is "" (data), special, dedup, log, cache or spare."""

    group: str
    kind: str
    devices: tuple[Device, ...]
    name: str = ""


def vdevs(groups: Mapping[str, list[Node]]) -> list[Vdev]:
    found = []
    for group, nodes in groups.items():
        for node in nodes:
            match = KINDS.fullmatch(node.name)
            kind = match[1] if match else "disk"
            if kind == "indirect":  # what is left of a removed vdev
                continue
            kind = {"replacing": "disk", "spare": "disk", "raidz": "raidz1"}.get(kind, kind)
            devices = tuple(Device(leaf.was or leaf.name, leaf.state, bool(leaf.was)) for leaf in node.leaves())
            found.append(Vdev(group, kind, devices, node.name))
    return found


def parse_json(text: str) -> dict[str, list[Vdev]]:
    try:
        pools = json.loads(text)["pools"]
        return {name: vdevs(_json_groups(name, pool)) for name, pool in pools.items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Failure(
            f"Unable to read the pools: zpool status answered something else than expected ({error!r})"
        ) from error


def _json_groups(pool: str, body: Mapping[str, Any]) -> dict[str, list[Node]]:
    groups = {"": _json_nodes(body["vdevs"][pool]["vdevs"])}
    for heading, group in GROUPS.items():
        if heading in body:
            groups.setdefault(group, []).extend(_json_nodes(body[heading]))
    return groups


def _json_nodes(vdev_set: Mapping[str, Any]) -> list[Node]:
    return [
        Node(str(body.get("path") if body["vdev_type"] in ("disk", "file") and body.get("path") else body["name"]),
             STATES.get(body["state"], body["state"]), body.get("was", ""), _json_nodes(body.get("vdevs") or {}))
        for body in vdev_set.values()
    ]  # fmt: skip


def parse_text(text: str) -> dict[str, list[Vdev]]:
    found: dict[str, list[Vdev]] = {}
    for section in re.split(r"^  pool: ", text, flags=re.MULTILINE)[1:]:
        name = section.split("\n", 1)[0].strip()
        lines = [line for line in section.splitlines() if line.startswith("\t")]
        start = next((number for number, line in enumerate(lines) if line.split()[:2] == ["NAME", "STATE"]), None)
        if start is None:
            raise Failure(f"Unable to read pool {name}: zpool status shows no devices")
        found[name] = vdevs(_text_groups(lines[start + 1 :]))
    return found


def _text_groups(lines: Iterable[str]) -> dict[str, list[Node]]:
    groups: dict[str, list[Node]] = {"": []}
    current, path = "", [Node("")]
    for line in lines:
        match = LINE.fullmatch(line.rstrip())
        if match is None:
            continue
        depth, name, state, rest = len(match[1]) // 2, match[2], match[3] or "", match[4] or ""
        if depth == 0:
            current = "" if state else GROUPS.get(name, name)
            top = Node(name)
            top.children = groups.setdefault(current, [])
            path = [top]
            continue
        was = re.search(r"\bwas (/.*)$", rest)
        node = Node(name, state, was[1] if was else "")
        path[depth - 1].children.append(node)
        path[depth:] = [node]
    return groups


def parse_import(text: str) -> list[dict[str, str]]:
    """The pools of ``zpool import``: name, id, state and (where something is to be said) status."""
    found = []
    for section in re.split(r"^ *pool: ", text, flags=re.MULTILINE)[1:]:
        head = section.split("config:", 1)[0]
        entry = {"name": head.split("\n", 1)[0].strip()}
        for key in ("id", "state", "status"):
            if match := re.search(rf"^ *{key}: (.*(?:\n\t.*)*)", head, re.MULTILINE):
                entry[key] = " ".join(match[1].split())
        found.append(entry)
    return found
