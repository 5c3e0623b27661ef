# SPDX-License-Identifier: MIT
"""What an upgrade does to folders: copies are proved, renames lead back from every moment, no room is said before."""

from __future__ import annotations

import importlib
import json
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROLES = Path(__file__).resolve().parents[3] / "roles"
STAMP = "20261126-060000"


@pytest.fixture
def data(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    for role in ("backup", "upgrade"):
        monkeypatch.syspath_prepend(str(ROLES / role / "files"))
    return importlib.import_module("mediaserver_upgrade_data")


@pytest.fixture
def volume(data: ModuleType, tmp_path: Path) -> Any:
    path = tmp_path / "mount" / "config"
    (path / "sub").mkdir(parents=True)
    (path / "note").write_text("old")
    (path / "sub/link").symlink_to("../note")
    (path / "note").chmod(0o640)
    return data.Volume(path, STAMP, "copy")


def test_copy_is_alike_and_the_original_goes_aside(data: ModuleType, volume: Any) -> None:
    volume.save()
    assert data.unlike(volume.path, volume.staged) is None
    inode = (volume.path / "note").stat().st_ino
    volume.exchange()
    assert (volume.before / "note").stat().st_ino == inode, "the new state must not run on the original"


@pytest.mark.parametrize("steps", range(4))
def test_back_from_every_moment(volume: Any, steps: int) -> None:
    """0: nothing saved, 1: saved, 2: the original is aside and nothing in its place, 3: exchanged and written to."""
    if steps:
        volume.save()
    if steps == 2:
        volume.path.rename(volume.before)
    if steps == 3:
        volume.exchange()
        (volume.path / "note").write_text("new")
    for _again in range(2):
        volume.back()
        assert (volume.path / "note").read_text() == "old"
    assert volume.failed.exists() == (steps == 3)
    assert not volume.before.exists()


def test_back_goes_on_after_a_kill_between_its_renames(volume: Any) -> None:
    volume.save()
    volume.exchange()
    volume.path.rename(volume.failed)
    volume.back()
    assert (volume.path / "note").read_text() == "old"


@pytest.mark.parametrize(
    "change",
    [
        lambda copy: (copy / "note").write_text("olx"),
        lambda copy: (copy / "note").chmod(0o600),
        lambda copy: (copy / "more").touch(),
        lambda copy: (copy / "note").unlink(),
        lambda copy: ((copy / "sub/link").unlink(), (copy / "sub/link").symlink_to("elsewhere")),
    ],
)
def test_a_copy_that_differs_is_seen(data: ModuleType, volume: Any, change: Any) -> None:
    volume.save()
    change(volume.staged)
    assert data.unlike(volume.path, volume.staged) is not None


def request_of(path: Path, **more: Any) -> dict[str, Any]:
    return {"service": "app", "volumes": [{"path": str(path), "mount": None, **more}], "databases": []}


def test_no_room_is_said_with_figures(data: ModuleType, volume: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "size", lambda _path: 10 * 2**40)
    with pytest.raises(data.Problem, match=r"MiB left, a copy wants .*forget app.*Nothing was touched"):
        data.plan(request_of(volume.path), volume.path.parent)


def test_room_is_measured_once_per_file(data: ModuleType, volume: Any) -> None:
    (volume.path / "big").write_bytes(os.urandom(100000))
    once = data.size(volume.path)
    assert 100000 <= once < 300000
    os.link(volume.path / "big", volume.path / "sub/big")
    assert data.size(volume.path) == once


def test_a_folder_that_is_not_there_or_not_mounted_is_refused(data: ModuleType, volume: Any) -> None:
    with pytest.raises(data.Problem, match="is not mounted"):
        data.plan(request_of(volume.path, mount=str(volume.path.parent)), volume.path.parent)
    with pytest.raises(data.Problem, match="no such folder"):
        data.plan(request_of(volume.path / "absent"), volume.path.parent)


def test_zfs_keeps_a_snapshot_and_comes_back_from_it(
    data: ModuleType, volume: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`zfs` and `findmnt` are stand-ins that answer as they do; the snapshot is a folder."""
    mount = volume.path.parent
    kept = mount / ".zfs/snapshot" / f"mediaserver-upgrade-app-{STAMP}"
    calls = []
    real = data.command

    def command(*argv: str) -> str:
        calls.append(argv)
        if argv[0] == "zfs":
            real("cp", "-a", str(volume.path), str((kept.mkdir(parents=True), kept / "config")[1]))
            return ""
        if argv[0] == "findmnt":
            return f"{mount}\n" if "--output=TARGET" in argv else "zfs tank/appdata\n"
        return real(*argv)

    monkeypatch.setattr(data, "command", command)
    monkeypatch.setattr(data.shutil, "which", lambda name: f"/sbin/{name}")
    (planned,) = data.plan(request_of(volume.path), mount)
    assert planned == {"path": str(volume.path), "how": "snapshot", "snapshot": "tank/appdata"}
    by_zfs = data.Volume(volume.path, STAMP, "snapshot", f"tank/appdata@mediaserver-upgrade-app-{STAMP}")
    by_zfs.back()
    assert (volume.path / "note").read_text() == "old", "before there is a snapshot nothing was changed"
    data.save_all([by_zfs])
    by_zfs.exchange()
    (volume.path / "note").write_text("new")
    for _again in range(2):
        by_zfs.back()
        assert (volume.path / "note").read_text() == "old"
    assert (by_zfs.failed / "note").read_text() == "new"
    assert by_zfs.kept == f"tank/appdata@mediaserver-upgrade-app-{STAMP}"


def test_zfs_keeps_one_snapshot_of_each_dataset_and_marks_what_is_too_big(
    data: ModuleType, volume: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two volumes on one dataset, and photographs on another: those are named in the report, and never copied back."""
    calls = []

    def command(*argv: str) -> str:
        calls.append(argv)
        if argv[0] == "zfs" and calls.count(argv) > 1:
            raise data.Problem("dataset already exists")
        return f"zfs tank/{'photos' if 'photos' in argv[-1] else 'appdata'}\n" if argv[0] == "findmnt" else ""

    monkeypatch.setattr(data, "command", command)
    monkeypatch.setattr(data.shutil, "which", lambda name: f"/sbin/{name}")
    photos = volume.path.with_name("photos")
    photos.mkdir()
    other = {"path": str(volume.path / "sub"), "mount": None}
    request = {**request_of(volume.path), "uncopied": [{"path": str(photos), "backup": "weekly"}]}
    planned = data.plan({**request, "volumes": [*request["volumes"], other]}, volume.path.parent)
    assert [(one["how"], one["snapshot"]) for one in planned] == [
        ("snapshot", "tank/appdata"), ("snapshot", "tank/appdata"), ("mark", "tank/photos"),
    ]  # fmt: skip
    volumes = [data.Volume(Path(one["path"]), STAMP, one["how"], f"{one['snapshot']}@x") for one in planned]
    data.save_all(volumes)
    assert [argv for argv in calls if argv[0] == "zfs"] == [
        ("zfs", "snapshot", "tank/appdata@x"), ("zfs", "snapshot", "tank/photos@x"),
    ]  # fmt: skip
    (photos / "new").touch()
    volumes[2].exchange()
    volumes[2].back()
    assert (photos / "new").exists() and volumes[2].kept == "tank/photos@x"


def test_what_is_not_copied_and_on_no_dataset_of_ours_is_left_alone(data: ModuleType, volume: Any) -> None:
    request = {**request_of(volume.path), "uncopied": [{"path": str(volume.path / "sub"), "backup": None}]}
    assert [one["path"] for one in data.plan(request, volume.path.parent)] == [str(volume.path)]


def test_the_journal_is_whole_or_old(data: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "state/app.json"
    data.mediaserver_disk.write_durably(target, json.dumps({"state": "preparing"}))
    monkeypatch.setattr(os, "fsync", lambda _descriptor: (_ for _ in ()).throw(OSError("no space")))
    with pytest.raises(OSError, match="no space"):
        data.mediaserver_disk.write_durably(target, json.dumps({"state": "trying"}))
    assert json.loads(target.read_text())["state"] == "preparing"


def test_postgresql_is_known_by_its_own_file(data: ModuleType, tmp_path: Path) -> None:
    database = importlib.import_module("mediaserver_upgrade_database")
    (tmp_path / "pg/PG_VERSION").parent.mkdir()
    (tmp_path / "pg/PG_VERSION").write_text("14\n")

    def versions(major: int | None) -> Any:
        one = {"container": "database", "name": "app", "user": "postgres", "path": str(tmp_path / "pg"), "major": major}
        return database.versions({"service": "app", "databases": [one]})[0]

    assert (versions(14)["reload"], versions(17)["reload"], versions(None)["reload"]) == (False, True, False)
    with pytest.raises(data.Problem, match="is of PostgreSQL 14, the new image is 13"):
        versions(13)
