# SPDX-License-Identifier: MIT
"""Tables for the pure parts of proxmox_vm and proxmox_lxc."""

from __future__ import annotations

import pytest
from ansible_collections.homelab.mediaserver.plugins.module_utils import _pve_format as fmt
from ansible_collections.homelab.mediaserver.plugins.module_utils import _pve_lxc_desired
from ansible_collections.homelab.mediaserver.plugins.module_utils._pve_guest_course import plan
from ansible_collections.homelab.mediaserver.plugins.module_utils._pve_guest_plan import (
    current_from,
    differences,
)
from ansible_collections.homelab.mediaserver.plugins.module_utils._pve_vm_desired import KIND, desired_from, is_live
from ansible_collections.homelab.mediaserver.plugins.module_utils._reconcile import Failure

DISK = "local-lvm:vm-101-disk-0,discard=on,iothread=1,size=40G,ssd=1"


@pytest.mark.parametrize(
    ("text", "bare", "count"),
    [("4Gi", 1, 2**32), ("0.5T", 1, 2**39), ("512 MiB", 1, 2**29), ("1g", 1, 2**30), (10240, 2**20, 10 * 2**30),
     ("528K", 1, 528 * 1024), ("40G", 1, 40 * 2**30), ("20", 2**30, 20 * 2**30)],
)  # fmt: skip
def test_size(text, bare, count):
    assert fmt.size(text, bare=bare) == count


@pytest.mark.parametrize("text", ["", "lots", "-1G", "1P", "1 2G", None])
def test_size_refuses(text):
    with pytest.raises(Failure, match="Unable to understand the size"):
        fmt.size(text)


@pytest.mark.parametrize("count", [1, 1024, 528 * 1024, 2**30, 40 * 2**30, 3 * 2**40, 2**30 + 1])
def test_shown_size_reads_back(count):
    assert fmt.size(fmt.show_size(count)) == count


@pytest.mark.parametrize(
    ("key", "one", "other"),
    [
        ("scsi0", DISK, "local-lvm:vm-101-disk-0,ssd=on,size=40G,iothread=true,discard=on,backup=1"),
        ("net0", "virtio=bc:24:11:00:00:01,bridge=vmbr0", "virtio=BC:24:11:00:00:01,bridge=vmbr0,firewall=0"),
        ("net0", "virtio=BC:24:11:00:00:01,bridge=vmbr0", "model=virtio,macaddr=BC:24:11:00:00:01,bridge=vmbr0"),
        ("hostpci0", "mapping=igpu,pcie=1,rombar=1", "mapping=igpu,pcie=yes"),
        ("hostpci0", "0000:00:02.0,pcie=1", "host=0000:00:02.0,pcie=1"),
        ("virtiofs0", "media", "dirid=media,cache=auto,expose-acl=0"),
        ("agent", "1", "enabled=1"),
        ("startup", "2,up=10", "order=2,up=10"),
        ("memory", "2048", "current=2048"),
        ("cpu", "host", "cputype=host"),
    ],
)
def test_one_canonical_form(key, one, other):
    assert KIND.canonical(key, KIND.split(key, one)) == KIND.canonical(key, KIND.split(key, other))
    once = KIND.canonical(key, KIND.split(key, one))
    assert KIND.canonical(key, KIND.split(key, KIND.join(key, once))) == once, "idempotent"


CONFIG = {"name": "web", "scsi0": DISK, "net0": "virtio=BC:24:11:00:00:01,bridge=vmbr0,firewall=1", "cores": "2",
          "memory": "2048", "tags": "b;a", "ide2": "local-lvm:vm-101-cloudinit,media=cdrom",
          "ipconfig0": "gw=10.0.0.1,ip=10.0.0.5/24", "nameserver": "1.1.1.1 9.9.9.9"}  # fmt: skip


@pytest.mark.parametrize(
    ("params", "values", "delete"),
    [
        ({"cores": 2, "memory": "2G", "tags": ["a", "b"]}, {}, []),
        ({"memory": 2048}, {}, []),
        ({"memory": "4G"}, {"memory": "4096"}, []),
        ({"networks": {"net0": {"bridge": "vmbr0"}}}, {}, []),
        ({"networks": {"net0": {"vlan": 7}}},
         {"net0": "virtio=BC:24:11:00:00:01,bridge=vmbr0,firewall=1,tag=7"}, []),
        ({"networks": {"net0": {"mac": "BC:24:11:00:00:02"}}},
         {"net0": "virtio=BC:24:11:00:00:02,bridge=vmbr0,firewall=1"}, []),
        ({"networks": {"net1": {"bridge": "vmbr0"}}}, {"net1": "virtio,bridge=vmbr0"}, []),
        ({"networks": {"net0": None}}, {}, ["net0"]),
        ({"disks": {"scsi0": {"discard": True, "ssd": True, "size": "40G"}}}, {}, []),
        ({"disks": {"scsi0": {"discard": False}}},
         {"scsi0": "local-lvm:vm-101-disk-0,discard=ignore,iothread=1,ssd=1"}, []),
        ({"disks": {"scsi1": {"storage": "local-lvm", "size": "512M"}}}, {"scsi1": "local-lvm:0.5"}, []),
        ({"disks": {"scsi1": {"storage": "s", "import_from": "local:import/x.qcow2", "size": "5G"}}},
         {"scsi1": "s:0,import-from=local:import/x.qcow2"}, []),
        ({"efidisk": {"storage": "s"}}, {"efidisk0": "s:1,efitype=4m,pre-enrolled-keys=0"}, []),
        ({"cloud_init": {"storage": "other", "ipconfig": [{"ip": "10.0.0.5/24", "gateway": "10.0.0.1"}]}}, {}, []),
        ({"cloud_init": {"ipconfig": [{"ip": "dhcp"}]}}, {"ipconfig0": "ip=dhcp"}, []),
        ({"cloud_init": {"nameservers": ["1.1.1.1", "9.9.9.9"]}}, {}, []),
        ({"cloud_init": {"vendor_snippet": "local:snippets/v.yml"}}, {"cicustom": "vendor=local:snippets/v.yml"}, []),
        ({"tags": []}, {}, ["tags"]),
        ({"boot": ["scsi0"]}, {"boot": "order=scsi0"}, []),
        ({"description": ""}, {}, []),
        ({"machine": "pc", "vga": "std", "scsihw": "lsi", "agent": False}, {}, []),
        ({"machine": "q35", "vga": "none", "agent": True},
         {"agent": "1", "machine": "q35", "vga": "none"}, []),
    ],
)  # fmt: skip
def test_differences(params, values, delete):
    changes = differences(101, desired_from(params), CONFIG)
    assert changes.values == values
    assert changes.delete == delete


def test_growth_is_separate_from_the_options():
    changes = differences(101, desired_from({"disks": {"scsi0": {"size": "50G", "cache": "writeback"}}}), CONFIG)
    assert changes.resize == {"scsi0": 50 * 2**30}
    assert "size=" not in changes.values["scsi0"]


@pytest.mark.parametrize(
    ("key", "old", "new", "live"),
    [
        ("name", "a", "b", True), ("tags", "a", None, True), ("net3", None, "virtio", True),
        ("memory", "1", "2", False),
        ("scsi1", None, "s:1", True), ("scsi1", "s:x,size=1G", None, True), ("sata0", None, "s:1", False),
        ("scsi1", "s:x,size=1G", "s:x,cache=writeback", False), ("scsi1", "s:x,size=1G", "s:x,backup=0", True),
        ("hostpci0", None, "mapping=igpu", False), ("virtiofs0", None, "media", False), ("ciuser", "a", "b", True),
        ("efidisk0", None, "s:1", False), ("agent", "0", "1", False), ("boot", "order=a", "order=b", False),
        ("balloon", "0", "512", False), ("balloon", "256", "512", True), ("tablet", "1", "0", True),
        ("hotplug", "disk", "disk,usb", True), ("hotplug", "disk", "disk,memory", False),
        ("usb0", None, "mapping=x", True), ("sata0", "s:x", "s:x,backup=0", True), ("virtiofs0", "a", None, False),
        ("ide0", "local:iso/a.iso,media=cdrom", "none,media=cdrom", True), ("cpulimit", "1", "2", True),
    ],
)  # fmt: skip
def test_what_a_running_vm_takes_at_once(key, old, new, live):
    assert is_live(key, old, new, {"ostype": "l26"}) is live


@pytest.mark.parametrize(
    ("key", "old", "new", "effective", "live"),
    [
        ("net0", "virtio,bridge=a", "virtio,bridge=b", {"hotplug": "0"}, True),
        ("net0", "virtio,bridge=a", "e1000,bridge=a", {"hotplug": "0"}, False),
        ("net1", None, "virtio", {"hotplug": "disk,usb"}, False),
        ("scsi1", None, "s:1", {"hotplug": "network"}, False),
        ("memory", "1", "2", {"hotplug": "memory,disk"}, True),
        ("usb0", None, "mapping=x", {}, False),
    ],
)
def test_what_a_running_vm_is_set_to_take(key, old, new, effective, live):
    assert is_live(key, old, new, effective) is live


def test_pending_is_merged_and_remembered():
    current = current_from(
        [{"key": "memory", "value": "512", "pending": "1024"}, {"key": "vga", "value": "std", "delete": 1},
         {"key": "net1", "pending": "virtio"}, {"key": "digest", "value": "d1"}],
        {"status": "running"},
    )  # fmt: skip
    assert current.config == {"memory": "1024", "net1": "virtio"}
    assert current.effective == {"memory": "512", "vga": "std"}
    assert current.waiting == {"memory", "vga", "net1"}
    assert (current.running, current.digest) == (True, "d1")


def course(status, **params):
    given = {"vmid": 101, "state": "present", **params}
    pending = [{"key": key, "value": value} for key, value in CONFIG.items()]
    current = current_from(pending, {"status": status}) if status else None
    return plan(given, desired_from(given), current)


@pytest.mark.parametrize(
    ("status", "params", "kinds"),
    [
        ("running", {}, []),
        ("running", {"state": "started"}, []),
        ("running", {"state": "stopped", "memory": "4G"}, ["shutdown", "config"]),
        ("running", {"state": "stopped", "force": True}, ["stop"]),
        ("running", {"memory": "4G"}, ["config"]),
        ("running", {"memory": "4G", "restart": "if_needed"}, ["config", "restart"]),
        ("running", {"description": "x", "restart": "if_needed"}, ["config"]),
        ("stopped", {"state": "started", "memory": "4G", "restart": "if_needed"}, ["config", "start"]),
        ("stopped", {"state": "absent"}, ["destroy"]),
        ("running", {"state": "absent"}, ["shutdown", "destroy"]),
        (None, {"state": "absent"}, []),
        (None, {"name": "x"}, ["create"]),
        (None, {"name": "x", "template": True}, ["create", "template"]),
        (None, {"name": "x", "state": "started", "disks": {"scsi0": {"storage": "s", "import_from": "l:i", "size": 9}}},
         ["create", "resize", "start"]),
    ],
)  # fmt: skip
def test_course(status, params, kinds):
    found = course(status, **params)
    assert [action.kind for action in found.actions] == kinds
    if not kinds:
        assert found.before == found.after


# containers


CT = {"hostname": "dns", "memory": "512", "rootfs": "local-lvm:vm-120-disk-0,size=8G", "unprivileged": "1",
      "net0": "name=eth0,bridge=vmbr0,hwaddr=BC:24:11:00:00:01,ip=dhcp,type=veth", "features": "nesting=1",
      "mp0": "/tank/media,mp=/media,ro=1", "mp1": "local-lvm:vm-120-disk-1,mp=/data,backup=1,size=4G"}  # fmt: skip


@pytest.mark.parametrize(
    ("params", "values", "delete"),
    [
        ({"hostname": "dns", "memory": "0.5G", "rootfs": {"storage": "local-lvm", "size": "8G"}}, {}, []),
        ({"networks": {"net0": {"bridge": "vmbr0", "firewall": False}}}, {}, []),
        ({"networks": {"net0": {"ip": "10.0.0.5/24", "gateway": "10.0.0.1"}}},
         {"net0": "bridge=vmbr0,gw=10.0.0.1,hwaddr=BC:24:11:00:00:01,ip=10.0.0.5/24,name=eth0,type=veth"}, []),
        ({"networks": {"net2": {"bridge": "vmbr1"}}}, {"net2": "bridge=vmbr1,name=eth2"}, []),
        ({"mounts": {"mp0": {"volume": "/tank/media", "path": "/media", "read_only": True}}}, {}, []),
        ({"mounts": {"mp0": {"read_only": False}}}, {"mp0": "/tank/media,mp=/media,ro=0"}, []),
        ({"mounts": {"mp1": {"size": "6G", "backup": False}}},
         {"mp1": "local-lvm:vm-120-disk-1,backup=0,mp=/data,size=6G"}, []),
        ({"rootfs": {"mount_options": ["noatime", "nodev"]}},
         {"rootfs": "local-lvm:vm-120-disk-0,mountoptions=noatime;nodev,size=8G"}, []),
        ({"mounts": {"mp2": {"storage": "s", "size": 1, "path": "/x"}}}, {"mp2": "s:1,mp=/x"}, []),
        ({"features": {"nesting": True, "fuse": False}}, {}, []),
        ({"features": {"fuse": True, "mount": ["nfs", "cifs"]}}, {"features": "fuse=1,mount=nfs;cifs,nesting=1"}, []),
        ({"features": {"nesting": False}}, {}, ["features"]),
        ({"devices": {"dev0": {"path": "/dev/dri/renderD128", "gid": 104}}},
         {"dev0": "/dev/dri/renderD128,gid=104"}, []),
        ({"console": True, "tty": 2, "console_mode": "tty", "onboot": False, "cpulimit": 0.0}, {}, []),
        ({"timezone": "", "nameservers": [], "description": ""}, {}, []),
        ({"mounts": {"mp1": None}, "networks": {"net0": {"state": "absent"}}}, {}, ["mp1", "net0"]),
    ],
)  # fmt: skip
def test_differences_of_a_container(params, values, delete):
    changes = differences(120, _pve_lxc_desired.desired_from(params), CT)
    assert changes.values == values
    assert changes.delete == delete


def test_volume_may_be_named_by_its_property():
    kind = _pve_lxc_desired.KIND
    assert kind.split("mp0", "volume=local:1,mp=/x") == kind.split("mp0", "local:1,mp=/x")


@pytest.mark.parametrize(
    ("key", "old", "new", "live"),
    [
        ("memory", "1", "2", True), ("cores", "1", None, True), ("hostname", "a", "b", True),
        ("net0", "a", None, True), ("net10", "name=a", None, False), ("net10", None, "name=a", True),
        ("mp0", None, "s:1", True), ("mp0", "s:1", "s:1,ro=1", False), ("mp0", "s:1", None, False),
        ("rootfs", "s:1", "s:1,ro=1", False), ("features", None, "nesting=1", False), ("dev0", None, "/dev/x", True),
        ("nameserver", None, "1.1.1.1", False), ("tty", "1", "2", False),
    ],
)  # fmt: skip
def test_what_a_running_container_takes_at_once(key, old, new, live):
    assert _pve_lxc_desired.is_live(key, old, new, {}) is live


def test_what_waits_to_go_is_known():
    current = current_from([{"key": "sata0", "value": "s:x,size=1G", "delete": 1}, {"key": "boot", "value": " "}], {})
    assert current.leaving == {"sata0": "s:x,size=1G"}
    assert current.config == {}
    assert current_from([], {"ha": {"managed": 1}}).ha
