# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  api_host:
    description: Address of the API. The environment variable E(PROXMOX_HOST) is used if it is not given.
    type: str
    required: true
  api_port:
    description: Port of the API. The environment variable E(PROXMOX_PORT) is used if it is not given.
    type: int
    default: 8006
  api_user:
    description:
      - User with realm, such as V(automation@pve).
      - The environment variable E(PROXMOX_USER) is used if it is not given.
    type: str
    required: true
  api_password:
    description:
      - Password of that user. Either this or O(api_token_id) and O(api_token_secret).
      - The environment variable E(PROXMOX_PASSWORD) is used if it is not given.
    type: str
  api_token_id:
    description:
      - Name of an API token of that user; V(user@realm!name) is understood too.
      - The environment variable E(PROXMOX_TOKEN_ID) is used if it is not given.
    type: str
  api_token_secret:
    description: Secret of that token. The environment variable E(PROXMOX_TOKEN_SECRET) is used if it is not given.
    type: str
  ca_path:
    description:
      - File on the machine that runs the module with the certificates of the authority to trust, such as a copy of the
        node's C(/etc/pve/pve-root-ca.pem).
    type: path
  validate_certs:
    description: Whether the API's certificate must be valid.
    type: bool
    default: true
  api_timeout:
    description: Seconds to wait for one answer.
    type: int
    default: 30
  task_timeout:
    description: Seconds to wait for a task of the node (a download, a clone, a start) to end.
    type: int
    default: 900
attributes:
  check_mode:
    description: Can run in check mode and return what would change, without changing anything.
    support: full
  diff_mode:
    description: Returns the states before and after, free of secrets.
    support: full
  action_group:
    description: C(module_defaults) of C(group/homelab.mediaserver.proxmox) carry the credentials.
    support: full
    membership:
      - homelab.mediaserver.proxmox
requirements:
  - proxmoxer >= 2.0
  - requests
notes:
  - Made for Proxmox VE 8.4 and 9.1.
  - Runs wherever the API is reached, usually on the controller (C(delegate_to=localhost)).
author:
  - The homelab.mediaserver authors (@homelab)
"""
