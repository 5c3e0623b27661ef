#!/usr/bin/python
# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: storage_mounts
short_description: Mount a host's storage classes by systemd units
version_added: 0.1.0
description:
  - Takes the whole list; writes one C(.mount) unit each, enabled and mounted, and the directory below it.
  - Nobody shall write into a mount point while nothing is mounted there, so the bare directory gets mode 0000 and,
    where the file system can, the immutable flag. A directory that already holds something is refused.
  - A blank disk is formatted; a disk with any signature or any data at its beginning never is. A disk that is mounted
    somewhere else, as the system's own, is refused.
  - A file system grows when its disk has grown.
author: The homelab.mediaserver authors (@homelab)
attributes:
  check_mode:
    support: full
    description: Reads only and says what it would do.
  diff_mode:
    support: full
    description: Units and states before and after.
options:
  mounts:
    description: The host's mounts.
    type: list
    elements: dict
    required: true
    suboptions:
      class:
        description: The storage class, for messages.
        type: str
      path:
        description: Where.
        type: path
        required: true
      kind:
        description:
          - C(virtiofs) shares a directory of the virtual machine's host, O(mounts[].source) is its tag.
          - C(disk) is a disk or partition of its own, O(mounts[].source) is its path, best below C(/dev/disk/by-id).
          - C(nfs) is an export, O(mounts[].source) is C(server:/path).
          - C(local) is a plain directory on the host's own disk or, with O(mounts[].source), a directory bound here.
        type: str
        choices: [virtiofs, disk, nfs, local]
        required: true
      source:
        description: What, see O(mounts[].kind).
        type: str
      fstype:
        description: C(ext4) (default) or C(xfs) for disks, C(nfs4) (default) or C(nfs) for exports.
        type: str
      options:
        description: Mount options.
        type: list
        elements: str
        default: []
      read_only:
        description: Mount read-only.
        type: bool
        default: false
      size:
        description: The planned size. Not used; it lets the plan's list pass unchanged.
        type: raw
      unit:
        description: The mount's unit. Not used; it lets the plan's list pass unchanged.
        type: str
  format:
    description: Whether a blank disk gets a file system.
    type: str
    choices: [if_blank, never]
    default: if_blank
  purge:
    description:
      - Unmount, and remove the units of, classes that are no longer listed. Data stays.
      - When false such units stay as they are and are returned in RV(ignore:unlisted).
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Mount what the plan says
  homelab.mediaserver.storage_mounts:
    mounts:
      - {class: media, path: /mnt/media, kind: virtiofs, source: media}
      - {class: database, path: /mnt/postgres, kind: disk, source: /dev/disk/by-id/scsi-0QEMU_QEMU_HARDDISK_drive-scsi1}
      - {class: scratch, path: /var/cache/scratch, kind: local}
"""

RETURN = r"""
unlisted:
  description: Units of this collection that are not in the list and stay.
  returned: always
  type: list
  elements: str
steps:
  description: What was done or, in check mode, would be.
  returned: always
  type: list
  elements: str
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.homelab.mediaserver.plugins.module_utils import _command
from ansible_collections.homelab.mediaserver.plugins.module_utils._mounts import KINDS, clean
from ansible_collections.homelab.mediaserver.plugins.module_utils._mounts_host import Host
from ansible_collections.homelab.mediaserver.plugins.module_utils._mounts_plan import plan
from ansible_collections.homelab.mediaserver.plugins.module_utils._reconcile import main, run

MOUNT = {
    "class": {"type": "str"},
    "path": {"type": "path", "required": True},
    "kind": {"type": "str", "choices": list(KINDS), "required": True},
    "source": {"type": "str"},
    "fstype": {"type": "str"},
    "options": {"type": "list", "elements": "str", "default": []},
    "read_only": {"type": "bool", "default": False},
    "size": {"type": "raw"},
    "unit": {"type": "str"},
}
SPEC = {
    "mounts": {"type": "list", "elements": "dict", "required": True, "options": MOUNT},
    "format": {"type": "str", "choices": ["if_blank", "never"], "default": "if_blank"},
    "purge": {"type": "bool", "default": False},
}


def work(module: AnsibleModule) -> dict[str, Any]:
    host = Host(_command.run)
    mounts = clean(module.params["mounts"])
    states = {mount.path: host.read(mount) for mount in mounts}
    unlisted = host.unlisted([mount.unit for mount in mounts])
    return run(module, plan(mounts, states, unlisted, module.params["format"], module.params["purge"], host))


if __name__ == "__main__":
    main(AnsibleModule(argument_spec=SPEC, supports_check_mode=True), work)
