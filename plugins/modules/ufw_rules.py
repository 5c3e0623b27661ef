#!/usr/bin/python
# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: ufw_rules
short_description: Make UFW allow exactly a list of rules
version_added: 0.1.0
description:
  - Compares the whole list with what UFW has, by two processes, and applies only the differences, additions first.
  - Rules of this collection carry a comment that begins with C(mediaserver:); those that are no longer wanted go away.
  - Before its first write the module arms a revert. Unless M(homelab.mediaserver.confirm_change) confirms the change
    over a new connection, the host puts the former firewall back by itself.
  - Ports that containers publish are not held by UFW; see M(homelab.mediaserver.container_firewall).
author: The homelab.mediaserver authors (@homelab)
attributes:
  check_mode:
    support: full
    description: Reads only and says what it would do.
  diff_mode:
    support: full
    description: The settings and rules before and after.
options:
  rules:
    description: What may come in (or, with O(rules[].route), through). The order does not matter.
    type: list
    elements: dict
    default: []
    suboptions:
      from:
        description: An address, a network in CIDR notation, or C(any).
        type: str
        required: true
      port:
        description: A port or C(first:last). Unset means every port.
        type: str
      protocol:
        description: The protocol.
        type: str
        choices: [tcp, udp, any]
        default: any
      interface:
        description: Only what comes in on this interface.
        type: str
      comment:
        description: Why. The prefix C(mediaserver:) is added.
        type: str
        default: ""
      route:
        description: Forwarded traffic, as from VPN clients to the LAN.
        type: bool
        default: false
      to:
        description: The destination, for O(rules[].route).
        type: str
        default: any
      interface_out:
        description: Only what leaves by this interface, for O(rules[].route).
        type: str
  incoming:
    description: What happens to incoming packets without a rule.
    type: str
    choices: [deny, reject, allow]
    default: deny
  outgoing:
    description: What happens to outgoing packets without a rule.
    type: str
    choices: [allow, deny, reject]
    default: allow
  routed:
    description: What happens to forwarded packets without a rule. Unset leaves it alone. Docker's own rules come first.
    type: str
    choices: [deny, reject, allow]
  ipv6:
    description: Whether UFW also guards IPv6. Without it, IPv6 is not filtered at all.
    type: bool
    default: true
  logging:
    description: How much of refused traffic is logged.
    type: str
    choices: ["off", low, medium, high, full]
    default: low
  purge:
    description:
      - Remove rules that this collection has not made. They show in the diff before.
      - When false they are returned in RV(ignore:foreign) and stay.
    type: bool
    default: false
  revert_after:
    description: Seconds until the former firewall comes back unless the change is confirmed. 0 arms nothing.
    type: int
    default: 60
"""

EXAMPLES = r"""
- name: Let the LAN in by SSH and everybody by HTTPS
  homelab.mediaserver.ufw_rules:
    rules:
      - {from: 192.168.1.0/24, port: "22", protocol: tcp, comment: ssh from lan}
      - {from: any, port: "443", protocol: tcp, comment: https}
    purge: true
  register: firewall

- name: Prove that the host can still be reached
  homelab.mediaserver.confirm_change:
    changes: "{{ [firewall.revert] }}"
"""

RETURN = r"""
foreign:
  description: Rules that this collection has not made and that stay, as UFW shows them.
  returned: always
  type: list
  elements: str
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
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.homelab.mediaserver.plugins.module_utils import _command, _ufw
from ansible_collections.homelab.mediaserver.plugins.module_utils._deadman import (
    Deadman,
    Run,
    checked,
    read_file,
    write_file,
)
from ansible_collections.homelab.mediaserver.plugins.module_utils._reconcile import Plan, Step, main, run

DEFAULTS = "/etc/default/ufw"
CONF = "/etc/ufw/ufw.conf"
SAVED = (DEFAULTS, CONF, "/etc/ufw/user.rules", "/etc/ufw/user6.rules")
Do = Callable[..., Callable[[], Any]]

RULE = {
    "from": {"type": "str", "required": True},
    "port": {"type": "str"},
    "protocol": {"type": "str", "choices": ["tcp", "udp", "any"], "default": "any"},
    "interface": {"type": "str"},
    "comment": {"type": "str", "default": ""},
    "route": {"type": "bool", "default": False},
    "to": {"type": "str", "default": "any"},
    "interface_out": {"type": "str"},
}
SPEC = {
    "rules": {"type": "list", "elements": "dict", "default": [], "options": RULE},
    "incoming": {"type": "str", "choices": ["deny", "reject", "allow"], "default": "deny"},
    "outgoing": {"type": "str", "choices": ["allow", "deny", "reject"], "default": "allow"},
    "routed": {"type": "str", "choices": ["deny", "reject", "allow"]},
    "ipv6": {"type": "bool", "default": True},
    "logging": {"type": "str", "choices": ["off", "low", "medium", "high", "full"], "default": "low"},
    "purge": {"type": "bool", "default": False},
    "revert_after": {"type": "int", "default": 60},
}


def read(execute: Run) -> tuple[dict[str, str], list[_ufw.Added]]:
    """Settings (live where UFW runs, else configured) and rules. A host without UFW yet is an empty one."""
    settings = {"active": "no", **_ufw.parse_settings(read_file(DEFAULTS) or "", read_file(CONF) or "")}
    if read_file(CONF) is None:
        return dict.fromkeys((*settings, "boot"), "absent"), []
    status = checked(execute, ["ufw", "status", "verbose"], "read the state of ufw")
    added = checked(execute, ["ufw", "show", "added"], "read the rules of ufw")
    _rc, boot, _err = execute(["systemctl", "is-enabled", "ufw.service"])
    settings.update(_ufw.parse_status(status), boot="yes" if boot.strip() == "enabled" else "no")
    return settings, _ufw.parse_added(added)


def wanted_settings(params: dict[str, Any]) -> dict[str, str]:
    wanted = {name: params[name] for name in ("incoming", "outgoing", "routed", "logging") if params[name]}
    return {**wanted, "ipv6": "yes" if params["ipv6"] else "no", "active": "yes", "enabled": "yes", "boot": "yes"}


def plan(
    wanted: dict[_ufw.Rule, str],
    settings: dict[str, str],
    current: tuple[dict[str, str], list[_ufw.Added]],
    purge: bool,
    pending: bool,
    do: Do,
) -> Plan:
    """Additions, deletions, settings; ``do(function, *arguments)`` makes a write of them. A change that is still
    pending may be half done, so then everything is added again and the firewall loaded anew."""
    before, listed = current
    steps: list[Step] = []

    def ufw(describe: str, *argv: str) -> None:
        steps.append(Step(describe, do("ufw", *argv)))

    present = {item.rule: item.comment for item in listed if item.rule}
    if before["ipv6"] != settings["ipv6"]:
        steps.append(Step(f"set IPV6={settings['ipv6']}", do("ipv6", settings["ipv6"])))
    for rule, comment in sorted(wanted.items()):
        if pending or present.get(rule) != comment:
            ufw(f"allow: {rule} # {comment}", *rule.argv(comment))
    gone = [item for item in listed if item.rule not in wanted and (item.own or purge)]
    for item in gone:
        ufw(f"remove: {item}", *item.delete_argv())
    for name in ("incoming", "outgoing", "routed"):
        if name in settings and before[name] != settings[name]:
            ufw(f"default: {settings[name]} {name}", "default", settings[name], name)
    if before["logging"] != settings["logging"]:
        ufw(f"logging: {settings['logging']}", "logging", settings["logging"])
    if before["active"] != "yes" or before["enabled"] != "yes":
        ufw("enable the firewall", "--force", "enable")
    elif before["ipv6"] != settings["ipv6"] or pending:
        ufw("load the firewall anew", "reload")
    if before["boot"] != "yes":
        steps.append(Step("enable ufw.service at boot", do("boot")))

    stay = [item for item in listed if item not in gone and item.rule not in wanted]
    after = [f"{rule} # {comment}" for rule, comment in wanted.items()] + [str(item) for item in stay]
    foreign = [str(item) for item in stay]
    warnings = (f"UFW has rules that are not ours; they stay: {', '.join(foreign)}",) if foreign else ()
    return Plan(
        before={**{name: before[name] for name in settings}, "rules": sorted(map(_aligned, listed))},
        after={**settings, "rules": sorted(after)},
        steps=tuple(steps),
        warnings=warnings,
        result={"foreign": foreign},
    )


def _aligned(item: _ufw.Added) -> str:
    """A listed rule in the words of a wanted one, so that the diff shows differences only."""
    return f"{item.rule} # {item.comment}" if item.rule and item.own else str(item)


def revert_commands(settings: dict[str, str]) -> list[list[str]]:
    """What, after the files are back, makes the kernel follow them."""
    commands = [["ufw", "--force", "disable"]]
    if settings["enabled"] == "yes":
        commands.append(["ufw", "--force", "enable"])
    return commands if settings["boot"] == "yes" else [*commands, ["systemctl", "disable", "ufw.service"]]


def work(module: AnsibleModule) -> dict[str, Any]:
    deadman = Deadman("ufw", _command.run)
    pending = deadman.pending()
    current = read(_command.run)
    armed: list[str] = []

    def arm() -> None:
        armed.append(deadman.arm(seconds, SAVED, revert_commands(current[0])))

    def do(kind: str, *words: str) -> Callable[[], Any]:
        if kind == "ipv6":
            return lambda: write_file(DEFAULTS, _ufw.set_ipv6(read_file(DEFAULTS) or "", words[0]))
        argv = ["systemctl", "enable", "ufw.service"] if kind == "boot" else ["ufw", *words]
        return lambda: checked(_command.run, argv, f"change the firewall by {' '.join(argv)}")

    wanted = _ufw.wanted_rules(module.params["rules"])
    planned = plan(wanted, wanted_settings(module.params), current, module.params["purge"], pending, do)
    seconds = module.params["revert_after"]
    if planned.steps and (seconds or pending):
        first = Step(f"arm the revert ({seconds} s)", arm) if seconds else Step("disarm the revert", deadman.forget)
        planned = Plan(planned.before, planned.after, (first, *planned.steps), planned.warnings, planned.result)
    result = run(module, planned)
    return {**result, "revert": {"name": deadman.name, "id": armed[0]} if armed else None}


if __name__ == "__main__":
    main(AnsibleModule(argument_spec=SPEC, supports_check_mode=True), work)
