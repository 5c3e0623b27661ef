# SPDX-License-Identifier: MIT
"""The scan's frames and how it reads answers. The scan itself runs in the lab."""

from __future__ import annotations

import ipaddress
import struct

import pytest
from ansible_collections.homelab.mediaserver.plugins.module_utils import _probe_scan as probe_scan

MACS = (b"\x02\x00\x00\x00\x00\x01", b"\x02\x00\x00\x00\x00\x02")
ROUTES = [
    probe_scan.Route("10.0.0.2", "10.0.0.1", "eth0", *MACS),
    probe_scan.Route("fd00::2", "fd00::1", "eth0", *MACS),
]


def tcp_part(frame: bytes, version: int) -> bytes:
    return frame[34:] if version == 4 else frame[54:]


@pytest.mark.parametrize("route", ROUTES, ids=["ipv4", "ipv6"])
@pytest.mark.parametrize("port", [1, 22, 8096, 65535])
def test_checksums_are_right(route: probe_scan.Route, port: int) -> None:
    [frame] = probe_scan.frames(route, 45000, 0xDEADBEEF, [port])
    source, target = ipaddress.ip_address(route.source), ipaddress.ip_address(route.target)
    segment = tcp_part(frame, target.version)
    pseudo = source.packed + target.packed + struct.pack("!HH", 6, len(segment))
    assert probe_scan.checksum(pseudo + segment) == 0xFFFF
    if target.version == 4:
        assert probe_scan.checksum(frame[14:34]) == 0xFFFF
    assert struct.unpack("!H", segment[2:4]) == (port,)


def answer(route: probe_scan.Route, port: int, flags: int, acknowledged: int) -> bytes:
    """The target's answer, built from our own frame with the ends exchanged."""
    version = ipaddress.ip_address(route.target).version
    [frame] = probe_scan.frames(probe_scan.Route(route.source, route.target, "eth0", *reversed(MACS)), port, 1, [45000])
    segment = tcp_part(frame, version)
    return frame[: -len(segment)] + segment[:8] + struct.pack("!IBB", acknowledged, 0x50, flags) + segment[14:]


@pytest.mark.parametrize("route", ROUTES, ids=["ipv4", "ipv6"])
def test_only_a_syn_ack_to_our_own_syn_is_open(route: probe_scan.Route) -> None:
    read = probe_scan.answered_port
    assert read(answer(route, 22, 0x12, 8), route, 45000, 7) == (22, True)
    assert read(answer(route, 22, 0x14, 8), route, 45000, 7) == (22, False)
    assert read(answer(route, 22, 0x12, 9), route, 45000, 7) is None, "answers somebody else's SYN"
    assert read(answer(route, 22, 0x12, 8), route, 45001, 7) is None, "for another source port"
    assert read(b"\x00" * 20, route, 45000, 7) is None


def test_an_address_without_a_route_is_no_failure() -> None:
    assert probe_scan.find_route("10.9.9.9", lambda argv: "") is None


def test_the_own_address_is_refused() -> None:
    local = '[{"dst": "10.0.0.1", "dev": "lo", "type": "local", "prefsrc": "10.0.0.1"}]'
    with pytest.raises(Exception, match="own address"):
        probe_scan.find_route("10.0.0.1", lambda argv: local)
