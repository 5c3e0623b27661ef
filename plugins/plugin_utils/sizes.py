# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sizes as people write them (``16G``, ``512M``) and as bytes."""

from __future__ import annotations

import re

UNITS = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3, "T": 1024**4}
PATTERN = r"^[0-9]+(\.[0-9]+)?[KMGT]$"


def parse(text: object) -> int | None:
    """Bytes of ``10G`` (powers of 1024), None when it is no size."""
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)\s*([KMGT])i?B?", str(text).strip(), re.IGNORECASE)
    if match is None:
        return None
    return int(float(match[1]) * UNITS[match[2].upper()])


def show(count: float) -> str:
    """Bytes as a person reads them: ``13G``, ``512M``."""
    for unit in ("T", "G", "M", "K"):
        if abs(count) >= UNITS[unit]:
            value = count / UNITS[unit]
            return f"{value:.0f}{unit}" if abs(value - round(value)) < 0.05 else f"{value:.1f}{unit}"
    return f"{count:.0f} bytes"


def mebibytes(text: object) -> int:
    """A size in MiB, as Proxmox VE counts memory."""
    return (parse(text) or 0) // UNITS["M"]


SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
DURATION = r"^[0-9]+[smhdw]$"


def seconds(text: object) -> int | None:
    """Seconds of ``4h``; None when it is no duration."""
    match = re.fullmatch(r"([0-9]+)([smhdw])", str(text).strip())
    return int(match[1]) * SECONDS[match[2]] if match else None
