# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters that show the plan to people."""

from __future__ import annotations

from typing import Any

from ansible_collections.homelab.mediaserver.plugins.plugin_utils import plan_page, plan_text


def text_of(plan: dict[str, Any]) -> list[str]:
    """The plan as lines of text."""
    return plan_text.lines(plan)


def page_of(plan: dict[str, Any]) -> str:
    """The plan as one HTML page with a map."""
    return plan_page.page(plan)


class FilterModule:
    """Filters of the collection homelab.mediaserver."""

    def filters(self) -> dict[str, Any]:
        return {"plan_text": text_of, "plan_page": page_of}
