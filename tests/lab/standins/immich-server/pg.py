# SPDX-License-Identifier: MIT
"""As much of PostgreSQL's protocol as the stand-in needs: SCRAM login, one statement with text parameters at a time."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import socket
import struct
from typing import Any


class PgError(Exception):
    def __init__(self, fields: dict[str, str]) -> None:
        super().__init__(fields.get("M", "connection lost"))
        self.code = fields.get("C", "")


class Connection:
    def __init__(self, host: str, port: int, user: str, password: str, database: str) -> None:
        self.socket = socket.create_connection((host, port), timeout=10)
        self.socket.settimeout(60)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.stream = self.socket.makefile("rb")
        self.password = password
        pairs = {"user": user, "database": database, "client_encoding": "UTF8", "application_name": "immich-stand-in"}
        body = b"".join(f"{key}\0{value}\0".encode() for key, value in pairs.items()) + b"\0"
        self.socket.sendall(struct.pack("!ii", len(body) + 8, 196608) + body)
        while True:
            kind, payload = self._read()
            if kind == b"R":
                self._authenticate(payload)
            elif kind == b"Z":
                return

    def _read(self) -> tuple[bytes, bytes]:
        head = self.stream.read(5)
        if len(head) < 5:
            raise PgError({})
        payload = self.stream.read(struct.unpack("!i", head[1:])[0] - 4)
        if head[:1] == b"E":
            fields = {part[:1].decode(): part[1:].decode(errors="replace") for part in payload.split(b"\0") if part}
            raise PgError(fields)
        return head[:1], payload

    def _send(self, *messages: tuple[bytes, bytes]) -> None:
        self.socket.sendall(b"".join(kind + struct.pack("!i", len(text) + 4) + text for kind, text in messages))

    def _authenticate(self, payload: bytes) -> None:
        kind = struct.unpack("!i", payload[:4])[0]
        if kind == 0:
            return
        if kind == 3:
            self._send((b"p", self.password.encode() + b"\0"))
        elif kind == 10:
            self._scram()
        else:
            raise PgError({"M": f"authentication method {kind} is not supported"})

    def _scram(self) -> None:
        nonce = base64.b64encode(secrets.token_bytes(18)).decode()
        first = f"n=,r={nonce}"
        start = f"n,,{first}".encode()
        self._send((b"p", b"SCRAM-SHA-256\0" + struct.pack("!i", len(start)) + start))
        _, payload = self._read()
        answer = payload[4:].decode()
        values = dict(part.split("=", 1) for part in answer.split(","))
        salted = hashlib.pbkdf2_hmac("sha256", self.password.encode(), base64.b64decode(values["s"]), int(values["i"]))
        key = hmac.digest(salted, b"Client Key", "sha256")
        last = f"c=biws,r={values['r']}"
        signature = hmac.digest(hashlib.sha256(key).digest(), f"{first},{answer},{last}".encode(), "sha256")
        proof = base64.b64encode(bytes(a ^ b for a, b in zip(key, signature, strict=True))).decode()
        self._send((b"p", f"{last},p={proof}".encode()))
        self._read()

    def query(self, sql: str, parameters: list[Any] | None = None) -> list[list[str | None]]:
        values = [None if value is None else str(value).encode() for value in parameters or []]
        bound = b"".join(struct.pack("!i", -1) if v is None else struct.pack("!i", len(v)) + v for v in values)
        self._send(
            (b"P", b"\0" + sql.encode() + b"\0" + struct.pack("!h", 0)),
            (b"B", b"\0\0" + struct.pack("!hh", 0, len(values)) + bound + struct.pack("!h", 0)),
            (b"E", b"\0" + struct.pack("!i", 0)),
            (b"S", b""),
        )
        rows: list[list[str | None]] = []
        failure: PgError | None = None
        while True:
            try:
                kind, payload = self._read()
            except PgError as error:
                if not error.code:
                    raise
                failure = error
                continue
            if kind == b"D":
                rows.append(_row(payload))
            elif kind == b"Z":
                if failure:
                    raise failure
                return rows


def _row(payload: bytes) -> list[str | None]:
    row: list[str | None] = []
    at = 2
    for _ in range(struct.unpack("!h", payload[:2])[0]):
        size = struct.unpack("!i", payload[at : at + 4])[0]
        at += 4
        row.append(None if size < 0 else payload[at : at + size].decode())
        at += max(size, 0)
    return row
