# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  api_host:
    description: Address of the API. The environment variable E(PROXMOX_HOST) is used if it is not given.
    type: str
    required: true
  api_port:
    description: Port of the API. The environment variable E(PROXMOX_PORT) is used if it is not given.
    type: int
    default: 8006
  api_user:
    description:
      - User with realm, such as V(automation@pve).
      - The environment variable E(PROXMOX_USER) is used if it is not given.
    type: str
    required: true
  api_password:
    description:
      - Password of that user. Either this or O(api_token_id) and O(api_token_secret).
      - The environment variable E(PROXMOX_PASSWORD) is used if it is not given.
    type: str
  api_token_id:
    description:
      - Name of an API token of that user; V(user@realm!name) is understood too.
      - The environment variable E(PROXMOX_TOKEN_ID) is used if it is not given.
    type: str
  api_token_secret:
    description: Secret of that token. The environment variable E(PROXMOX_TOKEN_SECRET) is used if it is not given.
    type: str
  ca_path:
    description:
      - File on the machine that runs the module with the certificates of the authority to trust, such as a copy of the
        node's C(/etc/pve/pve-root-ca.pem).
    type: path
  validate_certs:
    description: Whether the API's certificate must be valid.
    type: bool
    default: true
  api_timeout:
    description: Seconds to wait for one answer.
    type: int
    default: 30
  task_timeout:
    description: Seconds to wait for a task of the node (a download, a clone, a start) to end.
    type: int
    default: 900
attributes:
  action_group:
    description: C(module_defaults) of C(group/homelab.mediaserver.proxmox) carry the credentials.
    support: full
    membership:
      - homelab.mediaserver.proxmox
requirements:
  - proxmoxer >= 2.0
  - requests
notes:
  - Made for Proxmox VE 8.4 and 9.1.
  - Runs wherever the API is reached, usually on the controller (C(delegate_to=localhost)).
author:
  - The homelab.mediaserver authors (@homelab)
"""

    # What virtual machines and containers share; the table is module_utils/_pve_guest_spec.py.
    GUEST = r"""
options:
  vmid:
    description: Number of the guest.
    type: int
    required: true
  node:
    description: Name of the node.
    type: str
    required: true
  state:
    description:
      - V(present) leaves running what runs; V(started) and V(stopped) see to that too.
      - V(absent) destroys the guest and its disks, after shutting it down. A protected guest is an error.
    type: str
    choices: [present, started, stopped, absent]
    default: present
  restart:
    description:
      - What to do when changes wait for a restart of a running guest. They are returned in RV(pending).
      - A change that Proxmox VE wrote down but could not give to the running guest (a failed hotplug) waits too and is
        told in RV(task_warnings).
      - V(if_needed) shuts the guest down cleanly (a VM by its agent, else ACPI) and starts it.
    type: str
    choices: [never, if_needed]
    default: never
  force:
    description: Pull the plug where the guest is to be stopped or restarted, instead of shutting it down.
    type: bool
    default: false
  purge:
    description:
      - With O(state=absent), remove the guest from backup jobs, replication and high availability as well.
      - Proxmox VE refuses to destroy a guest that high availability manages without it.
    type: bool
    default: false
  destroy_unreferenced_disks:
    description: With O(state=absent), destroy also volumes of this number that no configuration names.
    type: bool
    default: false
  clone_from:
    description: Number of the guest or template on the same node to clone, if the guest does not exist.
    type: int
  clone_full:
    description:
      - Whether the clone is a full copy. By default a template is cloned linked, all else in full.
      - A container is cloned linked only on storages that clone raw volumes (LVM-thin, ZFS), and in full only while it
        does not run.
    type: bool
  clone_storage:
    description: Storage of the clone's disks. The clone is a full copy then.
    type: str
  template:
    description: Whether this is a template. There is no way back.
    type: bool
  cpulimit:
    description: Processors' worth of time that the guest may use, such as V(1.5); V(0) is no limit.
    type: float
  cpuunits:
    description: Weight against other guests when processors are short.
    type: int
  memory:
    description: Memory as V(4G) or V(512M). A number without unit counts MiB.
    type: str
  onboot:
    description: Whether the guest starts with the node.
    type: bool
  startup:
    description: Place in the order of starting and stopping; an empty dictionary gives it up.
    type: dict
    suboptions:
      order:
        description: Place; lower starts first.
        type: int
      up:
        description: Seconds to wait after the start.
        type: int
      down:
        description: Seconds to wait for the shutdown.
        type: int
  protection:
    description: Whether the guest and its disks are guarded against removal.
    type: bool
  tags:
    description: All tags; their order and the size of their letters mean nothing. An empty list removes them.
    type: list
    elements: str
  description:
    description: Text shown with the guest; an empty one removes it.
    type: str
  pool:
    description: Pool that the guest belongs to; an empty one takes it out.
    type: str
  hookscript:
    description: Volume of the hook script (root@pam with a password only); an empty one removes it.
    type: str
"""
