# SPDX-License-Identifier: MIT
from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest
from ansible.module_utils import basic
from ansible.module_utils.testing import patch_module_args
from ansible_collections.homelab.mediaserver.plugins.module_utils import _compose_run, _docker, _lock
from ansible_collections.homelab.mediaserver.plugins.modules import compose_projects
from ansible_collections.homelab.mediaserver.tests.unit.fakes import docker_fake


class House:
    """A host with fake commands and two projects."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.root, self.monkeypatch, self.capsys = root / "services", monkeypatch, capsys
        self.state_file = root / "state.json"
        commands = root / "bin"
        commands.mkdir()
        for name in ("docker", "systemctl"):
            source = Path(docker_fake.__file__).read_text().partition("\n")[2]
            (commands / name).write_text(f"#!{os.path.realpath(sys.executable)} -SE\n{source}")
            (commands / name).chmod(0o755)
        monkeypatch.setenv("PATH", f"{commands}:{os.environ['PATH']}")
        monkeypatch.setenv("FAKE_STATE", str(self.state_file))
        monkeypatch.setattr(_lock, "FOLDER", root / "lock")
        monkeypatch.setattr(_docker, "WANTS", root / "wants")
        monkeypatch.setattr(_compose_run, "PAUSES", (0, 0))
        monkeypatch.setattr(_compose_run, "POLL", 0.05)
        self.save(containers=[], networks={}, units={}, behave={}, logs={})
        for name in ("a", "b"):
            self.files(name, "d1")

    def save(self, **state: object) -> None:
        self.state_file.write_text(json.dumps({"calls": [], "writes": [], **state}))

    @property
    def state(self) -> dict:
        return json.loads(self.state_file.read_text())

    def change(self, **values: object) -> None:
        self.save(**{**self.state, **values, "calls": [], "writes": []})

    def files(self, name: str, digest: str, containers: str = "main") -> None:
        (self.root / name).mkdir(parents=True, exist_ok=True)
        (self.root / name / ".env").write_text(f"MEDIASERVER_DIGEST={digest}\nMEDIASERVER_CONTAINERS={containers}\n")

    def run(self, names: str = "ab", check: bool = False, **args: object) -> dict:
        projects = [
            {"name": n, "directory": str(self.root / n), "unit": f"mediaserver-{n}.service", "wait": 3} for n in names
        ]
        if check:
            self.monkeypatch.setenv("FAKE_READ_ONLY", "1")
        else:
            self.monkeypatch.delenv("FAKE_READ_ONLY", raising=False)
        basic._ANSIBLE_ARGS = None
        params = {"projects": projects, "root": str(self.root), **args, "_ansible_check_mode": check}
        self.change()
        with patch_module_args(params), pytest.raises(SystemExit):
            compose_projects.main()
        return json.loads(self.capsys.readouterr().out.strip().splitlines()[-1])


def named(state: dict, name: str) -> dict:
    return next(one for one in state["containers"] if one["name"] == name)


@pytest.fixture
def house(tmp_path, monkeypatch, capsys):
    return House(tmp_path, monkeypatch, capsys)


def test_missing_arguments(house):
    assert "projects" in house.run(projects=None)["msg"]


def test_fresh_check_present_again(house):
    checked = house.run(check=True)
    assert checked["changed"]
    assert house.state["writes"] == []
    done = house.run()
    assert done["steps"] == checked["steps"]
    assert done["diff"] == checked["diff"]
    assert done["diff"]["after"]["a"] == {"state": "running", "digest": "d1"}
    assert {"up a", "up b", "systemctl start mediaserver-a.service"} <= set(house.state["writes"])
    for check in (True, False):
        again = house.run(check=check)
        assert not again["changed"]
        assert house.state["writes"] == []


def test_an_unchanged_host_costs_three_commands(house):
    house.run()
    house.run()
    calls = house.state["calls"]
    assert [call.split(" --")[0] for call in calls] == ["systemctl show", "docker ps", "docker network ls"]


def test_a_changed_project_alone_is_brought_up(house):
    house.run()
    house.files("b", "d2")
    checked, done = house.run(check=True), house.run()
    assert checked["started"] == done["started"] == ["b"]
    assert done["diff"]["before"]["b"] == {"state": "changed", "digest": "d1"}
    assert house.state["writes"] == ["pull b", "up b", "systemctl start mediaserver-b.service"]
    assert not house.run()["changed"]


def test_digests_of_files_that_are_not_written_yet_count_in_check_mode(house):
    house.run()
    assert house.run(check=True, digests={"a": "d9", "b": "d1"})["started"] == ["a"]
    assert house.run(check=True, stale=["b"])["started"] == ["b"]


def test_restored_files_start_the_project_anew_once(house):
    house.run()
    marker = house.root / "a/.stale"
    marker.touch()
    assert house.run()["started"] == ["a"]
    assert "up a anew" in house.state["writes"]
    assert not marker.exists()
    assert not house.run()["changed"]


def test_removed_project_goes_its_files_stay(house):
    house.run()
    checked, done = house.run("a", check=True), house.run("a")
    assert checked["removed"] == done["removed"] == ["b"]
    assert "down b" in house.state["writes"]
    assert (house.root / "b/.env").exists()
    assert not house.run("a")["changed"]


def test_only_removes_nothing_and_starts_nothing_else(house):
    house.run()
    house.files("a", "d2")
    assert not house.run("a", only=["b"])["changed"]
    done = house.run("a", only=["a"])
    assert (done["started"], done["removed"]) == (["a"], [])


def test_what_a_killed_run_left_half_made_is_completed(house):
    house.run()
    state = house.state
    named(state, "a-main-1").update(state="created", status="Created")
    house.save(**state)
    assert house.run()["started"] == ["a"]
    assert not house.run()["changed"]


def test_a_project_that_is_still_starting_is_waited_for_and_changes_nothing(house):
    house.run()
    state = house.state
    named(state, "a-main-1")["status"] = "Up 1 second (health: starting)"
    house.save(**state)
    result = house.run()
    assert result["failed"]
    assert "container a-main-1 is starting after 3 seconds" in result["msg"]
    assert house.state["writes"] == []


def test_an_unhealthy_container_is_named_with_its_log_and_without_its_secrets(house):
    (house.root / "a/secrets/main").mkdir(parents=True)
    (house.root / "a/secrets/main/pw").write_text("planted-secret")
    house.change(
        behave={"a": "unhealthy"}, logs={"a-main-1": [f"line {n}" for n in range(30)] + ["bad planted-secret"]}
    )
    result = house.run()
    assert result["msg"].startswith("Unable to start project a: container a-main-1 is unhealthy. Its last log lines:")
    details = result["failure"]["projects"]["a"]
    assert details["container"] == "a-main-1"
    assert len(details["log"]) == 20
    assert details["log"][-1] == "bad ********"
    assert "planted-secret" not in json.dumps(result)
    assert "up b" in house.state["writes"], "one that fails keeps no other from running"
    active = house.state["units"]["mediaserver-a.service"]["ActiveState"]
    assert active == "active", "while it is waited for, its unit already stops it when a mount goes away"
    house.change(behave={})
    assert house.run()["started"] == ["a"]


def test_a_port_in_use_is_told(house):
    house.change(behave={"a": "up fails"})
    assert "port is already allocated" in house.run()["msg"]


def test_pull_is_tried_again_but_not_for_an_image_that_is_not_there(house):
    house.change(behave={"a": "pull fails once"})
    assert house.run("a")["changed"]
    assert house.state["writes"].count("pull a") == 2
    house.files("a", "d2")
    house.change(behave={"a": "no image"})
    result = house.run("a")
    assert result["msg"].startswith("Unable to pull the images of project a: manifest unknown")
    assert house.state["writes"] == ["pull a"]


def test_networks_are_made_changed_and_removed(house):
    one = {"name": "mediaserver-x", "subnet": "10.0.0.0/24"}
    assert "make network mediaserver-x 10.0.0.0/24" in house.run(networks=[one])["steps"]
    assert not house.run(networks=[one])["changed"]
    moved = house.run(networks=[{**one, "subnet": "10.0.1.0/24"}])
    assert moved["steps"] == ["remove network mediaserver-x", "make network mediaserver-x 10.0.1.0/24"]
    assert house.run()["steps"] == ["remove network mediaserver-x"]


def test_a_unit_that_was_stopped_or_disabled_is_put_right(house):
    house.run()
    state = house.state
    state["units"]["mediaserver-a.service"].update(ActiveState="inactive", UnitFileState="disabled")
    house.save(**state)
    assert house.run()["steps"] == ["enable mediaserver-a.service", "start mediaserver-a.service"]
    assert not house.run()["changed"]


def test_without_docker_check_mode_says_all_and_a_real_run_fails(house):
    told = []
    house.monkeypatch.setattr(basic.AnsibleModule, "warn", lambda module, text: told.append(text))
    house.change(down=True)
    checked = house.run(check=True)
    assert checked["started"] == ["a", "b"]
    assert "nothing is known of what runs" in told[0]
    assert "Cannot connect to the Docker daemon" in house.run()["msg"]


def test_a_unit_that_does_not_start_keeps_no_project_from_running(house):
    house.run()
    state = house.state
    state["units"]["mediaserver-a.service"]["ActiveState"] = "failed"
    state["behave"]["mediaserver-a.service"] = "unit fails"
    house.save(**state)
    house.files("b", "d2")
    result = house.run()
    assert "Unable to start mediaserver-a.service: Dependency failed" in result["msg"]
    assert "up b" in house.state["writes"]
    house.change(behave={})
    assert house.run()["steps"] == ["start mediaserver-a.service"]


def test_a_container_made_by_hand_keeps_its_folder(house):
    """A second database on the same files would destroy them."""
    compose = "    - type: bind\n      source: /mnt/data\n      target: /data\n      bind:\n"
    (house.root / "a" / "compose.yaml").write_text(compose)
    stranger = {"Id": "1", "Name": "/old", "State": {"Status": "running"}, "Config": {"Labels": {}}}
    stranger["Mounts"] = [{"Source": "/mnt/data", "RW": True}]
    house.change(old=[stranger])
    failed = house.run()
    assert "container old, which is not ours, writes to /mnt/data" in failed["msg"] and "make adopt" in failed["msg"]
    assert [one for one in house.state["writes"] if one.startswith("up")] == ["up b"], "others start"
    for change in ({"State": {"Status": "exited"}}, {"Mounts": [{"Source": "/mnt/data", "RW": False}]}):
        house.change(old=[{**stranger, **change}], containers=[])
        assert "failed" not in house.run()
    (house.root / "a" / "compose.yaml").write_text(
        compose.replace("/data\n      bind", "/data\n      read_only: true\n      bind")
    )
    house.change(old=[stranger], containers=[])
    assert "failed" not in house.run()
