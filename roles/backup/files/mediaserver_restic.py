# SPDX-License-Identifier: MIT
"""restic and one repository: how it is called, with which secrets, and what its answers mean."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

NO_REPOSITORY = 10
WRONG_PASSWORD = 12
# restic before 0.17 (Ubuntu 24.04) ends with 1 and says so in words
NO_REPOSITORY_TEXT = re.compile(
    r"unable to open config file: .*(no such file|does not exist|NoSuchKey|NotFound|\b404\b)", re.IGNORECASE
)
WRONG_PASSWORD_TEXT = "wrong password or no key found"
PATIENCE = 180
GRACE = 60
"""Seconds that restic has to end after it told that something could not be stored."""


class Problem(Exception):
    """Why a job did not succeed, in words for the owner."""


class Absent(Problem):
    """The source is not there; before a job's first success that may be because its service never ran."""


class Restic:
    """One repository."""

    def __init__(self, config: dict[str, Any], repository: dict[str, Any]) -> None:
        self.config = config
        self.repository = repository

    @property
    def name(self) -> str:
        return str(self.repository["name"])

    @property
    def append_only(self) -> bool:
        """This host may add, never delete."""
        return bool(self.repository.get("append_only"))

    def environment(self) -> dict[str, str]:
        """With this repository's credentials, and no other's."""
        environment = {**os.environ, **self.repository.get("environment", {})}
        path = Path(self.config["environment_file"])
        if path.exists():
            environment.update(json.loads(path.read_text()).get(self.name, {}))
        environment["RESTIC_REPOSITORY"] = self.repository["path"]
        environment["RESTIC_PASSWORD_FILE"] = self.config["password_file"]
        environment["RESTIC_CACHE_DIR"] = self.config["cache_dir"]
        return environment

    def command(self, *arguments: str) -> list[str]:
        # another machine may prune or check there at the moment
        return [
            self.config.get("restic") or "restic",
            "--retry-lock=10m",
            *self.repository.get("options", []),
            *arguments,
        ]

    def call(
        self, *arguments: str, show: bool = False, patience: float | None = None
    ) -> subprocess.CompletedProcess[str]:
        """``patience`` in seconds: restic itself tries a server that does not answer for a quarter of an hour."""
        argv = self.command(*arguments)
        if show:
            return subprocess.run(argv, env=self.environment(), encoding="utf-8", check=False)
        watched = Watched(argv, self.environment(), patience, self.config.get("grace", GRACE))
        if watched.late:
            raise Problem(
                f"Unable to reach {self.repository['path']} within {patience or 0:.0f} seconds: "
                f"{last_words(watched.errors)}"
            )
        if watched.code < 0 or watched.failure:  # it left its lock behind; whoever comes next would wait for it
            Watched(self.command("unlock"), self.environment(), PATIENCE, GRACE)
        return subprocess.CompletedProcess(argv, watched.code, watched.output, watched.errors)

    def process(self, *arguments: str) -> subprocess.Popen[bytes]:
        """A call whose output is read while it runs; what it complains of goes to our own standard error."""
        return subprocess.Popen(self.command(*arguments), env=self.environment(), stdout=subprocess.PIPE)

    def stream(self, what: str, file: BinaryIO, *arguments: str) -> None:
        """A call whose output becomes ``file``'s content, on the disk when this returns."""
        with self.process(*arguments) as source:
            assert source.stdout
            shutil.copyfileobj(source.stdout, file)
        if source.returncode:
            raise Problem(f"Unable to {what} from {self.repository['path']}: restic ended with {source.returncode}")
        file.flush()
        os.fsync(file.fileno())

    def must(self, what: str, *arguments: str) -> str:
        result = self.call(*arguments)
        if result.returncode:
            raise Problem(f"Unable to {what} in {self.repository['path']}: {last_words(result.stderr)}")
        return result.stdout

    def ready(self) -> None:
        """Make the repository if there is none; anything else than "there is none" is a problem."""
        if not self.exists():
            self.must("make the repository", "init")

    def exists(self) -> bool:
        """Whether there is a repository, and it opens.

        Locks go only where who took them is gone: a killed run of this host, or half an hour without a sign. Without
        that, whoever reads after a killed prune would wait for a lock that nobody holds.
        """
        assert_mounted(self.repository["path"], self.repository.get("mount"))
        result = self.call("unlock", patience=self.config.get("patience", PATIENCE))
        said = result.stderr or ""
        if result.returncode == WRONG_PASSWORD or (result.returncode == 1 and WRONG_PASSWORD_TEXT in said):
            raise Problem(f"Unable to open {self.repository['path']}: it was made with another password")
        if result.returncode == 1 and NO_REPOSITORY_TEXT.search(said):
            return False
        if result.returncode not in (0, NO_REPOSITORY):
            raise Problem(f"Unable to open {self.repository['path']}: {last_words(result.stderr)}")
        return result.returncode == 0


class Watched:
    """A run of restic that ends in any case.

    restic 0.18 waits for itself for ever when a pack cannot be stored while the last ones are handed over (seen with a
    full disk: its uploader has ended, the archiver does not know). So it is stopped a while after it told of a failure.
    """

    def __init__(self, argv: list[str], environment: dict[str, str], patience: float | None, grace: float) -> None:
        self.grace, self.late, self.failure, self.errors = grace, False, "", ""
        self.timers: list[threading.Timer] = []
        with subprocess.Popen(argv, env=environment, encoding="utf-8", errors="replace", stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE) as self.process:  # fmt: skip
            assert self.process.stdout
            if patience is not None:
                self.after(patience, self.give_up)
            reader = threading.Thread(target=self.read)
            reader.start()
            self.output = self.process.stdout.read()
            reader.join()
            self.code = self.process.wait()
        for timer in self.timers:
            timer.cancel()
        self.errors += self.failure  # the last words, as they say why

    def read(self) -> None:
        """What it complains of. The first thing that could not be stored starts the clock."""
        assert self.process.stderr
        told = False
        for line in self.process.stderr:
            self.errors += line
            if not told and line.startswith("Save(") and ") failed: " in line:
                told = True
                self.after(self.grace, self.stop, line)

    def after(self, seconds: float, what: Callable[..., None], *arguments: str) -> None:
        timer = threading.Timer(seconds, what, arguments)
        timer.daemon = True
        timer.start()
        self.timers.append(timer)

    def give_up(self) -> None:
        self.late = True
        self.process.kill()

    def stop(self, reason: str) -> None:
        """Asked to, it takes its lock along; else by force."""
        self.failure = reason
        self.after(self.grace, self.process.kill)
        self.process.terminate()


def last_words(text: str) -> str:
    """The last line of what a command complained, out of restic's JSON where it speaks that; older ones put the
    repository's place behind it."""
    lines = [line for line in text.strip().splitlines() if line.strip()]
    if not lines:
        return "no message"
    if len(lines) > 2 and lines[-2].startswith("Is there a repository at"):
        return lines[-3]
    try:
        return str(json.loads(lines[-1])["message"])
    except (ValueError, KeyError, TypeError):
        return lines[-1]


def assert_mounted(path: str, mount: str | None) -> None:
    if mount and not os.path.ismount(mount):
        raise Problem(f"Unable to use {path}: {mount} is not mounted")


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(text)
    temporary.chmod(0o644)
    temporary.replace(path)
