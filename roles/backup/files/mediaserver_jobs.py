# SPDX-License-Identifier: MIT
"""One backup job: when it is due, restic's arguments for it, and its run into one repository."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import mediaserver_manifest as manifest
from mediaserver_dumps import dump_command
from mediaserver_restic import Problem, Restic, assert_mounted

Job = dict[str, Any]
CONFIG = Path(os.environ.get("MEDIASERVER_BACKUP_CONFIG", "/etc/mediaserver/backup.json"))
PERIODS = {"hourly": 3600, "daily": 86400, "weekly": 7 * 86400, "monthly": 30 * 86400}
SLACK = 1800


def backup_arguments(job: Job, host: str, snapshot: str | None = None) -> list[str]:
    common = ["backup", "--json", "--quiet", "--host", host, "--tag", job["name"]]
    if job.get("database"):
        name = f"{job['name']}.{'sqlite' if job['database']['kind'] == 'sqlite' else 'sql'}"
        return [*common, "--stdin-from-command", "--stdin-filename", name, "--", *dump_command(job, snapshot)]
    paths = []
    for source in job["paths"]:
        assert_mounted(source["path"], source.get("mount"))
        if not Path(source["path"]).is_dir():
            raise Problem(f"Unable to back up {source['path']}: there is no such folder")
        paths.append(source["path"])
    excludes = [f"--exclude={pattern}" for pattern in job.get("exclude", [])]
    return [*common, "--exclude-caches", *excludes, "--", *paths]


def forget_arguments(jobs: list[Job], host: str) -> list[str]:
    """Of jobs that keep the same; each is counted for itself."""
    keep = [f"--keep-{unit}={count}" for unit, count in sorted(jobs[0]["keep"].items())]
    tags = [f"--tag={job['name']}" for job in jobs]
    return ["forget", "--json", "--quiet", "--host", host, *tags, "--group-by", "host,tags", *keep]


def summary(output: str) -> dict[str, Any]:
    """restic's last JSON line."""
    for line in reversed(output.splitlines()):
        if line.startswith("{"):
            message: dict[str, Any] = json.loads(line)
            if message.get("message_type") == "summary":
                return message
    raise Problem("Unable to read restic's summary: there is none")


def back_up(job: Job, config: dict[str, Any], restic: Restic) -> dict[str, Any]:
    """One job into one repository, and how many rows its database had. restic's summary."""

    def run(snapshot: str | None = None) -> dict[str, Any]:
        return summary(restic.must(f"back up {job['name']}", *backup_arguments(job, config["host"], snapshot)))

    kind, folder, counts = (job.get("database") or {}).get("kind"), Path(config["state_dir"]), None
    if kind == "postgresql":
        with manifest.exported(job) as (snapshot, counts):
            message = run(snapshot)
    else:
        message = run()
        if kind == "sqlite":
            counts = json.loads(manifest.counted_by_dump(folder).read_text())
    if counts is not None:
        manifest.keep(folder, job["name"], restic.name, message["snapshot_id"], counts)
    return message


def forget(jobs: list[Job], host: str, restic: Restic) -> int:
    """How many went. A server that refuses to delete leaves restic's exit code 0, so it is looked whether they did."""
    dropped: set[str] = set()
    for keep in {json.dumps(job["keep"], sort_keys=True): job["keep"] for job in jobs}.values():
        alike = [job for job in jobs if job["keep"] == keep]
        answer = restic.must("forget old snapshots", *forget_arguments(alike, host))
        dropped |= {one["id"] for group in json.loads(answer or "[]") or [] for one in group.get("remove") or []}
    if not dropped:
        return 0
    listed = json.loads(restic.must("list the snapshots", "snapshots", "--json", "--host", host)) or []
    if left := dropped & {one["id"] for one in listed}:
        raise Problem(
            f"Unable to forget old snapshots in {restic.repository['path']}: it refuses to delete {len(left)} of them. "
            "Say append_only: true where these credentials may only add"
        )
    return len(dropped)


def due(jobs: list[Job], state: dict[str, Any], repository: str, now: float) -> list[Job]:
    """Jobs whose period is over since they last succeeded there; databases first: files are never older than they."""

    def over(job: Job) -> bool:
        return now - float(entry(state, job, repository).get("success", 0)) >= PERIODS[job["schedule"]] - SLACK

    return ordered([job for job in jobs if over(job)])


def ordered(jobs: list[Job]) -> list[Job]:
    return sorted(jobs, key=lambda job: (not job.get("database"), PERIODS[job["schedule"]], job["name"]))


def entry(state: dict[str, Any], job: Job, repository: str) -> dict[str, Any]:
    """What is remembered of a job in one repository."""
    found: dict[str, Any] = state.setdefault(job["name"], {}).setdefault("repositories", {}).setdefault(repository, {})
    return found


def select(config: dict[str, Any], names: list[str]) -> list[Job]:
    known = {job["name"]: job for job in [*config["jobs"], *config.get("dumps", [])]}
    unknown = sorted(set(names) - set(known) - {"all"})
    if unknown or not names:
        raise SystemExit(
            f"Unknown job {', '.join(unknown) or '(none given)'}; there are: {', '.join(sorted(known)) or 'none'}"
        )
    return ordered(list(known.values()) if "all" in names else [known[name] for name in names])
