# SPDX-License-Identifier: MIT
"""Stand-in for OVH's DynHost and for a page that tells the public address; notes what it was asked."""

from __future__ import annotations

import http.server
import ssl
from pathlib import Path

HERE = Path("/root")


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        with (HERE / "asked.log").open("a") as log:
            log.write(f"{self.path} {self.headers.get('Authorization')}\n")
        body = b"good\n" if self.path.startswith("/nic/update") else (HERE / "address").read_bytes()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: object) -> None:
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 443), Handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(HERE / "ca.pem", HERE / "key.pem")
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
