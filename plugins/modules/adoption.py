#!/usr/bin/python
# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: adoption
short_description: Compares a hand-made set-up with the plan of its host
version_added: 0.1.0
author:
  - The homelab.mediaserver authors (@homelab)
description:
  - Says which service of the catalog each container is, where its data lie and where the plan has them, which versions
    lie between, what has no counterpart, what must be written into the inventory first, and what hinders a take-over.
  - Runs on the controller and changes nothing.
extends_documentation_fragment:
  - homelab.mediaserver.attributes.info
options:
  found:
    description: What M(homelab.mediaserver.adopt_info) returned as C(found).
    type: dict
    required: true
  plan:
    description: What M(homelab.mediaserver.plan) returned as C(plan).
    type: dict
    required: true
  host:
    description: Name of the host in the inventory. Default is the task's host.
    type: str
  catalogs:
    description: Further folders with catalog entries.
    type: list
    elements: path
    default: []
"""

EXAMPLES = r"""
- name: Look at what runs
  homelab.mediaserver.adopt_info:
  register: found

- name: Compare it with the plan
  homelab.mediaserver.adoption:
    found: "{{ found.found }}"
    plan: "{{ hostvars.localhost.site_plan.plan }}"
  register: compared
"""

RETURN = r"""
table:
  description: The differences as lines of text.
  type: list
  elements: str
  returned: success
rows:
  description: The differences as data.
  type: list
  elements: dict
  returned: success
refused:
  description: What hinders a take-over; empty when nothing does.
  type: list
  elements: str
  returned: success
services:
  description: The plan's services that a take-over starts, or that one under way has started.
  type: list
  elements: str
  returned: success
inventory:
  description: What to add to the inventory so that the plan uses the places where the data lie.
  type: dict
  returned: success
reveal:
  description: Secrets that the running services use, and where they stand (for M(homelab.mediaserver.adopt_info)).
  type: list
  elements: dict
  returned: success
request:
  description: What M(homelab.mediaserver.adopt_services) is to do.
  type: dict
  returned: success
"""
