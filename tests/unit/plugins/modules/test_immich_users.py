# SPDX-License-Identifier: MIT
from __future__ import annotations

import pytest
from ansible_collections.homelab.mediaserver.plugins.module_utils import _immich_users
from ansible_collections.homelab.mediaserver.plugins.module_utils._reconcile import Failure
from ansible_collections.homelab.mediaserver.plugins.modules import immich_users
from ansible_collections.homelab.mediaserver.tests.unit.fakes.http_fake import run_module
from ansible_collections.homelab.mediaserver.tests.unit.fakes.immich_fake import VERSIONS, ImmichFake

ANN = {"email": "Ann@example.org", "name": "Ann", "password": "her pass", "quota": "50G", "storage_label": "a/n.n"}


@pytest.fixture
def run(monkeypatch):
    def call(fake, *users, check=False, **more):
        arguments = {"api_key": "key-all", "users": list(users), **more}
        return run_module(immich_users, fake, arguments, check=check, monkeypatch=monkeypatch)

    return call


@pytest.fixture(params=VERSIONS, ids=[".".join(map(str, version)) for version in VERSIONS])
def fake(request):
    return ImmichFake(request.param)


def test_missing_arguments(run, fake):
    assert "email" in run(fake, {"name": "Ann"})["msg"]
    assert "create user ann@example.org: give a password" in run(fake, {"email": "ann@example.org"})["msg"]


def test_check_create_again_update_absent_restore(run, fake):
    checked = run(fake, ANN, check=True)
    assert checked["steps"] == ["create user ann@example.org"]
    assert len(fake.users) == 1
    created = run(fake, ANN)
    assert created["diff"] == checked["diff"]
    assert "her pass" not in str(created)
    ann = fake.user("ann@example.org")
    assert (ann["storageLabel"], ann["quotaSizeInBytes"], ann["isAdmin"]) == ("ann", 50 * 2**30, False)
    for check in (True, False):
        again = run(fake, {**ANN, "password": "another"}, check=check)
        assert not again["changed"]
    assert again["users"]["ann@example.org"] == ann["id"]

    more = {**ANN, "quota": "unlimited", "admin": True}
    result = run(fake, more)
    assert result["diff"]["before"]["ann@example.org"]["quotaSizeInBytes"] == 50 * 2**30
    ann = fake.user("ann@example.org")
    assert (ann["quotaSizeInBytes"], ann["isAdmin"]) == (None, True)
    assert not run(fake, more)["changed"]

    gone = {"email": "ann@example.org", "state": "absent"}
    assert run(fake, gone, check=True)["steps"] == ["delete user ann@example.org"]
    assert "ann@example.org" not in run(fake, gone)["users"]
    assert fake.user("ann@example.org")["status"] == "deleted"
    assert not run(fake, gone)["changed"]
    assert not run(fake, gone, force_delete=True)["changed"]

    assert run(fake, ANN, check=True)["steps"] == ["restore user ann@example.org", "update user ann@example.org"]
    back = run(fake, ANN)
    assert back["steps"] == ["restore user ann@example.org", "update user ann@example.org"]
    assert fake.user("ann@example.org")["deletedAt"] is None
    assert fake.password_is("ann@example.org", "her pass"), "its password stays what it was"
    assert not run(fake, ANN)["changed"]


@pytest.mark.parametrize("lost", [False, True])
@pytest.mark.parametrize("writes", range(5))
def test_killed_after_any_write_converges(run, fake, writes, lost):
    run(fake, ANN)
    run(fake, {"email": "ann@example.org", "state": "absent"})
    bob = {"email": "bob@example.org", "password": "his pass", "storage_label": "bob"}
    wanted = ({**ANN, "quota": "1G"}, bob, {"email": "old@example.org", "state": "absent"})
    fake.add_user("old@example.org", "pw")
    fake.kill_after, fake.lose_answer = writes, lost
    run(fake, *wanted)
    fake.kill_after, fake.lose_answer = None, False
    assert not run(fake, *wanted).failed
    assert not run(fake, *wanted)["changed"]
    assert fake.user("ann@example.org")["quotaSizeInBytes"] == 2**30
    assert fake.user("old@example.org")["status"] == "deleted"


def test_delete_at_once(run, fake):
    run(fake, ANN)
    run(fake, {"email": "ann@example.org", "state": "absent"}, force_delete=True)
    assert fake.user("ann@example.org")["status"] == "removing"
    assert "Immich is still removing it" in run(fake, ANN, check=True)["msg"]


def test_passwords_apart_from_the_users(run, fake):
    ann = {**ANN, "password": None}
    result = run(fake, ann, passwords={"ann@EXAMPLE.org": "planted word"})
    assert result["changed"]
    assert "planted word" not in str(result)
    assert fake.password_is("ann@example.org", "planted word")
    assert not run(fake, ann)["changed"], "later nobody needs it"


def test_password_on_demand(run, fake):
    run(fake, ANN)
    result = run(fake, {**ANN, "password": "another"}, update_password="always")
    assert result["steps"] == ["set password of user ann@example.org"]
    assert fake.password_is("ann@example.org", "another")
    assert "another" not in str(result["diff"])


def test_first_login_must_change_the_password(run, fake):
    run(fake, {**ANN, "change_password": False})
    assert fake.user("ann@example.org")["shouldChangePassword"] is False


def test_own_rights_cannot_change(run, fake):
    result = run(fake, {"email": "admin@example.org", "admin": False})
    assert "update user admin@example.org: Admin status can only be changed by another admin" in result["msg"]


def test_label_of_somebody_else(run, fake):
    run(fake, ANN)
    bob = {"email": "bob@example.org", "password": "his pass", "storage_label": "ann"}
    assert "storage label ann belongs to ann@example.org" in run(fake, bob)["msg"]


def test_missing_right(run, fake):
    fake.add_key("weak", ["adminUser.read"], "s3cret")
    assert "Missing required permission: adminUser.create" in run(fake, ANN, api_key="s3cret")["msg"]


def test_refused_and_vanished(run, fake):
    fake.broken["POST /admin/users"] = (400, fake.error(400, ["email must be an email", "name too short"]))
    message = run(fake, ANN)["msg"]
    assert "Unable to create user ann@example.org: " in message
    assert "email must be an email" in message
    assert "name too short" in message
    fake.broken.clear()
    run(fake, ANN)
    number = fake.user("ann@example.org")["id"]
    fake.broken[f"DELETE /admin/users/{number}"] = (400, fake.error(400, "User not found"))
    assert run(fake, {"email": "ann@example.org", "state": "absent"})["changed"], "gone is what was wanted"
    fake.broken[f"PUT /admin/users/{number}"] = (400, fake.error(400, "User not found"))
    assert "update user ann@example.org: User not found" in run(fake, {**ANN, "name": "Anna"})["msg"]


def test_fresh_machine_in_check_mode(run):
    assert run(ImmichFake(admin=False), ANN, check=True)["reachable"] is False
    assert run(ImmichFake(admin=False), ANN).failed


def test_listed_twice(run, fake):
    assert "listed twice" in run(fake, ANN, {**ANN, "email": "ann@EXAMPLE.org"})["msg"]


@pytest.mark.parametrize(
    ("text", "number"),
    [("1024", 1024), ("50G", 50 * 2**30), ("1.5 MiB", 1572864), ("2TB", 2 * 2**40), ("Unlimited", None)],
)
def test_sizes(text, number):
    assert _immich_users.size(text) == number


def test_wrong_size():
    with pytest.raises(Failure, match="quota a lot"):
        _immich_users.size("a lot")


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        ("a/b c", "ab c"),
        ("", None),
        ("..", None),
        ("ann", "ann"),
        ("ann ", "ann"),
        (" ann", " ann"),
        ("CON", None),
        ("com1.x", "com1x"),
        ("a\x85b", "ab"),
        ("é" * 200, "é" * 127),
    ],
)
def test_labels(run, text, stored):
    assert _immich_users.label(text) == stored
    fake = ImmichFake()
    user = {**ANN, "storage_label": text}
    run(fake, user)
    assert fake.user("ann@example.org")["storageLabel"] == stored
    assert not run(fake, user)["changed"]


def test_own_user_cannot_be_deleted(run, fake):
    result = run(fake, {"email": "admin@example.org", "state": "absent"})
    assert "delete user admin@example.org: Cannot delete your own account (HTTP 403)" in result["msg"]


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (TimeoutError(), "no answer within 60 s"),
        ((500, {"message": "Failed to search users"}), "list users: Failed to search users (HTTP 500)"),
        ((200, b"<html>log in</html>"), "the answer is not JSON"),
        ((200, {}), "expected a list of objects"),
        ((200, [{"id": "x"}]), "lacks one of id, email"),
    ],
)
def test_bad_answers(run, fake, answer, text):
    fake.broken["GET /admin/users"] = answer
    assert text in run(fake, ANN)["msg"]


def test_refused_login(run, fake):
    assert "Unable to list users: Invalid API key (HTTP 401)" in run(fake, ANN, api_key="wrong")["msg"]
    guest = fake.add_user("guest@example.org", "pw")
    fake.add_key("his", ["all"], "his-key", owner=guest["id"])
    assert "Unable to list users: Forbidden (HTTP 403)" in run(fake, ANN, api_key="his-key")["msg"]
