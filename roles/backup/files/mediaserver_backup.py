# SPDX-License-Identifier: MIT
"""Run the backups that this host's services declare.

    mediaserver-backup due            every job whose time has come (what the timer runs)
    mediaserver-backup run JOB...     these jobs now ("all": every job)
    mediaserver-backup check          look for damage in every repository now (else: once a week)
    mediaserver-backup prune          let go of old snapshots and free their space now (else: once a day)
    mediaserver-backup status         one line a job and repository
    mediaserver-backup snapshots      what can be restored (--help: of which job, from where)
    mediaserver-backup restore        bring it back (--help: which service, as of when, one path only)
    mediaserver-backup rebuild        fill a host that lost everything, before its services run (--help)
    mediaserver-backup drill          restore the newest backups into throw-away places, compare, tell (--help)
    mediaserver-backup restic ARG...  restic itself, with repository and password set (first ARG @NAME: that repository)
    mediaserver-backup sqlite FILE    a consistent copy of a database in use, on standard output

Sources and mounts are checked before each job: restic would skip a missing source and still end well.
"""

from __future__ import annotations

import contextlib
import sys
import time

from mediaserver_cluster import FOLDER
from mediaserver_dumps import sqlite_dump
from mediaserver_jobs import PERIODS, Job, due, entry, ordered, select
from mediaserver_restic import Problem
from mediaserver_runner import Runner, alone

VERBS = ("due", "run", "check", "prune", "status", "snapshots", "restore", "rebuild", "drill", "restic", "sqlite")


def status(runner: Runner) -> int:
    """Warnings first, then every service against its objectives, then every job and drill in each repository."""
    for warning in runner.config.get("warnings", []):
        print(f"WARNING {warning['name']}: {warning['message']}")
    jobs, names = ordered(runner.config["jobs"]), [restic.name for restic in runner.repositories]
    services = sorted({job["service"] for job in jobs})
    for service in services:
        print(objectives(runner, service, [job for job in jobs if job["service"] == service]))
    lines = [(job["name"], name, job["schedule"], entry(runner.state, job, name)) for job in jobs for name in names]
    lines += [
        (one["name"], FOLDER, one["schedule"], entry(runner.state, one, FOLDER))
        for one in runner.config.get("dumps", [])
    ]
    lines += [
        (f"drill of {service}", name, "monthly", runner.drill(service, name)) for service in services for name in names
    ]
    for what, name, schedule, known in lines:
        success = known.get("success")
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(success)) if success else "never"
        bad = "" if known.get("ok", 1) else "  LAST RUN FAILED"
        print(f"{what:<32} {name:<12} {schedule:<8} last success {when}{bad}")
    for name in names:
        if runner.state.get("whole", {}).get(name) == 0:
            print(f"{name:<45} DAMAGED: see mediaserver-backup check")
    return 0


def objectives(runner: Runner, service: str, jobs: list[Job]) -> str:
    """How old the newest copy of the service's worst job is, and how long its last drill took."""
    now, names, worst = time.time(), [restic.name for restic in runner.repositories], ("", -1.0)
    for job in jobs:
        newest = max((entry(runner.state, job, name).get("success", 0.0) for name in names), default=0.0)
        age, rpo = now - newest, job.get("rpo", PERIODS[job["schedule"]])
        late = "  TOO OLD" if age > rpo else ""
        text = f"{span(age)} old, may be {span(rpo)}{late}" if newest else "never saved"
        worst = max(worst, (text, age / rpo), key=lambda one: one[1])
    took = max((runner.drill(service, name).get("seconds", 0.0) for name in names), default=0.0)
    rto = runner.config.get("rto", {}).get(service, 0)
    drill = f"drill took {span(took)}, may take {span(rto)}" if took and rto else "no drill yet"
    return f"{service:<32} newest backup {worst[0]}; {drill}{'  TOO SLOW' if rto and took > rto else ''}"


def span(seconds: float) -> str:
    """Seconds as a person reads them."""
    unit, name = next((one for one in ((86400, "d"), (3600, "h"), (60, "min")) if seconds >= one[0]), (1, "s"))
    return f"{seconds / unit:.1f} {name}"


def restic(runner: Runner, arguments: list[str]) -> int:
    """restic itself, for what this program has no verb for."""
    name = arguments[0][1:] if arguments and arguments[0].startswith("@") else runner.repositories[0].name
    chosen = [one for one in runner.repositories if one.name == name]
    if not chosen:
        known = ", ".join(one.name for one in runner.repositories)
        raise SystemExit(f"Unable to find repository {name}; there are: {known}")
    with contextlib.suppress(Problem):  # restic tells itself what is wrong; this takes locks away that nobody holds
        chosen[0].exists()
    return chosen[0].call(*(one for one in arguments if one != f"@{name}"), show=True).returncode


def restoring(verb: str, arguments: list[str]) -> int:
    """The verbs that read the repositories have files of their own."""
    import mediaserver_drill
    import mediaserver_rebuild
    import mediaserver_restore
    import mediaserver_snapshots

    programs = {
        "snapshots": mediaserver_snapshots,
        "restore": mediaserver_restore,
        "rebuild": mediaserver_rebuild,
        "drill": mediaserver_drill,
    }
    options = programs[verb].parser().parse_args(arguments)
    with contextlib.nullcontext() if verb == "snapshots" else alone(Runner()):
        try:
            return programs[verb].main(Runner(), options)
        except (Problem, OSError) as problem:
            print(problem, file=sys.stderr)
            return 1


def main(arguments: list[str]) -> int:
    verb, rest = (arguments[0] if arguments else ""), arguments[1:]
    if verb not in VERBS or (verb == "sqlite" and len(rest) != 1):
        print(__doc__, file=sys.stderr)
        return 2
    runner = Runner()
    if verb == "sqlite":
        return sqlite_dump(rest[0], runner.path.parent)
    if verb == "status":
        return status(runner)
    if verb == "restic":
        return restic(runner, rest)
    if verb in ("snapshots", "restore", "rebuild", "drill"):
        return restoring(verb, rest)
    with alone(runner):
        runner = Runner()
        runner.save()
        if verb == "check":
            return runner.check_all()
        if verb == "prune":
            return runner.prune_all()
        if verb == "run":
            chosen = select(runner.config, rest)
            dumped = runner.dumps([job for job in chosen if "folder" in job])
            return dumped | runner.run(lambda _name: [job for job in chosen if "folder" not in job])
        dumped = runner.dumps(due(runner.config.get("dumps", []), runner.state, FOLDER, time.time()))
        return dumped | runner.run(lambda name: due(runner.config["jobs"], runner.state, name, time.time()))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
