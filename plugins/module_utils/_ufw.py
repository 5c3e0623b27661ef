# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""UFW's rules as data: what ``ufw show added`` and ``ufw status verbose`` print, and the commands. Pure."""

from __future__ import annotations

import ipaddress
import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.homelab.mediaserver.plugins.module_utils._reconcile import Failure

PREFIX = "mediaserver:"
# /etc/default/ufw <-> words of the command line
POLICIES = {"DROP": "deny", "ACCEPT": "allow", "REJECT": "reject"}
POLICY_KEYS = {
    "incoming": "DEFAULT_INPUT_POLICY",
    "outgoing": "DEFAULT_OUTPUT_POLICY",
    "routed": "DEFAULT_FORWARD_POLICY",
}


@dataclass(frozen=True, order=True)
class Rule:
    """One ``allow``. ``port`` and ``protocol`` may be ``any``; ``route`` means forwarded traffic."""

    source: str = "any"
    port: str = "any"
    protocol: str = "any"
    interface: str = ""
    route: bool = False
    to: str = "any"
    interface_out: str = ""

    def argv(self, comment: str = "") -> list[str]:
        argv = ["route", "allow"] if self.route else ["allow"]
        if self.interface:
            argv += ["in", "on", self.interface]
        if self.interface_out:
            argv += ["out", "on", self.interface_out]
        argv += ["from", self.source, "to", self.to]
        if self.port != "any":
            argv += ["port", self.port]
        if self.protocol != "any":
            argv += ["proto", self.protocol]
        return [*argv, "comment", comment] if comment else argv

    def __str__(self) -> str:
        return shlex.join(["ufw", *self.argv()])


@dataclass(frozen=True)
class Added:
    """A rule as UFW lists it. ``rule`` is None for what this collection never writes (deny, limit, profiles)."""

    argv: tuple[str, ...]
    comment: str
    rule: Rule | None

    @property
    def own(self) -> bool:
        return self.comment.startswith(PREFIX)

    def delete_argv(self) -> list[str]:
        if self.argv[0] == "route":
            return ["--force", "route", "delete", *self.argv[1:]]
        return ["--force", "delete", *self.argv]

    def __str__(self) -> str:
        return shlex.join(["ufw", *self.argv]) + (f" # {self.comment}" if self.comment else "")


def canonical_network(value: str) -> str:
    """``any``, an address without its /32 or /128, or a network without host bits: as UFW stores it."""
    if value in ("any", "0.0.0.0/0", "::/0"):
        return "any"
    try:
        network = ipaddress.ip_network(value, strict=False)
    except ValueError as error:
        raise Failure(f"Unable to read firewall rule source {value}: {error}", value=value) from error
    return str(network.network_address) if network.prefixlen == network.max_prefixlen else str(network)


def wanted_rules(rules: Iterable[Mapping[str, Any]]) -> dict[Rule, str]:
    """The module's ``rules`` as canonical rules with their comments; the first comment of equal rules stays."""
    wanted: dict[Rule, str] = {}
    for number, item in enumerate(rules):
        port = str(item["port"]) if item.get("port") is not None else "any"
        protocol = str(item.get("protocol") or "any")
        if not re.fullmatch(r"any|\d{1,5}(:\d{1,5})?", port) or any(
            not 1 <= int(part) <= 65535 for part in port.split(":") if part != "any"
        ):
            raise Failure(f"Unable to read firewall rule {number}: port {port} is no port (1-65535 or first:last)")
        if ":" in port and protocol == "any":
            raise Failure(f"Unable to read firewall rule {number}: the port range {port} needs protocol tcp or udp")
        rule = Rule(
            source=canonical_network(str(item["from"])),
            port=port,
            protocol=protocol,
            interface=str(item.get("interface") or ""),
            route=bool(item.get("route")),
            to=canonical_network(str(item.get("to") or "any")),
            interface_out=str(item.get("interface_out") or ""),
        )
        if not rule.route and rule.interface_out:
            raise Failure(f"Unable to read firewall rule {number}: interface_out needs route: true")
        wanted.setdefault(rule, comment_for(str(item.get("comment") or "")))
    return wanted


def comment_for(text: str) -> str:
    """The comment that marks a rule as ours; UFW refuses quotes and line breaks."""
    cleaned = " ".join(re.sub(r"['\"`\\]", " ", text).split())
    return f"{PREFIX} {cleaned}".strip()


def parse_added(text: str) -> list[Added]:
    """The lines of ``ufw show added``."""
    found = []
    for line in text.splitlines():
        if not line.startswith("ufw "):
            continue
        command, _mark, comment = line.removeprefix("ufw ").partition(" comment '")
        argv = tuple(command.split())
        found.append(Added(argv, comment.removesuffix("'"), _parse_allow(list(argv))))
    return found


def _parse_allow(words: list[str]) -> Rule | None:
    """A listed ``allow`` as a rule, or None when it is of a kind that this collection does not write."""
    values: dict[str, Any] = {"route": words[0] == "route"}
    words = words[1:] if values["route"] else words
    if not words or words.pop(0) != "allow":
        return None
    if len(words) == 1:  # short form: 22/tcp, 445, 8000:8010/udp
        match = re.fullmatch(r"(\d+(?::\d+)?)(?:/(tcp|udp))?", words[0])
        return Rule(port=match[1], protocol=match[2] or "any", **values) if match else None
    names = {"from": "source", "to": "to", "port": "port", "proto": "protocol"}
    while words:
        word = words.pop(0)
        if word in ("in", "out") and words[:1] == ["on"] and len(words) > 1:
            values["interface" if word == "in" else "interface_out"] = words[1]
            del words[:2]
        elif word == "in" and not words:
            continue
        elif word in names and words and names[word] not in values:
            values[names[word]] = words.pop(0)
        elif re.fullmatch(r"\d+(?::\d+)?(?:/(?:tcp|udp))?", word) and not words:
            values["port"], _slash, protocol = word.partition("/")
            values["protocol"] = protocol or "any"
        else:
            return None
        if word == "from" and words[:1] == ["port"]:  # a source port: not ours
            return None
    if values.get("interface_out") and not values["route"]:
        return None
    for key in ("source", "to"):
        values[key] = canonical_network(values.get(key, "any"))
    return Rule(**values)


def parse_status(text: str) -> dict[str, str]:
    """``ufw status verbose``: active yes/no and, when active, logging level and default policies."""
    status = {"active": "yes" if re.search(r"^Status: active$", text, re.MULTILINE) else "no"}
    if match := re.search(r"^Logging: (?:on \((\w+)\)|(off))$", text, re.MULTILINE):
        status["logging"] = match[1] or "off"
    for policy, name in re.findall(r"(\w+) \((incoming|outgoing|routed)\)", text):
        # "disabled (routed)": forwarding is off in the kernel; the configured policy stands in /etc/default/ufw
        if policy != "disabled":
            status[name] = policy
    return status


def parse_settings(default_ufw: str, ufw_conf: str) -> dict[str, str]:
    """What /etc/default/ufw and /etc/ufw/ufw.conf say, in the words of the command line."""
    pairs = dict(re.findall(r'^([A-Z0-9_]+)="?([^"\n]*)"?\s*$', default_ufw + "\n" + ufw_conf, re.MULTILINE))
    settings = {name: POLICIES.get(pairs.get(key, ""), "deny") for name, key in POLICY_KEYS.items()}
    settings["logging"] = pairs.get("LOGLEVEL", "low")
    settings["ipv6"] = "yes" if pairs.get("IPV6", "yes").lower() == "yes" else "no"
    settings["enabled"] = "yes" if pairs.get("ENABLED", "no").lower() == "yes" else "no"
    return settings


def set_ipv6(default_ufw: str, value: str) -> str:
    """/etc/default/ufw with another ``IPV6=`` (there is no command for it)."""
    if re.search(r"^IPV6=", default_ufw, re.MULTILINE):
        return re.sub(r"^IPV6=.*$", f"IPV6={value}", default_ufw, flags=re.MULTILINE)
    return default_ufw.rstrip("\n") + f"\nIPV6={value}\n"
