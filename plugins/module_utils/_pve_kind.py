# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What virtual machines and containers have in common: keys with properties, disks, and what a user wants. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.homelab.mediaserver.plugins.module_utils import _pve_format as fmt
from ansible_collections.homelab.mediaserver.plugins.module_utils._reconcile import Failure

Properties = dict[str, str]
Config = dict[str, str]
MIB = 1024**2
NET = re.compile(r"net\d+")
UNUSED = re.compile(r"unused\d{1,3}")


@dataclass(frozen=True)
class Slots:
    """A family of keys such as scsi0, scsi1: its pattern, its options and what Proxmox VE takes an absent one for."""

    pattern: str
    options: dict[str, tuple[str, str]] = field(default_factory=dict)  # option -> (property, form)
    defaults: Properties = field(default_factory=dict)
    default_key: str = ""
    aliases: Properties = field(default_factory=dict)  # another name of a property -> the one used here
    flags: frozenset[str] = frozenset()  # further properties that are booleans


@dataclass(frozen=True)
class Kind:
    """Virtual machine or container: its words, its keys, and what a running one takes at once."""

    word: str  # as a person says it
    short: str  # as Proxmox VE's messages say it
    path: str  # qemu or lxc
    name: str  # the key of its name
    mac: str  # the property of a MAC address
    move: tuple[str, str]  # end of the path and parameter of moving a disk
    families: dict[str, Slots]
    singles: dict[str, Slots]
    disk: re.Pattern[str]
    live: Callable[[str, str | None, str | None, Config], bool]
    defaults: Properties = field(default_factory=dict)  # what an absent key means
    fixed: frozenset[str] = frozenset()  # disks that cannot be changed once they exist
    new_properties: Callable[[str], Properties] = lambda key: {}
    needs: str = ""  # option without which none is made
    sparse: frozenset[str] = frozenset()  # keys in which a property that says the default is not written
    moves_running: bool = False  # a disk can be moved while it is used
    frees_by_force: bool = False  # a disk's data goes with its slot, in the same request
    rereads_size: bool = False  # a written disk without size= gets the volume's own

    def slots(self, key: str) -> Slots | None:
        if key in self.singles:
            return self.singles[key]
        return next((slots for slots in self.families.values() if re.fullmatch(slots.pattern, key)), None)

    def split(self, key: str, text: Any) -> Properties:
        if self.mac == "macaddr" and NET.fullmatch(key):
            return fmt.parse_net(text)
        slots = self.slots(key)
        if slots is None:
            return fmt.parse(text)
        return {slots.aliases.get(k, k): v for k, v in fmt.parse(text, slots.default_key).items()}

    def join(self, key: str, properties: Properties) -> str:
        if self.mac == "macaddr" and NET.fullmatch(key):
            return fmt.render_net(properties)
        slots = self.slots(key)
        return fmt.render(properties, slots.default_key if slots else "")

    def canonical(self, key: str, properties: Properties) -> Properties:
        """Comparable: defaults left out, booleans as 0 and 1, MAC addresses in capitals."""
        slots = self.slots(key)
        if slots is None:
            return properties
        forms = {**dict(slots.options.values()), **dict.fromkeys(slots.flags, "flag")}
        result = {}
        for name, value in properties.items():
            form = forms.get(name, "str")
            text = fmt.flag(value) if form == "flag" else value.upper() if form == "upper" else value
            if slots.defaults.get(name) != text:
                result[name] = text
        return result

    def same(self, key: str, one: str, other: str) -> bool:
        return comparable(key, one) == comparable(key, other) or self.canonical(
            key, self.split(key, one)
        ) == self.canonical(key, self.split(key, other))


def comparable(key: str, text: str) -> Any:
    """One canonical form for the user's and the system's value of a key without properties."""
    if key == "sshkeys":
        return fmt.decode_ssh_keys(text)
    if key == "tags":  # Proxmox VE may write them in small letters
        return sorted({tag.lower() for tag in fmt.tags(text)})
    if key == "description":
        return "\n".join(line.rstrip() for line in text.strip().splitlines())
    if key in ("nameserver", "searchdomain"):
        return [item for item in re.split(r"[;,\s]+", text) if item]
    if key == "hotplug":
        return sorted({"1": "disk,network,usb", "0": ""}.get(text, text).replace(";", ",").split(","))
    if key == "cpulimit":
        return float(text)
    if key.startswith("ipconfig"):
        return fmt.parse(text)
    return text


@dataclass
class Disk:
    """A disk that must be there: how to make it if it is not, how large, and what its options are."""

    options: Properties
    storage: str | None = None
    size: int | None = None
    import_from: str | None = None
    volume: str | None = None
    form: str | None = None
    move: bool = False

    @property
    def bind(self) -> bool:
        """Is it a folder or a device of the node?"""
        return (self.volume or "").startswith("/")


@dataclass
class Desired:
    """``values``: key -> text; ``properties``: key -> properties that must be so, others stay; ``gone``: to remove."""

    kind: Kind
    values: Config = field(default_factory=dict)
    properties: dict[str, Properties] = field(default_factory=dict)
    disks: dict[str, Disk] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)
    destroy: set[str] = field(default_factory=set)
    secret: Config = field(default_factory=dict)  # set where there is none or on request, never compared
    create: Config = field(default_factory=dict)  # told at creation only
    cloud_init_drive: tuple[str, str] | None = None  # (slot, storage)

    def put(self, key: str, text: str) -> None:
        """A value, or the wish that there is none."""
        if text:
            self.values[key] = text
        else:
            self.gone.add(key)

    def put_properties(self, key: str, wanted: Properties) -> None:
        """Properties, or the wish that there are none."""
        if wanted:
            self.properties[key] = wanted
        else:
            self.gone.add(key)


# from the module's options to Proxmox VE's words


def written(value: Any, form: str) -> str:
    """A value in Proxmox VE's form; an empty one stays empty: it takes the property away."""
    if value == "":
        return ""
    if form == "flag":
        return fmt.flag(value)
    if form == "on":
        return {"1": "on", "0": "ignore"}[fmt.flag("0" if value == "ignore" else value)]
    if form == "mode" and isinstance(value, int):  # YAML reads 0660 as an octal number
        return f"0{value:o}"
    if form == "list":
        return ";".join(str(item) for item in (value if isinstance(value, list) else [value]))
    return str(value).upper() if form == "upper" else str(value)


def slot_options(option: str, slot: str, wanted: Any, slots: Slots, more: set[str]) -> dict[str, Any]:
    """Check a slot's name and its options' names; all mistakes of the slot at once."""
    if not re.fullmatch(slots.pattern, slot):
        raise Failure(f"Unable to use {option}.{slot}: no such slot in Proxmox VE")
    known = ", ".join(sorted({*slots.options, *more}))
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


def slot_properties(slots: Slots, wanted: dict[str, Any]) -> Properties:
    table = slots.options
    return {table[name][0]: written(value, table[name][1]) for name, value in wanted.items() if name in table}


def disk_from(slots: Slots, wanted: dict[str, Any]) -> Disk:
    return Disk(
        slot_properties(slots, wanted), wanted.get("storage"),
        fmt.disk_size(wanted["size"]) if "size" in wanted else None,
        wanted.get("import_from"), wanted.get("volume"), wanted.get("format"),
        fmt.flag(wanted.get("move", False)) == "1",
    )  # fmt: skip


def read_families(params: dict[str, Any], desired: Desired, disks: dict[str, set[str]]) -> None:
    """All options that are dictionaries of slots; ``disks`` names those of disks, with what only disks know."""
    for option, slots in desired.kind.families.items():
        for slot, given in sorted((params.get(option) or {}).items()):
            if option in disks and UNUSED.fullmatch(slot):
                _free_unused(option, slot, given, desired)
                continue
            wanted = slot_options(option, slot, given, slots, disks.get(option, {"state"}))
            if wanted.get("state") == "absent":
                desired.gone.add(slot)
                if fmt.flag(wanted.get("destroy", False)) == "1":
                    desired.destroy.add(slot)
            elif option in disks:
                desired.disks[slot] = disk_from(slots, wanted)
            else:
                desired.properties[slot] = slot_properties(slots, wanted)


def _free_unused(option: str, slot: str, wanted: Any, desired: Desired) -> None:
    """The data of a detached disk goes only where both words are said."""
    given = wanted if isinstance(wanted, dict) else {}
    if given.get("state") != "absent" or fmt.flag(given.get("destroy", False)) != "1":
        raise Failure(f"Unable to use {option}.{slot}: a detached disk can only be removed with its data "
                      "(state: absent and destroy: true)")  # fmt: skip
    desired.gone.add(slot)


def read_common(params: dict[str, Any], desired: Desired, plain: dict[str, str], flags: dict[str, str]) -> None:
    """``plain`` and ``flags``: option -> key. An empty text removes a key."""
    for option, key in plain.items():
        if params.get(option) is not None:
            value = params[option]
            desired.put(key, f"{value:g}" if isinstance(value, float) else str(value).strip())
    for option, key in flags.items():
        if params.get(option) is not None:
            desired.values[key] = fmt.flag(params[option])
    if params.get("tags") is not None:
        desired.put("tags", ";".join(fmt.tags(";".join(params["tags"]))))
    if params.get("startup") is not None:
        startup = {key: str(value) for key, value in params["startup"].items() if value is not None}
        desired.put_properties("startup", startup)


def mebibytes(value: Any) -> str:
    return str(fmt.size(value, bare=MIB) // MIB)
