# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tags: what ``--tags`` may say. The one list of concerns."""

from __future__ import annotations

from collections.abc import Iterable

from .problems import suggest

CONCERNS: dict[str, str] = {
    "plan": "plan and validate only",
    "certificates": "the site's own certificate authority",
    "proxmox": "the node: images, mappings, guests, its firewall",
    "guests": "virtual machines",
    "windows": "Windows machines around their Debian",
    "base": "users, SSH, time, updates",
    "gpu": "packages and a probe of the GPU",
    "storage": "mounts and folders",
    "docker": "the container engine",
    "firewall": "UFW, the containers' table, Proxmox firewall",
    "services": "compose projects",
    "system": "services that systemd runs",
    "applications": "what an application's own API sets up",
    "backup": "backup jobs",
    "cloudflare": "tunnel, Access and DNS at Cloudflare",
    "verify": "probes",
}
SPECIAL = ("all", "always", "never", "tagged", "untagged")


def unknown(requested: Iterable[str], services: Iterable[str]) -> list[str]:
    """One message for each requested tag that matches neither service nor concern."""
    known = {*CONCERNS, *SPECIAL, *services}
    messages = []
    for tag in requested:
        if tag not in known:
            messages.append(f"--tags {tag}: matches no service and no concern. {suggest(tag, known)}")
    return messages
