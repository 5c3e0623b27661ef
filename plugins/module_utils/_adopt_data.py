# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Folders of a service that is stopped: verified copies, owners, and the way back. Every function may be run again."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

from ansible_collections.homelab.mediaserver.plugins.module_utils import _disk
from ansible_collections.homelab.mediaserver.plugins.module_utils._docker import Tool
from ansible_collections.homelab.mediaserver.plugins.module_utils._reconcile import Failure

COPY = ("cp", "--archive", "--reflink=auto")
COPY_LIMIT = 24 * 3600
"""Seconds that one copy may take."""
ASIDE = ".after-adopt-"
RESERVE = 64 * 2**20
"""Bytes that stay free beside the copies."""


def aside_name(stamp: str) -> str:
    """Where the new one's files go within a mount when the old ones come back. Such folders are nobody's data."""
    return f"{ASIDE}{stamp}"


def children(path: Path) -> list[Path]:
    """What lies in a folder, but for what earlier returns put aside."""
    return sorted(one for one in path.iterdir() if not one.name.startswith(ASIDE))


def entries(path: Path) -> Iterator[tuple[str, Path, os.stat_result]]:
    """Everything below a folder and the folder itself, by relative name, in a fixed order; links are not followed."""
    yield ".", path, path.lstat()
    for folder, names, files in os.walk(path):
        names[:] = sorted(name for name in names if not (Path(folder) == path and name.startswith(ASIDE)))
        for name in sorted([*files, *names]):
            one = Path(folder, name)
            yield str(one.relative_to(path)), one, one.lstat()


def digest(path: Path) -> str:
    """Of names, types, owners, modes, link targets and contents. Two folders are equal when this is."""
    total = hashlib.sha256()
    for name, one, info in entries(path):
        kind = stat.S_IFMT(info.st_mode)
        total.update(
            f"{name}\0{kind}\0{info.st_mode & 0o7777}\0{info.st_uid}\0{info.st_gid}\0".encode(
                "utf-8", "surrogateescape"
            )
        )
        if stat.S_ISREG(info.st_mode):
            with one.open("rb") as file:
                total.update(hashlib.file_digest(file, "sha256").digest())
        elif stat.S_ISLNK(info.st_mode):
            total.update(os.fsencode(one.readlink()))
    return total.hexdigest()


def size(path: Path) -> int:
    """Bytes on the disk, without what earlier returns put aside."""
    return _disk.size(one for _name, one, _info in entries(path))


def copy_place(path: Path, stamp: str, folder: Path) -> Path:
    """Where the copy of a folder lies: beside it, so that the way back is a rename; a mount's own in our folder."""
    if os.path.ismount(path):
        return folder / "data" / str(path).strip("/").replace("/", "-")
    return path.with_name(f"{path.name}.before-adopt-{stamp}")


def check_room(paths: list[Path], stamp: str, folder: Path) -> None:
    """All copies must fit before the first service is stopped."""
    wanted: dict[int, tuple[Path, int]] = {}
    for path in paths:
        place = copy_place(path, stamp, folder).parent
        while not place.exists():
            place = place.parent
        # a mount's copy lies elsewhere, and comes back beside what the new one wrote
        for where in [place, path] if os.path.ismount(path) else [place]:
            known = wanted.get(where.stat().st_dev, (where, 0))
            wanted[where.stat().st_dev] = (known[0], known[1] + size(path))
    for place, total in wanted.values():
        free = shutil.disk_usage(place).free
        if total + RESERVE > free:
            raise Failure(
                f"Unable to keep copies on the file system of {place}: they need {total // 2**20} MiB, "
                f"{free // 2**20} MiB are free, of which {RESERVE // 2**20} MiB stay so. Nothing was touched. "
                "Make room there"
            )


def make_copy(tool: Tool, path: Path, place: Path) -> None:
    """A verified copy at ``place``; one that is there was verified before it got its name."""
    if place.exists():
        return
    staged = place.with_name(f".adopting-{place.name}")
    if staged.exists():
        shutil.rmtree(staged)
    staged.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    copy_children(tool, path, staged)
    if digest(path) != digest(staged):
        shutil.rmtree(staged)
        raise Failure(f"Unable to copy {path}: the copy differs from it; does something still write there?")
    os.sync()
    staged.rename(place)


def copy_children(tool: Tool, source: Path, target: Path) -> None:
    """All of a folder, its own owner and mode too."""
    target.mkdir(mode=0o700, exist_ok=True)
    found = [str(one) for one in children(source)]
    if found:
        argv = [*COPY, f"--target-directory={target}", "--", *found]
        tool.run(argv, f"copy {source} to {target}", COPY_LIMIT)
    info = source.stat()
    os.chown(target, info.st_uid, info.st_gid)
    shutil.copystat(source, target)


def put_back(tool: Tool, path: Path, place: Path, stamp: str) -> str:
    """The copy becomes the folder again; what was there is kept under the returned name."""
    if os.path.ismount(path):
        return put_back_below(tool, path, place, stamp)
    aside = path.with_name(f"{path.name}.after-adopt-{stamp}")
    if place.exists():
        if path.exists() and not aside.exists():
            path.rename(aside)
        place.rename(path)
    return str(aside)


def put_back_below(tool: Tool, mount: Path, place: Path, stamp: str) -> str:
    """As put_back, for a folder that is a mount and so cannot be renamed. The copy itself stays where it is."""
    aside = mount / aside_name(stamp)
    done = aside / ".put-back"
    if not done.exists():
        aside.mkdir(mode=0o700, exist_ok=True)
        inside = {one.name for one in aside.iterdir()}
        for one in children(mount):
            if one.name in inside:  # put back by a run that was killed
                shutil.rmtree(one) if one.is_dir() and not one.is_symlink() else one.unlink()
            else:
                one.rename(aside / one.name)
        copy_children(tool, place, mount)
        if digest(place) != digest(mount):
            raise Failure(f"Unable to put {place} back to {mount}: what came back differs from it")
        done.touch()
    return str(aside)


def give(path: Path, owner: str, note: Path) -> int:
    """All of a folder to ``owner`` (``uid:gid``); ``note`` keeps whose it was. Number of entries that changed."""
    uid, _colon, gid = owner.partition(":")
    wanted = (int(uid), int(gid))
    others = [(name, i.st_uid, i.st_gid) for name, _one, i in entries(path) if (i.st_uid, i.st_gid) != wanted]
    if not others:
        return 0
    known: dict[str, list[int]] = json.loads(note.read_text()) if note.exists() else {}
    for name, one, two in others:
        known.setdefault(name, [one, two])
    write_json(note, known)
    for name, _uid, _gid in others:
        os.lchown(path / name, *wanted)
    return len(others)


def give_back(path: Path, note: Path) -> None:
    """Undo :func:`give`; what came later keeps its owner."""
    if not note.exists():
        return
    for name, (uid, gid) in json.loads(note.read_text()).items():
        if os.path.lexists(path / name):
            os.lchown(path / name, uid, gid)


def write_json(path: Path, value: object) -> None:
    """Whole or not at all, on the disk when this returns, readable by root only."""
    _disk.write_durably(path, json.dumps(value, indent=1, sort_keys=True))
