# SPDX-License-Identifier: MIT
"""What all stand-ins share: a small HTTP server, checks of mounts and users, a JSON store.

Standard library only. Paths are those of the real images; LAB_TEST_ROOT (a prefix for all of them), LAB_TEST_MOUNTS
(a colon-separated list of what counts as mounted) and LAB_TEST_PORT exist for unit tests alone.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import sys
import threading
import urllib.parse
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NoReturn

TEST_ROOT = os.environ.get("LAB_TEST_ROOT", "")


# as process 1 of a container we get no default action: without this, a stop while starting would take ten seconds
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))


# --- the container around us -------------------------------------------------------------------------------------


def log(name: str, text: str) -> None:
    print(f"[{name}-stand-in] {text}", flush=True)


def fatal(name: str, text: str, code: int = 1) -> NoReturn:
    print(f"[{name}-stand-in] FATAL: {text}", file=sys.stderr, flush=True)
    raise SystemExit(code)


def real_path(path: str) -> Path:
    """A path of the image, below LAB_TEST_ROOT in unit tests."""
    return Path(TEST_ROOT + path) if TEST_ROOT else Path(path)


def mounted(path: str) -> bool:
    """Whether something is mounted exactly at this path of the container."""
    if TEST_ROOT:
        return path in os.environ.get("LAB_TEST_MOUNTS", "").split(":")
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return any(line.split()[4] in (path, os.path.realpath(path)) for line in lines)  # /var/run is a link to /run


def require_mount(name: str, path: str) -> None:
    if not mounted(path):
        fatal(name, f"{path} is not mounted! Check your docker configuration.")


def require_writable(name: str, path: str) -> None:
    """Prove by writing: access(2) is not enough on read-only or squashed mounts."""
    where = real_path(path)
    probe = where / f".stand-in-{os.getpid()}"
    try:
        probe.write_text("")
        probe.unlink()
    except OSError as error:
        fatal(name, f"Access to the path '{path}' is denied for uid {os.getuid()}: {error.strerror}")


def secret(name: str, variable: str, default: str | None = None, suffix: str = "_FILE") -> str | None:
    """VARIABLE, or the content of the file that VARIABLE_FILE names; both is an error, as in the images' scripts."""
    value, file = os.environ.get(variable), os.environ.get(variable + suffix)
    if value is not None and file is not None:
        fatal(name, f"both {variable} and {variable}{suffix} are set (but are exclusive)")
    if file is None:
        return default if value is None else value
    try:
        return Path(file).read_text().rstrip("\r\n")
    except OSError as error:
        fatal(name, f"{variable}{suffix}: unable to read {file} as uid {os.getuid()}: {error.strerror}")


class Store:
    """A JSON document on disk, written atomically."""

    def __init__(self, path: Path, default: dict[str, Any]) -> None:
        self.path = path
        self.data: dict[str, Any] = json.loads(path.read_text()) if path.exists() else default

    def save(self) -> None:
        temporary = self.path.with_suffix(".new")
        temporary.touch(mode=0o600)
        temporary.write_text(json.dumps(self.data, indent=1))
        temporary.replace(self.path)


# --- HTTP ----------------------------------------------------------------------------------------------------------


class Reply:
    def __init__(self, status: int, body: Any = None, headers: dict[str, str] | None = None) -> None:
        self.status, self.body, self.headers = status, body, dict(headers or {})


class Stop(Exception):
    """Raised by a handler to answer at once."""

    def __init__(self, status: int, body: Any = None, headers: dict[str, str] | None = None) -> None:
        super().__init__(f"{status} {body}")
        self.reply = Reply(status, body, headers)


class Request:
    def __init__(self, method: str, target: str, headers: Any, body: bytes, client: str) -> None:
        url = urllib.parse.urlsplit(target)
        self.method, self.path, self.headers, self.body, self.client = method, url.path, headers, body, client
        self.query_string = url.query
        self.queries = urllib.parse.parse_qs(url.query, keep_blank_values=True)
        self.params: dict[str, str] = {}
        self.extra: dict[str, Any] = {}

    def query(self, key: str, default: str = "") -> str:
        for name, values in self.queries.items():
            if name.lower() == key.lower():
                return values[0]
        return default

    def json(self) -> Any:
        """The body as JSON; None without a body; ValueError when it is none."""
        return json.loads(self.body) if self.body else None

    def parts(self) -> dict[str, tuple[str | None, bytes]]:
        """multipart/form-data as name -> (file name, content)."""
        match = re.search(r'boundary="?([^";]+)"?', self.headers.get("Content-Type", ""))
        if not match:
            raise ValueError("not multipart/form-data")
        found: dict[str, tuple[str | None, bytes]] = {}
        for part in (b"\r\n" + self.body).split(b"\r\n--" + match.group(1).encode())[1:]:
            head, separator, content = part.partition(b"\r\n\r\n")
            name = re.search(rb'name="([^"]*)"', head)
            file = re.search(rb'filename="([^"]*)"', head)
            if separator and name:
                found[name.group(1).decode()] = (file.group(1).decode() if file else None, content)
        return found


Handler = Callable[[Request], Any]


class DualStackServer(ThreadingHTTPServer):
    """Listens on IPv4 and IPv6, as servers written in Go, .NET and Node do unless told otherwise."""

    address_family = socket.AF_INET6

    def server_bind(self) -> None:
        self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()


class App:
    """Routes and one server per port. A handler returns a body (200), a Reply, or raises Stop."""

    def __init__(self, name: str, *, ignore_case: bool = False, strip_slash: bool = True) -> None:
        self.name = name
        self.flags = re.IGNORECASE if ignore_case else re.RegexFlag(0)
        self.strip_slash = strip_slash
        self.routes: list[tuple[str, re.Pattern[str], Handler, bool]] = []
        self.lock = threading.RLock()
        self.before: Callable[[Request], None] | None = None
        self.missing: Handler = lambda request: Reply(404, {"message": "Not Found"})
        self.failure: Callable[[Request, Exception], Reply] = lambda request, error: Reply(500, {"message": str(error)})
        self.answer_headers: Callable[[Request], dict[str, str]] = lambda request: {}

    def route(self, method: str, pattern: str, *, locked: bool = True) -> Callable[[Handler], Handler]:
        """pattern: /users/{id}; a parameter holds no slash, {rest*} holds any."""
        text = re.sub(r"\{(\w+)\*\}", r"(?P<\1>.*)", re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", pattern))
        compiled = re.compile(text, self.flags)

        def register(handler: Handler) -> Handler:
            self.routes.append((method, compiled, handler, locked))
            return handler

        return register

    def dispatch(self, request: Request) -> Reply:
        path = request.path.rstrip("/") or "/" if self.strip_slash else request.path
        try:
            for method, pattern, handler, locked in self.routes:
                match = pattern.fullmatch(path)
                wanted = "GET" if request.method == "HEAD" else request.method
                if match and method in (wanted, "*"):
                    request.params = {
                        key: urllib.parse.unquote(value or "") for key, value in match.groupdict().items()
                    }
                    if not locked:
                        return self._call(handler, request)
                    with self.lock:
                        return self._call(handler, request)
            return self._call(self.missing, request)
        except Stop as stop:
            return stop.reply
        except Exception as error:
            log(self.name, f"{request.method} {request.path}: {type(error).__name__}: {error}")
            return self.failure(request, error)

    def _call(self, handler: Handler, request: Request) -> Reply:
        if self.before:
            self.before(request)
        result = handler(request)
        return result if isinstance(result, Reply) else Reply(200, result)

    def server(self, port: int, address: str = "") -> ThreadingHTTPServer:
        port = int(os.environ.get("LAB_TEST_PORT", port))
        address = "127.0.0.1" if "LAB_TEST_PORT" in os.environ else address
        kind = DualStackServer if address in ("", "::") else ThreadingHTTPServer
        server = kind(("::" if kind is DualStackServer else address, port), _handler_class(self))
        server.daemon_threads = True
        return server

    def serve(self, port: int, what: str) -> None:
        """Answer until SIGTERM."""
        server = self.server(port)
        signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
        log(self.name, f"this is a stand-in for {what}, not the real thing; listening on {server.server_address[1]}")
        server.serve_forever()
        server.server_close()
        log(self.name, "stopped")


def _handler_class(app: App) -> type[BaseHTTPRequestHandler]:
    class Connection(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def version_string(self) -> str:
            return f"{app.name}-stand-in"

        def log_message(self, format: str, *args: Any) -> None:
            if os.environ.get("STANDIN_DEBUG"):
                log(app.name, format % args)

        def answer(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = (
                _chunks(self.rfile)
                if "chunked" in self.headers.get("Transfer-Encoding", "")
                else self.rfile.read(length)
            )
            request = Request(self.command, self.path, self.headers, body, self.client_address[0])
            reply = app.dispatch(request)
            if isinstance(reply.body, bytes):
                content, kind = reply.body, "application/octet-stream"
            elif isinstance(reply.body, str):
                content, kind = reply.body.encode(), "text/plain; charset=utf-8"
            elif reply.body is None:
                content, kind = b"", ""
            else:
                content, kind = json.dumps(reply.body).encode(), "application/json; charset=utf-8"
            headers = {"Content-Type": kind} if kind else {}
            headers |= app.answer_headers(request) | reply.headers
            self.send_response(reply.status)
            for key, value in headers.items():
                self.send_header(key, value)
            if reply.status != 204:
                self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command != "HEAD" and reply.status != 204:
                self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = do_OPTIONS = answer

    return Connection


def _chunks(stream: Any) -> bytes:
    body = b""
    while size := int(stream.readline().split(b";")[0] or b"0", 16):
        body += stream.read(size)
        stream.readline()
    stream.readline()
    return body
