# SPDX-License-Identifier: MIT
"""The lab's stand-in for Immich, run in this process as release 1.144.1, 2.7.5 or 3.1.0.

Routes, permissions, error bodies and traps are the stand-in's own (tests/lab/standins/immich-server), so there is one
description of what real servers were seen to do. Here are only: a database in memory, a clock that the tests move,
folders that exist because a test says so, and mishaps. Everything is loaded anew for each fake: two share no state.
"""

from __future__ import annotations

import functools
import signal
import sqlite3
import sys
import time
from pathlib import Path
from types import CodeType, ModuleType, SimpleNamespace
from typing import Any

import ansible_collections.homelab.mediaserver as collection
from ansible_collections.homelab.mediaserver.plugins.module_utils._http import Request, Response
from ansible_collections.homelab.mediaserver.tests.unit.fakes.http_fake import HttpFake

VERSIONS = [(1, 144, 1), (2, 7, 5), (3, 1, 0)]
STANDINS = Path(next(iter(collection.__path__))) / "tests/lab/standins"
# in the order in which they need each other
PARTS = ("standin", "release", "redis", "config_document", "pg", "database", "api", "people", "jobs", "libraries",
         "system", "assets")  # fmt: skip
BETWEEN_RUNS = 5.0  # seconds, as a playbook's next task needs some


@functools.cache
def code(name: str) -> CodeType:
    file = STANDINS / ("common" if name == "standin" else "immich-server") / f"{name}.py"
    return compile(file.read_text(encoding="utf-8"), str(file), "exec")


def load() -> SimpleNamespace:
    """Fresh copies of the stand-in's modules, which go by very common names: none stays behind under its own."""
    hidden = {name: sys.modules.pop(name) for name in PARTS if name in sys.modules}
    handler = signal.getsignal(signal.SIGTERM)
    try:
        for name in PARTS:
            sys.modules[name] = ModuleType(name)
            exec(code(name), vars(sys.modules[name]))
        return SimpleNamespace(**{name: sys.modules[name] for name in PARTS})
    finally:
        for name in PARTS:
            sys.modules.pop(name, None)
        sys.modules.update(hidden)
        signal.signal(signal.SIGTERM, handler)


class Killed(OSError):
    """The module's process is gone: nothing it would still do happens."""


class ImmichFake(HttpFake):
    prefix = "/api"
    # neither changes what a module manages: a session ends with the run, a check of folders is a question
    questions = ("/auth/login", "/auth/logout", "/validate")

    def __init__(self, version: tuple[int, int, int] = VERSIONS[-1], admin: bool = True) -> None:
        super().__init__()
        self.core = core = load()
        self.version = core.release.current = version
        core.redis.settings["host"] = None
        core.api.database.connection = sqlite3.connect(":memory:", isolation_level=None)
        core.api.database.connect = lambda: None
        core.api.database.settings = {"host": "memory", "port": 0}
        core.api.database.bootstrap()
        self.seconds, self.last = 1_790_000_000.0, time.monotonic()
        core.api.clock = core.jobs.clock = lambda: self.seconds
        core.libraries.problem = self.problem
        self.missing_paths: set[str] = set()
        self.scans: list[str] = []
        self.kill_after: int | None = None  # writes; those beyond never happen
        self.lose_answer = False  # of the write that kill_after counts last
        if admin:
            self.add_user("admin@example.org", "correct horse", isAdmin=True, isOnboarded=True, storageLabel="admin")
            self.add_key("full", ["all"], "key-all")
            core.system.set_metadata("admin-onboarding", {"isOnboarded": True})

    # time, folders, mishaps

    def problem(self, path: str) -> str | None:
        if not path.startswith("/"):
            return f"Import path must be absolute, try /{path}"
        if path == "/data" or path.startswith("/data/"):
            return "Cannot use media upload folder for external libraries"
        return "Path does not exist (ENOENT)" if path in self.missing_paths else None

    def pass_time(self) -> None:
        now = time.monotonic()
        self.seconds += now - self.last if now > self.last else 0
        self.last = now
        if not self.requests:
            self.seconds += BETWEEN_RUNS
        while self.core.jobs.step():
            pass

    def __call__(self, request: Request) -> Response:
        self.pass_time()
        if request.url.endswith(self.questions):
            path = request.url.partition(self.prefix)[2]
            self.harmless = self.harmless | {(request.method, path)}
        elif request.method != "GET":
            if self.kill_after is not None and len(self.writes) >= self.kill_after:
                raise Killed("killed")
            response = super().__call__(request)
            if self.lose_answer and len(self.writes) == self.kill_after:
                raise TimeoutError
            return response
        return super().__call__(request)

    def _route(self, request: Request, path: str, query: dict[str, str]) -> Any:
        if request.method == "POST" and path.endswith("/scan"):
            self.scans.append(path.split("/")[2])
        target = request.url.removeprefix("http://127.0.0.1:2283")
        headers = Headers(self.headers)
        asked = self.core.standin.Request(request.method, target, headers, request.data or b"", "127.0.0.1")
        reply = self.core.api.app.dispatch(asked)
        return reply.status, reply.body

    def error(self, status: int, text: Any) -> Any:
        """The envelope of an error; a list is what validation finds."""
        if isinstance(text, list):
            problems = [{"code": "custom", "path": [], "message": part} for part in text]
            return self.core.api.envelope(status, "Validation failed", problems).body
        return self.core.api.envelope(status, text).body

    # state, as a test puts and sees it

    def all(self, table: str) -> list[dict[str, Any]]:
        return self.core.api.database.all(table)

    @property
    def users(self) -> list[dict[str, Any]]:
        return self.all("user")

    @property
    def keys(self) -> list[dict[str, Any]]:
        return self.all("api_key")

    @property
    def libraries(self) -> list[dict[str, Any]]:
        return self.core.libraries.living()

    @property
    def sessions(self) -> list[dict[str, Any]]:
        return self.all("session")

    @property
    def config(self) -> dict[str, Any]:
        return self.core.system.config()

    def user(self, email: str) -> dict[str, Any]:
        return next(user for user in self.users if user["email"] == email)

    def password_is(self, email: str, password: str) -> bool:
        user = self.user(email)
        return user["hash"] == self.core.people.scramble(password, user["salt"])

    def add_user(self, email: str, password: str, **more: Any) -> dict[str, Any]:
        return self.core.people.make(email, password, email, **more)

    def add_key(self, name: str, permissions: list[str], secret: str, owner: str = "") -> dict[str, Any]:
        number, stamp = self.core.api.uuid.uuid4(), self.core.api.now()
        key = {"id": str(number), "name": name, "createdAt": stamp, "updatedAt": stamp, "permissions": permissions,
               "userId": owner or self.users[0]["id"], "key": self.core.api.digest(secret)}  # fmt: skip
        self.core.api.database.put("api_key", key["id"], key, key=key["key"], userId=key["userId"])
        return key

    def add_library(self, name: str, owner: str, paths: list[str], patterns: list[str] | None = None) -> dict[str, Any]:
        library = {
            "id": str(self.core.api.uuid.uuid4()), "ownerId": owner, "name": name, "importPaths": paths,
            "exclusionPatterns": patterns or [], "createdAt": self.core.api.now(), "refreshedAt": None,
            "deletedAt": None,
        }  # fmt: skip
        self.core.libraries.save(library)
        return library

    def pause(self, hold: bool = True) -> None:
        (self.core.jobs.paused.add if hold else self.core.jobs.paused.discard)("library")

    def stop_worker(self) -> None:
        """The part of the server that does the jobs is not up: they wait."""
        self.core.jobs.state["working"] = False


class Headers(dict[str, str]):
    """Names in any case, as the stand-in's own."""

    def get(self, name: str, default: Any = None) -> Any:
        return super().get(name.lower(), default)

    def __getitem__(self, name: str) -> str:
        return super().__getitem__(name.lower())
