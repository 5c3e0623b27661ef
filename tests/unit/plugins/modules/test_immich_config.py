# SPDX-License-Identifier: MIT
from __future__ import annotations

import pytest
from ansible_collections.homelab.mediaserver.plugins.modules import immich_config
from ansible_collections.homelab.mediaserver.tests.unit.fakes.http_fake import run_module
from ansible_collections.homelab.mediaserver.tests.unit.fakes.immich_fake import ImmichFake

WANTED = {"library": {"scan": {"cronExpression": "0 3 * * *"}}, "ffmpeg": {"acceptedVideoCodecs": ["h264", "hevc"]}}
VERSIONS = [(1, 144, 1), (2, 7, 5), (3, 1, 0)]


@pytest.fixture
def run(monkeypatch):
    return lambda fake, check=False, **more: run_module(
        immich_config, fake, {"api_key": "key-all", **more}, check=check, monkeypatch=monkeypatch
    )


@pytest.fixture(params=VERSIONS, ids=[".".join(map(str, version)) for version in VERSIONS])
def fake(request):
    return ImmichFake(request.param)


def test_missing_arguments(run, fake):
    assert "give api_key" in run(fake, api_key=None, config=WANTED)["msg"]


def test_check_change_again(run, fake):
    checked = run(fake, check=True, config=WANTED)
    assert checked["steps"] == ["set ffmpeg, library"]
    assert fake.config["library"]["scan"]["cronExpression"] == "0 0 * * *"
    result = run(fake, config=WANTED)
    assert result["diff"] == checked["diff"]
    assert result["diff"]["before"] == {
        "library": {"scan": {"cronExpression": "0 0 * * *"}},
        "ffmpeg": {"acceptedVideoCodecs": ["h264"]},
    }
    assert fake.writes == ["PUT /system-config"]
    assert fake.config["library"]["scan"] == {"enabled": True, "cronExpression": "0 3 * * *"}
    assert fake.config["machineLearning"]["enabled"] is True, "what is not given stays"
    for check in (True, False):
        assert not run(fake, check=check, config=WANTED)["changed"]
    assert not run(fake, config={})["changed"]


def test_unknown_keys_are_all_named(run, fake):
    result = run(fake, config={"libary": {}, "library": {"scan": {"cron": "x"}}})
    assert "unknown key libary (did you mean library?)" in result["msg"]
    assert "unknown key library.scan.cron" in result["msg"]
    assert fake.writes == []


@pytest.mark.parametrize("option", ["config", "secret_config"])
def test_secrets_are_set_and_never_shown(run, fake, option):
    wanted = {
        "oauth": {"clientSecret": "hush hush"},
        "notifications": {"smtp": {"transport": {"password": "psst psst"}}},
    }
    result = run(fake, **{option: wanted})
    assert result["changed"]
    assert "hush hush" not in str(result)
    assert "psst psst" not in str(result)
    assert fake.config["oauth"]["clientSecret"] == "hush hush"
    assert not run(fake, **{option: wanted})["changed"]


def test_configuration_file(run, fake):
    run(fake, config=WANTED)
    fake.config_file = True
    assert not run(fake, config=WANTED)["changed"], "nothing to change is fine"
    assert (
        "(library): it takes its configuration from a file"
        in run(fake, config={"library": {"watch": {"enabled": True}}})["msg"]
    )


def test_refused_value(run, fake):
    fake.broken["PUT /system-config"] = (400, fake.error(400, ["cronExpression must be a valid cron expression"]))
    assert "cronExpression must be a valid cron expression" in run(fake, config=WANTED)["msg"]


def test_missing_right(run, fake):
    fake.add_key("weak", ["systemConfig.read"], "s3cret")
    result = run(fake, api_key="s3cret", config=WANTED)
    assert result["msg"] == (
        "Unable to set the system configuration: Missing required permission: systemConfig.update (HTTP 403)"
    )


def test_fresh_machine_in_check_mode(run):
    assert run(ImmichFake(admin=False), check=True, config=WANTED)["reachable"] is False
    assert run(ImmichFake(admin=False), config=WANTED).failed


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (TimeoutError(), "no answer"),
        ((200, []), "expected an object"),
        ((500, {"message": "Failed to get"}), "Failed to get"),
    ],
)
def test_bad_answers(run, fake, answer, text):
    fake.broken["GET /system-config"] = answer
    assert text in run(fake, config=WANTED)["msg"]
