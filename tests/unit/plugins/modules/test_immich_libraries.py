# SPDX-License-Identifier: MIT
from __future__ import annotations

import json

import pytest
from ansible_collections.homelab.mediaserver.plugins.module_utils._immich_libraries import unscanned
from ansible_collections.homelab.mediaserver.plugins.modules import immich_libraries
from ansible_collections.homelab.mediaserver.tests.unit.fakes.http_fake import no_sleep, run_module
from ansible_collections.homelab.mediaserver.tests.unit.fakes.immich_fake import VERSIONS, ImmichFake

OWNER = "Admin@example.org"
FAMILY = {"name": "Family", "owner": OWNER, "paths": ["/photos/family", "/photos/old"], "exclude": ["**/Trash/**"]}
LEAST = ["library.read", "library.create", "library.update", "library.delete", "adminUser.read", "queue.read"]
SCAN = ["scan library Family of Admin@example.org", "wait for the scan"]


@pytest.fixture
def run(monkeypatch):
    def call(fake, *libraries, check=False, **more):
        arguments = {"api_key": "key-all", "libraries": list(libraries), **more}
        with no_sleep(monkeypatch):
            return run_module(immich_libraries, fake, arguments, check=check, monkeypatch=monkeypatch)

    return call


@pytest.fixture(params=VERSIONS, ids=[".".join(map(str, version)) for version in VERSIONS])
def fake(request):
    return ImmichFake(request.param)


@pytest.fixture(params=["all", "least"])
def key(request, fake):
    """A key with all permissions, and one with those the module's documentation names."""
    least = [*LEAST[:-1], "queue.read" if fake.version >= (2, 4, 0) else "job.read"]
    fake.add_key("ansible", ["all"] if request.param == "all" else least, "s3cret")
    return {"api_key": "s3cret"}


def bodies(fake, monkeypatch):
    """What is sent, from here on."""
    sent = []
    answer = type(fake).__call__

    def spy(self, request):
        if request.method in ("POST", "PUT"):
            sent.append((f"{request.method} {request.url.partition('/api')[2]}", json.loads(request.data or b"null")))
        return answer(self, request)

    monkeypatch.setattr(type(fake), "__call__", spy)
    return sent


def test_missing_arguments(run, fake):
    assert "name" in run(fake, {"owner": OWNER})["msg"]
    assert "library Family: it has no owner" in run(fake, {"name": "Family"})["msg"]
    assert "give api_key or api_key_file" in run(fake, FAMILY, api_key=None)["msg"]


def test_check_create_again_update_absent(run, fake, key):
    checked = run(fake, FAMILY, check=True, **key)
    assert checked["steps"] == ["create library Family of Admin@example.org", *SCAN]
    assert fake.libraries == []
    created = run(fake, FAMILY, **key)
    assert created["steps"] == checked["steps"]
    assert created["diff"] == checked["diff"]
    assert created["scan_complete"] is True
    assert created["libraries"] == {"Family of admin@example.org": fake.libraries[0]["id"]}
    assert fake.libraries[0]["importPaths"] == ["/photos/family", "/photos/old"]
    assert fake.libraries[0]["exclusionPatterns"] == ["**/Trash/**"]
    assert fake.libraries[0]["refreshedAt"]

    turned = {**FAMILY, "paths": ["/photos/old/", "/photos/family"]}
    for check in (True, False):
        again = run(fake, turned, check=check, **key)
        assert not again["changed"]
        assert fake.writes == []

    moved = {**FAMILY, "paths": ["/photos/family"]}
    assert run(fake, moved, scan="never", check=True, **key)["steps"] == ["update library Family of Admin@example.org"]
    run(fake, moved, scan="never", **key)
    assert fake.libraries[0]["importPaths"] == ["/photos/family"]
    assert len(fake.scans) == 1

    gone = {"name": "Family", "owner": OWNER, "state": "absent"}
    assert run(fake, gone, check=True, **key)["steps"] == ["delete library Family of Admin@example.org"]
    assert run(fake, gone, **key)["changed"]
    assert fake.libraries == []
    assert not run(fake, gone, **key)["changed"]


def test_twenty_libraries_without_a_change_cost_three_requests(run, fake):
    wanted = [{"name": f"L{n}", "owner": OWNER, "paths": [f"/photos/{n}"]} for n in range(20)]
    run(fake, *wanted)
    result = run(fake, *wanted)
    assert not result["changed"]
    assert result["requests"] == len(fake.requests) == 3


def test_only_what_differs_is_sent(run, fake, monkeypatch):
    fake.add_library("Family", fake.users[0]["id"], ["/gone"], ["a"])
    fake.missing_paths = {"/gone"}  # a PUT that repeats it would be refused
    sent = bodies(fake, monkeypatch)
    result = run(fake, {"name": "Family", "owner": OWNER, "paths": ["/gone/"], "exclude": ["b"]}, scan="never")
    assert result["changed"]
    assert sent == [(f"PUT /libraries/{fake.libraries[0]['id']}", {"exclusionPatterns": ["b"]})]
    assert fake.libraries[0]["exclusionPatterns"] == ["b"]


def test_unset_is_not_managed_and_empty_clears(run, fake, monkeypatch):
    sent = bodies(fake, monkeypatch)
    run(fake, {"name": "A", "owner": OWNER, "paths": ["/a"]}, scan="never")
    assert "exclusionPatterns" not in dict(sent)["POST /libraries"]
    assert fake.libraries[0]["exclusionPatterns"] == fake.core.libraries.default_exclusions(), "Immich's own default"
    assert not run(fake, {"name": "A", "owner": OWNER}, scan="never")["changed"]
    assert run(fake, {"name": "A", "owner": OWNER, "exclude": []}, scan="never")["changed"]
    assert fake.libraries[0]["exclusionPatterns"] == []
    assert not run(fake, {"name": "A", "owner": OWNER, "exclude": []}, scan="never")["changed"]


@pytest.mark.parametrize("check", [True, False])
def test_folders_that_immich_does_not_see_are_told_beforehand(run, fake, check):
    fake.missing_paths = {"/photos/old", "/b"}
    result = run(fake, FAMILY, {"name": "B", "owner": OWNER, "paths": ["/data/upload"]}, check=check)
    assert result["msg"] == (
        "Unable to create library B of Admin@example.org: "
        "/data/upload: Cannot use media upload folder for external libraries; "
        "/photos/old: Path does not exist (ENOENT)"
    )
    assert result["failure"]["folders"] == ["/data/upload", "/photos/old"]
    assert fake.writes == []
    assert fake.libraries == []


def test_key_that_may_not_ask_beforehand(run, fake):
    """`validate` wants the permission `all`: without it, the folder is found wrong while it is written."""
    fake.add_key("ansible", [*LEAST[:-1], "queue.read" if fake.version >= (2, 4, 0) else "job.read"], "s3cret")
    fake.missing_paths = {"/photos/old"}
    assert run(fake, FAMILY, check=True, api_key="s3cret")["changed"]
    result = run(fake, FAMILY, api_key="s3cret")
    assert result["msg"] == (
        "Unable to create library Family of Admin@example.org: "
        "Invalid import path: Path does not exist (ENOENT) (HTTP 400)"
    )
    assert fake.libraries == [], "nothing is left half-made"
    fake.missing_paths.clear()
    assert run(fake, FAMILY, api_key="s3cret")["changed"]


def test_changed_folders_are_asked_for_too(run, fake):
    run(fake, FAMILY)
    fake.missing_paths = {"/photos/new"}
    result = run(fake, {**FAMILY, "paths": ["/photos/new"]}, check=True)
    assert "Unable to update library Family of Admin@example.org: /photos/new: Path does not" in result["msg"]
    more = {**FAMILY, "paths": [f"/photos/{n}" for n in range(100)]}
    other = {**FAMILY, "name": "More", "paths": [f"/more/{n}" for n in range(100)]}
    run(fake, more, other)
    assert len([one for one in fake.requests if one.endswith("/validate")]) == 2, "128 at most in one request"


@pytest.mark.parametrize("answer", [[], {}, {"importPaths": [1]}])
def test_malformed_answer_about_folders(run, fake, answer):
    fake.broken["POST /libraries/00000000-0000-4000-8000-000000000000/validate"] = (200, answer)
    assert "the answer does not say which are good" in run(fake, FAMILY)["msg"]


@pytest.mark.parametrize("lost", [False, True])
@pytest.mark.parametrize("writes", range(6))
def test_killed_after_any_write_converges(run, fake, key, writes, lost):
    """Each write in its turn is the last one of a killed run, with and without its answer."""
    fake.add_library("Family", fake.users[0]["id"], ["/photos/family"])
    wanted = (FAMILY, {**FAMILY, "name": "Second"}, {"name": "Third", "owner": OWNER, "paths": ["/third"]})
    fake.kill_after, fake.lose_answer = writes, lost
    run(fake, *wanted, **key)
    fake.kill_after, fake.lose_answer = None, False
    assert not run(fake, *wanted, **key).failed
    assert not run(fake, *wanted, **key)["changed"]
    assert [(one["name"], one["importPaths"]) for one in fake.libraries] == [
        ("Family", ["/photos/family", "/photos/old"]),
        ("Second", ["/photos/family", "/photos/old"]),
        ("Third", ["/third"]),
    ]
    assert {one["id"] for one in fake.libraries} <= set(fake.scans), "what was written was scanned, by this or that run"


def test_killed_between_change_and_scan(run, fake):
    run(fake, FAMILY)
    fake.kill_after = 1
    moved = {**FAMILY, "paths": ["/photos/family"]}
    assert run(fake, moved).failed
    fake.kill_after = None
    assert run(fake, moved)["steps"] == SCAN
    assert not run(fake, moved)["changed"]


@pytest.mark.parametrize(
    ("times", "wanted"),
    [
        ({"refreshedAt": None}, True),
        ({"refreshedAt": "2026-11-26T05:45:41.120Z", "updatedAt": "2026-11-26T05:45:41.131Z"}, False),
        ({"refreshedAt": "2026-11-26T05:45:41.120Z", "updatedAt": "2026-11-26T05:45:44.000Z"}, True),
        ({"refreshedAt": "2026-11-26T05:45:44.000Z", "updatedAt": "2026-11-26T05:45:41.120Z"}, False),
        ({"refreshedAt": "then", "updatedAt": "2026-11-26T05:45:41.120Z"}, False),
        ({"refreshedAt": "2026-11-26T05:45:41.120Z"}, False),
        ({"refreshedAt": None, "importPaths": []}, False),
    ],
)
def test_unscanned(times, wanted):
    assert unscanned({"importPaths": ["/a"], **times}) is wanted


def test_duplicates_are_reported(run, fake):
    numbers = [fake.add_library("Family", fake.users[0]["id"], ["/a"])["id"] for _ in range(2)]
    result = run(fake, FAMILY)
    assert "there are 2 of that name" in result["msg"]
    assert result["failure"]["duplicates"] == numbers


def test_owner_cannot_change(run, fake):
    ann = fake.add_user("ann@example.org", "pw")
    fake.add_library("Family", ann["id"], ["/a"])
    for purge in (False, True):
        message = run(fake, FAMILY, purge=purge)["msg"]
        assert "owner of library Family" in message
        assert "from ann@example.org to Admin@example.org" in message
    hers = {**FAMILY, "owner": "ann@example.org", "paths": ["/a"]}
    assert run(fake, FAMILY, hers)["changed"], "the same name for two people is fine when both are listed"
    assert not run(fake, FAMILY, hers)["changed"]


def test_owner_of_all(run, fake):
    assert run(fake, {"name": "Family", "paths": ["/a"]}, owner=OWNER)["changed"]
    assert not run(fake, {"name": "Family", "paths": ["/a"], "owner": OWNER})["changed"]


def test_unknown_owner(run, fake):
    assert "there is no user nobody@example.org" in run(fake, {**FAMILY, "owner": "nobody@example.org"})["msg"]
    fake.add_user("ann@example.org", "pw", deletedAt="2026-11-21T00:00:00.000Z", status="deleted")
    assert "there is no user ann@example.org" in run(fake, {**FAMILY, "owner": "ann@example.org"})["msg"]


def test_purge(run, fake):
    fake.add_library("Mine", fake.users[0]["id"], ["/mine"])
    run(fake, FAMILY)
    assert len(fake.libraries) == 2
    assert run(fake, FAMILY, purge=True)["steps"] == ["delete library Mine of admin@example.org"]
    assert [library["name"] for library in fake.libraries] == ["Family"]


def test_scan_always_and_per_library(run, fake):
    quiet = {**FAMILY, "name": "Quiet", "scan": "never"}
    empty = {"name": "Empty", "owner": OWNER, "paths": []}
    unmanaged = {"name": "Unmanaged", "owner": OWNER}
    assert len(fake.scans) == 0
    run(fake, FAMILY, quiet, empty, unmanaged)
    assert len(fake.scans) == 1
    for _ in range(2):
        result = run(fake, FAMILY, quiet, empty, unmanaged, scan="always")
        assert result["changed"]
        assert result["steps"] == SCAN
    assert len(fake.scans) == 3
    assert "wait for the scan" not in run(fake, FAMILY, scan="always", scan_timeout=0)["steps"]


def test_scan_means_imported(run, fake, monkeypatch):
    """The walk is over and the queue empty for a moment, before the import is queued: that is not the end."""
    imported = []
    real = fake.core.libraries._import
    monkeypatch.setattr(fake.core.libraries, "_import", lambda *args: (imported.append(args[0]["id"]), real(*args)))
    run(fake, FAMILY)
    assert imported == [fake.libraries[0]["id"]]
    assert fake.core.jobs.counts("library")["active"] == 0


def test_paused_queue_fails_before_anything_is_written(run, fake):
    fake.pause()
    for check in (True, False):
        assert "library queue is paused" in run(fake, FAMILY, check=check)["msg"]
        assert fake.writes == []
    assert not run(fake, FAMILY, scan="never").failed
    fake.pause(hold=False)
    assert run(fake, FAMILY)["steps"] == SCAN


def test_queue_that_is_paused_meanwhile(run, fake):
    number = fake.add_library("Family", fake.users[0]["id"], FAMILY["paths"], FAMILY["exclude"])["id"]
    real = fake.core.jobs.enqueue

    def enqueue(*args, **more):
        fake.pause()
        real(*args, **more)

    fake.core.jobs.enqueue = enqueue
    assert "library queue is paused" in run(fake, FAMILY)["msg"]
    assert fake.scans == [number]


def test_scan_that_does_not_end_warns(run, fake):
    fake.stop_worker()
    result = run(fake, FAMILY, scan_timeout=30)
    assert result["changed"]
    assert result["scan_complete"] is False
    assert "has not finished scanning within 30 s" in str(result["warnings"])


def test_folders_that_are_gone_are_not_waited_for(run, fake):
    """Immich does not walk a library of which it sees no folder: `refreshedAt` never changes."""
    fake.add_library("Family", fake.users[0]["id"], FAMILY["paths"], FAMILY["exclude"])
    fake.missing_paths = set(FAMILY["paths"])
    result = run(fake, FAMILY)
    assert result["scan_complete"] is False
    assert result["warnings"] == ["Immich did not walk Family: it sees none of the folders"]
    assert len(fake.requests) < 30


def test_library_that_goes_while_it_is_scanned(run, fake):
    run(fake, FAMILY)
    number = fake.libraries[0]["id"]
    fake.broken[f"POST /libraries/{number}/scan"] = (400, fake.error(400, "Library not found"))
    assert "Unable to scan library Family: Library not found" in run(fake, FAMILY, scan="always")["msg"]
    fake.broken[f"POST /libraries/{number}/scan"] = (204, None)
    real = fake.core.libraries.living
    fake.core.libraries.living = lambda: real() if len(fake.requests) < 7 else []
    assert "Unable to scan library Family: it is gone" in run(fake, FAMILY, scan="always")["msg"]


def test_old_permission_for_the_queue_is_enough(run, fake):
    """A key that was made for a version before 2.4 is still good enough."""
    fake.add_key("ansible", [*LEAST[:-1], "job.read"], "s3cret")
    assert run(fake, FAMILY, api_key="s3cret")["scan_complete"] is True


def test_key_from_a_file(run, fake, tmp_path):
    file = tmp_path / "key"
    more = {"api_key": None, "api_key_file": str(file)}
    assert run(fake, FAMILY, check=True, **more)["reachable"] is False
    assert "no API key in" in run(fake, FAMILY, **more)["msg"]
    file.write_text("key-all\n")
    assert run(fake, FAMILY, **more)["changed"]


def test_wrong_key(run, fake):
    assert "Unable to list libraries: Invalid API key (HTTP 401)" in run(fake, FAMILY, api_key="wrong")["msg"]


def test_fresh_machine_in_check_mode(run):
    assert run(ImmichFake(admin=False), FAMILY, check=True)["reachable"] is False
    assert "no administrator yet" in run(ImmichFake(admin=False), FAMILY)["msg"]


def test_vanished_library(run, fake):
    run(fake, FAMILY)
    number = fake.libraries[0]["id"]
    fake.broken[f"PUT /libraries/{number}"] = (400, fake.error(400, "Library not found"))
    message = run(fake, {**FAMILY, "exclude": []})["msg"]
    assert "update library Family of Admin@example.org: Library not found" in message
    fake.broken = {f"DELETE /libraries/{number}": (400, fake.error(400, "Library not found"))}
    gone = {"name": "Family", "owner": OWNER, "state": "absent"}
    assert run(fake, gone)["changed"], "gone is what was wanted"
    fake.broken = {f"DELETE /libraries/{number}": (500, fake.error(500, "Failed to delete library"))}
    assert "Failed to delete library (HTTP 500)" in run(fake, gone)["msg"]


@pytest.mark.parametrize("route", ["GET /libraries", "GET /admin/users"])
@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (TimeoutError(), "no answer within 60 s"),
        ((500, {"message": "Failed to get libraries"}), "Failed to get libraries (HTTP 500)"),
        ((502, b"<html>Bad Gateway</html>"), "Bad Gateway</html> (HTTP 502)"),
        ((200, b"<html>log in</html>"), "the answer is not JSON"),
        ((200, {"libraries": []}), "expected a list of objects"),
        ((200, [{"name": "x"}]), "lacks one of id"),
    ],
)
def test_bad_answers(run, fake, route, answer, text):
    fake.broken[route] = answer
    assert text in run(fake, FAMILY)["msg"]


def test_bad_answers_to_writes(run, fake):
    fake.broken["POST /libraries"] = (201, {"ok": True})
    assert "create library Family of Admin@example.org: no id came back" in run(fake, FAMILY)["msg"]
    fake.broken["POST /libraries"] = (500, fake.error(500, "Failed to create library"))
    assert "Failed to create library (HTTP 500)" in run(fake, FAMILY)["msg"]
    fake.broken.clear()
    queue = "GET /jobs" if fake.version < (2, 4, 0) else "GET /queues/library"
    fake.broken[queue] = (200, {"name": "library"})
    assert "look at the library queue: the answer has no counts" in run(fake, FAMILY)["msg"]


@pytest.mark.parametrize(
    ("library", "text"),
    [
        ({**FAMILY, "name": "B", "paths": ["photos"]}, "is not absolute"),
        ({**FAMILY, "name": "B", "paths": [" "]}, "is not absolute"),
        ({**FAMILY, "name": " "}, "its name is empty"),
        (FAMILY, "listed twice for Admin@example.org"),
    ],
)
def test_wrong_input(run, fake, library, text):
    assert text in run(fake, FAMILY, library)["msg"]
