# SPDX-License-Identifier: MIT
"""The rebuild's part that real restic cannot show without Docker: databases, units, and what counts as empty."""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

FOLDER = Path(__file__).resolve().parents[3] / "roles/backup/files"
STAMP = "20261126-060000"
ASIDE = "app_before_20261126_060000"


@pytest.fixture
def rebuilding(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module("mediaserver_rebuild")


class World:
    """A service with a PostgreSQL database. ``rows``: tables of each database; all commands are noted."""

    def __init__(self, rebuilding: ModuleType, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.rows: dict[str, dict[str, int]] = {}
        self.told: list[tuple[str, str]] = []
        self.running = False
        job = {"name": "app-main", "service": "app", "unit": "app.service", "directory": "/srv/app"}
        database = {"kind": "postgresql", "container": "database", "name": "app", "user": "postgres"}

        def feed(what: str, _argv: list[str], text: str = "") -> None:
            self.told.append((what, text))

        restore = importlib.import_module("mediaserver_restore")
        for module in (rebuilding, restore):
            monkeypatch.setattr(module, "feed", feed)
            monkeypatch.setattr(module, "container_id", lambda _project, _service: "0123")
        manifest = rebuilding.mediaserver_manifest
        monkeypatch.setattr(manifest, "of_postgresql", lambda _container, _user, name: self.rows.get(name, {}))
        monkeypatch.setattr(rebuilding, "active", lambda _unit: self.running)
        runner = argparse.Namespace(path=folder / "state.json")
        self.one = rebuilding.Rebuild(runner, None, [{**job, "database": database}], {}, STAMP)


@pytest.fixture
def world(rebuilding: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    return World(rebuilding, tmp_path, monkeypatch)


def test_a_database_is_asked_whether_it_holds_anything(world: World) -> None:
    assert world.one.holding() == []
    assert world.told == [("start database", "")], "only a running database can say"
    world.rows["app"] = {"public.assets": 0}
    assert world.one.holding() == ["database app"], "an empty table was made by somebody"


def test_the_empty_database_goes_and_a_full_one_is_kept(world: World) -> None:
    world.one.kept = [f"database {ASIDE}"]
    world.rows = {ASIDE: {"public.assets": 3}}
    world.one.sweep()
    assert world.told == [] and world.one.kept == [f"database {ASIDE}"]
    world.rows = {}
    world.one.sweep()
    assert world.told == [(f"drop the empty database {ASIDE}", f'DROP DATABASE "{ASIDE}";')]
    assert world.one.kept == []


def test_a_service_is_stopped_where_it_runs_and_left_to_the_build_to_start(world: World) -> None:
    for verb in ("stop", "start"):
        world.one.systemctl(verb)
    assert world.told == []
    world.running = True
    for verb in ("stop", "start"):
        world.one.systemctl(verb)
    assert world.told == [("stop app.service", "")]


def test_folders_without_files_are_empty(rebuilding: ModuleType, tmp_path: Path) -> None:
    place = tmp_path / "place"
    assert not rebuilding.holds_files(place)
    (place / "thumbs/deep").mkdir(parents=True)
    assert not rebuilding.holds_files(place)
    link = place / "thumbs/link"
    link.symlink_to("/nowhere")
    assert rebuilding.holds_files(place), "a link is something"
    link.unlink()
    (place / "thumbs/deep/.hidden").touch()
    assert rebuilding.holds_files(place)
    with pytest.raises(OSError, match="Not a directory"):
        rebuilding.remove_folders(place)
    assert (place / "thumbs/deep/.hidden").exists()


def test_an_old_folder_goes_only_when_it_is_empty(world: World, tmp_path: Path) -> None:
    world.one.postgresql = []
    full, empty = tmp_path / "a.before", tmp_path / "b.before"
    for folder in (full, empty):
        (folder / "deep").mkdir(parents=True)
    (full / "deep/file").write_text("mine")
    world.one.swapped = [(tmp_path / "a", full), (tmp_path / "b", empty)]
    world.one.sweep()
    assert (full / "deep/file").read_text() == "mine" and not empty.exists()
    assert world.one.swapped == [(tmp_path / "a", full), (tmp_path / "b", None)]


def test_all_is_looked_at_before_anything_is_touched(rebuilding: ModuleType) -> None:
    def one(*names: str) -> Any:
        return argparse.Namespace(holding=lambda: list(names))

    work = {"a": one(), "b": one("/srv/b", "database b"), "c": one("/srv/c")}
    with pytest.raises(rebuilding.Problem, match=r"b: /srv/b, database b; c: /srv/c\. Nothing was touched"):
        rebuilding.refuse_what_holds(work, {})
    rebuilding.refuse_what_holds(work, {"b": "away", "c": "away"})  # what this rebuild began is its own
