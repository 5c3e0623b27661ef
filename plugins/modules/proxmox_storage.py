#!/usr/bin/python
# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Longer than most: each of the eleven types of storage has options of its own, and each option its documentation.

from __future__ import annotations

DOCUMENTATION = r"""
module: proxmox_storage
short_description: Define a storage of Proxmox VE
version_added: 0.1.0
description:
  - Defines, changes or removes an entry of C(/etc/pve/storage.cfg). What is not given stays as it is, or gets Proxmox
    VE's default.
  - Pools, volume groups, exports and file systems are not made. The node that answers tries whether the storage works
    when it is defined.
  - Some options are fixed when a storage is defined. To change them, remove the definition and make it anew; the module
    does neither on its own.
extends_documentation_fragment:
  - homelab.mediaserver.proxmox
  - homelab.mediaserver.attributes
options:
  storage:
    description: Name of the storage.
    type: str
    required: true
  type:
    description: Its type, fixed. Required unless O(state=absent).
    type: str
    choices: [btrfs, cephfs, cifs, dir, iscsi, lvm, lvmthin, nfs, pbs, rbd, zfspool]
  content:
    description: All it may hold, a set. An empty list is nothing.
    type: list
    elements: str
    choices: [backup, images, import, iso, rootdir, snippets, vztmpl]
  nodes:
    description: The nodes that have it, a set. An empty list means all.
    type: list
    elements: str
  disable:
    description: Whether it is switched off.
    type: bool
  shared:
    description: Whether all nodes see the same (V(dir), V(btrfs), V(lvm)). This makes nothing shared.
    type: bool
  prune_backups:
    description:
      - How many backups to keep per guest, V(keep_last), V(keep_hourly), V(keep_daily), V(keep_weekly),
        V(keep_monthly), V(keep_yearly), or V(keep_all). The whole rule; an empty map removes it.
    type: dict
    suboptions:
      keep_all:
        description: Keep all.
        type: bool
      keep_last:
        description: The last ones.
        type: int
      keep_hourly:
        description: The last of each hour.
        type: int
      keep_daily:
        description: The last of each day.
        type: int
      keep_weekly:
        description: The last of each week.
        type: int
      keep_monthly:
        description: The last of each month.
        type: int
      keep_yearly:
        description: The last of each year.
        type: int
  max_protected_backups:
    description: Protected backups per guest at most. V(-1) means any number.
    type: int
  path:
    description: Folder on the node, fixed. V(nfs), V(cifs) and V(cephfs) take C(/mnt/pve/NAME) without it.
    type: str
  is_mountpoint:
    description: V(yes), or a path, if the storage is there only while that is mounted (V(dir), V(btrfs)).
    type: str
  content_dirs:
    description: Folders for kinds of content, relative to the storage's. An empty map removes them.
    type: dict
  create_base_path:
    description: Whether Proxmox VE makes the folder if it is missing.
    type: bool
  create_subdirs:
    description: Whether Proxmox VE makes the folders for the kinds of content.
    type: bool
  format:
    description: Format of disk images unless another is asked for.
    type: str
    choices: ["", qcow2, raw, subvol, vmdk]
  preallocation:
    description: How disk images get their space.
    type: str
    choices: ["", "off", metadata, falloc, full]
  nocow:
    description: Whether files are made without copy on write (V(btrfs)).
    type: bool
  snapshot_as_volume_chain:
    description: Whether snapshots are chains of qcow2 volumes (Proxmox VE 9). Fixed, but for V(lvm).
    type: bool
  bwlimit:
    description:
      - Limits in KiB/s for V(clone), V(default), V(migration), V(move) and V(restore). An empty map removes them.
    type: dict
  pool:
    description: Dataset (V(zfspool), fixed) or pool (V(rbd)).
    type: str
  blocksize:
    description: Block size of new volumes, such as V(16k) (V(zfspool)).
    type: str
  sparse:
    description: Whether volumes take only what is written (V(zfspool)).
    type: bool
  mountpoint:
    description: Where the dataset is mounted (V(zfspool)). Proxmox VE finds it by itself.
    type: str
  vgname:
    description: Volume group, fixed (V(lvm), V(lvmthin)).
    type: str
  thinpool:
    description: Thin pool, fixed (V(lvmthin)).
    type: str
  base:
    description: Volume on which the volume group is made, fixed (V(lvm)).
    type: str
  saferemove:
    description: Whether removed volumes are overwritten (V(lvm)).
    type: bool
  saferemove_throughput:
    description: How fast, as cstream's C(-t) (V(lvm)).
    type: str
  tagged_only:
    description: Whether only volumes tagged C(pve-vm-ID) count (V(lvm)).
    type: bool
  server:
    description: Server, fixed (V(nfs), V(cifs), V(pbs)).
    type: str
  export:
    description: Exported folder, fixed (V(nfs)).
    type: str
  share:
    description: Share, fixed (V(cifs)).
    type: str
  subdir:
    description: Folder in the share (V(cifs), V(cephfs)).
    type: str
  options:
    description: Options of the mount, as in C(vers=4.2) (V(nfs), V(cifs), V(cephfs)).
    type: str
  username:
    description: User (V(cifs), V(pbs), V(rbd), V(cephfs)).
    type: str
  domain:
    description: Domain of the user (V(cifs)).
    type: str
  smbversion:
    description: Version of the protocol (V(cifs)).
    type: str
    choices: [default, "2.0", "2.1", "3", "3.0", "3.11"]
  datastore:
    description: Datastore, fixed (V(pbs)).
    type: str
  namespace:
    description: Namespace (V(pbs), V(rbd)).
    type: str
  port:
    description: Port (V(pbs)).
    type: int
  fingerprint:
    description: SHA-256 fingerprint of the server's certificate (V(pbs)).
    type: str
  portal:
    description: Address, fixed (V(iscsi)).
    type: str
  target:
    description: Target, fixed (V(iscsi)).
    type: str
  password:
    description: Password (V(cifs), V(pbs)). See O(update_password).
    type: str
  keyring:
    description: Keyring (V(rbd), V(cephfs)). See O(update_password).
    type: str
  encryption_key:
    description:
      - Key in JSON that backups are encrypted with, or V(autogen) to have one made (V(pbs)). Keep a copy of it, on the
        node it is C(/etc/pve/priv/storage/NAME.enc). Without it the backups cannot be read.
      - Set where the storage has none. One that is there is replaced only with O(update_password=always).
    type: str
  master_pubkey:
    description: Public key in PEM, base64, with which the encryption key is added to backups (V(pbs)). Set likewise.
    type: str
  update_password:
    description:
      - V(on_create) writes secrets when the storage is defined. V(always) writes them in every run, which is then
        always changed, as Proxmox VE tells no secret.
    type: str
    choices: [on_create, always]
    default: on_create
  settings:
    description: Further properties by their name in the API, for what has no option here (such as C(monhost)).
    type: dict
    default: {}
  remove_encryption_key:
    description: Allows O(state=absent) for a storage with an encryption key, which Proxmox VE deletes too.
    type: bool
    default: false
  state:
    description:
      - V(absent) removes the definition, never data. Entries for it in the access control list and in pools go too.
    type: str
    choices: [present, absent]
    default: present
notes:
  - An empty text removes an option that need not be there.
"""

EXAMPLES = r"""
- name: Virtual disks in a dataset
  homelab.mediaserver.proxmox_storage:
    storage: tank-ssd-postgres
    type: zfspool
    pool: tank-ssd/postgres
    content: [images]
    sparse: true

- name: What the node's own folder may hold
  homelab.mediaserver.proxmox_storage:
    storage: local
    type: dir
    content: [iso, vztmpl, backup, import, snippets]
    prune_backups: {keep_last: 3, keep_weekly: 4}

- name: A share
  homelab.mediaserver.proxmox_storage:
    storage: nas
    type: cifs
    server: 192.168.1.20
    share: backup
    username: pve
    password: "{{ nas_password }}"
    content: [backup]
"""

RETURN = r"""
steps:
  description: What was done, or would be done.
  returned: always
  type: list
  elements: str
config:
  description: The definition as it is now. Empty if there is none.
  returned: unless changes were only predicted
  type: dict
  sample: {storage: nas, type: cifs, server: 192.168.1.20, share: backup, content: backup}
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.homelab.mediaserver.plugins.module_utils import _pve_storage, _reconcile
from ansible_collections.homelab.mediaserver.plugins.module_utils._pve import CONNECTION, Pve

CONTENT = ["backup", "images", "import", "iso", "rootdir", "snippets", "vztmpl"]
KEEP = {f"keep_{name}": {"type": "int"} for name in ("last", "hourly", "daily", "weekly", "monthly", "yearly")}
OPTIONS: dict[str, Any] = {
    **{name: {"type": "str"} for name in (
        "path", "is_mountpoint", "pool", "blocksize", "mountpoint", "vgname", "thinpool", "base",
        "saferemove_throughput", "server", "export", "share", "subdir", "options", "username", "domain", "datastore",
        "namespace", "fingerprint", "portal", "target",
    )},
    **{name: {"type": "bool"} for name in (
        "disable", "shared", "create_base_path", "create_subdirs", "nocow", "snapshot_as_volume_chain", "sparse",
        "saferemove", "tagged_only",
    )},
    **{name: {"type": "str", "no_log": True} for name in ("password", "keyring", "encryption_key")},
    "master_pubkey": {"type": "str", "no_log": False},
    "content": {"type": "list", "elements": "str", "choices": CONTENT},
    "nodes": {"type": "list", "elements": "str"},
    "prune_backups": {"type": "dict", "options": {"keep_all": {"type": "bool"}, **KEEP}},
    "max_protected_backups": {"type": "int"},
    "content_dirs": {"type": "dict"},
    "format": {"type": "str", "choices": ["", "qcow2", "raw", "subvol", "vmdk"]},
    "preallocation": {"type": "str", "choices": ["", "off", "metadata", "falloc", "full"]},
    "bwlimit": {"type": "dict"},
    "smbversion": {"type": "str", "choices": ["default", "2.0", "2.1", "3", "3.0", "3.11"]},
    "port": {"type": "int"},
}  # fmt: skip
ARGUMENTS: dict[str, Any] = {
    **CONNECTION,
    **OPTIONS,
    "storage": {"type": "str", "required": True},
    "type": {"type": "str", "choices": sorted(_pve_storage.TYPES)},
    "update_password": {"type": "str", "choices": ["on_create", "always"], "default": "on_create", "no_log": False},
    "settings": {"type": "dict", "default": {}},
    "remove_encryption_key": {"type": "bool", "default": False, "no_log": False},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
}


def api_name(option: str) -> str:
    """Options are written with underscores; a few properties of the API are too."""
    return option if option in ("is_mountpoint", "saferemove_throughput", "tagged_only") else option.replace("_", "-")


def work(module: AnsibleModule) -> dict[str, Any]:
    params = module.params
    name, kind = params["storage"], params["type"]
    wanted: dict[str, Any] = {}
    secrets: dict[str, Any] = {}
    if params["state"] == "present":
        given = {api_name(option): params[option] for option in OPTIONS}
        wanted, secrets = _pve_storage.desired(name, kind, given, params["settings"])
    pve = Pve(params)
    current = _pve_storage.read(pve, name)
    if params["state"] == "absent":
        plan = _pve_storage.absent(pve, name, current, params["remove_encryption_key"])
    else:
        always = params["update_password"] == "always"
        plan = _pve_storage.plan(pve, name, kind, wanted, secrets, current, always)

    return _reconcile.run(module, plan, lambda: {"config": _pve_storage.read_back(pve, name, wanted)})


def main() -> None:
    module = AnsibleModule(ARGUMENTS, supports_check_mode=True, required_if=[("state", "present", ("type",))])
    _reconcile.main(module, work)


if __name__ == "__main__":
    main()
