# SPDX-License-Identifier: MIT
"""What the repositories hold: the verb `snapshots` of mediaserver-backup, and the choice of what is restored."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from mediaserver_jobs import Job
from mediaserver_restic import Problem, Restic
from mediaserver_runner import Runner


@dataclass(frozen=True)
class Snapshot:
    """One state of one job in one repository."""

    repository: str
    id: str
    job: str
    time: datetime
    size: int | None

    def shown(self) -> dict[str, Any]:
        local = self.time.astimezone().strftime("%Y-%m-%d %H:%M")
        return {"repository": self.repository, "id": self.id[:8], "job": self.job, "time": local, "bytes": self.size}


def snapshots(restic: Restic, host: str) -> list[Snapshot]:
    """All of this host's, oldest first."""
    found = []
    for one in json.loads(restic.must("list the snapshots", "snapshots", "--json", "--host", host)) or []:
        size = (one.get("summary") or {}).get("total_bytes_processed")
        at = datetime.fromisoformat(one["time"])
        found += [Snapshot(restic.name, one["id"], tag, at, size) for tag in one.get("tags") or []]
    return sorted(found, key=lambda one: one.time)


def moment(text: str) -> datetime:
    """The end of what the user names: a day counts to its midnight, a minute to its last second."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise Problem(
            f"Unable to understand the time {text!r}: write 2026-11-20, '2026-11-20 14:30' or latest"
        ) from None
    length = len(text.strip())
    at += timedelta(days=1) if length <= 10 else timedelta(minutes=1) if length <= 16 else timedelta(seconds=1)
    return at.astimezone()


def choose(found: Iterable[Snapshot], job: str, at: str) -> Snapshot:
    """The job's newest snapshot not after ``at`` (``latest``, a time, or a snapshot's id)."""
    mine = [one for one in found if one.job == job]
    by_id = [one for one in mine if len(at) >= 8 and one.id.startswith(at)]
    if by_id:
        return by_id[-1]
    old_enough = [one for one in mine if at == "latest" or one.time < moment(at)]
    if not old_enough:
        first = f"; its first is of {mine[0].shown()['time']}" if mine else ""
        raise Problem(f"Unable to restore {job} as of {at}: there is no such snapshot{first}")
    return old_enough[-1]


def wanted_jobs(config: dict[str, Any], options: argparse.Namespace) -> dict[str, list[Job]]:
    """Jobs by service."""
    services: dict[str, list[Job]] = {}
    for job in config["jobs"]:
        if options.service in (None, job["service"]) and options.job in (None, job["name"]):
            services.setdefault(job["service"], []).append(job)
    if not services:
        known = sorted({job["service"] for job in config["jobs"]})
        raise Problem(f"Unable to restore {options.job or options.service}: there are: {', '.join(known) or 'none'}")
    return services


def places(runner: Runner, options: argparse.Namespace, first: bool = False) -> list[Restic]:
    """The repositories, or the one that is named, or the first; another host's lies beside this host's own."""
    chosen = [one for one in runner.repositories if options.repository in (None, one.name)]
    if not chosen:
        known = ", ".join(one.name for one in runner.repositories)
        raise Problem(f"Unable to find repository {options.repository}: there are: {known or 'none'}")
    if options.host:
        for one in chosen:
            one.repository = {**one.repository, "path": f"{one.repository['path'].rpartition('/')[0]}/{options.host}"}
    if first:
        try:
            assert_there(chosen[0])
        except Problem as problem:
            others = ", ".join(one.name for one in chosen[1:])
            raise Problem(
                f"{problem}. Say from which other: --repository {others}" if others else str(problem)
            ) from None
    return chosen


def assert_there(restic: Restic) -> None:
    if not restic.exists():
        raise Problem(f"Unable to restore from {restic.repository['path']}: there is no repository")


def parser(verb: str = "snapshots") -> argparse.ArgumentParser:
    """What all verbs that read the repositories understand."""
    found = argparse.ArgumentParser(prog=f"mediaserver-backup {verb}")
    found.add_argument("--service", help="only this service (default: all of this host)")
    found.add_argument("--job", help="only this job")
    found.add_argument("--repository", help="name of the repository (default: all, to restore the first)")
    found.add_argument("--host", help="another host, whose data come here")
    if verb == "snapshots":
        found.add_argument("--json", action="store_true")
    return found


def main(runner: Runner, options: argparse.Namespace) -> int:
    host = options.host or runner.config["host"]
    names = {job["name"] for jobs in wanted_jobs(runner.config, options).values() for job in jobs}
    found: list[Snapshot] = []
    asked, failures = places(runner, options), 0
    for restic in asked:
        try:
            assert_there(restic)
            found += [one for one in snapshots(restic, host) if one.job in names]
        except Problem as problem:
            failures += 1
            print(problem, file=sys.stderr)
    if options.json:
        print(json.dumps([one.shown() for one in found]))
        return int(failures == len(asked))
    for one in (one.shown() for one in found):
        size = f"{(one['bytes'] or 0) / 2**20:.1f} MiB"
        print(f"{one['time']}  {one['id']}  {one['repository']:<12} {one['job']:<32} {size}")
    return int(failures == len(asked))
