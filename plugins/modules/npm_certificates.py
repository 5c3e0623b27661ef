#!/usr/bin/python
# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: npm_certificates
short_description: Manage the TLS certificates of Nginx Proxy Manager
version_added: 0.1.0
description:
  - Uploads certificates and has Let's Encrypt issue others, the whole list in one call.
  - An uploaded certificate is found by its name and replaced when its content differs.
  - One of Let's Encrypt is found by its domains and requested once. Nginx Proxy Manager renews it itself.
  - Certificates that are not listed stay.
extends_documentation_fragment:
  - homelab.mediaserver.npm
  - homelab.mediaserver.application
  - homelab.mediaserver.attributes
options:
  certificates:
    description: The certificates. Each has either O(certificates[].name) or O(certificates[].domains).
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name of a certificate of your own.
        type: str
      certificate:
        description: The certificate and, below it, its intermediates, in PEM.
        type: str
      key:
        description: Its private key in PEM, without a passphrase.
        type: str
      domains:
        description: Domains of a certificate to be issued by Let's Encrypt.
        type: list
        elements: str
      dns_provider:
        description: Prove the domains by DNS with this provider, as Nginx Proxy Manager calls it. Otherwise by HTTP.
        type: str
      dns_credentials:
        description: What the DNS provider's plugin needs, in its own format.
        type: str
      propagation_seconds:
        description: Seconds to wait for the DNS entry to be seen.
        type: int
      letsencrypt_email:
        description:
          - Address for Let's Encrypt. Only for versions of Nginx Proxy Manager that want it; others use the one of the
            administrator and refuse this.
        type: str
      state:
        description: Whether it shall exist.
        type: str
        choices: [present, absent]
        default: present
  request_timeout:
    description: Seconds to wait for Let's Encrypt.
    type: int
    default: 300
"""

EXAMPLES = r"""
- name: Bring one certificate along and have another one issued
  homelab.mediaserver.npm_certificates:
    email: admin@example.org
    password: "{{ npm_admin_password }}"
    certificates:
      - name: home
        certificate: "{{ lookup('ansible.builtin.file', 'home.crt') }}"
        key: "{{ lookup('ansible.builtin.file', 'home.key') }}"
      - domains: [media.example.org]
"""

RETURN = r"""
certificates:
  description: Numbers of all certificates by name.
  returned: when not in check mode, or nothing changes
  type: dict
  sample: {home: 1, media.example.org: 2}
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
from ansible_collections.homelab.mediaserver.plugins.module_utils._npm_certificates import (
    Change,
    plan_certificates,
    title,
)
from ansible_collections.homelab.mediaserver.plugins.module_utils._reconcile import Failure, Plan, Step

ENTRY = {
    "name": {"type": "str"},
    "certificate": {"type": "str"},
    "key": {"type": "str", "no_log": True},
    "domains": {"type": "list", "elements": "str"},
    "dns_provider": {"type": "str"},
    "dns_credentials": {"type": "str", "no_log": True},
    "propagation_seconds": {"type": "int"},
    "letsencrypt_email": {"type": "str"},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
}
ARGUMENTS = {
    **CONNECTION,
    "certificates": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": ENTRY,
        "mutually_exclusive": [("name", "domains")],
        "required_one_of": [("name", "domains")],
        "required_together": [("certificate", "key"), ("dns_provider", "dns_credentials")],
    },
    "request_timeout": {"type": "int", "default": 300},
}
PATH = "/nginx/certificates"


def request_meta(option: dict[str, Any]) -> dict[str, Any]:
    """Details of a request to Let's Encrypt; unknown ones are refused by the API."""
    meta: dict[str, Any] = {"dns_challenge": option["dns_provider"] is not None}
    if option["dns_provider"]:
        meta["dns_provider"] = option["dns_provider"]
        meta["dns_provider_credentials"] = option["dns_credentials"]
    if option["propagation_seconds"] is not None:
        meta["propagation_seconds"] = option["propagation_seconds"]
    if option["letsencrypt_email"]:
        meta |= {"letsencrypt_email": option["letsencrypt_email"], "letsencrypt_agree": True}
    return meta


class Writer:
    def __init__(self, npm: Npm, request_timeout: int) -> None:
        self.npm = npm
        self.request_timeout = request_timeout

    def apply(self, change: Change, option: dict[str, Any], to: str) -> None:
        if change.kind == "delete":
            self.npm.call("DELETE", f"{PATH}/{change.number}", to)
        elif change.kind == "request":
            body = {"provider": "letsencrypt", "domain_names": option["domains"], "meta": request_meta(option)}
            self.npm.call("POST", PATH, to, body, timeout=self.request_timeout)
        elif change.kind == "create":
            answer = self.npm.call("POST", PATH, to, {"provider": "other", "nice_name": option["name"]})
            self.upload(int(answer["id"]), option, to)
        else:
            self.upload(change.number, option, to)
            self.reload(change.number, to)

    def reload(self, number: int, to: str) -> None:
        """An upload only writes the files; nginx reads them when a host is written, even one without a change."""
        hosts = self.npm.objects("/nginx/proxy-hosts", to)
        using = [host for host in hosts if host.get("certificate_id") == number and host.get("enabled")]
        if using:
            self.npm.call("PUT", f"/nginx/proxy-hosts/{using[0]['id']}", to, {"certificate_id": number})

    def upload(self, number: int, option: dict[str, Any], to: str) -> None:
        files = {"certificate": option["certificate"], "certificate_key": option["key"]}
        self.npm.call("POST", f"{PATH}/{number}/upload", to, files=files)

    def step(self, change: Change, option: dict[str, Any]) -> Step:
        to = f"{change.kind} certificate {change.name}"
        return Step(to, lambda: self.apply(change, option, to))


def check(options: list[dict[str, Any]]) -> None:
    for option in options:
        if option["state"] == "present" and option["name"] and not option["certificate"]:
            raise Failure(f"Unable to create certificate {option['name']}: give certificate and key")


def work(module: AnsibleModule) -> dict[str, Any]:
    params = module.params
    check(params["certificates"])
    npm = Npm(params)
    try:
        npm.open()
    except NotReady as failure:
        names = [title(option) for option in params["certificates"]]
        return _reconcile.run(module, later(failure, "bring the certificates", names))
    existing = npm.objects(PATH, "list certificates")
    changes, before, after = plan_certificates(params["certificates"], existing)
    writer = Writer(npm, params["request_timeout"])
    plan = Plan(before=before, after=after, steps=tuple(writer.step(*change) for change in changes))

    def read_back() -> dict[str, Any]:
        entries = npm.objects(PATH, "list certificates") if plan.steps else existing
        return {"certificates": {entry["nice_name"]: entry["id"] for entry in entries}}

    return _reconcile.run(module, plan, read_back)


def main() -> None:
    _reconcile.main(AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True), work)


if __name__ == "__main__":
    main()
