# SPDX-License-Identifier: MIT
from __future__ import annotations

import pytest
from ansible_collections.homelab.mediaserver.plugins.modules import immich_info
from ansible_collections.homelab.mediaserver.tests.unit.fakes.http_fake import run_module
from ansible_collections.homelab.mediaserver.tests.unit.fakes.immich_fake import VERSIONS, ImmichFake


@pytest.fixture
def run(monkeypatch):
    return lambda fake, check=False, **more: run_module(immich_info, fake, more, check=check, monkeypatch=monkeypatch)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("check", [True, False])
def test_all_of_it(run, version, check):
    fake = ImmichFake(version)
    fake.add_library("Family", fake.users[0]["id"], ["/photos"], ["x"])
    result = run(fake, check=check, api_key="key-all", statistics=True)
    assert result["changed"] is False
    assert fake.writes == []
    assert result["version"] == ".".join(map(str, version))
    assert list(result["users"]) == ["admin@example.org"]
    assert result["libraries"] == [
        {
            "id": fake.libraries[0]["id"],
            "name": "Family",
            "owner": "admin@example.org",
            "paths": ["/photos"],
            "exclude": ["x"],
            "refreshed": None,
            "statistics": {"photos": 0, "videos": 0, "total": 0, "usage": 0},
        }
    ]


def test_without_a_key_only_what_is_public(run):
    result = run(ImmichFake())
    assert result["initialized"] is True
    assert result["features"]["configFile"] is False
    assert "users" not in result


def test_maintenance_mode(run):
    fake = ImmichFake()
    fake.core.system.maintenance = True
    result = run(fake, api_key="key-all")
    assert (result["reachable"], result["initialized"], result["maintenance"]) == (True, True, True)
    assert fake.requests == ["GET /server/config"]


def test_nobody_there(run):
    fake = ImmichFake()
    fake.running = False
    result = run(fake)
    assert result["reachable"] is False
    assert not result.failed


def test_wrong_key_and_missing_right(run):
    fake = ImmichFake()
    assert "Invalid API key" in run(fake, api_key="wrong")["msg"]
    fake.add_key("weak", ["adminUser.read"], "s3cret")
    assert "Missing required permission: library.read" in run(fake, api_key="s3cret")["msg"]


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (TimeoutError(), "no answer within 60 s"),
        ((500, {"message": "Failed to search"}), "Failed to search (HTTP 500)"),
        ((200, b"<html>log in</html>"), "the answer is not JSON"),
        ((200, [{"id": "x"}]), "lacks one of id"),
    ],
)
@pytest.mark.parametrize("route", ["GET /admin/users", "GET /libraries"])
def test_bad_answers(run, route, answer, text):
    fake = ImmichFake()
    fake.broken[route] = answer
    assert text in run(fake, api_key="key-all")["msg"]


def test_library_that_goes_while_it_is_counted(run):
    fake = ImmichFake()
    number = fake.add_library("Family", fake.users[0]["id"], ["/photos"])["id"]
    fake.broken[f"GET /libraries/{number}/statistics"] = (400, fake.error(400, "Library not found"))
    result = run(fake, api_key="key-all", statistics=True)
    assert "Unable to count library Family: Library not found (HTTP 400)" in result["msg"]
