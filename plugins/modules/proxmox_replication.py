#!/usr/bin/python
# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: proxmox_replication
short_description: A replication job of a Proxmox VE guest
version_added: 0.1.0
description:
  - Keeps one job that copies a guest's volumes to another node of the cluster, which must have a storage of the same
    name. Only ZFS storages can.
  - Options not given stay as they are. An empty text and a rate of 0 bring the default back.
  - Needs C(VM.Audit) on the guest and, to change anything, on Proxmox VE 8 C(Datastore.Allocate) on C(/storage), on
    Proxmox VE 9 C(VM.Replicate) on the guest.
extends_documentation_fragment:
  - homelab.mediaserver.proxmox
  - homelab.mediaserver.attributes
options:
  guest:
    description: Number of the VM or container.
    type: int
    required: true
  number:
    description: Number of the guest's job. A guest has one job for each target.
    type: int
    default: 0
  target:
    description: Node to copy to. A new job needs one; that of a job cannot be changed.
    type: str
  schedule:
    description: When it runs, such as V(*/30) or V(22:00).
    type: str
  rate:
    description: Highest speed, in MB/s.
    type: float
  comment:
    description: Text shown with the job.
    type: str
  disable:
    description: Whether the job rests.
    type: bool
  keep:
    description: Leave the copy on the target when the job is removed.
    type: bool
    default: false
  force:
    description:
      - Remove the job's entry at once and clean up nothing, neither snapshots nor copies.
      - Without it the guest's node removes the job with its next run of replications.
    type: bool
    default: false
  state:
    description:
      - V(absent) removes the job, its snapshots and, unless O(keep=true), the copy on the target.
    type: str
    choices: [present, absent]
    default: present
"""

EXAMPLES = r"""
- name: A second copy of the intranet host each half hour
  homelab.mediaserver.proxmox_replication:
    guest: 101
    target: pve2
    schedule: "*/30"
    rate: 50
"""

RETURN = r"""
steps:
  description: What was done, or would be done.
  returned: always
  type: list
  elements: str
id:
  description: Name of the job.
  returned: always
  type: str
  sample: 101-0
"""

import dataclasses
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.homelab.mediaserver.plugins.module_utils import _pve_replication as replication
from ansible_collections.homelab.mediaserver.plugins.module_utils import _reconcile
from ansible_collections.homelab.mediaserver.plugins.module_utils._pve import CONNECTION, Pve

ARGUMENTS: dict[str, Any] = {
    **CONNECTION,
    "guest": {"type": "int", "required": True},
    "number": {"type": "int", "default": 0},
    "target": {"type": "str"},
    "schedule": {"type": "str"},
    "rate": {"type": "float"},
    "comment": {"type": "str"},
    "disable": {"type": "bool"},
    "keep": {"type": "bool", "default": False},
    "force": {"type": "bool", "default": False},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
}


def work(module: AnsibleModule) -> dict[str, Any]:
    params = module.params
    if params["keep"] and params["force"]:
        raise _reconcile.Failure("Unable to remove with keep and force: force leaves the copy anyway")
    pve = Pve(params)
    ident = f"{params['guest']}-{params['number']}"
    job = replication.find(pve, ident)
    if params["state"] == "absent":
        plan = replication.removal(pve, ident, job, params["keep"], params["force"])
    else:
        plan = replication.plan(pve, ident, job, replication.given(params))
    return _reconcile.run(module, dataclasses.replace(plan, result={"id": ident}))


def main() -> None:
    _reconcile.main(AnsibleModule(ARGUMENTS, supports_check_mode=True), work)


if __name__ == "__main__":
    main()
