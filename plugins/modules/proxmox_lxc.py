#!/usr/bin/python
# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Longer than 250 lines because a container has many options: nearly all of this file is documentation.

from __future__ import annotations

DOCUMENTATION = r"""
module: proxmox_lxc
short_description: Declare a container of Proxmox VE
version_added: 0.1.0
description:
  - Creates, clones, changes, starts, stops and destroys an LXC container through the API.
  - Only what is given is managed, down to single properties of a mount point or a network card. What is to go must be
    said. An empty text takes a property away, such as C(gateway) of a network card.
  - Compares against the values that are pending too, keeps MAC addresses, grows volumes and never shrinks them.
  - A number that another node of the cluster or a virtual machine uses is an error that names it.
  - A run that was killed is completed by the next one.
extends_documentation_fragment:
  - homelab.mediaserver.proxmox
  - homelab.mediaserver.proxmox.guest
  - homelab.mediaserver.attributes
options:
  hostname:
    description: Name of the container. One that does not exist is made only if this is given, and O(ostemplate) or
      O(clone_from).
    type: str
  ostemplate:
    description:
      - Volume of the template to make it from, such as V(local:vztmpl/debian-13-standard_13.1-1_amd64.tar.zst). See
        M(homelab.mediaserver.proxmox_image).
      - Used at creation only.
    type: str
  shutdown_timeout:
    description: Seconds that the container has to shut down.
    type: int
    default: 60
  unprivileged:
    description:
      - Whether root in the container is nobody on the node. It can be chosen at creation only; another value than the
        container has is an error.
      - A new container is unprivileged unless V(false) is said; a clone is what it is cloned from.
    type: bool
  password:
    description: Password of root. Used at creation only, not for a clone; the API never tells it.
    type: str
  ssh_keys:
    description: Public keys of root. Used at creation only, not for a clone; the API never tells them.
    type: list
    elements: str
  cores:
    description: Processors that the container sees.
    type: int
  swap:
    description: Swap space, same units; V(0) is none.
    type: str
  rootfs:
    description: Volume of the root folder. It grows and never shrinks.
    type: dict
    suboptions:
      storage:
        description: Storage.
        type: str
      size:
        description: Size, such as V(8G); a number counts GiB.
        type: str
      move:
        description: Whether it is moved when it lies on another storage than O(rootfs.storage).
        type: bool
        default: false
      quota:
        description: Whether there are quotas for users in the container.
        type: bool
      acl:
        description: Whether there are access control lists.
        type: bool
      replicate:
        description: Whether replication takes it along.
        type: bool
      read_only:
        description: Whether it cannot be written.
        type: bool
      mount_options:
        description: Further mount options, such as V(noatime).
        type: list
        elements: str
  mounts:
    description:
      - Mount points by slot (C(mp0)).
      - "To make one: C(path) in the container, and C(storage) with C(size) (V(40G), a number counts GiB), or C(volume)
        to attach one that exists. A C(volume) that is an absolute path binds that folder of the node, which Proxmox VE
        allows to root@pam with a password only."
      - "At any time: C(path), C(size) (grows only), C(read_only), C(backup), C(quota), C(acl), C(replicate),
        C(shared), C(mount_options)."
      - C(move=true) moves a volume that lies on another storage to C(storage); without it that is a warning.
      - C(state=absent) detaches and keeps the data as C(unusedN); with C(destroy=true) the data goes too, for which a
        running container must restart. The data of C(unusedN) goes with both said of that slot.
    type: dict
  networks:
    description:
      - Network cards by slot (C(net0)). A card keeps its MAC address unless C(mac) says otherwise.
      - Properties are C(name) (C(ethN) by default), C(bridge), C(ip) (with prefix length, V(dhcp) or V(manual)),
        C(gateway), C(ip6) (or V(auto)), C(gateway6), C(vlan), C(firewall), C(rate) (MB/s), C(mac), C(mtu),
        C(link_down), C(trunks); C(state=absent) removes it.
    type: dict
  devices:
    description:
      - Devices of the node by slot (C(dev0)); root@pam with a password only.
      - Properties are C(path), C(mode), C(uid), C(gid), C(deny_write); C(state=absent) removes it.
    type: dict
  features:
    description:
      - What the container may do beyond the usual. A token may change O(features.nesting) of an unprivileged container;
        all else is for root@pam with a password.
    type: dict
    suboptions:
      nesting:
        description: Run containers, such as Docker's, and recent systemd.
        type: bool
      keyctl:
        description: Use keyctl().
        type: bool
      fuse:
        description: Use FUSE file systems.
        type: bool
      mknod:
        description: Make device nodes.
        type: bool
      force_rw_sys:
        description: Write to C(/sys).
        type: bool
      mount:
        description: Types of file systems to mount, such as V(nfs).
        type: list
        elements: str
  nameservers:
    description: Name servers; an empty list takes the node's.
    type: list
    elements: str
  searchdomain:
    description: Search domain; an empty one takes the node's.
    type: str
  timezone:
    description: Time zone, such as V(Europe/Paris); V(host) is the node's, an empty one leaves it to the container.
    type: str
  console:
    description: Whether there is a console.
    type: bool
  console_mode:
    description: What a console opens.
    type: str
    choices: [tty, console, shell]
  tty:
    description: Number of terminals.
    type: int
"""

EXAMPLES = r"""
- name: The template
  homelab.mediaserver.proxmox_image:
    node: pve
    storage: local
    content: vztmpl
    file: debian-13-standard_13.1-1_amd64.tar.zst
    url: http://download.proxmox.com/images/system/debian-13-standard_13.1-1_amd64.tar.zst
    checksum: "sha512:{{ debian_13_template_checksum }}"
  register: template

- name: A name server for the house
  homelab.mediaserver.proxmox_lxc:
    node: pve
    vmid: 120
    hostname: dns
    ostemplate: "{{ template.volid }}"
    state: started
    cores: 1
    memory: 512M
    swap: 0
    rootfs: {storage: local-lvm, size: 4G}
    mounts:
      mp0: {storage: local-lvm, size: 8G, path: /var/lib/dns, backup: true}
    networks:
      net0: {bridge: vmbr0, ip: 192.168.1.120/24, gateway: 192.168.1.1, firewall: true}
    features:
      nesting: true
    ssh_keys: ["ssh-ed25519 AAAA ops@example.org"]
    onboot: true

- name: A template for more of its kind
  homelab.mediaserver.proxmox_lxc:
    node: pve
    vmid: 900
    hostname: debian
    ostemplate: "{{ template.volid }}"
    rootfs: {storage: local-lvm, size: 4G}
    template: true

- name: One of them
  homelab.mediaserver.proxmox_lxc:
    node: pve
    vmid: 121
    hostname: web
    clone_from: 900
    memory: 1G
    networks:
      net0: {bridge: vmbr0, ip: dhcp}
"""

RETURN = r"""
steps:
  description: What was done, or would be done.
  returned: always
  type: list
  elements: str
  sample: ["set memory of container 120"]
exists:
  description: Whether the container exists now. False in a dry run that would create it.
  returned: always
  type: bool
status:
  description: V(running), V(stopped) or V(absent).
  returned: unless changes were only predicted
  type: str
pending:
  description: Keys whose new value waits for a restart.
  returned: always
  type: list
  elements: str
restart_required:
  description: Whether anything waits for a restart.
  returned: always
  type: bool
config:
  description: The configuration as the API gives it, what is pending merged in.
  returned: unless changes were only predicted
  type: dict
task_warnings:
  description: Warnings of the node's tasks.
  returned: always
  type: list
  elements: str
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.homelab.mediaserver.plugins.module_utils import _pve_guest_spec as spec
from ansible_collections.homelab.mediaserver.plugins.module_utils import _reconcile
from ansible_collections.homelab.mediaserver.plugins.module_utils._pve_guest import work
from ansible_collections.homelab.mediaserver.plugins.module_utils._pve_lxc_desired import desired_from

ROOTFS: dict[str, Any] = {
    "move": {"type": "bool", "default": False},
    "mount_options": spec.TEXTS,
    **dict.fromkeys(("storage", "size"), spec.TEXT),
    **dict.fromkeys(("quota", "acl", "replicate", "read_only"), spec.FLAG),
}
FEATURES: dict[str, Any] = {
    **dict.fromkeys(("nesting", "keyctl", "fuse", "mknod", "force_rw_sys"), spec.FLAG),
    "mount": spec.TEXTS,
}
ARGUMENTS: dict[str, Any] = {
    **spec.GUEST,
    "shutdown_timeout": {"type": "int", "default": 60},
    "password": spec.SECRET,
    "ssh_keys": spec.KEYS,
    "rootfs": {"type": "dict", "options": ROOTFS},
    "features": {"type": "dict", "options": FEATURES},
    "console_mode": spec.chosen("tty", "console", "shell"),
    "nameservers": spec.TEXTS,
    "tty": spec.NUMBER,
    **dict.fromkeys(("mounts", "devices"), spec.SLOTS),
    **dict.fromkeys(("unprivileged", "console"), spec.FLAG),
    **dict.fromkeys(("hostname", "ostemplate", "swap", "searchdomain", "timezone"), spec.TEXT),
}


def main() -> None:
    module = AnsibleModule(ARGUMENTS, supports_check_mode=True)
    _reconcile.main(module, lambda module: work(module, desired_from(module.params)))


if __name__ == "__main__":
    main()
