# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A dataset as a person lists it, checked and in canonical form. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.homelab.mediaserver.plugins.module_utils import _zfs
from ansible_collections.homelab.mediaserver.plugins.module_utils._reconcile import Failure

# what is read of every dataset, where one has a key of its own to be, and where one is a volume
VIEW = ("type", "mountpoint", "mounted", "used", "available")
BASE = (*VIEW, "canmount", "keystatus", "encryptionroot")
KEY = ("encryption", "keylocation", "keyformat")
VOLUME = ("volsize", "volblocksize")
NAME = re.compile(r"[A-Za-z][\w.: -]*(/[\w.:][\w.: -]*)*", re.ASCII)


@dataclass(frozen=True)
class Wanted:
    """A dataset as wanted, in canonical form."""

    name: str
    volume: bool = False
    size: int = 0
    sparse: bool = False
    properties: dict[str, str] = field(default_factory=dict)
    inherit: tuple[str, ...] = ()
    encryption: Mapping[str, Any] | None = None
    mounted: bool = True
    renamed_from: str | None = None

    @property
    def kind(self) -> str:
        return "volume" if self.volume else "filesystem"


def wanted(item: Mapping[str, Any]) -> Wanted:
    """One present item of the module's list; refuses what contradicts itself."""
    name, props = item["name"], _zfs.canonical_all(item.get("properties") or {}, item["name"])
    size = item.get("size")
    inherit = tuple(_zfs.SHORT_NAMES.get(prop, prop) for prop in item.get("inherit") or ())
    problem = None
    if not NAME.fullmatch(name):
        problem = "this is no name of a dataset (pool/dataset)"
    elif size is None and item.get("type") == "volume":
        problem = "a volume needs a size"
    elif size is not None and item.get("type") == "filesystem":
        problem = "only a volume has a size; for a file system set the property quota"
    elif size is not None and _zfs.bytes_of(size) is None:
        problem = f"{size} is no size (30G, 512M or bytes)"
    elif "volsize" in props:
        problem = "the size of a volume is given by size, not by the property volsize"
    elif both := sorted(set(props) & set(inherit)):
        problem = f"{', '.join(both)} cannot be set and inherited at once"
    elif fixed := sorted(prop for prop in inherit if prop in _zfs.NOT_INHERITED or _zfs.is_quota_of(prop)):
        problem = f"{', '.join(fixed)} cannot be inherited; set a value (a quota: none)"
    elif item.get("encryption") and {"encryption", "keyformat", "keylocation"} & set(props):
        problem = "encryption is given by encryption, not by properties"
    elif item.get("renamed_from") and item["renamed_from"].split("/")[0] != name.split("/")[0]:
        problem = f"{item['renamed_from']} is in another pool and cannot be renamed to it"
    if problem:
        raise Failure(f"Unable to manage dataset {name}: {problem}")
    return Wanted(name, size is not None, _zfs.bytes_of(size) or 0 if size is not None else 0, bool(item.get("sparse")),
                  props, inherit, item.get("encryption"), item.get("mounted", True) is not False,
                  item.get("renamed_from"))  # fmt: skip


def asked(items: list[Wanted]) -> list[str]:
    """Every property that has to be read: each costs something for each dataset."""
    extra = {name for item in items for name in (*item.properties, *item.inherit)}
    extra |= {*(KEY if any(item.encryption for item in items) else ())}
    extra |= {*(VOLUME if any(item.volume for item in items) else ())}
    return [*BASE, *sorted(extra - set(BASE))]


def parents(name: str) -> list[str]:
    """``tank/a`` and ``tank`` for ``tank/a/b``: the nearest first."""
    parts = name.split("/")
    return ["/".join(parts[:end]) for end in range(len(parts) - 1, 0, -1)]


def below(name: str, top: str) -> bool:
    return name.startswith(f"{top}/")


def renamed(name: str, old: str, new: str) -> str:
    return new + name.removeprefix(old) if name == old or below(name, old) else name


def path_below(prop: str, value: str, top: str, name: str) -> str:
    """A value of ``top`` as ``name`` below it inherits it: a mount point goes on with the name."""
    return value + name.removeprefix(top) if prop == "mountpoint" and value.startswith("/") else value
