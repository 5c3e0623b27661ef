#!/usr/bin/python
# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: proxmox_firewall_guard
short_description: Before a Proxmox VE node's firewall changes, see that it lets the controller in, and arm its return
version_added: 0.1.0
description:
  - Runs on the node, over the connection that must not be lost. Fails when the rules that are to come do not let in the
    address from which the controller has connected.
  - Then it arms a revert. Unless M(homelab.mediaserver.confirm_change) disarms it over a new connection, the node puts
    the files of its firewall back by itself or, if it cannot, switches the datacenter's firewall off.
  - Arms whenever it is called, so call it only when M(homelab.mediaserver.proxmox_firewall) is about to change
    something.
author: The homelab.mediaserver authors (@homelab)
attributes:
  check_mode:
    support: full
    description: Looks at the rules and arms nothing.
  diff_mode:
    support: full
    description: Says whether a revert is armed, before and after.
options:
  node:
    description: Name of the node.
    type: str
    required: true
  rules:
    description: The rules to come, in order, as options of M(homelab.mediaserver.proxmox_firewall).
    type: list
    elements: dict
    required: true
  api_port:
    description: Port of the web interface and the API.
    type: int
    default: 8006
  revert_after:
    description: Seconds until the former firewall comes back unless the change is confirmed.
    type: int
    default: 90
"""

EXAMPLES = r"""
- name: Arm the return of the firewall
  homelab.mediaserver.proxmox_firewall_guard:
    node: pve
    rules:
      - {action: ACCEPT, proto: tcp, dport: "22", source: 192.168.1.0/24}
      - {action: ACCEPT, proto: tcp, dport: "8006", source: 192.168.1.0/24}
  register: guard
"""

RETURN = r"""
controller:
  description: The controller's address as the node sees it; empty when the connection is none of SSH.
  returned: always
  type: str
revert:
  description: The armed change, for M(homelab.mediaserver.confirm_change); null when nothing was armed.
  returned: always
  type: dict
"""

import ipaddress
import os
import re
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.homelab.mediaserver.plugins.module_utils import _command, _reconcile
from ansible_collections.homelab.mediaserver.plugins.module_utils._deadman import Deadman
from ansible_collections.homelab.mediaserver.plugins.module_utils._pve_firewall import canonical, rule_from_user
from ansible_collections.homelab.mediaserver.plugins.module_utils._reconcile import Failure, Plan, Step

NAME = "pve-firewall"
PROC = Path("/proc")
CLUSTER = "/etc/pve/firewall/cluster.fw"
MACROS = {"SSH": "22"}
SPEC: dict[str, Any] = {
    "node": {"type": "str", "required": True},
    "rules": {"type": "list", "elements": "dict", "required": True},
    "api_port": {"type": "int", "default": 8006},
    "revert_after": {"type": "int", "default": 90},
}


def connection(proc: Path, pid: int) -> str:
    """SSH_CONNECTION of this process or of the nearest one above it that has it: sudo takes it away."""
    for _generation in range(20):
        try:
            pairs = (proc / str(pid) / "environ").read_bytes().split(b"\0")
            status = (proc / str(pid) / "status").read_text(encoding="ascii", errors="replace")
        except OSError:
            break
        found = next((pair for pair in pairs if pair.startswith(b"SSH_CONNECTION=")), None)
        if found is not None:
            return found.partition(b"=")[2].decode("ascii", "replace")
        parent = re.search(r"^PPid:\s*(\d+)", status, re.MULTILINE)
        pid = int(parent[1]) if parent else 0
        if pid < 2:
            break
    return ""


def controller_of(line: str) -> tuple[str, int]:
    """(the controller's address, the node's SSH port) of this very connection."""
    words = line.split()
    if len(words) != 4:
        return "", 22
    address = ipaddress.ip_address(words[0].partition("%")[0])
    mapped = getattr(address, "ipv4_mapped", None)
    return str(mapped or address), int(words[3])


def covers(ports: str, port: int) -> bool:
    """``22,8000:8010`` as Proxmox VE writes ports."""
    for part in ports.split(","):
        first, _colon, last = part.strip().partition(":")
        if first.isdigit() and int(first) <= port <= (int(last) if last.isdigit() else int(first)):
            return True
    return False


def contains(source: str, address: str) -> bool:
    """Addresses, networks, ranges and lists of them; aliases and IP sets are not known here and hold nobody."""
    wanted = ipaddress.ip_address(address)
    for part in source.split(","):
        first, dash, last = part.strip().partition("-")
        try:
            if dash:
                low, high = ipaddress.ip_address(first), ipaddress.ip_address(last)
                if low.version == wanted.version and int(low) <= int(wanted) <= int(high):
                    return True
            elif wanted in ipaddress.ip_network(first, strict=False):
                return True
        except ValueError:
            continue
    return False


def admitted(rules: list[dict[str, Any]], address: str, port: int) -> bool:
    """Whether a new TCP connection from this address gets in: the first rule that fits decides."""
    for rule in rules:
        named = rule.get("dport") or MACROS.get(rule.get("macro", ""))
        fits = (
            rule["enable"] == "1"
            and rule["type"] == "in"
            and rule.get("proto", "tcp") == "tcp"
            and not {"dest", "iface", "sport"} & set(rule)
            and (named is not None or "macro" not in rule)
            and (named is None or covers(named, port))
            and ("source" not in rule or contains(rule["source"], address))
        )
        if fits:
            return rule["action"] == "ACCEPT"
    return False


def check(rules: list[dict[str, Any]], address: str, ssh: int, api: int) -> None:
    closed = [f"{port} ({what})" for port, what in ((ssh, "SSH"), (api, "API")) if not admitted(rules, address, port)]
    if closed:
        raise Failure(
            f"Unable to switch on the node's firewall: its rules do not let in {address}, from where you work now, at "
            f"port {' and '.join(closed)}. Add a zone that holds {address} to the node's `reach`"
        )


def fallback(node: str) -> list[list[str]]:
    """Where the old files did not come back as they were, the firewall goes off: better open than locked."""
    files = [CLUSTER, f"/etc/pve/nodes/{node}/host.fw"]
    tests = " && ".join(f"{{ test ! -e files{path} || cmp -s files{path} {path}; }}" for path in files)
    return [["sh", "-c", f"{{ {tests}; }} || pvesh set /cluster/firewall/options --enable 0"]]


def work(module: AnsibleModule) -> dict[str, Any]:
    params, node = module.params, module.params["node"]
    if not node.replace("-", "").isalnum():
        raise Failure(f"Unable to guard the firewall of {node!r}: this is no name of a node")
    rules = [canonical(rule_from_user(rule)) for rule in params["rules"]]
    address, ssh = controller_of(os.environ.get("SSH_CONNECTION") or connection(PROC, os.getpid()))
    warnings = ["The connection is none of SSH: whether the rules let the controller in is not known"]
    if address:
        check(rules, address, ssh, params["api_port"])
        warnings = []
    deadman = Deadman(NAME, _command.run)
    armed: dict[str, str] = {}

    def arm() -> None:
        files = [CLUSTER, f"/etc/pve/nodes/{node}/host.fw"]
        armed.update(name=NAME, id=deadman.arm(params["revert_after"], files, fallback(node)))

    step = Step("arm the return of the firewall", arm)
    plan = Plan({"armed": deadman.pending()}, {"armed": True}, (step,), tuple(warnings), {"controller": address})
    result = _reconcile.run(module, plan)
    return {**result, "revert": armed or None}


def main() -> None:
    _reconcile.main(AnsibleModule(SPEC, supports_check_mode=True), work)


if __name__ == "__main__":
    main()
