# SPDX-License-Identifier: MIT
"""Bring data back: the verb `restore` of mediaserver-backup.

Nothing is overwritten. Everything is fetched and verified beside its place first; only then the service stops, for a
few renames and the load of its dump. What was there is renamed to NAME.before-TIME (a database to NAME_before_TIME) and
stays until the owner removes it. A failure brings the old state back; a killed restore leaves the old or the new state
in each place, and the next one begins anew.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import mediaserver_images
import mediaserver_snapshots
from mediaserver_jobs import Job
from mediaserver_platform import give_to, in_snapshot
from mediaserver_psql import SEARCH_PATH, SEARCH_PATH_WITH_PUBLIC, container_id, feed, psql
from mediaserver_restic import Problem, Restic, assert_mounted, last_words
from mediaserver_runner import Runner
from mediaserver_snapshots import Snapshot, choose, places, snapshots, wanted_jobs


class Restore:
    """The restore of some jobs of one service, from one repository."""

    def __init__(
        self, runner: Runner, restic: Restic, jobs: list[Job], chosen: dict[str, Snapshot], stamp: str
    ) -> None:
        self.restic = restic
        self.files = [job for job in jobs if job.get("paths")]
        self.sqlite = [job for job in jobs if (job.get("database") or {}).get("kind") == "sqlite"]
        self.postgresql = [job for job in jobs if (job.get("database") or {}).get("kind") == "postgresql"]
        self.chosen = chosen
        self.stamp = stamp
        self.scratch = runner.path.parent
        self.unit: str | None = jobs[0].get("unit")
        self.directory: str | None = jobs[0].get("directory")
        self.swapped: list[tuple[Path, Path | None]] = []
        self.kept: list[str] = []

    def whole(self) -> None:
        """Fetch everything, stop the service, put everything in place, start it."""
        places = [(job, Path(source["path"])) for job in self.files for source in job["paths"]]
        for job, path in places:
            self.fetch(job, path)
        dumps = [(job, self.fetch_sqlite(job)) for job in self.sqlite]
        self.systemctl("stop")
        try:
            for job, path in places:
                self.carry(job, path, self.swap(staging(path), path))
            for job, staged in dumps:
                self.place_sqlite(job, staged)
            loaded = [(job, self.load_postgresql(job)) for job in self.postgresql]
            for job, container in loaded:
                self.exchange_postgresql(job, container)
        except (Problem, OSError):
            self.undo()
            self.systemctl("start")
            raise
        self.systemctl("start")

    def undo(self) -> None:
        """The old state back to its place; what was fetched stays beside it until the next restore."""
        for path, old in reversed(self.swapped):
            with contextlib.suppress(OSError):
                remove(staging(path))
                if os.path.lexists(path):
                    path.rename(staging(path))
                if old is not None:
                    old.rename(path)

    def one_path(self, inner: str) -> None:
        """One file or folder of a file job, while the service runs on."""
        for job in self.files:
            for source in job["paths"]:
                path = Path(source["path"], inner)
                if not path.resolve().is_relative_to(Path(source["path"]).resolve()):
                    raise Problem(f"Unable to restore {inner}: it leads out of {source['path']}")
                self.fetch(job, path)
                path.parent.mkdir(parents=True, exist_ok=True)
                self.swap(staging(path), path)

    # fetching: beside the place, so that putting it there is a rename

    def fetch(self, job: Job, path: Path) -> None:
        mount = next(one.get("mount") for one in job["paths"] if path.is_relative_to(one["path"]))
        assert_mounted(str(path), mount)
        snapshot, stage = self.chosen[job["name"]].id, staging(path)
        node = self.node(snapshot, path)
        remove(stage)
        stage.parent.mkdir(parents=True, exist_ok=True)
        self.room(job, stage.parent)
        if node["type"] == "dir":
            stage.mkdir(mode=0o700)
            self.restic.must(
                f"restore {path}",
                "restore",
                f"{snapshot}:{in_snapshot(str(path))}",
                f"--target={stage}",
                "--verify",
                "--quiet",
            )
        else:
            with stage.open("xb") as file:
                self.restic.stream(f"restore {path}", file, "dump", snapshot, in_snapshot(str(path)))
        give_to(stage, node["uid"], node["gid"])
        stage.chmod(permissions(node["mode"]))
        if node["type"] != "dir":
            os.utime(stage, ns=(time.time_ns(), nanoseconds(node["mtime"])))

    def node(self, snapshot: str, path: Path) -> dict[str, Any]:
        """What the snapshot says of the file or folder itself."""
        listed = self.restic.must(f"look for {path}", "ls", "--json", snapshot, in_snapshot(str(path)))
        for line in listed.splitlines():
            entry: dict[str, Any] = json.loads(line)
            if entry.get("path") == in_snapshot(str(path)) and entry.get("type"):
                return entry
        raise Problem(f"Unable to restore {path}: snapshot {snapshot[:8]} does not hold it")

    def room(self, job: Job, folder: Path) -> None:
        """The old state stays, so both must fit."""
        size, free = self.chosen[job["name"]].size or 0, shutil.disk_usage(folder).free
        if size > free:
            raise Problem(
                f"Unable to restore {job['name']}: it has {size // 2**20} MiB, {folder} has {free // 2**20} MiB left, "
                "and the old state is kept beside it"
            )

    def fetch_sqlite(self, job: Job) -> Path:
        database = job["database"]
        assert_mounted(database["file"], database.get("mount"))
        # not in its volume, which may be exchanged first
        stage = self.scratch / f"restoring-{job['name']}.sqlite"
        self.scratch.mkdir(parents=True, exist_ok=True)  # a new machine has made no backup yet
        save_sqlite(self.restic, self.chosen[job["name"]], stage)
        return stage

    # putting in place

    def swap(self, stage: Path, path: Path) -> Path | None:
        """``stage`` becomes ``path``; what was there is kept under another name, which is returned."""
        old = path.with_name(f"{path.name}.before-{self.stamp}") if os.path.lexists(path) else None
        try:
            if old is not None:
                path.rename(old)
            stage.rename(path)
        except OSError as error:
            raise Problem(f"Unable to put {stage} in the place of {path}: {error.strerror}") from error
        self.swapped.append((path, old))
        return old

    def carry(self, job: Job, path: Path, old: Path | None) -> None:
        """What the backup leaves out on purpose and no dump brings back, such as the mark of a finished set-up."""
        files = {one["database"]["file"] for one in self.sqlite}
        for name in job.get("exclude", []):
            if old is None or not Path(name).is_relative_to(path) or any(name.startswith(file) for file in files):
                continue
            source = old / Path(name).relative_to(path)
            if source.is_file():
                shutil.copy2(source, name)
                info = source.stat()
                give_to(name, info.st_uid, info.st_gid)

    def place_sqlite(self, job: Job, stage: Path) -> None:
        """Owner and mode are those of the file it replaces, else of its folder."""
        file = Path(job["database"]["file"])
        file.parent.mkdir(parents=True, exist_ok=True)
        old = [old / file.relative_to(path) for path, old in self.swapped if old and file.is_relative_to(path)]
        model = next((one for one in [file, *old] if one.is_file()), None)
        info = (model or file.parent).stat()
        for suffix in ("-wal", "-shm", "-journal"):  # they belong to the old file, and would be applied to the new one
            if (rest := Path(f"{file}{suffix}")).exists():
                self.swapped.append((rest, rest.rename(f"{file}.before-{self.stamp}{suffix}")))
        placed = file.with_name(f".restoring-{file.name}")
        shutil.move(stage, placed)
        give_to(placed, info.st_uid, info.st_gid)
        placed.chmod(info.st_mode & 0o777 if model else 0o600)
        self.swap(placed, file)

    def load_postgresql(self, job: Job) -> str:
        """Into a database of another name. Returns the container."""
        database = job["database"]
        self.compose_up(database["container"])
        container = container_id(job["service"], database["container"])
        fresh = f"{database['name']}_restoring"
        what = f"make database {fresh}"
        feed(what, psql(container, database["user"], "postgres"), f'DROP DATABASE IF EXISTS "{fresh}";')
        feed(what, psql(container, database["user"], "postgres"), f'CREATE DATABASE "{fresh}" TEMPLATE template0;')
        pour(self.restic, self.chosen[job["name"]], psql(container, database["user"], fresh, "--single-transaction"))
        feed(f"analyse database {fresh}", psql(container, database["user"], fresh), "ANALYZE;")
        return container

    def exchange_postgresql(self, job: Job, container: str) -> None:
        """Both names change in one transaction."""
        name = job["database"]["name"]
        aside = f"{name}_before_{self.stamp.replace('-', '_')}"
        script = (
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            f" WHERE datname IN ('{name}', '{name}_restoring') AND pid <> pg_backend_pid();\n"
            f'BEGIN; ALTER DATABASE "{name}" RENAME TO "{aside}";'
            f' ALTER DATABASE "{name}_restoring" RENAME TO "{name}"; COMMIT;'
        )
        feed(f"exchange database {name}", psql(container, job["database"]["user"], "postgres"), script)
        self.kept.append(f"database {aside}")

    # the service

    def systemctl(self, verb: str) -> None:
        if self.unit:
            feed(f"{verb} {self.unit}", ["systemctl", verb, self.unit])

    def compose_up(self, container: str) -> None:
        if self.directory:
            feed(f"start {container}", ["docker", "compose", "--project-directory", self.directory, "up", "--detach",
                                        "--wait", "--no-deps", container])  # fmt: skip


def pour(restic: Restic, snapshot: Snapshot, loader: list[str]) -> None:
    """The dump, line by line from restic to psql. The load is one transaction: half a dump leaves nothing."""
    what = f"load the dump of {snapshot.job}"
    with (
        restic.process("dump", snapshot.id, f"/{snapshot.job}.sql") as source,
        subprocess.Popen(loader, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as target,
    ):
        assert source.stdout and target.stdin and target.stderr
        with contextlib.suppress(BrokenPipeError):
            for line in source.stdout:
                target.stdin.write(SEARCH_PATH_WITH_PUBLIC + b"\n" if line.rstrip() == SEARCH_PATH else line)
        source.stdout.close()
        if source.wait() != 0:
            target.kill()  # before its input ends: it would commit what it has
            raise Problem(f"Unable to {what}: restic ended with {source.returncode}")
        with contextlib.suppress(BrokenPipeError):
            target.stdin.close()
        complaint = target.stderr.read().decode(errors="replace")
        if target.wait() != 0:
            raise Problem(f"Unable to {what}: {last_words(complaint)}")


def save_sqlite(restic: Restic, snapshot: Snapshot, file: Path) -> None:
    """The dump of a SQLite database as a file, sound."""
    what = f"restore {snapshot.job}"
    file.unlink(missing_ok=True)
    with file.open("xb") as output:
        file.chmod(0o600)
        restic.stream(what, output, "dump", snapshot.id, f"/{snapshot.job}.sqlite")
    # immutable: reading must not leave a journal beside the copy
    with contextlib.closing(sqlite3.connect(f"{file.as_uri()}?mode=ro&immutable=1", uri=True)) as copy:
        if (found := copy.execute("PRAGMA integrity_check(1)").fetchone()[0]) != "ok":
            raise Problem(f"Unable to {what}: the dump is damaged: {found}")


def staging(path: Path) -> Path:
    return path.with_name(f".restoring-{path.name}")


def permissions(mode: int) -> int:
    """Of a mode as Go writes it, whose bits above the nine common ones lie elsewhere."""
    special = {1 << 23: 0o4000, 1 << 22: 0o2000, 1 << 20: 0o1000}
    return (mode & 0o777) | sum(bit for go, bit in special.items() if mode & go)


def nanoseconds(text: str) -> int:
    """Of a time as restic writes it, with up to nine digits after the point."""
    whole, fraction, zone = re.fullmatch(r"([^.]*?)(?:\.(\d+))?(Z|[+-]\d\d:\d\d)", text).groups()  # type: ignore[union-attr]
    return int(datetime.fromisoformat(whole + zone).timestamp()) * 10**9 + int((fraction or "").ljust(9, "0")[:9])


def remove(path: Path) -> None:
    """What a killed restore left."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def parser() -> argparse.ArgumentParser:
    found = mediaserver_snapshots.parser("restore")
    found.add_argument("--at", default="latest", help="latest, a day, a time, or a snapshot's id")
    found.add_argument("--path", help="one file or folder below the job's")
    found.add_argument("--any-version", action="store_true", help="also what images of other versions wrote")
    return found


def mind_images(
    restic: Restic,
    found: list[Snapshot],
    chosen: dict[str, Snapshot],
    services: dict[str, list[Job]],
    any_version: bool,
) -> None:
    """An older image cannot read newer data, and a newer one may know no way from data that are too old."""
    told = {service: mediaserver_images.others(restic, found, chosen, jobs) for service, jobs in services.items()}
    text = "; ".join(f"{service}: {', '.join(others)}" for service, others in told.items() if others)
    if not text:
        return
    if not any_version:
        raise Problem(
            f"Unable to restore, other images made this backup: {text}. Nothing was touched. Newer images than then "
            "migrate the data when they start: if that is wanted, ask for it: ANY_VERSION=yes (--any-version here). "
            "Older ones cannot read them: how to go back stands in docs/guides/upgrades.md"
        )
    print(f"restored into other images, as asked: {text}")


def main(runner: Runner, options: argparse.Namespace) -> int:
    services = wanted_jobs(runner.config, options)
    restic = places(runner, options, first=True)[0]
    found = snapshots(restic, options.host or runner.config["host"])
    stamp = time.strftime("%Y%m%d-%H%M%S")
    if options.path:
        services = {name: [job for job in jobs if job.get("paths")] for name, jobs in services.items()}
        if len(services) != 1 or [len(jobs) for jobs in services.values()] != [1]:
            known = ", ".join(job["name"] for jobs in services.values() for job in jobs)
            raise Problem(f"Unable to restore the path {options.path}: name one job of files: {known or 'none'}")
    # all is chosen before anything is touched
    for service, jobs in services.items():
        never = [job["name"] for job in jobs if all(one.job != job["name"] for one in found)]
        if len(never) == len(jobs):
            raise Problem(f"Unable to restore {service}: {restic.repository['path']} has nothing of it")
        for name in never:
            print(f"{name}: was never backed up to {restic.name}, is left as it is", file=sys.stderr)
        services[service] = [job for job in jobs if job["name"] not in never]
    chosen = {job["name"]: choose(found, job["name"], options.at) for jobs in services.values() for job in jobs}
    if not options.path:
        mind_images(restic, found, chosen, services, options.any_version)
    for service, jobs in services.items():
        one = Restore(runner, restic, jobs, chosen, stamp)
        if options.path:
            one.one_path(options.path)
        else:
            one.whole()
        for job in jobs:
            print(f"{job['name']}: as of {chosen[job['name']].shown()['time']} from {restic.name}")
        for kept in [*(str(old) for _path, old in one.swapped if old), *one.kept]:
            print(f"{service}: the old state is kept as {kept}")
    return 0
