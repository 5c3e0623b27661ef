# SPDX-License-Identifier: MIT
"""Stand-in for OVH's DynHost and for a page that tells the public address, on the lab's machine `internet`.

GET /nic/update?system=dyndns&hostname=NAME&myip=ADDRESS with basic authentication: `good ADDRESS` for what is new,
`nochg ADDRESS` for what it knows, `badauth` (401) for anybody else, `nohost` for a name without a DynHost entry,
`notfqdn` without a name. GET /address: where the question came from. What it was told lies in STATE as {name: address}.
Only the shape of the answers is OVH's; it changes no DNS.
"""

from __future__ import annotations

import base64
import http.server
import ipaddress
import json
import os
import ssl
import sys
import threading
from pathlib import Path
from urllib.parse import parse_qs, urlsplit


class Registrar:
    """Who may update which names, and what they are now."""

    def __init__(self, login: str, password: str, domain: str, state: Path) -> None:
        self.credentials = "Basic " + base64.b64encode(f"{login}:{password}".encode()).decode()
        self.domain = domain
        self.state = state
        self.lock = threading.Lock()

    def known(self) -> dict[str, str]:
        found: dict[str, str] = json.loads(self.state.read_text()) if self.state.exists() else {}
        return found

    def update(self, query: dict[str, list[str]], authorization: str | None, source: str) -> tuple[int, str]:
        """Status and text of the answer."""
        if authorization != self.credentials:
            return 401, "badauth"
        name = query.get("hostname", [""])[0].lower()
        if query.get("system") != ["dyndns"] or "." not in name:
            return 200, "notfqdn"
        if name != self.domain and not name.endswith(f".{self.domain}"):
            return 200, "nohost"
        try:
            address = str(ipaddress.ip_address(query.get("myip", [source])[0]))
        except ValueError:
            return 200, "dnserr"
        with self.lock:
            known = self.known()
            if known.get(name) == address:
                return 200, f"nochg {address}"
            self.state.parent.mkdir(parents=True, exist_ok=True)
            temporary = self.state.with_suffix(".new")
            temporary.write_text(json.dumps(known | {name: address}, indent=1, sort_keys=True))
            temporary.replace(self.state)
        return 200, f"good {address}"


def handler(registrar: Registrar) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = urlsplit(self.path)
            source = self.client_address[0].removeprefix("::ffff:")
            if asked.path == "/nic/update":
                code, text = registrar.update(parse_qs(asked.query), self.headers.get("Authorization"), source)
            else:
                code, text = (200, source) if asked.path == "/address" else (404, "not found")
            body = f"{text}\n".encode()
            self.send_response(code)
            if code == 401:
                self.send_header("WWW-Authenticate", 'Basic realm="DynHost"')
            self.send_header("Content-Type", "text/plain")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            print(f"{source} {asked.path} {asked.query}: {text}", flush=True)

        def log_message(self, *_arguments: object) -> None:
            pass

    return Handler


def serve(registrar: Registrar, certificate: str, key: str, port: int = 443) -> None:
    server = http.server.ThreadingHTTPServer(("0.0.0.0", port), handler(registrar))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    # the handshake is each connection's own matter: one that says nothing must not stop the others
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    server.serve_forever()


if __name__ == "__main__":
    told = os.environ
    serve(Registrar(told["LOGIN"], told["PASSWORD"], told["DOMAIN"], Path(told["STATE"])), sys.argv[1], sys.argv[2])
