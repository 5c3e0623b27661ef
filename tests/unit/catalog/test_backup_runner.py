"""The backup runner: which jobs, in which order, with which arguments, and what it tells Prometheus."""

from __future__ import annotations

import contextlib
import importlib
import json
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

SCRIPT = Path(__file__).resolve().parents[3] / "roles/backup/files/mediaserver_backup.py"
NOW = 1_800_000_000.0
DAY = 86400


class Program:
    """All parts of the program as one."""

    def __init__(self) -> None:
        names = ("backup", "runner", "jobs", "dumps", "metrics", "restic")
        self.parts = [importlib.import_module(f"mediaserver_{name}") for name in names]

    def __getattr__(self, name: str) -> Any:
        return next(getattr(part, name) for part in self.parts if hasattr(part, name))

    @property
    def running(self) -> ModuleType:
        return self.parts[1]


@pytest.fixture
def runner(monkeypatch: pytest.MonkeyPatch) -> Program:
    monkeypatch.setattr("sys.dont_write_bytecode", True)
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    return Program()


def files(name: str, schedule: str = "daily", **more: Any) -> dict[str, Any]:
    return {
        "name": name,
        "service": "app",
        "schedule": schedule,
        "paths": [{"path": "/nowhere/app", "mount": None}],
        "keep": {"daily": 7},
        **more,
    }


def saved(name: str, **known: Any) -> dict[str, Any]:
    """What is remembered of a job in repository local."""
    return {name: {"declared": NOW, "repositories": {"local": known}}}


def database(name: str, schedule: str = "daily") -> dict[str, Any]:
    body = {"container": "database", "kind": "postgresql", "name": "app", "user": "postgres"}
    return {"name": name, "service": "app", "schedule": schedule, "database": body, "keep": {"daily": 7}}


@pytest.mark.parametrize(
    ("schedule", "ago", "ready"),
    [
        ("daily", None, True),
        ("daily", DAY, True),
        ("daily", DAY - 1000, True),
        ("daily", DAY - 3600, False),
        ("hourly", 3600, True),
        ("hourly", 1000, False),
        ("weekly", 6 * DAY, False),
        ("weekly", 7 * DAY, True),
        ("monthly", 29 * DAY, False),
        ("monthly", 30 * DAY, True),
    ],
)
def test_due(runner: Program, schedule: str, ago: float | None, ready: bool) -> None:
    state = {} if ago is None else saved("a", success=NOW - ago)
    assert bool(runner.due([files("a", schedule)], state, "local", NOW)) is ready
    assert runner.due([files("a", schedule)], state, "away", NOW), "each repository is looked at for itself"


def test_a_job_that_failed_stays_due(runner: Program) -> None:
    assert runner.due([files("a")], saved("a", success=NOW - 2 * DAY, ok=0), "local", NOW)


def test_databases_come_first(runner: Program) -> None:
    jobs = [files("b"), database("z"), files("a", "weekly")]
    assert [job["name"] for job in runner.due(jobs, {}, "local", NOW)] == ["z", "b", "a"]


def test_missing_source_and_missing_mount_are_problems(runner: Program, tmp_path: Path) -> None:
    with pytest.raises(runner.Problem, match="Unable to back up /nowhere/app: there is no such folder"):
        runner.backup_arguments(files("a"), "host")
    (tmp_path / "app").mkdir()
    job = files("a", paths=[{"path": str(tmp_path / "app"), "mount": str(tmp_path)}])
    with pytest.raises(runner.Problem, match="is not mounted"):
        runner.backup_arguments(job, "host")


def test_arguments(runner: Program, tmp_path: Path) -> None:
    job = files("a", paths=[{"path": str(tmp_path), "mount": None}], exclude=["*.tmp"])
    assert runner.backup_arguments(job, "host") == [
        "backup",
        "--json",
        "--quiet",
        "--host",
        "host",
        "--tag",
        "a",
        "--exclude-caches",
        "--exclude=*.tmp",
        "--",
        str(tmp_path),
    ]
    assert runner.forget_arguments([files("a", keep={"weekly": 4, "daily": 7}), files("b")], "host") == [
        "forget",
        "--json",
        "--quiet",
        "--host",
        "host",
        "--tag=a",
        "--tag=b",
        "--group-by",
        "host,tags",
        "--keep-daily=7",
        "--keep-weekly=4",
    ]


def docker(monkeypatch: pytest.MonkeyPatch, output: str, code: int = 0) -> list[list[str]]:
    asked: list[list[str]] = []

    def call(argv: list[str], **_options: Any) -> subprocess.CompletedProcess[str]:
        asked.append(argv)
        return subprocess.CompletedProcess(argv, code, output, "daemon is not running\n")

    monkeypatch.setattr(subprocess, "run", call)
    return asked


def test_dump_runs_inside_restic(runner: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = docker(monkeypatch, "0123abcd\n")
    arguments = runner.backup_arguments(database("app-main"), "host")
    command = arguments[arguments.index("--") + 1 :]
    assert "--stdin-from-command" in arguments
    assert command[:3] == ["docker", "exec", "0123abcd"]
    assert command[3:] == ["pg_dump", "--clean", "--if-exists", "--username=postgres", "--dbname=app"]
    assert "label=com.docker.compose.project=app" in asked[0]
    assert "label=com.docker.compose.service=database" in asked[0]


@pytest.mark.parametrize(
    ("output", "code", "text"),
    [("", 0, "0 containers run"), ("a\nb\n", 0, "2 containers run"), ("", 1, "daemon is not running")],
)
def test_no_dump_without_the_one_container(
    runner: Program, monkeypatch: pytest.MonkeyPatch, output: str, code: int, text: str
) -> None:
    docker(monkeypatch, output, code)
    with pytest.raises(runner.Problem, match=text):
        runner.backup_arguments(database("app-main"), "host")


def repository(
    runner: Program, monkeypatch: pytest.MonkeyPatch, codes: list[int], said: str = "boom\n"
) -> tuple[Any, list[str]]:
    asked: list[str] = []

    def call(_self: Any, *arguments: str, **_options: Any) -> subprocess.CompletedProcess[str]:
        asked.append(arguments[0])
        return subprocess.CompletedProcess(arguments, codes[len(asked) - 1], "", said)

    monkeypatch.setattr(runner.Restic, "call", call)
    return runner.Restic({}, {"name": "local", "path": "/r", "mount": None}), asked


def test_repository_is_made_only_when_there_is_none(runner: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    restic, asked = repository(runner, monkeypatch, [10, 0])
    restic.ready()
    assert asked == ["unlock", "init"]


@pytest.mark.parametrize(
    "why", ["stat /r/config: no such file or directory", "Stat: The specified key does not exist."]
)
def test_older_restic_says_in_words_that_there_is_none(
    runner: Program, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    said = f"Fatal: unable to open config file: {why}\nIs there a repository at the following location?\n/r\n"
    restic, asked = repository(runner, monkeypatch, [1, 0], said)
    restic.ready()
    assert asked == ["unlock", "init"]


@pytest.mark.parametrize(
    ("said", "text"),
    [
        ("Fatal: wrong password or no key found\n", "another password"),
        (
            "Fatal: unable to open config file: Stat: connection refused\n"
            "Is there a repository at the following location?\n/r\n",
            "connection refused",
        ),
    ],
)
def test_what_older_restic_cannot_open_is_left_alone(
    runner: Program, monkeypatch: pytest.MonkeyPatch, said: str, text: str
) -> None:
    restic, asked = repository(runner, monkeypatch, [1], said)
    with pytest.raises(runner.Problem, match=text):
        restic.ready()
    assert asked == ["unlock"]


@pytest.mark.parametrize(("code", "text"), [(12, "another password"), (1, "boom"), (11, "boom")])
def test_repository_that_cannot_be_opened_is_left_alone(
    runner: Program, monkeypatch: pytest.MonkeyPatch, code: int, text: str
) -> None:
    restic, asked = repository(runner, monkeypatch, [code])
    with pytest.raises(runner.Problem, match=text):
        restic.ready()
    assert asked == ["unlock"]


def checking(runner: Program, monkeypatch: pytest.MonkeyPatch, code: int) -> tuple[Any, Any]:
    """A runner with one repository that has two snapshots, and whose check ends with a code."""

    def call(_self: Any, *arguments: str, **_options: Any) -> subprocess.CompletedProcess[str]:
        text = json.dumps([{"id": "b"}, {"id": "a"}]) if arguments[0] == "snapshots" else ""
        return subprocess.CompletedProcess(arguments, code if arguments[0] == "check" else 0, text, "pack is damaged\n")

    monkeypatch.setattr(runner.Restic, "call", call)
    one = runner.Runner.__new__(runner.Runner)
    one.config, one.state = {"check_data": "2%"}, {"checks": {"local": {"snapshots": ["old"]}, "other": {}}}
    return one, runner.Restic({}, {"name": "local", "path": "/r", "mount": None})


def test_a_check_notes_which_snapshots_it_found_whole(runner: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    one, restic = checking(runner, monkeypatch, 0)
    one.check(restic)
    noted = one.state["checks"]["local"]
    assert (noted["snapshots"], noted["read"]) == (["a", "b"], "2%")
    assert one.state["checked"]["local"] == noted["time"]


def test_a_check_that_fails_takes_the_note_away(runner: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    one, restic = checking(runner, monkeypatch, 1)
    with pytest.raises(runner.Problem, match="pack is damaged"):
        one.check(restic)
    assert one.state == {"checks": {"other": {}}, "whole": {"local": 0}}


def test_a_repository_that_went_away_during_its_check_is_not_damaged(
    runner: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, restic = checking(runner, monkeypatch, 1)

    def away() -> bool:
        raise runner.Problem("does not answer")

    monkeypatch.setattr(restic, "exists", away)
    with pytest.raises(runner.Problem, match="does not answer"):
        one.check(restic)
    assert one.state == {"checks": {"other": {}}}, "and nothing in it counts as whole"


def test_metrics(runner: Program) -> None:
    state = {
        **saved("a", success=NOW, ok=1, seconds=2.4, bytes=10, added=3),
        "b": {"declared": NOW},
        "checked": {"local": NOW},
        "reachable": {"local": 1},
        "drills": {"app": {"declared": NOW, "repositories": {"local": {"success": NOW, "ok": 1, "seconds": 9.0}}}},
    }
    places = [{"name": "local", "path": "/mnt/backups/repo"}, {"name": "away", "path": "s3:https://example.org/x"}]
    text = runner.metrics({"jobs": [files("a"), files("b", "weekly")], "repositories": places}, state)
    lines = set(text.splitlines())
    remote = [line for line in lines if line.startswith("mediaserver_backup_repository_remote{")]
    assert sorted(line[-1] for line in remote) == ["0", "1"], (
        "the one in the house is not remote, whether or not it is a mount"
    )
    away = f'mediaserver_backup_due_timestamp_seconds{{backup="a",repository="away",service="app"}} {NOW + DAY:.0f}'
    assert away in lines, "what never came to the second repository is awaited there"
    assert (
        f'mediaserver_backup_last_success_timestamp_seconds{{backup="a",repository="local",service="app"}} {NOW:.0f}'
        in lines
    )
    assert (
        f'mediaserver_backup_due_timestamp_seconds{{backup="b",repository="local",service="app"}} {NOW + 7 * DAY:.0f}'
        in lines
    )
    assert 'last_success_timestamp_seconds{backup="b"' not in text, "what never ran has no time of success"
    assert f'mediaserver_backup_last_check_timestamp_seconds{{repository="local"}} {NOW:.0f}' in lines
    assert f'mediaserver_drill_due_timestamp_seconds{{repository="local",service="app"}} {NOW + 30 * DAY:.0f}' in lines
    known = (Path(__file__).parent / "metrics/node_exporter.txt").read_text().split()
    assert {line.split("{")[0] for line in lines if not line.startswith("#")} <= set(known)


def forgetting(runner: Program, monkeypatch: pytest.MonkeyPatch, left: list[str]) -> Any:
    """A repository that is told to drop two snapshots of two jobs, and then still lists ``left``."""

    def call(_self: Any, *arguments: str, **_options: Any) -> subprocess.CompletedProcess[str]:
        group = {"tags": ["a"], "keep": [{"id": "new"}], "remove": [{"id": "old"}, {"id": "older"}]}
        answer = [group, {"tags": ["b"], "remove": None}] if arguments[0] == "forget" else [{"id": one} for one in left]
        return subprocess.CompletedProcess(arguments, 0, json.dumps(answer), "")

    monkeypatch.setattr(runner.Restic, "call", call)
    return runner.Restic({}, {"name": "away", "path": "rest:http://away/"})


def test_what_was_to_go_is_gone(runner: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    restic = forgetting(runner, monkeypatch, ["new"])
    assert runner.forget([files("a"), files("b")], "host", restic) == 2


def test_a_server_that_refuses_to_forget_is_a_problem(runner: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    """restic itself ends with 0 there."""
    restic = forgetting(runner, monkeypatch, ["new", "old", "older"])
    with pytest.raises(runner.Problem, match=r"refuses to delete 2 of them\. Say append_only: true"):
        runner.forget([files("a")], "host", restic)


def test_unknown_job_names_those_there_are(runner: Program) -> None:
    with pytest.raises(SystemExit, match="Unknown job x; there are: a"):
        runner.select({"jobs": [files("a")]}, ["x"])


def test_restic_says_why_in_json(runner: Program) -> None:
    assert runner.last_words('noise\n{"message_type":"exit_error","code":1,"message":"Fatal: no"}\n') == "Fatal: no"
    assert runner.last_words("plain\n") == "plain"
    assert runner.last_words("") == "no message"


def test_no_summary_is_a_problem(runner: Program) -> None:
    assert (
        runner.summary('{"message_type":"status"}\n' + json.dumps({"message_type": "summary", "snapshot_id": "x"}))[
            "snapshot_id"
        ]
        == "x"
    )
    with pytest.raises(runner.Problem, match="summary"):
        runner.summary("nothing\n")


def sqlite_job(file: Path) -> dict[str, Any]:
    body = {"kind": "sqlite", "file": str(file), "mount": None}
    return {"name": "app-main", "service": "app", "schedule": "daily", "database": body, "keep": {"daily": 7}}


@pytest.fixture
def live(tmp_path: Path) -> Iterator[tuple[Path, sqlite3.Connection]]:
    """A database in use: its newest row is only in the write-ahead log, another is not committed."""
    (tmp_path / "data").mkdir()
    file = tmp_path / "data/app.db"
    with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("CREATE TABLE t (v TEXT)")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.execute("INSERT INTO t VALUES ('committed')")
        connection.execute("BEGIN")
        connection.execute("INSERT INTO t VALUES ('pending')")
        yield file, connection


def command(script: Path, state: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    config = state / "backup.json"
    state.mkdir(exist_ok=True)
    config.write_text(json.dumps({"state_dir": str(state), "jobs": [], "repositories": []}))
    environment = {"MEDIASERVER_BACKUP_CONFIG": str(config)}
    return subprocess.run([sys.executable, script, *arguments], env=environment, capture_output=True, check=False)


def test_sqlite_dump_is_what_was_committed(live: tuple[Path, sqlite3.Connection], tmp_path: Path) -> None:
    file, connection = live
    done = command(SCRIPT, tmp_path / "state", "sqlite", str(file))
    assert (done.returncode, done.stderr) == (0, b"")
    restored = tmp_path / "restored.db"
    restored.write_bytes(done.stdout)
    with contextlib.closing(sqlite3.connect(restored)) as copy:
        assert copy.execute("SELECT v FROM t").fetchall() == [("committed",)]
    connection.execute("COMMIT")
    assert connection.execute("SELECT count(*) FROM t").fetchone() == (2,), "the live database is untouched"
    assert sorted(path.name for path in (tmp_path / "state").iterdir()) == ["backup.json", "sqlite-counts.json"]
    assert json.loads((tmp_path / "state/sqlite-counts.json").read_text()) == {"t": 1}


def test_damaged_sqlite_is_no_dump(tmp_path: Path) -> None:
    (tmp_path / "app.db").write_bytes(b"SQLite format 3\0" + b"\1" * 4096)
    done = command(SCRIPT, tmp_path / "state", "sqlite", str(tmp_path / "app.db"))
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr.startswith(b"Unable to dump ")
    assert not (tmp_path / "state/sqlite-copy").exists()


def test_sqlite_dump_runs_inside_restic(runner: Program, live: tuple[Path, sqlite3.Connection]) -> None:
    arguments = runner.backup_arguments(sqlite_job(live[0]), "host")
    assert arguments[arguments.index("--stdin-filename") + 1] == "app-main.sqlite"
    assert arguments[arguments.index("--") + 3 :] == ["sqlite", str(live[0])]


@pytest.mark.parametrize(("before", "result"), [({}, None), ({"ok": 0}, None), ({"success": NOW}, False)])
def test_sqlite_file_may_be_absent_until_it_was_there(
    runner: Program, tmp_path: Path, before: dict[str, Any], result: bool | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = sqlite_job(tmp_path / "app.db")
    config = {"jobs": [job], "repositories": [{"name": "local", "path": "/r"}], "state_dir": str(tmp_path),
              "metrics_file": str(tmp_path / "m")}  # fmt: skip
    (tmp_path / "config").write_text(json.dumps(config | {"host": "host"}))
    (tmp_path / "state.json").write_text(json.dumps(saved("app-main", **before)))
    monkeypatch.setattr(runner.running, "CONFIG", tmp_path / "config")
    one = runner.Runner()
    assert one.one(job, one.repositories[0]) is result
    ok = 'mediaserver_backup_last_run_successful{backup="app-main",repository="local",service="app"} '
    assert [line for line in (tmp_path / "m").read_text().splitlines() if line.startswith(ok)] == (
        [] if result is None else [f"{ok}0"]
    )
    assert "mediaserver_backup_due_timestamp_seconds" in (tmp_path / "m").read_text(), "it is still awaited"


def test_status_tells_of_backups_their_objectives_and_drills(
    runner: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = {
        "jobs": [files("app-data", rpo=DAY)],
        "repositories": [{"name": "local", "path": "/r"}, {"name": "away", "path": "/a"}],
        "state_dir": str(tmp_path),
        "rto": {"app": 60},
        "warnings": [{"name": "backup-on-protected-disk", "message": "one broken disk takes both"}],
    }
    (tmp_path / "config").write_text(json.dumps(config))
    drills = {"drills": {"app": {"declared": NOW, "repositories": {"local": {"ok": 0, "seconds": 90.0}}}}}
    (tmp_path / "state.json").write_text(json.dumps(saved("app-data", success=NOW, ok=1) | drills))
    monkeypatch.setattr(runner.running, "CONFIG", tmp_path / "config")
    monkeypatch.setattr(time, "time", lambda: NOW + 36 * 3600)
    assert runner.main(["status"]) == 0
    warning, service, local, away, drill, _drill_away = capsys.readouterr().out.splitlines()
    assert warning == "WARNING backup-on-protected-disk: one broken disk takes both"
    assert "newest backup 1.5 d old, may be 1.0 d  TOO OLD; drill took 1.5 min, may take 1.0 min  TOO SLOW" in service
    assert local.split()[:2] == ["app-data", "local"]
    assert local.endswith(time.strftime("%Y-%m-%d %H:%M", time.localtime(NOW)))
    assert away.split()[-3:] == ["last", "success", "never"]
    assert drill.split()[-6:] == ["last", "success", "never", "LAST", "RUN", "FAILED"]
