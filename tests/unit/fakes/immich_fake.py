# SPDX-License-Identifier: MIT
"""A fake of Immich's API, written from what real servers 1.144, 2.7 and 3.1 were seen to answer."""

from __future__ import annotations

import copy
import re
from typing import Any

from ansible_collections.homelab.mediaserver.tests.unit.fakes.http_fake import Answer, HttpFake

CONFIG: dict[str, Any] = {
    "ffmpeg": {"crf": 23, "accel": "disabled", "accelDecode": False, "acceptedVideoCodecs": ["h264"]},
    "library": {"scan": {"enabled": True, "cronExpression": "0 0 * * *"}, "watch": {"enabled": False}},
    "machineLearning": {"enabled": True, "urls": ["http://immich-machine-learning:3003"]},
    "notifications": {"smtp": {"enabled": False, "transport": {"host": "", "username": "", "password": ""}}},
    "oauth": {"enabled": False, "clientId": "", "clientSecret": ""},
    "server": {"externalDomain": "", "loginPageMessage": ""},
}
SECTION_OF_3 = {"integrityChecks": {"missingFiles": {"enabled": True}}}
DEFAULT_EXCLUSIONS = {
    1: ["**/@eaDir/**", "**/._*"],
    2: ["**/@eaDir/**", "**/._*", "**/.stfolder/**"],
    3: ["**/@eaDir/**"],
}


def uuid(number: int) -> str:
    return f"00000000-0000-4000-8000-{number:012}"


class ImmichFake(HttpFake):
    prefix = "/api"
    harmless = frozenset({("POST", "/auth/login"), ("POST", "/auth/logout")})

    def __init__(self, version: tuple[int, int, int] = (3, 1, 0), admin: bool = True) -> None:
        super().__init__()
        self.version = version
        self.users: list[dict[str, Any]] = []
        self.keys: list[dict[str, Any]] = []
        self.libraries: list[dict[str, Any]] = []
        self.config = {**copy.deepcopy(CONFIG), **(copy.deepcopy(SECTION_OF_3) if version[0] >= 3 else {})}
        self.config_file = False
        self.maintenance = False
        self.onboarded = admin
        self.sessions: set[str] = set()
        self.missing_paths: set[str] = set()
        self.queue_paused = False
        self.scans: list[str] = []
        self.busy_polls = 0  # how many more polls the library queue is busy
        self.scan_takes = 2
        self.count = 0
        if admin:
            self.add_user("admin@example.org", "correct horse", isAdmin=True, isOnboarded=True)
            self.add_key("full", ["all"], "key-all")
        one = r"/([^/]+)"
        self.routes = [
            ("GET", "/server/config", self.server_config),
            ("GET", "/server/version", lambda **_: dict(zip(("major", "minor", "patch"), self.version, strict=True))),
            ("GET", "/server/features", lambda **_: {"configFile": self.config_file, "oauth": False}),
            ("POST", "/auth/admin-sign-up", self.sign_up),
            ("POST", "/auth/login", self.login),
            ("POST", "/auth/logout", self.logout),
            ("POST", "/system-metadata/admin-onboarding", self.onboard),
            ("PUT", "/users/me/onboarding", self.onboard_user),
            ("GET", "/api-keys/me", self.my_key),
            (
                "GET",
                "/api-keys",
                lambda **_: [self.shown(key) for key in reversed(self.keys) if key["user"] == self.me["id"]],
            ),
            ("POST", "/api-keys", self.create_key),
            ("PUT", "/api-keys" + one, self.update_key),
            ("DELETE", "/api-keys" + one, self.delete_key),
            ("GET", "/admin/users", self.list_users),
            ("POST", "/admin/users", self.create_user),
            ("PUT", "/admin/users" + one, self.update_user),
            ("DELETE", "/admin/users" + one, self.delete_user),
            ("POST", "/admin/users" + one + "/restore", self.restore_user),
            ("GET", "/libraries", self.list_libraries),
            ("POST", "/libraries", self.create_library),
            ("PUT", "/libraries" + one, self.update_library),
            ("DELETE", "/libraries" + one, self.delete_library),
            ("GET", "/libraries" + one, lambda number, **_: self.library(number)),
            (
                "GET",
                "/libraries" + one + "/statistics",
                lambda *_, **__: {"photos": 1, "videos": 0, "total": 1, "usage": 9},
            ),
            ("POST", "/libraries" + one + "/scan", self.scan),
            ("GET", "/jobs", self.jobs),
            ("GET", "/system-config", lambda **_: self.config),
            ("PUT", "/system-config", self.put_config),
        ]
        if version >= (2, 4, 0):
            self.routes.append(("GET", "/queues/library", self.queue))

    # envelope and authentication

    def error(self, status: int, text: Any) -> Any:
        if self.version[0] >= 3:
            if isinstance(text, list):
                return {"message": "Validation failed", "errors": [{"path": ["x"], "message": part} for part in text]}
            return {"message": text}
        names = {400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found"}
        return {"message": text, "error": names.get(status, "Error"), "statusCode": status, "correlationId": "x"}

    def refuse(self, status: int, text: Any) -> Answer:
        return Answer(status, self.error(status, text))

    SCOPES = {
        "/libraries": "library", "/admin/users": "adminUser", "/system-config": "systemConfig", "/queues": "queue",
        "/jobs": "job", "/api-keys": "apiKey",
    }  # fmt: skip
    ACTIONS = {"GET": "read", "POST": "create", "PUT": "update", "DELETE": "delete"}

    def before(self, method: str, path: str) -> None:
        public = ("/server/config", "/server/version", "/server/features", "/auth/admin-sign-up", "/auth/login")
        if path in public:
            return
        bearer = self.headers.get("authorization")
        if bearer is not None:  # the session wins over a key
            if bearer.removeprefix("Bearer ") not in self.sessions:
                raise self.refuse(401, "Invalid user token")
            self.me = self.user(bearer.removeprefix("Bearer session-"))
            self.key: dict[str, Any] | None = None
            return
        secret = self.headers.get("x-api-key")
        if secret is None:
            raise self.refuse(401, "Authentication required")
        self.key = next((key for key in self.keys if key["secret"] == secret), None)
        if self.key is None:
            raise self.refuse(401, "Invalid API key")
        self.me = self.user(self.key["user"])
        if path != "/api-keys/me":
            self.need(method, path)

    def need(self, method: str, path: str) -> None:
        if not any(method == known and re.fullmatch(pattern, path) for known, pattern, _function in self.routes):
            return  # an unknown route is 404 to everybody
        scope = next((name for start, name in self.SCOPES.items() if path.startswith(start)), None)
        if scope is None or self.key is None:
            return
        action = (
            "update"
            if path.endswith("/scan")
            else "statistics"
            if path.endswith("/statistics")
            else self.ACTIONS[method]
        )
        if not {"all", f"{scope}.{action}"} & set(self.key["permissions"]):
            raise self.refuse(403, f"Missing required permission: {scope}.{action}")

    # state made by hand

    def number(self) -> str:
        self.count += 1
        return uuid(self.count)

    def add_user(self, email: str, password: str, **more: Any) -> dict[str, Any]:
        user = {
            "id": self.number(), "email": email.lower(), "password": password, "name": email, "isAdmin": False,
            "storageLabel": None, "quotaSizeInBytes": None, "deletedAt": None, "status": "active", "isOnboarded": False,
            "shouldChangePassword": True, **more,
        }  # fmt: skip
        self.users.append(user)
        return user

    def add_key(self, name: str, permissions: list[str], secret: str) -> dict[str, Any]:
        key = {
            "id": self.number(),
            "name": name,
            "permissions": permissions,
            "secret": secret,
            "user": self.users[0]["id"],
        }
        self.keys.append(key)
        return key

    def add_library(self, name: str, owner: str, paths: list[str], patterns: list[str] | None = None) -> dict[str, Any]:
        library = {
            "id": self.number(), "ownerId": owner, "name": name, "importPaths": paths, "refreshedAt": None,
            "exclusionPatterns": patterns or [], "assetCount": 0, "updatedAt": "1",
        }  # fmt: skip
        self.libraries.append(library)
        return library

    @staticmethod
    def shown(thing: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in thing.items() if name not in ("password", "secret", "user")}

    def user(self, number: str) -> dict[str, Any]:
        for user in self.users:
            if user["id"] == number:
                return user
        raise self.refuse(400, "User not found")

    def library(self, number: str) -> dict[str, Any]:
        for library in self.libraries:
            if library["id"] == number:
                return library
        raise self.refuse(400, "Library not found")

    # routes

    def server_config(self, **_: Any) -> Any:
        found = {"isInitialized": bool(self.users), "isOnboarded": self.onboarded, "externalDomain": ""}
        return {**found, "maintenanceMode": self.maintenance} if self.version >= (2, 3, 0) else found

    def sign_up(self, *, body: Any, **_: Any) -> Any:
        if self.users:
            raise self.refuse(400, "The server already has an admin")
        user = self.add_user(body["email"], body["password"], name=body["name"], isAdmin=True, storageLabel="admin")
        return 201, self.shown(user)

    def login(self, *, body: Any, **_: Any) -> Any:
        for user in self.users:
            if (user["email"], user["password"]) == (body["email"], body["password"]) and not user["deletedAt"]:
                self.sessions.add(f"session-{user['id']}")
                return 201, {
                    "accessToken": f"session-{user['id']}", "userId": user["id"], "isAdmin": user["isAdmin"],
                    "isOnboarded": user["isOnboarded"],
                }  # fmt: skip
        raise self.refuse(401, "Incorrect email or password")

    def logout(self, **_: Any) -> Any:
        self.sessions.clear()
        return {"successful": True}

    def onboard(self, *, body: Any, **_: Any) -> Any:
        self.onboarded = body["isOnboarded"]
        return 204, None

    def onboard_user(self, *, body: Any, **_: Any) -> Any:
        self.me["isOnboarded"] = body["isOnboarded"]
        return body

    def my_key(self, **_: Any) -> Any:
        if self.key is None:
            raise self.refuse(403, "Not authenticated with an API Key")
        return self.shown(self.key)

    def create_key(self, *, body: Any, **_: Any) -> Any:
        if not body.get("permissions") or "nonsense" in body["permissions"]:
            raise self.refuse(400, ["each value in permissions must be one of the following values"])
        key = self.add_key(body.get("name", "API Key"), body["permissions"], f"secret-{self.count}")
        key["user"] = self.me["id"]
        return 201, {"secret": key["secret"], "apiKey": self.shown(key)}

    def update_key(self, number: str, *, body: Any, **_: Any) -> Any:
        for key in self.keys:
            if key["id"] == number:
                key.update(body)
                return self.shown(key)
        raise self.refuse(400, "API Key not found")

    def delete_key(self, number: str, **_: Any) -> Any:
        if number not in [key["id"] for key in self.keys]:
            raise self.refuse(400, "API Key not found")
        self.keys = [key for key in self.keys if key["id"] != number]
        return 204, None

    def list_users(self, *, query: dict[str, str], **_: Any) -> Any:
        return [self.shown(u) for u in reversed(self.users) if query.get("withDeleted") == "true" or not u["deletedAt"]]

    @staticmethod
    def label(text: str | None) -> str | None:
        return "".join(c for c in text or "" if c not in './?<>\\:*|"') or None

    def create_user(self, *, body: Any, **_: Any) -> Any:
        former = [user for user in self.users if user["email"] == body["email"].lower()]
        if former:
            if former[0]["deletedAt"]:
                raise self.refuse(500, "Failed to create user")
            raise self.refuse(400, "Email is not available" if self.version[0] >= 3 else "User exists")
        label = self.label(body.get("storageLabel"))
        if label and label in [user["storageLabel"] for user in self.users]:
            raise self.refuse(500, "Failed to create user")
        more = {key: value for key, value in body.items() if key not in ("email", "password", "notify")}
        return 201, self.shown(self.add_user(body["email"], body["password"], **{**more, "storageLabel": label}))

    def update_user(self, number: str, *, body: Any, **_: Any) -> Any:
        user = self.user(number)
        if "isAdmin" in body and user is self.me:
            raise self.refuse(400, "Admin status can not be changed on yourself")
        if "storageLabel" in body:
            body["storageLabel"] = self.label(body["storageLabel"])
        user.update(body)
        return self.shown(user)

    def delete_user(self, number: str, *, body: Any, **_: Any) -> Any:
        if body is None and self.version[0] >= 3:
            raise self.refuse(400, ["body is required"])
        user = self.user(number)
        if user is self.me:
            raise self.refuse(403, "Cannot delete your own account")
        user.update(deletedAt="2026-11-21", status="removing" if (body or {}).get("force") else "deleted")
        return self.shown(user)

    def restore_user(self, number: str, **_: Any) -> Any:
        self.user(number).update(deletedAt=None, status="active")
        return self.shown(self.user(number))

    def create_library(self, *, body: Any, **_: Any) -> Any:
        if body["ownerId"] not in [user["id"] for user in self.users]:
            raise self.refuse(500, "Failed to create library")
        paths = body.get("importPaths", [])
        if len(set(paths)) != len(paths):
            raise self.refuse(400, ["All importPaths's elements must be unique"])
        patterns = body.get("exclusionPatterns", DEFAULT_EXCLUSIONS[self.version[0]])
        return 201, self.add_library(body.get("name", "New External Library"), body["ownerId"], paths, list(patterns))

    def update_library(self, number: str, *, body: Any, **_: Any) -> Any:
        library = self.library(number)
        known = {key: value for key, value in body.items() if key in ("name", "importPaths", "exclusionPatterns")}
        if not known:
            raise self.refuse(500, "Failed to update library")
        for path in known.get("importPaths", []):
            if path in self.missing_paths:
                raise self.refuse(400, "Invalid import path: Path does not exist (ENOENT)")
        library.update(known, updatedAt=library["updatedAt"] + "1")
        return library

    def delete_library(self, number: str, **_: Any) -> Any:
        self.libraries.remove(self.library(number))
        return 204, None

    def scan(self, number: str, **_: Any) -> Any:
        self.library(number)
        self.scans.append(number)
        self.busy_polls = self.scan_takes
        return 204, None

    def list_libraries(self, **_: Any) -> Any:
        answer = copy.deepcopy(self.libraries)
        for library in self.libraries:  # the folders are walked by the next look; the imports then still queue
            if library["id"] in self.scans:
                library["refreshedAt"] = f"after scan {self.scans.count(library['id'])}"
        return answer

    def poll(self) -> dict[str, int]:
        counts = {"active": 0, "waiting": 0, "delayed": 0, "paused": 0, "completed": 0, "failed": 0}
        if self.queue_paused:
            return {**counts, "paused": len(self.scans)}
        if self.busy_polls > 0:
            self.busy_polls -= 1
            return {**counts, "active": 1}
        return counts

    def queue(self, **_: Any) -> Any:
        return {"name": "library", "isPaused": self.queue_paused, "statistics": self.poll()}

    def jobs(self, **_: Any) -> Any:
        return {
            "library": {"queueStatus": {"isActive": False, "isPaused": self.queue_paused}, "jobCounts": self.poll()}
        }

    def put_config(self, *, body: Any, **_: Any) -> Any:
        if self.config_file:
            raise self.refuse(400, "Cannot update configuration while IMMICH_CONFIG_FILE is in use")
        missing = [f"{section} must be an object" for section in self.config if section not in body]
        if missing:
            raise self.refuse(400, missing)
        self.config = {section: {**self.config[section], **body[section]} for section in self.config}
        return self.config
