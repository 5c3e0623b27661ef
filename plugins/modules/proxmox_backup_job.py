#!/usr/bin/python
# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: proxmox_backup_job
short_description: A backup job of a Proxmox VE cluster
version_added: 0.1.0
description:
  - Keeps one job of the datacenter's list of backups.
  - Options not given stay as they are. An empty text, list or dictionary brings the default back.
  - Needs C(Sys.Audit) and C(Sys.Modify) on C(/), and C(Datastore.Allocate) on the storage.
extends_documentation_fragment:
  - homelab.mediaserver.proxmox
  - homelab.mediaserver.attributes
options:
  id:
    description: Name of the job.
    type: str
    required: true
  schedule:
    description: When it runs, such as V(02:30) or V(sat 03:00). A new job needs one.
    type: str
  storage:
    description: Where the backups go.
    type: str
  vmids:
    description:
      - Numbers of the guests to back up.
      - A new job needs this, O(all) or O(pool). Each takes the others' place.
    type: list
    elements: int
  all:
    description: Back up all guests.
    type: bool
  pool:
    description: Back up the guests of this pool.
    type: str
  exclude:
    description: Numbers of guests that O(all) leaves out.
    type: list
    elements: int
  mode:
    description: How a running guest is treated.
    type: str
    choices: [snapshot, suspend, stop]
  compress:
    description: How backups are compressed; V(0) is not at all, V(1) is lzo.
    type: str
    choices: ['0', '1', gzip, lzo, zstd]
  prune_backups:
    description: Which backups are kept. All of it is one setting; without any key, the storage's own applies.
    type: dict
    suboptions:
      keep_all:
        description: Keep all. Goes with no other.
        type: bool
      keep_last:
        description: How many of the last.
        type: int
      keep_hourly:
        description: For how many hours one is kept.
        type: int
      keep_daily:
        description: For how many days one is kept.
        type: int
      keep_weekly:
        description: For how many weeks one is kept.
        type: int
      keep_monthly:
        description: For how many months one is kept.
        type: int
      keep_yearly:
        description: For how many years one is kept.
        type: int
  notes_template:
    description: Note on each backup in one line, with variables such as C({{guestname}}). Needs O(storage).
    type: str
  protected:
    description: Whether backups are protected from being pruned or removed.
    type: bool
  comment:
    description: Text shown with the job.
    type: str
  node:
    description: Run only on this node.
    type: str
  enabled:
    description: Whether the job runs. A new job does.
    type: bool
  repeat_missed:
    description: Whether a run that was missed is made up for.
    type: bool
  mailto:
    description: Addresses or users that get a mail.
    type: list
    elements: str
  mailnotification:
    description: When O(mailto) gets one.
    type: str
    choices: [always, failure]
  notification_mode:
    description: Whether O(mailto) counts, or the cluster's notifications.
    type: str
    choices: [auto, legacy-sendmail, notification-system]
  bwlimit:
    description: Highest speed, in KiB/s; V(0) is unlimited.
    type: int
  ionice:
    description: Priority of the disk, from V(0) to V(8); 8 is the lowest.
    type: int
  fleecing:
    description: Backup fleecing, for VMs. All of it is one setting.
    type: dict
    suboptions:
      enabled:
        description: Whether it is used.
        type: bool
      storage:
        description: Where blocks wait that the guest overwrites during its backup.
        type: str
  state:
    description: V(absent) removes the job. Backups stay.
    type: str
    choices: [present, absent]
    default: present
"""

EXAMPLES = r"""
- name: All guests each night
  homelab.mediaserver.proxmox_backup_job:
    id: nightly
    schedule: "02:30"
    storage: backups
    all: true
    exclude: [900]
    mode: snapshot
    compress: zstd
    prune_backups: {keep_daily: 7, keep_weekly: 4}
    notification_mode: notification-system
"""

RETURN = r"""
steps:
  description: What was done, or would be done.
  returned: always
  type: list
  elements: str
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.homelab.mediaserver.plugins.module_utils import _pve_backup, _reconcile
from ansible_collections.homelab.mediaserver.plugins.module_utils._pve import CONNECTION, Pve

TEXT: dict[str, Any] = {"type": "str"}
NUMBER: dict[str, Any] = {"type": "int"}
FLAG: dict[str, Any] = {"type": "bool"}
KEEP = ("keep_last", "keep_hourly", "keep_daily", "keep_weekly", "keep_monthly", "keep_yearly")
ARGUMENTS: dict[str, Any] = {
    **CONNECTION,
    "id": {"type": "str", "required": True},
    **dict.fromkeys(("schedule", "storage", "pool", "notes_template", "comment", "node"), TEXT),
    **dict.fromkeys(("all", "protected", "enabled", "repeat_missed"), FLAG),
    **dict.fromkeys(("bwlimit", "ionice"), NUMBER),
    "vmids": {"type": "list", "elements": "int"},
    "exclude": {"type": "list", "elements": "int"},
    "mode": {"type": "str", "choices": ["snapshot", "suspend", "stop"]},
    "compress": {"type": "str", "choices": ["0", "1", "gzip", "lzo", "zstd"]},
    "prune_backups": {"type": "dict", "options": {"keep_all": FLAG, **dict.fromkeys(KEEP, NUMBER)}},
    "mailto": {"type": "list", "elements": "str"},
    "mailnotification": {"type": "str", "choices": ["always", "failure"]},
    "notification_mode": {"type": "str", "choices": ["auto", "legacy-sendmail", "notification-system"]},
    "fleecing": {"type": "dict", "options": {"enabled": FLAG, "storage": TEXT}},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
}


def work(module: AnsibleModule) -> dict[str, Any]:
    params = module.params
    pve = Pve(params)
    old = _pve_backup.find(pve, params["id"])
    wanted = _pve_backup.given(params) if params["state"] == "present" else None
    return _reconcile.run(module, _pve_backup.plan(pve, params["id"], old, wanted))


def main() -> None:
    _reconcile.main(AnsibleModule(ARGUMENTS, supports_check_mode=True), work)


if __name__ == "__main__":
    main()
