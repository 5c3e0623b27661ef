#!/usr/bin/python
# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: compose_projects
short_description: All compose projects of a host, in one go
version_added: 0.1.0
author:
  - The homelab.mediaserver authors (@homelab)
description:
  - Takes the whole list of a host's compose projects and brings up side by side what does not run as it should.
  - Every container carries the digest of its project's files in the label C(mediaserver.digest), and the project's
    C(.env) holds the digest of what is on disk, so that one C(docker ps) shows that nothing changed.
  - Waits until all containers are healthy. One that fails is named, with the last lines of its log.
  - Projects below O(root) that are no longer wanted are stopped and their containers removed; data stays.
  - Locks the projects on the host; a run whose controller was killed is waited for, what it left half done completed.
extends_documentation_fragment:
  - homelab.mediaserver.compose
options:
  projects:
    required: true
  digests:
    description: Digests that another task is about to write, see M(homelab.mediaserver.config_tree). Else C(.env).
    type: dict
    default: {}
  stale:
    description: Projects whose files another task is about to put back, see M(homelab.mediaserver.config_tree).
    type: list
    elements: str
    default: []
  root:
    description: Folder below which all projects lie. Projects started from there and not in O(projects) are removed.
    type: path
    default: /opt/mediaserver/services
  only:
    description: Projects to look at; nothing of others is changed, nothing is removed. Empty means all.
    type: list
    elements: str
    default: []
  parallel:
    description: How many projects are brought up at the same time.
    type: int
    default: 4
  lock_timeout:
    description: How long to wait for another run on the same host, in seconds.
    type: int
    default: 600
attributes:
  check_mode:
    description: Says exactly what would be started and removed, on a host without Docker too.
    support: full
  diff_mode:
    description: Shows state and digest of the projects that change.
    support: full
"""

EXAMPLES = r"""
- name: Run the host's projects
  homelab.mediaserver.compose_projects:
    projects:
      - name: web
        directory: /opt/mediaserver/services/web
        unit: mediaserver-web.service
        networks: [monitoring]
        wait: 120
    networks:
      - name: mediaserver-monitoring
        subnet: 172.20.0.0/24
"""

RETURN = r"""
started:
  description: Projects that were brought up.
  type: list
  elements: str
  returned: success
removed:
  description: Projects that were removed.
  type: list
  elements: str
  returned: success
steps:
  description: What was done, or would be done.
  type: list
  elements: str
  returned: success
failure:
  description: Per failed project the container, its state and its last log lines.
  type: dict
  returned: failure
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.homelab.mediaserver.plugins.module_utils import _reconcile
from ansible_collections.homelab.mediaserver.plugins.module_utils._compose_run import NETWORK, PROJECT, work

SPEC: dict[str, Any] = {
    "projects": {"type": "list", "elements": "dict", "required": True, "options": PROJECT},
    "networks": {"type": "list", "elements": "dict", "default": [], "options": NETWORK},
    "digests": {"type": "dict", "default": {}},
    "stale": {"type": "list", "elements": "str", "default": []},
    "root": {"type": "path", "default": "/opt/mediaserver/services"},
    "only": {"type": "list", "elements": "str", "default": []},
    "parallel": {"type": "int", "default": 4},
    "lock_timeout": {"type": "int", "default": 600},
}


def main() -> None:
    module = AnsibleModule(argument_spec=SPEC, supports_check_mode=True)
    _reconcile.main(module, work)


if __name__ == "__main__":
    main()
