# SPDX-License-Identifier: MIT
from __future__ import annotations

import pytest
from ansible_collections.homelab.mediaserver.plugins.modules import proxmox_preflight

NEEDS = {
    "node": "pve",
    "images": [{"storage": "local"}],
    "snippet_storage": "local",
    "guests": [{"vmid": 101, "disks": {"scsi0": {"storage": "local-lvm"}}, "cloud_init": {"storage": "local-lvm"}}],
    "devices": ["0000:00:02.0"],
}


def test_all_is_there(lab):
    result = lab.run(proxmox_preflight, check=True, **NEEDS)
    assert result["problems"] == []
    assert result["changed"] is False
    assert result["version"].startswith(lab.release)


def test_everything_missing_is_told_at_once(lab):
    lab.world.data["storages"]["local"]["content"] = "iso"
    del lab.world.data["storages"]["local-lvm"]
    lab.world.data["pci"][0] = {**lab.world.data["pci"][0], "iommugroup": -1}
    devices = [*NEEDS["devices"], "0000:01:00.0"]
    result = lab.run(proxmox_preflight, **{**NEEDS, "devices": devices, "minimum_version": "10.0"})
    text = result["msg"]
    assert "is older than 10.0" in text
    assert "run `pvesm set local --content import,iso,snippets`" in text
    assert "has no storage local-lvm (it has local)" in text
    assert "PCI device 0000:00:02.0 of node pve has no IOMMU group: switch on VT-d" in text
    assert "has no PCI device 0000:01:00.0" in text
    assert len(result["failure"]["problems"]) == 5
    mild = lab.run(proxmox_preflight, **{**NEEDS, "devices": devices, "fatal": False})
    assert not mild.get("failed")
    assert len(mild["problems"]) == 4


def test_a_shared_group_is_told_but_not_the_functions_of_the_card(lab):
    row = lab.world.data["pci"][0]
    sound = {**row, "id": "0000:00:02.1", "class": "0x040300"}
    disk = {**row, "id": "0000:00:17.0", "class": "0x010601", "device_name": "SATA Controller"}
    lab.world.data["pci"] = [row, sound]
    assert lab.run(proxmox_preflight, **NEEDS)["problems"] == []
    lab.world.data["pci"] = [row, sound, disk]
    text = lab.run(proxmox_preflight, **NEEDS)["msg"]
    assert f"shares IOMMU group {row['iommugroup']} with 0000:00:17.0 SATA Controller" in text
    assert "0000:00:02.1" not in text


@pytest.mark.parametrize(
    ("guest", "words"),
    [
        ({"machine": "q35", "pci": {"hostpci0": {"mapping": "igpu", "pcie": True}}}, ""),
        ({"machine": "pc", "vga": "none", "pci": {"hostpci0": {"mapping": "igpu", "legacy_igd": True}}}, ""),
        (
            {"machine": "q35", "vga": "none", "pci": {"hostpci0": {"legacy_igd": True}}},
            "legacy IGD: it needs machine pc",
        ),
        ({"vga": "std", "pci": {"hostpci0": {"legacy_igd": True}}}, "and vga none"),
        ({"pci": {"hostpci0": {"mapping": "igpu", "pcie": True}}}, "it needs machine q35"),
        ({"machine": "pc-q35-9.0", "pci": {"hostpci0": {"pcie": True}, "hostpci1": None}}, ""),
    ],
)
def test_a_machine_that_cannot_take_its_device(guest, words):
    found = proxmox_preflight.guest_problems([{"name": "vm", **guest}])
    assert (words in found[0]) if words else found == []


def test_wrong_token(lab):
    result = lab.run(proxmox_preflight, **NEEDS, api_token_secret="wrong")
    assert result["msg"] == "Unable to read the version: invalid token value!"
