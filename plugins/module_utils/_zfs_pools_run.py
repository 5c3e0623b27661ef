# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads a host's pools and devices and plans, pool by pool: import, make, add, set."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from typing import Any

from ansible_collections.homelab.mediaserver.plugins.module_utils import (
    _zfs,
    _zfs_datasets,
    _zfs_pools,
    _zfs_status,
    _zfs_wanted,
)
from ansible_collections.homelab.mediaserver.plugins.module_utils._reconcile import Failure
from ansible_collections.homelab.mediaserver.plugins.module_utils._zfs import Command, Zfs
from ansible_collections.homelab.mediaserver.plugins.module_utils._zfs_devices import Disks, first_partition
from ansible_collections.homelab.mediaserver.plugins.module_utils._zfs_intent import Intent
from ansible_collections.homelab.mediaserver.plugins.module_utils._zfs_pools import DEBIAN_SCRUB, Pool
from ansible_collections.homelab.mediaserver.plugins.module_utils._zfs_status import Vdev

Item = dict[str, Any]
NO_IMPORT = re.compile(r"no pools available to import")
NO_OPTION = re.compile(r"invalid option 'j'.*", re.DOTALL)


class Host:
    """What there is: pools, their first file systems, scrub timers. A process each, for all pools together."""

    def __init__(self, zfs: Zfs, items: Sequence[Item]) -> None:
        self.zfs = zfs
        self.pools = self.read_pools(items)
        mine = [item for item in items if item["name"] in self.pools]
        self.roots = zfs.get([item["name"] for item in mine], self.root_properties(mine)) if mine else {}
        self.timers = self.read_timers([item["name"] for item in items if item["scrub"]])

    def read_pools(self, items: Sequence[Item]) -> dict[str, Pool]:
        asked = [*_zfs_pools.HEALTH, *sorted({name for item in items for name in item["properties"]})]
        asked = list(dict.fromkeys(asked))
        argv = ["zpool", "get", "-Hp", "-o", "name,property,value,source", ",".join(asked)]
        found = _zfs.parse_get(self.zfs.read(argv, "read the pools"), asked)
        names = [item["name"] for item in items if item["name"] in found]
        vdevs = self.read_vdevs(names) if names else {}
        return {
            name: Pool({prop: value for prop, (value, _source) in found[name].items()}, vdevs[name])
            for name in names
        }  # fmt: skip

    def read_vdevs(self, names: Sequence[str]) -> dict[str, list[Vdev]]:
        # JSON where `zpool status` knows it (2.3); it says so by an error before
        code, out, err = self.zfs.run(["zpool", "status", "-j", "-P", *names])
        if code == 0:
            return _zfs_status.parse_json(out)
        if not NO_OPTION.match(err.strip()):
            raise Failure(f"Unable to read the pools: {_zfs.short(err)}")
        return _zfs_status.parse_text(self.zfs.read(["zpool", "status", "-P", *names], "read the pools"))

    @staticmethod
    def root_properties(items: Sequence[Item]) -> list[str]:
        return [*_zfs_wanted.asked([root_wanted(item) for item in items]), DEBIAN_SCRUB]

    def read_timers(self, names: Sequence[str]) -> dict[str, str]:
        units = [unit.format(name) for name in names for unit in _zfs_pools.SCRUBS.values()]
        if not units:
            return {}
        out = self.zfs.read(["systemctl", "show", "--property=Id,UnitFileState", *units], "read the scrub timers")
        blocks = [
            dict(line.split("=", 1) for line in block.splitlines()) for block in out.split("\n\n") if block.strip()
        ]
        return {block.get("Id", ""): block.get("UnitFileState", "") for block in blocks}


def root_wanted(item: Item) -> _zfs_wanted.Wanted:
    """The pool's first file system."""
    properties = {**item["filesystem_properties"], **({"mountpoint": item["mountpoint"]} if item["mountpoint"] else {})}
    return _zfs_wanted.wanted({"name": item["name"], "properties": properties})


class Pools:
    """Plans one pool after the other."""

    def __init__(self, host: Host, disks: Disks) -> None:
        self.host, self.disks, self.zfs = host, disks, host.zfs
        self.commands: list[Command] = []
        self.before: dict[str, Any] = {}
        self.after: dict[str, Any] = {}
        self.problems: list[str] = []
        self.warnings: list[str] = []

    def plan(self, item: Item) -> None:
        if "/" in item["name"] or not _zfs_wanted.NAME.fullmatch(item["name"]):
            raise Failure(f"Unable to manage pool {item['name']}: this is no name of a pool")
        vdevs = _zfs_pools.wanted_vdevs(item)
        _zfs_pools.check_paths(item["name"], _zfs_pools.paths_of(vdevs), self.disks.resolve)
        pool = self.host.pools.get(item["name"])
        if pool is not None:
            self.existing(item, vdevs, pool)
        elif not self.import_pool(item, vdevs):
            self.create(item, vdevs)

    # --- a pool that is there -----------------------------------------------------------------------------------------
    def existing(self, item: Item, vdevs: list[Vdev], pool: Pool) -> None:
        name = item["name"]
        lacking, others = _zfs_pools.compare(name, vdevs, pool.vdevs, self.disks.resolve)
        self.problems += _zfs_pools.health_warnings(name, pool)
        self.warnings += [f"pool {name} has {_zfs_pools.show(vdev)}, which is not listed; it stays" for vdev in others]
        if lacking:
            self.add(item, lacking)
        elif (intent := Intent(name, self.disks)).path.exists():
            self.commands.append(Command(f"forget that pool {name} was about to be made", call=intent.forget))
        wanted = _zfs.canonical_all(item["properties"], name)
        differ = _zfs_pools.properties_differ(name, wanted, pool, self.ashifts(name, wanted, pool))
        for prop, value in differ.items():  # zpool set takes one property
            self.commands.append(
                Command(f"set {prop}={value} on pool {name}", ("zpool", "set", f"{prop}={value}", name))
            )
        has = {prop: value if prop not in differ else pool.properties.get(prop, "-") for prop, value in wanted.items()}
        shown = [_zfs_pools.show(vdev) for vdev in vdevs]
        self.before[name] = {
            "vdevs": [text for text, vdev in zip(shown, vdevs, strict=True) if vdev not in lacking],
            **has,
        }
        self.after[name] = {"vdevs": shown, **wanted}
        self.root(item)
        self.scrub(item, self.host.roots.get(name, {}).get(DEBIAN_SCRUB, ("-", "-"))[0])

    def ashifts(self, name: str, wanted: dict[str, str], pool: Pool) -> set[str]:
        """What ZFS chose for the vdevs of a pool that was made without saying it."""
        if "ashift" not in wanted or pool.properties.get("ashift") not in ("0", "-"):
            return set()
        return set(re.findall(r"\bashift: (\d+)", self.zfs.read(["zdb", "-C", name], f"read the vdevs of pool {name}")))

    def add(self, item: Item, lacking: list[Vdev]) -> None:
        if not item["add_vdevs"]:
            raise Failure(
                f"Unable to add {'; '.join(map(_zfs_pools.show, lacking))} to pool {item['name']}: say add_vdevs: "
                "true, for what is added can often not be removed",
                pool=item["name"],
            )
        self.check_empty(item["name"], lacking)
        self.try_out(_zfs_pools.add_command(item, lacking, dry=True))
        self.guarded(item["name"], _zfs_pools.add_command(item, lacking), lacking)

    def root(self, item: Item) -> None:
        planner = _zfs_datasets.Planner(self.host.roots)
        wanted = root_wanted(item)
        if wanted.properties and wanted.name in self.host.roots:
            planner.dataset(wanted)
            self.commands += planner.commands
            self.warnings += planner.warnings
            self.before[wanted.name]["file system"] = planner.before[wanted.name]
            self.after[wanted.name]["file system"] = planner.after[wanted.name]

    def scrub(self, item: Item, debian: str) -> None:
        name, wanted = item["name"], item["scrub"]
        if not wanted:
            return
        commands = _zfs_pools.scrub_commands(name, wanted, self.host.timers, debian)
        timers = {kind: self.host.timers.get(unit.format(name)) for kind, unit in _zfs_pools.SCRUBS.items()}
        self.commands += commands
        if isinstance(self.before[name], dict):
            now = [kind for kind, state in timers.items() if state == "enabled"]
            self.before[name]["scrub"] = wanted if not commands else f"{', '.join(now) or 'never'} (Debian: {debian})"
        self.after[name]["scrub"] = wanted

    # --- a pool that is not there -------------------------------------------------------------------------------------
    def import_pool(self, item: Item, vdevs: list[Vdev]) -> bool:
        """Plan the import of a pool of this name from its devices; False when there is none."""
        name, paths = item["name"], _zfs_pools.paths_of(vdevs)
        places = [place for path in paths for place in (path, first_partition(path)) if self.disks.exists(place)]
        argv = ["zpool", "import", *(word for place in places for word in ("-d", place))]
        found = _zfs_status.parse_import(self.zfs.read(argv, "look for pools to import", NO_IMPORT)) if places else []
        candidates = [entry for entry in found if entry["name"] == name]
        if not self.zfs.present and any(self.disks.belongs_to(path, name) for path in paths if self.disks.exists(path)):
            candidates = [{"name": name, "id": name, "state": "ONLINE"}]
        if not candidates:
            return False
        if not item["import"]:
            raise Failure(f"Unable to make pool {name}: its devices carry a pool of this name; say import: true")
        if len(candidates) > 1 or candidates[0].get("state") not in ("ONLINE", "DEGRADED"):
            told = "; ".join(
                f"{entry.get('id')} {entry.get('state')} {entry.get('status', '')}" for entry in candidates
            )
            raise Failure(f"Unable to import pool {name}: zpool import finds {told.strip()}", pool=name)
        if "another system" in candidates[0].get("status", "") and not item["force_import"]:
            raise Failure(
                f"Unable to import pool {name}: {candidates[0]['status']} If that one does not use it any more, say "
                "force_import: true",
                pool=name,
            )
        force = ["-f"] if item["force_import"] else []
        command = ("zpool", "import", *force, *argv[2:], candidates[0]["id"])
        self.commands.append(Command(f"import pool {name}", command))
        self.commands.append(Command(f"bring pool {name} to what is listed", call=lambda: self.follow_up(item)))
        self.before[name], self.after[name] = "exported", "imported"
        return True

    def follow_up(self, item: Item) -> None:
        """What can only be known of a pool once it is imported."""
        pools = Pools(Host(self.zfs, [item]), self.disks)
        pools.plan(item)
        for command in pools.commands:
            self.zfs.write(command)

    def create(self, item: Item, vdevs: list[Vdev]) -> None:
        name = item["name"]
        self.check_empty(name, vdevs)
        if self.zfs.present:
            self.try_out(_zfs_pools.create_command(item, vdevs, dry=True))
        self.guarded(name, _zfs_pools.create_command(item, vdevs), vdevs)
        root = root_wanted(item).properties
        self.before[name] = "absent"
        self.after[name] = {
            "vdevs": [_zfs_pools.show(vdev) for vdev in vdevs],
            **_zfs.canonical_all(item["properties"], name),
            **({"file system": {prop: _zfs.show(prop, value) for prop, value in root.items()}} if root else {}),
        }
        self.scrub(item, "-")

    def guarded(self, name: str, command: Command, vdevs: list[Vdev]) -> None:
        intent = Intent(name, self.disks)
        call = functools.partial(intent.run, self.zfs, command, _zfs_pools.paths_of(vdevs))
        self.commands.append(Command(command.describe, call=call))

    def check_empty(self, name: str, vdevs: list[Vdev]) -> None:
        paths = _zfs_pools.paths_of(vdevs)
        found = {path: self.disks.carries(path) for path in paths}
        for path in [path for path, problem in found.items() if problem and Intent(name, self.disks).covers(path)]:
            found[path] = None
            self.warnings.append(f"pool {name}: {path} carries what an earlier zpool put there before it failed")
        if problems := [f"{path}: {problem}" for path, problem in found.items() if problem]:
            raise Failure(
                f"Unable to use devices for pool {name}: {'; '.join(problems)}. Nothing is overwritten; if what is "
                "there may be lost, empty the device by hand (wipefs --all)",
                pool=name,
            )
        self.warnings += [
            f"pool {name}: {path} may be another disk after the next boot; use its name in /dev/disk/by-id"
            for path in _zfs_pools.unstable(paths)
        ]

    def try_out(self, command: Command) -> None:
        """Let ZFS itself judge, without writing."""
        self.zfs.read(command.argv, command.describe)
