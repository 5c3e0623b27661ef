#!/usr/bin/python
# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: pki_openvpn
short_description: Certificates and profiles of an OpenVPN server
version_added: 0.1.0
author:
  - The homelab.mediaserver authors (@homelab)
description:
  - Keeps a private authority with easy-rsa 3, the server's certificate, a tls-crypt key, the list of revoked
    certificates, and one certificate and one profile for each client.
  - No key leaves the host by this module. Profiles hold keys and are written with mode 0600.
  - The server's certificate and the list of revoked certificates are renewed before they end. Clients' certificates
    are not, as their owners would have to fetch new profiles.
  - What a killed run left half done is made anew.
requirements:
  - easy-rsa 3.2 or later
  - openssl
  - openvpn
options:
  directory:
    description: Folder of the authority. Its key lies below, readable by root only.
    type: path
    default: /etc/openvpn/pki
  server_directory:
    description: Folder of the server, gets C(tls-crypt.key) and C(crl.pem).
    type: path
    default: /etc/openvpn/server
  profile_directory:
    description: Folder of the clients' profiles.
    type: path
    default: /etc/openvpn/profiles
  authority_name:
    description: Common name of a new authority.
    type: str
    default: OpenVPN authority
  server:
    description: Name of the server's certificate.
    type: str
    default: server
  clients:
    description: Names of devices that get a certificate and a profile.
    type: list
    elements: str
    default: []
  revoked:
    description:
      - Names of devices that are locked out. A name must not stand in O(clients) too.
      - A device in neither list keeps its certificate, with a warning.
    type: list
    elements: str
    default: []
  profile:
    description: The profiles' text without keys and certificates.
    type: str
    required: true
  renew_days:
    description: Days before its end at which the server's certificate is renewed.
    type: int
    default: 60
  server_days:
    description: Life of the server's certificate.
    type: int
    default: 825
  client_days:
    description: Life of clients' certificates.
    type: int
    default: 3650
attributes:
  check_mode:
    description: Says what would change, changes nothing.
    support: full
  diff_mode:
    description: Shows names and dates, never keys.
    support: full
"""

EXAMPLES = r"""
- name: Two devices, and a lost one
  homelab.mediaserver.pki_openvpn:
    clients: [phone, laptop]
    revoked: [old-phone]
    profile: |
      client
      dev tun
      remote vpn.example.org 1194 udp
"""

RETURN = r"""
steps:
  description: What was done, or would be.
  returned: always
  type: list
  elements: str
certificates:
  description: End of each valid certificate, in seconds since 1970.
  returned: when the authority exists
  type: dict
  sample: {server: 1835251443}
"""

import re
import shutil
import time
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.homelab.mediaserver.plugins.module_utils import _command, _pki
from ansible_collections.homelab.mediaserver.plugins.module_utils._reconcile import Failure, Plan, Step, main, run

EASYRSA = "/usr/share/easy-rsa/easyrsa"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}")
SPEC: dict[str, Any] = {
    "directory": {"type": "path", "default": "/etc/openvpn/pki"},
    "server_directory": {"type": "path", "default": "/etc/openvpn/server"},
    "profile_directory": {"type": "path", "default": "/etc/openvpn/profiles"},
    "authority_name": {"type": "str", "default": "OpenVPN authority"},
    "server": {"type": "str", "default": "server"},
    "clients": {"type": "list", "elements": "str", "default": []},
    "revoked": {"type": "list", "elements": "str", "default": []},
    "profile": {"type": "str", "required": True},
    "renew_days": {"type": "int", "default": 60},
    "server_days": {"type": "int", "default": 825},
    "client_days": {"type": "int", "default": 3650},
}


class Keeper:
    """Does the single writes."""

    def __init__(self, module: AnsibleModule) -> None:
        self.module = module
        options = module.params
        self.pki = Path(options["directory"])
        self.tls_key = Path(options["server_directory"]) / "tls-crypt.key"
        self.crl = Path(options["server_directory"]) / "crl.pem"
        self.profiles = Path(options["profile_directory"])
        self.wish = _pki.Wish(
            options["server"], tuple(options["clients"]), tuple(options["revoked"]), options["renew_days"]
        )

    def read(self) -> _pki.Authority:
        return _pki.read(self.pki, self.tls_key, self.crl, self.profiles, self.module.params["profile"], self.ask)

    def ask(self, kind: str, path: Path, *options: str) -> str:
        return self.command("read", str(path), ["openssl", kind, "-in", str(path), "-noout", *options])

    def command(self, verb: str, subject: str, argv: list[str], **environment: str) -> str:
        code, output, error = _command.run(argv, **environment)
        if code:
            raise Failure(f"Unable to {verb} {subject}: {(error or output).strip()}", rc=code)
        return output

    def easyrsa(
        self, verb: str, subject: str, *argv: str, pki: Path | None = None, days: int = 3650, **more: str
    ) -> None:
        environment = {
            "EASYRSA_BATCH": "1",
            "EASYRSA_PKI": str(pki or self.pki),
            "EASYRSA_ALGO": "ec",
            "EASYRSA_CURVE": "prime256v1",
            "EASYRSA_CERT_EXPIRE": str(days),
            "EASYRSA_CRL_DAYS": "3650",
            "EASYRSA_CA_EXPIRE": "7300",
            **more,
        }
        self.command(verb, subject, [EASYRSA, *argv], **environment)

    def step(self, act: _pki.Act) -> Step:
        return Step(act.describe(), lambda: getattr(self, f"do_{act.verb}")(act.name))

    def do_authority(self, _name: str) -> None:
        """Made beside its place and renamed when it is whole."""
        fresh = self.pki.with_name(f".{self.pki.name}.new")
        shutil.rmtree(fresh, ignore_errors=True)
        self.easyrsa("make", "the authority", "init-pki", pki=fresh)
        common_name = self.module.params["authority_name"]
        self.easyrsa("make", "the authority", "build-ca", "nopass", pki=fresh, EASYRSA_REQ_CN=common_name)
        shutil.rmtree(self.pki, ignore_errors=True)  # without ca.crt it is none
        fresh.rename(self.pki)
        self.pki.chmod(0o700)

    def do_tls_key(self, _name: str) -> None:
        key = self.command("make", "the tls-crypt key", ["openvpn", "--genkey", "secret", "/dev/stdout"])
        _pki.write_private(self.tls_key, key)

    def do_server(self, name: str) -> None:
        self._issue("server", name, self.module.params["server_days"])

    def do_client(self, name: str) -> None:
        self._issue("client", name, self.module.params["client_days"])

    def _issue(self, kind: str, name: str, days: int) -> None:
        for rest in (self.pki / "reqs" / f"{name}.req", self.pki / "private" / f"{name}.key"):
            rest.unlink(missing_ok=True)  # of a killed run, or of a certificate that was revoked
        self.easyrsa("issue", name, f"build-{kind}-full", name, "nopass", days=days)

    def do_renew(self, name: str) -> None:
        self.easyrsa("renew", name, "expire", name)
        self.easyrsa("renew", name, "sign-req", "server", name, days=self.module.params["server_days"])

    def do_revoke(self, name: str) -> None:
        self.easyrsa("revoke", name, "revoke-issued", name)

    def do_crl(self, _name: str) -> None:
        self.easyrsa("renew", "the list of revoked certificates", "gen-crl")

    def do_publish(self, _name: str) -> None:
        # Read by the server after it has dropped its privileges.
        _pki.write_private(self.crl, (self.pki / "crl.pem").read_bytes(), 0o644)

    def do_profile(self, name: str) -> None:
        text = _pki.profile(self.module.params["profile"], self.pki, self.tls_key, name)
        _pki.write_private(self.profiles / f"{name}.ovpn", text)

    def do_drop_profile(self, name: str) -> None:
        (self.profiles / f"{name}.ovpn").unlink(missing_ok=True)


def work(module: AnsibleModule) -> dict[str, Any]:
    keeper = Keeper(module)
    wish = keeper.wish
    for name in (wish.server, *wish.clients, *wish.revoked):
        if not NAME.fullmatch(name):
            raise Failure(f"Unable to use the name {name!r}: letters, digits, - and _ only")
    both = sorted(set(wish.clients) & {wish.server, *wish.revoked})
    if both or wish.server in wish.revoked:
        raise Failure(f"Unable to serve {', '.join(both) or wish.server}: a name stands for one thing only")
    current = keeper.read()
    todo = _pki.acts(wish, current, int(time.time()))
    before, after = _pki.states(wish, current, todo)
    forgotten = _pki.unlisted(wish, current)
    warnings = (f"Certificates that no list names stay valid: {', '.join(forgotten)}",) if forgotten else ()
    plan = Plan(before, after, tuple(keeper.step(act) for act in todo), warnings)
    return run(module, plan, lambda: {"certificates": keeper.read().issued})


if __name__ == "__main__":
    main(AnsibleModule(argument_spec=SPEC, supports_check_mode=True), work)
