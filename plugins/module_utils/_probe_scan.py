# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A TCP port scan of all 65535 ports in about two seconds, IPv4 and IPv6, with the standard library.

SYN packets are written as Ethernet frames (AF_PACKET, root): they do not enter the prober's own connection tracking,
whose table a scan through ordinary sockets would fill, cutting off a machine that serves others (the edge host is a
prober). Only a SYN-ACK counts as open; every open port is confirmed with a real connection afterwards.
"""

from __future__ import annotations

import ipaddress
import json
import secrets
import select
import socket
import struct
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.homelab.mediaserver.plugins.module_utils._reconcile import Failure

ALL_PORTS = range(1, 65536)
BURST = 256  # frames between two looks at the answers
BURST_PAUSE = 0.004  # seconds; about 60,000 frames a second at most
LINGER = 1.0  # seconds to wait for answers after a round
ROUNDS = 2  # a lost frame must not make an open port look closed
SYN, SYN_ACK = 0x02, 0x12


@dataclass(frozen=True)
class Route:
    """How a frame leaves for ``target``: device, own address and the two hardware addresses (6 bytes each)."""

    target: str
    source: str
    device: str
    own_mac: bytes
    next_mac: bytes


def checksum(data: bytes) -> int:
    """Internet checksum's 16-bit one's complement sum (RFC 1071), not inverted."""
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def frames(route: Route, source_port: int, sequence: int, ports: Iterable[int]) -> Iterator[bytes]:
    """Yield one SYN frame per port. Only port and checksum differ between them."""
    source, target = ipaddress.ip_address(route.source), ipaddress.ip_address(route.target)
    ethertype = 0x0800 if target.version == 4 else 0x86DD
    head = route.next_mac + route.own_mac + struct.pack("!H", ethertype)
    if target.version == 4:
        header = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 40, 0, 0x4000, 64, 6, 0, source.packed, target.packed)
        header = header[:10] + struct.pack("!H", 0xFFFF - checksum(header)) + header[12:]
    else:
        header = struct.pack("!IHBB16s16s", 0x60000000, 20, 6, 64, source.packed, target.packed)
    pseudo = source.packed + target.packed + struct.pack("!HH", 6, 20)
    blank = struct.pack("!HHIIBBHHH", source_port, 0, sequence, 0, 0x50, SYN, 1024, 0, 0)
    base = checksum(pseudo + blank)
    for port in ports:
        total = base + port
        total = (total & 0xFFFF) + (total >> 16)
        yield (
            head
            + header
            + struct.pack("!HHIIBBHHH", source_port, port, sequence, 0, 0x50, SYN, 1024, 0xFFFF - total, 0)
        )


def answered_port(frame: bytes, route: Route, source_port: int, sequence: int) -> tuple[int, bool] | None:
    """Return (port, is open) when ``frame`` is the target's answer to one of our SYNs, else None."""
    target = ipaddress.ip_address(route.target)
    if target.version == 4:
        if len(frame) < 54 or frame[23] != 6 or frame[26:30] != target.packed:
            return None
        offset = 14 + (frame[14] & 0x0F) * 4
    else:
        if len(frame) < 74 or frame[20] != 6 or frame[22:38] != target.packed:
            return None
        offset = 54
    port, own, _seq, acknowledged, _data, flags = struct.unpack("!HHIIBB", frame[offset : offset + 14])
    if own != source_port or acknowledged != (sequence + 1) & 0xFFFFFFFF:
        return None
    return port, flags & SYN_ACK == SYN_ACK


def find_route(address: str, run: Callable[[list[str]], str]) -> Route | None:
    """Return the route to ``address``, None when there is none (unreachable networks are closed by nature).

    ``run`` starts a command given as argv and returns its standard output, "" when it fails.
    """
    found = json.loads(run(["ip", "-json", "route", "get", address]) or "[]")
    if not found or found[0].get("type") in ("unreachable", "prohibit", "blackhole"):
        return None
    entry = found[0]
    if entry.get("type") == "local" or entry["dev"] == "lo":
        raise Failure(f"Unable to scan {address}: it is this machine's own address")
    next_hop = entry.get("gateway", address)
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    for _attempt in range(20):
        with socket.socket(family, socket.SOCK_DGRAM) as datagram:
            try:
                datagram.sendto(b"", (next_hop, 9))  # discard port: only to make the kernel resolve the neighbour
            except OSError:
                return None
        shown = json.loads(run(["ip", "-json", "neigh", "show", next_hop, "dev", entry["dev"]]) or "[]")
        if shown and "lladdr" in shown[0]:
            own = Path(f"/sys/class/net/{entry['dev']}/address").read_text(encoding="ascii").strip()
            return Route(
                address, entry["prefsrc"], entry["dev"],
                bytes.fromhex(own.replace(":", "")), bytes.fromhex(shown[0]["lladdr"].replace(":", "")),
            )  # fmt: skip
        time.sleep(0.1)
    return None


def scan(route: Route, ports: Iterable[int] = ALL_PORTS) -> list[int]:
    """Return the TCP ports of ``route.target`` that accept a connection, sorted."""
    ethertype = 0x86DD if ":" in route.target else 0x0800
    source_port = 40000 + secrets.randbelow(20000)
    sequence = secrets.randbits(32)
    open_ports: set[int] = set()
    waiting = list(ports)
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ethertype)) as packet:
        packet.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        packet.bind((route.device, ethertype))
        packet.setblocking(False)
        for _round in range(ROUNDS):
            answered: set[int] = set()
            for number, frame in enumerate(frames(route, source_port, sequence, waiting)):
                _send(packet, frame)
                if number % BURST == BURST - 1:
                    _drain(packet, BURST_PAUSE, route, source_port, sequence, open_ports, answered)
            _drain(packet, LINGER, route, source_port, sequence, open_ports, answered)
            waiting = [port for port in waiting if port not in answered]
    return sorted(port for port in open_ports if _connects(route.target, port))


def _send(packet: socket.socket, frame: bytes) -> None:
    while True:
        try:
            packet.send(frame)
            return
        except (BlockingIOError, OSError) as error:
            if not isinstance(error, BlockingIOError) and error.errno not in (105,):  # ENOBUFS: queue full
                raise
            time.sleep(0.002)


def _drain(
    packet: socket.socket, seconds: float, route: Route, source_port: int, sequence: int,
    open_ports: set[int], answered: set[int],
) -> None:  # fmt: skip
    """Read answers until none came for ``seconds``."""
    while select.select([packet], [], [], seconds)[0]:
        found = answered_port(packet.recv(128), route, source_port, sequence)
        if found is not None:
            answered.add(found[0])
            if found[1]:
                open_ports.add(found[0])


def _connects(address: str, port: int, seconds: float = 3.0) -> bool:
    try:
        with socket.create_connection((address, port), timeout=seconds):
            return True
    except OSError:
        return False
