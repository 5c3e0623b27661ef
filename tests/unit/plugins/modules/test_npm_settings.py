# SPDX-License-Identifier: MIT
from __future__ import annotations

import pytest
from ansible_collections.homelab.mediaserver.plugins.modules import npm_settings
from ansible_collections.homelab.mediaserver.tests.unit.fakes.http_fake import run_module
from ansible_collections.homelab.mediaserver.tests.unit.fakes.npm_fake import NpmFake

LOGIN = {"email": "admin@example.org", "password": "correct horse"}


@pytest.fixture
def run(monkeypatch):
    return lambda fake, check=False, **more: run_module(
        npm_settings, fake, {**LOGIN, **more}, check=check, monkeypatch=monkeypatch
    )


def test_missing_arguments(run):
    assert "default_site" in run(NpmFake())["msg"]
    assert "redirect_url" in run(NpmFake(), default_site="redirect")["msg"]


def test_check_change_again(run):
    fake = NpmFake()
    assert run(fake, check=True, default_site="444")["changed"]
    assert fake.settings["default-site"]["value"] == "congratulations"
    result = run(fake, default_site="444")
    assert result["diff"] == {"before": {"value": "congratulations", "meta": {}}, "after": {"value": "444", "meta": {}}}
    for check in (True, False):
        assert not run(fake, check=check, default_site="444")["changed"]
    page = {"default_site": "redirect", "redirect_url": "https://example.org"}
    assert run(fake, **page)["changed"]
    assert not run(fake, **page)["changed"]
    assert run(fake, default_site="404")["changed"], "details of the former value do not matter"
    assert not run(fake, default_site="404")["changed"]


def test_fresh_machine_in_check_mode(run):
    assert run(NpmFake(None), check=True, default_site="444")["reachable"] is False
    assert run(NpmFake(None), default_site="444").failed


def test_refused(run):
    fake = NpmFake()
    fake.broken["PUT /settings/default-site"] = (500, fake.error(500, "Internal Error"))
    assert run(fake, default_site="404")["msg"] == "Unable to set the default site: Internal Error (HTTP 500)"
