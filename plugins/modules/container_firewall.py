#!/usr/bin/python
# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: container_firewall
short_description: Decide who may reach the ports that containers publish
version_added: 0.1.0
description:
  - Docker's published ports bypass UFW. This module owns the nftables table C(inet mediaserver), which sits in the
    forward hook before Docker's chains and drops whatever is not in the list, IPv6 included.
  - It judges by the original destination port and the client's real address, before any masquerading on this host, and
    it also drops packets that are routed straight to a container's address.
  - A rule that is taken away ends connections that it had let in.
  - The table is loaded at boot, before the network and before Docker, by C(mediaserver-container-firewall.service).
    Debian's own C(nftables.service) stays off, as it flushes the rules of Docker and UFW.
  - Before its first write the module arms a revert; see M(homelab.mediaserver.confirm_change).
author: The homelab.mediaserver authors (@homelab)
attributes:
  check_mode:
    support: full
    description: Reads only and says what it would do.
  diff_mode:
    support: full
    description: The file and the state of the loaded table before and after.
options:
  rules:
    description: What may reach published ports. Everything else is dropped.
    type: list
    elements: dict
    required: true
    suboptions:
      from:
        description: An address, a network in CIDR notation, or C(any).
        type: str
        required: true
      port:
        description: The port as published on the host.
        type: int
        required: true
      protocol:
        description: The protocol.
        type: str
        choices: [tcp, udp, any]
        default: tcp
      service:
        description: The service that the rule belongs to.
        type: str
        default: ""
      comment:
        description: Why.
        type: str
        default: ""
      marker:
        description: A file on the host. While it does not exist the rule stays closed (an application without its
          first administrator must not be reachable).
        type: path
  only:
    description: Change the rules of these services only; those of others stay as they are.
    type: list
    elements: str
  revert_after:
    description: Seconds until the former table comes back unless the change is confirmed. 0 arms nothing.
    type: int
    default: 60
"""

EXAMPLES = r"""
- name: Open Jellyfin to the proxy and the LAN, once it has an administrator
  homelab.mediaserver.container_firewall:
    rules:
      - {from: 192.168.1.111, port: 8096, service: jellyfin, comment: proxy}
      - {from: 192.168.1.0/24, port: 8096, service: jellyfin, marker: /mnt/appdata/jellyfin/config/.mediaserver-setup}
"""

RETURN = r"""
waiting:
  description: Rules that stay closed because their marker does not exist.
  returned: always
  type: list
  elements: dict
revert:
  description: The armed change, for M(homelab.mediaserver.confirm_change); null when nothing was armed.
  returned: always
  type: dict
steps:
  description: What was done or, in check mode, would be.
  returned: always
  type: list
  elements: str
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.homelab.mediaserver.plugins.module_utils import _command, _nft
from ansible_collections.homelab.mediaserver.plugins.module_utils._deadman import (
    Deadman,
    Run,
    checked,
    read_file,
    write_file,
)
from ansible_collections.homelab.mediaserver.plugins.module_utils._reconcile import Failure, Plan, Step, main, run

FILE = "/etc/mediaserver/containers.nft"
LOADED = "/var/lib/mediaserver/containers.loaded"
UNIT_NAME = "mediaserver-container-firewall.service"
UNIT_FILE = f"/etc/systemd/system/{UNIT_NAME}"
UNIT = f"""\
# Written by homelab.mediaserver (container_firewall).
[Unit]
Description=Firewall of published container ports (homelab.mediaserver)
DefaultDependencies=no
After=local-fs.target
Before=network-pre.target docker.service shutdown.target
Wants=network-pre.target
Conflicts=shutdown.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/sbin/nft -f {FILE}
ExecReload=/usr/sbin/nft -f {FILE}

[Install]
WantedBy=multi-user.target
# without this table Docker's ports are open to everybody, so Docker does not start without it
RequiredBy=docker.service
"""
LIST = ["nft", "-j", "list", "table", _nft.FAMILY, _nft.TABLE]

RULE = {
    "from": {"type": "str", "required": True},
    "port": {"type": "int", "required": True},
    "protocol": {"type": "str", "choices": ["tcp", "udp", "any"], "default": "tcp"},
    "service": {"type": "str", "default": ""},
    "comment": {"type": "str", "default": ""},
    "marker": {"type": "path"},
}
SPEC = {
    "rules": {"type": "list", "elements": "dict", "required": True, "options": RULE},
    "only": {"type": "list", "elements": "str"},
    "revert_after": {"type": "int", "default": 60},
}


def read_loaded(execute: Run) -> str | None:
    """The digest of the loaded table; None without one (or without nft on a fresh host)."""
    try:
        code, out, err = execute(LIST)
    except FileNotFoundError:
        return None
    if code != 0:
        if _nft.missing_table(err):
            return None
        raise Failure(f"Unable to list the table {_nft.FAMILY} {_nft.TABLE}: {err.strip()}")
    return _nft.listing_digest(out)


def read(execute: Run) -> dict[str, Any]:
    digest = read_loaded(execute)
    recorded = (read_file(LOADED) or "").strip()
    _rc, out, _err = execute(["systemctl", "show", "--property=UnitFileState,ActiveState", UNIT_NAME])
    return {
        "file": read_file(FILE),
        "unit": read_file(UNIT_FILE),
        "boot": "UnitFileState=enabled" in out and "ActiveState=active" in out,
        "loaded": "no" if digest is None else "as written" if digest == recorded else "differs",
    }


def plan(
    wanted: list[dict[str, Any]], current: dict[str, Any], pending: bool, do: dict[str, Callable[..., Any]]
) -> Plan:
    """``do``: the writes by name."""
    text = _nft.render(wanted)
    steps = []
    if current["file"] != text:
        steps.append(Step(f"write {FILE}", lambda: do["file"](text)))
    if current["file"] != text or current["loaded"] != "as written" or pending:
        steps.append(Step("load the table", do["load"]))
    if current["unit"] != UNIT or not current["boot"]:
        steps.append(Step(f"enable {UNIT_NAME}", do["unit"]))
    after = {"file": text, "loaded": "as written", "boot": True}
    return Plan({name: current[name] for name in after}, after, tuple(steps))


def writes(execute: Run) -> dict[str, Callable[..., Any]]:
    def load() -> None:
        checked(execute, ["nft", "-f", FILE], f"load {FILE}")
        write_file(LOADED, f"{read_loaded(execute)}\n", 0o600)

    def unit() -> None:
        write_file(UNIT_FILE, UNIT)
        checked(execute, ["systemctl", "daemon-reload"], "read the units")
        checked(execute, ["systemctl", "enable", "--now", UNIT_NAME], f"enable {UNIT_NAME}")

    def file(text: str) -> None:
        Path(FILE).parent.mkdir(mode=0o755, exist_ok=True)
        Path(LOADED).parent.mkdir(mode=0o755, exist_ok=True)
        write_file(f"{FILE}.new", text)
        try:
            checked(execute, ["nft", "-c", "-f", f"{FILE}.new"], "check the rules for containers")
            Path(f"{FILE}.new").replace(FILE)
        finally:
            Path(f"{FILE}.new").unlink(missing_ok=True)

    return {"file": file, "load": load, "unit": unit}


def revert_commands(existed: bool) -> list[list[str]]:
    """With the former file back: load it; without one: no table."""
    if existed:
        return [["nft", "-f", FILE]]
    return [["nft", "delete", "table", _nft.FAMILY, _nft.TABLE], ["systemctl", "disable", UNIT_NAME]]


def work(module: AnsibleModule) -> dict[str, Any]:
    deadman = Deadman("containers", _command.execute)
    pending = deadman.pending()
    current = read(_command.execute)
    waiting = [r for r in module.params["rules"] if r["marker"] and not Path(r["marker"]).exists()]
    opened = _nft.clean_rules(rule for rule in module.params["rules"] if rule not in waiting)
    wanted = _nft.select(opened, _nft.parse_rules(current["file"]), module.params["only"])
    planned = plan(wanted, current, pending, writes(_command.execute))
    armed: list[str] = []
    seconds = module.params["revert_after"]

    def arm() -> None:
        armed.append(deadman.arm(seconds, (FILE, LOADED), revert_commands(current["file"] is not None)))

    if planned.steps and (seconds or pending):
        first = Step(f"arm the revert ({seconds} s)", arm) if seconds else Step("disarm the revert", deadman.forget)
        planned = Plan(planned.before, planned.after, (first, *planned.steps))
    result = run(module, planned)
    return {**result, "waiting": waiting, "revert": {"name": deadman.name, "id": armed[0]} if armed else None}


if __name__ == "__main__":
    main(AnsibleModule(argument_spec=SPEC, supports_check_mode=True), work)
