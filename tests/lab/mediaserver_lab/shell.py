# SPDX-License-Identifier: MIT
"""Running commands, and saying what goes on."""

from __future__ import annotations

import fcntl
import io
import os
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path


class LabError(Exception):
    """Something the user has to know; printed without a stack trace."""


def run(
    argv: Sequence[str], *, stdin: bytes | None = None, check: bool = True, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command and return its output; a failure becomes a LabError with the command's own last words."""
    try:
        done = subprocess.run(
            list(argv), input=stdin, capture_output=True, check=False, env={**os.environ, **(env or {})}
        )
    except FileNotFoundError as exc:
        raise LabError(f"Unable to run {argv[0]}: it is not installed") from exc
    out = done.stdout.decode(errors="replace")
    err = done.stderr.decode(errors="replace")
    if check and done.returncode != 0:
        tail = "\n".join((err.strip() or out.strip()).splitlines()[-15:])
        raise LabError(f"Unable to run {' '.join(argv[:4])} ... (exit {done.returncode}): {tail}")
    return subprocess.CompletedProcess(list(argv), done.returncode, out, err)


def docker(*argv: str, stdin: bytes | None = None, check: bool = True) -> str:
    """The docker command's standard output, stripped."""
    return run(["docker", *argv], stdin=stdin, check=check).stdout.strip()


def docker_ok(*argv: str) -> bool:
    """Whether the docker command succeeds."""
    return run(["docker", *argv], check=False).returncode == 0


@contextmanager
def step(text: str) -> Iterator[None]:
    """Print what is being done and, when it is done, how long it took."""
    begin = time.monotonic()
    print(f"  {text} ...", end="", flush=True, file=sys.stdout)
    try:
        yield
    except BaseException:
        print(" FAILED", flush=True)
        raise
    print(f" {time.monotonic() - begin:.1f} s", flush=True)


@contextmanager
def alone() -> Iterator[None]:
    """Hold the lab's lock: several runs may ask for machines at the same time."""
    path = Path(tempfile.gettempdir()) / f"mediaserver-lab-{os.getuid()}.lock"
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def tar_of(files: Mapping[str, tuple[bytes, int]]) -> bytes:
    """A tar archive of ``{path: (content, mode)}``, owned by root, for ``docker cp -``."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for path, (content, mode) in sorted(files.items()):
            info = tarfile.TarInfo(path.lstrip("/"))
            info.size, info.mode, info.mtime = len(content), mode, int(time.time())
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def put_files(container: str, files: Mapping[str, tuple[bytes, int]]) -> None:
    """Copy files into a container, running or not; missing folders are made."""
    docker("cp", "-", f"{container}:/", stdin=tar_of(files))
