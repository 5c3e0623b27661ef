# SPDX-License-Identifier: MIT
from __future__ import annotations

import pytest
from ansible_collections.homelab.mediaserver.plugins.modules import jellyfin_setup
from ansible_collections.homelab.mediaserver.tests.unit.fakes.http_fake import no_sleep, run_module
from ansible_collections.homelab.mediaserver.tests.unit.fakes.jellyfin_fake import JellyfinFake

ARGS = {"username": "admin", "password": "correct horse"}


@pytest.fixture
def run(monkeypatch):
    return lambda fake, check=False, **more: run_module(
        jellyfin_setup, fake, {**ARGS, **more}, check=check, monkeypatch=monkeypatch
    )


def test_missing_arguments(run):
    assert "username" in run(JellyfinFake(), username=None)["msg"]


def test_fresh_one_check_create_again(run):
    fake = JellyfinFake(None)
    checked = run(fake, check=True, culture="fr")
    assert checked["changed"]
    assert fake.user is None

    created = run(fake, culture="fr")
    assert created["steps"] == checked["steps"]
    assert created["diff"] == checked["diff"]
    assert fake.startup_order == ["Configuration", "User", "RemoteAccess", "Complete"]
    assert fake.completed
    assert fake.user == ["admin", "correct horse"]
    assert fake.configuration["system"]["UICulture"] == "fr"
    assert created["version"] == "10.11.11"
    assert "token" not in created
    assert fake.requests[-1] == "POST /Users/AuthenticateByName", "the login is proved"
    assert "correct horse" not in str({key: value for key, value in created.items() if key != "invocation"})

    for check in (True, False):
        assert not run(fake, check=check)["changed"]


def test_key_for_other_programs(run):
    fake = JellyfinFake()
    assert run(fake, check=True, key_name="start page")["steps"] == ["create API key start page"]
    assert run(fake, key_name="start page")["token"] == "key-of-start page"
    again = run(fake, key_name="start page")
    assert not again["changed"]
    assert again["token"] == "key-of-start page"
    assert run(JellyfinFake(None), key_name="start page")["changed"]


@pytest.mark.parametrize("version_12", [False, True])
@pytest.mark.parametrize("killed_at", ["/Startup/User", "/Startup/RemoteAccess", "/Startup/Complete"])
def test_killed_half_way_converges(run, version_12, killed_at):
    fake = JellyfinFake(None)
    fake.version_12 = version_12
    fake.broken[f"POST {killed_at}"] = OSError("killed")
    assert run(fake).failed
    fake.broken.clear()
    assert run(fake)["changed"]
    assert fake.user == ["admin", "correct horse"]
    assert not run(fake)["changed"]


def test_never_opens_the_door_to_a_strangers_administrator(run):
    fake = JellyfinFake(None)
    fake.version_12 = True
    fake.user = ["mallory", "hers"]
    assert "log in to Jellyfin as admin: wrong user name or password" in run(fake)["msg"]
    assert not fake.completed


def test_wrong_password_fails(run):
    result = run(JellyfinFake(), password="wrong one")
    assert result["msg"] == "Unable to log in to Jellyfin as admin: wrong user name or password (HTTP 401)"


def test_empty_password_is_refused(run):
    assert "password is empty" in run(JellyfinFake(None), password="")["msg"]


def test_nobody_there_or_still_starting(run, monkeypatch):
    fake = JellyfinFake(None)
    for state in ("running", "starting"):
        setattr(fake, state, state == "starting")
        assert run(fake, check=True)["reachable"] is False
        assert run(fake).failed
        fake.running = True
    with no_sleep(monkeypatch):
        monkeypatch.setattr("time.sleep", lambda _seconds: setattr(fake, "starting", False))
        assert run(fake, wait=10)["changed"]


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (TimeoutError(), "no answer within 60 s"),
        ((500, b"Error processing request."), "Error processing request. (HTTP 500)"),
        ((200, b"<html>"), "not JSON"),
        ((200, {"Version": "10"}), "no state of the wizard"),
    ],
)
def test_bad_answers(run, answer, text):
    fake = JellyfinFake()
    fake.broken["GET /System/Info/Public"] = answer
    assert text in run(fake)["msg"]
