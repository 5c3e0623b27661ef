# SPDX-License-Identifier: MIT
"""The restore: which snapshot is chosen, and that the old state is kept, and comes back when something fails."""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

FOLDER = Path(__file__).resolve().parents[3] / "roles/backup/files"
STAMP = "20261126-060000"


@pytest.fixture
def restoring(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module("mediaserver_restore")


def snapshot(restoring: ModuleType, ident: str, job: str, at: str) -> Any:
    return restoring.Snapshot("local", ident * 16, job, datetime.fromisoformat(at).astimezone(), 10)


def some(restoring: ModuleType) -> list[Any]:
    return [
        snapshot(restoring, "aaaa", "app-data", "2026-11-19 02:30:10"),
        snapshot(restoring, "bbbb", "app-data", "2026-11-20 02:30:10"),
        snapshot(restoring, "cccc", "app-data", "2026-11-21 02:30:10"),
        snapshot(restoring, "dddd", "app-main", "2026-11-21 02:31:00"),
    ]


@pytest.mark.parametrize(
    ("at", "chosen"),
    [
        ("latest", "cccc"),
        ("2026-11-20", "bbbb"),
        ("2026-11-20 02:30", "bbbb"),
        ("2026-11-20 02:29", "aaaa"),
        ("2026-11-20T02:30:09", "aaaa"),
        ("2027-01-01", "cccc"),
        ("aaaaaaaa", "aaaa"),
    ],
)
def test_the_newest_that_is_not_too_new(restoring: ModuleType, at: str, chosen: str) -> None:
    assert restoring.choose(some(restoring), "app-data", at).id[:4] == chosen


@pytest.mark.parametrize(
    ("at", "text"),
    [
        ("2026-11-18", "as of 2026-11-18: there is no such snapshot; its first is of 2026-11-19 02:30"),
        ("yesterday", "Unable to understand the time 'yesterday'"),
    ],
)
def test_a_time_without_a_snapshot_is_told(restoring: ModuleType, at: str, text: str) -> None:
    with pytest.raises(restoring.Problem, match=text):
        restoring.choose(some(restoring), "app-data", at)


@pytest.mark.parametrize(
    ("mode", "octal"), [(0o644, 0o644), ((1 << 31) | 0o755, 0o755), ((1 << 31) | (1 << 22) | 0o770, 0o2770)]
)
def test_modes_as_go_writes_them(restoring: ModuleType, mode: int, octal: int) -> None:
    assert restoring.permissions(mode) == octal


@pytest.mark.parametrize(
    ("text", "rest"),
    [
        ("2023-11-14T22:13:20Z", 0),
        ("2023-11-14T23:13:20.5+01:00", 500_000_000),
        ("2023-11-14T22:13:20.123456789Z", 123_456_789),
    ],
)
def test_times_to_the_nanosecond(restoring: ModuleType, text: str, rest: int) -> None:
    assert restoring.nanoseconds(text) == 1_700_000_000 * 10**9 + rest


class Fetched:
    """A restore whose fetching is done: what would come from the repository lies beside its place."""

    def __init__(self, restoring: ModuleType, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.data = folder / "data"
        self.data.mkdir()
        (self.data / "note").write_text("ruined")
        (self.data / ".marker").write_text("set up")
        (self.data / "app.db").write_bytes(b"old database")
        job = {"service": "app", "unit": "app.service"}
        database = {"kind": "sqlite", "file": str(self.data / "app.db"), "mount": None}
        exclude = [*(f"{self.data}/app.db{suffix}" for suffix in ("", "-wal")), f"{self.data}/.marker"]
        jobs = [
            {**job, "name": "app-data", "paths": [{"path": str(self.data), "mount": None}], "exclude": exclude},
            {**job, "name": "app-main", "database": database},
        ]
        self.calls: list[list[str]] = []
        monkeypatch.setattr(restoring, "feed", lambda _what, argv, _text="": self.calls.append(argv))
        runner = argparse.Namespace(path=folder / "state.json")
        self.restore = restoring.Restore(runner, None, jobs, {}, STAMP)

        def fetch(_job: Any, path: Path) -> None:
            stage = restoring.staging(path)
            stage.mkdir()
            (stage / "note").write_text("precious")

        def fetch_sqlite(_job: Any) -> Path:
            (folder / "dump").write_bytes(b"saved database")
            return folder / "dump"

        monkeypatch.setattr(self.restore, "fetch", fetch)
        monkeypatch.setattr(self.restore, "fetch_sqlite", fetch_sqlite)

    def state(self) -> dict[str, str]:
        return {path.name: path.read_text() for path in self.data.iterdir()}


@pytest.fixture
def fetched(restoring: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fetched:
    return Fetched(restoring, tmp_path, monkeypatch)


def test_restored_and_the_old_state_kept(fetched: Fetched) -> None:
    before = fetched.state()
    fetched.restore.whole()
    assert fetched.state() == {"note": "precious", "app.db": "saved database", ".marker": "set up"}
    kept = fetched.data.with_name(f"data.before-{STAMP}")
    assert {path.name: path.read_text() for path in kept.iterdir()} == before
    assert fetched.calls == [["systemctl", "stop", "app.service"], ["systemctl", "start", "app.service"]]


def test_a_failure_brings_the_old_state_back(
    fetched: Fetched, restoring: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = fetched.state()

    def fail(*_arguments: Any) -> None:
        raise restoring.Problem("the disk is full")

    monkeypatch.setattr(fetched.restore, "place_sqlite", fail)
    with pytest.raises(restoring.Problem, match="the disk is full"):
        fetched.restore.whole()
    assert fetched.state() == before
    assert fetched.calls[-1] == ["systemctl", "start", "app.service"]
    assert not list(fetched.data.parent.glob("*.before-*"))


def test_only_a_database_its_journal_goes_with_it(fetched: Fetched) -> None:
    """A journal left beside the new database would be applied to it."""
    (fetched.data / "app.db-wal").write_text("journal of the old database")
    fetched.restore.files = []
    fetched.restore.whole()
    state = fetched.state()
    assert state["app.db"] == "saved database"
    assert state[f"app.db.before-{STAMP}"] == "old database"
    assert state[f"app.db.before-{STAMP}-wal"] == "journal of the old database"
    assert "app.db-wal" not in state


def test_without_a_service_that_has_backups_nothing_is_done(restoring: ModuleType) -> None:
    options = restoring.parser().parse_args(["--service", "nobody"])
    with pytest.raises(restoring.Problem, match="Unable to restore nobody: there are: app"):
        restoring.wanted_jobs({"jobs": [{"name": "app-data", "service": "app"}]}, options)


def test_listing(restoring: ModuleType, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [
        {"id": "a" * 64, "time": "2026-11-20T02:30:10.123456789Z", "tags": ["app-data"], "hostname": "host"},
        {"id": "b" * 64, "time": "2026-11-20T02:31:10Z", "tags": ["another"], "hostname": "host"},
    ]
    restic = argparse.Namespace(name="local", exists=lambda: True, must=lambda *_words: json.dumps(rows))
    module = restoring.mediaserver_snapshots
    monkeypatch.setattr(module, "places", lambda _runner, _options: [restic])
    runner = argparse.Namespace(config={"host": "host", "jobs": [{"name": "app-data", "service": "app"}]})
    assert module.main(runner, module.parser().parse_args(["--json"])) == 0
    (one,) = json.loads(capsys.readouterr().out)
    local = datetime(2026, 11, 20, 2, 30, 10, tzinfo=UTC).astimezone().strftime("%Y-%m-%d %H:%M")
    assert one == {"repository": "local", "id": "aaaaaaaa", "job": "app-data", "time": local, "bytes": None}


def test_a_repository_that_is_away_names_the_others(restoring: ModuleType) -> None:
    def away() -> bool:
        raise restoring.Problem("Unable to use /mnt/backups: it is not mounted")

    repositories = [
        argparse.Namespace(name="local", repository={"name": "local"}, exists=away),
        argparse.Namespace(name="offsite", repository={"name": "offsite"}),
    ]
    runner = argparse.Namespace(repositories=repositories)
    with pytest.raises(restoring.Problem, match=r"not mounted\. Say from which other: --repository offsite"):
        restoring.places(runner, restoring.parser().parse_args([]), first=True)
