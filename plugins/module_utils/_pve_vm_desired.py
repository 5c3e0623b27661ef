# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the user wants of a VM, in Proxmox VE's own words. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.homelab.mediaserver.plugins.module_utils import _pve_format as fmt
from ansible_collections.homelab.mediaserver.plugins.module_utils._reconcile import Failure

Properties = dict[str, str]
MIB = 1024**2


@dataclass(frozen=True)
class Slots:
    """A family of keys such as scsi0, scsi1: its pattern, its options and what Proxmox VE takes an absent one for."""

    pattern: str
    options: dict[str, tuple[str, str]]  # option -> (property, form)
    defaults: Properties = field(default_factory=dict)
    default_key: str = ""


_DISK = {
    "cache": ("cache", "str"), "discard": ("discard", "on"), "ssd": ("ssd", "flag"), "iothread": ("iothread", "flag"),
    "serial": ("serial", "str"), "backup": ("backup", "flag"), "replicate": ("replicate", "flag"),
    "aio": ("aio", "str"), "read_only": ("ro", "flag"),
}  # fmt: skip
DISKS = Slots(
    r"(scsi([12]?\d|30)|virtio(\d|1[0-5])|sata[0-5]|ide[0-3])", _DISK,
    {"cache": "none", "discard": "ignore", "ssd": "0", "iothread": "0", "backup": "1", "replicate": "1", "ro": "0"},
    "file",
)  # fmt: skip
DISK_ONLY = {"storage", "size", "import_from", "volume", "format", "state", "destroy"}
NETWORKS = Slots(
    r"net([12]?\d|3[01])",
    {"model": ("model", "str"), "bridge": ("bridge", "str"), "vlan": ("tag", "str"), "firewall": ("firewall", "flag"),
     "rate": ("rate", "str"), "mac": ("macaddr", "upper"), "mtu": ("mtu", "str"), "queues": ("queues", "str"),
     "link_down": ("link_down", "flag"), "trunks": ("trunks", "str")},
    {"firewall": "0", "link_down": "0"},
    "model",
)  # fmt: skip
PCI = Slots(
    r"hostpci(\d|1[0-5])",
    {"mapping": ("mapping", "str"), "address": ("host", "str"), "pcie": ("pcie", "flag"), "rombar": ("rombar", "flag"),
     "romfile": ("romfile", "str"), "primary_gpu": ("x-vga", "flag"), "legacy_igd": ("legacy-igd", "flag"),
     "mdev": ("mdev", "str")},
    {"pcie": "0", "rombar": "1", "x-vga": "0", "legacy-igd": "0"},
    "host",
)  # fmt: skip
VIRTIOFS = Slots(
    r"virtiofs\d",
    {"mapping": ("dirid", "str"), "cache": ("cache", "str"), "direct_io": ("direct-io", "flag"),
     "expose_acl": ("expose-acl", "flag"), "expose_xattr": ("expose-xattr", "flag")},
    {"cache": "auto", "direct-io": "0", "expose-acl": "0", "expose-xattr": "0"},
    "dirid",
)  # fmt: skip
USB = Slots(
    r"usb(\d|1[0-3])",
    {"mapping": ("mapping", "str"), "host": ("host", "str"), "usb3": ("usb3", "flag")},
    {"usb3": "0"},
    "host",
)  # fmt: skip
FAMILIES: dict[str, Slots] = {
    "disks": DISKS, "networks": NETWORKS, "pci": PCI, "virtiofs": VIRTIOFS, "usb": USB,
}  # fmt: skip
SINGLE: dict[str, Slots] = {
    "efidisk0": Slots("efidisk0", {}, {}, "file"),
    "tpmstate0": Slots("tpmstate0", {}, {}, "file"),
    "startup": Slots("startup", {}, {}, "order"),
    "agent": Slots("agent", {}, {"enabled": "0"}, "enabled"),
    "cpu": Slots("cpu", {}, {}, "cputype"),
    "machine": Slots("machine", {}, {}, "type"),
    "vga": Slots("vga", {}, {}, "type"),
    "memory": Slots("memory", {}, {}, "current"),
    "cicustom": Slots("cicustom", {}, {}, ""),
}


@dataclass
class Disk:
    """A disk that must be there: how to make it if it is not, how large, and what its options are."""

    options: Properties
    storage: str | None = None
    size: int | None = None
    import_from: str | None = None
    volume: str | None = None
    form: str | None = None


@dataclass
class Desired:
    """``values``: key -> text; ``properties``: key -> properties that must be so, others stay; ``gone``: to remove."""

    values: dict[str, str] = field(default_factory=dict)
    properties: dict[str, Properties] = field(default_factory=dict)
    disks: dict[str, Disk] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)
    destroy: set[str] = field(default_factory=set)
    secret: dict[str, str] = field(default_factory=dict)  # set at creation or on request, never compared
    cloud_init_drive: tuple[str, str] | None = None  # (slot, storage)


def family_of(key: str) -> Slots | None:
    if key in SINGLE:
        return SINGLE[key]
    return next((slots for slots in FAMILIES.values() if re.fullmatch(slots.pattern, key)), None)


def split(key: str, text: Any) -> Properties:
    slots = family_of(key)
    if re.fullmatch(NETWORKS.pattern, key):
        return fmt.parse_net(text)
    return fmt.parse(text, slots.default_key if slots else "")


def join(key: str, properties: Properties) -> str:
    slots = family_of(key)
    if re.fullmatch(NETWORKS.pattern, key):
        return fmt.render_net(properties)
    return fmt.render(properties, slots.default_key if slots else "")


def canonical(key: str, properties: Properties) -> Properties:
    """Comparable: defaults left out, booleans as 0 and 1, MAC addresses in capitals."""
    slots = family_of(key)
    if slots is None:
        return properties
    forms = dict(slots.options.values())
    result = {}
    for name, value in properties.items():
        form = "flag" if name == "enabled" else forms.get(name, "str")
        text = fmt.flag(value) if form == "flag" else value.upper() if form == "upper" else value
        if slots.defaults.get(name) != text:
            result[name] = text
    return result


def _form(value: Any, form: str) -> str:
    if form == "flag":
        return fmt.flag(value)
    if form == "on":
        return {"1": "on", "0": "ignore"}[fmt.flag("0" if value == "ignore" else value)]
    return str(value).upper() if form == "upper" else str(value)


def _slot(option: str, slot: str, wanted: Any, more: set[str]) -> dict[str, Any]:
    """Check a slot's name and its options' names; all mistakes of the slot at once."""
    slots = FAMILIES[option]
    known = ", ".join(sorted({*slots.options, *more}))
    if not re.fullmatch(slots.pattern, slot):
        raise Failure(f"Unable to use {option}.{slot}: no such slot in Proxmox VE")
    if wanted is None:
        wanted = {"state": "absent"}
    if not isinstance(wanted, dict):
        raise Failure(f"Unable to use {option}.{slot}: it must be a dictionary of {known}")
    unknown = sorted(set(wanted) - set(slots.options) - more)
    if unknown:
        raise Failure(f"Unable to use {option}.{slot}: unknown option {', '.join(unknown)} (there are {known})")
    if wanted.get("state", "present") not in ("present", "absent"):
        raise Failure(f"Unable to use {option}.{slot}.state: it is present or absent")
    return {key: value for key, value in wanted.items() if value is not None}


def _options(option: str, wanted: dict[str, Any]) -> Properties:
    table = FAMILIES[option].options
    return {table[name][0]: _form(value, table[name][1]) for name, value in wanted.items() if name in table}


def _families(params: dict[str, Any], desired: Desired) -> None:
    for option in FAMILIES:
        more = DISK_ONLY if option == "disks" else {"state"}
        for slot, given in sorted((params.get(option) or {}).items()):
            wanted = _slot(option, slot, given, more)
            if wanted.get("state") == "absent":
                desired.gone.add(slot)
                if fmt.flag(wanted.get("destroy", False)) == "1":
                    desired.destroy.add(slot)
            elif option == "disks":
                desired.disks[slot] = Disk(
                    _options(option, wanted), wanted.get("storage"),
                    fmt.size(wanted["size"], bare=fmt.UNITS["G"]) if "size" in wanted else None,
                    wanted.get("import_from"), wanted.get("volume"), wanted.get("format"),
                )  # fmt: skip
            else:
                desired.properties[slot] = _options(option, wanted)


PLAIN = {"name": "name", "cores": "cores", "sockets": "sockets", "bios": "bios", "scsihw": "scsihw",
         "ostype": "ostype", "description": "description", "hookscript": "hookscript"}  # fmt: skip
FLAGS = {"onboot": "onboot", "protection": "protection", "numa": "numa"}
EMPTY_IS_GONE = {"description", "hookscript", "tags", "boot"}


def _plain(params: dict[str, Any], desired: Desired) -> None:
    values = {key: str(params[option]) for option, key in PLAIN.items() if params.get(option) is not None}
    if "description" in values:
        values["description"] = values["description"].strip()
    values.update({key: fmt.flag(params[option]) for option, key in FLAGS.items() if params.get(option) is not None})
    if params.get("balloon") is not None:
        values["balloon"] = str(fmt.size(params["balloon"], bare=MIB) // MIB)
    if params.get("tags") is not None:
        values["tags"] = ";".join(fmt.tags(";".join(params["tags"])))
    if params.get("boot") is not None:
        values["boot"] = f"order={';'.join(params['boot'])}" if params["boot"] else ""
    for key, text in (params.get("serial") or {}).items():
        values[key] = text or ""
    for key, text in values.items():
        if not text and (key in EMPTY_IS_GONE or key.startswith("serial")):
            desired.gone.add(key)
        else:
            desired.values[key] = text


def _single(params: dict[str, Any], desired: Desired) -> None:
    properties = desired.properties
    if params.get("memory") is not None:
        properties["memory"] = {"current": str(fmt.size(params["memory"], bare=MIB) // MIB)}
    for option in ("cpu", "machine", "vga"):
        if params.get(option) is not None:
            properties[option] = fmt.parse(params[option], SINGLE[option].default_key)
    if params.get("agent") is not None:
        properties["agent"] = {"enabled": fmt.flag(params["agent"])}
    startup = {key: str(value) for key, value in (params.get("startup") or {}).items() if value is not None}
    if startup:
        properties["startup"] = startup
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

    values = desired.values
    if given("storage"):
        desired.cloud_init_drive = (wanted.get("drive") or "ide2", wanted["storage"])
    for option, key in (("user", "ciuser"), ("searchdomain", "searchdomain"), ("type", "citype")):
        if given(option):
            values[key] = str(wanted[option])
    if given("upgrade"):
        values["ciupgrade"] = fmt.flag(wanted["upgrade"])
    if given("ssh_keys"):
        values["sshkeys"] = fmt.ssh_keys(wanted["ssh_keys"])
    if given("nameservers"):
        values["nameserver"] = " ".join(wanted["nameservers"])
    names = {"ip": "ip", "gateway": "gw", "ip6": "ip6", "gateway6": "gw6"}
    for number, address in enumerate(wanted.get("ipconfig") or []):
        desired.values[f"ipconfig{number}"] = ",".join(
            f"{names[name]}={address[name]}" for name in ("gateway", "gateway6", "ip", "ip6") if address.get(name)
        )
    snippets = {kind: str(wanted[f"{kind}_snippet"]) for kind in ("meta", "network", "user", "vendor")
                if given(f"{kind}_snippet")}  # fmt: skip
    if snippets:
        desired.properties["cicustom"] = snippets
    if given("password"):
        desired.secret["cipassword"] = str(wanted["password"])


def desired_from(params: dict[str, Any]) -> Desired:
    """The module's options in Proxmox VE's words; raises Failure for what cannot be meant."""
    desired = Desired()
    _plain(params, desired)
    _single(params, desired)
    _families(params, desired)
    _cloud_init(params.get("cloud_init") or {}, desired)
    for slot, disk in desired.disks.items():
        if disk.import_from and not disk.storage:
            raise Failure(f"Unable to use disks.{slot}: import_from needs storage")
    return desired
