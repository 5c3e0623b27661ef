# SPDX-License-Identifier: MIT
from __future__ import annotations

import pytest
from ansible_collections.homelab.mediaserver.plugins.module_utils import _jellyfin_libraries
from ansible_collections.homelab.mediaserver.plugins.module_utils._reconcile import Failure
from ansible_collections.homelab.mediaserver.plugins.modules import jellyfin_libraries
from ansible_collections.homelab.mediaserver.tests.unit.fakes.http_fake import run_module
from ansible_collections.homelab.mediaserver.tests.unit.fakes.jellyfin_fake import JellyfinFake

LOGIN = {"username": "admin", "password": "correct horse"}
FILMS = {"name": "Films", "type": "movies", "paths": ["/media/films", "/media/old, films"]}
SERIES = {"name": "Series", "type": "tvshows", "paths": ["/media/series"]}


@pytest.fixture
def run(monkeypatch):
    def call(fake, *libraries, check=False, **more):
        arguments = {**LOGIN, "libraries": list(libraries), **more}
        return run_module(jellyfin_libraries, fake, arguments, check=check, monkeypatch=monkeypatch)

    return call


@pytest.fixture
def fake():
    return JellyfinFake()


def test_missing_arguments(run, fake):
    assert "paths" in run(fake, {"name": "Films", "type": "movies"})["msg"]
    assert "give username and password, or api_key" in run(fake, FILMS, password=None)["msg"]


def test_check_create_again_update_absent(run, fake):
    checked = run(fake, FILMS, SERIES, check=True)
    assert checked["steps"] == ["create library Films", "create library Series"]
    assert fake.libraries == {}
    created = run(fake, FILMS, SERIES)
    assert created["diff"] == checked["diff"]
    assert created["libraries"] == {"Films": ["/media/films", "/media/old, films"], "Series": ["/media/series"]}
    assert fake.refreshes == ["Films", "Series"]
    turned = {**FILMS, "paths": ["/media/old, films/", "/media/films"]}
    for check in (True, False):
        assert not run(fake, turned, SERIES, check=check)["changed"]

    moved = {**FILMS, "paths": ["/media/films", "/media/new"]}
    assert run(fake, moved, check=True)["steps"] == [
        "add path /media/new of library Films",
        "remove path /media/old, films of library Films",
    ]
    assert run(fake, moved, refresh=False)["libraries"]["Films"] == ["/media/films", "/media/new"]
    assert fake.refreshes == ["Films", "Series"]
    assert not run(fake, moved)["changed"]

    assert "Series" in run(fake, moved)["libraries"], "what is not listed stays"
    assert run(fake, moved, purge=True, check=True)["steps"] == ["remove library Series"]
    run(fake, moved, purge=True)
    assert list(fake.libraries) == ["Films"]


def test_options_are_merged_and_paths_survive(run, fake):
    run(fake, FILMS)
    fake.libraries["Films"]["LibraryOptions"]["SaveLocalMetadata"] = True
    wanted = {**FILMS, "paths": ["/media/films", "/media/new"], "options": {"EnableRealtimeMonitor": True}}
    result = run(fake, wanted)
    assert result["steps"][-1] == "set options of library Films"
    assert result["diff"]["before"]["Films"]["options"] == {"EnableRealtimeMonitor": False}
    options = fake.libraries["Films"]["LibraryOptions"]
    assert options["SaveLocalMetadata"] is True
    assert [info["Path"] for info in options["PathInfos"]] == ["/media/films", "/media/new"]
    assert not run(fake, wanted)["changed"]


@pytest.mark.parametrize("there", [True, False])
def test_unknown_option(run, fake, there):
    if there:
        run(fake, FILMS)
    result = run(fake, {**FILMS, "options": {"EnableRealTimeMonitor": True}})
    assert "unknown key EnableRealTimeMonitor (did you mean EnableRealtimeMonitor" in result["msg"]


def test_type_cannot_change(run, fake):
    run(fake, FILMS)
    assert "type of library Films from movies to music" in run(fake, {**FILMS, "type": "music"})["msg"]


def test_mixed_library_has_no_type(run, fake):
    mixed = {"name": "All", "type": "mixed", "paths": ["/media"]}
    run(fake, mixed)
    assert "CollectionType" not in fake.libraries["All"]
    assert not run(fake, mixed)["changed"]


def test_missing_folder(run, fake):
    run(fake, FILMS)
    result = run(fake, {**FILMS, "paths": ["/missing"]})
    assert "Unable to add path /missing of library Films: Error processing request. (HTTP 404)" in result["msg"]


def test_vanished_library(run, fake):
    run(fake, FILMS)
    fake.broken["DELETE /Library/VirtualFolders"] = (404, fake.error(404, "The media collection does not exist."))
    assert "remove library Films: The media collection does not exist." in run(fake, SERIES, purge=True)["msg"]


def test_api_key_instead_of_login(run, fake):
    fake.keys["ansible"] = "s3cret"
    result = run(fake, FILMS, username=None, password=None, api_key="s3cret")
    assert result["changed"]
    assert "POST /Users/AuthenticateByName" not in fake.requests
    assert "HTTP 401" in run(fake, FILMS, username=None, password=None, api_key="wrong")["msg"]


def test_fresh_machine_in_check_mode(run):
    assert run(JellyfinFake(None), FILMS, check=True)["reachable"] is False
    assert "not set up yet" in run(JellyfinFake(None), FILMS)["msg"]


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ((200, {}), "expected a list of objects"),
        ((500, b"boom"), "list libraries: boom"),
        (TimeoutError(), "no answer"),
    ],
)
def test_bad_answers(run, fake, answer, text):
    fake.broken["GET /Library/VirtualFolders"] = answer
    assert text in run(fake, FILMS)["msg"]


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ([{**FILMS, "options": {}}, {**SERIES, "name": "films", "options": {}}], "listed twice"),
        ([{**FILMS, "options": {"PathInfos": []}}], "give paths instead"),
    ],
)
def test_wrong_input(options, text):
    with pytest.raises(Failure, match=text):
        _jellyfin_libraries.plan_libraries(options, [], False)
