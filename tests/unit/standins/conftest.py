# SPDX-License-Identifier: MIT
"""Starts a stand-in's program as a process on a free loopback port, its paths below a temporary folder."""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

STANDINS = Path(__file__).parents[2] / "lab" / "standins"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Answer:
    def __init__(self, status: int, headers: Any, body: bytes) -> None:
        self.status, self.headers, self.body = status, headers, body

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def text(self) -> str:
        return self.body.decode()


class StandIn:
    """One running program; call(...) talks to it."""

    def __init__(self, program: str, root: Path, mounts: list[str], environment: dict[str, str]) -> None:
        self.root, self.port = root, free_port()
        folder = STANDINS / Path(program).parent
        self.log = root / "log"
        self.environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": f"{STANDINS / 'common'}:{folder}",
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONUNBUFFERED": "1",
            "LAB_TEST_ROOT": str(root),
            "LAB_TEST_MOUNTS": ":".join(mounts),
            "LAB_TEST_PORT": str(self.port),
            "LAB_TEST_BOOT": "0",
        } | environment
        self.command = [sys.executable, str(STANDINS / program)]
        self.process: subprocess.Popen[bytes] | None = None
        for path in mounts:
            (root / path.lstrip("/")).mkdir(parents=True, exist_ok=True)

    def start(self) -> StandIn:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(self.command, env=self.environment, stdout=log, stderr=log)
        deadline = time.monotonic() + 15
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise AssertionError(f"stopped with {self.process.returncode}: {self.log.read_text()}")
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return self
            time.sleep(0.03)
        raise AssertionError(f"does not listen: {self.log.read_text()}")

    def stop(self) -> int:
        assert self.process
        self.process.terminate()
        return self.process.wait(timeout=15)

    def restart(self) -> None:
        self.stop()
        self.start()

    def refuses_to_start(self) -> str:
        """Run until it ends by itself; what it said."""
        done = subprocess.run(
            self.command, env=self.environment, capture_output=True, text=True, timeout=15, check=False
        )
        assert done.returncode != 0, done.stdout
        return done.stdout + done.stderr

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: dict[str, str] | None = None,
        port: int | None = None,
    ) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", port or self.port, timeout=20)
        headers = dict(headers or {})
        if body is not None and not isinstance(body, bytes):
            body, headers["Content-Type"] = json.dumps(body).encode(), "application/json"
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        answer = Answer(response.status, response.headers, response.read())
        connection.close()
        return answer


@pytest.fixture
def standin(tmp_path: Path) -> Iterator[Any]:
    """standin("jellyfin/jellyfin.py", mounts=[...], KEY="value") -> a StandIn, not yet started."""
    made: list[StandIn] = []

    def make(program: str, mounts: list[str], **environment: str) -> StandIn:
        root = tmp_path / f"root{len(made)}"
        root.mkdir()
        made.append(StandIn(program, root, mounts, environment))
        return made[-1]

    yield make
    for each in made:
        if each.process and each.process.poll() is None:
            each.process.kill()
            each.process.wait()
