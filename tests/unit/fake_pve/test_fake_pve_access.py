# SPDX-License-Identifier: MIT
"""The fake answers about access and storages as the source of pve-access-control, pve-manager and pve-storage says.

Read there, not recorded: what the logs of the real API code hold is in test_fake_pve_facts.
"""

from __future__ import annotations

import pytest
from ansible_collections.homelab.mediaserver.tests.lab.fake_pve.schema import NOT_DEFINED
from ansible_collections.homelab.mediaserver.tests.unit.fake_pve import harness
from proxmoxer import ProxmoxAPI
from proxmoxer.core import ResourceException


@pytest.fixture
def root(lab):
    return ProxmoxAPI("127.0.0.1", port=lab.port, user="root@pam", password=harness.ROOT_PASSWORD,
                      verify_ssl=str(lab.cert[0]))  # fmt: skip


ERRORS = [
    ("get", "access/users/x@pve", {}, 500, "no such user ('x@pve')"),
    ("post", "access/users", {"userid": "bob@pve"}, 500, "create user failed: user 'bob@pve' already exists"),
    ("put", "access/users/bob@pve", {"groups": "no"}, 500, "update user failed: no such group 'no'"),
    ("post", "access/users/bob@pve/token/tk", {}, 400, "tokenid: Token already exists."),
    ("get", "access/users/bob@pve/token/no", {}, 500, "no such token 'no' for user 'bob@pve'"),
    ("put", "access/users/bob@pve/token/tk", {"regenerate": 1}, 400, f"regenerate: {NOT_DEFINED}"),
    ("post", "access/roles", {"roleid": "Mine"}, 500, "create role failed: role 'Mine' already exists"),
    ("post", "access/roles", {"roleid": "Mine2", "privs": "VM.No"}, 400, "privs: invalid format - invalid privilege "
     "'VM.No'"),
    ("put", "access/roles/Administrator", {"privs": ""}, 500, "auto-generated role 'Administrator' cannot be modified"),
    ("delete", "access/roles/PVEAuditor", {}, 500, "auto-generated role 'PVEAuditor' cannot be deleted"),
    ("delete", "access/roles/No", {}, 500, "delete role failed: role 'No' does not exist"),
    ("put", "access/acl", {"roles": "Mine", "users": "x@pve"}, 400, "path: property is missing and it is not optional"),
    ("delete", "access/groups/no", {}, 500, "delete group failed: group 'no' does not exist"),
    ("get", "storage/no", {}, 500, "storage 'no' does not exist"),
    ("post", "storage", {"storage": "local", "type": "dir", "path": "/x"}, 500, "create storage failed: storage ID "
     "'local' already defined"),
    ("put", "storage/local", {"path": "/var/lib/vz"}, 500, "update storage failed: can't change value of fixed "
     "parameter 'path'"),
    ("put", "storage/local", {"pool": "x"}, 500, "update storage failed: unexpected property 'pool'"),
    ("put", "storage/local", {"delete": "path"}, 500, "update storage failed: unable to delete required option 'path'"),
    ("post", "storage", {"storage": "p", "type": "pbs", "server": "s"}, 500, "missing value for required option "
     "'datastore'"),
]  # fmt: skip


@pytest.mark.parametrize(("method", "path", "data", "status", "text"), ERRORS, ids=[case[4][:40] for case in ERRORS])
def test_refusals(root, method, path, data, status, text):
    root("access/users").post(userid="bob@pve")
    root("access/users/bob@pve/token/tk").post()
    root("access/roles").post(roleid="Mine")
    with pytest.raises(ResourceException) as caught:
        getattr(root(path), method)(**data)
    assert caught.value.status_code == status
    if status == 400:
        key, _, problem = text.partition(": ")
        assert caught.value.errors[key].strip() == problem
    else:
        assert caught.value.content == text


def test_comment_of_a_token_is_not_emptied_but_a_space_is_lost(root):
    root("access/users").post(userid="bob@pve")
    token = root("access/users/bob@pve/token/tk")
    assert token.post(comment="x")["info"] == {"privsep": 1, "expire": 0, "comment": "x"}
    token.put(comment="")
    assert token.get() == {"privsep": 1, "expire": 0, "comment": "x"}
    token.put(comment=" ")
    assert token.get() == {"privsep": 1, "expire": 0}


def test_acl_of_root_is_never_written_and_entries_go_with_what_they_name(root):
    root("access/users").post(userid="bob@pve")
    root("access/roles").post(roleid="Mine", privs="VM.Audit")
    root("access/acl").put(path="/vms//100/", roles="Mine,PVEAuditor", users="root@pam,bob@pve", propagate=0)
    rows = root("access/acl").get()
    assert {(row["path"], row["ugid"], row["roleid"], row["propagate"]) for row in rows} == {
        ("/vms/100", "bob@pve", "Mine", 0), ("/vms/100", "bob@pve", "PVEAuditor", 0),
    }  # fmt: skip
    root("access/roles/Mine").delete()
    assert [row["roleid"] for row in root("access/acl").get()] == ["PVEAuditor"]
    root("access/users/bob@pve").delete()
    assert root("access/acl").get() == []


def test_password_of_another_needs_no_token(lab, root):
    user, _, name = harness.TOKEN.partition("!")
    token = ProxmoxAPI("127.0.0.1", port=lab.port, user=user, token_name=name, token_value=harness.SECRET,
                       verify_ssl=str(lab.cert[0]))  # fmt: skip
    root("access/users").post(userid="bob@pve")
    with pytest.raises(ResourceException) as caught:
        token("access/password").put(userid="bob@pve", password="planted-one")
    assert caught.value.status_code == 403
