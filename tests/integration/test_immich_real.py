# SPDX-License-Identifier: MIT
"""The modules against a real Immich: NOT RUN unless the environment names one.

IMMICH_URL       its address, without /api
IMMICH_EMAIL     an administrator's e-mail address, IMMICH_PASSWORD the password; a fresh server gets this one
IMMICH_API_KEY   one of its API keys with the permission `all` (without: one is made and deleted again)
IMMICH_FOLDER    a folder that the server sees, best with a picture in it (without: what needs one is NOT RUN)

What is made is named `contract-…` or `real-…` and deleted again. Use a server that may be written to.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from typing import Any

import pytest
from ansible_collections.homelab.mediaserver.plugins.module_utils import _http
from ansible_collections.homelab.mediaserver.plugins.module_utils._http import Request, Response
from ansible_collections.homelab.mediaserver.plugins.modules import (
    immich_config,
    immich_info,
    immich_libraries,
    immich_setup,
    immich_users,
)
from ansible_collections.homelab.mediaserver.tests.unit.fakes import immich_contract as contract
from ansible_collections.homelab.mediaserver.tests.unit.fakes.http_fake import Result, WriteInCheckMode, run_module

NEEDED = ("IMMICH_URL", "IMMICH_EMAIL", "IMMICH_PASSWORD")
MISSING = [name for name in NEEDED if not os.environ.get(name)]
pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"NOT RUN: no real Immich ({', '.join(MISSING)} not set)")
URL, EMAIL, PASSWORD = (os.environ.get(name, "") for name in NEEDED)
FOLDER = os.environ.get("IMMICH_FOLDER", "")
needs_folder = pytest.mark.skipif(not FOLDER, reason="NOT RUN: IMMICH_FOLDER not set")
STAMP = f"real-{os.getpid()}"
TRANSPORT = _http.transport


class RealServer:
    """Where a fake would be: passes on everything, but no write in check mode."""

    def __init__(self) -> None:
        self.read_only = False
        self.requests: list[str] = []
        self.writes: list[str] = []

    def __call__(self, request: Request) -> Response:
        self.requests.append(f"{request.method} {request.url}")
        if request.method != "GET" and not request.url.endswith(("/auth/login", "/auth/logout", "/validate")):
            if self.read_only:
                raise WriteInCheckMode(self.requests[-1])
            self.writes.append(self.requests[-1])
        return TRANSPORT(request)


def send(method: str, path: str, body: Any, headers: dict[str, str]) -> tuple[int, Any]:
    data = None if body is None else json.dumps(body).encode()
    sent = {**headers, **({"Content-Type": "application/json"} if data else {})}
    answer = TRANSPORT(Request(method, f"{URL.rstrip('/')}/api{path}", sent, data))
    return answer.status, json.loads(answer.body) if answer.body.strip() else None


class Modules:
    def __init__(self, monkeypatch: pytest.MonkeyPatch, key: str) -> None:
        self.monkeypatch, self.key, self.server = monkeypatch, key, RealServer()

    def run(self, module: Any, check: bool = False, **arguments: Any) -> Result:
        arguments = {"url": URL, "api_key": self.key, **arguments}
        return run_module(module, self.server, arguments, check=check, monkeypatch=self.monkeypatch)  # type: ignore[arg-type]

    def settles(self, module: Any, **arguments: Any) -> Result:
        """Check, run, check again, run again: what was announced is done, and then nothing is left to do."""
        checked = self.run(module, check=True, **arguments)
        result = self.run(module, **arguments)
        assert result.get("msg") is None, result["msg"]
        assert (checked["changed"], checked["steps"], checked["diff"]) == (
            result["changed"],
            result["steps"],
            result["diff"],
        )
        for check in (True, False):
            again = self.run(module, check=check, **arguments)
            assert again["changed"] is False, again
            assert self.server.writes == []
        return result


def login() -> dict[str, str]:
    status, answer = send("POST", "/auth/login", {"email": EMAIL, "password": PASSWORD}, {})
    assert status == 201, answer
    return {"Authorization": f"Bearer {answer['accessToken']}"}


@pytest.fixture(scope="module")
def session() -> Iterator[dict[str, str]]:
    if not send("GET", "/server/config", None, {})[1]["isInitialized"]:
        with pytest.MonkeyPatch.context() as monkeypatch:
            made = Modules(monkeypatch, "").run(immich_setup, api_key=None, email=EMAIL, password=PASSWORD, wait=120)
            assert made["changed"], made
    headers = login()
    yield headers
    send("POST", "/auth/logout", None, headers)


@pytest.fixture(scope="module")
def key(session: dict[str, str]) -> Iterator[str]:
    if given := os.environ.get("IMMICH_API_KEY"):
        yield given
        return
    made = send("POST", "/api-keys", {"name": f"{STAMP}-all", "permissions": ["all"]}, session)[1]
    yield made["secret"]
    send("DELETE", f"/api-keys/{made['apiKey']['id']}", None, session)


@pytest.fixture
def modules(monkeypatch: pytest.MonkeyPatch, key: str) -> Modules:
    return Modules(monkeypatch, key)


@pytest.mark.parametrize("check", contract.CHECKS, ids=lambda check: check.__name__)
def test_contract(session: dict[str, str], check: Any) -> None:
    if check is contract.validate and not FOLDER:
        pytest.skip("NOT RUN: IMMICH_FOLDER not set")
    version = send("GET", "/server/version", None, {})[1]
    number = (version["major"], version["minor"], version["patch"])
    check(contract.Server(send, number, session, FOLDER))


def test_setup_and_its_key(modules: Modules, session: dict[str, str]) -> None:
    login_data = {"email": EMAIL, "password": PASSWORD, "key_name": STAMP, "api_key": None}
    made = modules.run(immich_setup, **login_data)
    assert made["secret"]
    for check in (True, False):
        assert not modules.run(immich_setup, check=check, **{**login_data, "api_key": made["secret"]})["changed"]
    lesser = Modules(modules.monkeypatch, made["secret"])
    assert lesser.run(immich_info, statistics=True)["users"][EMAIL.lower()]
    assert not lesser.run(immich_config, config={"trash": {"enabled": True}}, check=True).failed
    more = {"key_permissions": ["library.read"], "delete_lost_keys": True}
    assert modules.run(immich_setup, **login_data, **more)["steps"][0] == f"create API key {STAMP}"
    for one in send("GET", "/api-keys", None, session)[1]:
        if one["name"] == STAMP and one["permissions"] == ["library.read"]:
            send("DELETE", f"/api-keys/{one['id']}", None, session)
    assert "Incorrect email or password" in modules.run(immich_setup, **{**login_data, "password": "wrong"})["msg"]


def test_users(modules: Modules) -> None:
    email = f"{STAMP}@Example.org"
    user = {"email": email, "name": "Real", "password": "her pass 1", "quota": "5G", "storage_label": f"{STAMP}/x. "}
    modules.settles(immich_users, users=[user])
    modules.settles(immich_users, users=[{**user, "quota": "unlimited", "name": "Other"}])
    gone = {"email": email, "state": "absent"}
    modules.settles(immich_users, users=[gone])
    assert modules.settles(immich_users, users=[user])["steps"][0] == f"restore user {email.lower()}"
    modules.run(immich_users, users=[gone], force_delete=True)
    assert "is still removing it" in modules.run(immich_users, users=[user]).get("msg", "is still removing it")


@needs_folder
@pytest.mark.parametrize("least", [False, True])
def test_libraries(modules: Modules, session: dict[str, str], least: bool) -> None:
    name = f"{STAMP}-{least}"
    made: dict[str, Any] = {}
    if least:
        queue = "queue.read" if send("GET", "/queues/library", None, session)[0] == 200 else "job.read"
        scopes = [f"library.{action}" for action in ("read", "create", "update", "delete")]
        made = send("POST", "/api-keys", {"name": name, "permissions": [*scopes, "adminUser.read", queue]}, session)[1]
        modules = Modules(modules.monkeypatch, made["secret"])
    library = {"name": name, "owner": EMAIL, "paths": [FOLDER]}
    try:
        created = modules.settles(immich_libraries, libraries=[library])
        assert created["scan_complete"] is True, created
        assert modules.run(immich_libraries, libraries=[library])["requests"] == 3
        modules.settles(immich_libraries, libraries=[{**library, "exclude": ["**/contract/**"]}])
        modules.settles(immich_libraries, libraries=[{**library, "exclude": [], "paths": [FOLDER + "/"]}])
        bad = modules.run(immich_libraries, libraries=[{**library, "name": name + "-bad", "paths": [contract.NOWHERE]}])
        assert "Path does not exist (ENOENT)" in bad["msg"]
        assert modules.run(immich_libraries, libraries=[library], scan="always")["scan_complete"] is True
    finally:
        modules.settles(immich_libraries, libraries=[{"name": name, "owner": EMAIL, "state": "absent"}])
        if made:
            send("DELETE", f"/api-keys/{made['apiKey']['id']}", None, session)
    names = [one["name"] for one in send("GET", "/libraries", None, session)[1]]
    assert name not in names
    assert name + "-bad" not in names, "what was refused left nothing behind"


@needs_folder
def test_scan_means_imported(modules: Modules, session: dict[str, str]) -> None:
    """After the wait, the number of files stays what it is."""
    library = {"name": f"{STAMP}-scan", "owner": EMAIL, "paths": [FOLDER]}
    result = modules.run(immich_libraries, libraries=[library])
    try:
        path = f"/libraries/{next(iter(result['libraries'].values()))}/statistics"
        first = send("GET", path, None, session)[1]["total"]
        time.sleep(5)
        assert send("GET", path, None, session)[1]["total"] == first
    finally:
        modules.run(immich_libraries, libraries=[{**library, "paths": None, "state": "absent"}])


def test_config(modules: Modules, session: dict[str, str]) -> None:
    days = send("GET", "/system-config", None, session)[1]["trash"]["days"]
    try:
        modules.settles(immich_config, config={"trash": {"days": days + 1}})
    finally:
        modules.settles(immich_config, config={"trash": {"days": days}})
    unknown = modules.run(immich_config, config={"trahs": {"days": 1}})
    assert "unknown key trahs (did you mean trash?)" in unknown["msg"]
    refused = modules.run(immich_config, config={"library": {"scan": {"cronExpression": "whenever"}}})
    assert "Unable to set the system configuration: " in refused["msg"]
