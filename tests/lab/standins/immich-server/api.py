# SPDX-License-Identifier: MIT
"""How the API speaks: error bodies of each major version, who asks, what a key may do."""

from __future__ import annotations

import hashlib
import json
import re
import secrets
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import release
from database import NAME, Database
from standin import App, Reply, Request, Stop

app = App(NAME)
database = Database({})  # start.py gives it its settings

_ACTIONS = {
    "activity": "create read update delete statistics", "apiKey": "create read update delete",
    "asset": "read update delete statistics share view download upload copy derive", "album":
    "create read update delete statistics share download", "albumAsset": "create delete",
    "albumUser": "create update delete", "auth": "changePassword", "authDevice": "delete", "archive": "read",
    "backup": "list download upload delete", "duplicate": "read delete", "face": "create read update delete",
    "folder": "read", "job": "create read", "library": "create read update delete statistics", "maintenance": "",
    "map": "read search", "memory": "create read update delete statistics", "memoryAsset": "create delete",
    "notification": "create read update delete", "partner": "create read update delete",
    "person": "create read update delete statistics merge reassign", "pinCode": "create update delete",
    "plugin": "create read update delete", "queue": "read update", "queueJob": "create read update delete",
    "server": "about apkLinks storage statistics versionCheck", "serverLicense": "read update delete",
    "session": "create read update delete lock", "sharedLink": "create read update delete",
    "stack": "create read update delete", "sync": "stream", "syncCheckpoint": "read update delete",
    "systemConfig": "read update", "systemMetadata": "read update", "tag": "create read update delete asset",
    "timeline": "read download", "user": "read update", "userLicense": "create read update delete",
    "userOnboarding": "read update delete", "userPreference": "read update",
    "userProfileImage": "create read update delete", "workflow": "create read update delete",
    "adminUser": "create read update delete", "adminSession": "read", "adminAuth": "unlinkAll",
}  # fmt: skip
# what a release before this one does not know yet
_SINCE = {"queue": (2, 4, 0), "queueJob": (2, 4, 0), "backup": (2, 5, 0), "maintenance": (2, 5, 0)}
_stamps = [0]


def permissions() -> list[str]:
    known = {name: text for name, text in _ACTIONS.items() if release.current >= _SINCE.get(name, (0, 0, 0))}
    alone = ["all", "maintenance"] if "maintenance" in known else ["all"]
    return alone + [f"{name}.{each}" for name, text in known.items() for each in text.split()]


def clock() -> float:
    """Seconds since 1970; the unit tests' fake puts its own clock here."""
    return time.time()


def now() -> str:
    """The time, never the same twice, so that an order by time is the order of events."""
    _stamps[0] = max(int(clock() * 1000), _stamps[0] + 1)
    return datetime.fromtimestamp(_stamps[0] / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


# --- errors


def envelope(status: int, message: str, errors: list[dict[str, Any]] | None = None) -> Reply:
    number = secrets.token_hex(4)
    title = {400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found"}.get(
        status, "Internal Server Error"
    )
    if not release.at_least(3):
        listed = [".".join(map(str, each["path"])) + " " + each["message"] for each in errors or []]
        return Reply(
            status, {"message": listed or message, "error": title, "statusCode": status, "correlationId": number}
        )
    body: dict[str, Any] = {"message": message}
    return Reply(status, body | ({"errors": errors} if errors else {}), {"X-Correlation-ID": number})


def refuse(status: int, message: str) -> Stop:
    reply = envelope(status, message)
    return Stop(status, reply.body, reply.headers)


def invalid(*problems: tuple[str, str]) -> Stop:
    errors = [{"code": "invalid_type", "path": [path], "message": message} for path, message in problems]
    reply = envelope(400, "Validation failed", errors)
    return Stop(400, reply.body, reply.headers)


app.missing = lambda request: envelope(404, f"Cannot {request.method} {request.path}")
app.failure = lambda request, error: (
    envelope(400, "Invalid JSON") if isinstance(error, json.JSONDecodeError) else envelope(500, "Internal server error")
)


# --- who asks


class Caller:
    def __init__(self, user: dict[str, Any], key: dict[str, Any] | None, session: str | None) -> None:
        self.user, self.key, self.session = user, key, session

    @property
    def id(self) -> str:
        return self.user["id"]


def _session_token(request: Request) -> str | None:
    for header in ("x-immich-user-token", "x-immich-session-token"):
        if request.headers.get(header):
            return request.headers[header]
    authorization = request.headers.get("Authorization", "")
    if authorization.lower().startswith("bearer "):
        return authorization[7:].strip()
    cookie = re.search(r"immich_access_token=([^;]+)", request.headers.get("Cookie", ""))
    return cookie.group(1) if cookie else request.query("sessionKey") or None


def authenticate(request: Request) -> Caller:
    """A session token wins over a key, even a wrong one."""
    token = _session_token(request)
    if token:
        session = next(iter(database.all("session", token=digest(token))), None)
        user = database.get("user", session["userId"]) if session else None
        if not session or not user or user["deletedAt"]:
            raise refuse(401, "Invalid user token")
        return Caller(user, None, session["id"])
    secret = request.headers.get("x-api-key") or request.query("apiKey")
    if secret:
        key = next(iter(database.all("api_key", key=digest(secret))), None)
        user = database.get("user", key["userId"]) if key else None
        if not key or not user or user["deletedAt"]:
            raise refuse(401, "Invalid API key")
        return Caller(user, key, None)
    raise refuse(401, "Authentication required")


def route(
    method: str, path: str, permission: str | None = "all", *, admin: bool = False, since: tuple[int, ...] = (0,)
) -> Callable[[Any], Any]:
    """An endpoint that wants a login. permission: what a key needs ("all" = only such a key; None = any key)."""

    def register(handler: Callable[[Request, Caller], Any]) -> Any:
        def checked(request: Request) -> Any:
            if release.current < since:
                return app.missing(request)
            caller = authenticate(request)
            if admin and not caller.user["isAdmin"]:
                raise refuse(403, "Forbidden")
            if caller.key and permission and not {"all", permission} & set(caller.key["permissions"]):
                raise refuse(403, f"Missing required permission: {permission}")
            return handler(request, caller)

        app.route(method, "/api" + path)(checked)
        return handler

    return register


# --- input


def body(request: Request) -> dict[str, Any]:
    given = request.json()
    if not isinstance(given, dict):
        raise invalid(("", "Invalid input: expected object, received undefined"))
    return given


def identifier(value: Any, path: str = "id") -> str:
    try:
        good = uuid.UUID(str(value)).version == 4 or not release.at_least(3)
    except ValueError:
        good = False
    if not good:
        raise invalid((path, "Invalid UUID"))
    return str(value).lower()


def field(given: dict[str, Any], name: str, kind: type, required: bool = False, *, null: bool = False) -> Any:
    value = given.get(name)
    if value is None:
        if (required and name not in given) or (name in given and not null):
            raise invalid((name, f"Invalid input: expected {kind.__name__}"))
        return None
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise invalid((name, f"Invalid input: expected {kind.__name__}"))
    return value
