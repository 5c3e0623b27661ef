#!/usr/bin/python
# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Longer than 250 lines because a VM has many options: nearly all of this file is documentation.

from __future__ import annotations

DOCUMENTATION = r"""
module: proxmox_vm
short_description: Declare a virtual machine of Proxmox VE
version_added: 0.1.0
description:
  - Creates, clones, changes, starts, stops and destroys a QEMU virtual machine through the API.
  - Only what is given is managed, down to single properties of a disk or a network card. What is to go must be said.
  - Compares against the values that are pending too, keeps MAC addresses, grows disks and never shrinks them.
  - An empty text takes a setting away, such as O(cpu), or a property, such as C(vlan) of a network card.
  - A number that another node of the cluster or a container uses is an error that names it.
  - A run that was killed is completed by the next one.
extends_documentation_fragment:
  - homelab.mediaserver.proxmox
  - homelab.mediaserver.proxmox.guest
  - homelab.mediaserver.attributes
options:
  name:
    description: Name of the VM. A VM that does not exist is made only if this is given.
    type: str
  shutdown_timeout:
    description: Seconds that the guest has to shut down.
    type: int
    default: 180
  cores:
    description: Cores per socket.
    type: int
  sockets:
    description: Sockets.
    type: int
  numa:
    description: Whether NUMA is emulated.
    type: bool
  balloon:
    description: Least memory when the node runs short, same units; V(0) switches ballooning off.
    type: str
  cpu:
    description: Type of the processor and its properties, such as V(host) or V(x86-64-v2-AES).
    type: str
  machine:
    description: Type of the machine. V(q35) and V(pc) leave a pinned version of theirs, such as V(pc-q35-9.0).
    type: str
  bios:
    description: Firmware.
    type: str
    choices: [seabios, ovmf]
  ostype:
    description: Kind of guest, such as V(l26).
    type: str
  scsihw:
    description: SCSI controller, such as V(virtio-scsi-single).
    type: str
  vga:
    description: Display, such as V(std), V(serial0) or V(none).
    type: str
  efidisk:
    description: Disk that keeps the settings of OVMF. Made if there is none, not changed later.
    type: dict
    suboptions:
      storage:
        description: Storage.
        type: str
        required: true
      type:
        description: Size of the flash.
        type: str
        choices: [2m, 4m]
        default: 4m
      pre_enrolled_keys:
        description: Whether Microsoft's and the distributions' keys for Secure Boot are in it.
        type: bool
        default: false
  tpm:
    description: State of a TPM. Made if there is none, not changed later.
    type: dict
    suboptions:
      storage:
        description: Storage.
        type: str
        required: true
      version:
        description: Version.
        type: str
        choices: [v1.2, v2.0]
        default: v2.0
  disks:
    description:
      - Disks by slot (C(scsi0), C(virtio1), C(sata0)).
      - "To make one: C(storage), C(size) (V(40G), a number counts GiB), C(import_from) (V(local:import/x.qcow2)),
        C(format), or C(volume) to attach one that exists."
      - "At any time: C(size) (grows only), C(cache), C(discard), C(ssd), C(iothread), C(serial), C(backup),
        C(replicate), C(aio), C(read_only)."
      - C(move=true) moves a disk that lies on another storage to C(storage); without it that is a warning.
      - C(media=cdrom) makes the slot a CD-ROM drive with C(volume) (V(local:iso/x.iso) or V(none)) in it.
      - C(state=absent) detaches and keeps the data as C(unusedN); with C(destroy=true) the data goes too. The data of
        C(unusedN) goes with both said of that slot.
    type: dict
  networks:
    description:
      - Network cards by slot (C(net0)). A card keeps its MAC address unless C(mac) says otherwise.
      - Properties are C(model), C(bridge), C(vlan), C(firewall), C(rate) (MB/s), C(mac), C(mtu), C(queues),
        C(link_down), C(trunks); C(state=absent) removes it.
    type: dict
  cloud_init:
    description: What cloud-init gets. It reaches the guest at its next start.
    type: dict
    suboptions:
      storage:
        description: Storage of the drive. A drive is made if there is none.
        type: str
      drive:
        description: Slot of the drive.
        type: str
        default: ide2
      type:
        description: Format.
        type: str
        choices: [nocloud, configdrive2, opennebula]
      user:
        description: Name of the user.
        type: str
      password:
        description:
          - The user's password. The API never tells it, so it is set only where there is none; see O(update_password).
        type: str
      ssh_keys:
        description: All public keys of the user.
        type: list
        elements: str
      ipconfig:
        description: One entry per network card, in their order.
        type: list
        elements: dict
        suboptions:
          ip:
            description: IPv4 address with prefix length, or V(dhcp).
            type: str
          gateway:
            description: IPv4 gateway.
            type: str
          ip6:
            description: IPv6 address with prefix length, V(dhcp) or V(auto).
            type: str
          gateway6:
            description: IPv6 gateway.
            type: str
      nameservers:
        description: Name servers.
        type: list
        elements: str
      searchdomain:
        description: Search domain.
        type: str
      upgrade:
        description: Whether packages are upgraded at the first start.
        type: bool
      vendor_snippet:
        description: Volume with vendor data, such as V(local:snippets/web-vendor.yml); merged with Proxmox VE's own.
        type: str
      user_snippet:
        description: Volume with user data. Replaces what Proxmox VE makes.
        type: str
      network_snippet:
        description: Volume with network data. Replaces what Proxmox VE makes.
        type: str
      meta_snippet:
        description: Volume with meta data. Replaces what Proxmox VE makes.
        type: str
  update_password:
    description:
      - V(on_create) sets O(cloud_init.password) of a VM that has none, V(always) in every run, which is then always a
        change.
    type: str
    choices: [on_create, always]
    default: on_create
  pci:
    description:
      - PCI devices by slot (C(hostpci0)). Properties are C(mapping) (see M(homelab.mediaserver.proxmox_pci_mapping)) or
        C(address) (root@pam with a password only), C(pcie), C(rombar), C(romfile), C(primary_gpu), C(legacy_igd),
        C(mdev); C(state=absent) removes it.
    type: dict
  virtiofs:
    description:
      - Shared folders by slot (C(virtiofs0)). Properties are C(mapping) (see
        M(homelab.mediaserver.proxmox_dir_mapping); it is the tag in the guest), C(cache), C(direct_io), C(expose_acl),
        C(expose_xattr); C(state=absent) removes it.
    type: dict
  usb:
    description:
      - USB devices by slot (C(usb0)). Properties are C(mapping) or C(host), and C(usb3); C(state=absent) removes it.
    type: dict
  serial:
    description: Serial ports, such as C({serial0 - socket}); an empty value removes one.
    type: dict
  agent:
    description: Whether the guest agent is used.
    type: bool
  boot:
    description: Devices to boot from, in order; an empty list gives up the choice.
    type: list
    elements: str
  hotplug:
    description: What a running VM takes at once; an empty list is nothing.
    type: list
    elements: str
    choices: [cloudinit, cpu, disk, memory, network, usb]
  tablet:
    description: Whether there is a USB tablet as pointing device.
    type: bool
  localtime:
    description: Whether the clock shows local time, as Windows wants it.
    type: bool
  keyboard:
    description: Layout of the keyboard in VNC, such as V(fr).
    type: str
  rng:
    description: Random numbers from the node.
    type: dict
    suboptions:
      state:
        description: Whether there is one.
        type: str
        choices: [present, absent]
        default: present
      source:
        description: Where they come from. Required for a new one.
        type: str
        choices: [/dev/urandom, /dev/random, /dev/hwrng]
      max_bytes:
        description: Bytes per O(rng.period).
        type: int
      period:
        description: Milliseconds.
        type: int
  watchdog:
    description: Watchdog that acts when the guest hangs.
    type: dict
    suboptions:
      state:
        description: Whether there is one.
        type: str
        choices: [present, absent]
        default: present
      model:
        description: Hardware to be. Required for a new one.
        type: str
        choices: [i6300esb, ib700]
      action:
        description: What it does.
        type: str
        choices: [reset, shutdown, poweroff, pause, debug, none]
  args:
    description: Further arguments of QEMU (root@pam with a password only); an empty text removes them.
    type: str
"""

EXAMPLES = r"""
- name: A VM from a cloud image, with a shared folder
  homelab.mediaserver.proxmox_vm:
    node: pve
    vmid: 101
    name: intranet
    state: started
    cores: 3
    memory: 10G
    scsihw: virtio-scsi-single
    disks:
      scsi0: {storage: local-lvm, import_from: "local:import/debian-13.qcow2", size: 40G, discard: true, ssd: true}
      scsi1: {storage: local-lvm, size: 20G, serial: database}
    networks:
      net0: {bridge: vmbr0, firewall: true}
    cloud_init:
      storage: local-lvm
      user: ops
      ssh_keys: ["ssh-ed25519 AAAA ops@example.org"]
      ipconfig: [{ip: 192.168.1.101/24, gateway: 192.168.1.1}]
    virtiofs:
      virtiofs0: {mapping: media}
    agent: true
  module_defaults:
    group/homelab.mediaserver.proxmox:
      api_host: 192.168.1.100
      api_user: automation@pve
      api_token_id: mediaserver
      api_token_secret: "{{ proxmox_token }}"

- name: More memory, at once
  homelab.mediaserver.proxmox_vm:
    node: pve
    vmid: 101
    memory: 12G
    restart: if_needed
"""

RETURN = r"""
steps:
  description: What was done, or would be done.
  returned: always
  type: list
  elements: str
  sample: ["set memory of VM 101"]
exists:
  description: Whether the VM exists now. False in a dry run that would create it.
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
  description: The configuration as the API gives it, what is pending merged in, without passwords.
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
from ansible_collections.homelab.mediaserver.plugins.module_utils._pve_vm_desired import desired_from

CLOUD_INIT: dict[str, Any] = {
    "drive": {"type": "str", "default": "ide2"},
    "type": spec.chosen("nocloud", "configdrive2", "opennebula"),
    "password": spec.SECRET,
    "ssh_keys": spec.KEYS,
    "ipconfig": {
        "type": "list",
        "elements": "dict",
        "options": dict.fromkeys(("ip", "gateway", "ip6", "gateway6"), spec.TEXT),
    },
    "nameservers": spec.TEXTS,
    "upgrade": spec.FLAG,
    **dict.fromkeys(("storage", "user", "searchdomain"), spec.TEXT),
    **dict.fromkeys(("vendor_snippet", "user_snippet", "network_snippet", "meta_snippet"), spec.TEXT),
}
EFIDISK: dict[str, Any] = {
    "storage": {"type": "str", "required": True},
    "type": spec.chosen("2m", "4m", default="4m"),
    "pre_enrolled_keys": {"type": "bool", "default": False},
}
TPM: dict[str, Any] = {
    "storage": {"type": "str", "required": True},
    "version": spec.chosen("v1.2", "v2.0", default="v2.0"),
}
RNG: dict[str, Any] = {
    "state": spec.chosen("present", "absent", default="present"),
    "source": spec.chosen("/dev/urandom", "/dev/random", "/dev/hwrng"),
    "max_bytes": spec.NUMBER,
    "period": spec.NUMBER,
}
WATCHDOG: dict[str, Any] = {
    "state": spec.chosen("present", "absent", default="present"),
    "model": spec.chosen("i6300esb", "ib700"),
    "action": spec.chosen("reset", "shutdown", "poweroff", "pause", "debug", "none"),
}
ARGUMENTS: dict[str, Any] = {
    **spec.GUEST,
    "shutdown_timeout": {"type": "int", "default": 180},
    "update_password": {**spec.chosen("on_create", "always", default="on_create"), "no_log": False},
    "efidisk": {"type": "dict", "options": EFIDISK},
    "tpm": {"type": "dict", "options": TPM},
    "cloud_init": {"type": "dict", "options": CLOUD_INIT},
    "boot": spec.TEXTS,
    "bios": spec.chosen("seabios", "ovmf"),
    "hotplug": {"type": "list", "elements": "str", "choices": ["cloudinit", "cpu", "disk", "memory", "network", "usb"]},
    "rng": {"type": "dict", "options": RNG},
    "watchdog": {"type": "dict", "options": WATCHDOG},
    "sockets": spec.NUMBER,
    **dict.fromkeys(("numa", "agent", "tablet", "localtime"), spec.FLAG),
    **dict.fromkeys(("disks", "pci", "virtiofs", "usb", "serial"), spec.SLOTS),
    **dict.fromkeys(("name", "balloon", "cpu", "machine", "ostype", "scsihw", "vga", "keyboard", "args"), spec.TEXT),
}


def main() -> None:
    module = AnsibleModule(ARGUMENTS, supports_check_mode=True)
    _reconcile.main(module, lambda module: work(module, desired_from(module.params)))


if __name__ == "__main__":
    main()
