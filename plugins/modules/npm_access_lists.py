#!/usr/bin/python
# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: npm_access_lists
short_description: Manage the access lists of Nginx Proxy Manager
version_added: 0.1.0
description:
  - Makes a list of access lists so, in one call. Who is not allowed by the clients of a list is denied.
  - An access list is found by its name. Lists that are not mentioned stay, unless O(purge_prefix) says otherwise.
  - A list that proxy hosts use is never deleted, because that would open them to everybody.
extends_documentation_fragment:
  - homelab.mediaserver.npm
  - homelab.mediaserver.application
  - homelab.mediaserver.attributes
options:
  lists:
    description: The access lists.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name of the list.
        type: str
        required: true
      state:
        description: Whether it shall exist.
        type: str
        choices: [present, absent]
        default: present
      satisfy_any:
        description:
          - Whether either an allowed address or a login is enough. Otherwise both are needed where both are given.
        type: bool
        default: false
      pass_auth:
        description: Whether the login is passed on to the service.
        type: bool
        default: false
      clients:
        description: Rules for addresses, in order. The first one that fits counts.
        type: list
        elements: dict
        default: []
        suboptions:
          address:
            description: IPv4 or IPv6 address or network, or V(all).
            type: str
            required: true
          directive:
            description: What to do with it.
            type: str
            choices: [allow, deny]
            default: allow
      users:
        description: Who may log in.
        type: list
        elements: dict
        default: []
        suboptions:
          username:
            description: Name.
            type: str
            required: true
          password:
            description: Password.
            type: str
            required: true
  update_password:
    description:
      - Nginx Proxy Manager never tells passwords, so a changed one cannot be seen.
      - With V(on_create) a password is sent for new users only. With V(always) it is sent each time, which is always a
        change.
    type: str
    choices: [always, on_create]
    default: on_create
  purge_prefix:
    description: Delete lists whose name starts with this and that are not listed.
    type: str
"""

EXAMPLES = r"""
- name: Let only the house and its VPN in
  homelab.mediaserver.npm_access_lists:
    email: admin@example.org
    password: "{{ npm_admin_password }}"
    lists:
      - name: home
        clients:
          - address: 192.168.1.0/24
          - address: 10.8.0.0/24
"""

RETURN = r"""
lists:
  description: Numbers of all access lists by name.
  returned: when not in check mode, or nothing changes
  type: dict
  sample: {home: 3}
steps:
  description: What was done, or would be done.
  returned: always
  type: list
  elements: str
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.homelab.mediaserver.plugins.module_utils import _reconcile
from ansible_collections.homelab.mediaserver.plugins.module_utils._http import NotReady, later
from ansible_collections.homelab.mediaserver.plugins.module_utils._npm import CONNECTION, Npm
from ansible_collections.homelab.mediaserver.plugins.module_utils._npm_lists import Change, plan_lists, refuse_in_use
from ansible_collections.homelab.mediaserver.plugins.module_utils._reconcile import Plan, Step

CLIENT = {
    "address": {"type": "str", "required": True},
    "directive": {"type": "str", "choices": ["allow", "deny"], "default": "allow"},
}
USER = {
    "username": {"type": "str", "required": True},
    "password": {"type": "str", "required": True, "no_log": True},
}
ENTRY = {
    "name": {"type": "str", "required": True},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "satisfy_any": {"type": "bool", "default": False},
    "pass_auth": {"type": "bool", "default": False},
    "clients": {"type": "list", "elements": "dict", "default": [], "options": CLIENT},
    "users": {"type": "list", "elements": "dict", "default": [], "options": USER},
}
ARGUMENTS = {
    **CONNECTION,
    "lists": {"type": "list", "elements": "dict", "required": True, "options": ENTRY},
    "update_password": {"type": "str", "choices": ["always", "on_create"], "default": "on_create", "no_log": False},
    "purge_prefix": {"type": "str"},
}
PATH = "/nginx/access-lists"
READ = {"expand": "items,clients"}


def step(npm: Npm, change: Change) -> Step:
    verb = "delete" if change.kind == "purge" else change.kind
    to = f"{verb} access list {change.name}"
    if change.kind == "create":
        return Step(to, lambda: npm.call("POST", PATH, to, change.body))
    if change.kind == "update":
        return Step(to, lambda: npm.call("PUT", f"{PATH}/{change.number}", to, change.body))

    def delete() -> None:
        if change.kind == "purge":
            for entry in npm.objects(PATH, to):
                if entry["id"] == change.number:
                    refuse_in_use(entry)
        npm.call("DELETE", f"{PATH}/{change.number}", to)

    return Step(to, delete)


def work(module: AnsibleModule) -> dict[str, Any]:
    params = module.params
    npm = Npm(params)
    try:
        npm.open()
    except NotReady as failure:
        names = [option["name"] for option in params["lists"] if option["state"] == "present"]
        return _reconcile.run(module, later(failure, "create the access lists", names))
    existing = npm.objects(PATH, "list access lists", query=READ)
    always = params["update_password"] == "always"
    changes, before, after = plan_lists(params["lists"], existing, params["purge_prefix"], always)
    plan = Plan(before=before, after=after, steps=tuple(step(npm, change) for change in changes))

    def read_back() -> dict[str, Any]:
        lists = npm.objects(PATH, "list access lists") if plan.steps else existing
        return {"lists": {entry["name"]: entry["id"] for entry in lists}}

    return _reconcile.run(module, plan, read_back)


def main() -> None:
    _reconcile.main(AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True), work)


if __name__ == "__main__":
    main()
