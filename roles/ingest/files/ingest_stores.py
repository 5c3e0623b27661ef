# SPDX-License-Identifier: MIT
"""What mediaserver_ingest.py remembers (journal, manifest) and what it asks of the backups.

The journal is never a proof: every deletion is decided by the disk, the repository and the remote at that moment. A
lost journal costs time, no file.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ingest_parts import Entry, Lock, Problem, Row, append_line, digest, lies_below, parse_time, snapshot_path

TRIES = 3  # snapshots looked at per repository and file, newest first


def content(identity: tuple[Any, ...]) -> str:
    """Size and hash out of an entry's identity."""
    return f"{identity[0]} {identity[3]} {identity[4]}" if identity else ""


class Journal:
    """What happened to each file of each job; every change is on the disk before the next step begins."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.base = sqlite3.connect(path, isolation_level=None)
        self.base.execute("PRAGMA synchronous = FULL")
        self.base.execute(
            "CREATE TABLE IF NOT EXISTS files (job TEXT, path TEXT, identity TEXT, seen REAL, state TEXT, local TEXT,"
            " sha256 TEXT, copied REAL, proofs TEXT, content TEXT, PRIMARY KEY (job, path)) WITHOUT ROWID"
        )
        self.base.execute("CREATE INDEX IF NOT EXISTS sums ON files (sha256)")
        self.base.execute("CREATE INDEX IF NOT EXISTS contents ON files (content)")
        self.base.execute("CREATE TABLE IF NOT EXISTS jobs (job TEXT PRIMARY KEY, state TEXT) WITHOUT ROWID")

    COLUMNS = "identity, seen, state, local, sha256, copied, proofs"

    @staticmethod
    def row(found: tuple[Any, ...]) -> Row:
        identity, seen, state, local, sha256, copied, proofs = found
        return Row(tuple(json.loads(identity)), seen, state, local, sha256, copied, json.loads(proofs))

    def get(self, job: str, path: str) -> Row:
        query = f"SELECT {self.COLUMNS} FROM files WHERE job = ? AND path = ?"
        found = self.base.execute(query, (job, path)).fetchone()
        return self.row(found) if found else Row()

    def put(self, job: str, path: str, row: Row) -> None:
        values = (json.dumps(row.identity), row.seen, row.state, row.local, row.sha256, row.copied)
        self.base.execute(
            "INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (job, path, *values, json.dumps(row.proofs), content(row.identity)),
        )

    def see(self, job: str, entries: list[Entry], now: float) -> None:
        """Note what is listed. A file that differs from what was known begins anew."""
        with self.transaction():
            for entry in entries:
                known = self.get(job, entry.path)
                if known.identity != entry.identity and known.state != "deleting":
                    self.put(job, entry.path, Row(entry.identity, now))

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        self.base.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self.base.execute("ROLLBACK")
            raise
        self.base.execute("COMMIT")

    def in_state(self, job: str, state: str) -> list[tuple[str, Row]]:
        query = f"SELECT path, {self.COLUMNS} FROM files WHERE job = ? AND state = ? ORDER BY path"
        return [(path, self.row(tuple(rest))) for path, *rest in self.base.execute(query, (job, state))]

    def locals_of(self, entry: Entry) -> list[str]:
        """Where files of this remote content were put."""
        return self.places("content", content(entry.identity)) if entry.kind else []

    def places(self, column: str, value: str) -> list[str]:
        query = f"SELECT DISTINCT local FROM files WHERE {column} = ? AND local != ''"
        return [local for (local,) in self.base.execute(query, (value,))]

    def job(self, name: str) -> dict[str, Any]:
        found = self.base.execute("SELECT state FROM jobs WHERE job = ?", (name,)).fetchone()
        return dict(json.loads(found[0])) if found else {}

    def put_job(self, name: str, state: dict[str, Any]) -> None:
        self.base.execute("INSERT OR REPLACE INTO jobs VALUES (?, ?)", (name, json.dumps(state)))


class Manifest:
    """One line of JSON for each file that was deleted in a cloud. Only ever appended to."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def add(self, line: dict[str, Any], again: bool = False) -> None:
        """``again``: a run that was killed around this moment may have written it already."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if not (again and self.has(line)):
            append_line(self.path, json.dumps(line, ensure_ascii=False, sort_keys=True))

    def has(self, line: dict[str, Any]) -> bool:
        if not self.path.exists():
            return False
        with self.path.open(encoding="utf-8", errors="replace") as lines:
            for text in lines:
                with contextlib.suppress(ValueError):
                    if json.loads(text).get("deletion") == line["deletion"]:
                        return True
        return False


class Backups:
    """The repositories of mediaserver-backup, read only.

    A file is safe when a snapshot that was whole at a later successful `restic check` gives back its exact bytes. The
    bytes are read (`restic dump`), because a listing names only path and size, and a green job says nothing of a file.
    """

    def __init__(self, config: Path, wait: float = 0) -> None:
        if not config.exists():
            raise Problem(f"no backups are set up here: {config} is missing")
        self.config: dict[str, Any] = json.loads(config.read_text(encoding="utf-8"))
        state = Path(self.config["state_dir"]) / "state.json"
        known = json.loads(state.read_text(encoding="utf-8")) if state.exists() else {}
        self.checks: dict[str, Any] = known.get("checks", {})
        self.wait = wait
        self.found: dict[str, list[dict[str, Any]]] = {}
        self.troubles: list[str] = []

    def lock(self) -> Lock:
        """The backups' own lock: a prune or check that runs meanwhile would fail for our reading, and the other way."""
        return Lock(Path(self.config["lock_file"]), "a backup is running, deletions wait for the next run", self.wait)

    def command(self, repository: dict[str, Any], *arguments: str) -> tuple[list[str], dict[str, str]]:
        environment = {**os.environ, **repository.get("environment", {})}
        path = Path(self.config["environment_file"])
        if path.exists():
            environment.update(json.loads(path.read_text(encoding="utf-8")).get(repository["name"], {}))
        environment["RESTIC_REPOSITORY"] = repository["path"]
        environment["RESTIC_PASSWORD_FILE"] = self.config["password_file"]
        environment["RESTIC_CACHE_DIR"] = self.config["cache_dir"]
        # nothing else works on this host's own repository while its lock is held; restic's would outlive a kill
        return [
            self.config.get("restic") or "restic",
            "--no-lock",
            *repository.get("options", []),
            *arguments,
        ], environment

    def snapshots(self, repository: dict[str, Any]) -> list[dict[str, Any]]:
        """Those that are there and that a successful check covered, newest first."""
        name = repository["name"]
        if name not in self.found:
            mount = repository.get("mount")
            checked = set(self.checks.get(name, {}).get("snapshots", []))
            if not checked or (mount and not os.path.ismount(mount)):
                return []
            argv, environment = self.command(repository, "snapshots", "--json")
            result = subprocess.run(argv, env=environment, capture_output=True, check=False, encoding="utf-8")
            if result.returncode:  # another repository may do
                self.troubles.append(f"Unable to list the snapshots in {repository['path']}: {result.stderr[-300:]}")
            listed = json.loads(result.stdout) if result.returncode == 0 else None
            known = [one for one in listed or [] if one["id"] in checked]
            self.found[name] = sorted(known, key=lambda one: parse_time(one["time"]), reverse=True)
        return self.found[name]

    def candidates(self, repository: dict[str, Any], local: str, after: float) -> list[dict[str, Any]]:
        """Checked snapshots that were begun after the copy was whole, of folders that hold it."""
        return [
            one
            for one in self.snapshots(repository)
            if parse_time(one["time"]) > after and any(lies_below(local, path) for path in one.get("paths") or [])
        ]

    def may_hold(self, local: str, after: float) -> int:
        """In how many repositories the file may be; without reading any data."""
        return sum(bool(self.candidates(one, local, after)) for one in self.config["repositories"])

    def proofs(self, row: Row, size: int, wanted: int) -> list[dict[str, str]]:
        """Repositories and snapshots that hold a copied file byte for byte, until there are as many as wanted."""
        found: list[dict[str, str]] = []
        # a snapshot never changes, so what was read from it once stays true while it is there and checked
        proven = {one["snapshot"] for one in row.proofs if (one["sha256"], one["local"]) == (row.sha256, row.local)}
        for repository in self.config["repositories"] if wanted else []:
            candidates = self.candidates(repository, row.local, row.copied)
            for one in sorted(candidates, key=lambda one: one["id"] not in proven)[:TRIES]:
                if one["id"] in proven or self.read(repository, one["id"], row.local) == (size, row.sha256):
                    proof = {"repository": repository["name"], "snapshot": one["id"]}
                    found.append({**proof, "sha256": row.sha256, "local": row.local})
                    break
            if len(found) >= wanted:
                break
        return found

    def read(self, repository: dict[str, Any], snapshot: str, local: str) -> tuple[int, str] | None:
        argv, environment = self.command(repository, "dump", snapshot, snapshot_path(local))
        with (
            tempfile.TemporaryFile() as complaints,
            subprocess.Popen(argv, env=environment, stdout=subprocess.PIPE, stderr=complaints) as process,
        ):
            assert process.stdout is not None
            size, hashes = digest(process.stdout, "sha256")
        return (size, hashes["sha256"]) if process.returncode == 0 else None
