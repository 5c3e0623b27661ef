#!/usr/bin/python
# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: immich_info
short_description: Ask Immich what it has
version_added: 0.1.0
description:
  - Returns version, features, users and external libraries of Immich. It changes nothing.
  - Needs the permissions C(adminUser.read) and C(library.read), and C(library.statistics) for O(statistics=true).
  - Without a key, only what Immich tells everybody is returned.
extends_documentation_fragment:
  - homelab.mediaserver.immich
  - homelab.mediaserver.application
  - homelab.mediaserver.attributes.info
options:
  statistics:
    description: Whether to count the files of each library, too. Immich counts files in its trash as well.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: See what Immich has
  homelab.mediaserver.immich_info:
    api_key_file: /etc/mediaserver/immich-api-key
    statistics: true
  register: immich
"""

RETURN = r"""
reachable:
  description: Whether Immich answered.
  returned: always
  type: bool
initialized:
  description: Whether there is an administrator.
  returned: when Immich answered
  type: bool
maintenance:
  description: Whether it is in maintenance mode. Then it tells nothing else.
  returned: when Immich answered
  type: bool
version:
  description: Version of Immich.
  returned: when Immich answered
  type: str
  sample: 3.1.0
features:
  description: What Immich is able to do, as it says itself.
  returned: when Immich answered
  type: dict
users:
  description: Ids of all users by e-mail address.
  returned: when a key was given
  type: dict
libraries:
  description: All external libraries, each with id, name, owner, paths and exclude, and with statistics if asked for.
  returned: when a key was given
  type: list
  elements: dict
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.homelab.mediaserver.plugins.module_utils import _reconcile
from ansible_collections.homelab.mediaserver.plugins.module_utils._http import NotReady
from ansible_collections.homelab.mediaserver.plugins.module_utils._immich import CONNECTION, Immich

ARGUMENTS = {**CONNECTION, "statistics": {"type": "bool", "default": False}}


def libraries(immich: Immich, users: dict[str, str], statistics: bool) -> list[dict[str, Any]]:
    emails = {number: email for email, number in users.items()}
    result = []
    for library in immich.libraries():
        entry = {
            "id": library["id"],
            "name": library["name"],
            "owner": emails.get(library["ownerId"]),
            "paths": library.get("importPaths") or [],
            "exclude": library.get("exclusionPatterns") or [],
            "refreshed": library.get("refreshedAt"),
        }
        if statistics:
            path = f"/libraries/{library['id']}/statistics"
            entry["statistics"] = immich.object(path, f"count library {library['name']}")
        result.append(entry)
    return result


def work(module: AnsibleModule) -> dict[str, Any]:
    immich = Immich(module.params)
    result: dict[str, Any] = {"changed": False, "reachable": True}
    try:
        config = immich.config(maintenance=True)
    except NotReady:
        return {"changed": False, "reachable": False}
    result["initialized"] = config["isInitialized"]
    result["maintenance"] = bool(config.get("maintenanceMode"))
    if result["maintenance"]:
        return result
    result["version"] = ".".join(map(str, immich.version()))
    result["features"] = immich.object("/server/features", "read the features")
    key = immich.stored_key()
    if key is not None and result["initialized"]:
        immich.headers["x-api-key"] = key
        result["users"] = immich.user_ids()
        result["libraries"] = libraries(immich, result["users"], module.params["statistics"])
    return result


def main() -> None:
    _reconcile.main(AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True), work)


if __name__ == "__main__":
    main()
