# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How Proxmox VE writes things: property strings, sizes, booleans, SSH keys. Pure."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote, unquote

from ansible_collections.homelab.mediaserver.plugins.module_utils._reconcile import Failure

UNITS = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3, "T": 1024**4}
TRUE = ("1", "on", "yes", "true")
FALSE = ("0", "off", "no", "false")
NET_MODELS = frozenset({
    "e1000", "e1000-82540em", "e1000-82544gc", "e1000-82545em", "e1000e", "i82551", "i82557b", "i82559er", "ne2k_isa",
    "ne2k_pci", "pcnet", "rtl8139", "virtio", "vmxnet3",
})  # fmt: skip


def parse(text: Any, default_key: str = "") -> dict[str, str]:
    """``host,pcie=1`` -> ``{default_key: "host", "pcie": "1"}``."""
    result: dict[str, str] = {}
    for item in str(text).split(","):
        name, separator, value = item.partition("=")
        if item.strip():
            result[name if separator else default_key] = value if separator else item
    return result


def render(properties: dict[str, str], default_key: str = "") -> str:
    """The default key first and bare, the others sorted."""
    first = [properties[default_key]] if properties.get(default_key) else []
    return ",".join([*first, *(f"{k}={v}" for k, v in sorted(properties.items()) if k != default_key)])


def parse_net(text: Any) -> dict[str, str]:
    """``virtio=AA:…,bridge=vmbr0`` -> ``{"model": "virtio", "macaddr": "AA:…", "bridge": "vmbr0"}``."""
    result = parse(text, "model")
    for model in NET_MODELS & set(result):
        result = {"model": model, "macaddr": result.pop(model), **result}
    return result


def render_net(net: dict[str, str]) -> str:
    rest = {k: v for k, v in net.items() if k not in ("model", "macaddr")}
    first = net["model"] + (f"={net['macaddr']}" if net.get("macaddr") else "")
    return ",".join([first, *(f"{k}={v}" for k, v in sorted(rest.items()))])


def size(text: Any, *, bare: int = 1) -> int:
    """Bytes of ``40G``, ``512 MiB`` or ``1.5T``; a number without unit counts ``bare`` bytes."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(?:([KMGT])i?B?)?", str(text).strip(), re.IGNORECASE)
    if match is None:
        raise Failure(f"Unable to understand the size {text!r}: write it as 512M, 40G or 1T")
    factor = UNITS[match[2].upper()] if match[2] else bare
    return int(float(match[1]) * factor)


def disk_size(text: Any) -> int:
    """Bytes of a disk, a number without unit counting GiB; whole MiB, as a node makes them."""
    return -(-size(text, bare=UNITS["G"]) // UNITS["M"]) * UNITS["M"]


def show_size(count: int) -> str:
    """Bytes in the largest unit that divides them, as in a disk's ``size=``."""
    for unit in ("T", "G", "M", "K"):
        if count >= UNITS[unit] and count % UNITS[unit] == 0:
            return f"{count // UNITS[unit]}{unit}"
    return str(count)


def gibibytes(count: int) -> str:
    """The number that allocates a new volume (``store:0.5``), exact: a rounded one makes another size."""
    return f"{count / UNITS['G']:.20f}".rstrip("0").rstrip(".")


def flag(value: Any) -> str:
    """``1`` or ``0`` for anything that Proxmox VE or YAML takes for a boolean."""
    text = str(value).lower()
    if text in TRUE:
        return "1"
    if text in FALSE:
        return "0"
    raise Failure(f"Unable to understand {value!r}: it must be true or false")


def ssh_keys(keys: list[str]) -> str:
    """The only form of percent-encoding that the API takes."""
    return quote("\n".join(key.strip() for key in keys if key.strip()), safe="")


def decode_ssh_keys(text: Any) -> list[str]:
    return [line.strip() for line in unquote(str(text)).splitlines() if line.strip()]


def tags(text: Any) -> list[str]:
    return sorted({item for item in re.split(r"[;, ]+", str(text)) if item})
