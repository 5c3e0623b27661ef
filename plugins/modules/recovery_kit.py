#!/usr/bin/python
# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: recovery_kit
short_description: One encrypted file with all that a rebuild needs, and a page to print
version_added: 0.1.0
author:
  - The homelab.mediaserver authors (@homelab)
description:
  - Packs an inventory folder with its secrets into C(NAME.kit), an archive in ansible-vault's format that ansible-core
    and tar open without this collection.
  - Writes C(NAME.html) beside it, which says where everything is and what to do, and holds no secret.
  - Both lie in C(.secrets/recovery-kit), readable by their owner only. Nothing is written when nothing changed.
  - Runs on the controller only.
options:
  directory:
    description: The folder of secrets beside the inventory, for example C(inventories/homelab/.secrets).
    type: path
    required: true
  plan:
    description: The site's plan, as M(homelab.mediaserver.plan) returns it.
    type: dict
    required: true
  passphrase:
    description:
      - What opens the kit. Take one of 100 random bits or more, as M(homelab.mediaserver.secrets) makes of kind words.
    type: str
    required: true
  to:
    description: A folder that gets copies, for example of a USB stick.
    type: path
  version:
    description: The collection's version, for the page.
    type: str
  source:
    description: Where the collection comes from, for the page. User names and passwords in it are left out.
    type: str
  commit:
    description: The collection's commit, for the page.
    type: str
attributes:
  check_mode:
    description: Says whether files would be written.
    support: full
  diff_mode:
    description: Shows nothing, as all of it is secret.
    support: none
"""

EXAMPLES = r"""
- name: Pack the recovery kit
  homelab.mediaserver.recovery_kit:
    directory: "{{ site_plan.state_directory }}"
    plan: "{{ site_plan.plan }}"
    passphrase: "{{ store.secrets['recovery_kit.passphrase'] }}"
    to: /media/usb
"""

RETURN = r"""
files:
  description: Kit and page, and their copies.
  type: list
  elements: str
  returned: success
holds:
  description: Names of the inventory's files inside.
  type: list
  elements: str
  returned: success
sha256:
  description: Of the kit, as the page says it.
  type: str
  returned: success
made:
  description: When the kit was made.
  type: str
  returned: success
name:
  description: The kit's file name.
  type: str
  returned: success
"""
