# SPDX-License-Identifier: MIT
"""What the lab's driver makes of a Proxmox VE configuration."""

from __future__ import annotations

from typing import Any

import pytest
from fake_pve.driver import DriverError
from mediaserver_lab import driver, layout

SETTINGS = {
    "image": "mediaserver-lab/machine:1",
    "mounts": {"/tank-hdd": "/state/pve/tank-hdd", "/var/lib/vz": "/state/pve/vz"},
    "network": "mediaserver-lab-lan",
    "subnet": "10.77.1.0/24",
    "apt_proxy": "http://10.77.1.5:3142",
}
CONFIG: dict[str, Any] = {
    "name": "intranet",
    "memory": "2048",
    "net0": "virtio=BC:24:11:00:00:01,bridge=vmbr0,firewall=1",
    "ipconfig0": "ip=10.77.1.101/24,gw=10.77.1.1,ip6=fd77:77:1::101/64,gw6=fd77:77:1::1",
    "nameserver": "10.77.1.1 fd77:77:1::1",
    "ciuser": "ops",
    "sshkeys": "ssh-ed25519%20AAAA%2Bx%20me%40home%0Assh-ed25519%20BBBB%0A",
    "boot": "order=scsi0",
    "scsi0": "local-lvm:vm-101-disk-0,size=40G",
    "scsi1": "local-lvm:vm-101-disk-1,size=20G,serial=database",
    "ide2": "local-lvm:vm-101-cloudinit,media=cdrom",
}
VENDOR = """#cloud-config
ssh_deletekeys: true
ssh_keys:
  ed25519_private: |
    -----BEGIN OPENSSH PRIVATE KEY-----
  ed25519_public: ssh-ed25519 CCCC
"""


def made(config: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    virtiofs = more.pop("virtiofs", {})
    vendor = more.pop("vendor", None)
    return driver.ContainerDriver(SETTINGS).describe(101, (config or CONFIG) | more, virtiofs, vendor)


def test_network_is_that_of_cloud_init() -> None:
    told = made()
    assert told["interfaces"] == [
        {
            "subnet": "10.77.1.0/24",
            "mac": "BC:24:11:00:00:01",
            "addresses": ["10.77.1.101/24", "fd77:77:1::101/64"],
        }
    ]
    assert told["routes"] == [{"to": "default", "via": "10.77.1.1"}, {"to": "default", "via": "fd77:77:1::1"}]
    assert told["nameservers"] == ["10.77.1.1", "fd77:77:1::1"]
    assert told["hostname"] == "intranet"


def test_user_and_keys_are_decoded() -> None:
    assert made()["instance"]["user"] == "ops"
    assert made()["instance"]["ssh_keys"] == ["ssh-ed25519 AAAA+x me@home", "ssh-ed25519 BBBB"]


def test_host_keys_come_from_the_vendor_data() -> None:
    assert made(vendor=VENDOR)["instance"]["host_keys"] == {
        "ed25519": {"private": "-----BEGIN OPENSSH PRIVATE KEY-----\n", "public": "ssh-ed25519 CCCC"}
    }
    assert made()["instance"]["host_keys"] == {}


def test_vendor_data_that_nobody_applies_is_an_error() -> None:
    with pytest.raises(DriverError, match="does not know packages, runcmd of the vendor data"):
        made(vendor="packages: [x]\nruncmd: [y]\n")


def test_disks_have_the_names_of_virtual_disks() -> None:
    found = driver.disks(
        101, CONFIG | {"scsi3": "local:101/vm-101-disk-2.raw,size=512M", "virtio0": "a:b,size=1G,serial=x"}
    )
    assert [(disk["device"], disk["id"]) for disk in found] == [
        ("/dev/sdb", "scsi-0QEMU_QEMU_HARDDISK_database"),
        ("/dev/sdd", "scsi-0QEMU_QEMU_HARDDISK_drive-scsi3"),
        ("/dev/vda", "virtio-x"),
    ]
    assert [disk["bytes"] for disk in found] == [20 << 30, 512 << 20, 1 << 30]
    assert found[1]["file"] == "/.lab/disks/mediaserver-lab_local_101_vm-101-disk-2.raw"
    assert len({disk["loop"] for disk in found}) == 3


def test_disks_stay_where_they_are_when_another_goes() -> None:
    more = CONFIG | {"scsi2": "local-lvm:vm-101-disk-2,size=1G"}
    both = {disk["id"]: disk for disk in driver.disks(101, more)}
    alone = driver.disks(101, {key: value for key, value in more.items() if key != "scsi1"})
    assert alone == [both["scsi-0QEMU_QEMU_HARDDISK_drive-scsi2"]]


def test_the_boot_disk_is_the_containers_own() -> None:
    config = {"boot": "order=scsi1;ide2", "scsi0": "a:b,size=1G", "scsi1": "a:c,size=1G"}
    assert driver.boot_disk(config) == "scsi1"
    assert [disk["device"] for disk in driver.disks(1, config)] == ["/dev/sda"]
    assert driver.boot_disk({}) == "scsi0"


def test_volumes_kept_include_unused_ones() -> None:
    assert driver.volumes_of(CONFIG | {"unused0": "local-lvm:vm-101-disk-9"}) == [
        "mediaserver-lab_local-lvm_vm-101-disk-0",
        "mediaserver-lab_local-lvm_vm-101-disk-1",
        "mediaserver-lab_local-lvm_vm-101-disk-9",
    ]


def test_loop_devices_of_machines_do_not_meet() -> None:
    numbers = [number for vmid in (100, 101, 102, 950) for number in driver.loop_numbers(vmid)]
    assert len(numbers) == len(set(numbers))
    assert min(numbers) >= layout.FIRST_LOOP


def test_folders_of_the_node_are_seen_inside() -> None:
    assert made(virtiofs={"media": "/tank-hdd/media"})["virtiofs"] == {"media": "/.lab/node/tank-hdd/media"}
    with pytest.raises(DriverError, match="/tank-hddx/media is on none of the lab node's disks"):
        made(virtiofs={"media": "/tank-hddx/media"})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ipconfig0": "ip=dhcp"}, "no DHCP: ipconfig0 needs a static ip"),
        ({"ipconfig0": "ip=10.0.0.2/24,ip6=auto"}, "no DHCP: ipconfig0 needs a static ip6"),
        ({"ipconfig0": ""}, "static IPv4 address"),
        ({"net1": "virtio,bridge=vmbr1"}, "net1 is not supported"),
        ({"scsi1": "a:b,size=5X"}, "does not understand the disk size '5X'"),
    ],
)
def test_what_the_lab_cannot_boot_is_said(change: dict[str, Any], message: str) -> None:
    with pytest.raises(DriverError, match=message):
        made(**change)


def test_a_machine_without_network_card_is_refused() -> None:
    with pytest.raises(DriverError, match="network card net0"):
        made({key: value for key, value in CONFIG.items() if key != "net0"})


def test_gpu_only_with_a_passed_through_device() -> None:
    assert made()["gpu"] is False
    assert made(hostpci0="mapping=igpu,pcie=1")["gpu"] is True


def test_container_has_its_own_volumes_and_the_nodes_pools_only() -> None:
    found = driver.ContainerDriver(SETTINGS).container(101, CONFIG)
    assert found.memory == 2048
    assert found.binds == {"/state/pve/tank-hdd": "/.lab/node/tank-hdd"}
    assert set(found.volumes) == {f"mediaserver-lab-vm-101-{kind}" for kind in ("disks", "docker", "containerd")}


def test_no_card_address_leaves_dockers() -> None:
    assert driver.network(CONFIG | {"net0": "virtio,bridge=vmbr0"}, "10.77.1.0/24")["interfaces"][0]["mac"] is None
