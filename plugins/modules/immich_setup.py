#!/usr/bin/python
# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: immich_setup
short_description: Give Immich its first administrator and this collection an API key
version_added: 0.1.0
description:
  - Creates the first administrator of a fresh Immich, marks its welcome pages as seen and proves the login.
  - Where there is an administrator already, only the login is proved. Nothing is reset.
  - With O(key_name) it also makes an API key with no more permissions than needed. Immich tells a key once only, so the
    caller must store it. A key that was lost, because it was not stored, is replaced by another.
  - It logs in with the password and logs out again; it needs no API key.
extends_documentation_fragment:
  - homelab.mediaserver.immich
  - homelab.mediaserver.application
  - homelab.mediaserver.attributes
options:
  email:
    description: E-mail address of the administrator.
    type: str
    required: true
  password:
    description: Password of the administrator.
    type: str
    required: true
  name:
    description: Name of the administrator. Used on creation only.
    type: str
    default: Administrator
  key_name:
    description: Name of the API key that shall exist. Without it, no key is looked at.
    type: str
  key_permissions:
    description: Permissions of that key. The default is what the modules of this collection need.
    type: list
    elements: str
  delete_lost_keys:
    description:
      - Whether to delete further keys that are named O(key_name). Their secrets are lost, unless another machine that
        manages the same Immich holds one.
    type: bool
    default: false
  api_key:
    description: The key as the caller stored it before.
  api_key_file:
    description:
      - File in which the caller stored the key before. It is only read; a missing file means there is no key yet.
"""

EXAMPLES = r"""
- name: Set up Immich before anybody else can
  homelab.mediaserver.immich_setup:
    email: admin@example.org
    password: "{{ immich_admin_password }}"
    key_name: ansible
    api_key_file: /etc/mediaserver/immich-api-key
    wait: 300
  register: immich_setup

- name: Store the key that Immich tells once
  ansible.builtin.copy:
    content: "{{ immich_setup.secret }}"
    dest: /etc/mediaserver/immich-api-key
    owner: root
    group: root
    mode: "0400"
  diff: false
  no_log: true
  when: immich_setup.secret is defined
"""

RETURN = r"""
secret:
  description: The new API key. Secret.
  returned: when a key was made
  type: str
other_keys:
  description: Ids of further keys that are named O(key_name) and are left alone.
  returned: with O(key_name), when Immich answers
  type: list
  elements: str
version:
  description: Version of Immich.
  returned: when it answers
  type: str
  sample: 3.1.0
user_id:
  description: Id of the administrator.
  returned: when not in check mode, or nothing changes
  type: str
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
from ansible_collections.homelab.mediaserver.plugins.module_utils._immich_setup import Setup, plan, read_state

ARGUMENTS = {
    **CONNECTION,
    "email": {"type": "str", "required": True},
    "password": {"type": "str", "required": True, "no_log": True},
    "name": {"type": "str", "default": "Administrator"},
    "key_name": {"type": "str", "no_log": False},
    "key_permissions": {"type": "list", "elements": "str", "no_log": False},
    "delete_lost_keys": {"type": "bool", "default": False, "no_log": False},
}


def work(module: AnsibleModule) -> dict[str, Any]:
    params = module.params
    immich = Immich(params)
    try:
        config = immich.config()
    except NotReady as failure:
        after = {"administrator": params["email"].lower(), "welcome": "seen"}
        return _reconcile.run(module, later(failure, "create the administrator", after))
    version = immich.version()
    setup = Setup(immich, params, version)
    try:
        state = read_state(setup, config)
        plan_ = plan(state, setup)

        def read_back() -> dict[str, Any]:
            return {"user_id": setup.user_id, **setup.result}

        return {"version": ".".join(map(str, version)), **_reconcile.run(module, plan_, read_back)}
    finally:
        immich.logout()


def main() -> None:
    _reconcile.main(AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True), work)


if __name__ == "__main__":
    main()
