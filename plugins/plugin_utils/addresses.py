# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Address arithmetic, by netaddr."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

try:
    import netaddr
except ImportError:  # reported by the action plugin; only the controller needs it
    netaddr = None

ANY = "any"


def available() -> bool:
    return netaddr is not None


def network(text: object) -> Any:
    """An IPNetwork, or None when the text is none."""
    return _network(str(text))


@lru_cache(maxsize=4096)
def _network(text: str) -> Any:
    try:
        return netaddr.IPNetwork(text)
    except (netaddr.AddrFormatError, ValueError):
        return None


def address(text: object) -> Any:
    """An IPAddress, or None when the text is none."""
    try:
        return netaddr.IPAddress(str(text), flags=netaddr.INET_PTON)
    except (netaddr.AddrFormatError, ValueError):
        return None


def has_host_bits(text: object) -> bool:
    """192.168.1.5/24 names an address, where a network is wanted."""
    found = network(text)
    return found is not None and found.ip != found.network


def overlap(one: object, other: object) -> bool:
    first, second = network(one), network(other)
    return first is not None and second is not None and (first in second or second in first)


def contains(outer: object, inner: object) -> bool:
    """Whether a network (or ``any``) holds an address or network."""
    if outer == ANY:
        return True
    first, second = network(outer), network(inner)
    return first is not None and second is not None and first.version == second.version and second in first


def version(text: object) -> int:
    found = network(text)
    return 0 if found is None else int(found.version)


def canonical(text: object) -> str:
    found = network(text)
    return str(text) if found is None else str(found.cidr)


def single(text: str) -> str:
    """An address as the network of one that firewalls compare."""
    return f"{text}/{128 if version(text) == 6 else 32}"


def subnets(pool: object, prefix: int, count: int) -> list[str]:
    """The first ``count`` networks of that size, fewer when the pool is smaller."""
    found = network(pool)
    if found is None or prefix < found.prefixlen:
        return []
    return [str(item) for _index, item in zip(range(count), found.subnet(prefix), strict=False)]


def second_half(pool: object) -> str:
    found = network(pool)
    if found is None or found.prefixlen > 30:
        return str(pool)
    return str(list(found.subnet(found.prefixlen + 1))[1])


def in_local_network(text: object, gateway: object, prefix: int) -> bool:
    return contains(f"{gateway}/{prefix}", text)
