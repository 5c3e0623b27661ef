# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A container's keys, and what the user wants of it in Proxmox VE's own words. Pure."""

from __future__ import annotations

import re
from typing import Any

from ansible_collections.homelab.mediaserver.plugins.module_utils import _pve_format as fmt
from ansible_collections.homelab.mediaserver.plugins.module_utils._pve_kind import (
    Config,
    Desired,
    Kind,
    Properties,
    Slots,
    disk_from,
    mebibytes,
    read_common,
    read_families,
    slot_properties,
)
from ansible_collections.homelab.mediaserver.plugins.module_utils._reconcile import Failure

_VOLUME = {
    "read_only": ("ro", "flag"), "quota": ("quota", "flag"), "acl": ("acl", "flag"),
    "replicate": ("replicate", "flag"), "shared": ("shared", "flag"), "mount_options": ("mountoptions", "list"),
}  # fmt: skip
_VOLUME_DEFAULTS = {"ro": "0", "quota": "0", "replicate": "1", "shared": "0"}
_FILE = {"volume": "file"}
MOUNT_ONLY = {"storage", "size", "volume", "state", "destroy", "move"}
FAMILIES: dict[str, Slots] = {
    "mounts": Slots(
        r"mp(\d|[1-9]\d|1\d\d|2[0-4]\d|25[0-5])",
        {**_VOLUME, "path": ("mp", "str"), "backup": ("backup", "flag")},
        {**_VOLUME_DEFAULTS, "backup": "0"},
        "file",
        _FILE,
    ),
    "networks": Slots(
        r"net([12]?\d|3[01])",
        {"name": ("name", "str"), "bridge": ("bridge", "str"), "mac": ("hwaddr", "upper"), "ip": ("ip", "str"),
         "gateway": ("gw", "str"), "ip6": ("ip6", "str"), "gateway6": ("gw6", "str"), "vlan": ("tag", "str"),
         "firewall": ("firewall", "flag"), "rate": ("rate", "str"), "mtu": ("mtu", "str"),
         "link_down": ("link_down", "flag"), "trunks": ("trunks", "list")},
        {"firewall": "0", "link_down": "0", "type": "veth"},
    ),
    "devices": Slots(
        r"dev(\d|[1-9]\d|1\d\d|2[0-4]\d|25[0-5])",
        {"path": ("path", "str"), "mode": ("mode", "mode"), "uid": ("uid", "str"), "gid": ("gid", "str"),
         "deny_write": ("deny-write", "flag")},
        {"deny-write": "0"},
        "path",
    ),
}  # fmt: skip
_FEATURES = ("nesting", "keyctl", "fuse", "mknod", "force_rw_sys")
SINGLES: dict[str, Slots] = {
    "rootfs": Slots("rootfs", _VOLUME, _VOLUME_DEFAULTS, "file", _FILE),
    "startup": Slots("startup", default_key="order"),
    "features": Slots(
        "features",
        {**{name: (name, "flag") for name in _FEATURES}, "mount": ("mount", "list")},
        dict.fromkeys(_FEATURES, "0"),
    ),
}
LIVE = re.compile(r"description|onboot|startup|protection|hostname|hookscript|cores|tags|memory|swap|cpulimit|cpuunits"
                  r"|unused\d+")  # fmt: skip


def is_live(key: str, old: str | None, new: str | None, effective: Config) -> bool:
    """Does the change of a running container come into force at once?"""
    if LIVE.fullmatch(key):
        return True
    if re.fullmatch(r"net\d+", key):
        return new is not None or len(key) == 4  # the API unplugs net0 to net9 only
    return re.fullmatch(r"(mp|dev)\d+", key) is not None and old is None and new is not None


KIND = Kind(
    word="container", short="CT", path="lxc", name="hostname", mac="hwaddr", move=("move_volume", "volume"),
    families=FAMILIES, singles=SINGLES, disk=re.compile(r"rootfs|mp\d+"), live=is_live,
    defaults={"onboot": "0", "protection": "0", "console": "1", "tty": "2", "cmode": "tty",
              "cpulimit": "0"},
    needs="ostemplate",
    sparse=frozenset({"features"}),  # a token may name no other feature than nesting, not even to say no to it
    new_properties=lambda key: {"name": key.replace("net", "eth")} if key.startswith("net") else {},
)  # fmt: skip
PLAIN = {
    "hostname": "hostname", "description": "description", "hookscript": "hookscript", "timezone": "timezone",
    "cores": "cores", "cpulimit": "cpulimit", "cpuunits": "cpuunits", "tty": "tty", "console_mode": "cmode",
    "searchdomain": "searchdomain",
}  # fmt: skip
FLAGS = {"onboot": "onboot", "protection": "protection", "console": "console"}


def _at_creation(params: dict[str, Any], desired: Desired) -> None:
    """What Proxmox VE takes once and never tells."""
    if params.get("ostemplate"):
        desired.create["ostemplate"] = params["ostemplate"]
    # said always: without it 8.4 makes a privileged container and 9.1 an unprivileged one
    desired.create["unprivileged"] = fmt.flag(True if params.get("unprivileged") is None else params["unprivileged"])
    if params.get("password"):
        desired.create["password"] = str(params["password"])
    keys = [key.strip() for key in params.get("ssh_keys") or [] if key.strip()]
    if keys:
        desired.create["ssh-public-keys"] = "\n".join(keys)


def _check(desired: Desired) -> None:
    """What the API would find out too late or say less clearly."""
    for slot, disk in desired.disks.items():
        path = disk.options.get("mp", "/")
        if not path.startswith("/"):
            raise Failure(f"Unable to use mounts.{slot}: path must be absolute in the container, not {path!r}")
        if disk.bind and (disk.storage or disk.size is not None):
            raise Failure(f"Unable to use mounts.{slot}: a folder of the node has no storage and no size")


def desired_from(params: dict[str, Any]) -> Desired:
    """The module's options in Proxmox VE's words; raises Failure for what cannot be meant."""
    desired = Desired(KIND)
    read_common(params, desired, PLAIN, FLAGS)
    for key in ("memory", "swap"):
        if params.get(key) is not None:
            desired.values[key] = mebibytes(params[key])
    if params.get("nameservers") is not None:
        desired.put("nameserver", " ".join(params["nameservers"]))
    features = {name: value for name, value in (params.get("features") or {}).items() if value is not None}
    if features:
        properties: Properties = slot_properties(SINGLES["features"], features)
        desired.properties["features"] = properties
    rootfs = {name: value for name, value in (params.get("rootfs") or {}).items() if value is not None}
    if rootfs:
        desired.disks["rootfs"] = disk_from(SINGLES["rootfs"], rootfs)
    read_families(params, desired, {"mounts": MOUNT_ONLY})
    _at_creation(params, desired)
    _check(desired)
    return desired
