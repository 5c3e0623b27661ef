#!/usr/bin/python
# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Longer than most: the documentation of one option per thing that a pool has.

from __future__ import annotations

DOCUMENTATION = r"""
module: zfs_pools
short_description: Keep ZFS pools as listed
version_added: 0.1.0
description:
  - Makes pools of empty disks or partitions, or imports a pool of that name that is found on them.
  - Never writes to a device that carries anything (partition table, file system, RAID, volume group, swap, another
    pool) or is in use, and never destroys a pool or takes a device out of one.
  - When C(zpool) fails after it has partitioned a disk, the next run goes on with that disk, by a record of what was
    empty in C(/var/lib/mediaserver/zfs), if it carries nothing else.
  - A device counts as the same under each of its names.
  - OpenZFS 2.1 to 2.4. It is run on 2.3; what the others say otherwise is known from their documentation.
author: The homelab.mediaserver authors (@homelab)
attributes:
  check_mode:
    support: full
    description: >-
      Reads only and says what it would do. ZFS itself judges new pools and vdevs by a dry run, which does not look at
      O(pools[].filesystem_properties).
  diff_mode:
    support: full
    description: Vdevs, properties and scrub of each pool before and after.
options:
  pools:
    description: The pools. Those that are not listed are left alone.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name of the pool.
        type: str
        required: true
      vdevs:
        description: What holds the data. A partition of the system disk will do.
        type: list
        elements: dict
        required: true
        suboptions: &vdev
          type:
            description: Kind of the vdev. Several devices of type V(disk) are a vdev each.
            type: str
            choices: [disk, mirror, raidz1, raidz2, raidz3]
            default: disk
          devices:
            description: Disks, partitions or files; best by their names in C(/dev/disk/by-id).
            type: list
            elements: str
            required: true
      special:
        description: Vdevs for metadata and small blocks. The pool is lost with them.
        type: list
        elements: dict
        default: []
        suboptions: *vdev
      log:
        description: Vdevs for the intent log.
        type: list
        elements: dict
        default: []
        suboptions: *vdev
      cache:
        description: Devices for the second-level cache.
        type: list
        elements: str
        default: []
      spares:
        description: Devices that stand in for a broken one.
        type: list
        elements: str
        default: []
      add_vdevs:
        description: Add listed vdevs that the pool lacks. Otherwise they are an error; many cannot be removed again.
        type: bool
        default: false
      properties:
        description: Properties of the pool, as C(ashift) (chosen when a vdev is made), C(autotrim), C(autoexpand).
        type: dict
        default: {}
      filesystem_properties:
        description: Properties of the pool's first file system, as C(compression) and C(atime), which others inherit.
        type: dict
        default: {}
      mountpoint:
        description: Where the pool's first file system is mounted, or V(none).
        type: str
      scrub:
        description:
          - How often all data is read and checked, by OpenZFS's systemd timers. Unset leaves it alone.
          - Debian's own monthly job is turned off for the pool.
        type: str
        choices: [monthly, weekly, never]
      import:
        description: Import a pool of this name that is found on the devices. Otherwise that is an error.
        type: bool
        default: true
      force_import:
        description: Import it even if another machine used it last and did not export it.
        type: bool
        default: false
"""

EXAMPLES = r"""
- name: Two mirrored disks, and a pool on a partition of the system disk
  homelab.mediaserver.zfs_pools:
    pools:
      - name: tank-hdd
        vdevs:
          - {type: mirror, devices: [/dev/disk/by-id/ata-WDC_1, /dev/disk/by-id/ata-WDC_2]}
        properties: {ashift: 12, autotrim: true}
        filesystem_properties: {compression: lz4, atime: false}
        scrub: monthly
      - name: tank-ssd
        vdevs: [{devices: [/dev/disk/by-id/nvme-Samsung_SSD_970-part4]}]
"""

RETURN = r"""
steps:
  description: What was done or, in check mode, would be.
  returned: always
  type: list
  elements: str
pools:
  description: The listed pools that exist, each with health, size, allocated and free (bytes).
  returned: unless changes were only predicted
  type: dict
problems:
  description: What is wrong with a pool now, as a broken disk. Also given as warnings.
  returned: always
  type: list
  elements: str
"""

import functools
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.homelab.mediaserver.plugins.module_utils import _reconcile, _zfs
from ansible_collections.homelab.mediaserver.plugins.module_utils._lock import lock
from ansible_collections.homelab.mediaserver.plugins.module_utils._reconcile import Failure, Plan, Step
from ansible_collections.homelab.mediaserver.plugins.module_utils._zfs_devices import Disks
from ansible_collections.homelab.mediaserver.plugins.module_utils._zfs_pools_run import Host, Pools

VDEV = {
    "type": {"type": "str", "choices": ["disk", "mirror", "raidz1", "raidz2", "raidz3"], "default": "disk"},
    "devices": {"type": "list", "elements": "str", "required": True},
}
POOL = {
    "name": {"type": "str", "required": True},
    "vdevs": {"type": "list", "elements": "dict", "required": True, "options": VDEV},
    "special": {"type": "list", "elements": "dict", "default": [], "options": VDEV},
    "log": {"type": "list", "elements": "dict", "default": [], "options": VDEV},
    "cache": {"type": "list", "elements": "str", "default": []},
    "spares": {"type": "list", "elements": "str", "default": []},
    "add_vdevs": {"type": "bool", "default": False},
    "properties": {"type": "dict", "default": {}},
    "filesystem_properties": {"type": "dict", "default": {}},
    "mountpoint": {"type": "str"},
    "scrub": {"type": "str", "choices": ["monthly", "weekly", "never"]},
    "import": {"type": "bool", "default": True},
    "force_import": {"type": "bool", "default": False},
}
SPEC: dict[str, Any] = {"pools": {"type": "list", "elements": "dict", "required": True, "options": POOL}}


def plan(items: list[dict[str, Any]], host: Host, disks: Disks) -> Plan:
    names = [item["name"] for item in items]
    if twice := [name for name in names if names.count(name) > 1]:
        raise Failure(f"Unable to manage pool {twice[0]}: it is listed twice")
    pools = Pools(host, disks)
    for item in items:
        pools.plan(item)
    steps = tuple(Step(command.describe, functools.partial(host.zfs.write, command)) for command in pools.commands)
    warnings = (*pools.problems, *pools.warnings)
    return Plan(pools.before, pools.after, steps, warnings, {"problems": pools.problems})


def view(host: Host) -> dict[str, Any]:
    keys = ("health", "size", "allocated", "free")
    return {name: {key: pool.properties.get(key) for key in keys} for name, pool in host.pools.items()}


def work(module: AnsibleModule) -> dict[str, Any]:
    items = module.params["pools"]
    zfs = _zfs.Zfs(_zfs.runner(module))
    with lock("zfs"):
        host = Host(zfs, items)
        made = plan(items, host, Disks(zfs.run))

        def read_back() -> dict[str, Any]:
            return {"pools": view(Host(zfs, items) if made.steps else host)}

        return _reconcile.run(module, made, read_back)


if __name__ == "__main__":
    _reconcile.main(AnsibleModule(argument_spec=SPEC, supports_check_mode=True), work)
