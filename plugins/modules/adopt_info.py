#!/usr/bin/python
# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: adopt_info
short_description: What a hand-made set-up on a host consists of
version_added: 0.1.0
author:
  - The homelab.mediaserver authors (@homelab)
description:
  - Reads containers (images, digests, versions, mounts, ports, environment, networks, restart policies), compose
    projects, the owner's own systemd units and cron lines, and the configuration of restic, OpenVPN, ddclient, fail2ban
    and UFW.
  - Writes nothing. Values that are or look like secrets are masked.
  - Some programs tell their version only by HTTP, so these are asked on their container's address.
extends_documentation_fragment:
  - homelab.mediaserver.attributes.info
options:
  reveal:
    description:
      - Secrets whose values are wanted. Only then are they returned, and nothing else is; use C(no_log) on the task.
    type: list
    elements: dict
    default: []
    suboptions:
      secret:
        description: Name under which the value is returned.
        type: str
        required: true
      container:
        description: Id of a container that has it in its environment, or in the file that C(<variable>_FILE) names.
        type: str
      variable:
        description: Name of the variable.
        type: str
      file:
        description: File of the host that holds it.
        type: path
      key:
        description: Key in that file; without, the whole file is the secret.
        type: str
"""

EXAMPLES = r"""
- name: Look at what runs
  homelab.mediaserver.adopt_info:
  register: found

- name: Get the password that the running database uses
  homelab.mediaserver.adopt_info:
    reveal:
      - secret: immich.db_password
        container: "{{ found.found.containers[0].id }}"
        variable: POSTGRES_PASSWORD
  register: secrets
  no_log: true
"""

RETURN = r"""
found:
  description: Containers, projects, units, cron lines and configuration; no secrets.
  type: dict
  returned: when O(reveal) is empty
secrets:
  description: Values by name.
  type: dict
  returned: when O(reveal) is not empty
"""

from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.homelab.mediaserver.plugins.module_utils import _docker, _reconcile
from ansible_collections.homelab.mediaserver.plugins.module_utils._adopt_read import Reader

ROOT = Path("/")
REVEAL: dict[str, Any] = {
    "secret": {"type": "str", "required": True, "no_log": False},
    "container": {"type": "str"},
    "variable": {"type": "str"},
    "file": {"type": "path"},
    "key": {"type": "str", "no_log": False},
}
SPEC: dict[str, Any] = {"reveal": {"type": "list", "elements": "dict", "default": [], "options": REVEAL}}


def work(module: AnsibleModule) -> dict[str, Any]:
    reader = Reader(_docker.Tool(module), ROOT)
    if module.params["reveal"]:
        return {"changed": False, "secrets": reader.reveal(module.params["reveal"])}
    return {"changed": False, "found": reader.all()}


def main() -> None:
    module = AnsibleModule(argument_spec=SPEC, supports_check_mode=True)
    _reconcile.main(module, work)


if __name__ == "__main__":
    main()
