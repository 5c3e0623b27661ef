# SPDX-License-Identifier: MIT
"""Fetch photos and videos from clouds: some are copied, some are moved.

    mediaserver-ingest due            every job whose time has come (what the timer runs)
    mediaserver-ingest run [JOB...]   these jobs now (none named: every job)
    mediaserver-ingest plan [JOB...]  what a run would do with each file; changes nothing
    mediaserver-ingest status         one line a job

A cloud file is deleted only when its local copy, read from the disk, has the remote's size and hash, when a snapshot
that a later check of its repository found whole gives back the same bytes, and when the remote still lists the same
file. Whatever interrupts this, the next run goes on from what is really there.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import sqlite3
import sys
import time
import uuid
from collections import Counter
from http.client import HTTPException
from pathlib import Path
from typing import Any

from ingest_cloud import PERIODS, Rclone, metrics, scan_library
from ingest_parts import (
    SIZES,
    STAGING,
    TIMES,
    UNSETTLED,
    Entry,
    Lock,
    Problem,
    Row,
    Rules,
    agree,
    decide,
    digest_file,
    folder_size,
    give_to,
    lies_below,
    local_name,
    make_folders,
    numbered,
    numbered_existing,
    parse_number,
    place,
    sync_file,
    sync_folder,
    write,
)
from ingest_stores import Backups, Journal, Manifest

CONFIG = Path(os.environ.get("MEDIASERVER_INGEST_CONFIG", "/etc/mediaserver/ingest.json"))
SLACK = 1800
GIVE_UP = 20  # failures in a row
WINDOWS = os.name == "nt"
CACHE_TAG = "Signature: 8a477f597d28d172789f06886806bc55\n# unfinished copies: restic leaves this folder out\n"


class Entries(list[Entry]):
    """A listing. ``twins``: paths that a remote has more than once, as Google Drive may."""

    twins: frozenset[str] = frozenset()


class Job:
    """One source. ``run`` copies what is ready, then deletes what is safe; every step may be the last one."""

    def __init__(self, body: dict[str, Any], config: dict[str, Any], journal: Journal) -> None:
        self.body, self.config, self.journal = body, config, journal
        self.name, self.remote = str(body["name"]), str(body["remote"])
        self.target = Path(body["target"])
        self.staging = self.target / STAGING
        self.prefix = f"{re.sub('[^A-Za-z0-9]', '_', self.name)}-"
        self.rclone = Rclone(config)
        self.manifest = Manifest(Path(config["state_dir"]) / "manifest" / "deleted.jsonl")
        self.rules = Rules(
            tuple(body.get("copy", ["photos"])), tuple(body.get("move", ["videos"])),
            parse_number(body.get("min_age", "1h"), TIMES), parse_number(config.get("settle", 60), TIMES),
        )  # fmt: skip
        self.quota = parse_number(body["quota"], SIZES) if body.get("quota") else 0.0
        self.min_free = parse_number(body.get("min_free", "5G"), SIZES)
        owner = re.fullmatch(r"([0-9]+):([0-9]+)", body.get("owner") or "")
        self.owner = (int(owner[1]), int(owner[2])) if owner else None
        self.count: Counter[str] = Counter()
        self.alone: Counter[str] = Counter()
        self.failures: list[str] = []
        self.waiting_since = 0.0
        self.used = 0.0
        self.full = ""

    def say(self, text: str) -> None:
        print(f"{self.name}: {text}", flush=True)

    def fail(self, problem: Exception) -> None:
        self.failures.append(str(problem))
        print(f"{self.name}: {problem}", file=sys.stderr, flush=True)

    def prepare(self, changes: bool) -> None:
        mount = self.body.get("mount")
        if mount and not os.path.ismount(mount):
            raise Problem(f"Unable to use {self.target}: {mount} is not mounted")
        if not self.target.is_dir():
            raise Problem(f"Unable to use {self.target}: there is no such folder")
        self.rclone.refuse_google_photos(self.remote)
        if changes:
            self.staging.mkdir(mode=0o700, exist_ok=True)
            write(self.staging / "CACHEDIR.TAG", CACHE_TAG)
            self.recover()
            self.used = folder_size(self.target) if self.quota else 0

    def run(self) -> None:
        self.prepare(changes=True)
        entries = self.listing()
        if any(self.decide(entry, entries)[1] == UNSETTLED for entry in entries):
            time.sleep(self.rules.settle)  # a second look tells files that are still being uploaded
            entries = self.listing()
        safe, in_a_row = [], 0
        for entry in entries:
            try:
                if self.step(entry, entries):
                    safe.append(entry)
                in_a_row = 0
            except (Problem, OSError) as problem:
                self.fail(problem)
                in_a_row += 1
                if in_a_row >= GIVE_UP:
                    self.say(f"{GIVE_UP} failures in a row, the rest waits for the next run")
                    break
        self.move(safe)
        for reason, times in self.alone.items():
            self.say(f"{times} left alone: {reason}")

    def decide(self, entry: Entry, entries: Entries) -> tuple[str, str]:
        return decide(entry, self.row(entry), self.rules, time.time(), entries.twins)

    def step(self, entry: Entry, entries: Entries) -> bool:
        """Bring one file a step on; True when its cloud side is fit for deletion."""
        action, reason = self.decide(entry, entries)
        if action == "copy" and self.fetch(entry):
            action, reason = self.decide(entry, entries)
        self.count[action] += 1
        if action in ("leave", "keep"):
            self.alone[reason] += 1
        return action == "move"

    def row(self, entry: Entry) -> Row:
        return self.journal.get(self.name, entry.path)

    def listing(self, note: bool = True) -> Entries:
        filters = [text for pattern in self.body.get("exclude", []) for text in ("--filter", f"- {pattern}")]
        if self.body.get("include"):
            filters += [text for pattern in self.body["include"] for text in ("--filter", f"+ {pattern}")]
            filters += ["--filter", "- *"]
        found: dict[tuple[str, str], Entry] = {}
        twins = set()
        for path in self.body.get("paths") or [""]:
            listed = self.rclone.list(self.remote, path.strip("/"), filters)
            twins |= {path for path, times in Counter(entry.path for entry in listed).items() if times > 1}
            for entry in listed:
                found.setdefault((entry.path, entry.number), entry)
        entries = Entries(found.values())
        entries.twins = frozenset(twins)
        if any(STAGING in entry.path.split("/") for entry in entries):
            raise Problem(f"Unable to use {self.remote} as a source: it shows the target {self.target} itself")
        if note:
            self.journal.see(self.name, [entry for entry in entries if entry.path not in twins], time.time())
        return entries

    # --- copying
    def fetch(self, entry: Entry) -> bool:
        """Have a verified local copy of an entry: one that is there already, or a new one. False: no room."""
        wanted = self.target / local_name(entry.name, WINDOWS)
        sha256 = ""
        for path in [*numbered_existing(wanted), *map(Path, self.journal.locals_of(entry))]:
            if entry.kind and (sha256 := self.same(entry, path)):
                return self.note(entry, path, sha256, "known")
        if not self.room_for(entry.size):
            return False
        make_folders(wanted.parent, self.target, self.owner)  # what cannot be placed need not be fetched
        staged = self.staging / f"{self.prefix}{uuid.uuid4().hex}.part"
        try:
            self.download(entry, staged)
            size, hashes = digest_file(staged, "sha256", *filter(None, [entry.kind]))
            if size != entry.size or (entry.kind and hashes[entry.kind] != entry.hash):
                raise Problem(f"Unable to fetch {entry.path}: what arrived differs from what {self.remote} lists")
            sha256 = hashes["sha256"]
            for path in map(Path, self.journal.places("sha256", sha256)):
                if self.holds(path, size, sha256):
                    return self.note(entry, path, sha256, "known")
            return self.note(entry, self.name_it(staged, wanted, size, sha256), sha256, "copied")
        finally:
            staged.unlink(missing_ok=True)

    def download(self, entry: Entry, staged: Path) -> None:
        limit = ["--bwlimit", str(self.body["bandwidth"])] if self.body.get("bandwidth") else []
        source = f"{self.remote}:{entry.path}"
        self.rclone.must(f"fetch {entry.path}", "copyto", "--no-traverse", *limit, source, str(staged))
        staged.chmod(0o644)
        give_to(staged, self.owner)
        sync_file(staged)

    def name_it(self, staged: Path, wanted: Path, size: int, sha256: str) -> Path:
        for path in numbered(wanted):
            if place(staged, path) or self.holds(path, size, sha256):
                return path
        raise Problem(f"Unable to name {wanted}: there are too many of that name")

    def note(self, entry: Entry, path: Path, sha256: str, what: str) -> bool:
        row = self.row(entry)
        row.state, row.local, row.sha256, row.copied, row.proofs = "copied", str(path), sha256, time.time(), []
        self.journal.put(self.name, entry.path, row)
        self.count[what] += 1
        if what == "copied":
            self.count["bytes"] += entry.size
            self.journal.put_job(self.name, {**self.journal.job(self.name), "scan": True})
        self.say(f"{entry.path} is {path}" if what == "copied" else f"{entry.path} is known as {path}")
        return True

    def same(self, entry: Entry, path: Path) -> str:
        """SHA-256 of a local file that has the entry's size and hash; empty when it has not."""
        with contextlib.suppress(OSError, Problem):
            if lies_below(str(path), str(self.target)) and path.lstat().st_size == entry.size:
                size, hashes = digest_file(path, "sha256", entry.kind)
                if (size, hashes[entry.kind]) == (entry.size, entry.hash):
                    return hashes["sha256"]
        return ""

    def holds(self, path: Path, size: int, sha256: str) -> bool:
        with contextlib.suppress(OSError, Problem):
            if lies_below(str(path), str(self.target)) and path.lstat().st_size == size:
                return digest_file(path, "sha256") == (size, {"sha256": sha256})
        return False

    def room_for(self, size: int) -> bool:
        if self.quota and self.used + size > self.quota:
            self.full = "the job's quota"
        elif shutil.disk_usage(self.target).free - size < self.min_free:
            self.full = "the disk (but for what must stay free)"
        else:
            self.used += size
            return True
        self.count["no room"] += 1
        if self.count["no room"] == 1:
            self.fail(Problem(f"{self.full} is used up, files wait"))
        return False

    # --- deleting
    def move(self, entries: list[Entry]) -> None:
        if not entries:
            return
        try:
            backups = Backups(Path(self.config["backup_config"]))
            with backups.lock():
                for entry in entries:
                    try:
                        self.let_go(entry, backups)
                    except (Problem, OSError) as problem:
                        self.fail(problem)
            for trouble in backups.troubles:
                self.say(f"warning: {trouble}")
        except (Problem, OSError, ValueError) as problem:
            self.say(f"nothing is deleted: {problem}")
            for entry in entries:
                self.wait(self.row(entry))

    def let_go(self, entry: Entry, backups: Backups) -> None:
        """Delete one cloud file if, and only if, local copy, backup and remote all agree now."""
        row, copies = self.row(entry), int(self.body.get("copies", 1))
        if backups.may_hold(row.local, row.copied) < copies:
            self.wait(row)
            return
        local, guard = Path(row.local), self.guard(entry.path)
        self.restore_from(guard, local)
        if self.same(entry, local) != row.sha256:
            self.journal.put(self.name, entry.path, Row(row.identity, row.seen))
            raise Problem(f"{local} is no longer what was copied from {entry.path}: it is fetched again")
        row.proofs = backups.proofs(row, entry.size, copies)
        self.journal.put(self.name, entry.path, row)
        if len(row.proofs) < copies:
            self.wait(row)
            return
        now = self.rclone.look(self.remote, entry)
        if now is None and row.state == "deleting":
            self.conclude(entry, row, again=True)
            return
        if now is None or not agree(now, entry):
            self.count["changed"] += 1
            self.say(f"{entry.path} is left alone: the remote has changed it meanwhile")
            return
        sync_file(local)  # it may have been there before, or its folder's entry not be on the disk yet
        sync_folder(local.parent)
        row.state = "deleting"
        guard.unlink(missing_ok=True)
        try:
            os.link(local, guard)  # should the remote be this very folder, the content outlives the deletion
        except OSError as error:
            raise Problem(f"{entry.path} is never deleted: {self.target} has no hard links ({error})") from error
        self.journal.put(self.name, entry.path, row)
        self.rclone.call("deletefile", "--retries", "1", f"{self.remote}:{entry.path}")
        self.conclude(entry, row, again=False)

    def conclude(self, entry: Entry, row: Row, again: bool) -> None:
        """Find out whether a deletion took place, as answers get lost and runs get killed, and note it."""
        now = self.rclone.look(self.remote, entry)
        self.restore_from(self.guard(entry.path), Path(row.local))
        if now is not None and agree(now, entry):
            # the remote may still be at it, so what was begun stays noted until the file is gone
            raise Problem(f"Unable to delete {self.remote}:{entry.path}: it is still there")
        size, modtime, _number, kind, value = row.identity
        line = {
            "job": self.name, "remote": self.remote, "path": entry.path, "size": size, "modtime": modtime,
            kind: value, "sha256": row.sha256, "local": row.local, "copied": row.copied,
            "backups": [{key: proof[key] for key in ("repository", "snapshot")} for proof in row.proofs],
            "deletion": f"{self.name}/{entry.path}/{row.copied}",
        }  # fmt: skip
        self.manifest.add({"time": time.time(), **line}, again)
        row.state = "deleted"
        self.journal.put(self.name, entry.path, row)
        self.guard(entry.path).unlink(missing_ok=True)
        self.count["deleted"] += 1
        self.say(f"{entry.path} is deleted in the cloud; it is {row.local}, and in {len(row.proofs)} backup(s)")

    def guard(self, path: str) -> Path:
        return self.staging / f"{self.prefix}{uuid.uuid5(uuid.NAMESPACE_URL, path).hex}.guard"

    def restore_from(self, guard: Path, local: Path) -> None:
        if guard.exists() and not os.path.lexists(local):
            place(guard, local)
            raise Problem(f"{self.remote} deletes in {self.target} itself: {local} was put back. Correct the job")

    def wait(self, row: Row) -> None:
        self.count["waiting"] += 1
        self.waiting_since = min(self.waiting_since or row.copied, row.copied)

    def recover(self) -> None:
        """Finish deletions that were under way when a run was killed; remove its unfinished copies."""
        for path, row in self.journal.in_state(self.name, "deleting"):
            size, modtime, number, kind, value = row.identity
            entry = Entry(path, path, size, modtime, number, "", kind, value)
            try:
                self.conclude(entry, row, again=True)
            except Problem as problem:
                self.say(f"after an interruption: {problem}")
        for left in self.staging.glob(f"{self.prefix}*.part*"):
            left.unlink(missing_ok=True)
        under_way = {self.guard(path).name for path, _row in self.journal.in_state(self.name, "deleting")}
        for left in self.staging.glob(f"{self.prefix}*.guard"):
            if left.name in under_way:
                continue
            if left.stat().st_nlink > 1:
                left.unlink()
            else:  # never the last name of a content
                self.say(f"{left} is the only copy of a file that was moved, and then removed here: look at it")


class Runner:
    """Configuration, state and the lock around every run."""

    def __init__(self) -> None:
        if not CONFIG.exists():
            raise Problem(f"there is no configuration {CONFIG}")
        self.config: dict[str, Any] = json.loads(CONFIG.read_text(encoding="utf-8"))
        self.journal = Journal(Path(self.config["state_dir"]) / "journal.sqlite")

    def select(self, names: list[str]) -> list[dict[str, Any]]:
        known = {job["name"]: job for job in self.config["jobs"]}
        if unknown := sorted(set(names) - set(known)):
            raise Problem(f"Unknown job {', '.join(unknown)}; there are: {', '.join(sorted(known)) or 'none'}")
        return [known[name] for name in names or known]

    def due(self, now: float) -> list[dict[str, Any]]:
        def ready(job: dict[str, Any]) -> bool:
            return bool(now - self.journal.job(job["name"]).get("success", 0) >= PERIODS[job["schedule"]] - SLACK)

        return [job for job in self.config["jobs"] if ready(job)]

    def run(self, jobs: list[dict[str, Any]]) -> int:
        worst = 0
        for body in jobs:
            worst = max(worst, self.one(body))
        return worst

    def one(self, body: dict[str, Any]) -> int:
        started, job = time.time(), None
        state = {"declared": started, **self.journal.job(body["name"])}
        try:
            job = Job(body, self.config, self.journal)
            job.run()
        except (Problem, OSError, sqlite3.Error, ValueError, KeyError) as problem:
            text = str(problem) if isinstance(problem, Problem) else f"{type(problem).__name__}: {problem}"
            if job is None:
                print(f"{body['name']}: {text}", file=sys.stderr)
            else:
                job.fail(Problem(text))
        good = job is not None and not job.failures
        if job is not None:
            count = job.count
            for key in ("copied", "bytes", "deleted"):
                state[f"total_{key}"] = state.get(f"total_{key}", 0) + count[key]
            state.update(waiting=count["waiting"], since=job.waiting_since, failed=len(job.failures),
                         kept=count["keep"], full=int(bool(job.full)))  # fmt: skip
            state["scan"] = bool(self.journal.job(body["name"]).get("scan"))
            words = ("copied", "known", "deleted", "waiting", "wait", "keep", "leave", "no room")
            job.say(", ".join(f"{count[word]} {word}" for word in words if count[word]) or "nothing to do")
        state.update(ok=int(good), seconds=time.time() - started, **({"success": started} if good else {}))
        self.scan(body, state)
        self.journal.put_job(body["name"], state)
        states = {one["name"]: (one, self.journal.job(one["name"])) for one in self.config["jobs"]}
        write(Path(self.config["metrics_file"]), metrics(states))
        return 0 if good else 1

    def scan(self, body: dict[str, Any], state: dict[str, Any]) -> None:
        if not (state.get("scan") and body.get("library") and self.config.get("immich")):
            return
        try:
            scan_library(self.config, body["library"])
            state["scan"] = False
        except (Problem, OSError, ValueError, KeyError, TypeError, HTTPException) as problem:
            print(f"{body['name']}: warning: Immich was not told to scan {body['library']}: {problem}", flush=True)

    def plan(self, jobs: list[dict[str, Any]]) -> int:
        for body in jobs:
            job = Job(body, self.config, self.journal)
            job.prepare(changes=False)
            entries = job.listing(note=False)
            for entry in entries:
                action, reason = job.decide(entry, entries)
                if reason == UNSETTLED:
                    action, reason = "copy", "once a second look finds it unchanged"
                if action == "move":
                    reason = f"deleted in the cloud once {job.row(entry).local} is in a checked backup"
                job.say(f"{action:<5} {entry.path}  {reason}".rstrip())
        return 0

    def status(self) -> int:
        for body in self.config["jobs"]:
            state = self.journal.job(body["name"])
            success = state.get("success")
            when = time.strftime("%Y-%m-%d %H:%M", time.localtime(success)) if success else "never"
            bad = "" if state.get("ok", 1) else "  LAST RUN FAILED"
            counts = f"{state.get('waiting', 0)} wait for a checked backup, {state.get('total_deleted', 0)} moved"
            print(f"{body['name']:<24} {body['schedule']:<8} last success {when}  {counts}{bad}")
        return 0


def main(arguments: list[str]) -> int:
    verb, names = (arguments[0] if arguments else ""), arguments[1:]
    if verb not in ("due", "run", "plan", "status") or (names and verb in ("due", "status")):
        print(__doc__, file=sys.stderr)
        return 2
    try:
        runner = Runner()
        if verb == "status":
            return runner.status()
        if verb == "plan":
            return runner.plan(runner.select(names))
        with Lock(Path(runner.config["lock_file"]), "another run is under way"):
            return runner.run(runner.due(time.time()) if verb == "due" else runner.select(names))
    except (Problem, sqlite3.Error) as problem:
        print(problem, file=sys.stderr)
        return 1


if __name__ == "__main__":
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(encoding="utf-8", errors="backslashreplace")  # type: ignore[union-attr]
    sys.exit(main(sys.argv[1:]))
