# SPDX-License-Identifier: MIT
"""What Immich's API was seen to do, as calls and answers: run against the fake here, and against a real server.

Each check gets a :class:`Server`: how to call it, which version it says it is, the session of an administrator, and a
folder it can see. All that a check makes is named ``contract-…`` and taken away again, as far as Immich lets it.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

NOBODY = "6a1b1b5e-6f5a-4a6e-8f0c-0d8f0c9d7e11"
NOWHERE = "/contract/does/not/exist"


@dataclass
class Server:
    """``send(method, path, body, headers)`` answers (status, JSON or None); paths are below /api."""

    send: Callable[[str, str, Any, dict[str, str]], tuple[int, Any]]
    version: tuple[int, int, int]
    session: dict[str, str]
    folder: str
    stamp: str = field(default_factory=lambda: uuid.uuid4().hex[:8])

    def call(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> tuple[int, Any]:
        return self.send(method, path, body, self.session if headers is None else headers)

    def me(self) -> str:
        return str(self.call("GET", "/users/me")[1]["id"])

    def by_version(self, first: Any, second: Any, third: Any) -> Any:
        """Of 1.144, 2.7 and 3.1."""
        return (first, second, third)[min(self.version[0], 3) - 1]

    @contextmanager
    def library(self, **more: Any) -> Iterator[dict[str, Any]]:
        body = {"ownerId": self.me(), "name": f"contract-{self.stamp}", **more}
        status, library = self.call("POST", "/libraries", body)
        assert status == 201, library
        try:
            yield library
        finally:
            self.call("DELETE", f"/libraries/{library['id']}")

    @contextmanager
    def key(self, *permissions: str) -> Iterator[dict[str, str]]:
        status, made = self.call(
            "POST", "/api-keys", {"name": f"contract-{self.stamp}", "permissions": list(permissions)}
        )
        assert status == 201, made
        try:
            yield {"x-api-key": made["secret"]}
        finally:
            self.call("DELETE", f"/api-keys/{made['apiKey']['id']}")

    @contextmanager
    def user(self, **more: Any) -> Iterator[dict[str, Any]]:
        email = f"Contract-{self.stamp}-{uuid.uuid4().hex[:6]}@example.org"
        status, user = self.call("POST", "/admin/users", {"email": email, "password": "pw-1", "name": "C", **more})
        assert status == 201, user
        try:
            yield user
        finally:
            self.call("DELETE", f"/admin/users/{user['id']}", {"force": True})


def says(answer: tuple[int, Any], status: int, text: str) -> None:
    assert answer[0] == status, answer
    assert text in str(answer[1]["message"]), answer


def error_bodies(server: Server) -> None:
    status, body = server.call("POST", "/libraries", {"ownerId": "x"})
    assert status == 400
    if server.version[0] < 3:
        assert isinstance(body["message"], list)
        assert body["statusCode"] == 400
        assert body["error"] == "Bad Request"
    else:
        assert body["message"] == "Validation failed"
        assert body["errors"][0]["path"] == ["ownerId"]
        assert "statusCode" not in body
    assert server.call("GET", "/nope")[0] == 404


def who_asks(server: Server) -> None:
    says(server.call("GET", "/libraries", headers={}), 401, "Authentication required")
    says(server.call("GET", "/libraries", headers={"x-api-key": "x"}), 401, "Invalid API key")
    says(server.call("GET", "/libraries", headers={"Authorization": "Bearer x"}), 401, "Invalid user token")
    with server.key("library.read") as key:
        assert server.call("GET", "/libraries", headers=key)[0] == 200
        both = {**key, "Authorization": "Bearer x"}
        says(server.call("GET", "/libraries", headers=both), 401, "Invalid user token")
        says(server.call("GET", "/admin/users", headers=key), 403, "Missing required permission: adminUser.read")
        status, me = server.call("GET", "/api-keys/me", headers=key)
        assert (status, me["permissions"]) == (200, ["library.read"])
    assert server.call("GET", "/api-keys/me")[0] == 403


def permissions_of_routes(server: Server) -> None:
    """A key with one useless permission is told the one it misses, per route."""
    routes = [
        ("GET", "/libraries", "library.read"), ("POST", "/libraries", "library.create"),
        ("PUT", f"/libraries/{NOBODY}", "library.update"), ("DELETE", f"/libraries/{NOBODY}", "library.delete"),
        ("POST", f"/libraries/{NOBODY}/scan", "library.update"), ("POST", f"/libraries/{NOBODY}/validate", "all"),
        ("GET", f"/libraries/{NOBODY}/statistics", "library.statistics"), ("GET", "/admin/users", "adminUser.read"),
        ("POST", "/admin/users", "adminUser.create"), ("PUT", f"/admin/users/{NOBODY}", "adminUser.update"),
        ("DELETE", f"/admin/users/{NOBODY}", "adminUser.delete"),
        ("POST", f"/admin/users/{NOBODY}/restore", "adminUser.delete"), ("GET", "/system-config", "systemConfig.read"),
        ("PUT", "/system-config", "systemConfig.update"), ("GET", "/jobs", "job.read"),
        ("GET", "/api-keys", "apiKey.read"),
        *([("GET", "/queues/library", "queue.read")] if server.version >= (2, 4, 0) else []),
    ]  # fmt: skip
    with server.key("asset.read") as key:
        for method, path, permission in routes:
            answer = server.call(method, path, {} if method != "GET" else None, headers=key)
            says(answer, 403, f"Missing required permission: {permission}")


def api_keys(server: Server) -> None:
    for bad in ({}, {"permissions": []}, {"permissions": ["fly"]}):
        assert server.call("POST", "/api-keys", {"name": "contract", **bad})[0] == 400
    with server.key("apiKey.create") as key:
        says(
            server.call("POST", "/api-keys", {"name": "contract", "permissions": ["library.read"]}, key),
            400,
            "Cannot grant permissions you do not have",
        )
    says(server.call("DELETE", f"/api-keys/{NOBODY}"), 400, "API Key not found")


def library_traps(server: Server) -> None:
    says(server.call("POST", "/libraries", {"ownerId": NOBODY}), 500, "Failed to create library")
    assert server.call("POST", "/libraries", {"ownerId": server.me(), "importPaths": ["/a", "/a"]})[0] == 400
    with server.library(importPaths=[NOWHERE + "/"], type="X") as one, server.library() as two:
        assert one["id"] != two["id"], "names are not unique"
        assert one["importPaths"] == [NOWHERE + "/"], "create does not look at folders, and keeps a slash"
        assert one["refreshedAt"] is None
        assert one["assetCount"] == 0
        path = f"/libraries/{one['id']}"
        says(server.call("PUT", path, {"importPaths": [NOWHERE]}), 400, "Invalid import path: Path does not exist")
        for empty in ({}, {"ownerId": server.me()}):
            says(server.call("PUT", path, empty), 500, "Failed to update library")
        status, changed = server.call("PUT", path, {"exclusionPatterns": []})
        assert (status, changed["exclusionPatterns"], changed["importPaths"]) == (200, [], [NOWHERE + "/"])
        assert changed["updatedAt"] > one["updatedAt"]
        assert server.call("PATCH", path, {"name": "contract"})[0] == server.by_version(404, 404, 200)
        assert server.call("DELETE", path)[0] == 204
        says(server.call("GET", path), 400, "Library not found")
        says(server.call("DELETE", path), 400, "Library not found")
        assert server.call("GET", path + "/statistics")[1]["total"] == 0
    says(server.call("PUT", f"/libraries/{NOBODY}", {"name": "x"}), 400, "Library not found")


def validate(server: Server) -> None:
    paths = [server.folder, NOWHERE, "contract"]
    status, answer = server.call("POST", f"/libraries/{NOBODY}/validate", {"importPaths": paths})
    assert status == 200, answer
    found = answer["importPaths"]
    assert [one["isValid"] for one in found] == [True, False, False]
    assert found[1]["message"] == "Path does not exist (ENOENT)"
    assert found[2]["message"].startswith("Import path must be absolute")


def queues(server: Server) -> None:
    status, answer = server.call("GET", "/queues/library")
    assert status == server.by_version(404, 200, 200)
    if status == 200:
        assert answer["isPaused"] is False
        assert set(answer["statistics"]) >= {"active", "waiting", "delayed", "paused"}
    library = server.call("GET", "/jobs")[1]["library"]
    assert library["queueStatus"]["isPaused"] is False
    assert set(library["jobCounts"]) >= {"active", "waiting", "delayed", "paused"}


def user_traps(server: Server) -> None:
    label = f"c/{server.stamp}.x "
    with server.user(storageLabel=label, quotaSizeInBytes=5) as user:
        stored = f"c{server.stamp}x"
        assert (user["email"], user["storageLabel"]) == (user["email"].lower(), stored)
        body = {"email": user["email"], "password": "pw", "name": "C"}
        taken = server.call("POST", "/admin/users", body)
        says(taken, 400, server.by_version("User exists", "User exists", "Email is not available"))
        other = {**body, "email": f"contract-x-{server.stamp}@example.org", "storageLabel": stored}
        assert server.call("POST", "/admin/users", other)[0] == 500, "label in use"
        path = f"/admin/users/{user['id']}"
        assert server.call("PUT", path, {"storageLabel": "", "quotaSizeInBytes": None})[1]["storageLabel"] is None
        if server.version[0] >= 3:
            assert server.call("DELETE", path)[0] == 400, "wants a body"
        status, gone = server.call("DELETE", path, {})
        assert (status, gone["status"]) == (200, "deleted")
        assert server.call("POST", "/admin/users", body)[0] == 500, "a deleted user holds the address"
        assert user["id"] not in [one["id"] for one in server.call("GET", "/admin/users")[1]]
        assert user["id"] in [one["id"] for one in server.call("GET", "/admin/users?withDeleted=true")[1]]
        assert server.call("POST", path + "/restore")[1]["status"] == "active"
    me = f"/admin/users/{server.me()}"
    assert server.call("DELETE", me, {})[0] == 403
    assert server.call("PUT", me, {"isAdmin": False})[0] == 400
    says(server.call("PUT", f"/admin/users/{NOBODY}", {"name": "x"}), 400, "User not found")


def system_config(server: Server) -> None:
    document = server.call("GET", "/system-config")[1]
    assert server.call("PUT", "/system-config", {"trash": document["trash"]})[0] == 400, "only whole"
    status, answer = server.call("PUT", "/system-config", {**document, "contractColour": "red"})
    assert status == 200, answer
    after = server.call("GET", "/system-config")[1]
    assert "contractColour" not in after, "what it does not know is dropped without a word"
    assert after == document
    assert ("integrityChecks" in document) is (server.version[0] >= 3)
    assert server.call("GET", "/server/features", headers={})[1]["configFile"] is False


CHECKS: list[Callable[[Server], None]] = [
    error_bodies,
    who_asks,
    permissions_of_routes,
    api_keys,
    library_traps,
    validate,
    queues,
    user_traps,
    system_config,
]
