# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Remotes of rclone with their secrets filled in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError


def rclone_secrets(remotes: list[Mapping[str, Any]], secrets: Mapping[str, str]) -> list[dict[str, Any]]:
    """Each remote's ``secrets`` ({option: name}) as options with the values of these names."""
    found = []
    for remote in remotes:
        named = remote.get("secrets") or {}
        if missing := sorted(name for name in named.values() if name not in secrets):
            raise AnsibleFilterError(f"rclone_secrets: remote {remote.get('name')}: no secret {', '.join(missing)}")
        options = {**(remote.get("options") or {}), **{option: secrets[name] for option, name in named.items()}}
        found.append({key: value for key, value in remote.items() if key != "secrets"} | {"options": options})
    return found


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"rclone_secrets": rclone_secrets}
