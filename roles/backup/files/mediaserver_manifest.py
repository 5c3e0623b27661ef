# SPDX-License-Identifier: MIT
"""How many rows each table of a database has: counted with the dump, and again by a drill in what came back from it."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mediaserver_psql import container_id, psql
from mediaserver_restic import Problem, last_words, write
from mediaserver_rows import COUNT, parse

Counts = dict[str, int]
END = "mediaserver-end-of-counts"


def of_sqlite(file: Path) -> Counts:
    """Immutable: the file is a copy of our own, and reading must leave no journal beside it."""
    with contextlib.closing(sqlite3.connect(f"{file.as_uri()}?mode=ro&immutable=1", uri=True)) as copy:
        names = [row[0] for row in copy.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")]
        quoted = {name: '"' + name.replace('"', '""') + '"' for name in names}
        found = {}
        for name in names:
            with contextlib.suppress(sqlite3.OperationalError):  # a virtual table whose module is the application's own
                found[name] = int(copy.execute(f"SELECT count(*) FROM {quoted[name]}").fetchone()[0])
        return found


def of_postgresql(container: str, user: str, database: str) -> Counts:
    argv = psql(container, user, database, "--command", COUNT, answers=True)
    done = subprocess.run(argv, text=True, capture_output=True, check=False, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise Problem(f"Unable to count the rows of {database}: {last_words(done.stderr)}")
    return parse(done.stdout.splitlines())


@contextlib.contextmanager
def exported(job: dict[str, Any]) -> Iterator[tuple[str | None, Counts | None]]:
    """A snapshot of the database that stays open for pg_dump, and the counts in exactly that snapshot.

    Neither where counting fails: a dump without counts is worth more than none.
    """
    database = job["database"]
    container = container_id(job["service"], database["container"])
    argv = psql(container, database["user"], database["name"], answers=True)
    with subprocess.Popen(
        argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as session:
        assert session.stdin and session.stdout and session.stderr
        lines: list[str] = []
        with contextlib.suppress(BrokenPipeError):
            session.stdin.write("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY;\nSELECT pg_export_snapshot();\n")
            session.stdin.write(f"{COUNT}\\echo {END}\n")
            session.stdin.flush()
            for line in session.stdout:
                if line.strip() == END:
                    break
                lines.append(line.strip())
            else:
                lines.clear()
        if not lines:
            print(f"{job['name']}: rows are not counted: {last_words(session.stderr.read())}", file=sys.stderr)
        try:
            yield (lines[0], parse(lines[1:])) if lines else (None, None)
        finally:
            with contextlib.suppress(BrokenPipeError):
                session.stdin.close()


def counted_by_dump(folder: Path) -> Path:
    """Where the dump of a SQLite database, a process of its own, leaves what it counted."""
    return folder / "sqlite-counts.json"


def path(folder: Path, job: str, repository: str) -> Path:
    return folder / "manifests" / f"{job}.{repository}.json"


def keep(folder: Path, job: str, repository: str, snapshot: str, counts: Counts) -> None:
    """Beside the runner's state: one for the newest snapshot in each repository."""
    write(path(folder, job, repository), json.dumps({"snapshot": snapshot, "rows": counts}, indent=2) + "\n")


def find(folder: Path, job: str, repository: str, snapshot: str) -> Counts | None:
    """The counts that were kept for this snapshot."""
    try:
        kept = json.loads(path(folder, job, repository).read_text())
    except OSError:
        return None
    return dict(kept["rows"]) if kept["snapshot"] == snapshot else None


def differences(wanted: Counts, found: Counts) -> list[str]:
    """Tables whose rows are not as many as they were, in words."""
    return [
        f"{name} has {found.get(name, 'no table')} instead of {wanted.get(name, 'no table')}"
        for name in sorted({*wanted, *found})
        if wanted.get(name) != found.get(name)
    ]
