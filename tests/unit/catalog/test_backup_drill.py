# SPDX-License-Identifier: MIT
"""The drill: what it counts, which files it takes, and what it holds for a difference."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import json
import os
import sqlite3
import sys
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

FOLDER = Path(__file__).resolve().parents[3] / "roles/backup/files"
COUNTS = {"public.asset": 3, "public.user": 1}


@pytest.fixture
def drilling(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module("mediaserver_drill")


class Listing:
    """What ``restic ls --json`` prints."""

    def __init__(self, nodes: list[dict[str, Any]]) -> None:
        self.stdout = io.BytesIO(b"".join(json.dumps(node).encode() + b"\n" for node in nodes))
        self.returncode = 0

    def __enter__(self) -> Listing:
        return self

    def __exit__(self, *_error: object) -> None:
        pass


def drill(drilling: ModuleType, folder: Path, nodes: list[dict[str, Any]], ident: str = "aa") -> Any:
    restic = argparse.Namespace(name="local", repository={"name": "local"}, process=lambda *_words: Listing(nodes))
    shot = drilling.Snapshot("local", ident, "app-data", datetime(2026, 11, 20, tzinfo=UTC), 1)
    job = {"name": "app-data", "service": "app"}
    return drilling.Drill(argparse.Namespace(path=folder / "state.json"), restic, job, shot)


def files(count: int, size: int = 10) -> list[dict[str, Any]]:
    return [{"type": "dir", "path": "/d"}, *({"type": "file", "path": f"/d/{n}", "size": size} for n in range(count))]


def test_counts_are_read_from_psqls_lines(drilling: ModuleType) -> None:
    assert drilling.manifest.parse(["public.asset 3", 'public."odd name" 12', ""]) == {
        "public.asset": 3, 'public."odd name"': 12,
    }  # fmt: skip


def test_counts_of_a_sqlite_copy(drilling: ModuleType, tmp_path: Path) -> None:
    with contextlib.closing(sqlite3.connect(tmp_path / "copy")) as database:
        database.execute('CREATE TABLE "od""d" (v)')
        database.execute("CREATE TABLE empty (v)")
        database.executemany('INSERT INTO "od""d" VALUES (?)', [(1,), (2,)])
        database.commit()
    assert drilling.manifest.of_sqlite(tmp_path / "copy") == {'od"d': 2, "empty": 0}


def test_counts_are_kept_for_the_newest_snapshot(drilling: ModuleType, tmp_path: Path) -> None:
    manifest = drilling.manifest
    assert manifest.find(tmp_path, "app-main", "local", "one") is None
    manifest.keep(tmp_path, "app-main", "local", "one", COUNTS)
    assert manifest.find(tmp_path, "app-main", "local", "one") == COUNTS
    assert manifest.find(tmp_path, "app-main", "offsite", "one") is None
    manifest.keep(tmp_path, "app-main", "local", "two", {})
    assert manifest.find(tmp_path, "app-main", "local", "one") is None


@pytest.mark.parametrize(
    ("found", "text"),
    [
        ({"public.asset": 2, "public.user": 1}, "public.asset has 2 instead of 3"),
        ({"public.asset": 3}, "public.user has no table instead of 1"),
        ({**COUNTS, "public.new": 0}, "public.new has 0 instead of no table"),
    ],
)
def test_any_other_number_of_rows_is_no_proof(
    drilling: ModuleType, tmp_path: Path, found: dict[str, int], text: str
) -> None:
    one = drill(drilling, tmp_path, [])
    drilling.manifest.keep(tmp_path, "app-data", "local", "aa", COUNTS)
    assert one.compare(COUNTS) == "2 tables, 4 rows, as many as were dumped"
    with pytest.raises(drilling.Problem, match=text):
        one.compare(found)


def test_without_counts_of_the_source_it_says_so(drilling: ModuleType, tmp_path: Path) -> None:
    assert "there are no counts of the source" in drill(drilling, tmp_path, []).compare(COUNTS)


def test_sample_is_bounded_and_its_snapshots_own(drilling: ModuleType, tmp_path: Path) -> None:
    def chosen(count: int, ident: str = "aa", size: int = 10) -> list[str]:
        return [node["path"] for node in drill(drilling, tmp_path, files(count, size), ident).sample()]

    assert sorted(chosen(5)) == [f"/d/{n}" for n in range(5)]
    assert len(chosen(1000)) == len(set(chosen(1000))) == drilling.SAMPLE_FILES
    assert chosen(1000) == chosen(1000)
    assert chosen(1000) != chosen(1000, "bb")
    assert len(chosen(10, size=drilling.SAMPLE_BYTES // 3)) == 3
    assert len(chosen(10, size=2 * drilling.SAMPLE_BYTES)) == 1, "at least one, whatever its size"


def test_a_pattern_means_only_its_path(drilling: ModuleType) -> None:
    assert drilling.literally("/a/[1] what?*\\.jpg") == "/a/\\[1] what\\?\\*\\\\.jpg"


@pytest.fixture
def came_back(drilling: ModuleType, tmp_path: Path) -> tuple[Any, Path, Path, dict[str, Any]]:
    """A drill, a source, its copy with the same time, and what the snapshot says of it."""
    one = drill(drilling, tmp_path, [])
    source = tmp_path / "source"
    copy = Path(f"{one.scratch}{source}")
    copy.parent.mkdir(parents=True)
    for path in (source, copy):
        path.write_text("precious")
        os.utime(path, ns=(1, 1_700_000_000_123_456_789))
    return one, source, copy, {"path": str(source), "size": 8}


def test_same_file(came_back: tuple[Any, Path, Path, dict[str, Any]]) -> None:
    one, _source, _copy, node = came_back
    assert one.same_as_source(node)


def test_file_that_changed_or_went_since_is_not_compared(came_back: tuple[Any, Path, Path, dict[str, Any]]) -> None:
    one, source, _copy, node = came_back
    source.write_text("newer")
    assert not one.same_as_source(node)
    source.unlink()
    assert not one.same_as_source(node)


def test_file_that_rotted_under_its_old_time(
    drilling: ModuleType, came_back: tuple[Any, Path, Path, dict[str, Any]]
) -> None:
    one, source, _copy, node = came_back
    source.write_text("previous")
    os.utime(source, ns=(1, 1_700_000_000_123_456_789))
    with pytest.raises(drilling.Problem, match="either it or the copy is damaged"):
        one.same_as_source(node)


def test_file_that_did_not_come_back_whole(
    drilling: ModuleType, came_back: tuple[Any, Path, Path, dict[str, Any]]
) -> None:
    one, _source, copy, node = came_back
    copy.write_text("prec")
    with pytest.raises(drilling.Problem, match="did not come back whole"):
        one.same_as_source(node)
    copy.unlink()
    with pytest.raises(drilling.Problem, match="did not come back whole"):
        one.same_as_source(node)


@pytest.mark.parametrize(("state", "proved"), [({}, False), ({"success": 1.0}, None)])
def test_a_job_without_snapshots(
    drilling: ModuleType, monkeypatch: pytest.MonkeyPatch, state: dict[str, Any], proved: bool | None
) -> None:
    """Before the first backup nothing is missing; after one that succeeded its snapshot is."""
    monkeypatch.setattr(drilling, "snapshots", lambda _restic, _host: [])
    runner = argparse.Namespace(state={"app-data": {"repositories": {"local": state}}})
    restic = argparse.Namespace(name="local", repository={"name": "local", "path": "/r"}, exists=lambda: True)
    jobs = [{"name": "app-data", "service": "app"}]
    if proved is None:
        with pytest.raises(drilling.Problem, match="/r has no snapshot of it"):
            drilling.drill_service(runner, restic, "host", jobs)
    else:
        assert drilling.drill_service(runner, restic, "host", jobs) is proved


def test_before_the_first_backup_there_is_nothing_to_prove(
    drilling: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not even a repository."""
    restic = argparse.Namespace(name="local", repository={"name": "local"})
    runner = argparse.Namespace(
        config={"jobs": [{"name": "app-data", "service": "app"}], "host": "host"},
        state={"app-data": {"declared": 1.0}},
        repositories=[restic],
    )
    assert drilling.main(runner, drilling.parser().parse_args([])) == 0
    assert capsys.readouterr().out == "app: nothing was saved yet in local\n"


def test_a_repository_that_does_not_answer_hides_no_other(
    drilling: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def drill(_runner: Any, restic: Any, _host: str, _jobs: Any) -> bool:
        if restic.name == "away":
            raise drilling.Problem("does not answer")
        return True

    monkeypatch.setattr(drilling, "drill_service", drill)
    known: dict[str, dict[str, Any]] = {"away": {}, "local": {}}
    saved = {"repositories": {name: {"success": 1.0} for name in known}}
    runner = argparse.Namespace(
        config={"jobs": [{"name": "app-data", "service": "app"}], "host": "host"}, state={"app-data": saved},
        repositories=[argparse.Namespace(name=name, repository={"name": name}) for name in known],
        drill=lambda _service, name: known[name], save=lambda: None,
    )  # fmt: skip
    assert drilling.main(runner, drilling.parser().parse_args([])) == 1
    assert (known["away"]["ok"], known["local"]["ok"]) == (0, 1)
    assert "app from away: does not answer" in capsys.readouterr().err
