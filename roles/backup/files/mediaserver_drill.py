# SPDX-License-Identifier: MIT
"""Prove that the backups come back: the verb `drill` of mediaserver-backup.

The newest snapshot of each job is restored from every repository into a throw-away place and compared with its source:
of folders a sample of files with the files they were made from, of databases the rows of each table with those counted
at the dump, PostgreSQL loaded into a container of the service's own image, without a network. Nothing of the service is
touched. The sample is another one for every snapshot, and the same for the same.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import random
import re
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mediaserver_manifest as manifest
import mediaserver_snapshots
from mediaserver_jobs import Job, entry
from mediaserver_platform import on_disk
from mediaserver_psql import container_id, feed, psql
from mediaserver_restic import Problem, Restic, last_words
from mediaserver_restore import pour, remove, save_sqlite
from mediaserver_runner import Runner
from mediaserver_snapshots import Snapshot, assert_there, choose, places, snapshots, wanted_jobs

SAMPLE_FILES = 60
SAMPLE_BYTES = 2**30
LABEL = "mediaserver.drill"
PATIENCE = 180


class Drill:
    """One job's newest snapshot in one repository."""

    def __init__(self, runner: Runner, restic: Restic, job: Job, snapshot: Snapshot) -> None:
        self.folder = runner.path.parent
        self.scratch = self.folder / "drill"
        self.restic = restic
        self.job = job
        self.snapshot = snapshot

    def prove(self) -> str:
        """What was proved, in words; a Problem where it was not."""
        database = self.job.get("database")
        remove(self.scratch)
        self.scratch.mkdir(mode=0o700, parents=True)
        try:
            if not database:
                return self.files()
            found = self.sqlite() if database["kind"] == "sqlite" else self.postgresql()
        finally:
            remove(self.scratch)
        return self.compare(found)

    def compare(self, found: manifest.Counts) -> str:
        rows = f"{len(found)} tables, {sum(found.values())} rows"
        wanted = manifest.find(self.folder, self.job["name"], self.restic.name, self.snapshot.id)
        if wanted is None:
            return f"{rows}, whole; there are no counts of the source to compare with"
        if wrong := manifest.differences(wanted, found):
            raise Problem(f"Unable to prove {self.job['name']}: " + "; ".join(wrong[:5]))
        return f"{rows}, as many as were dumped"

    # files

    def files(self) -> str:
        chosen = self.sample()
        if not chosen:
            return "holds no files"
        includes = [f"--include={literally(node['path'])}" for node in chosen]
        target = f"--target={self.scratch}"
        self.restic.must(f"restore a sample of {self.job['name']}", "restore", self.snapshot.id, target, "--verify",
                         "--quiet", *includes)  # fmt: skip
        equal = sum(self.same_as_source(node) for node in chosen)
        since = f", {len(chosen) - equal} have changed there since" if equal < len(chosen) else ""
        return f"{len(chosen)} files came back, {equal} equal to their source{since}"

    def sample(self) -> list[dict[str, Any]]:
        """Any file is as likely as any other; together they stay below the limit of bytes."""
        dice, seen = random.Random(self.snapshot.id), 0
        kept: list[dict[str, Any]] = []
        with self.restic.process("ls", "--json", self.snapshot.id) as listing:
            assert listing.stdout
            for line in listing.stdout:
                node = json.loads(line)
                if node.get("type") != "file":
                    continue
                seen += 1
                if len(kept) < SAMPLE_FILES:
                    kept.append(node)
                elif (place := dice.randrange(seen)) < SAMPLE_FILES:
                    kept[place] = node
        if listing.returncode:
            raise Problem(f"Unable to list {self.job['name']}: restic ended with {listing.returncode}")
        total, chosen = 0, kept[:0]
        for node in sorted(kept, key=lambda one: one.get("size", 0)):
            total += node.get("size", 0)
            if total <= SAMPLE_BYTES or not chosen:
                chosen.append(node)
        return chosen

    def same_as_source(self, node: dict[str, Any]) -> bool:
        """Whether source and copy could be compared; that they differ although nobody wrote there is a problem."""
        source, copy = Path(on_disk(node["path"])), Path(f"{self.scratch}{node['path']}")
        if not copy.is_file() or copy.stat().st_size != node.get("size", 0):
            raise Problem(f"Unable to prove {self.job['name']}: {source} did not come back whole")
        try:
            now, then = source.stat(), copy.stat()
        except FileNotFoundError:
            return False
        if (now.st_size, now.st_mtime_ns) != (then.st_size, then.st_mtime_ns):
            return False
        if digest(source) != digest(copy):
            raise Problem(f"Unable to prove {self.job['name']}: {source} is not what was saved, though its time is "
                          "the same: either it or the copy is damaged")  # fmt: skip
        return True

    # databases

    def sqlite(self) -> manifest.Counts:
        file = self.scratch / "database"
        save_sqlite(self.restic, self.snapshot, file)
        return manifest.of_sqlite(file)

    def postgresql(self) -> manifest.Counts:
        database = self.job["database"]
        with throw_away(image_of(self.job), database["user"]) as container:
            feed("make a database for the drill", psql(container, database["user"], "postgres"),
                 'CREATE DATABASE "drill" TEMPLATE template0;')  # fmt: skip
            pour(self.restic, self.snapshot, psql(container, database["user"], "drill", "--single-transaction"))
            return manifest.of_postgresql(container, database["user"], "drill")


def literally(path: str) -> str:
    """A path as a pattern of restic that means only itself."""
    return re.sub(r"([\\*?\[])", r"\\\1", path)


def digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def image_of(job: Job) -> str:
    """The image that the service's database runs on: a dump is proved by the version that would load it."""
    container = container_id(job["service"], job["database"]["container"])
    command = ["docker", "inspect", "--format", "{{.Config.Image}}", container]
    return subprocess.run(command, text=True, check=True, capture_output=True).stdout.strip()


@contextlib.contextmanager
def throw_away(image: str, user: str) -> Iterator[str]:
    """A database server that nobody reaches; gone afterwards, and what a killed drill left is gone before."""
    sweep()
    options = ["--detach", "--network=none", "--memory=1g", "--shm-size=128m", f"--label={LABEL}=1"]
    options += ["--volume=/var/lib/postgresql/data", "--env=POSTGRES_PASSWORD", f"--env=POSTGRES_USER={user}"]
    password = {"POSTGRES_PASSWORD": secrets.token_hex(16)}
    command = ["docker", "run", *options, image]
    done = subprocess.run(command, env={**os.environ, **password}, text=True, check=False, capture_output=True)
    try:
        if done.returncode:
            raise Problem(f"Unable to start {image} for the drill: {last_words(done.stderr)}")
        container = done.stdout.strip()
        wait(container)
        yield container
    finally:
        sweep()


def wait(container: str) -> None:
    """By TCP: while it makes its first files the server answers on its socket only, and then ends."""
    deadline = time.monotonic() + PATIENCE
    command = ["docker", "exec", container, "pg_isready", "--quiet", "--host=127.0.0.1"]
    while subprocess.run(command, check=False, capture_output=True).returncode:
        if time.monotonic() > deadline:
            raise Problem(f"Unable to start a database for the drill: it does not answer after {PATIENCE} seconds")
        time.sleep(1)


def sweep() -> None:
    listing = ["docker", "ps", "--all", "--quiet", "--filter", f"label={LABEL}=1"]
    if left := subprocess.run(listing, text=True, check=True, capture_output=True).stdout.split():
        subprocess.run(["docker", "rm", "--force", "--volumes", *left], check=True, capture_output=True)


def parser() -> argparse.ArgumentParser:
    return mediaserver_snapshots.parser("drill")


def drill_service(runner: Runner, restic: Restic, host: str, jobs: list[Job]) -> bool:
    """The proof from one repository; false where nothing of the service was ever saved there."""
    proved = False
    assert_there(restic)
    found = snapshots(restic, host)
    for job in jobs:
        if not any(one.job == job["name"] for one in found):
            if "success" in entry(runner.state, job, restic.name):
                raise Problem(f"Unable to prove {job['name']}: {restic.repository['path']} has no snapshot of it")
            print(f"{job['name']}: nothing was saved yet in {restic.name}")
            continue
        snapshot = choose(found, job["name"], "latest")
        proof = Drill(runner, restic, job, snapshot).prove()
        print(f"{job['name']}: of {snapshot.shown()['time']} from {restic.name}: {proof}")
        proved = True
    return proved


def main(runner: Runner, options: argparse.Namespace) -> int:
    failures = 0
    host = options.host or runner.config["host"]
    for service, jobs in wanted_jobs(runner.config, options).items():
        for restic in places(runner, options):
            if not any("success" in entry(runner.state, job, restic.name) for job in jobs):
                print(f"{service}: nothing was saved yet in {restic.name}")
                continue
            known, started = runner.drill(service, restic.name), time.time()
            try:
                if drill_service(runner, restic, host, jobs):
                    known.update(ok=1, success=started, seconds=time.time() - started)
            except (Problem, OSError, subprocess.CalledProcessError) as problem:
                failures += 1
                known.update(ok=0, seconds=time.time() - started)
                print(f"{service} from {restic.name}: {problem}", file=sys.stderr)
            runner.save()
    return 1 if failures else 0
