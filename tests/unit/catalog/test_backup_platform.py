# SPDX-License-Identifier: MIT
"""mediaserver-backup without what only Linux has. The lock of Windows is a stand-in here; nothing of this ran there."""

from __future__ import annotations

import builtins
import importlib
import os
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

FILES = Path(__file__).resolve().parents[3] / "roles/backup/files"
ON_LINUX_ONLY = ("fcntl", "pwd", "grp", "resource", "termios")
PARTS = ("platform", "restic", "jobs", "runner", "metrics", "snapshots", "drill", "restore", "backup")


def forget() -> None:
    for name in [name for name in sys.modules if name.startswith("mediaserver_")]:
        del sys.modules[name]


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], ModuleType]]:
    monkeypatch.setattr("sys.dont_write_bytecode", True)
    monkeypatch.syspath_prepend(str(FILES))
    forget()
    yield lambda name: importlib.import_module(f"mediaserver_{name}")
    forget()


class Msvcrt(ModuleType):
    """Locks of one byte, as Windows has them."""

    LK_NBLCK = 2

    def __init__(self) -> None:
        super().__init__("msvcrt")
        self.free = threading.Lock()

    def locking(self, _handle: int, _mode: int, _length: int) -> None:
        if not self.free.acquire(blocking=False):
            raise OSError("locked")


@pytest.fixture
def windows(monkeypatch: pytest.MonkeyPatch) -> Msvcrt:
    real, locks = builtins.__import__, Msvcrt()

    def without(name: str, *arguments: Any, **more: Any) -> Any:
        if name in ON_LINUX_ONLY:
            raise ImportError(name)
        return real(name, *arguments, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    monkeypatch.setitem(sys.modules, "msvcrt", locks)
    monkeypatch.delattr(os, "chown")
    for name in ON_LINUX_ONLY:
        monkeypatch.delitem(sys.modules, name, raising=False)
    return locks


def test_every_part_loads_without_what_only_linux_has(load: Any, windows: Msvcrt, tmp_path: Path) -> None:
    for part in PARTS:
        load(part)
    load("platform").give_to(tmp_path, 1, 1)


def test_who_comes_second_waits(load: Any, windows: Msvcrt, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runner, platform = load("runner"), load("platform")
    waited: list[float] = []

    def sleep(seconds: float) -> None:
        waited.append(seconds)
        windows.free.release()  # the first one ends

    monkeypatch.setattr(platform.time, "sleep", sleep)
    config = SimpleNamespace(config={"lock_file": str(tmp_path / "lock")})
    with runner.alone(config), runner.alone(config):
        assert waited == [platform.TRY_AGAIN]


@pytest.mark.parametrize(
    ("path", "inside"),
    [
        ("D:\\Films\\a b.mkv", "/D/Films/a b.mkv"),
        ("d:/Films", "/D/Films"),
        ("C:\\", "/C"),
        ("/mnt/media/a", "/mnt/media/a"),
    ],
)
def test_a_drive_is_a_folder_in_a_snapshot(load: Any, path: str, inside: str) -> None:
    platform = load("platform")
    assert platform.in_snapshot(path) == inside
    if inside.startswith("/mnt"):
        assert platform.on_disk(inside, windows=True) == inside
    else:
        assert platform.in_snapshot(platform.on_disk(inside, windows=True)) == inside
    assert platform.on_disk(inside, windows=False) == inside


def test_a_repository_on_a_drive_is_no_copy_elsewhere(load: Any) -> None:
    is_local = load("platform").is_local
    assert is_local("C:/Backups/minipc") and is_local("C:\\Backups") and is_local("/mnt/backups")
    assert not is_local("s3:https://s3.example.org/bucket") and not is_local("b2:bucket:folder")


def test_restic_is_where_the_configuration_says(load: Any) -> None:
    restic = load("restic").Restic({"restic": "C:\\choco\\restic.exe"}, {"name": "local", "path": "C:/Backups"})
    assert restic.command("check")[0] == "C:\\choco\\restic.exe"
    assert load("restic").Restic({}, {"name": "local", "path": "/mnt"}).command("check")[0] == "restic"
