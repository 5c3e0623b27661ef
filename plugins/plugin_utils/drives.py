# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The drives of Windows as the Debian inside sees them: /mnt/d/Films there is D:/Films."""

from __future__ import annotations

import re

from .model import Site, Tree

DRIVE = re.compile(r"/mnt/([a-z])(/.*)?")
DATA = "C:/ProgramData/mediaserver"
STATE = "/var/lib/mediaserver"
"""Where programs keep their state on Linux; below DATA on Windows."""


def letter(path: str) -> str:
    """``D:`` of a path below /mnt/d; empty for all others."""
    found = DRIVE.fullmatch(path)
    return f"{found[1].upper()}:" if found else ""


def on_drive(body: Tree) -> bool:
    """Whether a storage class is a folder of a Windows drive."""
    return body.get("as") == "local" and bool(letter(str(body.get("source") or "").rstrip("/")))


def path_on_windows(site: Site, path: str) -> str:
    """Debian's path as Windows calls it, with /; empty for what lies inside Debian."""
    if path == STATE or path.startswith(f"{STATE}/"):
        return DATA + path.removeprefix(STATE)
    for body in site.values["site_storage"].values():
        mount = str(body["mount"]).rstrip("/")
        if on_drive(body) and (path == mount or path.startswith(f"{mount}/")):
            source = str(body["source"]).rstrip("/") + path.removeprefix(mount)
            return f"{letter(source)}/{source[7:]}".rstrip("/")
    return ""


def native(path: str) -> str:
    r"""As Windows' own modules write it: D:\Films."""
    return path.replace("/", "\\")
