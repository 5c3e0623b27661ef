# SPDX-License-Identifier: MIT
"""Dumps of whole PostgreSQL clusters as compressed files in a folder: NAME-2026-11-26T0230.sql.gz.

A dump appears under its name only when it is whole and on the disk. Old ones go by age and by number: one of the last
`keep` days stays, and so do the newest `keep` files, should the clock or the dumps be wrong.
"""

from __future__ import annotations

import gzip
import os
import re
import subprocess
import time
from pathlib import Path
from typing import Any

from mediaserver_psql import container_id
from mediaserver_restic import Problem, assert_mounted, last_words

FOLDER = "folder"  # stands for the repository in state and metrics
COMPLETE = b"PostgreSQL database cluster dump complete"
CHUNK = 2**20


def dump(job: dict[str, Any]) -> dict[str, Any]:
    """Make one, and let old ones go. Bytes read and written."""
    folder = Path(job["folder"])
    assert_mounted(str(folder), job.get("mount"))
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for left in folder.glob(f".{job['name']}-*.partial"):
        left.unlink()  # of a run that was killed; there is never a second one
    name = f"{job['name']}-{time.strftime('%Y-%m-%dT%H%M%S')}.sql.gz"
    partial = folder / f".{name}.partial"
    try:
        size = pour(job, partial)
        partial.replace(folder / name)
    finally:
        partial.unlink(missing_ok=True)
    sync(folder)
    written = (folder / name).stat().st_size
    for old in too_old(sorted(found(folder, job["name"])), job["keep"], time.time()):
        old.unlink()
    return {"total_bytes_processed": size, "data_added": written, "snapshot_id": name}


def pour(job: dict[str, Any], file: Path) -> int:
    """pg_dumpall's output, compressed; readable by root alone from its first moment."""
    container = container_id(job["service"], job["container"])
    command = ["docker", "exec", container, "pg_dumpall", "--clean", "--if-exists", f"--username={job['user']}"]
    size, end = 0, b""
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with (
        os.fdopen(descriptor, "wb") as raw,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as source,
    ):
        assert source.stdout and source.stderr
        with gzip.GzipFile(fileobj=raw, mode="wb", compresslevel=6, filename="") as packed:
            while chunk := source.stdout.read(CHUNK):
                packed.write(chunk)
                size, end = size + len(chunk), (end + chunk)[-1000:]
        complaint = source.stderr.read().decode(errors="replace")
        raw.flush()
        os.fsync(raw.fileno())
    if source.returncode:
        raise Problem(f"Unable to dump the cluster of {job['service']}: {last_words(complaint)}")
    if COMPLETE not in end:
        raise Problem(f"Unable to dump the cluster of {job['service']}: the dump ends in the middle")
    return size


def found(folder: Path, name: str) -> list[Path]:
    """The dumps that are ours, and nothing else that somebody put there."""
    pattern = re.compile(rf"{re.escape(name)}-\d{{4}}-\d\d-\d\dT\d{{6}}\.sql\.gz")
    return [path for path in folder.iterdir() if pattern.fullmatch(path.name)]


def too_old(dumps: list[Path], keep: int, now: float) -> list[Path]:
    """Oldest first in; those that are older than ``keep`` days and not among the newest ``keep``."""
    return [path for path in dumps[: max(0, len(dumps) - keep)] if now - path.stat().st_mtime > keep * 86400]


def sync(folder: Path) -> None:
    """The new name on the disk, before old ones go."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError:
        pass  # a mounted cloud knows no such thing
    finally:
        os.close(descriptor)
