# SPDX-License-Identifier: MIT
from __future__ import annotations

import pytest
from ansible_collections.homelab.mediaserver.plugins.modules import jellyfin_config
from ansible_collections.homelab.mediaserver.tests.unit.fakes.http_fake import no_sleep, run_module
from ansible_collections.homelab.mediaserver.tests.unit.fakes.jellyfin_fake import JellyfinFake

LOGIN = {"username": "admin", "password": "correct horse"}
VAAPI = {"encoding": {"HardwareAccelerationType": "vaapi", "HardwareDecodingCodecs": ["h264", "hevc"]}}


@pytest.fixture
def run(monkeypatch):
    return lambda fake, check=False, **more: run_module(
        jellyfin_config, fake, {**LOGIN, **more}, check=check, monkeypatch=monkeypatch
    )


@pytest.fixture
def fake():
    return JellyfinFake()


def test_missing_arguments(run, fake):
    assert "give username and password" in run(fake, username=None, **VAAPI)["msg"]


def test_check_change_again(run, fake):
    checked = run(fake, check=True, **VAAPI)
    assert checked["steps"] == ["set Jellyfin's encoding configuration"]
    assert fake.configuration["encoding"]["HardwareAccelerationType"] == "none"
    result = run(fake, **VAAPI)
    assert result["diff"] == checked["diff"]
    assert result["diff"]["before"] == {
        "encoding": {"HardwareAccelerationType": "none", "HardwareDecodingCodecs": ["h264", "vc1"]}
    }
    assert fake.configuration["encoding"]["HardwareAccelerationType"] == "vaapi"
    assert fake.configuration["encoding"]["VaapiDevice"] == "/dev/dri/renderD128", "what is not given stays"
    for check in (True, False):
        assert not run(fake, check=check, **VAAPI)["changed"]
    assert "GET /System/Configuration" not in fake.requests, "only what is given is read"


def test_unknown_keys_are_all_named(run, fake):
    result = run(fake, system={"EnableMetric": True}, encoding={"Hardware": 1})
    assert "unknown key system.EnableMetric (did you mean EnableMetrics?)" in result["msg"]
    assert "unknown key encoding.Hardware" in result["msg"]
    assert fake.writes == []


def test_metrics_need_a_restart(run, fake, monkeypatch):
    metrics = {"system": {"EnableMetrics": True}}
    assert run(fake, **metrics)["restart_needed"] is True
    again = run(fake, **metrics)
    assert not again["changed"]
    assert again["restart_needed"] is True
    assert "must be restarted" in str(again["warnings"])

    assert run(fake, restart="if_needed", check=True, **metrics)["steps"] == ["restart Jellyfin if it needs it"]
    assert fake.restarts == 0
    with no_sleep(monkeypatch):
        result = run(fake, restart="if_needed", **metrics)
    assert fake.restarts == 1
    assert result["restart_needed"] is False
    assert not run(fake, restart="if_needed", **metrics)["changed"]


def test_no_restart_without_need(run, fake):
    run(fake, restart="if_needed", **VAAPI)
    assert fake.restarts == 0


def test_restart_that_never_ends(run, fake, monkeypatch):
    fake.broken["GET /metrics"] = (503, b"starting")
    with no_sleep(monkeypatch):
        result = run(fake, restart="if_needed", system={"EnableMetrics": True})
    assert "still asks for a restart" in result["msg"]


def test_refused_value(run, fake):
    result = run(fake, encoding={"EncodingThreadCount": "many"})
    assert "$.EncodingThreadCount: not a number (HTTP 400)" in result["msg"]


def test_fresh_machine_in_check_mode(run):
    assert run(JellyfinFake(None), check=True, **VAAPI)["reachable"] is False
    assert run(JellyfinFake(None), **VAAPI).failed


def test_wrong_login_and_missing_right(run, fake):
    assert "wrong user name or password" in run(fake, password="x", **VAAPI)["msg"]
    fake.broken["GET /System/Configuration/encoding"] = (403, b"")
    assert "read Jellyfin's encoding configuration: empty answer (HTTP 403)" in run(fake, **VAAPI)["msg"]
