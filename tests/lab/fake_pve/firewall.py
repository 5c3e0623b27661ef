# SPDX-License-Identifier: MIT
"""The firewall's configuration at datacenter, node and guest: options and rules. Filters nothing.

What is written is kept as the firewall's file would give it back: names in small letters, a rule as its line. Guests
need not exist: the real API keeps a file for any number.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Any

from .errors import ApiError, invalid
from .routing import Call, route
from .schema import NOT_DEFINED
from .world import digest

RULE_KEYS = {"type", "action", "source", "dest", "proto", "dport", "sport", "iface", "log", "comment", "enable",
             "macro", "icmp-type", "pos", "digest"}  # fmt: skip
OPTION_KEYS = {
    "cluster": {"enable", "policy_in", "policy_out", "policy_forward", "log_ratelimit", "ebtables"},
    "node": {"enable", "log_level_in", "log_level_out", "log_level_forward", "nf_conntrack_max", "tcpflags", "nosmurfs",
             "ndp", "nftables", "smurf_log_level", "tcp_flags_log_level", "protection_synflood", "log_nf_conntrack"},
    "vm": {"enable", "policy_in", "policy_out", "dhcp", "ipfilter", "macfilter", "ndp", "radv", "log_level_in",
           "log_level_out"},
}  # fmt: skip
LEVELS = ("/cluster/firewall", "/nodes/{node}/firewall", "/nodes/{node}/qemu/{vmid}/firewall",
          "/nodes/{node}/lxc/{vmid}/firewall")  # fmt: skip
MACROS = (
    "Amanda", "Auth", "BGP", "BitTorrent", "BitTorrent32", "CVS", "Ceph", "Citrix", "DAAP", "DCC", "DHCPfwd", "DHCPv6",
    "DNS", "Distcc", "FTP", "Finger", "GNUnet", "GRE", "Git", "HKP", "HTTP", "HTTPS", "ICPV2", "ICQ", "IMAP", "IMAPS",
    "IPIP", "IPsec", "IPsecah", "IPsecnat", "IRC", "Jetdirect", "L2TP", "LDAP", "LDAPS", "MDNS", "MSNP", "MSSQL",
    "Mail", "MySQL", "NNTP", "NNTPS", "NTP", "NeighborDiscovery", "OSPF", "OpenVPN", "PCA", "PMG", "POP3", "POP3S",
    "PPtP", "Ping", "PostgreSQL", "Printer", "RDP", "RIP", "RNDC", "Razor", "Rdate", "Rsync", "SANE", "SMB", "SMTP",
    "SMTPS", "SNMP", "SPICEproxy", "SSH", "SVN", "Squid", "Submission", "Syslog", "TFTP", "Telnet", "Time", "VNC",
    "VNCL", "Web", "Webcache", "Webmin", "Whois",
)  # fmt: skip
NAME = re.compile(r"(?:(dc|guest)/)?([A-Za-z][A-Za-z0-9_-]+)")
EMPTY: dict[str, Any] = {"options": {}, "rules": [], "aliases": {}, "ipset": {}, "ipset_comments": {}, "groups": {},
                         "group_comments": {}}  # fmt: skip
Rules = list[dict[str, Any]]


def scope_of(call: Call, path: dict[str, str]) -> tuple[str, dict[str, Any]]:
    """(kind of level, its file)."""
    if "vmid" in path:
        kind, key = "vm", f"vm/{path['vmid']}"
    elif "node" in path:
        kind, key = "node", f"node/{path['node']}"
    else:
        kind, key = "cluster", "cluster"
    scope: dict[str, Any] = call.world.data["firewall"].setdefault(key, {})
    for name, empty in EMPTY.items():
        scope.setdefault(name, type(empty)())
    return kind, scope


def may(call: Call, path: dict[str, str], write: bool) -> None:
    if "vmid" in path:
        call.need("VM.Config.Network" if write else "VM.Audit", f"/vms/{path['vmid']}")
    else:
        call.need("Sys.Modify" if write else "Sys.Audit", f"/nodes/{path['node']}" if "node" in path else "/")


def only(call: Call, *names: str) -> dict[str, Any]:
    """The parameters, none of which may be unknown."""
    unknown = {key: NOT_DEFINED for key in call.params if key not in names}
    if unknown:
        raise invalid(unknown)
    return call.params


def unchanged(call: Call, current: Any) -> None:
    if call.params.get("digest") not in (None, digest(current)):
        raise ApiError(500, "detected modified configuration - file changed by other user? Try again.")


def truth(value: Any) -> bool:
    return str(value).lower() in ("1", "on", "yes", "true")


def with_digest(rows: Rules) -> Rules:
    return [{**row, "digest": digest(rows)} for row in rows]


def _number(value: Any) -> Any:
    return int(value) if str(value).isdigit() else value


def _address(call: Call, scope: dict[str, Any], key: str, value: str) -> int | None:
    """The IP version of addresses; complains about what is not there."""
    cluster = call.world.data["firewall"].get("cluster", {})
    name = NAME.fullmatch(value.removeprefix("+"))
    if name:
        kind, noun = ("ipset", "ipset") if value.startswith("+") else ("aliases", "alias")
        wanted = name[2] if value.startswith("+") else name[2].lower()
        places = {"dc": [cluster], "guest": [scope]}.get(name[1], [scope, cluster])
        if not any(wanted in place.get(kind, {}) for place in places):
            raise invalid({key: f"no such {noun} '{value.removeprefix('+')}'"})
        return None
    try:
        found = {ipaddress.ip_network(part).version for part in re.split("[,-]", value)}
    except ValueError:
        raise invalid({key: f"invalid format - invalid IP address: {value}\n"}) from None
    if len(found) > 1:
        raise invalid({key: f"detected mixed ipv4/ipv6 addresses in address list '{value}'"})
    return found.pop()


def _verified(call: Call, scope: dict[str, Any], env: str, rule: dict[str, Any]) -> dict[str, Any]:
    """The rule as its line in the file would be read again."""
    for key in ("type", "action"):
        if not rule.get(key):
            raise invalid({key: "property is missing and it is not optional"})
    kind = rule["type"]
    if kind not in ("in", "out", "forward", "group"):
        enum = "value '" + kind + "' does not have a value in the enumeration 'in, out, forward, group'"
        raise invalid({"type": enum})
    if kind != "group" and rule["action"] not in ("ACCEPT", "DROP", "REJECT"):
        raise invalid({"action": f"unknown action '{rule['action']}'"})
    if env == "group" and kind == "group":
        raise invalid({"type": "security groups not allowed"})
    if env == "group" and rule.get("iface"):
        raise invalid({"type": "parameter -i not allowed for this rule type"})
    if env == "vm" and rule.get("iface") and not re.fullmatch(r"net\d+", rule["iface"]):
        raise invalid({"iface": r"value does not match the regex pattern 'net\d+'"})
    if rule.get("macro"):
        proper = {macro.lower(): macro for macro in MACROS}.get(rule["macro"].lower())
        if proper is None:
            raise invalid({"macro": f"unknown macro '{rule['macro']}'"})
        rule["macro"] = proper
    for key in ("dport", "icmp-type", "sport"):
        if rule.get(key) and not rule.get("proto"):
            raise invalid({"proto": f"missing property - '{key}' requires this property"})
    versions = {_address(call, scope, key, rule[key]) for key in ("source", "dest") if rule.get(key)} - {None}
    kept = ("type", "action", "iface", "comment", "enable") if kind == "group" else RULE_KEYS
    line = {key: str(value).strip() for key, value in rule.items() if key in kept and str(value).strip()}
    return {**line, "enable": int(str(rule.get("enable", 0)) != "0"),
            **({"ipversion": versions.pop()} if versions else {})}  # fmt: skip


def _given(params: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in params.items() if k in RULE_KEYS - {"pos", "digest"}}


def get_options(call: Call, **path: str) -> Any:
    may(call, path, write=False)
    _kind, scope = scope_of(call, path)
    return {**scope["options"], "digest": digest(scope["options"])}


def put_options(call: Call, **path: str) -> Any:
    may(call, path, write=True)
    kind, scope = scope_of(call, path)
    only(call, "digest", "delete", *OPTION_KEYS[kind])
    unchanged(call, scope["options"])
    for key in filter(None, str(call.params.get("delete", "")).split(",")):
        if key not in OPTION_KEYS[kind]:
            raise invalid({"delete": f"no such option '{key}'"})
        scope["options"].pop(key, None)
    for key, value in call.params.items():
        if key.startswith("policy_") and value not in ("ACCEPT", "REJECT", "DROP"):
            allowed = "ACCEPT, DROP" if key == "policy_forward" else "ACCEPT, REJECT, DROP"
            raise invalid({key: f"value '{value}' does not have a value in the enumeration '{allowed}'"})
        if key not in ("digest", "delete"):
            scope["options"][key] = _number(value)


def _rules(call: Call, path: dict[str, str]) -> tuple[str, dict[str, Any], Rules]:
    """(environment, file, the list of rules)."""
    if "group" in path:
        _kind, scope = scope_of(call, {})
        rules = scope["groups"].get(path["group"].lower())
        if rules is None:
            raise ApiError(500, f"no such security group '{path['group']}'")
        return "group", scope, rules
    kind, scope = scope_of(call, path)
    return kind, scope, scope["rules"]


def get_rules(call: Call, **path: str) -> Any:
    may(call, path, write=False)
    _env, _scope, rules = _rules(call, path)
    return [{**rule, "pos": pos, "digest": digest(rules)} for pos, rule in enumerate(rules)]


def add_rule(call: Call, **path: str) -> Any:
    may(call, path, write=True)
    only(call, *RULE_KEYS)
    env, scope, rules = _rules(call, path)
    rules.insert(0, _verified(call, scope, env, _given(call.params)))  # whatever pos says, and whatever the digest


def put_rule(call: Call, pos: str, **path: str) -> Any:
    may(call, path, write=True)
    only(call, "moveto", "delete", *RULE_KEYS)
    env, scope, rules = _rules(call, path)
    unchanged(call, rules)
    rule = _rule(rules, pos)
    if "moveto" in call.params:
        moved = rules.pop(int(pos))
        target = int(call.params["moveto"])
        rules.insert(target - 1 if target > int(pos) else target, moved)
        return
    removed = str(call.params.get("delete", "")).split(",")
    merged = {**{k: v for k, v in rule.items() if k not in removed}, **_given(call.params)}
    rules[int(pos)] = _verified(call, scope, env, merged)


def _rule(rules: Rules, pos: str) -> dict[str, Any]:
    if not pos.isdigit() or int(pos) >= len(rules):
        raise ApiError(500, f"no rule at position {pos}")
    return dict(rules[int(pos)])


def delete_rule(call: Call, pos: str, **path: str) -> Any:
    may(call, path, write=True)
    only(call, "digest")
    _env, _scope, rules = _rules(call, path)
    unchanged(call, rules)
    _rule(rules, pos)
    del rules[int(pos)]


@route("GET", "/cluster/firewall/macros")
def list_macros(call: Call) -> Any:
    return [{"macro": name, "descr": name} for name in MACROS]


def register(rules: str) -> None:
    """The routes of one ordered list."""
    route("GET", rules)(get_rules)
    route("POST", rules)(add_rule)
    route("PUT", f"{rules}/{{pos}}")(put_rule)
    route("DELETE", f"{rules}/{{pos}}")(delete_rule)


for _level in LEVELS:
    route("GET", f"{_level}/options")(get_options)
    route("PUT", f"{_level}/options")(put_options)
    register(f"{_level}/rules")
