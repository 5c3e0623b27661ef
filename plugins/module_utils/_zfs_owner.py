# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who owns the root of a file system: compared and changed only while it is mounted, never on the folder below it."""

from __future__ import annotations

import functools
import grp
import os
import pwd
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible_collections.homelab.mediaserver.plugins.module_utils._reconcile import Failure
from ansible_collections.homelab.mediaserver.plugins.module_utils._zfs import Command, Zfs
from ansible_collections.homelab.mediaserver.plugins.module_utils._zfs_datasets import Planner

KEYS = ("owner", "group", "mode")


def number(kind: str, name: str) -> int | None:
    """The id of a user or group; None when there is none of this name (yet)."""
    if name.isdigit():
        return int(name)
    try:
        return pwd.getpwnam(name).pw_uid if kind == "owner" else grp.getgrnam(name).gr_gid
    except KeyError:
        return None


def name_of(kind: str, name: str) -> str:
    """The name of a user or group that may be given by its number."""
    try:
        if name.isdigit():
            return pwd.getpwuid(int(name)).pw_name if kind == "user" else grp.getgrgid(int(name)).gr_name
    except KeyError:
        pass
    return name


def wanted(name: str, item: Mapping[str, Any]) -> dict[str, str]:
    found = {key: str(item[key]) for key in KEYS if item.get(key) is not None}
    if "mode" in found:
        try:
            found["mode"] = f"{int(found['mode'], 8):04o}"
        except ValueError:
            raise Failure(f"Unable to manage dataset {name}: mode {found['mode']} is no octal number") from None
    for key in {"owner", "group"} & set(found):
        ident = number(key, found[key])
        found[key] = found[key] if ident is None else str(ident)
    return found


def has(path: str) -> dict[str, str]:
    """What a mounted root has; OSError when it is not mounted."""
    if not os.path.ismount(path):
        raise FileNotFoundError(path)
    info = Path(path).stat()
    return {"owner": str(info.st_uid), "group": str(info.st_gid), "mode": f"{stat.S_IMODE(info.st_mode):04o}"}


def give(path: str, want: Mapping[str, str]) -> None:
    has(path)
    ids = [number(key, want[key]) if key in want else -1 for key in ("owner", "group")]
    if None in ids:
        raise Failure(f"Unable to give {path} to {want['owner' if ids[0] is None else 'group']}: nobody has this name")
    os.chown(path, ids[0] or 0, ids[1] or 0)
    if "mode" in want:  # after chown, which takes set-user-ID and set-group-ID away
        Path(path).chmod(int(want["mode"], 8))


class Owners:
    """Plans and makes the changes of owner, group and mode."""

    def __init__(self, zfs: Zfs) -> None:
        self.zfs = zfs

    def plan(self, planner: Planner, name: str, item: Mapping[str, Any]) -> None:
        want = wanted(name, item)
        if not want:
            return
        if planner.value(name, "type") == "volume":
            raise Failure(f"Unable to manage dataset {name}: a volume has no owner")
        if planner.value(name, "mounted") != "yes":
            planner.warnings.append(f"{name} is not mounted: owner, group and mode are left alone")
            return
        new = planner.before[name] == "absent"
        source = planner.value(name, "mountpoint")
        try:
            now = {key: value for key, value in ({} if new else has(source)).items() if key in want}
        except OSError:  # it is mounted in this very run
            now = {}
        if now != want:
            shown = " ".join(f"{key} {value}" for key, value in want.items())
            planner.commands.append(Command(f"give {name} {shown}", call=functools.partial(self.apply, name, want)))
        if new:
            planner.after[name] = {**({} if planner.after[name] == "present" else planner.after[name]), **want}
        else:
            planner.before[name].update(now)
            planner.after[name].update(want)

    def apply(self, name: str, want: Mapping[str, str]) -> None:
        path = self.zfs.read(["zfs", "get", "-H", "-o", "value", "mountpoint", name], f"read the mount point of {name}")
        path = path.rstrip("\n")
        try:
            give(path, want)
        except OSError as error:
            raise Failure(f"Unable to give {name} its owner: {error.strerror or 'not mounted'} ({path})") from error
