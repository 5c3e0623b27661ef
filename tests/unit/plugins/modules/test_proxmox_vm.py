# SPDX-License-Identifier: MIT
from __future__ import annotations

import pytest
from ansible_collections.homelab.mediaserver.plugins.modules import proxmox_vm
from ansible_collections.homelab.mediaserver.tests.unit.fake_pve import harness


@pytest.fixture(scope="module")
def cert(tmp_path_factory):
    return harness.certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture(params=["8.4", "9.1"])
def lab(request, tmp_path, cert):
    with harness.lab(tmp_path, request.param, cert) as made:
        yield made


VM = {"node": "pve", "vmid": 101}


def full(lab):
    """What the plan asks for, in the shape of the reference system."""
    (lab.root / "tank-hdd/media").mkdir(parents=True, exist_ok=True)
    (lab.root / "var/lib/vz/snippets/intranet-vendor.yml").write_text("#cloud-config\n")
    with lab.world.changing():
        lab.world.data["mappings"]["dir"]["media"] = {"map": ["node=pve,path=/tank-hdd/media"]}
        lab.world.data["mappings"]["pci"]["igpu"] = {
            "map": ["node=pve,path=0000:00:02.0,id=8086:1912,iommugroup=0,subsystem-id=1462:7972"]
        }
    flags = {"discard": True, "ssd": True, "iothread": True}
    return {
        **VM, "name": "intranet", "state": "started", "cores": 3, "memory": "10G", "cpu": "host",
        "machine": "q35", "bios": "ovmf", "efidisk": {"storage": "local-lvm"}, "scsihw": "virtio-scsi-single",
        "disks": {
            "scsi0": {"storage": "local-lvm", "import_from": lab.image(), "size": "40G", **flags},
            "scsi1": {"storage": "local-lvm", "size": "20G", "serial": "database", **flags},
        },
        "networks": {"net0": {"model": "virtio", "bridge": "vmbr0", "firewall": True}},
        "cloud_init": {
            "storage": "local-lvm", "user": "ops", "ssh_keys": [harness.KEY], "nameservers": ["192.168.1.1"],
            "ipconfig": [{"ip": "192.168.1.101/24", "gateway": "192.168.1.1"}],
            "vendor_snippet": "local:snippets/intranet-vendor.yml",
        },
        "virtiofs": {"virtiofs0": {"mapping": "media", "cache": "auto"}},
        "pci": {"hostpci0": {"mapping": "igpu", "pcie": True}},
        "agent": True, "onboot": True, "startup": {"order": 2, "up": 30}, "tags": ["mediaserver", "b"],
        "description": "line one\nline two", "serial": {"serial0": "socket"}, "vga": "serial0",
    }  # fmt: skip


def test_missing_arguments(lab):
    result = lab.run(proxmox_vm, vmid=101)
    assert result["failed"]
    assert "node" in result["msg"]


def test_full_vm_check_create_again(lab):
    done = lab.order(proxmox_vm, **full(lab))
    assert done["steps"] == ["create VM 101 intranet", "grow disk scsi0 of VM 101 to 40G", "start VM 101"]
    assert done["status"] == "running"
    assert lab.driver.running() == {101}
    config = lab.config(101)
    assert config["scsi0"] == "local-lvm:vm-101-disk-1,discard=on,iothread=1,size=40G,ssd=1"
    assert config["memory"] == "10240"
    assert config["ide2"] == "local-lvm:vm-101-cloudinit,media=cdrom"


def test_no_change_needs_three_calls_at_most(lab):
    arguments = full(lab)
    lab.run(proxmox_vm, **arguments)
    lab.run(proxmox_vm, **arguments)
    assert len(lab.service.requests) <= 3, lab.service.requests
