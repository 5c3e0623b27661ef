#!/usr/bin/python
# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: cloudflare_access
short_description: Guard names by Cloudflare Access
version_added: 0.1.0
description:
  - Makes service tokens, reusable policies and self-hosted applications so, in this order and in one call. An
    application guards one public name.
  - All of them bear names that begin with O(mark). Nothing else is changed or removed; an application made by hand that
    guards the same name is a failure that says how it can be handed over.
  - Run it before M(homelab.mediaserver.cloudflare_tunnel) publishes a name and M(homelab.mediaserver.cloudflare_dns)
    leads to it, and once more with O(purge=true) at the end, so that no name is public without its guard.
extends_documentation_fragment:
  - homelab.mediaserver.cloudflare
  - homelab.mediaserver.attributes
options:
  mark:
    description: Beginning of the names of what belongs to this list. Give each site its own.
    type: str
    required: true
  applications:
    description: The names to guard, all of them.
    type: list
    elements: dict
    default: []
    suboptions:
      domain:
        description: Public name.
        type: str
        required: true
      policies:
        description: Names of O(policies) that apply, in order.
        type: list
        elements: str
        required: true
      session_duration:
        description: How long a login lasts, such as V(24h). Not given, Cloudflare's default or what was set by hand.
        type: str
      settings:
        description: Further keys of Cloudflare's application, such as C(auto_redirect_to_identity), to the letter.
        type: dict
  policies:
    description: The reusable policies, all of them.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name without the mark.
        type: str
        required: true
      decision:
        description:
          - V(allow) for people who log in, V(non_identity) for service tokens, V(deny) to shut out.
        type: str
        choices: [allow, non_identity, deny]
        default: allow
      emails:
        description: E-mail addresses.
        type: list
        elements: str
        default: []
      email_domains:
        description: Domains of e-mail addresses.
        type: list
        elements: str
        default: []
      service_tokens:
        description: Names of O(service_tokens).
        type: list
        elements: str
        default: []
  service_tokens:
    description: The service tokens, all of them, for programs that cannot log in, such as a phone's app.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name without the mark.
        type: str
        required: true
      file:
        description:
          - File for the two headers, mode 0600. Cloudflare tells the secret once; it never appears in the result.
          - When the file is missing, a token that was never used gets a new secret; one that is in use is a failure.
        type: path
        required: true
      duration:
        description: How long it is valid. It is renewed in its last 30 days.
        type: str
        default: 8760h
      rotate:
        description: Give it a new secret when the file is missing, even if it is in use.
        type: bool
        default: false
  directory:
    description: Folder of the tokens' files that are given without one.
    type: path
  purge:
    description: Remove what bears the mark and is not listed. Do so when nothing leads to the names any more.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Let the family in, and the photo app of their phones
  homelab.mediaserver.cloudflare_access:
    api_token_file: ~/.config/cloudflare.token
    zone: example.org
    mark: mediaserver homelab
    service_tokens:
      - name: phones
        file: "{{ inventory_dir }}/.secrets/cloudflare-phones.txt"
    policies:
      - name: people
        emails: [mum@example.org, dad@example.org]
      - name: phones
        decision: non_identity
        service_tokens: [phones]
    applications:
      - domain: photos.example.org
        policies: [phones, people]
      - domain: media.example.org
        policies: [people]
"""

RETURN = r"""
applications:
  description: Ids of our applications by the name they guard.
  returned: when not in check mode, or nothing changes
  type: dict
  sample: {photos.example.org: f174e90a-fafe-4643-bbbc-4a0ed4fc8415}
steps:
  description: What was done, or would be done.
  returned: always
  type: list
  elements: str
"""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.homelab.mediaserver.plugins.module_utils import _cloudflare_access as access
from ansible_collections.homelab.mediaserver.plugins.module_utils import _reconcile
from ansible_collections.homelab.mediaserver.plugins.module_utils._cloudflare import CONNECTION, Cloudflare
from ansible_collections.homelab.mediaserver.plugins.module_utils._cloudflare_guard import Guard
from ansible_collections.homelab.mediaserver.plugins.module_utils._reconcile import Failure, Plan

APPLICATION = {
    "domain": {"type": "str", "required": True},
    "policies": {"type": "list", "elements": "str", "required": True},
    "session_duration": {"type": "str"},
    "settings": {"type": "dict"},
}
POLICY = {
    "name": {"type": "str", "required": True},
    "decision": {"type": "str", "choices": ["allow", "non_identity", "deny"], "default": "allow"},
    "emails": {"type": "list", "elements": "str", "default": []},
    "email_domains": {"type": "list", "elements": "str", "default": []},
    "service_tokens": {"type": "list", "elements": "str", "default": [], "no_log": False},
}
TOKEN = {
    "name": {"type": "str", "required": True},
    "file": {"type": "path", "required": True},
    "duration": {"type": "str", "default": "8760h"},
    "rotate": {"type": "bool", "default": False},
}
ARGUMENTS = {
    **CONNECTION,
    "mark": {"type": "str", "required": True},
    "applications": {"type": "list", "elements": "dict", "default": [], "options": APPLICATION},
    "policies": {"type": "list", "elements": "dict", "default": [], "options": POLICY},
    "service_tokens": {"type": "list", "elements": "dict", "default": [], "options": TOKEN, "no_log": False},
    "directory": {"type": "path"},
    "purge": {"type": "bool", "default": False},
}


def work(module: AnsibleModule) -> dict[str, Any]:
    params = module.params
    if not params["mark"].strip():
        raise Failure("Unable to tell our applications from others: the mark is empty")
    access.check_options(params)
    for option in params["service_tokens"]:
        option["file"] = str(Path(params["directory"] or "") / option["file"])
    api = Cloudflare(params)
    guard = Guard(api, api.find_account(params), params)
    guard.read()
    guard.plan_tokens(datetime.now(UTC))
    guard.plan_policies()
    guard.plan_applications()
    warnings = guard.plan_purge() if params["purge"] else []
    plan = Plan(guard.before, guard.after, tuple(guard.steps), tuple(warnings))
    return _reconcile.run(module, plan, lambda: {"applications": dict(guard.ids["application"])})


def main() -> None:
    _reconcile.main(AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True), work)


if __name__ == "__main__":
    main()
