# SPDX-License-Identifier: MIT
"""mediaserver-backup rebuild and restore, on real restic and SQLite: what was lost, what was not, runs that are killed,
data of another host, and data that other images wrote. Docker is a stand-in that says which images there are."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "faults"))
from real_restic import restic_folder

FILES = Path(__file__).resolve().parents[2] / "roles/backup/files"
PROGRAM = f"""import sys
sys.dont_write_bytecode = True
sys.path.insert(0, {str(FILES)!r})
import mediaserver_backup
sys.exit(mediaserver_backup.main(sys.argv[1:]))
"""
# Stands in front of restic: kills its caller at the call whose number is in the file `kill`.
SHIM = """#!/bin/sh
count=$(($(cat "{0}/calls" 2>/dev/null || echo 0) + 1)); echo $count >"{0}/calls"
if [ "$count" = "$(cat "{0}/kill" 2>/dev/null)" ]; then kill -9 $PPID; exit 1; fi
exec {1} "$@"
"""

DOCKER = """#!/bin/sh
if [ "$1" = ps ]; then cat "{0}/running" 2>/dev/null; else cat "{0}/project/compose.yaml"; fi
"""


class Host:
    """Two services: `app` with a folder and a SQLite database in it, `notes` with a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.app, self.notes = folder / "srv/app", folder / "srv/notes"
        database = {"kind": "sqlite", "file": str(self.app / "app.db"), "mount": None}
        excluded = [f"{self.app}/app.db{suffix}" for suffix in ("", "-wal", "-shm", "-journal")]
        common = {"schedule": "daily", "keep": {"daily": 7}, "directory": str(folder / "project")}
        jobs = [
            {"name": "app-data", "service": "app", "paths": [{"path": str(self.app)}], "exclude": excluded},
            {"name": "app-main", "service": "app", "database": database},
            {"name": "notes-data", "service": "notes", "paths": [{"path": str(self.notes)}]},
        ]
        (folder / "passwd").write_text("not-a-secret")
        config = {
            "host": "box", "jobs": [{**job, **common} for job in jobs],
            "repositories": [{"name": "away", "path": str(folder / "away"), "mount": None}],
            "password_file": str(folder / "passwd"), "environment_file": str(folder / "none.json"),
            "cache_dir": str(folder / "cache"), "state_dir": str(folder / "state"),
            "metrics_file": str(folder / "state/backup.prom"), "lock_file": str(folder / "lock"), "check_data": "100%",
        }  # fmt: skip
        (folder / "backup.json").write_text(json.dumps(config))
        (folder / "bin").mkdir()
        (folder / "bin/restic").write_text(SHIM.format(folder, restic_folder() / "restic"))
        (folder / "bin/docker").write_text(DOCKER.format(folder))
        for program in ("restic", "docker"):
            (folder / "bin" / program).chmod(0o755)
        (folder / "bin/mediaserver-backup").write_text(PROGRAM)

    def images(self, running: str, wanted: str) -> None:
        """What runs as `app`, and what its project would start now."""
        (self.folder / "project").mkdir(exist_ok=True)
        (self.folder / "running").write_text(f"app main mirror:5000/a/app:{running}\nother main b/other:1\n")
        project = {"services": {"main": {"image": f"a/app:{wanted}"}}}
        (self.folder / "project/compose.yaml").write_text(json.dumps(project))

    def configure(self, **values: object) -> None:
        file = self.folder / "backup.json"
        file.write_text(json.dumps({**json.loads(file.read_text()), **values}))

    def fill(self) -> None:
        (self.app / "deep").mkdir(parents=True)
        (self.app / "deep/file").write_text("precious")
        self.notes.mkdir()
        (self.notes / "note").write_text("remember")
        with closing(sqlite3.connect(self.app / "app.db")) as live:
            live.executescript("CREATE TABLE t (v); INSERT INTO t VALUES (1), (2);")

    def run(self, *words: str, kill: int = 0) -> subprocess.CompletedProcess[str]:
        (self.folder / "calls").unlink(missing_ok=True)
        (self.folder / "kill").write_text(str(kill))
        environment = {
            **os.environ,
            "MEDIASERVER_BACKUP_CONFIG": str(self.folder / "backup.json"),
            "PATH": f"{self.folder}/bin:{os.environ['PATH']}",
        }
        argv = [sys.executable, str(self.folder / "bin/mediaserver-backup"), *words]
        return subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)

    def lose(self) -> None:
        """All but the repository; folders are made again, as the build does before the rebuild."""
        for place in ("srv", "state", "cache"):
            shutil.rmtree(self.folder / place)
        self.app.mkdir(parents=True)

    def files(self) -> dict[str, str]:
        found = {
            str(path.relative_to(self.folder / "srv")): path.read_text()
            for path in sorted((self.folder / "srv").rglob("*"))
            if path.is_file() and not path.name.startswith("app.db")
        }
        if (self.app / "app.db").exists():
            with closing(sqlite3.connect(self.app / "app.db")) as live:
                found["rows"] = str(live.execute("SELECT sum(v) FROM t").fetchone()[0])
        return found


SAVED = {"app/deep/file": "precious", "notes/note": "remember", "rows": "3"}


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A host that was backed up, then lost: its place, and what is left of it."""
    host = Host(tmp_path_factory.mktemp("saved"))
    host.fill()
    done = host.run("run", "all")
    assert done.returncode == 0, done.stderr
    kept = tmp_path_factory.mktemp("kept") / "away"
    shutil.copytree(host.folder / "away", kept)
    return host.folder, kept


@pytest.fixture
def lost(saved: tuple[Path, Path]) -> Host:
    """Snapshots hold absolute paths, so each test's host takes the place of the one that was saved."""
    place, kept = saved
    shutil.rmtree(place)
    place.mkdir()
    shutil.copytree(kept, place / "away")
    host = Host(place)
    host.app.mkdir(parents=True)
    return host


def test_what_is_lost_comes_back_once(lost: Host) -> None:
    config = json.loads((lost.folder / "backup.json").read_text())
    new = {**config["jobs"][2], "name": "new-data", "service": "new", "paths": [{"path": str(lost.folder / "srv/new")}]}
    (lost.folder / "backup.json").write_text(json.dumps({**config, "jobs": [*config["jobs"], new]}))
    done = lost.run("rebuild", "--repository", "away")
    assert done.returncode == 0, done.stderr
    assert lost.files() == SAVED
    assert "new-data: was never backed up to away, starts empty" in done.stdout
    assert "notes-data: as of " in done.stdout and "kept as" not in done.stdout
    assert sorted(path.name for path in (lost.folder / "srv").iterdir()) == ["app", "notes"]
    (lost.notes / "note").write_text("newer")
    again = lost.run("rebuild", "--repository", "away")
    assert again.returncode == 0 and again.stdout.count("is left as it is") == 2
    assert lost.files() == {**SAVED, "notes/note": "newer"}


def test_what_is_not_empty_is_refused_and_replaced_on_demand(lost: Host) -> None:
    lost.notes.mkdir()
    (lost.notes / "note").write_text("newer")
    refused = lost.run("rebuild", "--repository", "away")
    assert refused.returncode == 1
    assert f"there are data already: notes: {lost.notes}. Nothing was touched" in refused.stderr
    assert lost.files() == {"notes/note": "newer"}, "services with empty places were touched"
    done = lost.run("rebuild", "--repository", "away", "--replace")
    assert done.returncode == 0, done.stderr
    (kept,) = (lost.folder / "srv").glob("notes.before-*")
    assert (kept / "note").read_text() == "newer" and f"kept as {kept}" in done.stdout
    shutil.rmtree(kept)
    assert lost.files() == SAVED


@pytest.mark.parametrize("call", [5, 8])  # while the first service is fetched, and when it is done
def test_a_killed_rebuild_goes_on(lost: Host, call: int) -> None:
    killed = lost.run("rebuild", "--repository", "away", kill=call)
    assert killed.returncode == -9, f"restic was called less than {call} times: {killed.stderr}"
    done = lost.run("rebuild", "--repository", "away")
    assert done.returncode == 0, done.stderr
    assert lost.files() == SAVED


def test_without_a_repository_nothing_is_built_on_emptiness(lost: Host) -> None:
    shutil.rmtree(lost.folder / "away")
    done = lost.run("rebuild", "--repository", "away")
    assert done.returncode == 1 and "there is no repository" in done.stderr


def test_another_host_gets_the_data_of_one_that_is_lost(lost: Host) -> None:
    """Each host's repository lies in a folder of its own name."""
    (lost.folder / "away").rename(lost.folder / "box")
    lost.configure(host="newbox", repositories=[{"name": "away", "path": str(lost.folder / "newbox"), "mount": None}])
    refused = lost.run("restore", "--service", "app")
    assert refused.returncode == 1 and "there is no repository" in refused.stderr
    for words in (["restore", "--service", "app"], ["rebuild", "--service", "notes"]):
        done = lost.run(*words, "--repository", "away", "--host", "box")
        assert done.returncode == 0, done.stderr
    assert lost.files() == SAVED
    saved = lost.run("run", "all")
    assert saved.returncode == 0, saved.stderr
    assert "of box" not in saved.stderr and (lost.folder / "newbox/config").exists(), (
        "it has one of its own from now on"
    )


@pytest.fixture(scope="module")
def upgraded(tmp_path_factory: pytest.TempPathFactory) -> Host:
    """A host with a folder that was backed up with version 1, twice, then with version 2, which has changed it."""
    host = Host(tmp_path_factory.mktemp("upgraded"))
    host.fill()
    host.configure(jobs=json.loads((host.folder / "backup.json").read_text())["jobs"][:1])
    for version in ("1", "1", "2"):
        host.images(version, version)
        (host.app / "deep/file").write_text(f"of version {version}")
        done = host.run("run", "all")
        assert done.returncode == 0, done.stderr
    return host


def snapshots(host: Host, tag: str) -> list[str]:
    listed = host.run("restic", "snapshots", "--json", "--tag", tag)
    return [one["short_id"] for one in json.loads(listed.stdout)]


def test_data_of_another_image_are_not_restored_unasked(upgraded: Host) -> None:
    assert len(snapshots(upgraded, "mediaserver-images")) == 2, "one record for each change, not for each run"
    (first, *_others) = snapshots(upgraded, "app-data")
    upgraded.images("2", "2")
    refused = upgraded.run("restore", "--service", "app", "--at", first)
    assert refused.returncode == 1
    assert "app: main was mirror:5000/a/app:1, is a/app:2. Nothing was touched" in refused.stderr
    assert "ANY_VERSION=yes" in refused.stderr
    assert (upgraded.app / "deep/file").read_text() == "of version 2"
    newest = upgraded.run("restore", "--service", "app")
    assert newest.returncode == 0, "through a mirror it is the same image"
    asked = upgraded.run("restore", "--service", "app", "--at", first, "--any-version")
    assert asked.returncode == 0 and "main was mirror:5000/a/app:1, is a/app:2" in asked.stdout
    assert (upgraded.app / "deep/file").read_text() == "of version 1"
    upgraded.images("2", "1")
    same = upgraded.run("restore", "--service", "app", "--at", first)
    assert same.returncode == 0, same.stderr


def test_a_rebuild_says_that_images_are_others_and_goes_on(upgraded: Host) -> None:
    upgraded.lose()
    upgraded.images("2", "3")
    done = upgraded.run("rebuild", "--repository", "away")
    assert done.returncode == 0, done.stderr
    assert "app: main was mirror:5000/a/app:2, is a/app:3" in done.stdout
    assert (upgraded.app / "deep/file").read_text() == "of version 2"
