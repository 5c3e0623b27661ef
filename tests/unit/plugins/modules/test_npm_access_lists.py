# SPDX-License-Identifier: MIT
from __future__ import annotations

import pytest
from ansible_collections.homelab.mediaserver.plugins.module_utils import _npm_lists
from ansible_collections.homelab.mediaserver.plugins.module_utils._reconcile import Failure
from ansible_collections.homelab.mediaserver.plugins.modules import npm_access_lists
from ansible_collections.homelab.mediaserver.tests.unit.fakes.http_fake import run_module
from ansible_collections.homelab.mediaserver.tests.unit.fakes.npm_fake import NpmFake

LOGIN = {"email": "admin@example.org", "password": "correct horse"}
HOME = {"name": "home", "clients": [{"address": "192.168.1.0/24"}, {"address": "10.8.0.0/24"}]}
FAMILY = {"name": "family", "users": [{"username": "ann", "password": "s3cret one"}]}


@pytest.fixture
def run(monkeypatch):
    def call(fake, *lists, check=False, **more):
        arguments = {**LOGIN, "lists": list(lists), **more}
        return run_module(npm_access_lists, fake, arguments, check=check, monkeypatch=monkeypatch)

    return call


@pytest.fixture
def fake():
    return NpmFake()


def test_missing_arguments(run, fake):
    assert "name" in run(fake, {"clients": []})["msg"]


def test_check_create_again_update_absent(run, fake):
    checked = run(fake, HOME, FAMILY, check=True)
    assert checked["steps"] == ["create access list home", "create access list family"]
    assert fake.lists == {}
    created = run(fake, HOME, FAMILY)
    assert created["diff"] == checked["diff"]
    assert created["lists"] == {"home": 1, "family": 2}
    assert fake.lists[1]["clients"][0] == {"address": "192.168.1.0/24", "directive": "allow"}
    assert "s3cret one" not in str(created)
    for check in (True, False):
        assert not run(fake, HOME, FAMILY, check=check)["changed"]

    turned = {**HOME, "clients": HOME["clients"][::-1]}
    assert run(fake, turned, check=True)["steps"] == ["update access list home"], "the first rule that fits counts"
    run(fake, turned)
    assert not run(fake, turned)["changed"]

    gone = {"name": "home", "state": "absent"}
    assert run(fake, gone, check=True)["steps"] == ["delete access list home"]
    run(fake, gone)
    assert list(fake.lists) == [2], "what is not mentioned stays"
    assert not run(fake, gone)["changed"]


def test_passwords_of_known_users_stay(run, fake):
    run(fake, FAMILY)
    both = {"name": "family", "users": [{"username": "ann", "password": "new"}, {"username": "bob", "password": "b"}]}
    run(fake, both)
    assert fake.lists[1]["items"] == [
        {"username": "ann", "password": "s3cret one"},
        {"username": "bob", "password": "b"},
    ]
    assert not run(fake, both)["changed"]
    assert run(fake, both, update_password="always")["changed"]
    assert fake.lists[1]["items"][0]["password"] == "new"


def test_purge_by_prefix(run, fake):
    run(fake, {"name": "auto: a"}, {"name": "auto: b"}, {"name": "mine"})
    assert run(fake, {"name": "auto: a"}, purge_prefix="auto: ")["steps"] == ["delete access list auto: b"]
    assert [entry["name"] for entry in fake.lists.values()] == ["auto: a", "mine"]


def test_a_list_in_use_is_never_deleted(run, fake):
    run(fake, HOME)
    host = fake.add_host(
        domain_names=["a.org"], forward_scheme="http", forward_host="x", forward_port=1, access_list_id=1
    )
    for arguments in (({"name": "home", "state": "absent"},), ()):
        result = run(fake, *arguments, purge_prefix="ho")
        assert "1 proxy host(s) use it" in result["msg"]
    assert not run(fake, purge_prefix="ho", check=True).failed, "a dry run has not changed the host before"
    assert host["access_list_id"] == 1


def test_two_of_a_name(run, fake):
    fake.lists = {n: {"id": n, "name": "home", "items": [], "clients": []} for n in (1, 2)}
    assert "several of that name (#1, #2)" in run(fake, HOME)["msg"]


def test_fresh_machine_in_check_mode(run):
    assert run(NpmFake(None), HOME, check=True)["reachable"] is False
    assert run(NpmFake(None), HOME).failed


def test_refused(run, fake):
    fake.broken["POST /nginx/access-lists"] = (403, fake.error(403, "Permission Denied"))
    result = run(fake, HOME)
    assert result["msg"] == "Unable to create access list home: Permission Denied (HTTP 403)"


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("192.168.1.7/24", "192.168.1.0/24"),
        ("192.168.1.7/32", "192.168.1.7"),
        ("FD00::/64", "fd00::/64"),
        ("all", "all"),
    ],
)
def test_addresses(text, same):
    assert _npm_lists.address(text) == same


def test_wrong_input():
    with pytest.raises(Failure, match="client address router"):
        _npm_lists.address("router")
    option = {"name": "a", "state": "present"}
    with pytest.raises(Failure, match="listed twice"):
        _npm_lists.plan_lists([option, option], [], None, False)
