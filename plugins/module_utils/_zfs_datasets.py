# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which commands bring datasets to what is wanted. Pure: it works on a picture of the datasets and changes only that.

The picture follows each command, inheritance included, so that one run ends where a second finds nothing to do.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.homelab.mediaserver.plugins.module_utils import _zfs
from ansible_collections.homelab.mediaserver.plugins.module_utils._reconcile import Failure
from ansible_collections.homelab.mediaserver.plugins.module_utils._zfs import Command, Properties
from ansible_collections.homelab.mediaserver.plugins.module_utils._zfs_wanted import (
    Wanted,
    below,
    parents,
    path_below,
    renamed,
)

World = dict[str, Properties]
BLOCK = 16384  # what zfs takes for volblocksize since 2.2; only used to compare sizes of volumes that do not exist


class Planner:
    """``world`` is the picture; ``commands``, ``before`` and ``after`` grow with each dataset."""

    def __init__(self, world: World) -> None:
        self.world = {name: dict(props) for name, props in world.items()}
        self.commands: list[Command] = []
        self.before: dict[str, Any] = {}
        self.after: dict[str, Any] = {}
        self.warnings: list[str] = []
        self.renames: list[tuple[str, str]] = []

    def run(self, describe: str, *argv: str) -> None:
        self.commands.append(Command(describe, argv))

    def value(self, name: str, prop: str) -> str:
        return self.world.get(name, {}).get(prop, ("-", "-"))[0]

    # --- renames ------------------------------------------------------------------------------------------------------
    def rename(self, item: Wanted) -> bool:
        """Move the old dataset, with all below it, to its new name; False when there is nothing to move."""
        old = item.renamed_from
        if not old or item.name in self.world or old not in self.world:
            return False
        missing = len(parents(item.name)) > 1 and parents(item.name)[0] not in self.world
        self.run(f"rename {old} to {item.name}", "zfs", "rename", *(["-p"] if missing else []), old, item.name)
        self.world = {renamed(name, old, item.name): props for name, props in self.world.items()}
        for name in sorted(name for name in self.world if name == item.name or below(name, item.name)):
            self.take_over(name, old)
        self.renames.append((old, item.name))
        return True

    def take_over(self, name: str, old: str) -> None:
        """What a dataset that moved inherits at its new place; ``old`` is where the top of what moved was."""
        for prop, (_value, source) in self.world[name].items():
            if prop in _zfs.NOT_INHERITED or _zfs.is_quota_of(prop):
                continue
            above = next((above for above in parents(name) if prop in self.world.get(above, {})), None)
            if above and (source == "default" or source.removeprefix("inherited from ") in parents(old)):
                value, where = self.world[above][prop]
                where = f"inherited from {above}" if where in ("local", "received") else where
                self.world[name][prop] = (path_below(prop, value, above, name), where)

    # --- one dataset --------------------------------------------------------------------------------------------------
    def dataset(self, item: Wanted) -> None:
        moved = self.rename(item)
        if item.name not in self.world:
            self.create(item)
            return
        read = self.world[item.name]
        if self.value(item.name, "type") != item.kind:
            raise Failure(f"Unable to manage {item.kind} {item.name}: it is a {self.value(item.name, 'type')}")
        self.check_settable(item, read)
        before = {
            prop: _zfs.show(
                prop, _zfs.canonical(prop, self.value(item.name, prop)) if self.differs(item, prop) else value
            )
            for prop, value in item.properties.items()
        }
        before.update({prop: self.origin(item.name, prop) for prop in item.inherit})
        self.unlock(item, before)
        self.resize(item, before)
        self.change(item)
        self.inherit(item)
        after = {**before, **{prop: _zfs.show(prop, value) for prop, value in item.properties.items()}}
        after.update(dict.fromkeys(item.inherit, "inherited"))
        after.update({"size": _zfs.show("volsize", self.value(item.name, "volsize"))} if item.volume else {})
        after.update({"key": "loaded"} if "key" in before else {})
        self.mount(item, before, after)
        self.before[item.name] = {**before, **({"name": item.renamed_from} if moved else {})}
        self.after[item.name] = {**after, **({"name": item.name} if moved else {})}

    def create(self, item: Wanted) -> None:
        options: dict[str, str] = {}
        later: dict[str, str] = {}
        for prop, value in item.properties.items():
            if (prop, value) != ("refreservation", "auto"):  # zfs create does not know it
                (later if _zfs.is_quota_of(prop) else options)[prop] = value
            elif item.sparse:  # and makes it so by itself where the volume is not sparse
                later[prop] = value
        argv = ["zfs", "create"]
        if len(parents(item.name)) > 1 and parents(item.name)[0] not in self.world:
            argv.append("-p")  # the pool is never made here, and a listed parent was made before
        argv += ["-u"] if not (item.mounted or item.volume) else []
        argv += ["-s"] if item.sparse and item.volume else []
        argv += ["-V", str(item.size)] if item.volume else []
        for pair in (*encryption_arguments(item), *(_zfs.argument(*pair) for pair in options.items())):
            argv += ["-o", pair]
        self.run(f"create {'volume' if item.volume else 'file system'} {item.name}", *argv, item.name)
        self.set(item.name, later)
        mounted = item.mounted and not item.volume and self.gets_mounted(item)
        self.world[item.name] = {
            "type": (item.kind, "-"), "mounted": ("yes" if mounted else "no", "-"),
            **{prop: (value, "local") for prop, value in item.properties.items()},
        }  # fmt: skip
        for parent in parents(item.name)[:-1]:
            self.world.setdefault(parent, {"type": ("filesystem", "-")})
        after: dict[str, Any] = {prop: _zfs.show(prop, value) for prop, value in item.properties.items()}
        after.update({"size": _zfs.show("volsize", str(item.size))} if item.volume else {})
        after.update({"encryption": item.encryption["algorithm"]} if item.encryption else {})
        self.before[item.name], self.after[item.name] = "absent", after or "present"

    def gets_mounted(self, item: Wanted) -> bool:
        """Whether `zfs create` mounts a file system: not without a path of its own or of one above."""
        path = item.properties.get("mountpoint")
        for above in parents(item.name) if path is None else ():
            path = path or self.world.get(above, {}).get("mountpoint", (None, "-"))[0]
        return item.properties.get("canmount", "on") == "on" and path not in ("none", "legacy")

    def check_settable(self, item: Wanted, read: Properties) -> None:
        fixed = dict(item.properties)
        root = read.get("encryptionroot", ("-", "-"))[0]
        if item.encryption and root not in ("-", item.name):
            raise Failure(f"Unable to use key {item.encryption['key_file']} for {item.name}: {root} holds its key")
        if item.encryption:
            fixed["encryption"] = _zfs.canonical("encryption", item.encryption["algorithm"])
            fixed["keyformat"] = item.encryption["key_format"]
        for prop in sorted(fixed):
            has, source = read.get(prop, ("-", "-"))
            if (has, source) == ("-", "-") and ":" not in prop and not _zfs.is_quota_of(prop):
                raise Failure(f"Unable to set {prop} of {item.name}: a {item.kind} has no such property")
            if prop in _zfs.CREATE_ONLY and not _zfs.same(prop, fixed[prop], has):
                raise Failure(
                    f"Unable to set {prop} of {item.name}: it is {has}, wanted is {fixed[prop]}, and it can only be "
                    "chosen when the dataset is made; make a new dataset and move the data",
                    dataset=item.name, property=prop, current=has, wanted=fixed[prop],
                )  # fmt: skip

    def unlock(self, item: Wanted, before: dict[str, Any]) -> None:
        """Where the key is, and the key itself: after a reboot the dataset is locked."""
        if not item.encryption:
            return
        location = f"file://{item.encryption['key_file']}"
        if self.value(item.name, "keylocation") != location:
            self.set(item.name, {"keylocation": location})
        if self.value(item.name, "keystatus") == "unavailable":
            before["key"] = "not loaded"
            self.run(f"load the key of {item.name}", "zfs", "load-key", "-L", location, item.name)
            for name, props in self.world.items():
                if name == item.name or props.get("encryptionroot", ("", ""))[0] == item.name:
                    props["keystatus"] = ("available", "-")

    def resize(self, item: Wanted, before: dict[str, Any]) -> None:
        if not item.volume:
            return
        has = int(self.value(item.name, "volsize"))
        block = int(self.value(item.name, "volblocksize")) if self.value(item.name, "volblocksize").isdigit() else BLOCK
        size = -(-item.size // block) * block  # zfs rounds up, too
        before["size"] = _zfs.show("volsize", str(has))
        if size > has:
            self.run(f"grow volume {item.name} to {_zfs.show('volsize', str(size))}", "zfs", "set", f"volsize={size}",
                     item.name)  # fmt: skip
            self.world[item.name]["volsize"] = (str(size), "local")
            reserved = self.value(item.name, "refreservation")
            if reserved.isdigit() and int(reserved) >= has:  # zfs lets it grow along
                self.world[item.name]["refreservation"] = (str(int(reserved) + size - has), "local")
        elif item.size < has and item.size <= has - max(block, 131072):
            raise Failure(
                f"Unable to shrink volume {item.name} from {_zfs.show('volsize', str(has))} to "
                f"{_zfs.show('volsize', str(size))}: its end would be cut off; make a new volume and move the data"
            )

    def change(self, item: Wanted) -> None:
        self.set(item.name, {prop: value for prop, value in item.properties.items() if self.differs(item, prop)})

    def differs(self, item: Wanted, prop: str) -> bool:
        wanted, (has, source) = item.properties[prop], self.world[item.name].get(prop, ("-", "-"))
        if prop in _zfs.CREATE_ONLY:
            return False
        if (
            prop == "refreservation" and wanted == "auto" and item.volume
        ):  # what a volume takes at most: its size and more for metadata
            return not (has.isdigit() and int(has) >= int(self.value(item.name, "volsize")))
        return not _zfs.same(prop, wanted, has) or (":" in prop and (has, source) == ("-", "-"))

    def set(self, name: str, properties: Mapping[str, str]) -> None:
        """All that differs in one command, and what those below inherit of it."""
        if not properties:
            return
        pairs = [_zfs.argument(prop, value) for prop, value in properties.items()]
        self.run(f"set {', '.join(pairs)} on {name}", "zfs", "set", *pairs, name)
        for prop, value in properties.items():
            if name in self.world:
                self.put(name, prop, value, "local")
                self.hand_down(name, prop, value)

    def put(self, name: str, prop: str, value: str, source: str) -> None:
        """Into the picture; zfs unmounts what has no path any more, or may not be mounted."""
        self.world[name][prop] = (value, source)
        if (prop == "mountpoint" and value in ("none", "legacy")) or (prop, value) == ("canmount", "off"):
            self.world[name]["mounted"] = ("no", "-")

    def inherit(self, item: Wanted) -> None:
        for prop in item.inherit:
            if self.world[item.name].get(prop, ("-", "-"))[1] in ("local", "received"):
                self.run(f"inherit {prop} on {item.name}", "zfs", "inherit", prop, item.name)
                above = next((name for name in parents(item.name) if prop in self.world.get(name, {})), None)
                value = self.value(above, prop) if above else "?"
                self.put(item.name, prop, value, f"inherited from {above}")
                self.hand_down(item.name, prop, value)

    def hand_down(self, top: str, prop: str, value: str) -> None:
        if prop in _zfs.NOT_INHERITED or _zfs.is_quota_of(prop):
            return
        above = {top, *parents(top)}
        for name, props in self.world.items():
            source = props.get(prop, ("", ""))[1]
            if below(name, top) and (source in ("default", "-") or source.removeprefix("inherited from ") in above):
                self.put(name, prop, path_below(prop, value, top, name), f"inherited from {top}")

    def origin(self, name: str, prop: str) -> str:
        """How a property to be inherited is set now."""
        value, source = self.world[name].get(prop, ("-", "-"))
        return _zfs.show(prop, value) if source in ("local", "received") else "inherited"

    def mount(self, item: Wanted, before: dict[str, Any], after: dict[str, Any]) -> None:
        """Mounted is what has a path, its key, and canmount=on (noauto is left to whoever chose it)."""
        is_mounted = self.value(item.name, "mounted") == "yes"
        able = (
            not item.volume
            and self.value(item.name, "canmount") == "on"
            and self.value(item.name, "mountpoint") not in ("none", "legacy", "-")
        )
        if not able or is_mounted == item.mounted:
            return
        if item.mounted and self.value(item.name, "keystatus") == "unavailable":
            root = self.value(item.name, "encryptionroot")
            self.warnings.append(f"{item.name} is locked and so not mounted: the key of {root} is not loaded")
            return
        before["mounted"], after["mounted"] = is_mounted, item.mounted
        self.world[item.name]["mounted"] = ("yes" if item.mounted else "no", "-")
        verb = "mount" if item.mounted else "unmount"
        # `zfs set mountpoint` may have done it
        fine = "already mounted" if item.mounted else "not currently mounted"
        self.commands.append(Command(f"{verb} {item.name}", ("zfs", verb, item.name), fine=fine))


def encryption_arguments(item: Wanted) -> list[str]:
    if not item.encryption:
        return []
    key = item.encryption
    return [f"encryption={key['algorithm']}", f"keyformat={key['key_format']}", f"keylocation=file://{key['key_file']}"]
