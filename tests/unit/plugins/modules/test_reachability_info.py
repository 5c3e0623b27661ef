# SPDX-License-Identifier: MIT
"""The module against servers of its own on loopback; only the scan's raw frames are left to the lab."""

from __future__ import annotations

import contextlib
import datetime
import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.homelab.mediaserver.plugins.module_utils import _probe_scan, _probe_speak
from ansible_collections.homelab.mediaserver.plugins.modules import reachability_info
from ansible_collections.homelab.mediaserver.tests.unit.fakes.host_fake import Commands, Result, run_module
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

HERE = "127.0.0.1"
NAME = "media.example.org"


class Routes(Commands):
    """`ip route get`: what the kernel would answer per address; no answer for an unknown one."""

    def __init__(self, **routes: dict[str, Any]) -> None:
        super().__init__()
        self.routes = routes

    def call(self, argv: list[str]) -> Any:
        if argv[:4] == ["ip", "-json", "route", "get"]:
            self.read(*argv)
            return json.dumps([self.routes[argv[4]]]) if argv[4] in self.routes else (2, "", "unreachable")
        return None


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    monkeypatch.setattr(_probe_speak, "TIMEOUT", 2.0)

    def start(check: bool = False, routes: Routes | None = None, **args: Any) -> Result:
        return run_module(reachability_info, routes or Routes(), args, monkeypatch, check)

    return start


@pytest.fixture
def ask(run: Callable[..., Result]) -> Callable[..., dict[str, Any]]:
    def one(port: int, speak: str, check: bool = False, **more: Any) -> dict[str, Any]:
        result = run(check, probes=[{"id": "one", "address": HERE, "port": port, "speak": speak, **more}])
        assert result["changed"] is False
        return result["answers"]["one"]

    return one


@contextlib.contextmanager
def listening(talk: Callable[[socket.socket], None], context: ssl.SSLContext | None = None) -> Iterator[int]:
    """A TCP server that holds ``talk`` with each caller, one after the other."""
    with socket.create_server((HERE, 0)) as server:

        def serve() -> None:
            while True:
                try:
                    stream, _peer = server.accept()
                except OSError:
                    return
                with contextlib.suppress(OSError), stream:
                    stream.settimeout(2.0)
                    if context is None:
                        talk(stream)
                    else:
                        with context.wrap_socket(stream, server_side=True) as secure:
                            talk(secure)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()


class Http:
    """Answers every request with one status and remembers what was asked."""

    def __init__(self, status: int) -> None:
        self.status = status
        self.asked = ""

    def __call__(self, stream: socket.socket) -> None:
        while "\r\n\r\n" not in self.asked:
            self.asked += stream.recv(4096).decode("ascii")
        stream.sendall(f"HTTP/1.1 {self.status} X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())


def quiet(stream: socket.socket) -> None:
    stream.recv(1)


def free_port() -> int:
    with socket.create_server((HERE, 0)) as server:
        return server.getsockname()[1]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, str]:
    """A server's TLS with a certificate for NAME that signs itself, and that certificate as PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, NAME)])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME)]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), True)
        .sign(key, hashes.SHA256())
    )
    pem = made.public_bytes(serialization.Encoding.PEM).decode()
    path: Path = tmp_path_factory.mktemp("tls") / "server.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(private + pem.encode())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context, pem


@pytest.mark.parametrize(
    "wrong",
    [
        {"probes": [{"id": "x", "address": HERE}]},
        {"probes": [{"id": "x", "address": HERE, "port": 22, "speak": "gopher"}]},
        {"ports": "22"},
        {"ports": "0-10"},
        {"ports": "9-8"},
        {"ports": "1-65536"},
    ],
)
def test_wrong_arguments(run: Callable[..., Result], wrong: dict[str, Any]) -> None:
    assert run(**wrong).failed


@pytest.mark.parametrize("check", [True, False])
def test_nothing_asked_nothing_found(run: Callable[..., Result], check: bool) -> None:
    assert run(check) == {"changed": False, "open_ports": {}, "answers": {}}


@pytest.mark.parametrize("check", [True, False])
def test_connection(ask: Callable[..., dict[str, Any]], check: bool) -> None:
    with listening(quiet) as port:
        assert ask(port, "tcp", check) == {"answered": True, "text": "connected"}


@pytest.mark.parametrize("speak", ["tcp", "ssh", "tls", "http", "https"])
def test_closed_port(ask: Callable[..., dict[str, Any]], speak: str) -> None:
    answer = ask(free_port(), speak)
    assert answer["answered"] is False
    assert "refused" in answer["text"]


def test_ssh_banner(ask: Callable[..., dict[str, Any]]) -> None:
    with listening(lambda stream: stream.sendall(b"SSH-2.0-OpenSSH_9.2p1\r\n")) as port:
        assert ask(port, "ssh") == {"answered": True, "text": "SSH-2.0-OpenSSH_9.2p1"}
    with listening(lambda stream: stream.sendall(b"220 mail\r\n")) as port:
        assert ask(port, "ssh") == {"answered": False, "text": "no SSH banner but '220 mail'"}


def test_http_asks_for_path_and_name(ask: Callable[..., dict[str, Any]]) -> None:
    server = Http(204)
    with listening(server) as port:
        assert ask(port, "http", path="/health", server_name=NAME) == {"answered": True, "text": "HTTP 204"}
    assert server.asked.startswith("GET /health HTTP/1.1\r\n")
    assert f"\r\nHost: {NAME}\r\n" in server.asked
    assert server.asked.lower().count("\r\nhost:") == 1


@pytest.mark.parametrize(
    ("status", "wanted", "answered"),
    [
        (200, None, True),
        (302, None, True),
        (401, None, False),
        (502, None, False),
        (401, [401], True),
        (200, [401], False),
    ],
)
def test_status_that_counts(
    ask: Callable[..., dict[str, Any]], status: int, wanted: list[int] | None, answered: bool
) -> None:
    with listening(Http(status)) as port:
        answer = ask(port, "http", **({"status": wanted} if wanted else {}))
    assert answer == {"answered": answered, "text": f"HTTP {status}"}


def test_a_server_that_speaks_no_http(ask: Callable[..., dict[str, Any]]) -> None:
    def talk(stream: socket.socket) -> None:
        stream.recv(4096)
        stream.sendall(b"SSH-2.0-OpenSSH_9.2p1\r\n")

    with listening(talk) as port:
        answer = ask(port, "http")
    assert answer["answered"] is False
    assert answer["text"].startswith("no HTTP answer")


@pytest.mark.parametrize("speak", ["tls", "https"])
def test_certificate_must_be_trusted_and_of_that_name(
    ask: Callable[..., dict[str, Any]], certificate: tuple[ssl.SSLContext, str], speak: str
) -> None:
    context, pem = certificate

    def one(**more: Any) -> dict[str, Any]:
        with listening(Http(200) if speak == "https" else quiet, context) as port:
            return ask(port, speak, **more)

    good = one(server_name=NAME, ca_certificate=pem)
    assert good["answered"] is True, good
    assert good["text"] == "HTTP 200" if speak == "https" else good["text"].startswith("TLSv1.")
    assert "self-signed" in one(server_name=NAME)["text"]
    assert "Hostname mismatch" in one(server_name="other.example.org", ca_certificate=pem)["text"]
    assert one(verify_certificate=False)["answered"] is True


def test_udp(ask: Callable[..., dict[str, Any]]) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind((HERE, 0))
        seen: list[bytes] = []

        def serve() -> None:
            data, peer = server.recvfrom(100)
            seen.append(data)
            server.sendto(b"\x40" * 14, peer)

        thread = threading.Thread(target=serve)
        thread.start()
        assert ask(server.getsockname()[1], "udp", payload="38ff") == {"answered": True, "text": "14 bytes"}
        thread.join()
    assert seen == [b"\x38\xff"]
    assert "refused" in ask(free_port(), "udp")["text"]
    assert ask(9, "udp", payload="no hex")["answered"] is False


def test_one_silent_port_does_not_hide_the_next(run: Callable[..., Result]) -> None:
    with listening(quiet) as port:
        probes = [{"id": "closed", "address": HERE, "port": free_port()}, {"id": "open", "address": HERE, "port": port}]
        answers = run(probes=probes)["answers"]
    assert [answers[name]["answered"] for name in ("closed", "open")] == [False, True]


@pytest.fixture
def scanned(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, range]]:
    """Scans that were made. The route is found without the kernel's neighbours; 10.0.0.1 has two open ports."""
    made: list[tuple[str, range]] = []
    real = _probe_scan.find_route

    def find_route(address: str, execute: Callable[[list[str]], str]) -> _probe_scan.Route | None:
        known = address == "10.0.0.1"
        return _probe_scan.Route(address, "10.0.0.2", "eth0", b"1", b"2") if known else real(address, execute)

    def scan(route: _probe_scan.Route, ports: range) -> list[int]:
        made.append((route.target, ports))
        return [22, 443]

    monkeypatch.setattr(reachability_info, "find_route", find_route)
    monkeypatch.setattr(reachability_info, "scan", scan)
    return made


@pytest.mark.parametrize("check", [True, False])
def test_scan(run: Callable[..., Result], scanned: list[tuple[str, range]], check: bool) -> None:
    unreachable = {"type": "unreachable", "dst": "10.0.0.9"}
    routes = Routes(**{"10.0.0.9": unreachable})
    result = run(check, routes, scan=["10.0.0.1", "10.0.0.9", "fd00::1"], ports="20-500")
    assert result["open_ports"] == {"10.0.0.1": [22, 443], "10.0.0.9": None, "fd00::1": None}
    assert scanned == [("10.0.0.1", range(20, 501))]
    assert routes.reads == ["ip -json route get 10.0.0.9", "ip -json route get fd00::1"]


def test_all_ports_by_default(run: Callable[..., Result], scanned: list[tuple[str, range]]) -> None:
    run(scan=["10.0.0.1"])
    assert scanned == [("10.0.0.1", range(1, 65536))]


def test_own_address_is_not_scanned(run: Callable[..., Result], scanned: list[tuple[str, range]]) -> None:
    local = {"type": "local", "dev": "lo", "dst": HERE, "prefsrc": HERE}
    result = run(routes=Routes(**{HERE: local}), scan=[HERE])
    assert result["msg"] == f"Unable to scan {HERE}: it is this machine's own address"
    assert scanned == []


def test_scan_needs_root(
    run: Callable[..., Result], scanned: list[tuple[str, range]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_arguments: Any) -> list[int]:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(reachability_info, "scan", refuse)
    result = run(scan=["10.0.0.1"])
    assert result.failed
    assert result["msg"] == "Unable to scan 10.0.0.1: [Errno 1] Operation not permitted; run with become"
