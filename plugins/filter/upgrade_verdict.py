# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which services' images change, and whether they may; and what an upgrade writes beside what runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.homelab.mediaserver.plugins.plugin_utils import upgrade


def upgrade_verdict(
    wanted: Sequence[Mapping[str, Any]], running: Mapping[str, Mapping[str, str]], only: Sequence[str] = ()
) -> dict[str, Any]:
    """``wanted`` is the plan's hosts.*.upgrades, ``running`` comes from module service_images."""
    return upgrade.verdict(wanted, running, only)


def upgrade_files(
    files: Sequence[Mapping[str, Any]], wanted: Sequence[Mapping[str, Any]], todo: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """The files of the services that change, moved to where mediaserver-upgrade finds them, and its requests."""
    return upgrade.staged(files, wanted, todo)


class FilterModule:
    """Filters of the collection homelab.mediaserver."""

    def filters(self) -> dict[str, Any]:
        return {"upgrade_verdict": upgrade_verdict, "upgrade_files": upgrade_files}
