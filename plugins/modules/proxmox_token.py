#!/usr/bin/python
# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: proxmox_token
short_description: An API token of a user of Proxmox VE
version_added: 0.1.0
description:
  - Creates, changes or removes an API token. What is not given stays as it is, or gets Proxmox VE's default on
    creation.
  - Proxmox VE tells a token's secret once, when it is made. RV(secret) holds it then, in that run only. Register the
    result and keep the secret in a vault at once, the module writes it nowhere.
  - A result with a secret is not shown or logged. Tasks that use the secret should have C(no_log=true) themselves.
extends_documentation_fragment:
  - homelab.mediaserver.proxmox
  - homelab.mediaserver.attributes
options:
  userid:
    description: The user whose token it is, such as V(automation@pve).
    type: str
    required: true
  tokenid:
    description: Name of the token.
    type: str
    required: true
  privsep:
    description:
      - V(true) gives the token only what the access control list names for the token itself, within the user's rights.
      - V(false) gives it all rights of the user. Proxmox VE's default on creation is V(true).
    type: bool
  expire:
    description: When the token ends, in seconds since 1970-01-01 UTC. V(0) means never.
    type: int
  comment:
    description: Text shown with the token. An empty text removes it.
    type: str
  regenerate:
    description:
      - Makes a new secret for a token that exists; the old one ends at once. Every run with it is changed.
      - Where Proxmox VE cannot do this in place the token is deleted, made again with what it had, and the token's own
        entries of the access control list are set again. A run killed between may lose those, see
        M(homelab.mediaserver.proxmox_acl).
    type: bool
    default: false
  state:
    description: V(absent) removes the token and its entries in the access control list.
    type: str
    choices: [present, absent]
    default: present
seealso:
  - module: homelab.mediaserver.proxmox_user
  - module: homelab.mediaserver.proxmox_acl
"""

EXAMPLES = r"""
- name: A token with all rights of its user
  homelab.mediaserver.proxmox_token:
    userid: automation@pve
    tokenid: mediaserver
    privsep: false
  register: made

- name: Keep its secret
  ansible.builtin.copy:
    content: "{{ made.secret }}"
    dest: "{{ inventory_dir }}/.secrets/token"
    mode: "0600"
  when: made.secret is defined
  no_log: true
  delegate_to: localhost
"""

RETURN = r"""
steps:
  description: What was done, or would be done.
  returned: always
  type: list
  elements: str
full_tokenid:
  description: The token's name as the API wants it.
  returned: always
  type: str
  sample: automation@pve!mediaserver
token:
  description: The token as it is now. Empty if it does not exist.
  returned: unless changes were only predicted
  type: dict
  sample: {privsep: false, expire: 0, comment: ""}
secret:
  description: The token's secret.
  returned: when the token was made or its secret regenerated in this run
  type: str
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.homelab.mediaserver.plugins.module_utils import _pve_access as access
from ansible_collections.homelab.mediaserver.plugins.module_utils import _pve_token, _reconcile
from ansible_collections.homelab.mediaserver.plugins.module_utils._pve import CONNECTION, Pve

ARGUMENTS: dict[str, Any] = {
    **CONNECTION,
    "userid": {"type": "str", "required": True},
    "tokenid": {"type": "str", "required": True, "no_log": False},
    "privsep": {"type": "bool"},
    "expire": {"type": "int"},
    "comment": {"type": "str"},
    "regenerate": {"type": "bool", "default": False},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
}


def work(module: AnsibleModule) -> dict[str, Any]:
    params = module.params
    pve = Pve(params)
    userid = access.user_id(params["userid"])
    token = _pve_token.Token(pve, userid, params["tokenid"])
    plan = _pve_token.plan(token, params, access.read_tokens(pve, userid))

    def read_back() -> dict[str, Any]:
        found = (access.read_tokens(pve, userid) or {}).get(params["tokenid"])
        shown = {} if found is None else {field: _pve_token.view(found)[field] for field in _pve_token.FIELDS}
        return {"token": shown, **({"secret": token.secret} if token.secret else {})}

    return _reconcile.run(module, plan, read_back)


def main() -> None:
    _reconcile.main(AnsibleModule(ARGUMENTS, supports_check_mode=True), work)


if __name__ == "__main__":
    main()
