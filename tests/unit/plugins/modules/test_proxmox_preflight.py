# SPDX-License-Identifier: MIT
from __future__ import annotations

import pytest
from ansible_collections.homelab.mediaserver.plugins.modules import proxmox_preflight
from ansible_collections.homelab.mediaserver.tests.unit.fake_pve import harness


@pytest.fixture(scope="module")
def cert(tmp_path_factory):
    return harness.certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture(params=["8.4", "9.1"])
def lab(request, tmp_path, cert):
    with harness.lab(tmp_path, request.param, cert) as made:
        yield made


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


def test_wrong_token(lab):
    result = lab.run(proxmox_preflight, **NEEDS, api_token_secret="wrong")
    assert result["msg"] == "Unable to read the version: invalid token value!"
