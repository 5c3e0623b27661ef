#!/usr/bin/python
# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: npm_settings
short_description: Manage the settings of Nginx Proxy Manager
version_added: 0.1.0
description:
  - Says what is answered to requests for a name that no proxy host has.
extends_documentation_fragment:
  - homelab.mediaserver.npm
  - homelab.mediaserver.application
  - homelab.mediaserver.attributes
options:
  default_site:
    description:
      - The answer to unknown names. V(444) closes the connection without an answer.
    type: str
    choices: [congratulations, "404", "444", redirect, html]
    required: true
  redirect_url:
    description: Where to, with O(default_site=redirect).
    type: str
  html:
    description: The page, with O(default_site=html).
    type: str
"""

EXAMPLES = r"""
- name: Say nothing to those who only know the address
  homelab.mediaserver.npm_settings:
    email: admin@example.org
    password: "{{ npm_admin_password }}"
    default_site: "444"
"""

RETURN = r"""
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
from ansible_collections.homelab.mediaserver.plugins.module_utils._reconcile import Plan, Step

ARGUMENTS = {
    **CONNECTION,
    "default_site": {
        "type": "str",
        "choices": ["congratulations", "404", "444", "redirect", "html"],
        "required": True,
    },
    "redirect_url": {"type": "str"},
    "html": {"type": "str"},
}
PATH = "/settings/default-site"


def canonical(setting: dict[str, Any]) -> dict[str, Any]:
    """The setting without details that its value does not use."""
    value = setting.get("value")
    meta = setting.get("meta") or {}
    return {"value": value, "meta": {key: meta.get(key) for key in ("redirect", "html") if key == value}}


def wanted(params: dict[str, Any]) -> dict[str, Any]:
    return canonical(
        {"value": params["default_site"], "meta": {"redirect": params["redirect_url"], "html": params["html"]}}
    )


def work(module: AnsibleModule) -> dict[str, Any]:
    npm = Npm(module.params)
    after = wanted(module.params)
    to = "set the default site"
    try:
        npm.open()
    except NotReady as failure:
        return _reconcile.run(module, later(failure, to, after))
    before = canonical(npm.object(PATH, "read the default site"))
    steps = () if before == after else (Step(to, lambda: npm.call("PUT", PATH, to, after)),)
    return _reconcile.run(module, Plan(before=before, after=after, steps=steps))


def main() -> None:
    _reconcile.main(
        AnsibleModule(
            argument_spec=ARGUMENTS,
            supports_check_mode=True,
            required_if=[("default_site", "redirect", ["redirect_url"]), ("default_site", "html", ["html"])],
        ),
        work,
    )


if __name__ == "__main__":
    main()
