#!/usr/bin/python
# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: proxmox_group
short_description: A group of users of Proxmox VE
version_added: 0.1.0
description:
  - Creates, changes or removes a group. Who is in it is said with the users, see M(homelab.mediaserver.proxmox_user).
extends_documentation_fragment:
  - homelab.mediaserver.proxmox
  - homelab.mediaserver.attributes
options:
  groupid:
    description: Name of the group.
    type: str
    required: true
  comment:
    description: Text shown with the group. An empty text removes it.
    type: str
  state:
    description: V(absent) removes the group and its entries in the access control list; its users stay.
    type: str
    choices: [present, absent]
    default: present
seealso:
  - module: homelab.mediaserver.proxmox_user
  - module: homelab.mediaserver.proxmox_acl
"""

EXAMPLES = r"""
- name: The family
  homelab.mediaserver.proxmox_group:
    groupid: family
    comment: May start and stop guests
"""

RETURN = r"""
steps:
  description: What was done, or would be done.
  returned: always
  type: list
  elements: str
members:
  description: The users in the group now.
  returned: unless changes were only predicted
  type: list
  elements: str
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.homelab.mediaserver.plugins.module_utils import _pve_access as access
from ansible_collections.homelab.mediaserver.plugins.module_utils import _reconcile
from ansible_collections.homelab.mediaserver.plugins.module_utils._pve import CONNECTION, ApiFailure, Pve
from ansible_collections.homelab.mediaserver.plugins.module_utils._reconcile import Plan

ARGUMENTS: dict[str, Any] = {
    **CONNECTION,
    "groupid": {"type": "str", "required": True},
    "comment": {"type": "str"},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
}


def read(pve: Pve, groupid: str) -> dict[str, Any] | None:
    try:
        return pve.get_dict(access.path("access", "groups", groupid), f"read group {groupid}")
    except ApiFailure as failure:
        if failure.status == 500 and failure.text.strip() == f"group '{groupid}' does not exist":
            return None
        raise


def plan(pve: Pve, params: dict[str, Any], current: dict[str, Any] | None) -> Plan:
    groupid = params["groupid"]
    where = access.path("access", "groups", groupid)
    wanted = {} if params["comment"] is None else {"comment": access.text(params["comment"])}
    before: dict[str, Any] = {"state": "absent"}
    if current is not None:
        before = {"state": "present", **{key: access.text(current.get(key)) for key in wanted}}
    if params["state"] == "absent":
        steps = (access.step(pve, f"delete group {groupid}", "delete", where),) if current is not None else ()
        return Plan({"state": before["state"]}, {"state": "absent"}, steps)
    after = {"state": "present", **wanted}
    if current is None:
        data = {key: value for key, value in wanted.items() if value}
        step = access.step(pve, f"create group {groupid}", "post", "access/groups", groupid=groupid, **data)
        return Plan(before, after, (step,))
    if before == after:
        return Plan(before, after)
    return Plan(before, after, (access.step(pve, f"set comment of group {groupid}", "put", where, **wanted),))


def work(module: AnsibleModule) -> dict[str, Any]:
    pve, groupid = Pve(module.params), module.params["groupid"]
    current = read(pve, groupid)

    def read_back() -> dict[str, Any]:
        return {"members": access.names((read(pve, groupid) or {}).get("members"))}

    return _reconcile.run(module, plan(pve, module.params, current), read_back)


def main() -> None:
    _reconcile.main(AnsibleModule(ARGUMENTS, supports_check_mode=True), work)


if __name__ == "__main__":
    main()
