# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The nftables table that judges what reaches containers. Pure.

Docker publishes ports by DNAT, so packets for them are forwarded and never meet UFW's INPUT rules. This table sits in
the forward hook before Docker's own chains and judges by the original destination port. Every packet of a client is
judged, not only its first, so that taking a rule away also ends what was established.
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from ansible_collections.homelab.mediaserver.plugins.module_utils._reconcile import Failure

FAMILY, TABLE = "inet", "mediaserver"
RULE_MARK = "# rule "
Network: TypeAlias = "ipaddress.IPv4Network | ipaddress.IPv6Network"

HEAD = """\
#!/usr/sbin/nft -f
# Written by homelab.mediaserver (container_firewall). Loaded at boot by mediaserver-container-firewall.service.
# Every line "# rule" is one wanted rule that is open; the sets below say the same to the kernel.
"""
CHAINS = """\
\tchain forward {
\t\ttype filter hook forward priority filter - 10; policy accept;
\t\tct state related accept
\t\tct status dnat ct direction original goto published
\t\tct state established accept
\t\tiifname "docker*" accept
\t\tiifname "br-*" accept
\t\toifname "docker*" counter drop comment "routed past the published ports"
\t\toifname "br-*" counter drop comment "routed past the published ports"
\t}

\tchain published {
\t\tiifname "docker*" accept comment "containers of this host: Docker's own isolation decides"
\t\tiifname "br-*" accept
\t\tmeta l4proto . ct original proto-dst @open accept
\t\tip saddr . meta l4proto . ct original proto-dst @allow4 accept
\t\tip6 saddr . meta l4proto . ct original proto-dst @allow6 accept
\t\tcounter drop
\t}
"""


def clean_rules(rules: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Rules in one canonical form: from, port, protocol, service, comment (without marker), sorted and unique."""
    cleaned = {}
    for number, rule in enumerate(rules):
        port = int(rule["port"])
        if not 1 <= port <= 65535:
            raise Failure(f"Unable to read container rule {number}: port {port} is not within 1-65535")
        source = str(rule["from"])
        if source != "any":
            try:
                source = str(ipaddress.ip_network(source, strict=False))
            except ValueError as error:
                raise Failure(f"Unable to read container rule {number}: {error}") from error
        item = {
            "from": source,
            "port": port,
            "protocol": str(rule.get("protocol") or "tcp"),
            "service": str(rule.get("service") or ""),
            "comment": " ".join(str(rule.get("comment") or "").split()),
        }
        cleaned[json.dumps(item, sort_keys=True)] = item
    return sorted(cleaned.values(), key=lambda item: (item["service"], item["port"], item["protocol"], item["from"]))


def select(
    wanted: list[dict[str, Any]], current: list[dict[str, Any]], only: Iterable[str] | None
) -> list[dict[str, Any]]:
    """With ``only``: the wanted rules of those services and everybody else's current ones."""
    if only is None:
        return wanted
    names = set(only)
    mine = [rule for rule in wanted if rule["service"] in names]
    return clean_rules([*mine, *(rule for rule in current if rule["service"] not in names)])


def render(rules: list[dict[str, Any]]) -> str:
    """The whole file: loading it replaces the table in one step."""
    networks: dict[tuple[str, int], list[Network]] = {}
    opened: set[tuple[str, int]] = set()
    for rule in rules:
        for protocol in ("tcp", "udp") if rule["protocol"] == "any" else (rule["protocol"],):
            key = (protocol, rule["port"])
            if rule["from"] in ("any", "0.0.0.0/0", "::/0"):
                opened.add(key)
            else:
                networks.setdefault(key, []).append(ipaddress.ip_network(rule["from"]))
    lines = [HEAD.rstrip("\n")]
    lines += [RULE_MARK + json.dumps(rule, sort_keys=True) for rule in rules]
    lines += [f"table {FAMILY} {TABLE}", f"delete table {FAMILY} {TABLE}", f"table {FAMILY} {TABLE} {{"]
    lines += _set("open", "inet_proto . inet_service", [f"{proto} . {port}" for proto, port in sorted(opened)], "")
    for version in (4, 6):
        elements = [
            f"{network} . {protocol} . {port}"
            for (protocol, port), members in sorted(networks.items())
            for network in _joined(members, version)
        ]
        lines += _set(f"allow{version}", f"ipv{version}_addr . inet_proto . inet_service", elements, "flags interval")
    return "\n".join([*lines, CHAINS.rstrip("\n"), "}", ""])


def _joined(networks: Iterable[Network], version: int) -> Iterable[Network]:
    """Networks of one IP version without overlaps, which the kernel would refuse."""
    if version == 4:
        return ipaddress.collapse_addresses(net for net in networks if isinstance(net, ipaddress.IPv4Network))
    return ipaddress.collapse_addresses(net for net in networks if isinstance(net, ipaddress.IPv6Network))


def _set(name: str, kind: str, elements: list[str], flags: str) -> list[str]:
    lines = [f"\tset {name} {{", f"\t\ttype {kind}"]
    if flags:
        lines.append(f"\t\t{flags}")
    if elements:
        lines += ["\t\telements = {", *(f"\t\t\t{element}," for element in elements), "\t\t}"]
    return [*lines, "\t}", ""]


def parse_rules(text: str | None) -> list[dict[str, Any]]:
    """The rules that a file of ours says it opens."""
    if not text:
        return []
    return [json.loads(line.removeprefix(RULE_MARK)) for line in text.splitlines() if line.startswith(RULE_MARK)]


def listing_digest(listing: str) -> str:
    """A digest of ``nft -j list table``, equal for equal tables: no handles, no counts, no order of sets."""
    try:
        items = json.loads(listing)["nftables"]
    except (ValueError, KeyError, TypeError) as error:
        raise Failure(f"Unable to read the table {FAMILY} {TABLE}: {error}") from error
    canonical = json.dumps([_canonical(item) for item in items if "metainfo" not in item], sort_keys=True)
    return hashlib.sha256(canonical.encode()).hexdigest()


def _canonical(value: Any, key: str = "") -> Any:
    if isinstance(value, dict):
        if set(value) == {"packets", "bytes"}:
            return {}
        return {name: _canonical(item, name) for name, item in value.items() if name not in ("handle", "index")}
    if isinstance(value, list):
        items = [_canonical(item) for item in value]
        return sorted(items, key=lambda item: json.dumps(item, sort_keys=True)) if key == "elem" else items
    return value


def missing_table(text: str) -> bool:
    """Whether nft's complaint is "there is no such table" and nothing else."""
    return bool(re.search(r"No such file or directory", text))
