# SPDX-License-Identifier: MIT
from __future__ import annotations

import pytest
from ansible_collections.homelab.mediaserver.plugins.modules import proxmox_replication
from ansible_collections.homelab.mediaserver.tests.unit.fake_pve import harness


@pytest.fixture
def lab(lab):
    lab.world.data["other_nodes"] = ["pve2", "pve3"]
    lab.world.data["vms"]["101"] = {"conf": {}, "pending": {}, "delete": [], "started": 0}
    return lab


JOB = {"guest": 101, "target": "pve2", "schedule": "*/30", "rate": 50, "comment": "second copy"}


def jobs(lab):
    return lab.world.data["replication"]


def test_check_create_again_changed_absent_again(lab):
    done = lab.order(proxmox_replication, **JOB)
    assert done["id"] == "101-0"
    assert done["steps"] == ["create replication job 101-0 to pve2"]
    done = lab.order(proxmox_replication, guest=101, rate=0, comment="", schedule="22:00", disable=True)
    assert done["steps"] == ["update replication job 101-0: comment, disable, rate, schedule"]
    assert jobs(lab)["101-0"] == {"source": "pve", "target": "pve2", "schedule": "22:00", "disable": 1}
    lab.order(proxmox_replication, guest=101, disable=False)
    lab.order(proxmox_replication, guest=101, state="absent")
    assert jobs(lab)["101-0"]["remove_job"] == "full", "its node does the rest"
    result = lab.run(proxmox_replication, **JOB)
    assert result["msg"] == "Unable to keep replication job 101-0: its node has yet to remove it; run again then"
    lab.order(proxmox_replication, guest=101, state="absent", force=True)
    assert jobs(lab) == {}
    assert not lab.run(proxmox_replication, guest=101, state="absent", force=True)["changed"]


def test_the_copy_is_kept_if_wanted(lab):
    lab.run(proxmox_replication, **JOB)
    lab.order(proxmox_replication, guest=101, state="absent", keep=True)
    assert jobs(lab)["101-0"]["remove_job"] == "local"


def test_a_second_target_is_a_second_job(lab):
    lab.run(proxmox_replication, **JOB)
    lab.order(proxmox_replication, **{**JOB, "target": "pve3", "number": 1})
    assert sorted(jobs(lab)) == ["101-0", "101-1"]


@pytest.mark.parametrize(("arguments", "word"), [
    ({"guest": 101}, "Unable to create replication job 101-0: it needs a target"),
    ({"guest": 101, "state": "absent", "keep": True, "force": True}, "Unable to remove with keep and force"),
])  # fmt: skip
def test_mistakes_are_told_before_anything_is_written(lab, arguments, word):
    assert word in lab.run(proxmox_replication, check=True, **arguments)["msg"]


def test_target_cannot_be_changed(lab):
    lab.run(proxmox_replication, **JOB)
    result = lab.run(proxmox_replication, check=True, guest=101, target="pve3")
    assert "it replicates to pve2, and that cannot be changed; remove it first" in result["msg"]


@pytest.mark.parametrize(("arguments", "word"), [
    ({"guest": 999}, "Guest '999' does not exist."),
    ({"target": "pve9"}, "Target 'pve9' does not exist."),
    ({"target": "pve"}, "Source and target must not be identical"),
    ({"rate": 0.5}, "rate: value must have a minimum value of 1"),
])  # fmt: skip
def test_the_api_s_word(lab, arguments, word):
    assert word in lab.run(proxmox_replication, **{**JOB, **arguments})["msg"]


def test_rights_of_each_release(lab):
    needed = {"8.4": "Datastore.Allocate", "9.1": "VM.Replicate"}[lab.release]
    other = {"8.4": "VM.Replicate", "9.1": "Datastore.Allocate"}[lab.release]
    lab.service.tokens[harness.TOKEN]["deny"] = [other]
    assert lab.run(proxmox_replication, **JOB)["changed"]
    lab.service.tokens[harness.TOKEN]["deny"] = [needed]
    assert needed in lab.run(proxmox_replication, guest=101, rate=10)["msg"]


def test_changed_by_somebody_else_in_between(lab):
    lab.run(proxmox_replication, **JOB)

    def fault(method, _path):
        if method == "PUT":
            jobs(lab)["101-0"]["comment"] = "somebody's"

    lab.service.fault = fault
    result = lab.run(proxmox_replication, guest=101, rate=10)
    assert "detected modified configuration - file changed by other user?" in result["msg"]
