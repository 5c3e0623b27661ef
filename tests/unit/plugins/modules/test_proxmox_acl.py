# SPDX-License-Identifier: MIT
from __future__ import annotations

import pytest
from ansible_collections.homelab.mediaserver.plugins.module_utils import _pve_acl
from ansible_collections.homelab.mediaserver.plugins.modules import proxmox_acl
from ansible_collections.homelab.mediaserver.tests.lab.fake_pve.access import state
from ansible_collections.homelab.mediaserver.tests.lab.fake_pve.errors import ApiError
from ansible_collections.homelab.mediaserver.tests.unit.fake_pve import harness


@pytest.fixture
def lab(lab):
    user = {"enable": 1, "expire": 0, "groups": [], "tokens": {"tk": {"privsep": 1}}}
    state(lab.world)["users"] |= {"bob@pve": user, "eve@pve": user}
    state(lab.world)["groups"].append("guests")
    state(lab.world)["roles"] |= {"Store": ["Datastore.Audit"], "Guest": ["VM.Audit"]}
    return lab


def acl(lab):
    return state(lab.world)["acl"]


def entry(path, role="Store", propagate=True, **subject):
    return {"path": path, "role": role, "propagate": propagate, **(subject or {"user": "bob@pve"})}


WHOLE = [
    entry("/storage/local"),
    entry("/storage/local", user="eve@pve"),
    entry("/storage/local", group="guests"),
    entry("storage//local/", token="bob@pve!tk"),
    entry("/vms/100", "Guest", propagate=False),
]


def test_check_create_again_changed_absent_again(lab):
    done = lab.order(proxmox_acl, entries=WHOLE)
    assert done["steps"] == [
        "grant Store on /storage/local to @guests, bob@pve!tk, bob@pve, eve@pve",
        "grant Guest on /vms/100, not below it, to bob@pve",
    ]
    store = [
        f"/storage/local {who} Store" for who in ("group guests", "token bob@pve!tk", "user bob@pve", "user eve@pve")
    ]
    assert done["diff"]["before"] == {"entries": []}
    assert done["diff"]["after"] == {"entries": [*store, "/vms/100 user bob@pve Guest (not below)"]}
    assert acl(lab) == {**dict.fromkeys(store, 1), "/vms/100 user bob@pve Guest": 0}
    done = lab.order(proxmox_acl, entries=[*WHOLE[:-1], entry("/vms/100", "Guest")])
    assert done["steps"] == ["grant Guest on /vms/100 to bob@pve"]
    assert acl(lab)["/vms/100 user bob@pve Guest"] == 1
    lab.order(proxmox_acl, entries=WHOLE, state="absent")
    assert acl(lab) == {}


def test_others_stay_without_purge(lab):
    acl(lab)["/ user eve@pve PVEAuditor"] = 1
    lab.order(proxmox_acl, entries=[entry("/storage")])
    assert "/ user eve@pve PVEAuditor" in acl(lab)


@pytest.mark.parametrize(
    ("purge", "gone"),
    [
        ({"below": ["/vms"]}, ["/vms user eve@pve Guest", "/vms/1000 user bob@pve Guest"]),
        ({"below": ["/vms/100"]}, []),
        ({"users": ["bob@pve"]}, ["/vms/1000 user bob@pve Guest"]),
        ({"users": ["eve@pve"], "groups": ["guests"]}, ["/ group guests Guest", "/vms user eve@pve Guest"]),
        ({"below": ["/"], "users": ["eve@pve"]}, ["/vms user eve@pve Guest"]),
        ({"below": ["/vms/"], "tokens": ["bob@pve!tk"]}, []),
        ({"tokens": ["bob@pve!tk"]}, ["/storage token bob@pve!tk Store"]),
    ],
)
def test_purge_removes_only_what_it_names(lab, purge, gone):
    wanted = entry("/vms/100", "Guest")
    others = ["/ group guests Guest", "/vms user eve@pve Guest", "/vms/1000 user bob@pve Guest",
              "/storage token bob@pve!tk Store"]  # fmt: skip
    acl(lab).update(dict.fromkeys(others, 1))
    done = lab.order(proxmox_acl, entries=[wanted], purge=purge)
    assert set(acl(lab)) == {*others, "/vms/100 user bob@pve Guest"} - set(gone)
    assert done["diff"]["before"] == {"entries": sorted(gone)}
    assert done["steps"][0] == "grant Guest on /vms/100 to bob@pve", "first the new, then the old"


def test_purge_alone_empties(lab):
    acl(lab).update({"/vms user bob@pve Guest": 1, "/ user eve@pve Guest": 1})
    lab.order(proxmox_acl, purge={"users": ["bob@pve"]})
    assert acl(lab) == {"/ user eve@pve Guest": 1}


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([{"path": "/", "role": "Store"}], "one of the following is required: user, group, token"),
        ([entry("/", user="bob@pve", group="guests")], "parameters are mutually exclusive: user|group|token"),
        ([entry("/", user="root@pam")], "Unable to change the rights of root@pam on /"),
        ([entry("/"), entry("/", propagate=False)], "/ user bob@pve Store is there with and without propagate"),
        (
            [entry("/vms/x")],
            "Unable to grant Store on /vms/x to bob@pve: Parameter verification failed. path: invalid ACL",
        ),
        ([entry("/", "None")], "ACL update failed: role 'None' does not exist"),
        ([entry("/", user="no@pve")], "ACL update failed: user 'no@pve' does not exist"),
        ([entry("/", group="no")], "ACL update failed: group 'no' does not exist"),
        ([entry("/", token="bob@pve!no")], "ACL update failed: no such token 'no' for user 'bob@pve'"),
    ],
)
def test_mistakes(lab, entries, message):
    result = lab.run(proxmox_acl, entries=entries)
    assert message in result["msg"]
    assert acl(lab) == {}


def test_purge_needs_to_know_what(lab):
    assert "one of the following is required: below, users" in lab.run(proxmox_acl, purge={})["msg"]


def test_missing_right(lab):
    lab.service.tokens[harness.TOKEN]["deny"] = ["Permissions.Modify"]
    result = lab.run(proxmox_acl, entries=[entry("/storage")])
    assert result["msg"].endswith("Permission check failed (/storage, Permissions.Modify)")
    assert result["failure"]["status"] == 403


def test_bad_answer(lab):
    lab.service.fault = lambda method, path: b'{"data": {}}'
    assert lab.run(proxmox_acl)["msg"] == "Unable to read the access control list: the answer is no list of objects"


def test_killed_between_two_writes_converges(lab):
    writes = []

    def fault(method, path):
        if method == "PUT":
            writes.append(path)
            return ApiError(500, "killed") if len(writes) == 2 else None
        return None

    lab.service.fault = fault
    result = lab.run(proxmox_acl, entries=WHOLE)
    assert len(result["failure"]["done"]) == 1
    lab.service.fault = None
    assert len(lab.run(proxmox_acl, entries=WHOLE)["steps"]) == 1
    assert not lab.run(proxmox_acl, entries=WHOLE)["changed"]


@pytest.mark.parametrize(("text", "path"), [("/", "/"), ("", "/"), ("vms//100/", "/vms/100"), ("/vms/100", "/vms/100")])
def test_paths(text, path):
    assert _pve_acl.clean_path(text) == path
