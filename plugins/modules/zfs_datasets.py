#!/usr/bin/python
# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Longer than most: the documentation of one option per thing that a dataset has.

from __future__ import annotations

DOCUMENTATION = r"""
module: zfs_datasets
short_description: Keep ZFS file systems and volumes as listed
version_added: 0.1.0
description:
  - Takes the whole list, reads it with one process and sets all that differs on a dataset with one more.
  - Sizes may be written C(30G) or in bytes, C(none) or C(0), switches as booleans or C(on)/C(off); they compare equal.
  - Data is only destroyed where O(datasets[].destroy) or O(purge) asks for it, after everything else is done.
  - OpenZFS 2.1 to 2.4. It is run on 2.3; what the others say otherwise is known from their documentation.
author: The homelab.mediaserver authors (@homelab)
attributes:
  check_mode:
    support: full
    description: Reads only and says what it would do. A pool that does not exist yet counts as empty.
  diff_mode:
    support: full
    description: The listed properties of each dataset before and after.
options:
  datasets:
    description: The datasets, in any order.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Full name, as C(tank/media).
        type: str
        required: true
      type:
        description: What it is. Unset means a volume when it has a O(datasets[].size), else a file system.
        type: str
        choices: [filesystem, volume]
      size:
        description: Size of a volume. It can grow, not shrink.
        type: str
      sparse:
        description: Make a volume without reserving its size. Counts when it is made; later see C(refreservation).
        type: bool
        default: false
      properties:
        description:
          - Native and user properties, by any name that C(zfs) takes. Those that are not named stay as they are.
          - A value that the dataset inherits and that is as wanted stays inherited.
          - User properties (with a colon) are set to the letter; booleans become C(true) and C(false).
          - Those that can only be chosen when a dataset is made are an error when they differ.
        type: dict
        default: {}
      inherit:
        description: Properties to take from the parent again. User properties go away with it.
        type: list
        elements: str
        default: []
      encryption:
        description: Encrypt the dataset with a key of its own, when it is made; load the key whenever it is not loaded.
        type: dict
        suboptions:
          key_file:
            description: File with the key, on the host. It must exist; keep a copy elsewhere.
            type: path
            required: true
          key_format:
            description: What the file holds.
            type: str
            choices: [raw, hex, passphrase]
            default: raw
          algorithm:
            description: The cipher.
            type: str
            default: aes-256-gcm
      mounted:
        description:
          - Whether a file system is mounted. Only those with C(canmount=on), a path and a loaded key are looked at.
        type: bool
        default: true
      owner:
        description: User that owns the mount point, by name or number.
        type: str
      group:
        description: Group that owns the mount point, by name or number.
        type: str
      mode:
        description: Permissions of the mount point, as an octal string.
        type: str
      allow:
        description:
          - Delegated permissions. Those who are named get exactly what is named in all their entries, of every scope;
            an empty list takes all away. Others stay as they are.
        type: list
        elements: dict
        default: []
        suboptions:
          user:
            description: Name of a user.
            type: str
          group:
            description: Name of a group.
            type: str
          everyone:
            description: Everyone.
            type: bool
            default: false
          permissions:
            description: Permissions and permission sets, each in its own element.
            type: list
            elements: str
            required: true
          scope:
            description: The dataset itself, those below it, or both.
            type: str
            choices: [both, local, descendent]
            default: both
      renamed_from:
        description:
          - Former name. Is renamed, with all below it, when the new name does not exist. O(purge) leaves it alone.
        type: str
      state:
        description: V(absent) destroys it, if O(datasets[].destroy) says so, too.
        type: str
        choices: [present, absent]
        default: present
      destroy:
        description: With O(datasets[].state=absent), the data may be lost. Datasets below it must be listed as absent.
        type: bool
        default: false
      destroy_snapshots:
        description: With O(datasets[].destroy), its snapshots may be lost as well.
        type: bool
        default: false
  purge:
    description:
      - Destroy datasets that are not listed. Unset destroys none.
      - Disks of Proxmox VE's guests (C(vm-100-disk-0), C(subvol-...), C(base-...)) and all below them always stay, as
        does what has held snapshots or clones.
    type: dict
    suboptions:
      below:
        description: Only below these datasets. They themselves stay.
        type: list
        elements: str
        required: true
      children:
        description: Also those that have children, with them.
        type: bool
        default: false
      snapshots:
        description: Also those that have snapshots, with them.
        type: bool
        default: false
"""

EXAMPLES = r"""
- name: Datasets of the media server
  homelab.mediaserver.zfs_datasets:
    datasets:
      - {name: tank-hdd, properties: {compression: lz4, atime: false, xattr: sa, acltype: posixacl}}
      - {name: tank-hdd/media, properties: {quota: 250G, recordsize: 1M, "com.sun:auto-snapshot": false}}
      - {name: tank-ssd/postgres, size: 20G, sparse: true, properties: {volblocksize: 16K}}
      - {name: tank-hdd/photos, encryption: {key_file: /etc/zfs/keys/photos}, owner: "1000", mode: "0750"}
      - {name: tank-hdd/old, state: absent, destroy: true}
"""

RETURN = r"""
steps:
  description: What was done or, in check mode, would be.
  returned: always
  type: list
  elements: str
kept:
  description: Datasets that O(purge) left alone, with the reason.
  returned: always
  type: dict
datasets:
  description: The listed datasets that exist, each with type, mountpoint, mounted, used and available (bytes).
  returned: unless changes were only predicted
  type: dict
"""

import functools
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.homelab.mediaserver.plugins.module_utils import _reconcile, _zfs, _zfs_wanted
from ansible_collections.homelab.mediaserver.plugins.module_utils import _zfs_datasets as datasets
from ansible_collections.homelab.mediaserver.plugins.module_utils._lock import lock
from ansible_collections.homelab.mediaserver.plugins.module_utils._reconcile import Failure, Plan, Step

# What only some lists need is imported where it is: a module comes as source, so each file costs its compilation, every
# run anew.

KEY = {
    "key_file": {"type": "path", "required": True, "no_log": False},
    "key_format": {"type": "str", "choices": ["raw", "hex", "passphrase"], "default": "raw", "no_log": False},
    "algorithm": {"type": "str", "default": "aes-256-gcm"},
}
ALLOW = {
    "user": {"type": "str"},
    "group": {"type": "str"},
    "everyone": {"type": "bool", "default": False},
    "permissions": {"type": "list", "elements": "str", "required": True},
    "scope": {"type": "str", "choices": ["both", "local", "descendent"], "default": "both"},
}
DATASET = {
    "name": {"type": "str", "required": True},
    "type": {"type": "str", "choices": ["filesystem", "volume"]},
    "size": {"type": "str"},
    "sparse": {"type": "bool", "default": False},
    "properties": {"type": "dict", "default": {}},
    "inherit": {"type": "list", "elements": "str", "default": []},
    "encryption": {"type": "dict", "options": KEY, "no_log": False},
    "mounted": {"type": "bool", "default": True},
    "owner": {"type": "str"},
    "group": {"type": "str"},
    "mode": {"type": "str"},
    "allow": {"type": "list", "elements": "dict", "default": [], "options": ALLOW},
    "renamed_from": {"type": "str"},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "destroy": {"type": "bool", "default": False},
    "destroy_snapshots": {"type": "bool", "default": False},
}
PURGE = {
    "below": {"type": "list", "elements": "str", "required": True},
    "children": {"type": "bool", "default": False},
    "snapshots": {"type": "bool", "default": False},
}
SPEC: dict[str, Any] = {
    "datasets": {"type": "list", "elements": "dict", "required": True, "options": DATASET},
    "purge": {"type": "dict", "options": PURGE},
}


def read(zfs: _zfs.Zfs, present: list[_zfs_wanted.Wanted], absent: list[str]) -> datasets.World:
    """One process; a second one only where something has to be renamed."""
    names = {item.name for item in present} | {item.renamed_from for item in present if item.renamed_from} | {*absent}
    names |= {above for item in present for above in _zfs_wanted.parents(item.name)}
    properties = _zfs_wanted.asked(present)
    world = zfs.get(sorted(names), properties)
    moving = [item.renamed_from for item in present if item.renamed_from in world and item.name not in world]
    listed = [item.name for item in present]
    if wrong := [old for old in moving if old in listed or moving.count(old) > 1]:
        why = "is listed itself" if wrong[0] in listed else "is the former name of more than one dataset"
        raise Failure(f"Unable to rename dataset {wrong[0]}: it {why}")
    return {**world, **(zfs.get(moving, properties, recursive=True) if moving else {})}


def plan(params: dict[str, Any], zfs: _zfs.Zfs) -> tuple[Plan, dict[str, Any]]:
    listed = params["datasets"]
    names = [item["name"] for item in listed]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise Failure(f"Unable to manage dataset {twice[0]}: it is listed twice")
    items = {item["name"]: item for item in listed if item["state"] == "present"}
    absent = [item for item in listed if item["state"] == "absent"]
    present = [_zfs_wanted.wanted(items[name]) for name in sorted(items)]
    world = read(zfs, present, [item["name"] for item in absent])
    planner = datasets.Planner(world)
    for item in sorted(present, key=lambda item: item.name.split("/")):
        planner.dataset(item)
        delegate(zfs, planner, items[item.name])
        own(zfs, planner, items[item.name])
    kept = destroy(zfs, planner, params["purge"], absent, present)
    steps = tuple(Step(command.describe, functools.partial(zfs.write, command)) for command in planner.commands)
    warnings = (*planner.warnings, *(f"{name} is not listed and stays: {why}" for name, why in kept.items()))
    return Plan(planner.before, planner.after, steps, warnings, {"kept": kept}), view(world, names)


def own(zfs: _zfs.Zfs, planner: datasets.Planner, item: dict[str, Any]) -> None:
    if any(item[key] is not None for key in ("owner", "group", "mode")):
        from ansible_collections.homelab.mediaserver.plugins.module_utils._zfs_owner import Owners

        Owners(zfs).plan(planner, item["name"], item)


def delegate(zfs: _zfs.Zfs, planner: datasets.Planner, item: dict[str, Any]) -> None:
    if not item["allow"]:
        return
    from ansible_collections.homelab.mediaserver.plugins.module_utils import _zfs_allow
    from ansible_collections.homelab.mediaserver.plugins.module_utils._zfs_owner import name_of

    name = item["name"]
    source = next((old for old, new in planner.renames if new == name), name)
    exists = planner.before[name] != "absent"
    text = zfs.read(["zfs", "allow", source], f"read the permissions on {name}", _zfs.GONE) if exists else ""
    grants, current = _zfs_allow.wanted(item["allow"], name, name_of), _zfs_allow.parse(text, source)
    planner.commands += _zfs_allow.commands(name, grants, current)
    after = _zfs_allow.view(grants)
    if exists:
        planner.before[name]["allow"] = _zfs_allow.view({key: current[key] for key in grants if key in current})
        planner.after[name]["allow"] = after
    else:
        planner.after[name] = {**({} if planner.after[name] == "present" else planner.after[name]), "allow": after}


def destroy(
    zfs: _zfs.Zfs,
    planner: datasets.Planner,
    purge: Any,
    absent: list[dict[str, Any]],
    present: list[_zfs_wanted.Wanted],
) -> dict[str, str]:
    """Last, so that nothing is lost for a run that fails on its way."""
    if not (purge or absent):
        return {}
    from ansible_collections.homelab.mediaserver.plugins.module_utils import _zfs_destroy

    names = [item.name for item in present]
    former = [item.renamed_from for item in present if item.renamed_from]
    tops = sorted(
        {*[item["name"] for item in absent if item["name"] in planner.world], *(purge or {}).get("below", [])}
    )
    text = zfs.read([*_zfs_destroy.LIST, *tops], "list the datasets", _zfs.GONE) if tops else ""
    listing = _zfs_destroy.Listing(text, planner.renames)
    named = _zfs_destroy.check_absent(absent, names, listing)
    doomed, kept = _zfs_destroy.check_purge(purge, [*names, *former], [item["name"] for item in absent], listing)
    for name in (*named, *doomed):
        planner.before[name], planner.after[name] = listing.datasets[name], "absent"
    planner.commands += _zfs_destroy.commands([*named, *(name for name in doomed if name not in named)], listing)
    return kept


def view(world: datasets.World, names: list[str]) -> dict[str, Any]:
    keys = _zfs_wanted.VIEW
    return {name: {key: world[name][key][0] for key in keys if key in world[name]} for name in names if name in world}


def work(module: AnsibleModule) -> dict[str, Any]:
    zfs = _zfs.Zfs(_zfs.runner(module))
    names = [item["name"] for item in module.params["datasets"]]
    with lock("zfs"):
        made, seen = plan(module.params, zfs)

        def read_back() -> dict[str, Any]:
            return {"datasets": view(zfs.get(names, _zfs_wanted.VIEW), names) if made.steps else seen}

        return _reconcile.run(module, made, read_back)


if __name__ == "__main__":
    _reconcile.main(AnsibleModule(argument_spec=SPEC, supports_check_mode=True), work)
