#!/usr/bin/python
# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: secrets
short_description: Secrets of an environment, made once and kept in a vault
version_added: 0.1.0
author:
  - The homelab.mediaserver authors (@homelab)
description:
  - Keeps an environment's secrets in C(vault.yml) in ansible-vault's format, with its key C(vault.key) beside it.
  - Generates what is missing, once; a stored secret is never made again and never derived from anything.
  - Honours vault passwords that Ansible itself was told (C(ANSIBLE_VAULT_PASSWORD_FILE), C(--vault-password-file)).
  - Runs on the controller only. The result is not logged; use C(no_log) where you hand values on.
options:
  directory:
    description: The folder of the store, for example C(inventories/homelab/.secrets).
    type: path
    required: true
  required:
    description: The secrets that are needed.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name of the secret, C(service.name).
        type: str
        required: true
      kind:
        description:
          - What to make. V(words) is a passphrase for people, of 16 random bits a word.
          - C(ssh_ed25519) and C(wireguard) also give C(name.public), C(ca) gives C(name.certificate).
        type: str
        choices: [password, hex, words, ssh_ed25519, ca, wireguard]
        default: password
      length:
        description: Length of a password (V(32) if unset), or number of words (V(8) if unset).
        type: int
      alphabet:
        description: Characters of a password, or V(alphanumeric), V(letters), V(digits), V(hex).
        type: str
        default: alphanumeric
      common_name:
        description: Name in the certificate of a C(ca). Default is the name of the secret.
        type: str
      ask:
        description: Cannot be made up, the owner must give it.
        type: bool
        default: false
      later:
        description: A later step of the run brings it by O(keep). Until then it is missing from the result.
        type: bool
        default: false
      help:
        description: Where the owner gets it.
        type: str
  given:
    description: Values given in the inventory, C({service:{name:value}}). They win over stored ones and are not stored.
    type: dict
    default: {}
  keep:
    description:
      - Values to keep in the store, C({service:{name:value}}), such as the secret of an API token that was told once.
        They replace stored ones.
    type: dict
    default: {}
  known_hosts:
    description: Hosts whose SSH host key is a secret of ours; written to C(known_hosts) in O(directory).
    type: list
    elements: dict
    default: []
    suboptions:
      host:
        description: Name of the host.
        type: str
        required: true
      addresses:
        description: Its addresses.
        type: list
        elements: str
        default: []
      port:
        description: Port of its SSH server.
        type: int
        default: 22
      secret:
        description: Name of its host key among O(required).
        type: str
        required: true
attributes:
  check_mode:
    description: Writes nothing; for secrets that do not exist yet it gives values that are forgotten afterwards.
    support: full
  diff_mode:
    description: Secrets are not shown.
    support: none
"""

EXAMPLES = r"""
- name: Have all secrets
  homelab.mediaserver.secrets:
    directory: "{{ inventory_dir }}/.secrets"
    required:
      - {name: immich.db_password, length: 32}
      - {name: ddclient.password, ask: true, help: "the DynHost password from OVH"}
      - {name: ssh_host_key.intranet, kind: ssh_ed25519}
    given: "{{ site_secrets }}"
    known_hosts:
      - {host: intranet, addresses: [192.168.1.101], secret: ssh_host_key.intranet}
  register: store
  delegate_to: localhost
  run_once: true
"""

RETURN = r"""
secrets:
  description: Values by name. Not logged.
  type: dict
  returned: success
generated:
  description: Names of the secrets that were made in this run.
  type: list
  elements: str
  returned: success
kept:
  description: Names of those of O(keep) that were new or other than before.
  type: list
  elements: str
  returned: success
names:
  description: Names of all secrets that are stored, made or given.
  type: list
  elements: str
  returned: success
"""
