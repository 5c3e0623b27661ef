#!/usr/bin/python
# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: immich_users
short_description: Manage Immich's users
version_added: 0.1.0
description:
  - Makes a list of users so, in one call. A user is found by the e-mail address. Users that are not listed stay.
  - A user that was deleted some days ago and is wanted again is restored, with everything that belongs to it. Its
    password stays what it was.
  - Needs the permissions C(adminUser.read), C(adminUser.create), C(adminUser.update) and C(adminUser.delete), which
    also allows to restore.
extends_documentation_fragment:
  - homelab.mediaserver.immich
  - homelab.mediaserver.application
  - homelab.mediaserver.attributes
options:
  users:
    description: The users. What is unset is not managed.
    type: list
    elements: dict
    required: true
    suboptions:
      email:
        description: E-mail address.
        type: str
        required: true
      name:
        description: Full name. The default for a new user is the part of the address before the C(@).
        type: str
      password:
        description: Password. Needed for a new user, here or in O(passwords).
        type: str
      change_password:
        description: Whether a new user must choose another password at the first login.
        type: bool
      admin:
        description: Whether the user is an administrator. Nobody can change this for themselves.
        type: bool
      storage_label:
        description:
          - Name of the user's folder below the library. Empty for none.
          - Dots and characters that a file name cannot have are left out, as Immich does.
        type: str
      quota:
        description: Room for the user's files in bytes, with K, M, G or T for powers of 1024, or V(unlimited).
        type: str
      state:
        description: Whether the user shall exist. Immich forgets a deleted user's files after some days.
        type: str
        choices: [present, absent]
        default: present
  passwords:
    description: Passwords by e-mail address, for users that have none of their own in O(users).
    type: dict
    default: {}
  update_password:
    description:
      - Immich never tells passwords, so a changed one cannot be seen.
      - With V(on_create) a password is set for new users only.
      - With V(always) it is set each time, which is always a change.
    type: str
    choices: [always, on_create]
    default: on_create
  force_delete:
    description:
      - Whether users that are deleted now go at once, with their files, instead of after some days.
      - Users that were deleted before go in their time.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Let Ann have 50 GiB
  homelab.mediaserver.immich_users:
    api_key_file: /etc/mediaserver/immich-api-key
    users:
      - email: ann@example.org
        name: Ann
        password: "{{ immich_password_ann }}"
        quota: 50G
"""

RETURN = r"""
users:
  description: Ids of all users by e-mail address.
  returned: when not in check mode, or nothing changes
  type: dict
  sample: {"ann@example.org": 3fa85f64-5717-4562-b3fc-2c963f66afa6}
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
from ansible_collections.homelab.mediaserver.plugins.module_utils._immich import CONNECTION, Immich
from ansible_collections.homelab.mediaserver.plugins.module_utils._immich_users import Change, plan_users
from ansible_collections.homelab.mediaserver.plugins.module_utils._reconcile import Plan, Step

ENTRY = {
    "email": {"type": "str", "required": True},
    "name": {"type": "str"},
    "password": {"type": "str", "no_log": True},
    "change_password": {"type": "bool", "no_log": False},
    "admin": {"type": "bool"},
    "storage_label": {"type": "str"},
    "quota": {"type": "str"},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
}
ARGUMENTS = {
    **CONNECTION,
    "users": {"type": "list", "elements": "dict", "required": True, "options": ENTRY},
    "passwords": {"type": "dict", "default": {}, "no_log": True},
    "update_password": {"type": "str", "choices": ["always", "on_create"], "default": "on_create", "no_log": False},
    "force_delete": {"type": "bool", "default": False},
}
PATH = "/admin/users"


def step(immich: Immich, change: Change, force: bool) -> Step:
    to = f"{change.kind} user {change.email}"

    def apply() -> None:
        if change.kind == "create":
            immich.create(PATH, to, change.body)
        elif change.kind == "restore":
            immich.call("POST", f"{PATH}/{change.number}/restore", to, {})
        elif change.kind == "delete":
            immich.delete(f"{PATH}/{change.number}", to, {"force": True} if force else {})  # version 3 wants a body
        else:
            immich.call("PUT", f"{PATH}/{change.number}", to, change.body)

    return Step(to, apply)


def with_passwords(users: list[dict[str, Any]], passwords: dict[str, str]) -> list[dict[str, Any]]:
    known = {email.lower(): str(password) for email, password in passwords.items()}
    return [{**user, "password": user["password"] or known.get(user["email"].lower())} for user in users]


def work(module: AnsibleModule) -> dict[str, Any]:
    params = {**module.params, "users": with_passwords(module.params["users"], module.params["passwords"])}
    immich = Immich(params)
    try:
        immich.open()
    except NotReady as failure:
        emails = [option["email"].lower() for option in params["users"] if option["state"] == "present"]
        return _reconcile.run(module, later(failure, "create the users", emails))
    existing = immich.users(deleted=True)
    changes, before, after = plan_users(params["users"], existing, params["update_password"] == "always")
    steps = tuple(step(immich, change, params["force_delete"]) for change in changes)

    def read_back() -> dict[str, Any]:
        if steps:
            return {"users": immich.user_ids()}
        return {"users": {user["email"].lower(): user["id"] for user in existing if not user.get("deletedAt")}}

    return _reconcile.run(module, Plan(before=before, after=after, steps=steps), read_back)


def main() -> None:
    _reconcile.main(AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True), work)


if __name__ == "__main__":
    main()
