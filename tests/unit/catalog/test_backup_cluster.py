# SPDX-License-Identifier: MIT
"""Dumps of whole clusters: whole or not at all, for root alone, and old ones go by age and number."""

from __future__ import annotations

import gzip
import importlib
import os
import stat
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

FOLDER = Path(__file__).resolve().parents[3] / "roles/backup/files"
DAY = 86400
WHOLE = b"SELECT 1;\n" * 1000 + b"--\n-- PostgreSQL database cluster dump complete\n--\n\n"


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module("mediaserver_cluster")


@pytest.fixture
def job(cluster: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A job whose container is a stand-in: a program that prints the file ``answer`` and ends with ``code``."""
    monkeypatch.setattr(cluster, "container_id", lambda _project, _service: "c0ffee")
    (tmp_path / "bin").mkdir()
    docker = tmp_path / "bin/docker"
    docker.write_text(f'#!/bin/sh\necho "$@" >{tmp_path}/asked; cat {tmp_path}/answer; exit $(cat {tmp_path}/code)\n')
    docker.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    (tmp_path / "answer").write_bytes(WHOLE)
    (tmp_path / "code").write_text("0")
    return {"name": "dumpall-all", "service": "photos", "container": "database", "user": "postgres", "keep": 7,
            "folder": str(tmp_path / "dumps"), "mount": None}  # fmt: skip


def dumps(job: dict[str, Any]) -> list[Path]:
    return sorted(Path(job["folder"]).iterdir())


def test_a_dump_is_whole_and_roots_alone(cluster: ModuleType, job: dict[str, Any], tmp_path: Path) -> None:
    os.umask(0o022)
    told = cluster.dump(job)
    (file,) = dumps(job)
    assert gzip.decompress(file.read_bytes()) == WHOLE
    assert (file.name, told["total_bytes_processed"]) == (told["snapshot_id"], len(WHOLE))
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    asked = (tmp_path / "asked").read_text()
    assert asked == "exec c0ffee pg_dumpall --clean --if-exists --username=postgres\n"
    subprocess.run(["gzip", "--test", file], check=True)


@pytest.mark.parametrize(
    ("answer", "code", "text"), [(WHOLE[:500], "0", "ends in the middle"), (WHOLE, "3", "no message")]
)
def test_half_a_dump_is_none(
    cluster: ModuleType, job: dict[str, Any], tmp_path: Path, answer: bytes, code: str, text: str
) -> None:
    cluster.dump(job)
    before = dumps(job)
    (tmp_path / "answer").write_bytes(answer)
    (tmp_path / "code").write_text(code)
    with pytest.raises(cluster.Problem, match=text):
        cluster.dump(job)
    assert dumps(job) == before


def test_nothing_is_written_into_an_empty_mount_point(cluster: ModuleType, job: dict[str, Any], tmp_path: Path) -> None:
    job["mount"] = str(tmp_path)
    with pytest.raises(cluster.Problem, match="is not mounted"):
        cluster.dump(job)
    assert not Path(job["folder"]).exists()


def aged(job: dict[str, Any], days: list[float]) -> None:
    folder = Path(job["folder"])
    folder.mkdir(exist_ok=True)
    for ago in days:
        at = time.time() - ago * DAY
        path = folder / f"dumpall-all-{time.strftime('%Y-%m-%dT%H%M%S', time.localtime(at))}.sql.gz"
        path.write_bytes(b"old")
        os.utime(path, (at, at))


@pytest.mark.parametrize(
    ("days", "kept"),
    [
        ([number / 4 for number in range(1, 60)], 28),  # four a day: all of the last seven days
        ([30, 31, 32, 33, 34, 35, 36, 37, 38], 7),  # the dumps failed for a month: seven files stay
        ([400, 401], 3),
    ],
)
def test_old_ones_go_by_age_but_never_below_the_number(
    cluster: ModuleType, job: dict[str, Any], days: list[float], kept: int
) -> None:
    aged(job, days)
    (Path(job["folder"]) / "notes.txt").write_text("somebody's own")
    cluster.dump(job)
    assert len(dumps(job)) - 1 == kept
    assert (Path(job["folder"]) / "notes.txt").exists()


def test_a_clock_that_jumps_ahead_leaves_the_newest(
    cluster: ModuleType, job: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    aged(job, list(range(1, 12)))
    ahead = time.time() + 3650 * DAY
    monkeypatch.setattr(cluster.time, "time", lambda: ahead)
    cluster.dump(job)
    assert len(dumps(job)) == 7


def test_what_a_killed_dump_left_goes(cluster: ModuleType, job: dict[str, Any]) -> None:
    aged(job, [1])
    (Path(job["folder"]) / ".dumpall-all-2026-01-01T000000.sql.gz.partial").write_bytes(b"half")
    cluster.dump(job)
    assert [path.name.startswith("dumpall-all-") for path in dumps(job)] == [True, True]
