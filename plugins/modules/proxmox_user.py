#!/usr/bin/python
# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: proxmox_user
short_description: A user of Proxmox VE
version_added: 0.1.0
description:
  - Creates, changes or removes a user. What is not given stays as it is, or gets Proxmox VE's default on creation.
  - The user's API tokens and two factor keys are left alone. See M(homelab.mediaserver.proxmox_token) for tokens and
    M(homelab.mediaserver.proxmox_acl) for rights.
extends_documentation_fragment:
  - homelab.mediaserver.proxmox
  - homelab.mediaserver.attributes
options:
  userid:
    description: Name with realm, such as V(automation@pve).
    type: str
    required: true
  enable:
    description: Whether the user may log in.
    type: bool
  expire:
    description: When the account ends, in seconds since 1970-01-01 UTC. V(0) means never.
    type: int
  email:
    description: E-mail address. An empty text removes it.
    type: str
  firstname:
    description: First name. An empty text removes it.
    type: str
  lastname:
    description: Last name. An empty text removes it.
    type: str
  comment:
    description: Text shown with the user. An empty text removes it.
    type: str
  groups:
    description: All groups the user is in, a set. They must exist. An empty list takes the user out of all.
    type: list
    elements: str
  password:
    description:
      - Password, of 8 characters or more. Proxmox VE never tells it, so it is compared with nothing.
      - For the realm V(pam) it becomes the system's password on the node that answers.
    type: str
  update_password:
    description:
      - V(on_create) sets O(password) only when the user is made.
      - V(always) sets it in every run, which is then always changed. Proxmox VE allows this to no API token, log in
        with O(api_password).
    type: str
    choices: [on_create, always]
    default: on_create
  state:
    description:
      - V(absent) removes the user with its tokens and its entries in the access control list.
    type: str
    choices: [present, absent]
    default: present
seealso:
  - module: homelab.mediaserver.proxmox_token
  - module: homelab.mediaserver.proxmox_acl
"""

EXAMPLES = r"""
- name: A user for automation, without a password
  homelab.mediaserver.proxmox_user:
    userid: automation@pve
    comment: Ansible

- name: A person
  homelab.mediaserver.proxmox_user:
    userid: alice@pve
    firstname: Alice
    email: alice@example.org
    groups: [family]
    password: "{{ vault_alice }}"
"""

RETURN = r"""
steps:
  description: What was done, or would be done.
  returned: always
  type: list
  elements: str
user:
  description: The user as it is now. Empty if it does not exist.
  returned: unless changes were only predicted
  type: dict
  sample: {enable: true, expire: 0, email: "", firstname: "", lastname: "", comment: Ansible, groups: []}
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.homelab.mediaserver.plugins.module_utils import _pve_access as access
from ansible_collections.homelab.mediaserver.plugins.module_utils import _reconcile
from ansible_collections.homelab.mediaserver.plugins.module_utils._pve import CONNECTION, Pve
from ansible_collections.homelab.mediaserver.plugins.module_utils._pve_format import flag
from ansible_collections.homelab.mediaserver.plugins.module_utils._reconcile import Failure, Plan, Step

FIELDS = ("enable", "expire", "email", "firstname", "lastname", "comment", "groups")
ARGUMENTS: dict[str, Any] = {
    **CONNECTION,
    "userid": {"type": "str", "required": True},
    "enable": {"type": "bool"},
    "expire": {"type": "int"},
    "email": {"type": "str"},
    "firstname": {"type": "str"},
    "lastname": {"type": "str"},
    "comment": {"type": "str"},
    "groups": {"type": "list", "elements": "str"},
    "password": {"type": "str", "no_log": True},
    "update_password": {"type": "str", "choices": ["on_create", "always"], "default": "on_create", "no_log": False},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
}


def canonical(field: str, value: Any) -> Any:
    if field == "groups":
        return access.names(value)
    if field == "expire":
        return int(value or 0)
    return flag(value) == "1" if field == "enable" else access.text(value)


def view(user: dict[str, Any] | None, fields: Any = FIELDS) -> dict[str, Any]:
    if user is None:
        return {"state": "absent"}
    given = {"enable": 1, **user}
    return {"state": "present", **{field: canonical(field, given.get(field)) for field in fields}}


def api_value(value: Any) -> Any:
    return ",".join(value) if isinstance(value, list) else value


def plan(pve: Pve, params: dict[str, Any], current: dict[str, Any] | None) -> Plan:
    userid = params["userid"]
    where = access.path("access", "users", userid)
    if params["state"] == "absent":
        if userid == "root@pam":
            raise Failure("Unable to delete user root@pam: Proxmox VE cannot be without it")
        steps = (access.step(pve, f"delete user {userid}", "delete", where),) if current is not None else ()
        return Plan(view(current, ()), {"state": "absent"}, steps)
    wanted = {field: canonical(field, params[field]) for field in FIELDS if params[field] is not None}
    before, after = view(current, wanted), {"state": "present", **wanted}
    if current is None:
        data = {field: api_value(value) for field, value in wanted.items() if value not in ("", [])}
        if params["password"]:
            data["password"] = params["password"]
        return Plan(before, after, (access.step(pve, f"create user {userid}", "post", "access/users",
                                                userid=userid, **data),))  # fmt: skip
    changed = {field: api_value(value) for field, value in wanted.items() if before[field] != value}
    found = []
    if changed:
        found.append(access.step(pve, f"set {', '.join(changed)} of user {userid}", "put", where, **changed))
    if params["password"] and params["update_password"] == "always":
        found.append(password_step(pve, params))
    return Plan(before, after, tuple(found))


def password_step(pve: Pve, params: dict[str, Any]) -> Step:
    describe = f"set the password of user {params['userid']}"
    data = {"userid": params["userid"], "password": params["password"]}
    if params["api_token_id"]:
        raise Failure(f"Unable to {describe}: Proxmox VE lets no API token do this; log in with api_password")
    if params["api_user"] != "root@pam":
        data["confirmation-password"] = params["api_password"]
    return access.step(pve, describe, "put", "access/password", **data)


def work(module: AnsibleModule) -> dict[str, Any]:
    params = module.params
    pve = Pve(params)
    userid = access.user_id(params["userid"])
    current = access.read_user(pve, userid)

    def read_back() -> dict[str, Any]:
        user = access.read_user(pve, userid)
        return {"user": {} if user is None else {field: view(user)[field] for field in FIELDS}}

    return _reconcile.run(module, plan(pve, params, current), read_back)


def main() -> None:
    _reconcile.main(AnsibleModule(ARGUMENTS, supports_check_mode=True), work)


if __name__ == "__main__":
    main()
