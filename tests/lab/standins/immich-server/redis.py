# SPDX-License-Identifier: MIT
"""A PING to Redis or Valkey before every job: without it the real server queues nothing."""

from __future__ import annotations

import os
import socket

settings: dict[str, str | int | None] = {"host": "redis", "port": 6379, "username": None, "password": None}


class Unreachable(Exception):
    pass


def ping() -> None:
    if os.environ.get("LAB_TEST_REDIS") == "none" or settings["host"] is None:
        return
    lines = []
    if settings["password"]:
        lines.append(["AUTH", *([settings["username"]] if settings["username"] else []), settings["password"]])
    lines.append(["PING"])
    try:
        with socket.create_connection((str(settings["host"]), int(settings["port"] or 6379)), timeout=3) as connection:
            stream = connection.makefile("rb")
            for words in lines:
                parts = [str(word).encode() for word in words]
                text = b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)
                connection.sendall(text)
                answer = stream.readline().strip()
                if not answer.startswith(b"+"):
                    raise Unreachable(answer.decode(errors="replace"))
    except OSError as error:
        raise Unreachable(f"{settings['host']}:{settings['port']}: {error}") from error
