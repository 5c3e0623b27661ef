# SPDX-License-Identifier: MIT
"""The API beside the recorded facts. SQLite stands for PostgreSQL here; the lab runs it against PostgreSQL."""

from __future__ import annotations

import hashlib
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

PROGRAM, MOUNTS = "immich-server/start.py", ["/data", "/mnt/media/photos"]
BOSS = {"email": "Boss@Example.org", "password": "pw", "name": "Boss"}
NOBODY = "6a1b1b5e-6f5a-4a6e-8f0c-0d8f0c9d7e11"


def make(standin: Any, tmp_path: Path, **more: str) -> Any:
    more = {"LAB_TEST_DATABASE": str(tmp_path / "db"), "LAB_TEST_REDIS": "none", "LAB_TEST_PACE": "0.3"} | more
    return standin(PROGRAM, MOUNTS, **more)


@pytest.fixture
def fresh(standin: Any, tmp_path: Path) -> Any:
    return make(standin, tmp_path).start()


def log_in(server: Any, email: str = "boss@example.org", password: str = "pw") -> dict[str, str]:
    answer = server.call("POST", "/api/auth/login", {"email": email, "password": password})
    assert answer.status == 201
    return {"Authorization": "Bearer " + answer.json["accessToken"]}


@pytest.fixture
def admin(fresh: Any) -> dict[str, str]:
    assert fresh.call("POST", "/api/auth/admin-sign-up", BOSS).status == 201
    return log_in(fresh)


def key(server: Any, headers: dict[str, str], *permissions: str) -> dict[str, str]:
    answer = server.call("POST", "/api/api-keys", {"name": "k", "permissions": list(permissions)}, headers)
    assert answer.status == 201, answer.text
    return {"x-api-key": answer.json["secret"]}


def my_id(server: Any, headers: dict[str, str]) -> str:
    return server.call("GET", "/api/users/me", headers=headers).json["id"]


def wait(test: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not test():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.05)


# --- start


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"LAB_TEST_MOUNTS": ""}, "/data is not mounted"),
        ({"DB_PASSWORD_FILE": "/nowhere/pw"}, "DB_PASSWORD_FILE: cannot read /nowhere/pw"),
        ({"IMMICH_CONFIG_FILE": "/nowhere.json"}, "Unable to load configuration file"),
    ],
)
def test_refuses_to_start(standin: Any, tmp_path: Path, change: dict[str, str], message: str) -> None:
    server = make(standin, tmp_path, **{k: v for k, v in change.items() if k != "LAB_TEST_MOUNTS"})
    if "LAB_TEST_MOUNTS" in change:
        server.environment["LAB_TEST_MOUNTS"] = ""
    assert message in server.refuses_to_start()


def test_no_database_no_start(standin: Any) -> None:
    server = standin(PROGRAM, MOUNTS, DB_HOSTNAME="127.0.0.1", DB_PORT="1", LAB_TEST_PATIENCE="0")
    assert "ECONNREFUSED 127.0.0.1:1" in server.refuses_to_start()


def test_needs_a_writable_media_folder(standin: Any, tmp_path: Path) -> None:
    server = make(standin, tmp_path)
    (server.root / "data").rmdir()
    (server.root / "data").symlink_to("/proc")  # not even root can write there
    assert "Access to the path '/data' is denied" in server.refuses_to_start()


def test_lost_marker_stops_the_next_start(fresh: Any) -> None:
    marker = fresh.root / "data/upload/.immich"
    assert marker.exists()
    fresh.stop()
    marker.unlink()
    assert 'Failed to read "<UPLOAD_LOCATION>/upload/.immich"' in fresh.refuses_to_start()


def test_names_itself(fresh: Any) -> None:
    answer = fresh.call("GET", "/api/server/ping")
    assert answer.json == {"res": "pong"} and answer.headers["Server"] == "immich-server-stand-in"
    assert fresh.call("GET", "/api/server/version").json == {"major": 3, "minor": 1, "patch": 0, "prerelease": None}
    assert fresh.call("GET", "/.well-known/immich").json == {"api": {"endpoint": "/api"}}
    missing = fresh.call("GET", "/api/nope")
    assert missing.status == 404 and missing.json == {"message": "Cannot GET /api/nope"}
    assert missing.headers["X-Correlation-ID"]


# --- onboarding and keys


def test_onboarding(fresh: Any) -> None:
    assert fresh.call("GET", "/api/server/config").json["isInitialized"] is False
    made = fresh.call("POST", "/api/auth/admin-sign-up", BOSS)
    assert made.status == 201 and made.json["email"] == "boss@example.org" and made.json["storageLabel"] == "admin"
    again = fresh.call("POST", "/api/auth/admin-sign-up", BOSS)
    assert again.status == 400 and again.json == {"message": "The server already has an admin"}
    wrong = fresh.call("POST", "/api/auth/login", {"email": "boss@example.org", "password": "x"})
    assert wrong.status == 401 and wrong.json["message"] == "Incorrect email or password"
    headers = log_in(fresh)
    path = "/api/system-metadata/admin-onboarding"
    assert fresh.call("POST", path, {"isOnboarded": True}, headers).status == 204
    assert fresh.call("GET", path, headers=headers).json == {"isOnboarded": True}
    config = fresh.call("GET", "/api/server/config").json
    assert config["isInitialized"] is True and config["isOnboarded"] is True
    assert fresh.call("POST", "/api/auth/logout", headers=headers).json["successful"] is True
    assert fresh.call("POST", "/api/auth/validateToken", headers=headers).status == 401


def test_setup_can_be_shut(standin: Any, tmp_path: Path) -> None:
    server = make(standin, tmp_path, IMMICH_ALLOW_SETUP="false").start()
    answer = server.call("POST", "/api/auth/admin-sign-up", BOSS)
    assert answer.status == 400 and answer.json["message"] == "Admin setup is disabled"


def test_who_asks(fresh: Any, admin: dict[str, str]) -> None:
    path = "/api/libraries"
    good = key(fresh, admin, "library.read")
    assert fresh.call("GET", path).json == {"message": "Authentication required"}
    assert fresh.call("GET", path, headers={"x-api-key": "x"}).json == {"message": "Invalid API key"}
    assert fresh.call("GET", path, headers=good).json == []
    assert fresh.call("GET", path + "/?apiKey=" + good["x-api-key"]).status == 200
    both = fresh.call("GET", path, headers=good | {"Authorization": "Bearer " + good["x-api-key"]})
    assert both.status == 401 and both.json == {"message": "Invalid user token"}
    denied = fresh.call("POST", path, {"ownerId": NOBODY}, good)
    assert denied.status == 403 and denied.json == {"message": "Missing required permission: library.create"}


def test_api_keys(fresh: Any, admin: dict[str, str]) -> None:
    path = "/api/api-keys"
    for bad in ({}, {"permissions": []}, {"permissions": ["fly"]}):
        assert fresh.call("POST", path, bad, admin).status == 400
    first = fresh.call("POST", path, {"name": "a", "permissions": ["apiKey.create", "asset.read"]}, admin).json
    assert len(first["secret"]) == 43 and "secret" not in first["apiKey"]
    fresh.call("POST", path, {"name": "a", "permissions": ["all"]}, admin)
    assert fresh.call("GET", path, headers=admin).json[0]["permissions"] == ["all"]
    limited = {"x-api-key": first["secret"]}
    denied = fresh.call("POST", path, {"permissions": ["library.read"]}, limited)
    assert denied.status == 400 and denied.json["message"] == "Cannot grant permissions you do not have"
    assert fresh.call("GET", path + "/me", headers=limited).json["id"] == first["apiKey"]["id"]
    assert fresh.call("GET", path + "/me", headers=admin).status == 403
    one = f"{path}/{first['apiKey']['id']}"
    assert fresh.call("DELETE", one, headers=admin).status == 204
    gone = fresh.call("DELETE", one, headers=admin)
    assert gone.status == 400 and gone.json["message"] == "API Key not found"


# --- libraries


def test_library_traps(fresh: Any, admin: dict[str, str]) -> None:
    path, owner = "/api/libraries", my_id(fresh, admin)
    unknown = fresh.call("POST", path, {"ownerId": NOBODY}, admin)
    assert unknown.status == 500 and unknown.json == {"message": "Failed to create library"}
    for bad in ({}, {"ownerId": "x"}, {"ownerId": owner, "importPaths": ["/a", "/a"]},
                {"ownerId": owner, "name": ""}, {"ownerId": owner, "importPaths": [" "]}):  # fmt: skip
        answer = fresh.call("POST", path, bad, admin)
        assert answer.status == 400 and answer.json["message"] == "Validation failed" and answer.json["errors"]
    made = fresh.call("POST", path, {"ownerId": owner, "name": "L", "importPaths": ["/nowhere/"], "type": "X"}, admin)
    assert made.status == 201 and made.json["importPaths"] == ["/nowhere/"] and "type" not in made.json
    assert made.json["refreshedAt"] is None and len(made.json["exclusionPatterns"]) == 6
    assert fresh.call("POST", path, {"ownerId": owner, "name": "L"}, admin).status == 201, "names are not unique"
    one = f"{path}/{made.json['id']}"
    bad = fresh.call("PUT", one, {"importPaths": ["/nowhere/"]}, admin)
    assert bad.status == 400 and bad.json["message"] == "Invalid import path: Path does not exist (ENOENT)"
    for empty in ({}, {"ownerId": owner}):
        answer = fresh.call("PUT", one, empty, admin)
        assert answer.status == 500 and answer.json["message"] == "Failed to update library"
    assert fresh.call("PATCH", one, {"exclusionPatterns": []}, admin).json["exclusionPatterns"] == []
    assert fresh.call("GET", f"{path}/{NOBODY}", headers=admin).json == {"message": "Library not found"}
    assert fresh.call("GET", f"{path}/not-a-uuid", headers=admin).status == 400
    assert fresh.call("DELETE", one, headers=admin).status == 204
    assert fresh.call("GET", one, headers=admin).status == 400
    assert fresh.call("DELETE", one, headers=admin).status == 400
    assert fresh.call("GET", one + "/statistics", headers=admin).json["total"] == 0


def test_validate(fresh: Any, admin: dict[str, str]) -> None:
    (fresh.root / "mnt/media/photos/file").write_text("")
    paths = ["/mnt/media/photos", "/nowhere", "/mnt/media/photos/file", "photos", "/data/upload"]
    path = f"/api/libraries/{NOBODY}/validate"
    found = fresh.call("POST", path, {"importPaths": paths}, admin).json["importPaths"]
    assert [each["isValid"] for each in found] == [True, False, False, False, False]
    assert [each.get("message", "").split(",")[0] for each in found[1:]] == [
        "Path does not exist (ENOENT)",
        "Not a directory",
        "Import path must be absolute",
        "Cannot use media upload folder for external libraries",
    ]
    denied = fresh.call("POST", path, {"importPaths": []}, key(fresh, admin, "library.read", "library.update"))
    assert denied.json == {"message": "Missing required permission: all"}


def test_scan_imports_what_is_there(fresh: Any, admin: dict[str, str]) -> None:
    root = fresh.root / "mnt/media/photos"
    (root / "@eaDir").mkdir()
    for name in ("a.jpg", "b.mp4", "notes.txt", "@eaDir/thumb.jpg", "._c.jpg"):
        (root / name).write_bytes(b"12345")
    owner = my_id(fresh, admin)
    library = fresh.call(
        "POST", "/api/libraries", {"ownerId": owner, "importPaths": ["/mnt/media/photos"]}, admin
    ).json["id"]
    one = f"/api/libraries/{library}"
    assert fresh.call("POST", one + "/scan", headers=admin).status == 204
    wait(lambda: fresh.call("GET", one, headers=admin).json["refreshedAt"] is not None)
    wait(lambda: fresh.call("GET", one + "/statistics", headers=admin).json["usage"] == 10)
    assert fresh.call("GET", one + "/statistics", headers=admin).json == {
        "photos": 1,
        "videos": 1,
        "total": 2,
        "usage": 10,
    }
    (root / "a.jpg").unlink()
    fresh.call("POST", one + "/scan", headers=admin)
    live = {"libraryId": library}
    wait(lambda: fresh.call("POST", "/api/search/metadata", live, admin).json["assets"]["total"] == 1)
    assert fresh.call("GET", one + "/statistics", headers=admin).json["total"] == 2, "offline assets still count"
    page = fresh.call("POST", "/api/search/metadata", live | {"withDeleted": True, "size": 1}, admin).json["assets"]
    assert page["nextPage"] == "2" and page["total"] == 1


def test_paused_queue_holds_jobs(fresh: Any, admin: dict[str, str]) -> None:
    owner = my_id(fresh, admin)
    body = {"ownerId": owner, "importPaths": ["/mnt/media/photos"]}
    library = fresh.call("POST", "/api/libraries", body, admin).json["id"]
    assert fresh.call("PUT", "/api/jobs/library", {"command": "pause"}, admin).json["queueStatus"]["isPaused"] is True
    fresh.call("POST", f"/api/libraries/{library}/scan", headers=admin)
    queue = fresh.call("GET", "/api/queues/library", headers=admin).json
    assert queue["isPaused"] is True and queue["statistics"]["paused"] == 1 and queue["statistics"]["waiting"] == 0
    fresh.call("PUT", "/api/queues/library", {"isPaused": False}, admin)
    wait(lambda: fresh.call("GET", f"/api/libraries/{library}", headers=admin).json["refreshedAt"] is not None)
    assert fresh.call("GET", "/api/jobs", headers=admin).json["library"]["jobCounts"]["completed"] == 0


# --- users


def test_users(fresh: Any, admin: dict[str, str]) -> None:
    path = "/api/admin/users"
    body = {"email": "Kid@example.org", "password": "p", "name": "Kid", "storageLabel": "a/b c"}
    kid = fresh.call("POST", path, body, admin)
    assert kid.status == 201 and kid.json["storageLabel"] == "ab c" and kid.json["email"] == "kid@example.org"
    taken = fresh.call("POST", path, body | {"storageLabel": "x"}, admin)
    assert taken.status == 400 and taken.json == {"message": "Email is not available"}
    assert fresh.call("POST", path, body | {"email": "new@x.y"}, admin).status == 500, "label in use"
    as_kid = log_in(fresh, "kid@example.org", "p")
    assert fresh.call("GET", path, headers=as_kid).json == {"message": "Forbidden"}
    one = f"{path}/{kid.json['id']}"
    assert fresh.call("PUT", one, {"storageLabel": "", "quotaSizeInBytes": 5}, admin).json["storageLabel"] is None
    assert fresh.call("DELETE", one, headers=admin).status == 400, "version 3 wants a body"
    assert fresh.call("DELETE", one, {}, admin).json["status"] == "deleted"
    assert fresh.call("GET", "/api/users/me", headers=as_kid).status == 401
    assert fresh.call("POST", path, body, admin).status == 500, "a soft-deleted user holds the address"
    assert len(fresh.call("GET", path, headers=admin).json) == 1
    assert len(fresh.call("GET", path + "?withDeleted=true", headers=admin).json) == 2
    assert fresh.call("POST", one + "/restore", headers=admin).json["status"] == "active"
    me = f"{path}/{my_id(fresh, admin)}"
    assert fresh.call("DELETE", me, {}, admin).status == 403
    assert fresh.call("PUT", me, {"isAdmin": False}, admin).status == 400


# --- configuration


def leaves(document: Any) -> int:
    return sum(leaves(value) for value in document.values()) if isinstance(document, dict) else 1


def test_system_config(fresh: Any, admin: dict[str, str]) -> None:
    path = "/api/system-config"
    document = fresh.call("GET", path, headers=admin).json
    assert leaves(document) >= 60
    partial = fresh.call("PUT", path, {"trash": {"enabled": True, "days": 9}}, admin)
    missing = {each["path"][0] for each in partial.json["errors"]}
    assert partial.status == 400 and {"ffmpeg", "integrityChecks", "job"} <= missing and "trash" not in missing
    document["trash"]["days"] = 9
    answer = fresh.call("PUT", path, document | {"colour": "red"}, admin)
    assert answer.status == 200
    read = fresh.call("GET", path, headers=admin).json
    assert read["trash"]["days"] == 9 and "colour" not in read
    document["backup"]["database"]["cronExpression"] = "whenever"
    assert fresh.call("PUT", path, document, admin).status == 400


def test_config_file_shuts_the_api(standin: Any, tmp_path: Path) -> None:
    file = tmp_path / "immich.json"
    file.write_text('{"trash": {"days": 3}, "nonsense": 1}')
    server = make(standin, tmp_path, IMMICH_CONFIG_FILE=str(file)).start()
    server.call("POST", "/api/auth/admin-sign-up", BOSS)
    headers = log_in(server)
    assert server.call("GET", "/api/server/features").json["configFile"] is True
    document = server.call("GET", "/api/system-config", headers=headers).json
    assert document["trash"] == {"enabled": True, "days": 3}
    answer = server.call("PUT", "/api/system-config", document, headers)
    assert answer.json == {"message": "Cannot update configuration while IMMICH_CONFIG_FILE is in use"}
    assert "Unknown keys found: nonsense" in server.log.read_text()


# --- assets and state


def photo(name: str, content: bytes) -> tuple[bytes, dict[str, str]]:
    fields = {"fileCreatedAt": b"2026-01-01T00:00:00.000Z", "fileModifiedAt": b"2026-01-01T00:00:00.000Z"}
    form = b"".join(
        b'--X\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n' % (k.encode(), v) for k, v in fields.items()
    )
    head = b'--X\r\nContent-Disposition: form-data; name="assetData"; filename="%s"\r\n\r\n' % name.encode()
    return form + head + content + b"\r\n--X--\r\n", {"Content-Type": "multipart/form-data; boundary=X"}


def test_upload_is_a_file_and_a_row(fresh: Any, admin: dict[str, str]) -> None:
    content = bytes(range(256)) + b"\r\n--not the boundary\r\n"
    body, form = photo("a.jpg", content)
    made = fresh.call("POST", "/api/assets", body, admin | form)
    assert made.status == 201 and made.json["status"] == "created"
    again = fresh.call("POST", "/api/assets", body, admin | form)
    assert (again.status, again.json) == (200, {"id": made.json["id"], "status": "duplicate"})
    assert fresh.call("GET", f"/api/assets/{made.json['id']}/original", headers=admin).body == content
    stored = list((fresh.root / "data/upload").rglob("*.jpg"))
    assert [hashlib.sha1(file.read_bytes()).hexdigest() for file in stored] == [hashlib.sha1(content).hexdigest()]
    checks = [{"id": "1", "checksum": hashlib.sha1(content).hexdigest()}, {"id": "2", "checksum": "0" * 40}]
    found = fresh.call("POST", "/api/assets/bulk-upload-check", {"assets": checks}, admin).json["results"]
    assert [each["action"] for each in found] == ["reject", "accept"]
    assert fresh.call("POST", "/api/assets", *photo("a.txt", b"x")[:1], admin | form).status == 400
    fresh.restart()
    assert fresh.call("GET", "/api/assets/statistics", headers=admin).json == {"images": 1, "videos": 0, "total": 1}


def test_backup_job_writes_a_dump(fresh: Any, admin: dict[str, str]) -> None:
    assert fresh.call("POST", "/api/jobs", {"name": "backup-database"}, admin).status == 204
    path = "/api/admin/database-backups"
    wait(lambda: len(fresh.call("GET", path, headers=admin).json["backups"]) == 1)


def test_version_2_bodies(standin: Any, tmp_path: Path) -> None:
    server = make(standin, tmp_path, LAB_TEST_VERSION="v2.7.5").start()
    answer = server.call("GET", "/api/nope").json
    assert answer["statusCode"] == 404 and answer["error"] == "Not Found" and answer["correlationId"]
    server.call("POST", "/api/auth/admin-sign-up", BOSS)
    headers = log_in(server)
    bad = server.call("POST", "/api/libraries", {"ownerId": "x"}, headers).json
    assert isinstance(bad["message"], list)
    assert server.call("PATCH", f"/api/libraries/{uuid.uuid4()}", {"name": "x"}, headers).status == 404
