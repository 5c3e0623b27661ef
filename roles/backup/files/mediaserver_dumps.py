# SPDX-License-Identifier: MIT
"""Dumps of databases: the commands that write them, and the copy of a SQLite database in use."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sqlite3
import sys
from pathlib import Path
from typing import Any

import mediaserver_manifest
from mediaserver_psql import container_id
from mediaserver_restic import Absent, Problem, assert_mounted, write


def dump_command(job: dict[str, Any], snapshot: str | None = None) -> list[str]:
    """What writes the dump to its standard output. restic runs it, and keeps nothing when it fails.

    ``snapshot`` is one that PostgreSQL exported.
    """
    database = job["database"]
    if database["kind"] == "sqlite":
        assert_mounted(database["file"], database.get("mount"))
        if not Path(database["file"]).is_file():
            raise Absent(f"Unable to dump {database['file']}: there is no such file")
        return [sys.executable, str(Path(sys.argv[0]).resolve()), "sqlite", database["file"]]
    if database["kind"] != "postgresql":
        raise Problem(f"Unable to dump {job['name']}: {database['kind']} is not known")
    container = container_id(job["service"], database["container"])
    dump = ["pg_dump", "--clean", "--if-exists", f"--username={database['user']}", f"--dbname={database['name']}"]
    return ["docker", "exec", container, *dump, *([f"--snapshot={snapshot}"] if snapshot else [])]


def sqlite_copy(source: str, copy: Path) -> None:
    """Copy a database that may be in use. Opened for writing, as only so SQLite can first finish what a crash left."""
    try:
        with (
            contextlib.closing(sqlite3.connect(f"{Path(source).as_uri()}?mode=rw", uri=True, timeout=60)) as live,
            contextlib.closing(sqlite3.connect(copy)) as target,
        ):
            live.backup(target)
            found = target.execute("PRAGMA quick_check(1)").fetchone()[0]
    except sqlite3.Error as error:
        raise Problem(f"Unable to dump {source}: {error}") from error
    if found != "ok":
        raise Problem(f"Unable to dump {source}: it is damaged: {found}")


def sqlite_dump(source: str, state_dir: Path) -> int:
    """What restic runs for a job of kind sqlite."""
    os.umask(0o077)
    copy = state_dir / "sqlite-copy"
    try:
        copy.unlink(missing_ok=True)  # a killed run may have left it
        sqlite_copy(source, copy)
        write(mediaserver_manifest.counted_by_dump(state_dir), json.dumps(mediaserver_manifest.of_sqlite(copy)))
        with copy.open("rb") as file:
            shutil.copyfileobj(file, sys.stdout.buffer)
            sys.stdout.flush()
    except Problem as problem:
        print(problem, file=sys.stderr)
        return 1
    finally:
        copy.unlink(missing_ok=True)
    return 0
