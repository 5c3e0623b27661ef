# SPDX-License-Identifier: MIT
from __future__ import annotations

from ansible_collections.homelab.mediaserver.plugins.module_utils import _pve_mapping
from ansible_collections.homelab.mediaserver.plugins.module_utils._pve import Pve
from ansible_collections.homelab.mediaserver.plugins.modules import proxmox_pci_mapping
from ansible_collections.homelab.mediaserver.tests.unit.fake_pve import harness

IGPU = {"id": "igpu", "node": "pve", "path": "0000:00:02.0"}
FULL = "node=pve,path=0000:00:02.0,id=8086:1912,iommugroup=0,subsystem-id=1462:7972"


def stored(lab):
    return lab.world.data["mappings"]["pci"]


def test_check_create_again_changed_absent_again(lab):
    done = lab.order(proxmox_pci_mapping, **IGPU)
    assert done["map"] == [FULL]
    assert done["problems"] == []
    lab.order(proxmox_pci_mapping, **IGPU, description="graphics")
    lab.order(proxmox_pci_mapping, **IGPU, description="")
    lab.order(proxmox_pci_mapping, id="igpu", node="pve", state="absent")
    assert stored(lab) == {}


def test_incomplete_mapping_is_completed(lab):
    stored(lab)["igpu"] = {"map": ["node=pve,path=0000:00:02.0,id=8086:1912"]}
    assert lab.order(proxmox_pci_mapping, **IGPU)["map"] == [FULL]


def test_drift_after_the_iommu_was_switched_off(lab):
    lab.run(proxmox_pci_mapping, **IGPU)
    lab.world.data["pci"][0] = {**lab.world.data["pci"][0], "iommugroup": -1}
    done = lab.order(proxmox_pci_mapping, **IGPU)
    assert "iommugroup" not in done["map"][0]


def test_another_device_at_the_address_is_refused(lab):
    lab.run(proxmox_pci_mapping, **IGPU)
    lab.world.data["pci"][0] = {**lab.world.data["pci"][0], "device": "0x10de"}
    result = lab.run(proxmox_pci_mapping, **IGPU)
    assert result["msg"].startswith("Unable to update pci mapping igpu: 0000:00:02.0 on pve is now 8086:10de")
    lab.order(proxmox_pci_mapping, **IGPU, replace_device=True)


def test_entries_of_other_nodes_stay(lab):
    other = "node=pve2,path=0000:00:02.0,id=8086:3e92"
    stored(lab)["igpu"] = {"map": [other], "description": "kept"}
    lab.order(proxmox_pci_mapping, **IGPU)
    assert stored(lab)["igpu"] == {"map": [other, FULL], "description": "kept"}
    lab.order(proxmox_pci_mapping, id="igpu", node="pve", state="absent")
    assert stored(lab)["igpu"]["map"] == [other]


def test_unknown_device_names_those_there_are(lab):
    result = lab.run(proxmox_pci_mapping, id="igpu", node="pve", path="0000:01:00.0")
    assert "node pve has no such device (it has 0000:00:02.0, 0000:00:14.0)" in result["msg"]


def test_missing_right(lab):
    lab.service.tokens[harness.TOKEN]["deny"] = ["Mapping.Modify"]
    result = lab.run(proxmox_pci_mapping, **IGPU)
    assert result["msg"] == (
        "Unable to create pci mapping igpu: Permission check failed (/mapping/pci, Mapping.Modify)"
    )
    assert result["failure"]["status"] == 403


def test_whole_device_and_several_functions(lab):
    first = {"vendor": "0x10de", "device": "0x1c82", "iommugroup": 7, "class": "0x030000"}
    second = {"vendor": "0x10de", "device": "0x0fb9", "iommugroup": 7, "class": "0x040300"}
    lab.world.data["pci"] += [{"id": "0000:01:00.0", **first}, {"id": "0000:01:00.1", **second}]
    for path in ("0000:01:00", "0000:01:00.0;0000:01:00.1"):
        done = lab.order(proxmox_pci_mapping, id="gpu", node="pve", path=path)
        assert done["map"] == [f"node=pve,path={path},id=10de:1c82,iommugroup=7"]
    result = lab.run(proxmox_pci_mapping, id="gpu", node="pve", path="0000:01:00.0;0000:01:00.2")
    assert "node pve has no such device" in result["msg"]


def test_what_the_node_finds_wrong_is_returned(lab):
    """Recorded: the check of an entry that names an IOMMU group where there is none."""
    lab.run(proxmox_pci_mapping, **IGPU)
    lab.world.data["pci"][0] = {**lab.world.data["pci"][0], "iommugroup": -1}
    pve = Pve({**lab.credentials(), "api_password": None, "validate_certs": True, "api_timeout": 5, "task_timeout": 5})
    told = _pve_mapping.read_back(pve, "pci", "igpu", "pve")
    assert told["problems"] == [
        "Invalid configuration: unexpected property 'iommugroup' configured for device '0000:00:02.0'"
    ]
