# SPDX-License-Identifier: MIT
"""Run the backups that this host's services declare.

    mediaserver-backup due            every job whose time has come (what the timer runs)
    mediaserver-backup run JOB...     these jobs now ("all": every job)
    mediaserver-backup check          look for damage in every repository now (else: once a week)
    mediaserver-backup status         one line a job
    mediaserver-backup snapshots      what can be restored (--help: of which job, from where)
    mediaserver-backup restore        bring it back (--help: which service, as of when, one path only)
    mediaserver-backup drill          restore the newest backups into throw-away places, compare, tell (--help)
    mediaserver-backup restic ARG...  restic itself, with repository and password set
    mediaserver-backup sqlite FILE    a consistent copy of a database in use, on standard output

Sources and mounts are checked before each job: restic would skip a missing source and still end well.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

CONFIG = Path(os.environ.get("MEDIASERVER_BACKUP_CONFIG", "/etc/mediaserver/backup.json"))
PERIODS = {"hourly": 3600, "daily": 86400, "weekly": 7 * 86400, "monthly": 30 * 86400}
SLACK = 1800
NO_REPOSITORY = 10
WRONG_PASSWORD = 12
VERBS = ("due", "run", "check", "status", "snapshots", "restore", "drill", "restic", "sqlite")


class Problem(Exception):
    """Why a job did not succeed, in words for the owner."""


class Absent(Problem):
    """The source is not there; before a job's first success that may be because its service never ran."""


class Restic:
    """One repository."""

    def __init__(self, config: dict[str, Any], repository: dict[str, Any]) -> None:
        self.config = config
        self.repository = repository

    def environment(self) -> dict[str, str]:
        environment = dict(os.environ)
        path = Path(self.config["environment_file"])
        if path.exists():
            environment.update(json.loads(path.read_text()).get(self.repository["name"], {}))
        environment["RESTIC_REPOSITORY"] = self.repository["path"]
        environment["RESTIC_PASSWORD_FILE"] = self.config["password_file"]
        environment["RESTIC_CACHE_DIR"] = self.config["cache_dir"]
        return environment

    def call(self, *arguments: str, show: bool = False) -> subprocess.CompletedProcess[str]:
        command = ["restic", *arguments]
        return subprocess.run(command, env=self.environment(), text=True, check=False, capture_output=not show)

    def process(self, *arguments: str) -> subprocess.Popen[bytes]:
        """A call whose output is read while it runs; what it complains of goes to our own standard error."""
        return subprocess.Popen(["restic", *arguments], env=self.environment(), stdout=subprocess.PIPE)

    def stream(self, what: str, file: BinaryIO, *arguments: str) -> None:
        """A call whose output becomes ``file``'s content, on the disk when this returns."""
        with self.process(*arguments) as source:
            assert source.stdout
            shutil.copyfileobj(source.stdout, file)
        if source.returncode:
            raise Problem(f"Unable to {what} from {self.repository['path']}: restic ended with {source.returncode}")
        file.flush()
        os.fsync(file.fileno())

    def must(self, what: str, *arguments: str) -> str:
        result = self.call(*arguments)
        if result.returncode:
            raise Problem(f"Unable to {what} in {self.repository['path']}: {last_words(result.stderr)}")
        return result.stdout

    def ready(self) -> None:
        """Make the repository if there is none; anything else than "there is none" is a problem."""
        if self.exists():
            self.must("remove stale locks", "unlock")
        else:
            self.must("make the repository", "init")

    def exists(self) -> bool:
        """Whether there is a repository, and it opens."""
        assert_mounted(self.repository["path"], self.repository.get("mount"))
        code = (result := self.call("cat", "config")).returncode
        if code == WRONG_PASSWORD:
            raise Problem(f"Unable to open {self.repository['path']}: it was made with another password")
        if code not in (0, NO_REPOSITORY):
            raise Problem(f"Unable to open {self.repository['path']}: {last_words(result.stderr)}")
        return code == 0


def last_words(text: str) -> str:
    """The last line of what a command complained, out of restic's JSON where it speaks that."""
    lines = [line for line in text.strip().splitlines() if line.strip()]
    if not lines:
        return "no message"
    try:
        return str(json.loads(lines[-1])["message"])
    except (ValueError, KeyError, TypeError):
        return lines[-1]


def assert_mounted(path: str, mount: str | None) -> None:
    if mount and not os.path.ismount(mount):
        raise Problem(f"Unable to use {path}: {mount} is not mounted")


def container_id(project: str, service: str) -> str:
    """The running container of a compose project's service."""
    labels = (f"com.docker.compose.project={project}", f"com.docker.compose.service={service}")
    command = ["docker", "ps", "--quiet", "--no-trunc"]
    for label in labels:
        command += ["--filter", f"label={label}"]
    result = subprocess.run(command, text=True, check=False, capture_output=True)
    found = result.stdout.split()
    if result.returncode or len(found) != 1:
        reason = last_words(result.stderr) if result.returncode else f"{len(found)} containers run"
        raise Problem(f"Unable to dump the database of {project}: container {service}: {reason}")
    return found[0]


def dump_command(job: dict[str, Any], snapshot: str | None = None) -> list[str]:
    """What writes the dump to its standard output. restic runs it, and keeps nothing when it fails.

    ``snapshot`` is one that PostgreSQL exported.
    """
    database = job["database"]
    if database["kind"] == "sqlite":
        assert_mounted(database["file"], database.get("mount"))
        if not Path(database["file"]).is_file():
            raise Absent(f"Unable to dump {database['file']}: there is no such file")
        return [sys.executable, str(Path(sys.argv[0]).resolve()), "sqlite", database["file"]]
    if database["kind"] != "postgresql":
        raise Problem(f"Unable to dump {job['name']}: {database['kind']} is not known")
    container = container_id(job["service"], database["container"])
    dump = ["pg_dump", "--clean", "--if-exists", f"--username={database['user']}", f"--dbname={database['name']}"]
    return ["docker", "exec", container, *dump, *([f"--snapshot={snapshot}"] if snapshot else [])]


def sqlite_copy(source: str, copy: Path) -> None:
    """Copy a database that may be in use. Opened for writing, as only so SQLite can first finish what a crash left."""
    try:
        with (
            contextlib.closing(sqlite3.connect(f"{Path(source).as_uri()}?mode=rw", uri=True, timeout=60)) as live,
            contextlib.closing(sqlite3.connect(copy)) as target,
        ):
            live.backup(target)
            found = target.execute("PRAGMA quick_check(1)").fetchone()[0]
    except sqlite3.Error as error:
        raise Problem(f"Unable to dump {source}: {error}") from error
    if found != "ok":
        raise Problem(f"Unable to dump {source}: it is damaged: {found}")


def sqlite_dump(source: str, state_dir: Path) -> int:
    """What restic runs for a job of kind sqlite."""
    import mediaserver_manifest

    os.umask(0o077)
    copy = state_dir / "sqlite-copy"
    try:
        copy.unlink(missing_ok=True)  # a killed run may have left it
        sqlite_copy(source, copy)
        write(mediaserver_manifest.counted_by_dump(state_dir), json.dumps(mediaserver_manifest.of_sqlite(copy)))
        with copy.open("rb") as file:
            shutil.copyfileobj(file, sys.stdout.buffer)
            sys.stdout.flush()
    except Problem as problem:
        print(problem, file=sys.stderr)
        return 1
    finally:
        copy.unlink(missing_ok=True)
    return 0


def backup_arguments(job: dict[str, Any], host: str, snapshot: str | None = None) -> list[str]:
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


def forget_arguments(job: dict[str, Any], host: str) -> list[str]:
    keep = [f"--keep-{unit}={count}" for unit, count in sorted(job["keep"].items())]
    return ["forget", "--quiet", "--host", host, "--tag", job["name"], "--group-by", "host,tags", *keep]


def summary(output: str) -> dict[str, Any]:
    """restic's last JSON line."""
    for line in reversed(output.splitlines()):
        if line.startswith("{"):
            message: dict[str, Any] = json.loads(line)
            if message.get("message_type") == "summary":
                return message
    raise Problem("Unable to read restic's summary: there is none")


def back_up(job: dict[str, Any], config: dict[str, Any], restic: Restic) -> dict[str, Any]:
    """One job into one repository, and how many rows its database had. restic's summary."""
    import mediaserver_manifest as manifest

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
        manifest.keep(folder, job["name"], restic.repository["name"], message["snapshot_id"], counts)
    return message


def run_job(job: dict[str, Any], config: dict[str, Any], repositories: list[Restic]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for restic in repositories:
        message = back_up(job, config, restic)
        restic.must(f"forget old snapshots of {job['name']}", *forget_arguments(job, config["host"]))
        result = {
            "bytes": message["total_bytes_processed"],
            "added": message["data_added"],
            "snapshot": message["snapshot_id"],
        }
    return result


def due(jobs: list[dict[str, Any]], state: dict[str, Any], now: float) -> list[dict[str, Any]]:
    """Jobs whose period is over since they last succeeded; databases first, so that files are never older than them."""
    ready = []
    for job in jobs:
        success = state.get(job["name"], {}).get("success", 0)
        if now - success >= PERIODS[job["schedule"]] - SLACK:
            ready.append(job)
    return ordered(ready)


def ordered(jobs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(jobs, key=lambda job: (not job.get("database"), PERIODS[job["schedule"]], job["name"]))


def metrics(config: dict[str, Any], state: dict[str, Any]) -> str:
    """What node_exporter's textfile collector reads."""
    lines: list[str] = []

    def gauge(name: str, help_text: str, values: list[tuple[str, float]]) -> None:
        if values:
            lines.extend([f"# HELP {name} {help_text}", f"# TYPE {name} gauge"])
            lines.extend(f"{name}{labels} {value:.0f}" for labels, value in values)

    def each(key: str) -> list[tuple[str, float]]:
        return [
            (f'{{backup="{job["name"]}",service="{job["service"]}"}}', float(state[job["name"]][key]))
            for job in config["jobs"]
            if state.get(job["name"], {}).get(key) is not None
        ]

    prefix = "mediaserver_backup"
    periods = {job["name"]: PERIODS[job["schedule"]] for job in config["jobs"]}
    for name, period in periods.items():
        entry = state[name]
        entry["due"] = entry.get("success", entry["declared"]) + period
    gauge(f"{prefix}_last_success_timestamp_seconds", "Start of the last run that succeeded.", each("success"))
    gauge(f"{prefix}_due_timestamp_seconds", "When the next run should have succeeded.", each("due"))
    gauge(f"{prefix}_last_run_successful", "Whether the last run succeeded.", each("ok"))
    gauge(f"{prefix}_last_duration_seconds", "How long the last run took.", each("seconds"))
    gauge(f"{prefix}_last_size_bytes", "Bytes that the last run read.", each("bytes"))
    gauge(f"{prefix}_last_added_bytes", "Bytes that the last run added to the repository.", each("added"))
    checks = [(f'{{repository="{name}"}}', float(at)) for name, at in sorted(state.get("checked", {}).items())]
    gauge(f"{prefix}_last_check_timestamp_seconds", "Last check of the repository that found no error.", checks)
    drills = sorted(state.get("drills", {}).items())
    for _service, one in drills:
        one["due"] = one.get("success", one["declared"]) + PERIODS["monthly"]
    for key, name, help_text in (
        ("success", "last_success_timestamp_seconds", "Start of the last drill that proved the service's backups."),
        ("due", "due_timestamp_seconds", "When the next drill should have succeeded."),
        ("ok", "last_run_successful", "Whether the last drill proved them."),
        ("seconds", "last_duration_seconds", "How long the last drill took."),
    ):
        values = [(f'{{service="{service}"}}', float(one[key])) for service, one in drills if key in one]
        gauge(f"mediaserver_drill_{name}", help_text, values)
    return "\n".join(lines) + "\n"


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(text)
    temporary.chmod(0o644)
    temporary.replace(path)


class Runner:
    """Configuration, state and the lock around every run."""

    def __init__(self) -> None:
        self.config: dict[str, Any] = json.loads(CONFIG.read_text())
        self.path = Path(self.config["state_dir"]) / "state.json"
        self.state: dict[str, Any] = json.loads(self.path.read_text()) if self.path.exists() else {}
        for job in self.config["jobs"]:
            self.state.setdefault(job["name"], {}).setdefault("declared", time.time())
            drills = self.state.setdefault("drills", {})
            drills.setdefault(job["service"], {}).setdefault("declared", time.time())
        self.repositories = [Restic(self.config, item) for item in self.config["repositories"]]

    def save(self) -> None:
        write(Path(self.config["metrics_file"]), metrics(self.config, self.state))
        write(self.path, json.dumps(self.state, indent=2, sort_keys=True) + "\n")

    def run(self, jobs: list[dict[str, Any]]) -> int:
        failures = 0
        try:
            for restic in self.repositories:
                restic.ready()
        except Problem as problem:
            return self.refuse(jobs, problem)
        for job in jobs:
            failures += self.one(job)
        if jobs:
            failures += self.tidy()
        return 1 if failures else 0

    def refuse(self, jobs: list[dict[str, Any]], problem: Problem) -> int:
        print(problem, file=sys.stderr)
        for job in jobs:
            self.state[job["name"]]["ok"] = 0
        self.save()
        return 1

    def one(self, job: dict[str, Any]) -> int:
        entry, started = self.state[job["name"]], time.time()
        try:
            entry.update(run_job(job, self.config, self.repositories), success=started, ok=1)
            print(f"{job['name']}: snapshot {entry['snapshot'][:8]}, {entry['added']} bytes added")
        except Problem as problem:
            if isinstance(problem, Absent) and "success" not in entry:
                # it stays due, and is told as overdue should it never come
                print(f"{job['name']}: nothing to save yet. {problem}")
                entry.pop("ok", None)
                self.save()
                return 0
            entry["ok"] = 0
            print(f"{job['name']}: {problem}", file=sys.stderr)
        entry["seconds"] = time.time() - started
        self.save()
        return 1 - int(entry["ok"])

    def tidy(self) -> int:
        """Free space once a day, look for damage once a week."""
        failures = 0
        for restic in self.repositories:
            name, now = restic.repository["name"], time.time()
            pruned, checked = self.state.setdefault("pruned", {}), self.state.setdefault("checked", {})
            try:
                if now - pruned.get(name, 0) >= PERIODS["daily"] - SLACK:
                    restic.must("prune", "prune", "--quiet")
                    pruned[name] = now
                if now - checked.get(name, 0) >= PERIODS["weekly"] - SLACK:
                    self.check(restic)
            except Problem as problem:
                failures += 1
                print(problem, file=sys.stderr)
        self.save()
        return failures

    def check(self, restic: Restic) -> None:
        """Look for damage, and note which snapshots were there: only those are known to be whole afterwards."""
        name, now = restic.repository["name"], time.time()
        listed = json.loads(restic.must("list snapshots", "snapshots", "--json")) or []
        try:
            restic.must("check", "check", "--quiet", f"--read-data-subset={self.config['check_data']}")
        except Problem:
            self.state.get("checks", {}).pop(name, None)  # nothing in it counts as whole until a check passes again
            raise
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
                print(f"{restic.repository['name']}: no damage found")
            except Problem as problem:
                failures += 1
                print(problem, file=sys.stderr)
        self.save()
        return 1 if failures else 0


def select(config: dict[str, Any], names: list[str]) -> list[dict[str, Any]]:
    known = {job["name"]: job for job in config["jobs"]}
    unknown = sorted(set(names) - set(known) - {"all"})
    if unknown or not names:
        raise SystemExit(
            f"Unknown job {', '.join(unknown) or '(none given)'}; there are: {', '.join(sorted(known)) or 'none'}"
        )
    return ordered(list(known.values()) if "all" in names else [known[name] for name in names])


def status(runner: Runner) -> int:
    jobs = ordered(runner.config["jobs"])
    lines = [(job["name"], job["schedule"], runner.state[job["name"]]) for job in jobs]
    services = sorted({job["service"] for job in jobs})
    lines += [(f"drill of {service}", "monthly", runner.state["drills"][service]) for service in services]
    for name, schedule, entry in lines:
        success = entry.get("success")
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(success)) if success else "never"
        bad = "" if entry.get("ok", 1) else "  LAST RUN FAILED"
        print(f"{name:<32} {schedule:<8} last success {when}{bad}")
    return 0


@contextlib.contextmanager
def alone(runner: Runner) -> Iterator[None]:
    """One run at a time; who comes second waits."""
    with Path(runner.config["lock_file"]).open("w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def restoring(verb: str, arguments: list[str]) -> int:
    """The verbs that read the repositories have files of their own."""
    import mediaserver_drill
    import mediaserver_restore
    import mediaserver_snapshots

    programs = {"snapshots": mediaserver_snapshots, "restore": mediaserver_restore, "drill": mediaserver_drill}
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
        return runner.repositories[0].call(*rest, show=True).returncode
    if verb in ("snapshots", "restore", "drill"):
        return restoring(verb, rest)
    with alone(runner):
        runner = Runner()
        runner.save()
        if verb == "check":
            return runner.check_all()
        jobs = due(runner.config["jobs"], runner.state, time.time()) if verb == "due" else select(runner.config, rest)
        return runner.run(jobs)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
