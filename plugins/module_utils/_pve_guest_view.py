# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the diff shows of a guest: its managed keys before and after. Pure."""

from __future__ import annotations

import re
from typing import Any

from ansible_collections.homelab.mediaserver.plugins.module_utils import _pve_format as fmt
from ansible_collections.homelab.mediaserver.plugins.module_utils._pve_guest_plan import Changes
from ansible_collections.homelab.mediaserver.plugins.module_utils._pve_kind import (
    NET,
    Config,
    Desired,
    Disk,
    Kind,
    comparable,
)


def view(config: Config, desired: Desired) -> dict[str, Any]:
    """The managed keys for a person: properties as dictionaries, no secrets, nothing that the system makes up."""
    kind = desired.kind
    shown: dict[str, Any] = {}
    for key in sorted(managed(desired) & set(config)):
        if key == "cipassword":
            continue
        if kind.disk.fullmatch(key):
            shown[key] = _disk_view(kind, key, config[key], desired.disks.get(key))
        elif NET.fullmatch(key):
            net = kind.canonical(key, kind.split(key, config[key]))
            if kind.mac not in desired.properties.get(key, {}):
                net.pop(kind.mac, None)
            shown[key] = net
        elif kind.slots(key) is not None:
            shown[key] = kind.canonical(key, kind.split(key, config[key]))
        else:
            shown[key] = comparable(key, config[key])
    return shown


def _disk_view(kind: Kind, key: str, text: str, wanted: Disk | None) -> dict[str, str]:
    """The size is shown where one is wanted: that of an image or an attached volume is known to the node alone."""
    properties = kind.canonical(key, kind.split(key, text))
    file = properties.pop("file", "")
    for made_up in ("ms-cert", *(() if wanted and wanted.size is not None else ("size",))):
        properties.pop(made_up, None)
    named = file.startswith("/") or (properties.get("media") == "cdrom" and "cloudinit" not in file)
    return {**({"volume": file} if named else {"storage": file.partition(":")[0]}), **properties}


def managed(desired: Desired) -> set[str]:
    slots = {desired.cloud_init_drive[0]} if desired.cloud_init_drive else set()
    return {*desired.values, *desired.properties, *desired.disks, *desired.gone, *slots}


def after_view(before: Config, changes: Changes, desired: Desired, leaving: Config | None = None) -> dict[str, Any]:
    """What :func:`view` will say once the changes are made."""
    kind = desired.kind
    config = {k: v for k, v in before.items() if k not in changes.delete}
    for key, text in changes.values.items():
        old = before.get(key, (leaving or {}).get(key))
        config[key] = _disk_after(kind, key, text, old) if kind.disk.fullmatch(key) else text
    shown = view(config, desired)
    for slot, count in {**changes.resize, **changes.resize_after}.items():
        shown[slot]["size"] = fmt.show_size(count)
    for slot, storage in changes.move.items():
        shown[slot]["storage"] = storage
    return shown


def _disk_after(kind: Kind, key: str, text: str, old: str | None) -> str:
    disk = kind.split(key, text)
    wanted = disk.get("file", "").partition(":")[2]
    if old is not None:
        known = disk.get("size") or kind.split(key, old).get("size")
        return kind.join(key, {**disk, **({"size": known} if known else {})})
    disk.pop("import-from", None)
    disk.pop("format", None)
    if wanted == "cloudinit":
        return kind.join(key, {**disk, "media": "cdrom"})
    if re.fullmatch(r"\d+(\.\d+)?", wanted) and wanted != "0":
        return kind.join(key, {**disk, "size": fmt.show_size(fmt.size(wanted, bare=fmt.UNITS["G"]))})
    return kind.join(key, disk)
