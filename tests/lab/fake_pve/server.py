# SPDX-License-Identifier: MIT
"""HTTPS in front of the world: authentication, parameters, the ``data`` envelope, the request log."""

from __future__ import annotations

import hmac
import json
import secrets
import socket
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from . import (  # noqa: F401  imported for their routes
    access,
    apt,
    cluster,
    firewall,
    firewall_lists,
    groups,
    ha,
    jobs,
    lxc,
    lxc_copies,
    mapping,
    pools,
    qemu,
    storage,
    storage_config,
)
from .errors import ApiError
from .routing import Call, find
from .world import World

PREFIX = "/api2/json"


@dataclass
class Service:
    """One running API. ``tokens``: ``{"user@realm!id": {"value": "…", "deny": ["Sys.Modify"]}}``."""

    world: World
    tokens: dict[str, dict[str, Any]] = field(default_factory=dict)
    passwords: dict[str, str] = field(default_factory=dict)
    auth_delay: float = 0.0
    refuse_writes: bool = False
    requests: list[tuple[str, str]] = field(default_factory=list)
    sent: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)  # the writes, with their parameters
    refused: list[tuple[str, str]] = field(default_factory=list)
    fault: Callable[[str, str], ApiError | bytes | None] | None = None
    tickets: dict[str, tuple[str, str]] = field(default_factory=dict)

    def login(self, params: dict[str, Any]) -> dict[str, Any]:
        user, password = str(params.get("username", "")), str(params.get("password", ""))
        known = access.password_of(self.world, user) or self.passwords.get(user)
        if known is None or not hmac.compare_digest(known, password):
            time.sleep(self.auth_delay)
            raise ApiError(401, "authentication failure")
        ticket, csrf = f"PVE:{user}:{secrets.token_hex(16)}", secrets.token_hex(16)
        self.tickets[ticket] = (user, csrf)
        return {"ticket": ticket, "CSRFPreventionToken": csrf, "username": user}

    def authenticate(self, method: str, headers: Any) -> tuple[str, frozenset[str], bool]:
        """(user, privileges taken away, is it a token)."""
        header = headers.get("Authorization", "")
        if header.startswith("PVEAPIToken="):
            ident, _, value = header.removeprefix("PVEAPIToken=").partition("=")
            token, made = self.tokens.get(ident), access.token_of(self.world, ident)
            if made is not None and (token is None or hmac.compare_digest(str(made["value"]), value)):
                token = made  # by this API; the one of the token file goes on beside it
            if token is None or not hmac.compare_digest(str(token["value"]), value):
                time.sleep(self.auth_delay)
                raise ApiError(401, "invalid token value!" if token else f"no such token '{ident.partition('!')[2]}' "
                                    f"for user '{ident.partition('!')[0]}'")  # fmt: skip
            return ident, frozenset(token.get("deny", ())), True
        cookie = SimpleCookie(headers.get("Cookie", "")).get("PVEAuthCookie")
        if cookie is None:
            raise ApiError(401, "No ticket")
        known = self.tickets.get(cookie.value)
        if known is None:
            raise ApiError(401, "permission denied - invalid PVE ticket")
        user, csrf = known
        if method != "GET" and headers.get("CSRFPreventionToken") != csrf:
            raise ApiError(401, "Permission denied - invalid csrf token")
        return user, frozenset(), False

    def answer(self, method: str, path: str, params: dict[str, Any], headers: Any) -> Any:
        if (method, path) == ("POST", "/access/ticket"):
            return self.login(params)
        user, denied, token = self.authenticate(method, headers)
        self.requests.append((method, path))
        if method != "GET":
            self.sent.append((method, path, params))
        if self.fault:
            fault = self.fault(method, path)
            if isinstance(fault, ApiError):
                raise fault
            if fault is not None:
                return fault
        if self.refuse_writes and method != "GET":
            self.refused.append((method, path))
            raise ApiError(500, f"the fake was told that nothing writes, but: {method} {path}")
        handler, parts = find(method, path)
        if "node" in parts and parts["node"] != self.world.node:
            raise ApiError(500, f"hostname lookup '{parts['node']}' failed - failed to get address info for: "
                                f"{parts['node']}: Temporary failure in name resolution")  # fmt: skip
        call = Call(self.world, user, params, token, denied)
        if method == "GET":
            with self.world.lock:
                return handler(call, **parts)
        with self.world.changing():
            return handler(call, **parts)


class Request(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = 65536  # head and body in one packet
    disable_nagle_algorithm = True
    service: Service

    def log_message(self, *_args: Any) -> None:
        """The request log is the service's list."""

    def _params(self) -> dict[str, Any]:
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length) if length else b""
        if "json" in self.headers.get("Content-Type", ""):
            return dict(json.loads(body or b"{}"))
        query = parse_qs(urlsplit(self.path).query, keep_blank_values=True)
        form = parse_qs(body.decode(), keep_blank_values=True)
        return {k: v[0] if len(v) == 1 else v for k, v in {**query, **form}.items()}

    def _handle(self) -> None:
        path = urlsplit(self.path).path.removeprefix(PREFIX)
        try:
            params = self._params()
            data = self.service.answer(self.command, path, params, self.headers)
            if isinstance(data, bytes):
                self._send(200, "OK", data)
            else:
                self._send(200, "OK", json.dumps({"data": data}).encode())
        except ApiError as error:
            body: dict[str, Any] = {"data": None, "message": error.message + "\n"}
            if error.errors is not None:
                body["errors"] = error.errors
            self._send(error.status, error.message, json.dumps(body).encode())

    def _send(self, status: int, reason: str, body: bytes) -> None:
        self.send_response(status, reason.replace("\n", " ").encode("latin-1", "replace").decode("latin-1"))
        self.send_header("Content-Type", "application/json;charset=UTF-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_PUT = do_DELETE = _handle


class Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, service: Service, address: tuple[str, int], cert: Path, key: Path) -> None:
        handler = type("BoundRequest", (Request,), {"service": service})
        if ":" in address[0]:  # "::" serves IPv4 too, as pveproxy does
            self.address_family = socket.AF_INET6
        super().__init__(address, handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(cert, key)
        # the handshake happens in the connection's own thread, so that a silent client stops nobody
        self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)

    def server_bind(self) -> None:
        if self.address_family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away or refused the certificate is no news."""

    def start(self) -> int:
        """Serve in the background and return the port."""
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return int(self.server_address[1])
