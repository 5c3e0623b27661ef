# SPDX-License-Identifier: MIT
from __future__ import annotations

from ansible_collections.homelab.mediaserver.plugins.modules import proxmox_vm_info


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


def test_containers_and_addresses(lab):
    make(lab, 101, name="intranet", agent="1", net0="virtio=BC:24:11:00:00:01,bridge=vmbr0", ipconfig0="ip=10.0.0.5/24")
    make(lab, 102, name="silent")
    for vmid in (101, 102):
        lab.driver.start(vmid, {}, {}, None)
    with lab.world.changing():
        lab.world.data["cts"] = {
            "120": {"conf": {"hostname": "dns", "memory": "256", "cores": "1", "lock": "backup",
                             "net0": "name=eth0,hwaddr=BC:24:11:00:00:02,ip=10.0.0.7/24,ip6=fe80::1/64"},
                    "pending": {}, "delete": [], "running": True, "started": 0},
        }  # fmt: skip
    found = lab.run(proxmox_vm_info, check=True, node="pve", addresses=True)
    assert [vm["addresses"] for vm in found["vms"]] == [["10.0.0.5"], []], "without an agent there are none"
    assert found["containers"][0]["addresses"] == ["10.0.0.7"]
    assert found["containers"][0]["summary"] == "120 dns: running (backup), 1 core, 256M"


def test_a_refused_question_for_addresses_is_a_failure(lab):
    from ansible_collections.homelab.mediaserver.tests.lab.fake_pve.errors import ApiError

    make(lab, 101, name="intranet")
    lab.driver.start(101, {}, {}, None)

    def fault(method, path):
        return ApiError(403, "Permission check failed") if "agent" in path else None

    lab.service.fault = fault
    result = lab.run(proxmox_vm_info, node="pve", addresses=True)
    assert result["msg"] == "Unable to read the addresses of VM 101: Permission check failed"


def test_unknown_node(lab):
    result = lab.run(proxmox_vm_info, node="zzz")
    assert result["msg"].startswith("Unable to list the VMs of zzz: hostname lookup 'zzz' failed")
