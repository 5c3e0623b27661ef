# SPDX-License-Identifier: MIT
"""The runs: configuration, state, the lock around every run, and one repository after the other.

No repository's trouble keeps a backup from the others.
"""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import mediaserver_images
from mediaserver_cluster import FOLDER, dump
from mediaserver_jobs import CONFIG, PERIODS, SLACK, Job, back_up, entry, forget
from mediaserver_metrics import metrics
from mediaserver_platform import wait_for_lock
from mediaserver_restic import Absent, Problem, Restic, write


class Runner:
    """Configuration and state."""

    def __init__(self) -> None:
        self.config: dict[str, Any] = json.loads(CONFIG.read_text())
        self.path = Path(self.config["state_dir"]) / "state.json"
        self.state: dict[str, Any] = json.loads(self.path.read_text()) if self.path.exists() else {}
        self.repositories = [Restic(self.config, item) for item in self.config["repositories"]]
        now = time.time()
        for job in self.config["jobs"]:
            self.state.setdefault(job["name"], {}).setdefault("declared", now)
            self.drill(job["service"]).setdefault("declared", now)
            for restic in self.repositories:  # one that comes later is awaited from then on
                entry(self.state, job, restic.name).setdefault("declared", now)
                self.drill(job["service"], restic.name).setdefault("declared", now)

        for job in self.config.get("dumps", []):
            self.state.setdefault(job["name"], {}).setdefault("declared", now)

    def drill(self, service: str, repository: str = "") -> dict[str, Any]:
        """What is remembered of a service's drills, altogether or in one repository."""
        found: dict[str, Any] = self.state.setdefault("drills", {}).setdefault(service, {})
        return found.setdefault("repositories", {}).setdefault(repository, {}) if repository else found

    def save(self) -> None:
        write(Path(self.config["metrics_file"]), metrics(self.config, self.state))
        write(self.path, json.dumps(self.state, indent=2, sort_keys=True) + "\n")

    def run(self, wanted: Callable[[str], list[Job]]) -> int:
        """``wanted``: the jobs of a repository, by its name."""
        failures = 0
        for restic in self.repositories:
            jobs = wanted(restic.name)
            if not jobs:
                continue
            try:
                restic.ready()
            except Problem as problem:
                failures += self.refuse(jobs, restic, problem)
                continue
            self.state.setdefault("reachable", {})[restic.name] = 1
            mediaserver_images.record(self.config, self.state, restic)
            done = []
            for job in jobs:
                result = self.one(job, restic)
                failures += result is False
                done += [job] if result else []
            failures += self.let_go(done, restic)
            failures += self.tidy(restic)
        return 1 if failures else 0

    def dumps(self, wanted: list[Job]) -> int:
        """Whole clusters into a folder; 1 where one failed."""
        failures = 0
        for job in wanted:
            known, started = entry(self.state, job, FOLDER), time.time()
            try:
                known.update(counted(dump(job)), success=started, ok=1)
                print(f"{job['name']}: {job['folder']}/{known['snapshot']}, {known['added']} bytes")
            except (Problem, OSError) as problem:
                failures, known["ok"] = 1, 0
                print(f"{job['name']}: {problem}", file=sys.stderr)
            known["seconds"] = time.time() - started
            self.save()
        return failures

    def refuse(self, jobs: list[Job], restic: Restic, problem: Problem) -> int:
        """None of the jobs can run there."""
        print(f"{restic.name}: {problem}", file=sys.stderr)
        self.state.setdefault("reachable", {})[restic.name] = 0
        for job in jobs:
            entry(self.state, job, restic.name)["ok"] = 0
        self.save()
        return 1

    def one(self, job: Job, restic: Restic) -> bool | None:
        """Whether it was saved; None where there is nothing to save yet."""
        known, started = entry(self.state, job, restic.name), time.time()
        try:
            known.update(counted(back_up(job, self.config, restic)), success=started, ok=1)
            print(f"{job['name']}: snapshot {known['snapshot'][:8]} in {restic.name}, {known['added']} bytes added")
        except Problem as problem:
            if isinstance(problem, Absent) and "success" not in known:
                # it stays due, and is told as overdue should it never come
                print(f"{job['name']}: nothing to save yet. {problem}")
                known.pop("ok", None)
                self.save()
                return None
            known["ok"] = 0
            print(f"{job['name']} to {restic.name}: {problem}", file=sys.stderr)
        known["seconds"] = time.time() - started
        self.save()
        return bool(known["ok"])

    def let_go(self, jobs: list[Job], restic: Restic) -> int:
        """Of old snapshots, where this host may. What cannot be let go will fill the place, so the jobs have failed."""
        if not jobs or restic.append_only:
            return 0
        try:
            forget(jobs, self.config["host"], restic)
        except Problem as problem:
            print(problem, file=sys.stderr)
            for job in jobs:
                entry(self.state, job, restic.name)["ok"] = 0
            return 1
        return 0

    def tidy(self, restic: Restic) -> int:
        """Free space once a day, look for damage once a week."""
        failures, now = 0, time.time()
        pruned, checked = self.state.setdefault("pruned", {}), self.state.setdefault("checked", {})
        try:
            if not restic.append_only and now - pruned.get(restic.name, 0) >= PERIODS["daily"] - SLACK:
                restic.must("prune", "prune", "--quiet")
                pruned[restic.name] = now
            if now - checked.get(restic.name, 0) >= PERIODS["weekly"] - SLACK:
                self.check(restic)
        except Problem as problem:
            failures += 1
            print(problem, file=sys.stderr)
        self.save()
        return failures

    def check(self, restic: Restic) -> None:
        """Look for damage, and note which snapshots were there: only those are known to be whole afterwards."""
        name, now = restic.name, time.time()
        listed = json.loads(restic.must("list snapshots", "snapshots", "--json")) or []
        try:
            restic.must("check", "check", "--quiet", f"--read-data-subset={self.config['check_data']}")
        except Problem:
            self.state.get("checks", {}).pop(name, None)  # nothing in it counts as whole until a check passes again
            restic.exists()  # raises where it only cannot be reached: that is no damage
            self.state.setdefault("whole", {})[name] = 0
            raise
        self.state.setdefault("whole", {})[name] = 1
        self.state.setdefault("checked", {})[name] = now
        self.state.setdefault("checks", {})[name] = {
            "time": now,
            "read": self.config["check_data"],
            "snapshots": sorted(one["id"] for one in listed),
        }

    def check_all(self) -> int:
        failures = 0
        for restic in self.repositories:
            try:
                restic.ready()
                self.check(restic)
                print(f"{restic.name}: no damage found")
            except Problem as problem:
                failures += 1
                print(problem, file=sys.stderr)
        self.save()
        return 1 if failures else 0

    def prune_all(self) -> int:
        """Retention and space, of every job and repository."""
        failures = 0
        for restic in self.repositories:
            try:
                if restic.append_only:
                    raise Problem(f"{restic.name}: this host may only add there. Who has the vault: make prune")
                if not restic.exists():
                    print(f"{restic.name}: nothing was saved yet")
                    continue
                gone = forget(self.config["jobs"], self.config["host"], restic)
                restic.must("prune", "prune", "--quiet")
                print(f"{restic.name}: {gone} old snapshots are gone")
            except Problem as problem:
                failures += 1
                print(problem, file=sys.stderr)
        return 1 if failures else 0


def counted(message: dict[str, Any]) -> dict[str, Any]:
    """What is remembered of restic's summary."""
    return {
        "bytes": message["total_bytes_processed"],
        "added": message["data_added"],
        "snapshot": message["snapshot_id"],
    }


@contextlib.contextmanager
def alone(runner: Runner) -> Iterator[None]:
    """One run at a time; who comes second waits."""
    with Path(runner.config["lock_file"]).open("a", encoding="ascii") as lock:
        wait_for_lock(lock)
        yield
