# SPDX-License-Identifier: MIT
"""A service's folders during its upgrade: copies, renames, snapshots, room. Every step can be done twice.

How a volume is kept: `copy` (the new state works on a copy, the original stays aside), `snapshot` (ZFS keeps the old
state; only a return copies), `reload` (a database whose files the new version cannot read: dumped and loaded anew),
`mark` (too big to copy, but on a dataset of this machine: a snapshot is made and named, nothing comes back by itself).
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mediaserver_disk
from mediaserver_restic import Problem, assert_mounted, last_words

SLACK = 64 * 2**20
BLOCK = 2**20
COPY_PATIENCE = 12 * 3600
HELD: list[int] = []
"""The lock files' descriptors, for commands that may outlive this program."""
ENVIRONMENT = {"LC_ALL": "C.UTF-8", "COMPOSE_PROGRESS": "quiet", "COMPOSE_ANSI": "never", "COMPOSE_MENU": "false"}


@dataclass(frozen=True)
class Folder:
    """The project's folder: home, what comes, and where the old and the failed one go."""

    home: Path
    staged: Path
    before: Path
    failed: Path

    def exchange(self) -> None:
        exchange(self.home, self.staged, self.before)

    def back(self) -> None:
        give_back(self.home, self.before, self.failed)


@dataclass(frozen=True)
class Volume:
    """A folder with data."""

    path: Path
    stamp: str
    how: str
    snapshot: str = ""

    @property
    def staged(self) -> Path:
        return self.path.with_name(f".upgrading-{self.path.name}")

    def dumped(self, database: str) -> Path:
        return self.path.with_name(f".upgrading-{self.path.name}.{database}.sql")

    def tidy(self) -> None:
        """What was only on the way: a copy that was not taken, dumps that were loaded."""
        remove(self.staged, *self.path.parent.glob(f".upgrading-{self.path.name}.*.sql"))

    @property
    def before(self) -> Path:
        return self.path.with_name(f"{self.path.name}.before-{self.stamp}")

    @property
    def failed(self) -> Path:
        return self.path.with_name(f"{self.path.name}.failed-{self.stamp}")

    @property
    def kept(self) -> str:
        """Where the old data lie after a success."""
        return self.snapshot or str(self.before)

    def save(self) -> None:
        """While nobody writes: what the new state will work on. Snapshots are made by :func:`save_all`."""
        if self.snapshot:
            return
        remove(self.staged)
        if self.how == "copy":
            copy(self.path, self.staged)
        else:
            info = self.path.stat()
            self.staged.mkdir(mode=0o700)
            os.chown(self.staged, info.st_uid, info.st_gid)
            self.staged.chmod(info.st_mode & 0o7777)

    def exchange(self) -> None:
        if not self.snapshot:
            exchange(self.path, self.staged, self.before)

    def back(self) -> None:
        """The old data in their place; what the new state wrote stays aside."""
        if not self.snapshot:
            give_back(self.path, self.before, self.failed)
        elif self.how == "mark":
            return
        elif not os.path.lexists(self.failed) or not os.path.lexists(self.path):
            source = snapshot_path(self.path, self.snapshot)
            if source is None:
                return  # it never came to the snapshot, so nothing was changed
            if os.path.lexists(self.path):
                remove(self.staged)
                copy(source, self.staged)
                self.path.rename(self.failed)
            self.staged.rename(self.path)


def save_all(volumes: list[Volume]) -> None:
    """While nobody writes. One snapshot for all volumes of a dataset."""
    for name in sorted({volume.snapshot for volume in volumes} - {""}):
        command("zfs", "snapshot", name)
    for volume in volumes:
        volume.save()


def exchange(home: Path, staged: Path, before: Path) -> None:
    before.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    home.rename(before)
    staged.rename(home)


def give_back(home: Path, before: Path, failed: Path) -> None:
    """Nothing where the exchange had not begun."""
    if not os.path.lexists(before):
        return
    if os.path.lexists(home):
        failed.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        home.rename(failed)
    before.rename(home)


def plan(request: dict[str, Any], projects: Path) -> list[dict[str, Any]]:
    """How each volume is kept. A Problem when something cannot be, or when there is no room, before anything stops."""
    reloaded = {one["path"] for one in request["databases"] if one["reload"]}
    found: list[dict[str, Any]] = []
    need: dict[int, int] = defaultdict(int)
    where: dict[int, Path] = {}
    for one in request["volumes"]:
        path = Path(one["path"])
        assert_mounted(one["path"], one.get("mount"))
        if not path.is_dir():
            raise Problem(f"Unable to keep {path}: there is no such folder. Run: make site")
        if os.path.ismount(path):
            raise Problem(f"Unable to keep {path}: it is a mount itself, and cannot be renamed. Use a folder below it")
        dataset = None if one["path"] in reloaded else zfs_dataset(path)
        how = "reload" if one["path"] in reloaded else "snapshot" if dataset else "copy"
        found.append({"path": one["path"], "how": how, **({"snapshot": dataset} if dataset else {})})
        device = path.parent.stat().st_dev
        need[device] += size(path) * (2 if how == "reload" else 1)
        where[device] = path.parent
    for one in request.get("uncopied", []):
        if Path(one["path"]).is_dir() and (dataset := zfs_dataset(Path(one["path"]))):
            found.append({"path": one["path"], "how": "mark", "snapshot": dataset})
    need[projects.stat().st_dev] += 0
    for device, wanted in need.items():
        free = shutil.disk_usage(where.get(device, projects)).free
        if wanted + wanted // 20 + SLACK > free:
            raise Problem(
                f"Unable to keep the data of {request['service']}: {where.get(device, projects)} has {free // 2**20} "
                f"MiB left, a copy wants {(wanted + wanted // 20 + SLACK) // 2**20} MiB. Make room; `mediaserver-"
                f"upgrade forget {request['service']}` removes what earlier upgrades kept. Nothing was touched"
            )
    return found


def size(folder: Path) -> int:
    """Bytes on the disk."""
    return mediaserver_disk.size(Path(where, name) for where, folders, files in os.walk(folder)
                                 for name in (".", *folders, *files))  # fmt: skip


def copy(source: Path, target: Path) -> None:
    """Everything of it, shared blocks where the file system can, and then compared byte by byte."""
    command("cp", "--archive", "--reflink=auto", "--one-file-system", "--no-target-directory", str(source), str(target))
    if difference := unlike(source, target):
        remove(target)
        raise Problem(f"Unable to copy {source}: {difference} is not what was copied")


def unlike(one: Path, other: Path) -> Path | None:
    """The first path in which two trees differ: kind, owner, mode, size, link, content."""
    if not alike(one, other):
        return one
    if one.is_symlink() or not one.is_dir():
        return None
    names = sorted(path.name for path in one.iterdir())
    if names != sorted(path.name for path in other.iterdir()):
        return one
    return next((found for name in names if (found := unlike(one / name, other / name))), None)


def alike(one: Path, other: Path) -> bool:
    first, second = one.lstat(), other.lstat()
    if (first.st_mode, first.st_uid, first.st_gid) != (second.st_mode, second.st_uid, second.st_gid):
        return False
    if one.is_symlink():
        return one.readlink() == other.readlink()
    if not one.is_file():
        return True
    return first.st_size == second.st_size and same_bytes(one, other)


def same_bytes(one: Path, other: Path) -> bool:
    with one.open("rb") as first, other.open("rb") as second:
        while True:
            block = first.read(BLOCK)
            if block != second.read(BLOCK):
                return False
            if not block:
                return True


def zfs_dataset(path: Path) -> str | None:
    """The dataset a folder lies on, where this machine is the one that has it."""
    if shutil.which("zfs") is None:
        return None
    kind, source = command("findmnt", "--noheadings", "--output=FSTYPE,SOURCE", f"--target={path}").split(maxsplit=1)
    return source.strip() if kind == "zfs" else None


def snapshot_path(path: Path, snapshot: str) -> Path | None:
    """Where a folder is found in a snapshot; None when there is no such snapshot."""
    mount = Path(command("findmnt", "--noheadings", "--output=TARGET", f"--target={path.parent}").strip())
    inside = mount / ".zfs" / "snapshot" / snapshot.partition("@")[2] / path.relative_to(mount)
    return inside if inside.is_dir() else None


def destroy_snapshot(name: str) -> None:
    """Only what an upgrade made; one that is gone already is no problem."""
    listed = subprocess.run(["zfs", "list", "-H", "-t", "snapshot", name], capture_output=True, check=False)
    if "@mediaserver-upgrade-" in name and listed.returncode == 0:
        command("zfs", "destroy", name)


def copy_file(source: Path, target: Path) -> None:
    if source.is_file():
        shutil.copy2(source, target)
        info = source.stat()
        os.chown(target, info.st_uid, info.st_gid)


def remove(*paths: Path) -> None:
    for path in paths:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def command(*argv: str) -> str:
    return call(f"{' '.join(argv[:2])} {argv[-1]}", list(argv), COPY_PATIENCE)


def call(what: str, argv: list[str], limit: int) -> str:
    """A command's output. It ends in time and holds our locks, even when this program is killed before it."""
    argv = ["timeout", "--kill-after=10", str(limit), *argv]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, env={**os.environ, **ENVIRONMENT},
                          pass_fds=HELD)  # fmt: skip
    if done.returncode == 124:
        raise Problem(f"Unable to {what}: no end within {limit} seconds")
    if done.returncode:
        raise Problem(f"Unable to {what}: {last_words(done.stderr or done.stdout)}")
    return done.stdout
