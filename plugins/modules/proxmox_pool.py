#!/usr/bin/python
# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: proxmox_pool
short_description: A pool of guests and storages of Proxmox VE
version_added: 0.1.0
description:
  - Creates, changes or removes a pool, a group of guests and storages to which rights can be given at once
    (C(/pool/NAME) in M(homelab.mediaserver.proxmox_acl)).
  - Leave O(guests) out where M(homelab.mediaserver.proxmox_vm) puts guests into pools.
extends_documentation_fragment:
  - homelab.mediaserver.proxmox
  - homelab.mediaserver.attributes
options:
  poolid:
    description: Name of the pool. V(a/b) is a pool within the pool V(a), which must exist.
    type: str
    required: true
  comment:
    description: Text shown with the pool. An empty text removes it.
    type: str
  guests:
    description: Ids of all guests in the pool, a set. They must exist. An empty list takes all out.
    type: list
    elements: int
  storages:
    description: Names of all storages in the pool, a set. An empty list takes all out.
    type: list
    elements: str
  move_guests:
    description: Whether guests may be taken out of another pool. A guest is in one pool at most.
    type: bool
    default: false
  state:
    description: V(absent) removes the pool, which must be empty.
    type: str
    choices: [present, absent]
    default: present
"""

EXAMPLES = r"""
- name: A pool for the media server's guests
  homelab.mediaserver.proxmox_pool:
    poolid: mediaserver
    comment: Media server
    storages: [local, tank-ssd-postgres]
"""

RETURN = r"""
steps:
  description: What was done, or would be done.
  returned: always
  type: list
  elements: str
guests:
  description: Ids of the guests in the pool now.
  returned: unless changes were only predicted
  type: list
  elements: int
storages:
  description: Names of the storages in the pool now.
  returned: unless changes were only predicted
  type: list
  elements: str
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.homelab.mediaserver.plugins.module_utils import _pve_access as access
from ansible_collections.homelab.mediaserver.plugins.module_utils import _reconcile
from ansible_collections.homelab.mediaserver.plugins.module_utils._pve import CONNECTION, Pve
from ansible_collections.homelab.mediaserver.plugins.module_utils._reconcile import Failure, Plan

MEMBERS = {"guests": "vms", "storages": "storage"}  # option -> parameter of the API
ARGUMENTS: dict[str, Any] = {
    **CONNECTION,
    "poolid": {"type": "str", "required": True},
    "comment": {"type": "str"},
    "guests": {"type": "list", "elements": "int"},
    "storages": {"type": "list", "elements": "str"},
    "move_guests": {"type": "bool", "default": False},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
}


def read(pve: Pve, poolid: str) -> dict[str, Any] | None:
    """The list first: it alone says "absent" without an error."""
    if not any(row.get("poolid") == poolid for row in pve.get_list("pools", "read the pools")):
        return None
    rows = pve.get_list("pools", f"read pool {poolid}", poolid=poolid)
    if len(rows) != 1 or not isinstance(rows[0].get("members", []), list):
        raise Failure(f"Unable to read pool {poolid}: the answer is no pool")
    members = rows[0].get("members", [])
    return {
        "comment": access.text(rows[0].get("comment")),
        "guests": sorted(int(member["vmid"]) for member in members if member.get("type") in ("qemu", "lxc")),
        "storages": sorted(str(member["storage"]) for member in members if member.get("type") == "storage"),
    }


def view(pool: dict[str, Any] | None, fields: Any) -> dict[str, Any]:
    return {"state": "absent"} if pool is None else {"state": "present", **{field: pool[field] for field in fields}}


def plan(pve: Pve, params: dict[str, Any], current: dict[str, Any] | None) -> Plan:
    poolid = params["poolid"]
    if params["state"] == "absent":
        return _absent(pve, poolid, current)
    wanted: dict[str, Any] = {name: sorted(set(params[name])) for name in MEMBERS if params[name] is not None}
    if params["comment"] is not None:
        wanted["comment"] = access.text(params["comment"])
    before, after = view(current, wanted), {"state": "present", **wanted}
    have = current or {"comment": "", "guests": [], "storages": []}
    steps = []
    comment = {"comment": wanted["comment"]} if wanted.get("comment", have["comment"]) != have["comment"] else {}
    if current is None:
        steps.append(access.step(pve, f"create pool {poolid}", "post", "pools", poolid=poolid, **comment))
    elif comment:
        steps.append(access.step(pve, f"set comment of pool {poolid}", "put", "pools", poolid=poolid, **comment))
    for name, parameter in MEMBERS.items():
        target = set(wanted.get(name, have[name]))
        for verb, items in (("add", target - set(have[name])), ("remove", set(have[name]) - target)):
            if items:
                text = ",".join(str(item) for item in sorted(items))
                more: dict[str, Any] = {"delete": 1} if verb == "remove" else {}
                if name == "guests" and verb == "add" and params["move_guests"]:
                    more["allow-move"] = 1
                describe = f"{verb} {name} {text} {'to' if verb == 'add' else 'from'} pool {poolid}"
                data = {"poolid": poolid, parameter: text, **more}
                steps.append(access.step(pve, describe, "put", "pools", **data))
    return Plan(before, after, tuple(steps))


def _absent(pve: Pve, poolid: str, current: dict[str, Any] | None) -> Plan:
    if current is None:
        return Plan({"state": "absent"}, {"state": "absent"})
    members = [*current["guests"], *current["storages"]]
    if members:
        text = ", ".join(str(member) for member in members)
        raise Failure(f"Unable to delete pool {poolid}: it holds {text}; take them out first (guests, storages)")
    step = access.step(pve, f"delete pool {poolid}", "delete", "pools", poolid=poolid)
    return Plan(view(current, ()), {"state": "absent"}, (step,))


def work(module: AnsibleModule) -> dict[str, Any]:
    params = module.params
    pve = Pve(params)

    def read_back() -> dict[str, Any]:
        pool = read(pve, params["poolid"]) or {}
        return {name: pool.get(name, []) for name in MEMBERS}

    return _reconcile.run(module, plan(pve, params, read(pve, params["poolid"])), read_back)


def main() -> None:
    _reconcile.main(AnsibleModule(ARGUMENTS, supports_check_mode=True), work)


if __name__ == "__main__":
    main()
