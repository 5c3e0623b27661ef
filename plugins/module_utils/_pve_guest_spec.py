# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options that virtual machines and containers share; documented in the fragment C(proxmox.guest)."""

from __future__ import annotations

from typing import Any

from ansible_collections.homelab.mediaserver.plugins.module_utils._pve import CONNECTION

TEXT: dict[str, Any] = {"type": "str"}
FLAG: dict[str, Any] = {"type": "bool"}
NUMBER: dict[str, Any] = {"type": "int"}
SLOTS: dict[str, Any] = {"type": "dict"}
TEXTS: dict[str, Any] = {"type": "list", "elements": "str"}
KEYS: dict[str, Any] = {**TEXTS, "no_log": False}
SECRET: dict[str, Any] = {"type": "str", "no_log": True}


def chosen(*choices: str, default: str | None = None) -> dict[str, Any]:
    """One of these texts."""
    return {"type": "str", "choices": [*choices], **({} if default is None else {"default": default})}


GUEST: dict[str, Any] = {
    **CONNECTION,
    "vmid": {"type": "int", "required": True},
    "node": {"type": "str", "required": True},
    "state": chosen("present", "started", "stopped", "absent", default="present"),
    "restart": chosen("never", "if_needed", default="never"),
    "cpulimit": {"type": "float"},
    "startup": {"type": "dict", "options": {"order": NUMBER, "up": NUMBER, "down": NUMBER}},
    "tags": TEXTS,
    "networks": SLOTS,
    **{name: {"type": "bool", "default": False} for name in ("force", "purge", "destroy_unreferenced_disks")},
    **dict.fromkeys(("clone_from", "cores", "cpuunits"), NUMBER),
    **dict.fromkeys(("clone_full", "template", "onboot", "protection"), FLAG),
    **dict.fromkeys(("clone_storage", "memory", "description", "pool", "hookscript"), TEXT),
}
