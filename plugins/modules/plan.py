#!/usr/bin/python
# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: plan
short_description: Plan and validate the whole site
version_added: 0.1.0
description:
  - Reads the inventory's C(site_*) variables, the variables of all hosts and the catalog of services, and derives what
    every host, guest, firewall, proxy, backup and monitoring has to be.
  - Reports every mistake at once, each with file, key, reason and remedy. Touches no host.
  - Runs on the controller. Needs the Python library netaddr there.
  - The plan holds references to secrets, never their values.
author: ["The homelab.mediaserver authors (@homelab)"]
extends_documentation_fragment:
  - homelab.mediaserver.attributes.info
options:
  requested_tags:
    description: Tags of the run; one that matches neither a service nor a concern fails.
    type: list
    elements: str
    default: []
  known_secrets:
    description: Names of secrets that the vault holds already, so that they need not be asked for.
    type: list
    elements: str
    default: []
  catalogs:
    description: Further folders of services, beside the collection's own and C(catalog/) beside the inventory.
    type: list
    elements: path
    default: []
  incomplete:
    description: Plan even while secrets or SSH keys that only the owner has are missing; warn about them.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Validate inventory and catalog, derive the plan
  homelab.mediaserver.plan:
    requested_tags: "{{ ansible_run_tags }}"
  register: site_plan
"""

RETURN = r"""
plan:
  description: The plan, as docs/architecture.md describes it.
  returned: success
  type: dict
problems:
  description: Every mistake with C(kind), C(file), C(key), C(reason) and C(remedy).
  returned: always
  type: list
  elements: dict
only:
  description: The services among the requested tags.
  returned: success
  type: list
  elements: str
state_directory:
  description: Folder beside the inventory for keys and secrets.
  returned: success
  type: str
dry_run:
  description: Whether this is a check-mode run.
  returned: success
  type: bool
"""

from ansible.module_utils.basic import AnsibleModule


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "requested_tags": {"type": "list", "elements": "str", "default": []},
            "known_secrets": {"type": "list", "elements": "str", "default": [], "no_log": False},
            "catalogs": {"type": "list", "elements": "path", "default": []},
            "incomplete": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    module.fail_json(msg="The plan is made on the controller by the action plugin of the same name")


if __name__ == "__main__":
    main()
