# SPDX-License-Identifier: MIT
"""Base of the in-process fakes of applications, and the way tests run a module against one."""

from __future__ import annotations

import contextlib
import http.server
import io
import json
import re
import threading
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any
from urllib.error import URLError
from urllib.parse import parse_qsl, urlsplit

import pytest
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.testing import patch_module_args
from ansible_collections.homelab.mediaserver.plugins.module_utils import _http
from ansible_collections.homelab.mediaserver.plugins.module_utils._http import Request, Response


class WriteInCheckMode(AssertionError):
    """A module wrote although it was told not to."""


class Answer(Exception):
    """Raised by a route to answer with a status other than success."""

    def __init__(self, status: int, body: Any) -> None:
        super().__init__(f"{status}: {body}")
        self.status = status
        self.body = body


Route = Callable[..., Any]


class HttpFake:
    """A server: subclasses fill ``routes`` with (method, path pattern, function) and keep their state in attributes.

    A function gets the pattern's groups and, by keyword, ``body`` and ``query``; it returns (status, JSON) or JSON.
    """

    prefix = ""
    harmless: frozenset[tuple[str, str]] = frozenset()  # requests that are no GET and change nothing

    def __init__(self) -> None:
        self.running = True
        self.read_only = False
        self.requests: list[str] = []
        self.writes: list[str] = []
        self.broken: dict[str, Any] = {}  # "METHOD /path" -> exception to raise, or (status, body) to answer
        self.headers: dict[str, str] = {}
        self.routes: list[tuple[str, str, Route]] = []

    def before(self, method: str, path: str) -> None:
        """Hook for authentication; raise :class:`Answer` to refuse."""

    def error(self, status: int, text: str) -> Any:
        """The application's error envelope."""
        return {"message": text}

    def __call__(self, request: Request) -> Response:
        parts = urlsplit(request.url)
        path = parts.path.removeprefix(self.prefix)
        key = f"{request.method} {path}"
        self.requests.append(key)
        if not self.running:
            raise URLError(ConnectionRefusedError(111, "Connection refused"))
        planned = self.broken.get(key)
        if isinstance(planned, BaseException):
            raise planned
        if planned is not None:
            return self._response(*planned)
        self.headers = {name.lower(): value for name, value in request.headers.items()}
        try:
            self.before(request.method, path)
            if request.method != "GET" and (request.method, path) not in self.harmless:
                if self.read_only:
                    raise WriteInCheckMode(key)
                self.writes.append(key)
            result = self._route(request, path, dict(parse_qsl(parts.query)))
        except Answer as answer:
            return self._response(answer.status, answer.body)
        return self._response(*result) if isinstance(result, tuple) else self._response(200, result)

    def _route(self, request: Request, path: str, query: dict[str, str]) -> Any:
        for method, pattern, function in self.routes:
            found = re.fullmatch(pattern, path)
            if method == request.method and found:
                return function(*found.groups(), body=self._body(request), query=query)
        raise Answer(404, self.error(404, f"Cannot {request.method} {path}"))

    def _body(self, request: Request) -> Any:
        kind = self.headers.get("content-type", "")
        if request.data is None:
            return None
        if kind.startswith("multipart/form-data"):
            text = request.data.decode()
            return dict(re.findall(r'name="(\w+)"; filename="[^"]+"\r\n[^\r]+\r\n\r\n(.*?)\r\n--', text, re.S))
        return json.loads(request.data)

    @staticmethod
    def _response(status: int, body: Any) -> Response:
        data = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        return Response(status, data)


class Result(dict[str, Any]):
    """What a module returned, with the warnings it gave."""

    @property
    def failed(self) -> bool:
        return bool(self.get("failed"))


def run_module(
    module: ModuleType,
    fake: HttpFake,
    arguments: dict[str, Any],
    *,
    check: bool = False,
    monkeypatch: pytest.MonkeyPatch,
) -> Result:
    """Run ``module`` as Ansible would, with ``fake`` for the network. In check mode a write raises."""
    monkeypatch.setattr(_http, "transport", fake)
    fake.read_only = check
    fake.requests.clear()
    fake.writes.clear()
    warnings: list[str] = []
    monkeypatch.setattr(AnsibleModule, "warn", lambda _self, text, **_: warnings.append(text))
    output = io.StringIO()
    with (
        patch_module_args(
            {
                **{k: v for k, v in arguments.items() if v is not None},
                "_ansible_check_mode": check,
                "_ansible_diff": True,
            }
        ),
        contextlib.redirect_stdout(output),
        pytest.raises(SystemExit),
    ):
        module.main()
    return Result({**json.loads(output.getvalue()), "warnings": warnings})


@contextlib.contextmanager
def no_sleep(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """A clock that jumps instead of sleeping."""
    now = [1000.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    monkeypatch.setattr("time.sleep", sleep)
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    yield now


def serve(fake: HttpFake) -> http.server.ThreadingHTTPServer:
    """The fake over HTTP on a free port of this machine, for whole playbooks."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def answer(self) -> None:
            data = self.rfile.read(int(self.headers.get("Content-Length") or 0)) or None
            response = fake(Request(self.command, f"http://127.0.0.1{self.path}", dict(self.headers), data))
            self.send_response(response.status)
            self.send_header("Content-Length", str(len(response.body)))
            self.end_headers()
            self.wfile.write(response.body)

        do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = answer

        def log_message(self, *_arguments: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server
