# SPDX-License-Identifier: MIT
"""The client over a real socket: what the fakes of the module tests cannot show."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest
from ansible_collections.homelab.mediaserver.plugins.module_utils import _http
from ansible_collections.homelab.mediaserver.plugins.module_utils._http import Client, HttpFailure, NotReady
from ansible_collections.homelab.mediaserver.plugins.module_utils._reconcile import Failure


class Handler(BaseHTTPRequestHandler):
    seen: list[tuple[str, str, dict[str, str], bytes]] = []

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.seen.append((self.command, self.path, dict(self.headers), body))
        if self.path == "/slow":
            time.sleep(1)
        status = {"/moved": 302, "/broken": 500, "/gone": 404}.get(self.path, 200)
        text = {"/broken": '{"message": "it broke"}', "/html": "<html>", "/empty": ""}.get(self.path, '{"ok": true}')
        self.send_response(status)
        if status == 302:
            self.send_header("Location", "/elsewhere")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    do_GET = do_POST = answer

    def log_message(self, *_: Any) -> None:
        """Be quiet."""


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    yield Client(f"http://127.0.0.1:{server.server_port}/", timeout=5)
    server.shutdown()


def test_json_both_ways_and_a_query(client):
    assert client.call("POST", "/x", "try", {"a": 1}, query={"name": "a, b&c"}) == {"ok": True}
    method, path, headers, body = Handler.seen[-1]
    assert (method, path, json.loads(body)) == ("POST", "/x?name=a%2C%20b%26c", {"a": 1})
    assert headers["Content-Type"] == "application/json"


def test_proxies_of_the_environment_are_not_used_for_loopback(client, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert client.call("GET", "/x", "try") == {"ok": True}


def test_files(client):
    client.call("POST", "/x", "try", files={"certificate": "PEM\n"})
    _method, _path, headers, body = Handler.seen[-1]
    boundary = headers["Content-Type"].partition("boundary=")[2]
    assert body.startswith(f"--{boundary}\r\n".encode())
    assert b'name="certificate"; filename="certificate.pem"' in body
    assert body.endswith(f"\r\nPEM\n\r\n--{boundary}--\r\n".encode())


@pytest.mark.parametrize(
    ("path", "text", "status"),
    [
        ("/broken", "Unable to try: it broke (HTTP 500)", 500),
        ("/gone", "(HTTP 404)", 404),
        ("/moved", "(HTTP 302)", 302),
    ],
)
def test_any_status_but_success_fails(client, path, text, status):
    with pytest.raises(HttpFailure) as caught:
        client.call("GET", path, "try")
    assert text in caught.value.message
    assert caught.value.details == {"status": status}


def test_other_answers(client):
    assert client.call("GET", "/empty", "try") is None
    with pytest.raises(Failure, match="not JSON: '<html>'"):
        client.call("GET", "/html", "try")
    with pytest.raises(Failure, match="expected a list of objects, got dict"):
        client.objects("/x", "try")


def test_slow_server_is_not_an_absent_one(client):
    with pytest.raises(Failure, match="no answer within") as caught:
        client.call("GET", "/slow", "try", timeout=0.2)
    assert not isinstance(caught.value, NotReady)


def test_nobody_listens():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with pytest.raises(NotReady, match=r"Unable to try: .*refused"):
        Client(f"http://127.0.0.1:{port}").call("GET", "/", "try")


def test_server_that_speaks_no_http():
    with socket.create_server(("127.0.0.1", 0)) as server:

        def babble() -> None:
            connection = server.accept()[0]
            connection.recv(1000)
            connection.sendall(b"220 mail ready\r\n\r\n")
            connection.close()

        Thread(target=babble, daemon=True).start()
        with pytest.raises(Failure, match=r"Unable to try: .*220 mail ready"):
            Client(f"http://127.0.0.1:{server.getsockname()[1]}", timeout=5).call("GET", "/", "try")


def test_address_that_is_none():
    with pytest.raises(Failure, match="Unable to try"):
        Client("127.0.0.1:81").call("GET", "/", "try")


def test_unknown_name_is_a_mistake_and_not_an_absent_server():
    with pytest.raises(Failure) as caught:
        Client("http://nowhere.invalid").call("GET", "/", "try")
    assert not isinstance(caught.value, NotReady)


def test_merge_and_unknown_keys():
    current = {"a": {"b": 1, "c": [1]}, "free": {}}
    assert _http.merge(current, {"a": {"c": [2]}}) == {"a": {"b": 1, "c": [2]}, "free": {}}
    assert current["a"]["c"] == [1]
    assert _http.unknown_keys(current, {"a": {"b": 2}, "free": {"x": 1}}) == []
    assert _http.unknown_keys(current, {"a": {"bb": 2}}) == ["unknown key a.bb (did you mean b?)"]
    assert _http.only_wanted(current, {"a": {"b": 5}}) == {"a": {"b": 1}}
