# SPDX-License-Identifier: MIT
from __future__ import annotations

import pytest
from ansible_collections.homelab.mediaserver.plugins.modules import immich_config
from ansible_collections.homelab.mediaserver.tests.unit.fakes.http_fake import run_module
from ansible_collections.homelab.mediaserver.tests.unit.fakes.immich_fake import VERSIONS, ImmichFake

WANTED = {"library": {"scan": {"cronExpression": "0 3 * * *"}}, "ffmpeg": {"acceptedVideoCodecs": ["h264", "hevc"]}}


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
    fake.core.system.from_file = fake.config
    assert not run(fake, config=WANTED)["changed"], "nothing to change is fine"
    assert (
        "(library): it takes its configuration from a file"
        in run(fake, config={"library": {"watch": {"enabled": True}}})["msg"]
    )


def test_refused_value(run, fake):
    message = run(fake, config={"library": {"scan": {"cronExpression": "whenever"}}})["msg"]
    assert message.startswith("Unable to set the system configuration: ")
    assert "library.scan.cronExpression" in message
    assert "Invalid cron expression" in message


def test_log_level_from_the_environment(run, fake):
    """With IMMICH_LOG_LEVEL set, Immich refuses another `logging`, and takes everything else."""
    fake.core.system.log_level = "warn"
    assert run(fake, config=WANTED)["changed"]
    assert not run(fake, config={**WANTED, "logging": {"enabled": True}})["changed"]
    message = run(fake, config={"logging": {"level": "debug"}})["msg"]
    assert "environment variable IMMICH_LOG_LEVEL is set" in message


def test_value_from_secret_config_is_in_no_diff(run, fake):
    """Whatever its key is called, also the value that is there before."""
    run(fake, config={"server": {"loginPageMessage": "old words"}})
    result = run(fake, secret_config={"server": {"loginPageMessage": "new words"}})
    assert result["diff"]["before"] == result["diff"]["after"] == {"server": {"loginPageMessage": "(hidden)"}}
    assert result["changed"]
    assert "old words" not in str(result)
    assert "new words" not in str(result)


def test_a_section_of_another_version(run):
    new = {"integrityChecks": {"missingFiles": {"enabled": False}}}
    assert "unknown key integrityChecks" in run(ImmichFake((2, 7, 5)), config=new)["msg"]
    fake = ImmichFake((3, 1, 0))
    assert run(fake, config=new)["changed"]
    assert not run(fake, config=new)["changed"]


@pytest.mark.parametrize("lost", [False, True])
def test_killed_at_the_write_converges(run, fake, lost):
    fake.kill_after, fake.lose_answer = int(lost), lost
    assert run(fake, config=WANTED).failed
    fake.kill_after, fake.lose_answer = None, False
    assert run(fake, config=WANTED)["changed"] is not lost
    assert not run(fake, config=WANTED)["changed"]


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
        ((502, b"<html>Bad Gateway</html>"), "Bad Gateway</html> (HTTP 502)"),
        ((200, b"<html>log in</html>"), "the answer is not JSON"),
    ],
)
def test_bad_answers(run, fake, answer, text):
    fake.broken["GET /system-config"] = answer
    assert text in run(fake, config=WANTED)["msg"]
