# SPDX-License-Identifier: MIT
from __future__ import annotations

import pytest
from ansible_collections.homelab.mediaserver.plugins.module_utils._reconcile import Failure
from ansible_collections.homelab.mediaserver.plugins.modules import npm_setup
from ansible_collections.homelab.mediaserver.tests.unit.fakes.http_fake import no_sleep, run_module
from ansible_collections.homelab.mediaserver.tests.unit.fakes.npm_fake import NpmFake

ARGS = {"email": "admin@example.org", "password": "correct horse"}


@pytest.fixture
def run(monkeypatch):
    return lambda fake, check=False, **more: run_module(
        npm_setup, fake, {**ARGS, **more}, check=check, monkeypatch=monkeypatch
    )


def test_missing_arguments(run):
    result = run(NpmFake(None), password=None)
    assert result.failed
    assert "password" in result["msg"]


def test_fresh_one_check_create_again(run):
    fake = NpmFake(None)
    checked = run(fake, check=True)
    assert checked["changed"]
    assert not fake.users

    created = run(fake)
    assert created["changed"]
    assert created["steps"] == checked["steps"] == ["create administrator admin@example.org"]
    assert created["diff"] == checked["diff"]
    assert created["diff"]["before"] == {"administrator": None}
    assert created["version"] == "2.15.1"
    assert fake.users == {"admin@example.org": "correct horse"}
    assert fake.requests[-1] == "POST /tokens", "the login is proved"

    for check in (True, False):
        again = run(fake, check=check)
        assert not again["changed"]
        assert fake.writes == []


def test_never_says_the_password(run):
    assert "correct horse" not in str(run(NpmFake(None)))


def test_wrong_password_of_an_existing_administrator_fails(run):
    result = run(NpmFake(), password="wrong one")
    assert result["msg"] == (
        "Unable to log in to Nginx Proxy Manager as admin@example.org: Invalid email or password (HTTP 400)"
    )
    assert result["failure"]["status"] == 400


def test_account_with_two_factor_login(run):
    fake = NpmFake()
    fake.two_factor = True
    assert "two-factor" in run(fake)["msg"]


def test_nobody_there(run, monkeypatch):
    fake = NpmFake(None)
    fake.running = False
    with no_sleep(monkeypatch) as clock:
        result = run(fake, wait=30)
        assert clock[0] == pytest.approx(1030, abs=2)
    assert result.failed
    assert "Connection refused" in result["msg"]
    checked = run(fake, check=True)
    assert checked["changed"]
    assert checked["reachable"] is False
    assert checked["steps"] == ["create the administrator"]


def test_waits_for_the_backend(run, monkeypatch):
    fake = NpmFake(None)
    fake.broken["GET /"] = (502, b"<html>502 Bad Gateway</html>")
    with no_sleep(monkeypatch):
        monkeypatch.setattr("time.sleep", lambda _seconds: fake.broken.clear())
        assert run(fake, wait=10)["changed"]


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (TimeoutError(), "no answer within 60 s"),
        ((500, {"error": {"code": 500, "message": "Internal Error"}}), "Internal Error (HTTP 500)"),
        ((200, b"<html>"), "the answer is not JSON"),
        ((200, []), "expected an object, got list"),
        ((200, {"status": "OK"}), "does not say whether it is set up"),
    ],
)
def test_bad_answers(run, answer, text):
    fake = NpmFake()
    fake.broken["GET /"] = answer
    result = run(fake)
    assert result.failed
    assert text in result["msg"]


def test_plan_is_pure():
    def create(_body):
        raise AssertionError("called while planning")

    params = {**ARGS, "name": "A", "nickname": "a"}
    assert npm_setup.plan({"setup": True}, params, create).steps == ()
    assert len(npm_setup.plan({"setup": False}, params, create).steps) == 1
    with pytest.raises(Failure):
        npm_setup.plan({}, params, create)
