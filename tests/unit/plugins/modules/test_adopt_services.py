# SPDX-License-Identifier: MIT
"""The take-over against fake commands and real folders: forward, back, killed at every step, check mode."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import threading
from pathlib import Path

import pytest
from ansible.module_utils import basic
from ansible.module_utils.testing import patch_module_args
from ansible_collections.homelab.mediaserver.plugins.module_utils import (
    _adopt_data,
    _adopt_run,
    _compose_run,
    _docker,
    _lock,
)
from ansible_collections.homelab.mediaserver.plugins.modules import adopt_services
from ansible_collections.homelab.mediaserver.tests.unit.fakes import docker_fake

ME = f"{os.getuid()}:{os.getgid()}"


def container(name: str, started: str, restart: str = "always") -> dict:
    return {
        "Id": f"{name}-id",
        "Name": f"/{name}",
        "State": {"Status": "running", "StartedAt": started},
        "HostConfig": {"RestartPolicy": {"Name": restart, "MaximumRetryCount": 3 if restart == "on-failure" else 0}},
    }


class Killed(BaseException):
    """What a killed process does: nothing any more."""


class House:
    """A host with an old application, its database and their folders."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.root, self.monkeypatch, self.capsys = root, monkeypatch, capsys
        self.kept: dict = {}
        self.alone = threading.Lock()
        monkeypatch.setattr(_docker.Tool, "attempt", lambda _tool, argv, _limit=60: self.attempt(list(argv)))
        monkeypatch.setattr(basic.AnsibleModule, "get_bin_path", lambda _module, name, *_more: f"/usr/bin/{name}")
        monkeypatch.setattr(_lock, "FOLDER", root / "lock")
        monkeypatch.setattr(_docker, "WANTS", root / "wants")
        monkeypatch.setattr(_compose_run, "PAUSES", (0, 0))
        for module in (_compose_run, _adopt_run):
            monkeypatch.setattr(module, "POLL", 0.02)
        monkeypatch.setattr(_adopt_run, "SMOKE_SECONDS", 0.1)
        monkeypatch.setattr(_adopt_run, "RETURN_SECONDS", 0.3)
        monkeypatch.setattr(_adopt_data, "RESERVE", 0)
        self.answers: int | str = 200
        monkeypatch.setattr(_adopt_run, "answer", lambda _url: self.answers)
        self.data = root / "mnt" / "config"
        self.data.mkdir(parents=True)
        (self.data / "file").write_text("precious")
        (self.data / "link").symlink_to("file")
        project = root / "services" / "app"
        project.mkdir(parents=True)
        (project / ".env").write_text("MEDIASERVER_DIGEST=d1\nMEDIASERVER_CONTAINERS=main\n")
        units = {"old.service": {"LoadState": "loaded", "ActiveState": "active", "UnitFileState": "enabled"}}
        old = [container("server", "2026-01-02", "on-failure"), container("database", "2026-01-01")]
        self.save(containers=[], networks={}, units=units, behave={}, logs={}, old=old)
        self.first = self.old()

    def save(self, **state: object) -> None:
        self.kept = json.loads(json.dumps({"calls": [], "writes": [], **state}))

    @property
    def state(self) -> dict:
        return self.kept

    def attempt(self, argv: list[str]) -> tuple[int, str, str]:
        """A command: cp is real, docker and systemctl are the fake, in this process for speed."""
        if argv[0] == "cp":
            return subprocess.run(argv, check=False).returncode, "", ""
        target = Path(argv.pop()) if argv[0] == "sh" else None  # a dump: sh -c '...' sh container user name file
        words = ["docker", "exec", argv[4], "pg_dump"] if target else argv
        out, err, code = io.StringIO(), io.StringIO(), 0
        with self.alone, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                docker_fake.serve(self.kept, words[0], words[1:])
            except SystemExit as ended:
                code = int(ended.code or 0)
        if target:
            target.write_text(out.getvalue())
        return code, out.getvalue(), err.getvalue()

    def change(self, **values: object) -> None:
        self.save(**{**self.state, **values, "calls": [], "writes": []})

    def old(self) -> dict[str, tuple[str, str]]:
        return {one["Id"]: (one["State"]["Status"], json.dumps(one["HostConfig"])) for one in self.state["old"]}

    def contents(self) -> dict[str, str]:
        return {one.name: one.read_text() for one in self.data.iterdir()}

    def journals(self) -> list[dict]:
        return [journal for _folder, journal in _adopt_run.journals(self.root / "adopt")]

    def phases(self) -> list[str]:
        return [journal["phase"] for journal in self.journals()]

    def run(self, state: str = "adopted", check: bool = False, **more: object) -> dict:
        request: dict[str, object] = {
            "old": [
                {"id": "server-id", "name": "server", "database": {}},
                {"id": "database-id", "name": "database", "database": {"user": "postgres", "name": "app"}},
            ],
            "data": [{"path": str(self.data), "copy": True, "owner": ME}],
            "smoke": [{"service": "app", "url": "http://127.0.0.1:1/"}],
            "units": ["old.service"],
            "projects": [
                {
                    "name": "app",
                    "directory": str(self.root / "services/app"),
                    "unit": "mediaserver-app.service",
                    "wait": 2,
                }
            ],
        }
        if state != "adopted":
            request = {}
        if check:
            self.monkeypatch.setenv("FAKE_READ_ONLY", "1")
        else:
            self.monkeypatch.delenv("FAKE_READ_ONLY", raising=False)
        basic._ANSIBLE_ARGS = None
        places = {"directory": str(self.root / "adopt"), "root": str(self.root / "services")}
        self.change()
        with (
            patch_module_args({"state": state, **request, **places, **more, "_ansible_check_mode": check}),
            pytest.raises((SystemExit, Killed)) as ended,
        ):
            adopt_services.main()
        if ended.type is Killed:
            return {}
        return json.loads(self.capsys.readouterr().out.strip().splitlines()[-1])

    def running(self) -> list[str]:
        return [one["name"] for one in self.state["containers"]]


@pytest.fixture
def house(tmp_path, monkeypatch, capsys):
    return House(tmp_path, monkeypatch, capsys)


def test_missing_arguments(house):
    assert "id" in house.run(old=[{"name": "x"}])["msg"]


def test_check_take_over_again(house):
    checked = house.run(check=True)
    assert checked["changed"] and house.state["writes"] == [] and not (house.root / "adopt").exists()
    done = house.run()
    assert done["steps"] == checked["steps"]
    assert house.running() == ["app-main-1"] and house.phases() == ["done"]
    assert {state for state, _policy in house.old().values()} == {"exited"}
    assert all('"Name": "no"' in policy for _state, policy in house.old().values())
    assert "systemctl disable old.service" in house.state["writes"]
    assert list((house.root / "adopt").glob("*/dumps/database.sql"))
    for check in (True, False):
        again = house.run(check=check)
        assert not again["changed"] and house.state["writes"] == []


def test_order_of_a_take_over(house):
    house.run()
    writes = house.state["writes"]
    order = [
        "pull app",
        "systemctl disable old.service",
        "stop --time=60 server-id",
        "dump",
        "stop --time=60 database-id",
        "up app",
        "systemctl start mediaserver-app.service",
    ]
    assert [one for one in writes if one in order] == [order[0], *order[1:5], "pull app", *order[5:]]


def test_a_failing_start_brings_the_old_back_with_its_data(house):
    house.change(behave={"app": "unhealthy"})
    real = _adopt_run.Course.start

    def migrates(self: _adopt_run.Course) -> None:
        (house.data / "file").write_text("migrated")
        real(self)

    house.monkeypatch.setattr(_adopt_run.Course, "start", migrates)
    failed = house.run()
    assert "Unable to start project app" in failed["msg"] and "the old set-up runs again as before" in failed["msg"]
    assert house.old() == house.first and house.running() == [] and house.phases() == ["returned"]
    assert house.contents() == {"file": "precious", "link": "precious"}
    aside = next(house.data.parent.glob("config.after-adopt-*"))
    assert (aside / "file").read_text() == "migrated" and str(aside) in failed["msg"]


@pytest.mark.parametrize("answer", [500, "no answer (refused)"])
def test_a_service_that_does_not_answer_is_undone(house, answer):
    house.answers = answer
    assert "Unable to use app" in house.run()["msg"]
    assert house.old() == house.first and house.contents()["file"] == "precious"


@pytest.mark.parametrize("behave", ["short", "row lost"])
def test_a_dump_that_lacks_something_stops_it_before_anything_new_starts(house, behave):
    house.change(behave={"dump": behave})
    failed = house.run()
    assert "Unable to dump database app" in failed["msg"]
    assert house.old() == house.first and "up app" not in house.state["writes"]
    assert [one.name for one in house.data.parent.iterdir()] == ["config"], "no copy is left"


def test_a_pull_that_fails_touches_nothing(house):
    house.change(behave={"app": "no image"})
    assert "Nothing was touched" in house.run()["msg"]
    assert house.old() == house.first and house.phases() == []


def test_no_room_touches_nothing(house):
    house.monkeypatch.setattr(_adopt_data, "RESERVE", 2**60)
    assert "Nothing was touched" in house.run()["msg"]
    assert house.old() == house.first and house.phases() == []


STEPS = ("stop", "dump", "copy", "give", "start", "smoke", "done")


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("step", STEPS)
def test_killed_at_any_step_the_next_run_goes_on(house, step, when):
    real = getattr(_adopt_run.Course, step)

    def killed(self: _adopt_run.Course, **options: object) -> None:
        if when == "after":
            real(self, **options)
        raise Killed

    house.monkeypatch.setattr(_adopt_run.Course, step, killed)
    house.run()
    house.monkeypatch.setattr(_adopt_run.Course, step, real)
    done = house.run()
    assert "failed" not in done, done
    assert house.phases() == ["done"] and house.running() == ["app-main-1"]
    assert house.contents()["file"] == "precious"
    assert not house.run()["changed"]


def test_copies_of_a_killed_run_are_made_anew_if_the_old_was_started_since(house):
    real = _adopt_run.Course.give

    def killed(_self: _adopt_run.Course) -> None:
        raise Killed

    house.monkeypatch.setattr(_adopt_run.Course, "give", killed)
    house.run()
    house.attempt(["docker", "start", "server-id"])
    (house.data / "file").write_text("written since")
    house.monkeypatch.setattr(_adopt_run.Course, "give", real)
    house.answers = 500
    assert "Unable to use app" in house.run()["msg"]
    assert house.contents()["file"] == "written since"


@pytest.mark.parametrize("part", ["give_back", "put_back"])
def test_killed_while_it_is_undone_the_next_run_undoes_the_rest(house, part):
    house.change(behave={"app": "unhealthy"})
    real, calls = _adopt_data.__dict__[part], []

    def killed(*args: object) -> object:
        if not calls:
            calls.append(args)
            raise Killed
        return real(*args)

    house.monkeypatch.setattr(_adopt_data, part, killed)
    house.run()
    assert house.phases() == ["returning"]
    failed = house.run()
    assert "It is undone now" in failed["msg"] and "Unable to start project app" in failed["msg"]
    assert house.old() == house.first and house.phases() == ["returned"] and house.contents()["file"] == "precious"
    house.change(behave={})
    assert house.run()["changed"] and house.phases() == ["returned", "done"]


def test_brought_back_and_finished(house):
    house.run()
    (house.data / "file").write_text("written since")
    assert house.run("returned", check=True)["changed"] and house.state["writes"] == []
    assert house.run("returned")["changed"]
    assert house.old() == house.first and house.contents()["file"] == "precious"
    assert not house.run("returned")["changed"]
    assert not house.run("finished")["changed"], "nothing is taken over now"
    house.monkeypatch.setattr(_adopt_run.time, "strftime", lambda _form: "later")
    house.run()
    assert house.run("finished")["changed"]
    assert house.state["old"] == [] and house.phases() == ["returned", "finished"]
    assert list(house.data.parent.glob("*.before-adopt-*")) == []
    assert list((house.root / "adopt").glob("later/dumps/database.sql")) != []
    assert not house.run("finished")["changed"]


def test_a_mount_comes_back_whole_and_leaves_no_copy(house):
    real = os.path.ismount
    house.monkeypatch.setattr(os.path, "ismount", lambda path: Path(path) == house.data or real(path))
    house.run()
    assert list((house.root / "adopt").glob("*/data/*")), "the copy of a mount lies with the journal"
    (house.data / "file").write_text("written since")
    house.run("returned")
    assert (house.data / "file").read_text() == "precious" and house.old() == house.first
    assert next(house.data.glob(".after-adopt-*/file")).read_text() == "written since"
    assert not list((house.root / "adopt").glob("*/data/*"))


def test_a_mount_needs_room_for_both_states_itself(tmp_path, monkeypatch):
    place = tmp_path / "mount"
    place.mkdir()
    (place / "file").write_bytes(b"x" * 8192)
    monkeypatch.setattr(os.path, "ismount", lambda path: Path(path) == place)
    asked = []

    def usage(path: Path) -> object:
        asked.append(Path(path))
        return type("Usage", (), {"free": 0})

    monkeypatch.setattr(_adopt_data.shutil, "disk_usage", usage)
    monkeypatch.setattr(_adopt_data, "RESERVE", 0)
    with pytest.raises(_adopt_run.Failure, match="Nothing was touched"):
        _adopt_data.check_room([place], "now", tmp_path / "state")
    assert asked


def test_a_way_back_that_stops_says_both_reasons(house):
    house.answers = 500
    real = _adopt_data.put_back
    house.monkeypatch.setattr(
        _adopt_data, "put_back", lambda *_args: (_ for _ in ()).throw(OSError(28, "No space left"))
    )
    failed = house.run()
    assert "Unable to use app" in failed["msg"] and "No space left" in failed["msg"]
    assert house.phases() == ["returning"]
    house.monkeypatch.setattr(_adopt_data, "put_back", real)
    assert "It is undone now" in house.run()["msg"] and house.old() == house.first


def test_owners_go_back(tmp_path, monkeypatch):
    owners: dict[str, tuple[int, int]] = {}
    monkeypatch.setattr(os, "lchown", lambda path, uid, gid: owners.update({str(path): (uid, gid)}))
    folder, note = tmp_path / "data", tmp_path / "note.json"
    (folder / "below").mkdir(parents=True)
    assert _adopt_data.give(folder, "4242:4243", note) == 2
    assert set(owners.values()) == {(4242, 4243)}
    _adopt_data.give_back(folder, note)
    assert set(owners.values()) == {(os.getuid(), os.getgid())}
    assert _adopt_data.give(folder, ME, tmp_path / "other.json") == 0 and not (tmp_path / "other.json").exists()


def test_a_copy_that_differs_is_no_copy(tmp_path, monkeypatch):
    source = tmp_path / "data"
    source.mkdir()
    (source / "file").write_text("x")
    before = _adopt_data.digest(source)
    (source / "file").chmod(0o600)
    assert _adopt_data.digest(source) != before

    class Tool:
        def run(self, argv: list[str], _what: str, _limit: int) -> str:
            return ""

    with pytest.raises(_adopt_run.Failure, match="the copy differs"):
        _adopt_data.make_copy(Tool(), source, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


def test_a_mount_is_put_back_below_itself(tmp_path):
    """A mount cannot be renamed. Run twice, as after a kill, it gives the same."""
    mount, copy = tmp_path / "mount", tmp_path / "copy"
    for folder, text in ((mount, "new"), (copy, "old")):
        folder.mkdir()
        (folder / "file").write_text(text)
    (mount / "more").mkdir()

    class Tool:
        def run(self, argv: list[str], _what: str, _limit: int) -> str:
            subprocess.run(argv, check=True)
            return ""

    (mount / ".after-adopt-before").mkdir()
    (mount / ".after-adopt-before" / "big").write_text("of an earlier return")
    before = _adopt_data.digest(mount)
    (mount / ".after-adopt-before" / "more").write_text("x")
    assert _adopt_data.digest(mount) == before, "what was put aside is no data"
    for _turn in (1, 2):
        aside = Path(_adopt_data.put_back_below(Tool(), mount, copy, "now"))
        assert (mount / "file").read_text() == "old" and not (mount / "more").exists()
        assert (aside / "file").read_text() == "new" and (aside / "more").is_dir()
        assert not (aside / ".after-adopt-before").exists() and (mount / ".after-adopt-before/big").exists()
        (aside / ".put-back").unlink()


def test_a_stepping_stone_publishes_nothing_and_runs_only_what_it_names():
    whole = {
        "services": {
            "server": {
                "image": "immich:v3",
                "ports": [1],
                "labels": {"mediaserver.digest": "d"},
                "restart": "unless-stopped",
                "depends_on": {"database": {"condition": "service_healthy"}, "other": {}},
                "volumes": [{"target": "/data"}],
                "networks": {"default": None, "proxy": {}},
            },
            "database": {"image": "postgres:14"},
            "other": {"image": "other:1"},
        }
    }
    step = {
        "containers": ["database", "server"],
        "images": {"server": "immich:v2"},
        "volumes": {"server": {"/old": "/mnt"}},
    }
    made = _adopt_run.stone_file(whole, "adopt-immich", step)
    assert sorted(made["services"]) == ["database", "server"]
    server = made["services"]["server"]
    assert server["image"] == "immich:v2" and server["restart"] == "no" and "ports" not in server
    # a killed run may leave it behind: the next one must not take it for somebody else's
    assert server["labels"] == {"mediaserver.digest": "stepping-stone"} and list(server["depends_on"]) == ["database"]
    assert [one["target"] for one in server["volumes"]] == ["/data", "/old"] and server["networks"] == {"default": None}
    assert made["services"]["database"]["image"] == "postgres:14"
