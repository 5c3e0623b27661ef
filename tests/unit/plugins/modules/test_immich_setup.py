# SPDX-License-Identifier: MIT
from __future__ import annotations

import pytest
from ansible_collections.homelab.mediaserver.plugins.modules import immich_setup
from ansible_collections.homelab.mediaserver.tests.unit.fakes.http_fake import no_sleep, run_module
from ansible_collections.homelab.mediaserver.tests.unit.fakes.immich_fake import VERSIONS, ImmichFake

ARGS = {"email": "Admin@example.org", "password": "correct horse"}


@pytest.fixture
def run(monkeypatch):
    return lambda fake, check=False, **more: run_module(
        immich_setup, fake, {**ARGS, **more}, check=check, monkeypatch=monkeypatch
    )


def test_missing_arguments(run):
    assert "email" in run(ImmichFake(), email=None)["msg"]


@pytest.mark.parametrize("version", VERSIONS)
def test_fresh_one_check_create_again(run, version, tmp_path):
    fake = ImmichFake(version, admin=False)
    file = tmp_path / "key"
    more = {"key_name": "ansible", "api_key_file": str(file)}
    checked = run(fake, check=True, **more)
    assert checked["changed"]
    assert "secret" not in checked
    assert fake.users == []

    created = run(fake, **more)
    assert created["steps"] == checked["steps"]
    assert created["diff"] == checked["diff"]
    assert created["version"] == ".".join(map(str, version))
    assert created["user_id"] == fake.users[0]["id"]
    assert fake.core.system.metadata("admin-onboarding") == {"isOnboarded": True}
    assert fake.users[0]["isOnboarded"]
    assert fake.sessions == [], "no session is left behind"
    assert fake.core.api.digest(created["secret"]) == fake.keys[0]["key"]
    assert ("queue.read" in fake.keys[0]["permissions"]) == (version >= (2, 4, 0))
    assert "all" not in fake.keys[0]["permissions"]
    assert "correct horse" not in str(created)
    assert created["secret"] not in str(created["diff"])

    file.write_text(created["secret"] + "\n")
    for check in (True, False):
        again = run(fake, check=check, **more)
        assert not again["changed"]
        assert "secret" not in again
        assert fake.writes == []


def test_key_that_was_not_stored_is_replaced(run, tmp_path):
    fake = ImmichFake()
    more = {"key_name": "ansible", "api_key_file": str(tmp_path / "key")}
    first = run(fake, **more)["secret"]
    lost = fake.keys[-1]["id"]
    second = run(fake, **more)
    assert second["steps"] == ["create API key ansible"]
    assert second["other_keys"] == [lost], "another machine may hold it: nothing is deleted unasked"
    assert second["secret"] != first
    (tmp_path / "key").write_text(second["secret"])
    again = run(fake, **more)
    assert not again["changed"]
    assert again["other_keys"] == [lost]
    cleaned = run(fake, delete_lost_keys=True, check=True, **more)
    assert cleaned["steps"] == [f"delete lost API key {lost}"]
    assert run(fake, delete_lost_keys=True, **more)["other_keys"] == []
    assert [key["name"] for key in fake.keys] == ["full", "ansible"]
    assert not run(fake, delete_lost_keys=True, **more)["changed"]


def test_key_that_does_not_work_any_more_is_replaced(run):
    assert run(ImmichFake(), key_name="ansible", api_key="gone")["secret"]


def test_permissions_are_corrected_without_a_new_key(run):
    fake = ImmichFake()
    fake.add_key("ansible", ["library.read"], "s3cret")
    more = {"key_name": "ansible", "api_key": "s3cret", "key_permissions": ["library.update", "library.read"]}
    assert run(fake, check=True, **more)["steps"] == ["update API key ansible"]
    assert "secret" not in run(fake, **more)
    assert fake.keys[-1]["permissions"] == ["library.read", "library.update"]
    assert not run(fake, **more)["changed"]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("lost", [False, True])
@pytest.mark.parametrize("writes", range(5))
def test_killed_after_any_write_converges(run, version, writes, lost, tmp_path):
    fake = ImmichFake(version, admin=False)
    more = {"key_name": "ansible", "api_key_file": str(tmp_path / "key"), "delete_lost_keys": True}
    fake.kill_after, fake.lose_answer = writes, lost
    first = run(fake, **more)
    fake.kill_after, fake.lose_answer = None, False
    secret = first.get("secret") or run(fake, **more)["secret"]
    (tmp_path / "key").write_text(secret)
    assert not run(fake, **more)["changed"]
    assert len(fake.users) == len(fake.keys) == 1
    assert fake.users[0]["isOnboarded"]


def test_key_of_somebody_else_is_not_taken(run):
    fake = ImmichFake()
    ann = fake.add_user("ann@example.org", "her pass", isAdmin=True)
    fake.add_key("ansible", ["all"], "hers", owner=ann["id"])
    result = run(fake, key_name="ansible", api_key="hers", delete_lost_keys=True)
    assert result["steps"] == ["create API key ansible"]
    assert len(fake.keys) == 3


def test_session_and_key_are_never_sent_together(run, monkeypatch):
    fake = ImmichFake()
    fake.add_key("ansible", ["library.read"], "s3cret")
    both = []
    answer = ImmichFake.__call__

    def look(self, request):
        names = {name.lower() for name in request.headers}
        both.append({"x-api-key", "authorization"} <= names)
        return answer(self, request)

    monkeypatch.setattr(ImmichFake, "__call__", look)
    run(fake, key_name="ansible", api_key="s3cret")
    assert len(both) > 4
    assert not any(both)


def test_a_failed_logout_is_no_failure(run):
    fake = ImmichFake()
    fake.broken["POST /auth/logout"] = TimeoutError()
    assert not run(fake).failed


def test_wrong_password_fails(run):
    result = run(ImmichFake(), password="wrong one")
    assert result["msg"] == "Unable to log in to Immich as admin@example.org: Incorrect email or password (HTTP 401)"


def test_other_users_are_refused(run):
    fake = ImmichFake()
    fake.add_user("guest@example.org", "pw")
    assert "guest@example.org is not an administrator" in run(fake, email="guest@example.org", password="pw")["msg"]


def test_empty_password_is_refused(run):
    assert "password is empty" in run(ImmichFake(admin=False), password="")["msg"]


@pytest.mark.parametrize("version", VERSIONS)
def test_unknown_permission(run, version):
    result = run(ImmichFake(version), key_name="ansible", key_permissions=["nonsense"])
    assert "Unable to create API key ansible: " in result["msg"]
    assert "Invalid option (HTTP 400)" in result["msg"]


def test_setup_switched_off(run):
    fake = ImmichFake(admin=False)
    fake.core.people.allow_setup = False
    assert "create administrator admin@example.org: Admin setup is disabled" in run(fake)["msg"]


def test_nobody_there(run, monkeypatch):
    fake = ImmichFake(admin=False)
    fake.running = False
    assert run(fake, check=True)["reachable"] is False
    assert "Connection refused" in run(fake)["msg"]
    with no_sleep(monkeypatch):
        monkeypatch.setattr("time.sleep", lambda _seconds: setattr(fake, "running", True))
        assert run(fake, wait=10)["changed"]


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (TimeoutError(), "no answer within 60 s"),
        ((500, {"message": "Failed to get config"}), "Failed to get config (HTTP 500)"),
        ((200, b"<html>"), "not JSON"),
        ((200, {"isInitialized": True, "maintenanceMode": True}), "maintenance mode"),
        ((200, {"ok": True}), "is it an Immich?"),
    ],
)
def test_bad_answers(run, answer, text):
    fake = ImmichFake()
    fake.broken["GET /server/config"] = answer
    assert text in run(fake)["msg"]


def test_bad_answers_to_writes(run):
    fake = ImmichFake()
    fake.broken["POST /api-keys"] = (201, {"apiKey": {}})
    assert "create API key ansible: no key came back" in run(fake, key_name="ansible")["msg"]
    fake.broken = {"POST /auth/login": (201, {"userId": "x"})}
    assert "log in to Immich as admin@example.org: no token came back" in run(fake)["msg"]
    fake.broken = {"GET /api-keys": (200, [{}])}
    assert "list API keys: an entry of the answer lacks one of id, name" in run(fake, key_name="ansible")["msg"]
    fake.broken = {"GET /server/version": (200, {"major": "three"})}
    assert "ask Immich for its version" in run(fake)["msg"]
