#!/usr/bin/python
# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: adopt_services
short_description: Takes over the containers of a hand-made set-up, or gives them back
version_added: 0.1.0
author:
  - The homelab.mediaserver authors (@homelab)
description:
  - Stops the old containers, dumps their databases and counts the rows of the dump, copies the folders that the new
    containers write and compares the copies, starts the new projects on the folders where they lie, waits until they
    are healthy and asks each one once. The old containers stay, stopped, and nothing starts them.
  - When anything of that fails, the new containers are removed, folders and owners are as before (from the copies, once
    the new ones had been started), and the old containers run again. Then the module fails with the reason.
  - A journal in O(directory) lets the next run go on where a killed one stopped, or undo what was being undone.
  - The files of the new projects must be there (M(homelab.mediaserver.config_tree)).
extends_documentation_fragment:
  - homelab.mediaserver.compose
options:
  state:
    description:
      - V(adopted) takes over what O(old) names and no journal has as taken over.
      - V(returned) brings the old containers back, with their data of before.
      - V(finished) removes the old containers and the copies of a take-over that succeeded. The dumps stay.
    type: str
    choices: [adopted, returned, finished]
    default: adopted
  old:
    description: The containers to take over.
    type: list
    elements: dict
    default: []
    suboptions:
      id:
        description: Id of the container.
        type: str
        required: true
      name:
        description: Its name.
        type: str
        required: true
      database:
        description: C(user) and C(name) of the PostgreSQL database that it serves; empty for all other containers.
        type: dict
        default: {}
  data:
    description: Folders of the old containers that the new ones write.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: The folder.
        type: path
        required: true
      copy:
        description: Whether it is copied first. Without, what the new containers do there cannot be undone.
        type: bool
        default: true
      owner:
        description: C(uid:gid) of the new container's user, to whom everything in it is given; empty keeps the owners.
        type: str
        default: ''
  directories:
    description: Further folders that the new containers need; those that are there stay as they are. Parents first.
    type: list
    elements: dict
    default: []
  stones:
    description: Versions that a service must have run once before the new one may start, in this order.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: What it is called in messages and in the journal.
        type: str
        required: true
      service:
        description: The project.
        type: str
        required: true
      containers:
        description: Those of the project's containers that run.
        type: list
        elements: str
        required: true
      images:
        description: Their images, by container.
        type: dict
        default: {}
      volumes:
        description: Further folders, by container, C({path inside:path on the host}).
        type: dict
        default: {}
  smoke:
    description: Requests that must be answered with a status below 500.
    type: list
    elements: dict
    default: []
    suboptions:
      service:
        description: Which service it is.
        type: str
        required: true
      url:
        description: What is asked, from the host itself.
        type: str
        required: true
  units:
    description: The owner's systemd units that start the old projects; they are disabled.
    type: list
    elements: str
    default: []
  projects:
    default: []
  digests:
    description: Digests of the projects' files, as M(homelab.mediaserver.config_tree) returns them.
    type: dict
    default: {}
  stale:
    description: Projects whose files had been changed by hand.
    type: list
    elements: str
    default: []
  root:
    description: Folder below which all new projects lie.
    type: path
    default: /opt/mediaserver/services
  directory:
    description: Where journals, dumps and notes of owners lie, readable by root only.
    type: path
    default: /var/lib/mediaserver/adopt
  parallel:
    description: How many projects are brought up at the same time.
    type: int
    default: 4
  lock_timeout:
    description: How long to wait for another run to end, in seconds.
    type: int
    default: 600
attributes:
  check_mode:
    description: Says what would be done.
    support: full
  diff_mode:
    description: Shows the phases of the host's take-overs.
    support: full
"""

EXAMPLES = r"""
- name: Take Jellyfin over
  homelab.mediaserver.adopt_services:
    old:
      - {id: 5a1c, name: jellyfin}
    data:
      - {path: /mnt/appdata/jellyfin/config, owner: "1000:1000"}
    projects:
      - {name: jellyfin, directory: /opt/mediaserver/services/jellyfin, unit: mediaserver-jellyfin.service}
    smoke:
      - {service: jellyfin, url: "http://127.0.0.1:8096/health"}

- name: Bring the old containers back
  homelab.mediaserver.adopt_services:
    state: returned
"""

RETURN = r"""
steps:
  description: What was done, or would be done.
  type: list
  elements: str
  returned: success
journals:
  description: All take-overs of this host and their phases.
  type: dict
  returned: success
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.homelab.mediaserver.plugins.module_utils import _reconcile
from ansible_collections.homelab.mediaserver.plugins.module_utils._adopt_run import work
from ansible_collections.homelab.mediaserver.plugins.module_utils._compose_run import NETWORK, PROJECT

OLD: dict[str, Any] = {
    "id": {"type": "str", "required": True},
    "name": {"type": "str", "required": True},
    "database": {"type": "dict", "default": {}},
}
DATA: dict[str, Any] = {
    "path": {"type": "path", "required": True},
    "copy": {"type": "bool", "default": True},
    "owner": {"type": "str", "default": ""},
}
STONE: dict[str, Any] = {
    "name": {"type": "str", "required": True},
    "service": {"type": "str", "required": True},
    "containers": {"type": "list", "elements": "str", "required": True},
    "images": {"type": "dict", "default": {}},
    "volumes": {"type": "dict", "default": {}},
}
SMOKE: dict[str, Any] = {"service": {"type": "str", "required": True}, "url": {"type": "str", "required": True}}


def listed(options: dict[str, Any] | None = None) -> dict[str, Any]:
    found: dict[str, Any] = {"type": "list", "elements": "dict", "default": []}
    return found if options is None else {**found, "options": options}


SPEC: dict[str, Any] = {
    "state": {"type": "str", "choices": ["adopted", "returned", "finished"], "default": "adopted"},
    "old": listed(OLD),
    "data": listed(DATA),
    "directories": listed(),
    "stones": listed(STONE),
    "smoke": listed(SMOKE),
    "units": {"type": "list", "elements": "str", "default": []},
    "projects": listed(PROJECT),
    "networks": listed(NETWORK),
    "digests": {"type": "dict", "default": {}},
    "stale": {"type": "list", "elements": "str", "default": []},
    "root": {"type": "path", "default": "/opt/mediaserver/services"},
    "directory": {"type": "path", "default": "/var/lib/mediaserver/adopt"},
    "parallel": {"type": "int", "default": 4},
    "lock_timeout": {"type": "int", "default": 600},
}


def main() -> None:
    module = AnsibleModule(argument_spec=SPEC, supports_check_mode=True)
    _reconcile.main(module, work)


if __name__ == "__main__":
    main()
