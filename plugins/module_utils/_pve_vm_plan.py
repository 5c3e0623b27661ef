# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From what a VM is and what it should be to the actions between. Pure: no API, no clock."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.homelab.mediaserver.plugins.module_utils import _pve_format as fmt
from ansible_collections.homelab.mediaserver.plugins.module_utils._pve_vm_desired import (
    SINGLE,
    Desired,
    Disk,
    canonical,
    join,
    split,
)
from ansible_collections.homelab.mediaserver.plugins.module_utils._reconcile import Failure

LIVE = re.compile(
    r"name|description|tags|onboot|startup|protection|hookscript|balloon|ci(user|password|type|upgrade|custom)|sshkeys"
    r"|nameserver|searchdomain|(net|usb|ipconfig|unused)\d+"
)
LIVE_DISK = re.compile(r"(scsi|virtio)\d+")
LIVE_DISK_OPTIONS = {"backup", "replicate", "size"}
IS_DISK = re.compile(r"(scsi|virtio|sata|ide|efidisk|tpmstate)\d+")


@dataclass(frozen=True)
class Current:
    """A VM as /pending and /status/current tell it."""

    config: dict[str, str]  # with what is pending merged in
    effective: dict[str, str]  # what runs
    waiting: frozenset[str]  # keys whose value waits for a restart
    running: bool = False
    template: bool = False
    digest: str | None = None
    pool: str | None = None


@dataclass
class Changes:
    """What a configuration lacks."""

    values: dict[str, str] = field(default_factory=dict)
    delete: list[str] = field(default_factory=list)
    resize: dict[str, int] = field(default_factory=dict)  # existing disks: before the values are set
    resize_after: dict[str, int] = field(default_factory=dict)  # imported disks: once they are there
    warnings: list[str] = field(default_factory=list)


def current_from(pending: list[dict[str, Any]], status: dict[str, Any], pool: str | None = None) -> Current:
    config: dict[str, str] = {}
    effective: dict[str, str] = {}
    waiting = set()
    digest = None
    for item in pending:
        key = str(item.get("key"))
        if key == "digest":
            digest = str(item.get("value"))
            continue
        if "pending" in item or item.get("delete"):
            waiting.add(key)
        if item.get("value") is not None:
            effective[key] = str(item["value"])
        value = item.get("pending", item.get("value"))
        if not item.get("delete") and value is not None:
            config[key] = str(value)
    running = status.get("status") == "running"
    template = config.get("template") == "1"
    return Current(config, effective, frozenset(waiting), running, template, digest, pool)


def comparable(key: str, text: str) -> Any:
    """One canonical form for the user's and the system's value."""
    if key == "sshkeys":
        return fmt.decode_ssh_keys(text)
    if key == "tags":
        return fmt.tags(text)
    if key == "description":
        return text.strip()
    if key == "nameserver":
        return text.split()
    if key.startswith("ipconfig"):
        return fmt.parse(text)
    return text


def is_live(key: str, old: str | None, new: str | None) -> bool:
    """Does the change of a running VM come into force at once?"""
    if LIVE.fullmatch(key):
        return True
    if not LIVE_DISK.fullmatch(key):
        return False
    if old is None or new is None:
        return True
    before, after = canonical(key, split(key, old)), canonical(key, split(key, new))
    return {name for name in {*before, *after} if before.get(name) != after.get(name)} <= LIVE_DISK_OPTIONS


def new_disk(disk: Disk, slot: str) -> str:
    """The text that makes a volume."""
    options = dict(disk.options)
    if disk.volume:
        return join(slot, {"file": disk.volume, **options})
    if not disk.storage:
        raise Failure(f"Unable to make disk {slot}: it does not exist and no storage is given")
    if disk.form:
        options["format"] = disk.form
    if disk.import_from:
        return join(slot, {"file": f"{disk.storage}:0", "import-from": disk.import_from, **options})
    if slot in SINGLE:
        return join(slot, {"file": f"{disk.storage}:1", **options})
    if disk.size is None:
        raise Failure(f"Unable to make disk {slot}: it does not exist and no size is given")
    return join(slot, {"file": f"{disk.storage}:{fmt.gibibytes(disk.size)}", **options})


def _disk(vmid: int, slot: str, disk: Disk, config: dict[str, str], changes: Changes) -> None:
    if slot not in config:
        changes.values[slot] = new_disk(disk, slot)
        if disk.import_from and disk.size is not None:
            changes.resize_after[slot] = disk.size
        return
    if slot in SINGLE:
        return  # efidisk and tpmstate cannot be changed once they exist
    old = split(slot, config[slot])
    if disk.volume and old.get("file") != disk.volume:
        raise Failure(f"Unable to attach {disk.volume} as {slot} of VM {vmid}: {old.get('file')} is there")
    store = old.get("file", "").partition(":")[0]
    if disk.storage and store != disk.storage:
        changes.warnings.append(
            f"disk {slot} of VM {vmid} lies on {store}, not on {disk.storage}: this module does not move disks"
        )
    new = {**old, **disk.options}
    if canonical(slot, new) != canonical(slot, old):
        # the size is left out: the API restores it, and a stale one would come back after a restart
        changes.values[slot] = join(slot, {k: v for k, v in new.items() if k != "size"})
    if disk.size is None or "size" not in old:
        return
    has = fmt.size(old["size"])
    if has > disk.size:
        raise Failure(
            f"Unable to shrink disk {slot} of VM {vmid} from {old['size']} to {fmt.show_size(disk.size)}: "
            "Proxmox VE only grows disks"
        )
    if has < disk.size:
        changes.resize[slot] = disk.size


def _properties(key: str, wanted: dict[str, str], config: dict[str, str], changes: Changes) -> None:
    if key not in config:
        if key.startswith("net"):
            wanted = {"model": "virtio", **wanted}
        changes.values[key] = join(key, wanted)
        return
    old = split(key, config[key])
    if key.startswith(("hostpci", "usb")):  # a mapping replaces an address and the other way round
        rival = {"mapping": "host", "host": "mapping"}
        old = {name: value for name, value in old.items() if rival.get(name) not in wanted}
    new = {**old, **wanted}
    if canonical(key, new) != canonical(key, split(key, config[key])):
        changes.values[key] = join(key, new)


def differences(vmid: int, desired: Desired, config: dict[str, str]) -> Changes:
    """What must be written so that ``config`` (pending values merged) says what is desired."""
    changes = Changes()
    for key, text in sorted(desired.values.items()):
        if key not in config or comparable(key, config[key]) != comparable(key, text):
            changes.values[key] = text
    for key, wanted in sorted(desired.properties.items()):
        _properties(key, wanted, config, changes)
    for slot, disk in sorted(desired.disks.items()):
        _disk(vmid, slot, disk, config, changes)
    has_drive = any("cloudinit" in text for key, text in config.items() if IS_DISK.fullmatch(key))
    if desired.cloud_init_drive and not has_drive:
        slot, storage = desired.cloud_init_drive
        changes.values[slot] = f"{storage}:cloudinit"
    changes.delete = sorted(key for key in desired.gone if key in config)
    return changes


def view(config: dict[str, str], keys: set[str], sized: set[str]) -> dict[str, Any]:
    """Those keys for a person: properties as dictionaries, no secrets, nothing that the system makes up.

    The size is shown of ``sized`` disks only: that of an image or an attached volume is known to the node alone.
    """
    shown: dict[str, Any] = {}
    for key in sorted(keys & set(config)):
        if key == "cipassword":
            continue
        if IS_DISK.fullmatch(key):
            properties = canonical(key, split(key, config[key]))
            volume = properties.pop("file", "")
            if key not in sized:
                properties.pop("size", None)
            shown[key] = {"storage": volume.partition(":")[0], **properties}
        elif key.startswith("net") and key != "nameserver":
            shown[key] = canonical(key, {k: v for k, v in split(key, config[key]).items() if k != "macaddr"})
        elif re.fullmatch(r"(hostpci|virtiofs|usb)\d+|startup|agent|cicustom|cpu|machine|vga", key):
            shown[key] = canonical(key, split(key, config[key]))
        else:
            shown[key] = comparable(key, config[key])
    return shown


def after_view(before: dict[str, str], changes: Changes, keys: set[str], sized: set[str]) -> dict[str, Any]:
    """What :func:`view` will say once the changes are made."""
    config = {k: v for k, v in before.items() if k not in changes.delete}
    for key, text in changes.values.items():
        config[key] = text
        if IS_DISK.fullmatch(key):
            config[key] = _disk_after(key, text, before.get(key))
    shown = view(config, keys, sized)
    for slot, count in {**changes.resize, **changes.resize_after}.items():
        shown[slot]["size"] = fmt.show_size(count)
    return shown


def _disk_after(key: str, text: str, old: str | None) -> str:
    disk = split(key, text)
    wanted = disk.get("file", "").partition(":")[2]
    if old is not None:
        known = split(key, old).get("size")
        return join(key, {**disk, **({"size": known} if known else {})})
    disk.pop("import-from", None)
    disk.pop("format", None)
    if wanted == "cloudinit":
        return join(key, {**disk, "media": "cdrom"})
    if re.fullmatch(r"\d+(\.\d+)?", wanted) and wanted != "0":
        return join(key, {**disk, "size": fmt.show_size(fmt.size(wanted, bare=fmt.UNITS["G"]))})
    return join(key, disk)
