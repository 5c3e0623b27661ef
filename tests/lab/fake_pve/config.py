# SPDX-License-Identifier: MIT
"""How a VM's configuration changes: pending values, what is applied live, disks that become real or unused."""

from __future__ import annotations

import math
import random
from typing import Any

from . import storage
from .errors import ApiError, invalid
from .schema import is_disk, parse, parse_key, prefix_of, render_disk, render_net, typed
from .world import GIB, World, human

LIVE = {"name", "description", "tags", "onboot", "startup", "protection", "hookscript", "ciuser", "cipassword",
        "citype", "ciupgrade", "sshkeys", "nameserver", "searchdomain", "cicustom", "lock", "cpulimit",
        "cpuunits"}  # fmt: skip
LIVE_PREFIXES = ("ipconfig", "unused")
HOTPLUG_DISKS = ("scsi", "virtio")
WAITING_DISK_OPTIONS = {"aio", "discard", "iothread", "queues", "product", "cache", "ssd", "vendor", "ro"}
LIVE_NET_OPTIONS = {"bridge", "tag", "trunks", "firewall", "rate", "link_down"}
ROOT_ONLY = ("args", "lock", "affinity", "hugepages", "keephugepages", "ivshmem", "vmgenid", "spice_enhancements",
             "hookscript", "parallel0", "parallel1", "parallel2")  # fmt: skip

Vm = dict[str, Any]


def new_mac() -> str:
    return "BC:24:11:" + ":".join(f"{random.randrange(256):02X}" for _ in range(3))


def check_rights(call: Any, key: str, value: str) -> None:
    """What only root@pam may set, and what needs a privilege."""
    world: World = call.world
    if key == "hookscript" and not storage.file_of(world, value).exists():
        raise invalid({"hookscript": f"script '{value}' does not exist\n"})
    if key == "startup":
        call.need("Sys.Modify", "/")
    if is_disk(key):
        parsed = parse_key(key, value)
        if not call.root and (parsed.get("file", "").startswith("/") or parsed.get("import-from", "").startswith("/")):
            line = 581 if world.release.startswith("8") else 651
            raise ApiError(500, f"Only root can pass arbitrary filesystem paths. at /usr/share/perl5/PVE/Storage.pm "
                                f"line {line}.")  # fmt: skip
    if call.root:
        return
    prefix = prefix_of(key)
    if key in ROOT_ONLY:
        raise ApiError(500, f"only root can set '{key}' config")
    if prefix == "hostpci" and "mapping" not in parse_key(key, value):
        raise ApiError(500, f"only root can set '{key}' config for non-mapped devices")
    if prefix == "hostpci":
        call.need("Mapping.Use", f"/mapping/pci/{parse_key(key, value)['mapping']}")
    if prefix == "usb" and "mapping" not in parse_key(key, value) and parse_key(key, value).get("host") != "spice":
        raise ApiError(500, f"only root can set '{key}' config for real devices")
    if key.startswith("serial") and value.startswith("/dev/"):
        raise ApiError(500, f"only root can modify '{key}' config for real devices")


def merged(vm: Vm) -> dict[str, Any]:
    """The configuration with what is pending: the answer of GET config."""
    result = {**vm["conf"], **vm["pending"]}
    for key in vm["delete"]:
        result.pop(key, None)
    return result


def shown(config: dict[str, Any]) -> dict[str, Any]:
    return {key: "**********" if key == "cipassword" else typed(key, value) for key, value in config.items()}


def _new_disk(world: World, vmid: int, key: str, disk: dict[str, str]) -> dict[str, str]:
    """``store:1`` / ``store:0,import-from=…`` / ``store:cloudinit``: make the volume."""
    store, _, wanted = disk["file"].partition(":")
    form = disk.pop("format", "")
    if wanted == "cloudinit":
        files = storage.storage(world, store)["type"] in storage.FILE_TYPES
        volid = storage.allocate(world, store, vmid, 4 * 1024**2, suffix="cloudinit", form="qcow2" if files else "")
        return {"file": volid, "media": "cdrom"}
    source = disk.pop("import-from", "")
    if source:
        size = import_size(world, source)
    elif key.startswith("efidisk"):
        size = 528 * 1024
    elif key.startswith("tpmstate"):
        size = 4 * 1024**2
    else:
        size = math.ceil(float(wanted) * GIB / 1024) * 1024
    disk["file"] = storage.allocate(world, store, vmid, size, form=form)
    return {**disk, "size": human(size)}


def import_size(world: World, source: str) -> int:
    if source in world.data["volumes"]:
        return int(world.data["volumes"][source]["size"])
    path = world.path(source) if source.startswith("/") else storage.file_of(world, source)
    if not path.exists():
        raise ApiError(500, f"volume '{source}' does not exist")
    return storage.image_size(path)


def is_new_disk(disk: dict[str, str]) -> bool:
    _store, sep, wanted = disk.get("file", "").partition(":")
    return bool(sep) and (wanted == "cloudinit" or wanted.replace(".", "", 1).isdigit())


def prepare(world: World, vmid: int, key: str, value: str) -> str:
    """The value as it will stand in the configuration; makes volumes and MAC addresses."""
    if prefix_of(key) == "net":
        net = parse_key(key, value)
        net.setdefault("macaddr", new_mac())
        return render_net({**net, "macaddr": net["macaddr"].upper()})
    if not is_disk(key):
        return value
    disk = parse_key(key, value)
    if is_new_disk(disk):
        return render_disk(_new_disk(world, vmid, key, disk))
    if disk["file"] == "none" or disk["file"].startswith("/") or disk.get("media") == "cdrom":
        return render_disk(disk)
    if disk["file"] not in world.data["volumes"]:
        raise ApiError(500, f"volume '{disk['file']}' does not exist")
    return render_disk({**disk, "size": human(world.data["volumes"][disk["file"]]["size"])})


def check_boot(config: dict[str, Any]) -> None:
    order = parse(str(config.get("boot", "")), "legacy").get("order", "")
    for device in filter(None, order.split(";")):
        if device not in config:
            raise ApiError(500, f"invalid bootorder: device '{device}' does not exist'")


def detach(world: World, vm: Vm, key: str, old: str, force: bool = False) -> None:
    """A disk left a slot: cloud-init and forced ones are freed, others become unusedN."""
    disk = parse_key(key, old)
    volid = disk.get("file", "")
    if volid not in world.data["volumes"]:
        return
    if force or key.startswith("unused") or "cloudinit" in volid:
        del world.data["volumes"][volid]
        return
    used = {parse_key(k, str(v)).get("file") for k, v in vm["conf"].items() if is_disk(k) or k.startswith("unused")}
    if volid not in used:
        number = next(n for n in range(256) if f"unused{n}" not in vm["conf"])
        vm["conf"][f"unused{number}"] = volid


def live(vm: Vm, key: str, new: str | None) -> bool:
    """Is the change applied to a running machine at once? ``new`` is None for a removal."""
    prefix = prefix_of(key)
    text = str(vm["conf"].get("hotplug", "1"))
    features = {"1": "network,disk,usb", "0": ""}.get(text, text)
    if key == "balloon":  # switching the device on or off is no hotplug
        return (str(vm["conf"].get(key)) == "0") == (new == "0")
    if key == "hotplug":
        return not any(name in f"{text},{new}" for name in ("cpu", "memory"))
    if key == "tablet":
        return "usb" in features
    if prefix == "usb":
        return "usb" in features and vm["conf"].get("ostype") in ("l26", "win8", "win10", "win11")
    if prefix == "net":
        if new is None or key not in vm["conf"]:
            return "network" in features
        before, after = parse_key(key, vm["conf"][key]), parse_key(key, new)
        changed = {k for k in {*before, *after} if before.get(k) != after.get(k)}
        return "network" in features or changed <= LIVE_NET_OPTIONS
    if key in LIVE or prefix in LIVE_PREFIXES:
        return True
    if not is_disk(key):
        return False
    old = vm["conf"].get(key)
    if new is not None and old is not None:
        before, after = parse_key(key, old), parse_key(key, new)
        if before.get("file") == after.get("file"):
            return not {k for k in {*before, *after} if before.get(k) != after.get(k)} & WAITING_DISK_OPTIONS
        if before.get("media") == "cdrom":
            return True
    return prefix in HOTPLUG_DISKS and "disk" in features


def apply_one(world: World, vm: Vm, key: str, new: str | None, force: bool = False) -> None:
    """Put one value (or a removal) into the configuration that runs."""
    old = vm["conf"].pop(key, None)
    vm["pending"].pop(key, None)
    vm["delete"] = [k for k in vm["delete"] if k != key]
    if new is not None:
        vm["conf"][key] = new
        if is_disk(key):
            volid = parse_key(key, new)["file"]
            for other in [k for k, v in vm["conf"].items() if k.startswith("unused") and v == volid]:
                del vm["conf"][other]
    if old is not None and (is_disk(key) or key.startswith("unused")):
        same = new is not None and parse_key(key, new).get("file") == parse_key(key, str(old)).get("file")
        if not same:
            detach(world, vm, key, str(old), force)


def apply_pending(world: World, vm: Vm) -> None:
    for key in list(vm["delete"]):
        apply_one(world, vm, key, None)
    for key, value in list(vm["pending"].items()):
        apply_one(world, vm, key, value)


def update(world: World, vmid: int, vm: Vm, changes: dict[str, str], delete: list[str], revert: list[str],
           running: bool, force: bool) -> dict[str, str]:  # fmt: skip
    """PUT config, after parameters and rights were checked; the caller holds the lock. Answers what was not plugged."""
    problems: dict[str, str] = {}
    current = merged(vm)
    for key in delete:
        if (is_disk(key) or key.startswith("unused")) and key in current and int(current.get("protection", 0)):
            word = "drive" if is_disk(key) else "unused disk"
            raise ApiError(500, f"can't remove {word} '{key}' - protection mode enabled")
    check_boot({**{k: v for k, v in current.items() if k not in delete}, **changes} if "boot" in changes else {})
    for key in revert:
        vm["pending"].pop(key, None)
        vm["delete"] = [k for k in vm["delete"] if k != key]
    for key in delete:
        vm["pending"].pop(key, None)
        _boot_without(vm, key)
        if key in vm["conf"]:
            if running and live(vm, key, None) and key in world.hotplug_fails:
                problems[key] = f"hotplug problem - {world.hotplug_fails[key]}\n"
                vm["delete"] = sorted({*vm["delete"], key})
            elif running and not live(vm, key, None):
                vm["delete"] = sorted({*vm["delete"], key})
            else:
                apply_one(world, vm, key, None, force)
    changes = {**changes, **_boot_with(vm, changes)}
    for key, value in changes.items():
        text = prepare(world, vmid, key, value)
        vm["delete"] = [k for k in vm["delete"] if k != key]
        if str(vm["conf"].get(key)) == text:
            vm["pending"].pop(key, None)
        elif running and live(vm, key, text) and key in world.hotplug_fails:
            problems[key] = f"hotplug problem - {world.hotplug_fails[key]}\n"
            vm["pending"][key] = text
        elif running and not live(vm, key, text):
            vm["pending"][key] = text
        else:
            apply_one(world, vm, key, text)
    if not running:
        apply_pending(world, vm)
    return problems


def _boot_without(vm: Vm, key: str) -> None:
    """A removed device leaves the boot order."""
    order = parse(str(vm["conf"].get("boot", "")), "legacy").get("order", "").split(";")
    if key in order:
        left = [device for device in order if device != key]
        vm["conf"]["boot"] = f"order={';'.join(left)}" if left else " "


def _boot_with(vm: Vm, changes: dict[str, str]) -> dict[str, str]:
    """A CD-ROM drive that is told enters the boot order, unless that is told in the same request."""
    order = [key for key in parse(str(vm["conf"].get("boot", "")), "legacy").get("order", "").split(";") if key]
    drives = [key for key, value in changes.items()
              if is_disk(key) and key not in order and parse_key(key, value).get("media") == "cdrom"
              and "cloudinit" not in value]  # fmt: skip
    return {"boot": f"order={';'.join([*order, *drives])}"} if order and drives and "boot" not in changes else {}
