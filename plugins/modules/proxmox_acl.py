#!/usr/bin/python
# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: proxmox_acl
short_description: Entries of Proxmox VE's access control list
version_added: 0.1.0
description:
  - Grants roles on paths to users, groups and API tokens, the whole list in one call. Entries not named stay, unless
    O(purge) says which of them go.
  - New rights are granted before old ones are taken away.
extends_documentation_fragment:
  - homelab.mediaserver.proxmox
  - homelab.mediaserver.attributes
options:
  entries:
    description: The entries, each with exactly one of C(user), C(group) and C(token).
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: The path, such as V(/), V(/vms/100), V(/storage/local), V(/mapping), V(/sdn/zones/localnetwork).
        type: str
        required: true
      role:
        description: The role, see M(homelab.mediaserver.proxmox_role). It must exist.
        type: str
        required: true
      user:
        description: A user with realm. V(root@pam) has all rights anyway and cannot have entries.
        type: str
      group:
        description: A group.
        type: str
      token:
        description: An API token, V(user@realm!name). Only tokens with separated privileges need entries.
        type: str
      propagate:
        description: Whether the entry holds below the path too.
        type: bool
        default: true
  purge:
    description:
      - Removes entries that are not in O(entries), of those that match all that is given here. At least one of the
        options is needed.
    type: dict
    suboptions:
      below:
        description: Only entries of these paths and of what lies below them.
        type: list
        elements: str
      users:
        description: Only entries of these users (or of the groups and tokens given beside them).
        type: list
        elements: str
      groups:
        description: Only entries of these groups.
        type: list
        elements: str
      tokens:
        description: Only entries of these tokens.
        type: list
        elements: str
  state:
    description: V(absent) takes the O(entries) away, whether they propagate or not.
    type: str
    choices: [present, absent]
    default: present
seealso:
  - module: homelab.mediaserver.proxmox_role
  - module: homelab.mediaserver.proxmox_user
  - module: homelab.mediaserver.proxmox_token
"""

EXAMPLES = r"""
- name: All that automation may do, and nothing else
  homelab.mediaserver.proxmox_acl:
    entries:
      - {path: /vms/100, role: MediaserverGuest, user: automation@pve}
      - {path: /storage/local, role: MediaserverStore, user: automation@pve}
    purge:
      users: [automation@pve]

- name: The guests' group sees the storages, but not what is below
  homelab.mediaserver.proxmox_acl:
    entries:
      - {path: /storage, role: PVEAuditor, group: guests, propagate: false}
"""

RETURN = r"""
steps:
  description: What was done, or would be done.
  returned: always
  type: list
  elements: str
  sample: [grant MediaserverGuest on /vms/100 to automation@pve]
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.homelab.mediaserver.plugins.module_utils import _pve_access as access
from ansible_collections.homelab.mediaserver.plugins.module_utils import _pve_acl, _reconcile
from ansible_collections.homelab.mediaserver.plugins.module_utils._pve import CONNECTION, Pve

NAMES: dict[str, Any] = {"type": "list", "elements": "str"}
ARGUMENTS: dict[str, Any] = {
    **CONNECTION,
    "entries": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "path": {"type": "str", "required": True},
            "role": {"type": "str", "required": True},
            "user": {"type": "str"},
            "group": {"type": "str"},
            "token": {"type": "str", "no_log": False},
            "propagate": {"type": "bool", "default": True},
        },
        "mutually_exclusive": [("user", "group", "token")],
        "required_one_of": [("user", "group", "token")],
    },
    "purge": {
        "type": "dict",
        "options": {"below": NAMES, "users": NAMES, "groups": NAMES, "tokens": {**NAMES, "no_log": False}},
        "required_one_of": [("below", "users", "groups", "tokens")],
    },
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
}


def work(module: AnsibleModule) -> dict[str, Any]:
    params = module.params
    wanted = _pve_acl.desired(params["entries"])
    pve = Pve(params)
    rows = access.read_acl(pve)
    current = pve.understand("read the access control list", lambda: _pve_acl.current(rows))
    return _reconcile.run(module, _pve_acl.plan(pve, wanted, current, params["purge"], params["state"]))


def main() -> None:
    _reconcile.main(AnsibleModule(ARGUMENTS, supports_check_mode=True), work)


if __name__ == "__main__":
    main()
