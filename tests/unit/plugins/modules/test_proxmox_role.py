# SPDX-License-Identifier: MIT
from __future__ import annotations

import pytest
from ansible_collections.homelab.mediaserver.plugins.modules import proxmox_role
from ansible_collections.homelab.mediaserver.tests.lab.fake_pve.access import state


def roles(lab):
    return state(lab.world)["roles"]


def test_check_create_again_changed_absent_again(lab):
    done = lab.order(proxmox_role, roleid="Guests", privileges=["VM.PowerMgmt", "VM.Audit", "VM.Audit"])
    assert done["steps"] == ["create role Guests"]
    assert done["privileges"] == roles(lab)["Guests"] == ["VM.Audit", "VM.PowerMgmt"]
    done = lab.order(proxmox_role, roleid="Guests", privileges=["VM.Audit", "VM.Console"])
    assert done["steps"] == ["update role Guests"]
    assert roles(lab)["Guests"] == ["VM.Audit", "VM.Console"], "the whole set"
    assert not lab.run(proxmox_role, roleid="Guests")["changed"], "privileges not given stay"
    lab.order(proxmox_role, roleid="Guests", privileges=[])
    assert roles(lab)["Guests"] == []
    lab.order(proxmox_role, roleid="Guests", state="absent")
    assert roles(lab) == {}


def test_empty_role(lab):
    lab.order(proxmox_role, roleid="Nothing")
    assert roles(lab) == {"Nothing": []}


def test_one_declaration_for_both_releases(lab):
    both = ["VM.Monitor", "VM.GuestAgent.Audit", "VM.Audit"]
    done = lab.order(proxmox_role, roleid="Guests", privileges=both, unknown_privileges="drop")
    gone, there = (
        ("VM.GuestAgent.Audit", "VM.Monitor") if lab.release == "8.4" else ("VM.Monitor", "VM.GuestAgent.Audit")
    )
    assert done["dropped"] == [gone]
    assert roles(lab)["Guests"] == sorted(["VM.Audit", there])
    assert done["warnings"][0].startswith(f"role Guests: this release of Proxmox VE has no privilege {gone} (did you")


def test_privilege_of_another_release_is_named_with_its_kin(lab):
    for check in (True, False):
        result = lab.run(proxmox_role, check=check, roleid="G", privileges=["VM.Monitor", "VM.Replicate", "VM.Audit"])
        name, near = ("VM.Replicate", "Datastore.Allocate") if lab.release == "8.4" else ("VM.Monitor", "VM.GuestAgent")
        assert f"has no privilege {name} (did you mean {near}" in result["msg"]
        assert result["failure"]["unknown"] == [name]
    assert roles(lab) == {}


def test_misspelled_privilege(lab):
    result = lab.run(proxmox_role, roleid="Guests", privileges=["vm.audit", "Frobnicate"])
    assert result["msg"] == ("Unable to create role Guests: this release of Proxmox VE has no privilege Frobnicate; "
                             "vm.audit (did you mean VM.Audit, Sys.Audit, SDN.Audit?)")  # fmt: skip


def test_built_in_roles_cannot_be_changed(lab):
    result = lab.run(proxmox_role, roleid="PVEAuditor", privileges=["VM.Audit"])
    assert result["msg"].startswith("Unable to update role PVEAuditor: Proxmox VE brings it, it cannot be changed")
    result = lab.run(proxmox_role, check=True, roleid="PVEAuditor", state="absent")
    assert result["msg"].startswith("Unable to delete role PVEAuditor")
    assert not lab.run(proxmox_role, roleid="PVETemplateUser", privileges=["VM.Clone", "VM.Audit"])["changed"]


def test_an_answer_without_the_administrator_is_none(lab):
    lab.service.fault = lambda method, path: b'{"data": []}'
    result = lab.run(proxmox_role, roleid="Guests", privileges=[])
    assert result["msg"] == "Unable to read the roles: the answer has no role Administrator"


def test_reserved_name(lab):
    result = lab.run(proxmox_role, roleid="pveMine", privileges=[])
    assert "roleid: cannot use role ID starting with the (case-insensitive) 'PVE' namespace" in result["msg"]


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ("VM.Monitor", "VM.Monitor (did you mean VM.GuestAgent.Audit?)"),
        ("VM.Adit", "VM.Adit (did you mean VM.Audit?)"),
        ("Xyzzy", "Xyzzy"),
    ],
)
def test_near_matches(wanted, message):
    known = {"VM.Audit", "VM.GuestAgent.Audit", "Sys.Modify"}
    assert proxmox_role.unknown([wanted, "VM.Audit"], known) == {wanted: message}
