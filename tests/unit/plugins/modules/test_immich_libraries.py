# SPDX-License-Identifier: MIT
from __future__ import annotations

import json

import pytest
from ansible_collections.homelab.mediaserver.plugins.modules import immich_libraries
from ansible_collections.homelab.mediaserver.tests.unit.fakes.http_fake import no_sleep, run_module
from ansible_collections.homelab.mediaserver.tests.unit.fakes.immich_fake import DEFAULT_EXCLUSIONS, ImmichFake

OWNER = "Admin@example.org"
FAMILY = {"name": "Family", "owner": OWNER, "paths": ["/photos/family", "/photos/old"], "exclude": ["**/Trash/**"]}
VERSIONS = [(1, 144, 1), (2, 7, 5), (3, 1, 0)]


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


def test_missing_arguments(run, fake):
    assert "name" in run(fake, {"owner": OWNER})["msg"]
    assert "library Family: it has no owner" in run(fake, {"name": "Family"})["msg"]
    assert "give api_key or api_key_file" in run(fake, FAMILY, api_key=None)["msg"]


def test_check_create_again_update_absent(run, fake):
    checked = run(fake, FAMILY, check=True)
    assert checked["steps"] == [
        "create library Family of Admin@example.org",
        "scan library Family of Admin@example.org",
        "wait for the scan",
    ]
    assert fake.libraries == []
    created = run(fake, FAMILY)
    assert created["steps"] == checked["steps"]
    assert created["diff"] == checked["diff"]
    assert created["scan_complete"] is True
    assert created["libraries"] == {"Family of admin@example.org": fake.libraries[0]["id"]}
    assert fake.libraries[0]["importPaths"] == ["/photos/family", "/photos/old"]
    assert fake.libraries[0]["exclusionPatterns"] == ["**/Trash/**"]
    assert fake.libraries[0]["refreshedAt"]
    assert fake.busy_polls == 0, "it waited for the queue, not only for the walk"

    turned = {**FAMILY, "paths": ["/photos/old/", "/photos/family"]}
    for check in (True, False):
        again = run(fake, turned, check=check)
        assert not again["changed"]
        assert fake.writes == []

    moved = {**FAMILY, "paths": ["/photos/family"]}
    assert run(fake, moved, scan="never", check=True)["steps"] == ["update library Family of Admin@example.org"]
    run(fake, moved, scan="never")
    assert fake.libraries[0]["importPaths"] == ["/photos/family"]
    assert len(fake.scans) == 1

    gone = {"name": "Family", "owner": OWNER, "state": "absent"}
    assert run(fake, gone, check=True)["steps"] == ["delete library Family of Admin@example.org"]
    assert run(fake, gone)["changed"]
    assert fake.libraries == []
    assert not run(fake, gone)["changed"]


def test_twenty_libraries_without_a_change_cost_three_requests(run, fake):
    wanted = [{"name": f"L{n}", "owner": OWNER, "paths": [f"/photos/{n}"]} for n in range(20)]
    run(fake, *wanted)
    result = run(fake, *wanted)
    assert not result["changed"]
    assert result["requests"] == len(fake.requests) == 3


def test_only_what_differs_is_sent(run, fake, monkeypatch):
    sent = []
    library = fake.add_library("Family", fake.users[0]["id"], ["/gone"], ["a"])
    fake.missing_paths = {"/gone"}  # a PUT that repeats it would be refused
    monkeypatch.setattr(
        fake, "_body", lambda request: sent.append(json.loads(request.data)) or sent[-1] if request.data else None
    )
    result = run(fake, {"name": "Family", "owner": OWNER, "paths": ["/gone"], "exclude": ["b"]}, scan="never")
    assert result["changed"]
    assert sent == [{"exclusionPatterns": ["b"]}]
    assert library["exclusionPatterns"] == ["b"]


def test_unset_is_not_managed_and_empty_clears(run, fake):
    run(fake, {"name": "A", "owner": OWNER, "paths": ["/a"]}, scan="never")
    assert fake.libraries[0]["exclusionPatterns"] == DEFAULT_EXCLUSIONS[fake.version[0]], "Immich's own default"
    assert not run(fake, {"name": "A", "owner": OWNER}, scan="never")["changed"]
    assert run(fake, {"name": "A", "owner": OWNER, "exclude": []}, scan="never")["changed"]
    assert fake.libraries[0]["exclusionPatterns"] == []
    assert not run(fake, {"name": "A", "owner": OWNER, "exclude": []}, scan="never")["changed"]


def test_folder_that_immich_does_not_see(run, fake):
    fake.missing_paths = {"/photos/old"}
    result = run(fake, FAMILY)
    assert result["msg"] == (
        "Unable to create library Family of Admin@example.org: "
        "Invalid import path: Path does not exist (ENOENT) (HTTP 400)"
    )
    assert fake.libraries == [], "nothing is left half-made"
    fake.missing_paths.clear()
    assert run(fake, FAMILY)["changed"]


def test_killed_between_create_and_paths_converges(run, fake):
    fake.add_library("Family", fake.users[0]["id"], [])
    assert run(fake, FAMILY)["steps"][0] == "update library Family of Admin@example.org"
    assert not run(fake, FAMILY)["changed"]


def test_duplicates_are_reported(run, fake):
    numbers = [fake.add_library("Family", fake.users[0]["id"], ["/a"])["id"] for _ in range(2)]
    result = run(fake, FAMILY)
    assert "there are 2 of that name" in result["msg"]
    assert result["failure"]["duplicates"] == numbers


def test_owner_cannot_change(run, fake):
    ann = fake.add_user("ann@example.org", "pw")
    fake.add_library("Family", ann["id"], ["/a"])
    assert "owner of library Family" in run(fake, FAMILY)["msg"]
    assert "from ann@example.org to Admin@example.org" in run(fake, FAMILY)["msg"]
    hers = {**FAMILY, "owner": "ann@example.org", "paths": ["/a"]}
    assert run(fake, FAMILY, hers)["changed"], "the same name for two people is fine when both are listed"
    assert not run(fake, FAMILY, hers)["changed"]


def test_owner_of_all(run, fake):
    assert run(fake, {"name": "Family", "paths": ["/a"]}, owner=OWNER)["changed"]
    assert not run(fake, {"name": "Family", "paths": ["/a"], "owner": OWNER})["changed"]


def test_unknown_owner(run, fake):
    assert "there is no user nobody@example.org" in run(fake, {**FAMILY, "owner": "nobody@example.org"})["msg"]


def test_purge(run, fake):
    fake.add_library("Mine", fake.users[0]["id"], ["/mine"])
    run(fake, FAMILY)
    assert len(fake.libraries) == 2
    assert run(fake, FAMILY, purge=True)["steps"] == ["delete library Mine of admin@example.org"]
    assert [library["name"] for library in fake.libraries] == ["Family"]


def test_scan_always_and_per_library(run, fake):
    quiet = {**FAMILY, "name": "Quiet", "scan": "never"}
    empty = {"name": "Empty", "owner": OWNER, "paths": []}
    assert len(fake.scans) == 0
    run(fake, FAMILY, quiet, empty)
    assert len(fake.scans) == 1
    for _ in range(2):
        result = run(fake, FAMILY, quiet, empty, scan="always")
        assert result["changed"]
        assert result["steps"] == ["scan library Family of Admin@example.org", "wait for the scan"]
    assert len(fake.scans) == 3
    assert "wait for the scan" not in run(fake, FAMILY, scan="always", scan_timeout=0)["steps"]


def test_killed_before_the_scan_converges(run, fake):
    fake.broken["GET /jobs" if fake.version < (2, 4, 0) else "GET /queues/library"] = OSError("killed")
    assert run(fake, FAMILY).failed
    assert len(fake.libraries) == 1
    fake.broken.clear()
    assert run(fake, FAMILY)["steps"] == ["scan library Family of Admin@example.org", "wait for the scan"]
    assert not run(fake, FAMILY)["changed"]


def test_paused_queue_fails_before_the_scan(run, fake):
    fake.queue_paused = True
    result = run(fake, FAMILY)
    assert "library queue is paused" in result["msg"]
    assert fake.scans == []
    assert len(fake.libraries) == 1


def test_scan_that_does_not_end_warns(run, fake):
    fake.scan_takes = 10_000
    result = run(fake, FAMILY, scan_timeout=30)
    assert result["changed"]
    assert result["scan_complete"] is False
    assert "has not finished scanning within 30 s" in str(result["warnings"])


def test_least_privilege_is_enough(run, fake):
    queue = "queue.read" if fake.version >= (2, 4, 0) else "job.read"
    scopes = ["library.read", "library.create", "library.update", "library.delete", "adminUser.read", queue]
    fake.add_key("ansible", scopes, "s3cret")
    assert run(fake, FAMILY, api_key="s3cret")["changed"]
    assert not run(fake, FAMILY, api_key="s3cret")["changed"]
    fake.keys[-1]["permissions"].remove("library.update")
    result = run(fake, {**FAMILY, "exclude": []}, api_key="s3cret")
    assert "Missing required permission: library.update (HTTP 403)" in result["msg"]


def test_old_permission_for_the_queue_is_enough(run, fake):
    fake.add_key(
        "ansible", ["library.read", "library.create", "library.update", "adminUser.read", "job.read"], "s3cret"
    )
    assert run(fake, FAMILY, api_key="s3cret")["scan_complete"] is True
    fake.keys[-1]["permissions"].remove("job.read")
    assert "Missing required permission: " in run(fake, FAMILY, api_key="s3cret", scan="always")["msg"]


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
    assert (
        "update library Family of Admin@example.org: Library not found" in run(fake, {**FAMILY, "exclude": []})["msg"]
    )


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (TimeoutError(), "no answer within 60 s"),
        ((500, {"message": "Failed to get libraries"}), "list libraries: Failed to get libraries (HTTP 500)"),
        ((200, {"libraries": []}), "expected a list of objects"),
    ],
)
def test_bad_answers(run, fake, answer, text):
    fake.broken["GET /libraries"] = answer
    assert text in run(fake, FAMILY)["msg"]


@pytest.mark.parametrize(
    ("library", "text"),
    [({**FAMILY, "name": "B", "paths": ["photos"]}, "is not absolute"), (FAMILY, "listed twice for Admin@example.org")],
)
def test_wrong_input(run, fake, library, text):
    assert text in run(fake, FAMILY, library)["msg"]
