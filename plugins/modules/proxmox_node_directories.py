#!/usr/bin/python
# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: proxmox_node_directories
short_description: Whether the directories that guests get are there
version_added: 0.1.0
description:
  - Runs on the node. Looks whether the directories of directory mappings exist, and whether those of ZFS pools are
    mounted datasets, so that no guest writes into a bare mount point. Changes nothing.
extends_documentation_fragment:
  - homelab.mediaserver.attributes.info
options:
  mappings:
    description: Directory mappings.
    type: list
    elements: dict
    required: true
    suboptions:
      id:
        description: Name of the mapping.
        type: str
        required: true
      path:
        description: Directory on the node.
        type: path
        required: true
  pools:
    description: Pools by name, with C(kind) (V(zfs) or V(directory)), C(path) and C(datasets) (name to quota).
    type: dict
    default: {}
  fatal:
    description: Whether a problem fails the module. Otherwise it is a warning.
    type: bool
    default: true
author:
  - The homelab.mediaserver authors (@homelab)
"""

EXAMPLES = r"""
- name: Are the datasets mounted?
  homelab.mediaserver.proxmox_node_directories:
    mappings: [{id: media, path: /tank-hdd/media}]
    pools: {tank-hdd: {kind: zfs, path: /tank-hdd, datasets: {media: 250G}}}
"""

RETURN = r"""
problems:
  description: What is missing and what to do.
  returned: always
  type: list
  elements: str
"""

import os
from collections.abc import Callable
from pathlib import PurePosixPath
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.homelab.mediaserver.plugins.module_utils import _reconcile

ARGUMENTS: dict[str, Any] = {
    "mappings": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": {"id": {"type": "str", "required": True}, "path": {"type": "path", "required": True}},
    },
    "pools": {"type": "dict", "default": {}},
    "fatal": {"type": "bool", "default": True},
}


def dataset_of(path: str, pools: dict[str, Any]) -> tuple[str, str] | None:
    """(dataset, quota) that must be mounted at ``path`` or above it; None outside of ZFS pools (pure)."""
    for name, pool in pools.items():
        if pool.get("kind") != "zfs" or not PurePosixPath(path).is_relative_to(pool["path"]):
            continue
        inside = PurePosixPath(path).relative_to(pool["path"]).parts
        if not inside:
            return name, ""
        return f"{name}/{inside[0]}", str((pool.get("datasets") or {}).get(inside[0]) or "")
    return None


def problems(
    mappings: list[dict[str, Any]],
    pools: dict[str, Any],
    is_directory: Callable[[str], bool] = os.path.isdir,
    is_mount: Callable[[str], bool] = os.path.ismount,
) -> list[str]:
    found = []
    for mapping in mappings:
        path = mapping["path"]
        owner = dataset_of(path, pools)
        if owner is not None:
            dataset, quota = owner
            pool = pools[dataset.partition("/")[0]]
            mount = str(PurePosixPath(pool["path"]) / dataset.partition("/")[2])
            if not is_mount(mount):
                create = f"zfs create {f'-o quota={quota} ' if quota else ''}-o mountpoint={mount} {dataset}"
                found.append(
                    f"{mapping['id']} is to share {path}, but dataset {dataset} is not mounted at {mount}: run "
                    f"`{create}` (or `zfs mount {dataset}` if it exists)"
                )
                continue
        if not is_directory(path):
            found.append(f"{mapping['id']} is to share {path}, which is no directory: run `mkdir -p {path}`")
    return found


def work(module: AnsibleModule) -> dict[str, Any]:
    found = problems(module.params["mappings"], module.params["pools"])
    if found and module.params["fatal"]:
        raise _reconcile.Failure("Unable to share directories with guests: " + "; ".join(found), problems=found)
    for text in found:
        module.warn(text)
    return {"changed": False, "problems": found}


def main() -> None:
    _reconcile.main(AnsibleModule(ARGUMENTS, supports_check_mode=True), work)


if __name__ == "__main__":
    main()
