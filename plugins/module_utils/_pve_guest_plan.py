# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From what a guest's configuration says and what it should say to the changes between. Pure: no API, no clock."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.homelab.mediaserver.plugins.module_utils import _pve_format as fmt
from ansible_collections.homelab.mediaserver.plugins.module_utils._pve_kind import (
    Config,
    Desired,
    Disk,
    Kind,
    Properties,
    comparable,
)
from ansible_collections.homelab.mediaserver.plugins.module_utils._reconcile import Failure

EXTENT = 4 * fmt.UNITS["M"]  # LVM makes disks of whole extents: less than one too much is its rounding
ANY_VERSION = {"q35": "pc-q35-", "pc": "pc-i440fx-"}


@dataclass(frozen=True)
class Current:
    """A guest as /pending and /status/current tell it."""

    config: Config  # with what is pending merged in
    effective: Config  # what runs
    waiting: frozenset[str]  # keys whose value waits for a restart
    running: bool = False
    template: bool = False
    digest: str | None = None
    pool: str | None = None
    ha: bool = False  # high availability starts and stops it

    @property
    def leaving(self) -> Config:
        """Keys whose removal waits for a restart: they are still there, with their data and MAC addresses."""
        return {key: text for key, text in self.effective.items() if key not in self.config}


@dataclass
class Changes:
    """What a configuration lacks."""

    values: Config = field(default_factory=dict)
    delete: list[str] = field(default_factory=list)
    resize: dict[str, int] = field(default_factory=dict)  # existing disks: before the values are set
    resize_after: dict[str, int] = field(default_factory=dict)  # imported and attached disks: once they are there
    move: dict[str, str] = field(default_factory=dict)  # slot -> storage
    warnings: list[str] = field(default_factory=list)


def current_from(pending: list[dict[str, Any]], status: dict[str, Any], pool: str | None = None) -> Current:
    config: Config = {}
    effective: Config = {}
    waiting = set()
    digest = None
    for item in pending:
        key = str(item.get("key"))
        if key == "digest":
            digest = str(item.get("value"))
            continue
        if "pending" in item or item.get("delete"):
            waiting.add(key)
        value = item.get("pending", item.get("value"))
        if item.get("value") is not None:
            effective[key] = str(item["value"])
        if not item.get("delete") and value is not None:
            config[key] = str(value)
        if key == "boot":  # a space says that nothing can be booted from
            for told in (config, effective):
                if not told.get("boot", "x").strip():
                    del told["boot"]
    ha = bool((status.get("ha") or {}).get("managed"))
    running, template = status.get("status") == "running", config.get("template") == "1"
    return Current(config, effective, frozenset(waiting), running, template, digest, pool, ha)


def new_disk(kind: Kind, disk: Disk, slot: str) -> str:
    """The text that makes or attaches a volume."""
    options = {name: value for name, value in disk.options.items() if value}
    if disk.volume or options.get("media") == "cdrom":
        return kind.join(slot, {"file": disk.volume or "none", **options})
    if not disk.storage:
        raise Failure(f"Unable to make disk {slot}: it does not exist and no storage is given")
    options |= {"format": disk.form} if disk.form else {}
    if disk.import_from:
        return kind.join(slot, {"file": f"{disk.storage}:0", "import-from": disk.import_from, **options})
    if slot in kind.fixed:
        return kind.join(slot, {"file": f"{disk.storage}:1", **options})
    if disk.size is None:
        raise Failure(f"Unable to make disk {slot}: it does not exist and no size is given")
    return kind.join(slot, {"file": f"{disk.storage}:{fmt.gibibytes(disk.size)}", **options})


@dataclass
class _Differ:
    """Compares one guest; ``config`` has pending values merged, ``leaving`` is on its way out."""

    what: str  # "VM 101"
    desired: Desired
    config: Config
    leaving: Config
    changes: Changes = field(default_factory=Changes)

    @property
    def kind(self) -> Kind:
        return self.desired.kind

    def value(self, key: str, text: str, fresh: bool) -> None:
        known = self.config.get(key, None if fresh else self.kind.defaults.get(key))
        if known is None or comparable(key, known) != comparable(key, text):
            self.changes.values[key] = text

    def properties(self, key: str, wanted: Properties, fresh: bool) -> None:
        text = self.config.get(key, self.leaving.get(key))
        if text is None:
            new = {**self.kind.new_properties(key), **{name: value for name, value in wanted.items() if value}}
            new = self.kind.canonical(key, new) if key in self.kind.sparse else new
            default = self.kind.defaults.get(key)
            if new and (fresh or default is None or not self.kind.same(key, default, self.kind.join(key, new))):
                self.changes.values[key] = self.kind.join(key, new)
            return
        old = self.kind.split(key, text)
        kept = old
        if key.startswith(("hostpci", "usb")):  # a mapping replaces an address and the other way round
            rival = {"mapping": "host", "host": "mapping"}
            kept = {name: value for name, value in old.items() if rival.get(name) not in wanted}
        if key == "machine" and old.get("type", "").startswith(ANY_VERSION.get(wanted.get("type", ""), "?")):
            wanted = {**wanted, "type": old["type"]}  # a version is pinned: q35 means any of them
        new = {name: value for name, value in {**kept, **wanted}.items() if value != ""}
        new = self.kind.canonical(key, new) if key in self.kind.sparse else new
        if not new:
            self.changes.delete.append(key)
        elif key not in self.config or self.kind.canonical(key, new) != self.kind.canonical(key, old):
            self.changes.values[key] = self.kind.join(key, new)

    def disk(self, slot: str, disk: Disk) -> None:
        text = self.config.get(slot, self.leaving.get(slot))
        if text is None:
            self._attach_once(slot, disk)
            self.changes.values[slot] = new_disk(self.kind, disk, slot)
            if (disk.import_from or (disk.volume and not disk.bind)) and disk.size is not None:
                self.changes.resize_after[slot] = disk.size
            return
        old = self.kind.split(slot, text)
        if slot in self.kind.fixed:  # efidisk and tpmstate cannot be changed once they exist
            self.changes.values.update({} if slot in self.config else {slot: self._sized(slot, old, disk)})
            return
        new = {name: value for name, value in {**old, **disk.options}.items() if value != ""}
        new["file"] = self._volume(slot, disk, old)
        if slot not in self.config or self.kind.canonical(slot, new) != self.kind.canonical(slot, old):
            self.changes.values[slot] = self._sized(slot, new, disk)
        self._storage(slot, disk, old)
        self._size(slot, disk, old)

    def _attach_once(self, slot: str, disk: Disk) -> None:
        """Two slots with one volume destroy its data."""
        taken = {self.kind.split(key, text).get("file", ""): key for key, text in self.config.items()
                 if self.kind.disk.fullmatch(key) and key not in self.desired.gone}  # fmt: skip
        other = taken.get(disk.volume or "")
        if other and not disk.bind and disk.volume != "none" and disk.options.get("media") != "cdrom":
            raise Failure(f"Unable to attach {disk.volume} as {slot} of {self.what}: it is {other} already")

    def _volume(self, slot: str, disk: Disk, old: Properties) -> str:
        has = old.get("file", "")
        if not disk.volume or disk.volume == has:
            return has
        exchangeable = old.get("media") == "cdrom" and disk.options.get("media") == "cdrom" and "cloudinit" not in has
        if exchangeable or (disk.bind and has.startswith("/")):  # no data is left behind
            return disk.volume
        raise Failure(f"Unable to attach {disk.volume} as {slot} of {self.what}: {has} is there")

    def _sized(self, slot: str, new: Properties, disk: Disk) -> str:
        """Where the API restores the size it is left out: a stale one would come back after a restart."""
        if self.kind.rereads_size or "size" not in new:
            return self.kind.join(slot, {k: v for k, v in new.items() if k != "size"})
        return self.kind.join(slot, {**new, "size": fmt.show_size(max(fmt.size(new["size"]), disk.size or 0))})

    def _storage(self, slot: str, disk: Disk, old: Properties) -> None:
        has, colon, _name = old.get("file", "").partition(":")
        if not disk.storage or not colon or has == disk.storage:
            return
        if disk.move:
            self.changes.move[slot] = disk.storage
        else:
            self.changes.warnings.append(
                f"disk {slot} of {self.what} lies on {has}, not on {disk.storage}: it stays there (move: true moves it)"
            )

    def _size(self, slot: str, disk: Disk, old: Properties) -> None:
        if disk.size is None or "size" not in old:
            return
        has = fmt.size(old["size"])
        if has >= disk.size + EXTENT:
            raise Failure(
                f"Unable to shrink disk {slot} of {self.what} from {old['size']} to {fmt.show_size(disk.size)}: "
                "Proxmox VE only grows disks"
            )
        if has < disk.size:
            self.changes.resize[slot] = disk.size


def differences(
    vmid: int, desired: Desired, config: Config, leaving: Config | None = None, *, fresh: bool = False
) -> Changes:
    """What must be written so that ``config`` (pending values merged) says what is desired.

    ``fresh`` is a guest that does not exist: it is told everything, even what Proxmox VE would take for granted.
    """
    differ = _Differ(f"{desired.kind.word} {vmid}", desired, config, leaving or {})
    changes = differ.changes
    for key, text in sorted(desired.values.items()):
        differ.value(key, text, fresh)
    for key, wanted in sorted(desired.properties.items()):
        differ.properties(key, wanted, fresh)
    for slot, disk in sorted(desired.disks.items()):
        differ.disk(slot, disk)
    has_drive = any("cloudinit" in text for key, text in config.items() if desired.kind.disk.fullmatch(key))
    if desired.cloud_init_drive and not has_drive:
        slot, storage = desired.cloud_init_drive
        if slot in config:
            raise Failure(f"Unable to make the cloud-init drive {slot} of {differ.what}: {config[slot]} is there")
        changes.values[slot] = f"{storage}:cloudinit"
    changes.delete = sorted({*changes.delete, *(key for key in desired.gone if key in config)})
    boot = desired.values.get("boot", "")
    if not fresh and boot and any(_enters_boot_order(desired, key, text) for key, text in changes.values.items()):
        changes.values["boot"] = boot
    return changes


def _enters_boot_order(desired: Desired, key: str, text: str) -> bool:
    """Proxmox VE adds a CD-ROM drive that it is told of to the boot order, even where it says which one is wanted."""
    order = re.split("[=;]", desired.values["boot"])
    return key not in order and "media=cdrom" in text and desired.kind.disk.fullmatch(key) is not None
