# SPDX-License-Identifier: MIT
"""Fill a host that lost everything: the verb `rebuild` of mediaserver-backup.

It runs before the host's services do. Each service gets its newest state from one repository, once: what was brought
back is written down, and a rebuild that was interrupted goes on with what is missing. A place that holds anything is
left alone, unless the owner asked to replace it; then its old state is kept beside it, as after every restore.
"""

from __future__ import annotations

import argparse
import subprocess
import time
from pathlib import Path
from typing import Any

import mediaserver_images
import mediaserver_manifest
import mediaserver_snapshots
from mediaserver_jobs import Job
from mediaserver_psql import container_id, feed, psql
from mediaserver_restic import Problem, Restic
from mediaserver_restore import Restore
from mediaserver_runner import Runner
from mediaserver_snapshots import Snapshot, choose, places, snapshots

REMEDY = (
    "Nothing was touched. If that is older than the backup, ask for it: CONFIRM=yes (--replace here); the old state is "
    "then kept beside it. To go on with what is there, make site builds without restoring"
)


class Rebuild(Restore):
    """A restore into places that are empty, of a service that does not run yet."""

    def systemctl(self, verb: str) -> None:
        """Stops what runs, where there is anything; the build starts it, with everything else in its place."""
        if verb == "stop" and self.unit and active(self.unit):
            super().systemctl(verb)

    def holding(self) -> list[str]:
        """The service's places that are not empty. Starts its database, as only that can say."""
        sources = [Path(source["path"]) for job in self.files for source in job["paths"]]
        sources += [Path(job["database"]["file"]) for job in self.sqlite]
        found = [str(path) for path in sources if holds_files(path)]
        return found + [f"database {job['database']['name']}" for job in self.postgresql if self.rows_or_tables(job)]

    def rows_or_tables(self, job: Job) -> bool:
        database = job["database"]
        self.compose_up(database["container"])
        container = container_id(job["service"], database["container"])
        return bool(mediaserver_manifest.of_postgresql(container, database["user"], database["name"]))

    def sweep(self) -> None:
        """Take away what was kept although nothing was in it: folders without a file, a database without a table."""
        for path, old in self.swapped:
            if old is not None and old.is_dir() and not holds_files(old):
                remove_folders(old)
                self.swapped[self.swapped.index((path, old))] = (path, None)
        for job in self.postgresql:
            name = f"{job['database']['name']}_before_{self.stamp.replace('-', '_')}"
            user, container = job["database"]["user"], container_id(job["service"], job["database"]["container"])
            if not mediaserver_manifest.of_postgresql(container, user, name):
                feed(f"drop the empty database {name}", psql(container, user, "postgres"), f'DROP DATABASE "{name}";')
                self.kept.remove(f"database {name}")


def active(unit: str) -> bool:
    return subprocess.run(["systemctl", "is-active", "--quiet", unit], check=False).returncode == 0


def holds_files(path: Path) -> bool:
    """Whether there is anything but folders."""
    if not path.is_dir() or path.is_symlink():
        return path.is_symlink() or path.exists()
    return any(one.is_symlink() or not one.is_dir() for one in path.rglob("*"))


def remove_folders(path: Path) -> None:
    """Deepest first, by rmdir: a file that came meanwhile cannot be lost."""
    for folder in sorted((one for one in path.rglob("*")), key=lambda one: len(one.parts), reverse=True):
        folder.rmdir()
    path.rmdir()


def parser() -> argparse.ArgumentParser:
    found = mediaserver_snapshots.parser("rebuild")
    found.add_argument("--replace", action="store_true", help="also what is not empty; its old state is kept")
    return found


def missing(jobs: list[Job], found: list[Snapshot]) -> list[str]:
    return [job["name"] for job in jobs if all(one.job != job["name"] for one in found)]


def refuse_what_holds(work: dict[str, Rebuild], begun: dict[str, Any]) -> None:
    """Everything is looked at before anything is touched. What this rebuild itself began is its own."""
    holding = {service: one.holding() for service, one in work.items() if service not in begun}
    texts = [f"{service}: {', '.join(names)}" for service, names in holding.items() if names]
    if texts:
        raise Problem(f"Unable to rebuild, there are data already: {'; '.join(texts)}. {REMEDY}")


def planned(
    runner: Runner, restic: Restic, services: dict[str, list[Job]], found: list[Snapshot]
) -> dict[str, Rebuild]:
    """The restores that are still to be done; says what is not."""
    stamp = time.strftime("%Y%m%d-%H%M%S")
    work: dict[str, Rebuild] = {}
    for service, jobs in services.items():
        record = runner.state.setdefault("rebuilt", {}).get(service)
        if record:
            print(f"{service}: was brought back {record['at']}, is left as it is")
            continue
        never = missing(jobs, found)
        for name in never:
            print(f"{name}: was never backed up to {restic.repository['name']}, starts empty")
        saved = [job for job in jobs if job["name"] not in never]
        if saved:
            chosen = {job["name"]: choose(found, job["name"], "latest") for job in saved}
            for text in mediaserver_images.others(restic, found, chosen, saved):
                print(f"{service}: {text}: newer images migrate the data when they start, older ones cannot read them")
            work[service] = Rebuild(runner, restic, saved, chosen, stamp)
    return work


def main(runner: Runner, options: argparse.Namespace) -> int:
    if not runner.config["jobs"]:
        return 0
    restic = places(runner, options, first=True)[0]
    restic.call("unlock")  # stale locks of the machine that was lost; where deleting is not allowed they stay
    services = mediaserver_snapshots.wanted_jobs(runner.config, options)
    work = planned(runner, restic, services, snapshots(restic, options.host or runner.config["host"]))
    begun = runner.state.setdefault("rebuilding", {})
    if not options.replace:
        refuse_what_holds(work, begun)
    for service, one in work.items():
        begun[service] = restic.repository["name"]
        runner.save()
        one.whole()
        one.sweep()
        for name, snapshot in one.chosen.items():
            print(f"{name}: as of {snapshot.shown()['time']} from {restic.repository['name']}")
        for kept in [*(str(old) for _path, old in one.swapped if old), *one.kept]:
            print(f"{service}: the old state is kept as {kept}")
        runner.state["rebuilt"][service] = {
            "at": time.strftime("%Y-%m-%d %H:%M:%S"),
            "repository": restic.repository["name"],
            "snapshots": {name: snapshot.id for name, snapshot in one.chosen.items()},
        }
        del begun[service]
        runner.save()
    return 0
