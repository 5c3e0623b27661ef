# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ask a port something in its own protocol: an open port alone proves little.

Every function returns what the service answered in a few words and raises OSError (or ValueError for an answer that
is not of that protocol).
"""

from __future__ import annotations

import http.client
import socket
import ssl
from typing import Any

TIMEOUT = 10.0  # seconds for each step of a conversation


def speak(probe: dict[str, Any]) -> str:
    """Hold the conversation that ``probe['speak']`` names: tcp, ssh, tls, http, https or udp."""
    return TALKS[probe["speak"]](probe)


def _tcp(probe: dict[str, Any]) -> str:
    with socket.create_connection((probe["address"], probe["port"]), timeout=TIMEOUT):
        return "connected"


def _ssh(probe: dict[str, Any]) -> str:
    with socket.create_connection((probe["address"], probe["port"]), timeout=TIMEOUT) as stream:
        banner = stream.recv(255).split(b"\r\n")[0].decode("ascii", "replace")
    if not banner.startswith("SSH-2.0-"):
        raise ValueError(f"no SSH banner but {banner[:40]!r}")
    return banner


def _context(probe: dict[str, Any]) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=probe.get("ca_certificate") or None)
    if not probe.get("verify_certificate", True):
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _tls(probe: dict[str, Any]) -> str:
    name = probe.get("server_name") or probe["address"]
    with (
        socket.create_connection((probe["address"], probe["port"]), timeout=TIMEOUT) as stream,
        _context(probe).wrap_socket(stream, server_hostname=name) as secure,
    ):
        return str(secure.version())


class _HttpsToAddress(http.client.HTTPSConnection):
    """HTTPS to a fixed address with the certificate and SNI of a name: what a browser does without asking DNS."""

    def __init__(self, probe: dict[str, Any]) -> None:
        name = probe.get("server_name") or probe["address"]
        super().__init__(name, probe["port"], timeout=TIMEOUT, context=_context(probe))
        self._address = (probe["address"], probe["port"])
        self._tls = _context(probe)
        self._name = name

    def connect(self) -> None:
        stream = socket.create_connection(self._address, timeout=TIMEOUT)
        self.sock = self._tls.wrap_socket(stream, server_hostname=self._name)


def _http(probe: dict[str, Any]) -> str:
    connection: http.client.HTTPConnection
    if probe["speak"] == "https":
        connection = _HttpsToAddress(probe)
    else:
        connection = http.client.HTTPConnection(probe["address"], probe["port"], timeout=TIMEOUT)
    try:
        headers = {"User-Agent": "mediaserver-verify"}
        if probe.get("server_name"):
            headers["Host"] = probe["server_name"]
        connection.request("GET", probe.get("path") or "/", headers=headers)
        response = connection.getresponse()
        response.read(65536)
    except http.client.HTTPException as error:
        raise ValueError(f"no HTTP answer: {error!r}") from error
    finally:
        connection.close()
    wanted = probe.get("status") or list(range(200, 400))
    if response.status not in wanted:
        raise ValueError(f"HTTP {response.status}")
    return f"HTTP {response.status}"


def _udp(probe: dict[str, Any]) -> str:
    """Send ``payload`` (hex) and wait for any answer: three tries, a datagram may be lost."""
    family = socket.AF_INET6 if ":" in probe["address"] else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as datagram:
        datagram.settimeout(2.0)
        datagram.connect((probe["address"], probe["port"]))
        for _attempt in range(3):
            datagram.send(bytes.fromhex(probe.get("payload") or "00"))
            try:
                return f"{len(datagram.recv(2048))} bytes"
            except TimeoutError:
                continue
    raise TimeoutError("no answer")


TALKS = {"tcp": _tcp, "ssh": _ssh, "tls": _tls, "http": _http, "https": _http, "udp": _udp}
