#!/usr/bin/python
# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: reachability_info
short_description: Find out what this machine can reach on others
version_added: 0.1.0
description:
  - Scans all TCP ports of the given addresses and speaks to the given ports in their own protocol.
  - Runs on a machine that stands in the zone to be judged (LAN, edge, Internet). It changes nothing.
  - Scan only machines of your own.
author: ["The homelab.mediaserver authors (@homelab)"]
extends_documentation_fragment:
  - homelab.mediaserver.attributes.info
options:
  scan:
    description: IPv4 or IPv6 addresses whose TCP ports are scanned. Needs root.
    type: list
    elements: str
    default: []
  ports:
    description: Port range of the scan, as C(first-last).
    type: str
    default: 1-65535
  probes:
    description: Conversations to hold.
    type: list
    elements: dict
    default: []
    suboptions:
      id: {description: "Name of the probe in the result.", type: str, required: true}
      address: {description: "IPv4 or IPv6 address.", type: str, required: true}
      port: {description: "Port number.", type: int, required: true}
      speak:
        description: Protocol. C(udp) sends O(probes[].payload) and waits for any answer.
        type: str
        choices: [tcp, ssh, tls, http, https, udp]
        default: tcp
      path: {description: "Path of the HTTP request.", type: str}
      status: {description: "HTTP status codes that count as an answer. Default 200 to 399.", type: list, elements: int}
      server_name: {description: "Host name for HTTP and TLS.", type: str}
      payload: {description: "Bytes to send by UDP, in hexadecimal.", type: str}
      ca_certificate: {description: "PEM certificates to trust, next to the machine's own.", type: str}
      verify_certificate: {description: "Whether the certificate must be valid.", type: bool, default: true}
"""

EXAMPLES = r"""
- name: See what the LAN can reach on the intranet machine
  homelab.mediaserver.reachability_info:
    scan: [192.168.1.101]
    probes:
      - {id: web, address: 192.168.1.101, port: 8096, speak: http, path: /health}
  register: seen
"""

RETURN = r"""
open_ports:
  description: Open TCP ports per scanned address; null for an address without a route.
  returned: always
  type: dict
  sample: {"192.168.1.101": [22, 8096]}
answers:
  description: Result per probe, with C(answered) (bool) and C(text) (what came back, or why nothing did).
  returned: always
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.homelab.mediaserver.plugins.module_utils import _command
from ansible_collections.homelab.mediaserver.plugins.module_utils._probe_scan import find_route, scan
from ansible_collections.homelab.mediaserver.plugins.module_utils._probe_speak import speak
from ansible_collections.homelab.mediaserver.plugins.module_utils._reconcile import Failure, main

PROBE_OPTIONS = {
    "id": {"type": "str", "required": True},
    "address": {"type": "str", "required": True},
    "port": {"type": "int", "required": True},
    "speak": {"type": "str", "choices": ["tcp", "ssh", "tls", "http", "https", "udp"], "default": "tcp"},
    "path": {"type": "str"},
    "status": {"type": "list", "elements": "int"},
    "server_name": {"type": "str"},
    "payload": {"type": "str"},
    "ca_certificate": {"type": "str"},
    "verify_certificate": {"type": "bool", "default": True},
}
SPEC = {
    "scan": {"type": "list", "elements": "str", "default": []},
    "ports": {"type": "str", "default": "1-65535"},
    "probes": {"type": "list", "elements": "dict", "default": [], "options": PROBE_OPTIONS},
}


def ask(probe):
    """Hold one conversation; never raises for what the network or the other side does."""
    try:
        return {"answered": True, "text": speak(probe)}
    except (OSError, ValueError) as error:
        return {"answered": False, "text": str(error) or type(error).__name__}


def work(module):
    first, _dash, last = module.params["ports"].partition("-")
    if not (first.isdigit() and last.isdigit() and 1 <= int(first) <= int(last) <= 65535):
        raise Failure(f"Unable to scan ports {module.params['ports']}: expected first-last within 1-65535")
    ports = range(int(first), int(last) + 1)

    def run(argv):
        code, output, _error = _command.run(argv)
        return output if code == 0 else ""

    open_ports = {}
    for address in module.params["scan"]:
        route = find_route(address, run)
        try:
            open_ports[address] = None if route is None else scan(route, ports)
        except PermissionError as error:
            raise Failure(f"Unable to scan {address}: {error}; run with become") from error
    answers = {probe["id"]: ask(probe) for probe in module.params["probes"]}
    return {"changed": False, "open_ports": open_ports, "answers": answers}


if __name__ == "__main__":
    main(AnsibleModule(argument_spec=SPEC, supports_check_mode=True), work)
