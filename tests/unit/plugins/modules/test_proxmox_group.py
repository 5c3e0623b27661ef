# SPDX-License-Identifier: MIT
from __future__ import annotations

from ansible_collections.homelab.mediaserver.plugins.modules import proxmox_group, proxmox_user
from ansible_collections.homelab.mediaserver.tests.lab.fake_pve.access import state
from ansible_collections.homelab.mediaserver.tests.unit.fake_pve import harness


def test_check_create_again_changed_absent_again(lab):
    done = lab.order(proxmox_group, groupid="family", comment="May start guests")
    assert done["steps"] == ["create group family"]
    lab.order(proxmox_user, userid="alice@pve", groups=["family"])
    state(lab.world)["acl"]["/ group family PVEVMUser"] = 1
    done = lab.order(proxmox_group, groupid="family", comment="")
    assert done["steps"] == ["set comment of group family"]
    assert done["members"] == ["alice@pve"]
    assert not lab.run(proxmox_group, groupid="family")["changed"]
    lab.order(proxmox_group, groupid="family", state="absent")
    assert state(lab.world)["groups"] == []
    assert state(lab.world)["acl"] == {}
    assert "alice@pve" in state(lab.world)["users"]


def test_bare_group(lab):
    lab.order(proxmox_group, groupid="family")


def test_invalid_name(lab):
    result = lab.run(proxmox_group, groupid="a b")
    assert "groupid: invalid format" in result["msg"]


def test_missing_right_is_not_taken_for_absence(lab):
    lab.service.tokens[harness.TOKEN]["deny"] = ["Sys.Audit", "Group.Allocate"]
    result = lab.run(proxmox_group, groupid="family", state="absent")
    assert result["msg"] == "Unable to read group family: Permission check failed (/access/groups, Group.Allocate)"
