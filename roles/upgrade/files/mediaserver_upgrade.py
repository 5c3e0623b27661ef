# SPDX-License-Identifier: MIT
"""Upgrade a service of this host, with a way back.

    mediaserver-upgrade run SERVICE...      what lies prepared in the folder .next beside the services
    mediaserver-upgrade recover             finish or take back what was interrupted (also at boot)
    mediaserver-upgrade status              what was upgraded when, and where the old data lie
    mediaserver-upgrade forget SERVICE...   remove the old states that upgrades kept

The new images are pulled and the room is measured while the service runs. Then it stops, its data are copied beside
their place, and renames exchange old and new: the new images run on the copies, the old data are touched by nobody.
When the new state is not healthy in time, or does not answer, the renames go back. A journal says how far it came; an
interrupted upgrade is taken back by the next call, or finished if it had proved itself. What is not used any more stays
as NAME.before-TIME (after a failure: NAME.failed-TIME) until the next successful upgrade of the service.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mediaserver_disk
import mediaserver_upgrade_data as data
import mediaserver_upgrade_database as database
from mediaserver_restic import Problem
from mediaserver_upgrade_docker import Project

ROOT = Path(os.environ.get("MEDIASERVER_UPGRADE_ROOT", "/opt/mediaserver/services"))
STATE = Path(os.environ.get("MEDIASERVER_UPGRADE_STATE", "/var/lib/mediaserver/upgrade"))
LOCKS = Path(os.environ.get("MEDIASERVER_UPGRADE_LOCKS", "/run"))
LOCK_FILES = ("mediaserver-backup.lock", "lock/mediaserver-tree-services.lock", "lock/mediaserver-projects.lock")
LOCK_PATIENCE = 900
OVER = ("upgraded", "returned")


class Journal:
    """How far a service's upgrade came, on the disk before the next step begins."""

    def __init__(self, service: str) -> None:
        self.path = STATE / f"{service}.json"
        self.now: dict[str, Any] = {}
        with contextlib.suppress(FileNotFoundError):
            self.now = json.loads(self.path.read_text())

    @property
    def open(self) -> bool:
        return bool(self.now) and self.now["state"] not in OVER

    def write(self, **changes: Any) -> None:
        self.now.update(changes)
        mediaserver_disk.write_durably(self.path, json.dumps(self.now, indent=2) + "\n")


class Upgrade:
    """One service, from its journal."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self.request: dict[str, Any] = journal.now["request"]
        self.service: str = self.request["service"]
        self.stamp: str = journal.now["stamp"]
        self.project = Project(self.request)
        self.volumes = [data.Volume(Path(one["path"]), self.stamp, one["how"], one.get("snapshot", ""))
                        for one in journal.now["volumes"]]  # fmt: skip
        home = Path(self.request["directory"])
        self.folder = data.Folder(home, ROOT / ".next" / self.service, ROOT / ".before" / f"{home.name}-{self.stamp}",
                                  ROOT / ".failed" / f"{home.name}-{self.stamp}")  # fmt: skip

    def forward(self) -> None:
        """Until the new state has proved itself. A Problem leaves the way back open."""
        databases = database.moving(self.request, self.volumes)
        if databases:
            database.dump(self.project, databases, self.journal)
        self.project.stop()
        data.save_all(self.volumes)
        os.sync()
        self.journal.write(state="switching")
        for volume in self.volumes:
            volume.exchange()
        self.folder.exchange()  # last: never do new images meet the old data
        os.sync()
        self.journal.write(state="trying")
        if databases:
            database.load(self.project, databases, self.journal)
            self.carry_marker()
        self.project.start()
        self.project.smoke()
        os.sync()
        self.journal.write(state="verified")

    def carry_marker(self) -> None:
        """The mark of a finished set-up may lie in the folder of a database that was made anew."""
        marker = self.request.get("marker")
        for volume in self.volumes:
            if marker and volume.how == "reload" and Path(marker).is_relative_to(volume.path):
                data.copy_file(volume.before / Path(marker).relative_to(volume.path), Path(marker))

    def finish(self) -> None:
        """Only now older states go; the one before this upgrade stays."""
        kept = [*dict.fromkeys(volume.kept for volume in self.volumes), str(self.folder.before)]
        forget(self.journal.now.get("old", []))
        data.remove(ROOT / ".next" / f"{self.service}.json")
        for volume in self.volumes:
            volume.tidy()
        self.journal.write(state="upgraded", old=kept, seconds=self.seconds())

    def back(self, reason: str) -> None:
        """The old images on the old data, whatever the upgrade did meanwhile."""
        if self.journal.now["state"] != "returning":
            self.journal.write(state="returning", reason=reason)
        self.project.stop(patience=20)
        self.folder.back()  # first: never do new images meet the old data
        for volume in self.volumes:
            volume.back()
        os.sync()
        failed = [str(path) for path in (*(volume.failed for volume in self.volumes), self.folder.failed)
                  if os.path.lexists(path)]  # fmt: skip
        for volume in self.volumes:
            volume.tidy()
        try:
            self.project.start()
        except Problem as problem:  # the old state is in place; that it does not run must be said, not hidden
            self.journal.write(reason=f"{self.journal.now['reason']}. And the old state does not start: {problem}")
        snapshots = sorted({volume.snapshot for volume in self.volumes} - {""})
        old = [*self.journal.now.get("old", []), *failed, *snapshots]
        self.journal.write(state="returned", old=old, failed=failed, seconds=self.seconds())

    def seconds(self) -> float:
        return round(time.time() - self.journal.now["began"], 1)


def prepare(service: str, journal: Journal) -> Upgrade:
    """What can be found out and done while the service runs on."""
    wanted = ROOT / ".next" / f"{service}.json"
    try:
        request: dict[str, Any] = json.loads(wanted.read_text())
    except FileNotFoundError:
        raise Problem(f"Unable to upgrade {service}: nothing is prepared in {wanted}. Run: make upgrade") from None
    staged = ROOT / ".next" / service
    if not (staged / "compose.yaml").is_file():
        raise Problem(f"Unable to upgrade {service}: {staged} holds no compose.yaml. Run: make upgrade")
    Project(request).pull(staged)
    request["databases"] = database.versions(request)
    volumes = data.plan(request, ROOT.parent)
    stamp = free_stamp(volumes, Path(request["directory"]))
    for one in volumes:
        if one["how"] == "snapshot":
            one["snapshot"] = f"{one['snapshot']}@mediaserver-upgrade-{service}-{stamp}"
    journal.now = {"service": service, "old": journal.now.get("old", [])}
    journal.write(state="preparing", began=time.time(), stamp=stamp, request=request, volumes=volumes)
    return Upgrade(journal)


def free_stamp(volumes: list[dict[str, Any]], home: Path) -> str:
    """A time by which nothing is called yet, whatever the clock does."""
    while True:
        stamp = time.strftime("%Y%m%d-%H%M%S")
        taken = [data.Volume(Path(one["path"]), stamp, one["how"]) for one in volumes]
        paths = [path for one in taken for path in (one.before, one.failed)]
        paths += [ROOT / kind / f"{home.name}-{stamp}" for kind in (".before", ".failed")]
        if not any(os.path.lexists(path) for path in paths):
            return stamp
        time.sleep(1)


def run(service: str) -> dict[str, Any]:
    """Upgrade a service; what was interrupted before is settled first."""
    settle(service)
    journal = Journal(service)
    upgrade = prepare(service, journal)
    try:
        upgrade.forward()
    except (Problem, OSError) as problem:
        upgrade.back(str(problem))
    else:
        upgrade.finish()
    return report(journal)


def settle(service: str) -> dict[str, Any] | None:
    """Finish or take back what was interrupted; None where nothing was."""
    journal = Journal(service)
    if not journal.open:
        return None
    upgrade = Upgrade(journal)
    if journal.now["state"] == "verified":
        upgrade.finish()
    else:
        upgrade.back("the upgrade was interrupted")
    return report(journal)


def report(journal: Journal) -> dict[str, Any]:
    now = journal.now
    shown: dict[str, Any] = {key: now[key] for key in ("service", "state", "seconds", "reason", "rows") if key in now}
    return {**shown, "changes": now["request"]["changes"], "kept": now["old"], "at": now["stamp"]}


def forget(old: list[str]) -> None:
    """Remove what earlier upgrades kept."""
    for name in old:
        if name.startswith("/"):
            data.remove(Path(name))
        else:
            data.destroy_snapshot(name)


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Neither a backup nor another run writes meanwhile."""
    with contextlib.ExitStack() as held:
        for name in LOCK_FILES:
            path = LOCKS / name
            path.parent.mkdir(parents=True, exist_ok=True)
            file = held.enter_context(path.open("a", encoding="ascii"))
            path.chmod(0o600)
            wait_for_lock(file, path)
            data.HELD.append(file.fileno())
        yield


def wait_for_lock(file: Any, path: Path) -> None:
    deadline = time.monotonic() + LOCK_PATIENCE
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise Problem(f"Unable to begin: {path} is held by a backup or another run; try again later") from None
            time.sleep(1)


def known() -> list[str]:
    return sorted(path.stem for path in STATE.glob("*.json"))


def show() -> int:
    for service in known():
        now = Journal(service).now
        print(f"{service}: {now['state']} {now['stamp']}; kept: {', '.join(now['old']) or 'nothing'}")
    return 0


def parser() -> argparse.ArgumentParser:
    found = argparse.ArgumentParser(prog="mediaserver-upgrade", description=__doc__,
                                    formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    found.add_argument("verb", choices=["run", "recover", "status", "forget"])
    found.add_argument("services", nargs="*")
    return found


def main(arguments: list[str]) -> int:
    options = parser().parse_args(arguments)
    os.umask(0o077)
    if options.verb == "status":
        return show()
    try:
        with alone():
            return work(options.verb, options.services or (known() if options.verb == "recover" else []))
    except Problem as problem:
        print(problem, file=sys.stderr)
        return 1


def work(verb: str, services: list[str]) -> int:
    failures = 0
    for service in services:
        try:
            if verb == "forget":
                journal = Journal(service)
                if journal.open:
                    raise Problem(f"Unable to forget {service}: its upgrade was interrupted. Run: recover")
                if journal.now:
                    forget(journal.now["old"])
                    journal.write(old=[])
                continue
            done = run(service) if verb == "run" else settle(service)
        except (Problem, OSError) as problem:
            failures += 1
            state = "interrupted" if Journal(service).open else "refused"
            print(json.dumps({"service": service, "state": state, "reason": str(problem)}))
            continue
        if done is not None:
            failures += done["state"] != "upgraded" if verb == "run" else 0
            print(json.dumps(done))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
