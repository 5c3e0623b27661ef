# SPDX-License-Identifier: MIT
"""VPN clients get what is open to the LAN, to the VPN or to all, never what is open to the proxy's host alone."""

from __future__ import annotations

from typing import Any

from ansible_collections.homelab.mediaserver.plugins.filter.vpn_guarded import FilterModule, vpn_guarded

LAN, VPN = "192.168.1.0/24", "10.8.0.0/24"


def rule(source: str, port: int, protocol: str = "tcp") -> dict[str, Any]:
    return {"from": source, "port": port, "protocol": protocol, "comment": ""}


def host(
    address: str, address6: str | None = None, own: list[Any] | None = None, containers: list[Any] | None = None
) -> dict[str, Any]:
    return {"address": address, "address6": address6, "firewall": {"host": own or [], "containers": containers or []}}


HOSTS = {
    "extranet": host("192.168.1.111", own=[rule("any", 443)]),
    "intranet": host(
        "192.168.1.101",
        "fd00::101",
        own=[rule(LAN, 22), rule("192.168.1.111/32", 9100)],
        containers=[rule("192.168.1.111/32", 9090), rule(LAN, 8096), rule(VPN, 8096), rule("any", 53, "udp")],
    ),
}


def test_only_what_is_open_to_them() -> None:
    ports = [{"port": 22, "protocol": "tcp"}, {"port": 53, "protocol": "udp"}, {"port": 8096, "protocol": "tcp"}]
    assert vpn_guarded(HOSTS, "extranet", [LAN, VPN]) == [
        {"address": "192.168.1.101", "ports": ports},
        {"address": "fd00::101", "ports": ports},
    ]


def test_a_host_with_nothing_open_is_guarded_too() -> None:
    assert vpn_guarded({"db": host("192.168.1.5")}, "extranet", [LAN]) == [{"address": "192.168.1.5", "ports": []}]


def test_the_name_it_goes_by() -> None:
    assert FilterModule().filters() == {"vpn_guarded": vpn_guarded}
