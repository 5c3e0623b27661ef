# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A virtual machine's keys, and what the user wants of it in Proxmox VE's own words. Pure."""

from __future__ import annotations

import re
from typing import Any

from ansible_collections.homelab.mediaserver.plugins.module_utils import _pve_format as fmt
from ansible_collections.homelab.mediaserver.plugins.module_utils._pve_kind import (
    Config,
    Desired,
    Disk,
    Kind,
    Properties,
    Slots,
    mebibytes,
    read_common,
    read_families,
)
from ansible_collections.homelab.mediaserver.plugins.module_utils._reconcile import Failure

_DISK = {
    "cache": ("cache", "str"), "discard": ("discard", "on"), "ssd": ("ssd", "flag"), "iothread": ("iothread", "flag"),
    "serial": ("serial", "str"), "backup": ("backup", "flag"), "replicate": ("replicate", "flag"),
    "aio": ("aio", "str"), "read_only": ("ro", "flag"), "media": ("media", "str"),
}  # fmt: skip
DISK_ONLY = {"storage", "size", "import_from", "volume", "format", "state", "destroy", "move"}
FAMILIES: dict[str, Slots] = {
    "disks": Slots(
        r"(scsi([12]?\d|30)|virtio(\d|1[0-5])|sata[0-5]|ide[0-3])", _DISK,
        {"cache": "none", "discard": "ignore", "ssd": "0", "iothread": "0", "backup": "1", "replicate": "1",
         "ro": "0", "media": "disk"},
        "file",
    ),
    "networks": Slots(
        r"net([12]?\d|3[01])",
        {"model": ("model", "str"), "bridge": ("bridge", "str"), "vlan": ("tag", "str"),
         "firewall": ("firewall", "flag"), "rate": ("rate", "str"), "mac": ("macaddr", "upper"), "mtu": ("mtu", "str"),
         "queues": ("queues", "str"), "link_down": ("link_down", "flag"), "trunks": ("trunks", "list")},
        {"firewall": "0", "link_down": "0"},
        "model",
    ),
    "pci": Slots(
        r"hostpci(\d|1[0-5])",
        {"mapping": ("mapping", "str"), "address": ("host", "str"), "pcie": ("pcie", "flag"),
         "rombar": ("rombar", "flag"), "romfile": ("romfile", "str"), "primary_gpu": ("x-vga", "flag"),
         "legacy_igd": ("legacy-igd", "flag"), "mdev": ("mdev", "str")},
        {"pcie": "0", "rombar": "1", "x-vga": "0", "legacy-igd": "0"},
        "host",
    ),
    "virtiofs": Slots(
        r"virtiofs\d",
        {"mapping": ("dirid", "str"), "cache": ("cache", "str"), "direct_io": ("direct-io", "flag"),
         "expose_acl": ("expose-acl", "flag"), "expose_xattr": ("expose-xattr", "flag")},
        {"cache": "auto", "direct-io": "0", "expose-acl": "0", "expose-xattr": "0"},
        "dirid",
    ),
    "usb": Slots(
        r"usb(\d|1[0-3])",
        {"mapping": ("mapping", "str"), "host": ("host", "str"), "usb3": ("usb3", "flag")},
        {"usb3": "0"},
        "host",
    ),
}  # fmt: skip
SINGLES: dict[str, Slots] = {
    "efidisk0": Slots("efidisk0", default_key="file"),
    "tpmstate0": Slots("tpmstate0", default_key="file"),
    "startup": Slots("startup", default_key="order"),
    "agent": Slots("agent", defaults={"enabled": "0"}, default_key="enabled", flags=frozenset({"enabled"})),
    "cpu": Slots("cpu", default_key="cputype"),
    "machine": Slots("machine", default_key="type"),
    "vga": Slots("vga", default_key="type"),
    "memory": Slots("memory", default_key="current"),
    "cicustom": Slots("cicustom"),
    "rng0": Slots("rng0", defaults={"max_bytes": "1024", "period": "1000"}, default_key="source"),
    "watchdog": Slots("watchdog", default_key="model"),
}
LIVE = re.compile(
    r"name|description|tags|onboot|startup|protection|hookscript|cpulimit|cpuunits|ci(user|password|type|upgrade|custom)"
    r"|sshkeys|nameserver|searchdomain|ipconfig\d+|unused\d+"
)
LIVE_DISK_OPTIONS = {"backup", "replicate", "size"}
LIVE_NET_OPTIONS = {"bridge", "tag", "trunks", "firewall", "rate", "link_down"}
USB_GUESTS = ("l26", "win8", "win10", "win11")
DISK = re.compile(r"(scsi|virtio|sata|ide|efidisk|tpmstate)\d+")


def is_live(key: str, old: str | None, new: str | None, effective: Config) -> bool:
    """Does the change of a running VM come into force at once? As Proxmox VE's vmconfig_hotplug_pending decides."""
    if LIVE.fullmatch(key):
        return True
    text = effective.get("hotplug", "1")
    features = {"1": "disk,network,usb", "0": ""}.get(text, text)
    if key == "balloon":  # its value is taken at once, switching it on or off is not
        return (old == "0") == (new == "0")
    if key == "hotplug":
        return not any(name in f"{text},{new}" for name in ("cpu", "memory"))
    if key in ("memory", "tablet"):
        return {"memory": "memory", "tablet": "usb"}[key] in features
    if key.startswith("usb"):
        return "usb" in features and effective.get("ostype") in USB_GUESTS
    changed = _changed(key, old, new)
    if re.fullmatch(r"net\d+", key):
        return "network" in features or changed <= LIVE_NET_OPTIONS
    if not DISK.fullmatch(key):
        return False
    if changed <= LIVE_DISK_OPTIONS or (changed <= {"file", "size"} and "media=cdrom" in str(old)):
        return True
    exchanged = {"*", "file"} & changed
    return bool(exchanged) and key.startswith(("scsi", "virtio")) and "disk" in features


def _changed(key: str, old: str | None, new: str | None) -> set[str]:
    """The properties that differ; ``*`` where there is nothing on one side."""
    if old is None or new is None:
        return {"*"}
    before, after = KIND.canonical(key, KIND.split(key, old)), KIND.canonical(key, KIND.split(key, new))
    return {name for name in {*before, *after} if before.get(name) != after.get(name)}


KIND = Kind(
    word="VM", short="VM", path="qemu", name="name", mac="macaddr", move=("move_disk", "disk"),
    families=FAMILIES, singles=SINGLES, disk=DISK, live=is_live,
    defaults={"onboot": "0", "protection": "0", "numa": "0", "tablet": "1", "ciupgrade": "1", "cores": "1",
              "sockets": "1", "bios": "seabios", "cpulimit": "0", "agent": "enabled=0", "hotplug": "1", "machine": "pc",
              "vga": "std", "scsihw": "lsi"},
    fixed=frozenset({"efidisk0", "tpmstate0"}),
    new_properties=lambda key: {"model": "virtio"} if key.startswith("net") else {},
    moves_running=True, frees_by_force=True, rereads_size=True,
)  # fmt: skip

PLAIN = {
    key: key for key in ("name", "cores", "sockets", "bios", "scsihw", "ostype", "description", "hookscript",
                         "cpulimit", "cpuunits", "keyboard", "args")
}  # fmt: skip
FLAGS = {key: key for key in ("onboot", "protection", "numa", "tablet", "localtime")}


def _single(params: dict[str, Any], desired: Desired) -> None:
    properties = desired.properties
    if params.get("memory") is not None:
        properties["memory"] = {"current": mebibytes(params["memory"])}
    if params.get("balloon") is not None:
        desired.values["balloon"] = mebibytes(params["balloon"])
    if params.get("hotplug") is not None:
        desired.values["hotplug"] = ",".join(sorted(params["hotplug"])) or "0"
    if params.get("boot") is not None:
        desired.put("boot", f"order={';'.join(params['boot'])}" if params["boot"] else "")
    for key, text in (params.get("serial") or {}).items():
        desired.put(key, text or "")
    for option in ("cpu", "machine", "vga"):
        if params.get(option) is not None:
            desired.put_properties(option, fmt.parse(params[option], SINGLES[option].default_key))
    if params.get("agent") is not None:
        properties["agent"] = {"enabled": fmt.flag(params["agent"])}
    for option, key in (("rng", "rng0"), ("watchdog", "watchdog")):
        wanted = params.get(option)
        if wanted is not None:
            given = {name: str(value) for name, value in wanted.items() if value is not None and name != "state"}
            if wanted.get("state") == "absent":
                desired.gone.add(key)
            else:
                properties[key] = given


def _firmware(params: dict[str, Any], desired: Desired) -> None:
    efi, tpm = params.get("efidisk"), params.get("tpm")
    if efi is not None:
        desired.disks["efidisk0"] = Disk(
            {"efitype": efi.get("type") or "4m", "pre-enrolled-keys": fmt.flag(bool(efi.get("pre_enrolled_keys")))},
            efi["storage"],
        )
    if tpm is not None:
        desired.disks["tpmstate0"] = Disk({"version": tpm.get("version") or "v2.0"}, tpm["storage"])


def _cloud_init(wanted: dict[str, Any], desired: Desired) -> None:
    def given(name: str) -> bool:
        return wanted.get(name) is not None

    if given("storage"):
        desired.cloud_init_drive = (wanted.get("drive") or "ide2", wanted["storage"])
    for option, key in (("user", "ciuser"), ("searchdomain", "searchdomain"), ("type", "citype")):
        if given(option):
            desired.put(key, str(wanted[option]))
    if given("upgrade"):
        desired.values["ciupgrade"] = fmt.flag(wanted["upgrade"])
    if given("ssh_keys"):
        desired.put("sshkeys", fmt.ssh_keys(wanted["ssh_keys"]))
    if given("nameservers"):
        desired.put("nameserver", " ".join(wanted["nameservers"]))
    names = {"ip": "ip", "gateway": "gw", "ip6": "ip6", "gateway6": "gw6"}
    for number, address in enumerate(wanted.get("ipconfig") or []):
        parts = (f"{names[name]}={address[name]}" for name in ("gateway", "gateway6", "ip", "ip6") if address.get(name))
        desired.put(f"ipconfig{number}", ",".join(parts))
    snippets: Properties = {kind: str(wanted[f"{kind}_snippet"]) for kind in ("meta", "network", "user", "vendor")
                            if given(f"{kind}_snippet")}  # fmt: skip
    if snippets:
        desired.properties["cicustom"] = snippets
    if given("password"):
        desired.secret["cipassword"] = str(wanted["password"])


def desired_from(params: dict[str, Any]) -> Desired:
    """The module's options in Proxmox VE's words; raises Failure for what cannot be meant."""
    desired = Desired(KIND)
    read_common(params, desired, PLAIN, FLAGS)
    _single(params, desired)
    _firmware(params, desired)
    read_families(params, desired, {"disks": DISK_ONLY})
    _cloud_init(params.get("cloud_init") or {}, desired)
    for slot, disk in desired.disks.items():
        if disk.import_from and not disk.storage:
            raise Failure(f"Unable to use disks.{slot}: import_from needs storage")
        if disk.options.get("media") == "cdrom" and (disk.storage or disk.size is not None or disk.import_from):
            raise Failure(f"Unable to use disks.{slot}: a CD-ROM takes volume only, such as local:iso/x.iso or none")
    return desired
