# SPDX-License-Identifier: MIT
from __future__ import annotations

import pytest
from ansible_collections.homelab.mediaserver.plugins.module_utils import _pve_access as access
from ansible_collections.homelab.mediaserver.plugins.modules import proxmox_user
from ansible_collections.homelab.mediaserver.tests.lab.fake_pve.access import state
from ansible_collections.homelab.mediaserver.tests.lab.fake_pve.errors import ApiError
from ansible_collections.homelab.mediaserver.tests.unit.fake_pve import harness


@pytest.fixture
def lab(lab):
    state(lab.world)["groups"] += ["family", "guests"]
    return lab


def users(lab):
    return state(lab.world)["users"]


ALICE = {"userid": "alice@pve", "email": "alice@example.org", "firstname": "Alice", "comment": " 50% é, a:b ",
         "groups": ["guests", "family"], "expire": 1900000000}  # fmt: skip


def test_check_create_again_changed_absent_again(lab):
    done = lab.order(proxmox_user, **ALICE)
    assert done["steps"] == ["create user alice@pve"]
    assert done["user"] == {"enable": True, "expire": 1900000000, "email": "alice@example.org", "firstname": "Alice",
                            "lastname": "", "comment": "50% é, a:b", "groups": ["family", "guests"]}  # fmt: skip
    done = lab.order(proxmox_user, userid="alice@pve", groups=["guests"], comment="", expire=0, enable=False)
    assert done["steps"] == ["set enable, expire, comment, groups of user alice@pve"]
    assert users(lab)["alice@pve"] == {"enable": 0, "expire": 0, "email": "alice@example.org", "firstname": "Alice",
                                       "groups": ["guests"], "tokens": {}}  # fmt: skip
    lab.order(proxmox_user, userid="alice@pve", groups=[])
    lab.order(proxmox_user, userid="alice@pve", state="absent")
    assert list(users(lab)) == ["root@pam"]


def test_bare_user_and_what_is_not_given_stays(lab):
    lab.order(proxmox_user, userid="automation@pve")
    users(lab)["automation@pve"] |= {"keys": "x!yubico", "tokens": {"t": {"privsep": 0}}, "lastname": "Kept"}
    lab.order(proxmox_user, userid="automation@pve", comment="Ansible")
    assert users(lab)["automation@pve"]["keys"] == "x!yubico"
    assert users(lab)["automation@pve"]["tokens"] == {"t": {"privsep": 0}}
    assert users(lab)["automation@pve"]["lastname"] == "Kept"


def test_password_on_creation_only(lab):
    done = lab.order(proxmox_user, userid="bob@pve", password="planted-one")
    assert state(lab.world)["passwords"] == {"bob@pve": "planted-one"}
    assert "planted-one" not in str({**done, "invocation": None})
    assert not lab.run(proxmox_user, userid="bob@pve", password="planted-two")["changed"]
    assert state(lab.world)["passwords"] == {"bob@pve": "planted-one"}


def test_password_always_needs_a_login_with_password(lab):
    lab.run(proxmox_user, userid="bob@pve", password="planted-one")
    always = {"userid": "bob@pve", "password": "planted-two", "update_password": "always"}
    refused = lab.run(proxmox_user, check=True, **always)
    assert refused["msg"].startswith("Unable to set the password of user bob@pve: Proxmox VE lets no API token do this")
    for check in (True, False):
        done = lab.run(proxmox_user, check=check, **always, **lab.as_root())
        assert done["steps"] == ["set the password of user bob@pve"]
    assert state(lab.world)["passwords"] == {"bob@pve": "planted-two"}
    own = {"api_user": "bob@pve", "api_password": "planted-two", "api_token_id": None, "api_token_secret": None}
    lab.run(proxmox_user, **{**always, "password": "planted-three"}, **own)
    assert state(lab.world)["passwords"] == {"bob@pve": "planted-three"}, "the caller's own password confirms it"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"userid": "bob"}, "Unable to understand the user 'bob': write it with its realm"),
        ({"userid": "bob@pve", "groups": ["no"]}, "create user bob@pve: create user failed: no such group 'no'"),
        ({"userid": "bob@pve", "email": "no mail"}, "email: invalid format - value does not look like a valid email"),
        ({"userid": "bob@pve", "password": "short"}, "password: value must be at least 8 characters long"),
        ({"userid": "root@pam", "state": "absent"}, "Unable to delete user root@pam: Proxmox VE cannot be without it"),
    ],
)  # fmt: skip
def test_mistakes(lab, arguments, message):
    result = lab.run(proxmox_user, **arguments)
    assert result["failed"]
    assert message in result["msg"]
    assert "bob@pve" not in users(lab)


def test_missing_right_is_not_taken_for_absence(lab):
    lab.service.tokens[harness.TOKEN]["deny"] = ["User.Modify", "Sys.Audit"]
    lab.run(proxmox_user, userid="bob@pve", **lab.as_root())
    result = lab.run(proxmox_user, userid="bob@pve")
    assert result["msg"] == ("Unable to read user bob@pve: Permission check failed (/access/groups, Sys.Audit)")
    assert result["failure"]["status"] == 403


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (ApiError(500, "no quorum"), "Unable to read user bob@pve: no quorum"),
        (b"<html>", "is none of Proxmox VE's API"),
        (b'{"data": [1]}', "Unable to read user bob@pve: the answer is no object"),
        (ApiError(596, "Connection timed out"), "Unable to read user bob@pve: Connection timed out"),
    ],
)
def test_bad_answers(lab, fault, message):
    lab.service.fault = lambda method, path: fault
    assert message in lab.run(proxmox_user, userid="bob@pve")["msg"]


def test_refused_login(lab):
    result = lab.run(proxmox_user, userid="bob@pve", api_token_secret="wrong")
    assert "invalid token value!" in result["msg"]


def test_killed_between_two_writes_converges(lab):
    lab.run(proxmox_user, userid="bob@pve", password="planted-one")
    arguments = {"userid": "bob@pve", "comment": "x", "password": "planted-two", "update_password": "always"}
    lab.service.fault = lambda method, path: ApiError(500, "killed") if path == "/access/password" else None
    result = lab.run(proxmox_user, **arguments, **lab.as_root())
    assert result["failure"]["done"] == ["set comment of user bob@pve"]
    lab.service.fault = None
    assert lab.run(proxmox_user, **arguments, **lab.as_root())["steps"] == ["set the password of user bob@pve"]


def test_vanished_in_between(lab):
    lab.run(proxmox_user, userid="bob@pve")

    def fault(method, path):
        if method == "PUT":
            users(lab).pop("bob@pve", None)

    lab.service.fault = fault
    result = lab.run(proxmox_user, userid="bob@pve", comment="x")
    assert result["msg"] == "Unable to set comment of user bob@pve: no such user ('bob@pve')"


@pytest.mark.parametrize(
    ("given", "kept"),
    [("a", "a"), (" a b ", "a b"), (None, ""), ("0", ""), ("50%", "50%"), ("%41", "A"), ("two\nlines", "two\nlines")],
)
def test_texts_as_they_come_back(given, kept):
    assert access.text(given) == kept
