# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    # Compose projects as the plan has them.
    DOCUMENTATION = r"""
options:
  projects:
    description: All projects of the host.
    type: list
    elements: dict
    suboptions:
      name:
        description: Name of the compose project.
        type: str
        required: true
      service:
        description: The service to which it belongs. Default is its name.
        type: str
      directory:
        description: Where its C(compose.yaml) and C(.env) lie.
        type: path
        required: true
      unit:
        description: The systemd unit that owns its start and stop; is enabled and started.
        type: str
      networks:
        description: Shared networks that it joins.
        type: list
        elements: str
        default: []
      wait:
        description: How long its start may take, in seconds.
        type: int
        default: 300
  networks:
    description: Networks that several projects share.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name of the network in Docker.
        type: str
        required: true
      subnet:
        description: IPv4 addresses of the network, as CIDR.
        type: str
        required: true
      subnet6:
        description: IPv6 addresses of the network, as CIDR.
        type: str
"""
