# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What VPN clients may reach on the other hosts: they take the VPN host's address, which may reach more than they."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def vpn_guarded(hosts: Mapping[str, Mapping[str, Any]], own: str, networks: list[str]) -> list[dict[str, Any]]:
    """Every host of the plan but ``own``, with the ports that are open to all or to one of ``networks``."""
    guarded = []
    for name, host in sorted(hosts.items()):
        if name == own:
            continue
        rules = [*host["firewall"]["host"], *host["firewall"]["containers"]]
        open_to_them = {
            (int(rule["port"]), str(rule["protocol"])) for rule in rules if rule["from"] in ("any", *networks)
        }
        ports = [{"port": port, "protocol": protocol} for port, protocol in sorted(open_to_them)]
        addresses = [host.get("address"), host.get("address6")]
        guarded += [{"address": str(address), "ports": ports} for address in addresses if address]
    return guarded


class FilterModule:
    """Filters of the collection homelab.mediaserver."""

    def filters(self) -> dict[str, Any]:
        return {"vpn_guarded": vpn_guarded}
