# SPDX-License-Identifier: MIT
from __future__ import annotations

import pytest
from ansible_collections.homelab.mediaserver.plugins.modules import proxmox_vm_info
from ansible_collections.homelab.mediaserver.tests.unit.fake_pve import harness


@pytest.fixture(scope="module")
def cert(tmp_path_factory):
    return harness.certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture(params=["8.4", "9.1"])
def lab(request, tmp_path, cert):
    with harness.lab(tmp_path, request.param, cert) as made:
        yield made


def make(lab, vmid, **conf):
    with lab.world.changing():
        lab.world.data["vms"][str(vmid)] = {"conf": conf, "pending": {}, "delete": [], "started": 0}


def test_lists_in_order_with_a_summary(lab):
    make(lab, 101, name="intranet", cores="3", memory="10240", tags="b;a")
    make(lab, 100, name="extranet", memory="512", template="1")
    vms = lab.run(proxmox_vm_info, node="pve")["vms"]
    assert [vm["summary"] for vm in vms] == [
        "100 extranet: template, 1 core, 512M",
        "101 intranet: stopped, 3 cores, 10G",
    ]
    assert vms[1]["tags"] == ["a", "b"]


def test_one_vm_with_configuration_and_pending(lab):
    make(lab, 101, name="intranet", memory="512", cipassword="secret-value")
    lab.world.data["vms"]["101"]["pending"] = {"memory": "1024"}
    result = lab.run(proxmox_vm_info, check=True, node="pve", vmid=101, config=True)
    assert result["changed"] is False
    assert result["vms"][0]["config"] == {"name": "intranet", "memory": "1024"}
    assert result["vms"][0]["pending"] == ["memory"]
    assert lab.run(proxmox_vm_info, node="pve", vmid=999)["vms"] == []


def test_unknown_node(lab):
    result = lab.run(proxmox_vm_info, node="zzz")
    assert result["msg"].startswith("Unable to list the VMs of zzz: hostname lookup 'zzz' failed")
