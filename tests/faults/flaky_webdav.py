# SPDX-License-Identifier: MIT
"""A cloud that misbehaves: a stand-in for a WebDAV server of the ownCloud kind, with faults at seeded random.

It lists files with SHA-1 and MD5 as ownCloud does, so real rclone takes it for a remote with hashes. Faults: answers of
500, connections cut in the middle of an answer, bodies that are shorter than announced, bodies with a wrong byte,
deletions that take place although the answer is 500 or lost, slow answers.
"""

from __future__ import annotations

import email.utils
import hashlib
import random
import threading
import time
import urllib.parse
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from xml.sax.saxutils import escape


@dataclass
class Cloud:
    """The files, what happened to them, and how bad the weather is."""

    dice: random.Random
    files: dict[str, tuple[bytes, float]] = field(default_factory=dict)
    rate: float = 0.0
    deleted: list[tuple[str, str]] = field(default_factory=list)
    asked: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    on_delete: Callable[[str, bytes], None] = lambda _path, _data: None
    lock: threading.RLock = field(default_factory=threading.RLock)
    slow: float = 0.0

    def put(self, path: str, data: bytes, age: float = 10 * 86400) -> None:
        with self.lock:
            self.files[path] = (data, float(int(time.time() - age)))

    def fault(self, *kinds: str) -> str:
        with self.lock:
            # folders are listed often, bodies and deletions asked for once: these meet bad weather more often
            rare = "corrupted" in kinds or "500 after deletion" in kinds
            if self.dice.random() >= self.rate * (2 if rare else 1):
                return ""
            kind = self.dice.choice(kinds)
            self.faults[kind] += 1
            return kind

    def delete(self, path: str) -> bool:
        with self.lock:
            if path not in self.files:
                return False
            data = self.files[path][0]
            self.on_delete(path, data)
            del self.files[path]
            self.deleted.append((path, hashlib.sha256(data).hexdigest()))
            return True

    def below(self, folder: str) -> tuple[dict[str, tuple[bytes, float]], set[str]] | None:
        """Files and folders directly in a folder, None when there is no such folder."""
        with self.lock:
            inside = {name[len(folder) :]: body for name, body in self.files.items() if name.startswith(folder)}
        if not inside and folder:
            return None
        files = {name: body for name, body in inside.items() if "/" not in name}
        return files, {name.partition("/")[0] for name in inside if "/" in name}


def properties(path: str, body: tuple[bytes, float] | None) -> str:
    href = escape(urllib.parse.quote(f"/{path}"))
    if body is None:
        inner = "<d:resourcetype><d:collection/></d:resourcetype>"
        href = href.rstrip("/") + "/"
    else:
        data, modified = body
        sums = f"SHA1:{hashlib.sha1(data).hexdigest()} MD5:{hashlib.md5(data).hexdigest()}"
        inner = (
            f"<d:resourcetype/><d:getcontentlength>{len(data)}</d:getcontentlength>"
            f"<d:getlastmodified>{email.utils.formatdate(modified, usegmt=True)}</d:getlastmodified>"
            f"<oc:checksums><oc:checksum>{sums}</oc:checksum></oc:checksums>"
        )
    return (
        f"<d:response><d:href>{href}</d:href><d:propstat><d:prop>{inner}</d:prop>"
        "<d:status>HTTP/1.1 200 OK</d:status></d:propstat></d:response>"
    )


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    cloud: Cloud

    def log_message(self, *_arguments: Any) -> None:
        pass

    def name(self) -> str:
        self.cloud.asked[self.command] += 1
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        return urllib.parse.unquote(self.path).lstrip("/")

    def answer(self, code: int, body: bytes = b"", send: int | None = None, kind: str = "application/xml") -> None:
        """``send``: only that many bytes of the body, then the connection is cut."""
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        if send is not None:
            self.close_connection = True
        self.end_headers()
        self.wfile.write(body if send is None else body[:send])
        self.wfile.flush()

    def do_PROPFIND(self) -> None:
        path = self.name()
        fault = self.cloud.fault("500", "cut", "slow")
        if fault == "500":
            return self.answer(500, b"injected")
        if fault == "slow":
            time.sleep(0.5)
        with self.cloud.lock:
            body = self.cloud.files.get(path)
        if body is not None:
            items = [properties(path, body)]
        else:
            folder = path if path.endswith("/") or not path else f"{path}/"
            found = self.cloud.below(folder)
            if found is None:
                return self.answer(404, b"<d:error xmlns:d='DAV:'/>")
            items = [properties(folder, None)]
            if self.headers.get("Depth") != "0":
                items += [properties(f"{folder}{name}", None) for name in sorted(found[1])]
                items += [properties(f"{folder}{name}", one) for name, one in sorted(found[0].items())]
        head = '<?xml version="1.0"?><d:multistatus xmlns:d="DAV:" xmlns:oc="http://owncloud.org/ns">'
        text = f"{head}{''.join(items)}</d:multistatus>".encode()
        return self.answer(207, text, len(text) // 2 if fault == "cut" else None)

    def do_GET(self) -> None:
        path = self.name()
        with self.cloud.lock:
            data, _modified = self.cloud.files.get(path, (None, 0.0))
        if data is None:
            return self.answer(404)
        fault = self.cloud.fault("500", "cut", "truncated", "corrupted", "slow")
        kind = "application/octet-stream"
        if fault == "500":
            return self.answer(500, b"injected")
        if fault == "cut":
            return self.answer(200, data, self.cloud.dice.randrange(len(data) + 1), kind)
        if fault == "truncated":  # and announced as if it were whole
            return self.answer(200, data[: self.cloud.dice.randrange(len(data) + 1)], None, kind)
        if fault == "corrupted" and data:
            at = self.cloud.dice.randrange(len(data))
            data = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
        if fault == "slow" or self.cloud.slow:
            time.sleep(0.5 if fault == "slow" else self.cloud.slow)
        return self.answer(200, data, None, kind)

    def do_HEAD(self) -> None:
        self.name()
        self.answer(404)

    def do_DELETE(self) -> None:
        path = self.name()
        fault = self.cloud.fault("500", "500 after deletion", "cut after deletion", "slow")
        if fault == "500":
            return self.answer(500, b"injected")
        if fault == "slow":
            time.sleep(0.5)
        there = self.cloud.delete(path)
        if fault == "500 after deletion":
            return self.answer(500, b"injected")
        if fault == "cut after deletion":
            self.close_connection = True
            return None
        return self.answer(204 if there else 404)


def serve(cloud: Cloud) -> ThreadingHTTPServer:
    handler = type("CloudHandler", (Handler,), {"cloud": cloud})

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_arguments: Any) -> None:
            """Clients that are killed are no news here."""

    server = Server(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server
