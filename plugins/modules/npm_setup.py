#!/usr/bin/python
# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This is the module to copy for a new one: options and docs, a pure `plan`, `work` (read, plan, run), `main`.

from __future__ import annotations

DOCUMENTATION = r"""
module: npm_setup
short_description: Give Nginx Proxy Manager its first administrator
version_added: 0.1.0
description:
  - Creates the first administrator of a fresh Nginx Proxy Manager through its API and proves that the login works.
  - Where an administrator exists already, only the login is proved. Nothing is reset.
  - Needs a version whose API says whether it is set up (2.15 does). Old ones come with a well-known default
    administrator, which this module never uses.
extends_documentation_fragment:
  - homelab.mediaserver.npm
  - homelab.mediaserver.application
  - homelab.mediaserver.attributes
options:
  name:
    description: Full name of the administrator. Used on creation only.
    type: str
    default: Administrator
  nickname:
    description: Short name of the administrator. Used on creation only.
    type: str
    default: admin
"""

EXAMPLES = r"""
- name: Set up Nginx Proxy Manager before anybody else can
  homelab.mediaserver.npm_setup:
    email: admin@example.org
    password: "{{ npm_admin_password }}"
    wait: 120
"""

RETURN = r"""
version:
  description: Version of Nginx Proxy Manager.
  returned: when it answers
  type: str
  sample: 2.15.1
steps:
  description: What was done, or would be done.
  returned: always
  type: list
  elements: str
"""

from collections.abc import Callable
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.homelab.mediaserver.plugins.module_utils import _reconcile
from ansible_collections.homelab.mediaserver.plugins.module_utils._http import NotReady, later, strong
from ansible_collections.homelab.mediaserver.plugins.module_utils._npm import CONNECTION, Npm
from ansible_collections.homelab.mediaserver.plugins.module_utils._reconcile import Failure, Plan, Step

ARGUMENTS = {
    **CONNECTION,
    "name": {"type": "str", "default": "Administrator"},
    "nickname": {"type": "str", "default": "admin"},
}


def plan(status: dict[str, Any], params: dict[str, Any], create: Callable[[dict[str, Any]], Any]) -> Plan:
    """Pure: what the first contact asks for. ``create`` is called by the step, with the body of the request."""
    after = {"administrator": params["email"]}
    if "setup" not in status:
        raise Failure("Unable to set up Nginx Proxy Manager: it does not say whether it is set up; upgrade it to 2.15")
    if status["setup"]:
        return Plan(before=after, after=after)
    body = {
        "name": params["name"],
        "nickname": params["nickname"],
        "email": params["email"],
        "roles": ["admin"],
        "is_disabled": False,
        "auth": {"type": "password", "secret": strong(params["password"], "Nginx Proxy Manager")},
    }
    step = Step(f"create administrator {params['email']}", lambda: create(body))
    return Plan(before={"administrator": None}, after=after, steps=(step,))


def version_of(status: dict[str, Any]) -> str:
    parts = status.get("version") or {}
    return ".".join(str(parts[part]) for part in ("major", "minor", "revision") if part in parts)


def work(module: AnsibleModule) -> dict[str, Any]:
    npm = Npm(module.params)
    try:
        status = npm.status()
    except NotReady as failure:
        return _reconcile.run(module, later(failure, "create the administrator", {"administrator": npm.email}))

    def create(body: dict[str, Any]) -> None:
        npm.call("POST", "/users", f"create administrator {npm.email}", body)

    def read_back() -> dict[str, Any]:
        npm.login()
        return {"version": version_of(status)}

    return _reconcile.run(module, plan(status, module.params, create), read_back)


def main() -> None:
    _reconcile.main(AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True), work)


if __name__ == "__main__":
    main()
