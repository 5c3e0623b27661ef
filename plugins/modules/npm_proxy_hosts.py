#!/usr/bin/python
# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: npm_proxy_hosts
short_description: Manage the proxy hosts of Nginx Proxy Manager
version_added: 0.1.0
description:
  - Makes the whole list of proxy hosts so, in one call.
  - A host is found by its domain names. Hosts written by this module carry a mark in their C(meta); those that are no
    longer listed are removed. Hosts made by hand are not touched, unless one of their domains is listed (the host is
    then taken over) or O(purge=true).
  - Fails, naming host and reason, when nginx does not serve a listed host. Nginx Proxy Manager itself answers success
    then.
extends_documentation_fragment:
  - homelab.mediaserver.npm
  - homelab.mediaserver.application
  - homelab.mediaserver.attributes
options:
  hosts:
    description: All proxy hosts there shall be. What is unset is not managed.
    type: list
    elements: dict
    required: true
    suboptions:
      service:
        description: Name of the service behind it, kept as its mark.
        type: str
        default: ""
      domains:
        description: Domain names.
        type: list
        elements: str
        required: true
      forward_scheme:
        description: Protocol spoken to the service.
        type: str
        choices: [http, https]
        default: http
      forward_host:
        description: Name or address of the service.
        type: str
        required: true
      forward_port:
        description: Port of the service.
        type: int
        required: true
      certificate:
        description:
          - Name of the certificate, which must exist; empty for none.
          - Let's Encrypt certificates are named by their domains, joined by a comma and a space.
        type: str
      ssl_forced:
        description: Whether HTTP is redirected to HTTPS. Has no effect without a certificate.
        type: bool
      http2:
        description: Whether HTTP/2 is spoken. Has no effect without a certificate.
        type: bool
      hsts:
        description: Whether browsers shall remember to use HTTPS only. Has no effect without O(hosts[].ssl_forced).
        type: bool
      hsts_subdomains:
        description: Whether that holds for names below, too. Has no effect without O(hosts[].hsts).
        type: bool
      websockets:
        description: Whether websockets may pass.
        type: bool
      block_exploits:
        description: Whether requests that look like common exploits are refused.
        type: bool
      caching:
        description: Whether static files are cached.
        type: bool
      access_list:
        description: Name of the access list that guards it, which must exist; empty for none.
        type: str
      advanced_config:
        description: Further nginx configuration of the server block.
        type: str
      enabled:
        description: Whether it is served.
        type: bool
      locations:
        description: Paths that go elsewhere.
        type: list
        elements: dict
        suboptions:
          path:
            description: The path.
            type: str
            required: true
          forward_scheme:
            description: Protocol spoken there.
            type: str
            choices: [http, https]
            default: http
          forward_host:
            description: Name or address.
            type: str
            required: true
          forward_port:
            description: Port.
            type: int
            required: true
          advanced_config:
            description: Further nginx configuration of the location.
            type: str
            default: ""
  only:
    description: Change, add and remove only hosts of these services. Give the whole O(hosts) list all the same.
    type: list
    elements: str
  purge:
    description: Whether hosts made by hand that are not listed are removed, too.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Publish two services
  homelab.mediaserver.npm_proxy_hosts:
    email: admin@example.org
    password: "{{ npm_admin_password }}"
    hosts:
      - service: jellyfin
        domains: [media.example.org]
        forward_host: 192.168.1.101
        forward_port: 8096
        certificate: media.example.org
        ssl_forced: true
        http2: true
        websockets: true
        block_exploits: true
      - service: grafana
        domains: [grafana.example.org]
        forward_host: 192.168.1.101
        forward_port: 3000
        access_list: home
"""

RETURN = r"""
hosts:
  description: Domain names of all proxy hosts by their number.
  returned: when not in check mode, or nothing changes
  type: dict
  sample: {"1": [media.example.org]}
steps:
  description: What was done, or would be done.
  returned: always
  type: list
  elements: str
  sample: [create proxy host media.example.org]
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.homelab.mediaserver.plugins.module_utils import _reconcile
from ansible_collections.homelab.mediaserver.plugins.module_utils._http import NotReady, later
from ansible_collections.homelab.mediaserver.plugins.module_utils._npm import CONNECTION, Npm
from ansible_collections.homelab.mediaserver.plugins.module_utils._npm_hosts import Change, plan_hosts, unserved
from ansible_collections.homelab.mediaserver.plugins.module_utils._reconcile import Failure, Plan, Step

FORWARD = {
    "forward_scheme": {"type": "str", "choices": ["http", "https"], "default": "http"},
    "forward_host": {"type": "str", "required": True},
    "forward_port": {"type": "int", "required": True},
}
LOCATION = {
    "path": {"type": "str", "required": True},
    **FORWARD,
    "advanced_config": {"type": "str", "default": ""},
}
FLAGS = ("ssl_forced", "http2", "hsts", "hsts_subdomains", "websockets", "block_exploits", "caching", "enabled")
HOST = {
    "service": {"type": "str", "default": ""},
    "domains": {"type": "list", "elements": "str", "required": True},
    **FORWARD,
    **{flag: {"type": "bool"} for flag in FLAGS},
    **{name: {"type": "str"} for name in ("certificate", "access_list", "advanced_config")},
    "locations": {"type": "list", "elements": "dict", "options": LOCATION},
}
ARGUMENTS = {
    **CONNECTION,
    "hosts": {"type": "list", "elements": "dict", "required": True, "options": HOST},
    "only": {"type": "list", "elements": "str"},
    "purge": {"type": "bool", "default": False},
}
PATH = "/nginx/proxy-hosts"


def step(npm: Npm, change: Change) -> Step:
    to = f"{change.kind} proxy host {change.name}"
    if change.kind == "create":
        return Step(to, lambda: npm.call("POST", PATH, to, change.body))
    if change.kind == "update":
        return Step(to, lambda: npm.call("PUT", f"{PATH}/{change.number}", to, change.body))
    return Step(to, lambda: npm.call("DELETE", f"{PATH}/{change.number}", to))


def work(module: AnsibleModule) -> dict[str, Any]:
    params = module.params
    npm = Npm(params)
    try:
        npm.open()
    except NotReady as failure:
        names = sorted(option["domains"][0] for option in params["hosts"])
        return _reconcile.run(module, later(failure, "create the proxy hosts", names))
    existing = npm.objects(PATH, "list proxy hosts")
    needs = {key for option in params["hosts"] for key in ("certificate", "access_list") if option[key]}
    certificates = npm.objects("/nginx/certificates", "list certificates") if "certificate" in needs else []
    lists = npm.objects("/nginx/access-lists", "list access lists") if "access_list" in needs else []
    changes, before, after = plan_hosts(params["hosts"], existing, certificates, lists, params["only"], params["purge"])
    plan = Plan(before=before, after=after, steps=tuple(step(npm, change) for change in changes))

    def read_back() -> dict[str, Any]:
        hosts = npm.objects(PATH, "list proxy hosts") if plan.steps else existing
        bad = unserved(params["hosts"], hosts, params["only"])
        if bad:
            text = "; ".join(f"{name}: {reason}" for name, reason in sorted(bad.items()))
            raise Failure(f"Unable to serve proxy host {text}", unserved=bad)
        return {"hosts": {str(host["id"]): host["domain_names"] for host in hosts}}

    return _reconcile.run(module, plan, read_back)


def main() -> None:
    _reconcile.main(AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True), work)


if __name__ == "__main__":
    main()
