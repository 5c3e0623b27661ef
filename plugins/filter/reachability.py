# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The two pure halves of verify.yml: what a prober asks, and what the answers mean."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.homelab.mediaserver.plugins.plugin_utils import reachability


def reachability_questions(plan: dict[str, Any], zone: str, own: list[str], authority: str = "") -> dict[str, Any]:
    """Arguments of reachability_info for the prober in ``zone`` that has the addresses ``own``."""
    return reachability.questions(zone, own, plan["targets"], plan["probes"], authority)


def _observation(host: Mapping[str, Any]) -> dict[str, Any]:
    seen = host.get("verify_seen") or {}
    return {
        "prober": host["inventory_hostname"],
        "zone": host.get("prober_zone") or "edge",
        "open_ports": seen.get("open_ports") or {},
        "answers": seen.get("answers") or {},
    }


def reachability_verdict(hosts: list[Mapping[str, Any]], plan: dict[str, Any]) -> dict[str, Any]:
    """The verdict as a mapping, with the printable table under ``table``. ``hosts``: the probers' variables."""
    verdict = reachability.judge(plan["targets"], plan["probes"], [_observation(host) for host in hosts])
    return {**verdict.as_dict(), "table": reachability.table(verdict, plan["unprobed"])}


class FilterModule:
    """Filters of the collection homelab.mediaserver."""

    def filters(self) -> dict[str, Any]:
        return {"reachability_questions": reachability_questions, "reachability_verdict": reachability_verdict}
