# SPDX-License-Identifier: MIT
"""The program that looks after a host's mounts, with a stand-in for systemd. Real mounts: faults/mount_faults.py."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from ansible_collections.homelab.mediaserver.tests.unit.fakes import program

FILE = Path(__file__).resolve().parents[3] / "roles/storage/files/mediaserver_mounts.py"


@pytest.fixture
def watch() -> ModuleType:
    return program.load(FILE)


@pytest.mark.parametrize(
    ("kind", "seen", "misses", "state", "file", "verb"),
    [
        ("nfs", "well", 0, "active", "enabled", ""),
        ("nfs", "away", 1, "failed", "enabled", "start"),
        ("disk", "away", 1, "inactive", "enabled", "start"),
        ("disk", "away", 9, "inactive", "disabled", ""),
        ("disk", "away", 9, "inactive", "masked", ""),
        ("disk", "away", 9, "activating", "enabled", ""),
        ("rclone", "away", 9, "activating", "enabled", ""),
        ("rclone", "away", 1, "active", "enabled", ""),
        ("rclone", "away", 2, "active", "enabled", "restart"),
        ("rclone", "dead", 1, "active", "enabled", ""),
        ("rclone", "dead", 2, "active", "enabled", "restart"),
        ("rclone", "hung", 1, "active", "enabled", ""),
        ("rclone", "hung", 2, "active", "enabled", "restart"),
        ("nfs", "hung", 99, "active", "enabled", ""),
        ("virtiofs", "hung", 99, "active", "enabled", ""),
        ("nfs", "dead", 2, "active", "enabled", "restart"),
        ("nfs", "dead", 2, "active", "", ""),
        ("nfs", "dead", 2, "", "", ""),
    ],
)
def test_what_is_done(watch: ModuleType, kind: str, seen: str, misses: int, state: str, file: str, verb: str) -> None:
    unit = {"ActiveState": state, "UnitFileState": file}
    assert watch.decide(kind, seen, misses, 2, unit) == verb


def test_mount_points_with_spaces(watch: ModuleType) -> None:
    text = "36 35 98:0 / /mnt/my\\040photos rw,noatime - ext4 /dev/sdb rw\n1 0 0:1 / / rw - overlay x rw\n"
    assert watch.mounted(text) == {"/mnt/my photos", "/"}


class World:
    """A host: mount points, what is below them, and a systemd that notes what it is told."""

    def __init__(self, watch: ModuleType, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.watch, self.folder = watch, folder
        self.points = folder / "mountinfo"
        self.told: list[list[str]] = []
        self.state = "active"
        self.containers: list[dict[str, Any]] = []
        (folder / "metrics").mkdir()
        monkeypatch.setattr(watch, "MOUNTINFO", self.points)
        monkeypatch.setattr(watch.subprocess, "run", self.systemctl)
        self.configuration = {
            "mounts": [{"path": str(folder / "cloud"), "kind": "rclone", "unit": "rclone-cloud.service"}],
            "patience": 2,
            "timeout": 0.4,
            "state_file": str(folder / "run" / "state.json"),
            "metrics_file": str(folder / "metrics" / "mounts.prom"),
        }

    def systemctl(self, argv: list[str], **_options: Any) -> subprocess.CompletedProcess[str]:
        self.told.append(argv)
        if argv[0] == "docker":
            ids = "\n".join(one["Id"] for one in self.containers)
            return subprocess.CompletedProcess(
                argv, 0, {"ps": ids, "inspect": json.dumps(self.containers)}.get(argv[1], ""), ""
            )
        out = f"Id={argv[-1]}\nActiveState={self.state}\nUnitFileState=enabled\n" if argv[1] == "show" else ""
        return subprocess.CompletedProcess(argv, 0, out, "")

    def look(self, mounted: bool) -> list[str]:
        """One run; what systemd was told to do."""
        self.points.write_text(f"1 0 0:1 / {self.folder / 'cloud'} rw - fuse x rw\n" if mounted else "")
        self.told.clear()
        self.watch.run(self.configuration)
        return [" ".join(argv[2:]) for argv in self.told if argv[1] not in ("show", "ps", "inspect")]

    def up(self) -> str:
        return (self.folder / "metrics" / "mounts.prom").read_text().splitlines()[-1].rpartition(" ")[2]


@pytest.fixture
def world(watch: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    return World(watch, tmp_path, monkeypatch)


def test_all_is_well_and_systemd_is_not_even_asked(world: World) -> None:
    (world.folder / "cloud").mkdir()
    assert world.look(mounted=True) == []
    assert [argv[:2] for argv in world.told] == [["docker", "ps"]]
    assert world.up() == "1"


def test_a_dead_one_is_mounted_anew_after_two_looks_and_again_after_each(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    again = ["restart -- rclone-cloud.service"]
    assert world.look(mounted=True) == [], "the mount point cannot be listed: it is not there"
    assert world.up() == "0"
    assert world.look(mounted=True) == again
    world.state = "activating"
    assert world.look(mounted=False) == [], "rclone tries by itself"
    (world.folder / "cloud").mkdir()
    assert world.look(mounted=True) == []
    assert world.up() == "1"
    assert capsys.readouterr().out.splitlines()[-1].endswith("is back")
    assert json.loads((world.folder / "run" / "state.json").read_text()) == {"misses": {}, "stuck": {}}


def test_what_is_away_is_started_at_once(world: World) -> None:
    world.state = "failed"
    assert world.look(mounted=False) == ["start -- rclone-cloud.service"]


def test_one_that_hangs_holds_nothing_up_and_is_not_asked_twice(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[int] = []

    def hanging(_path: str) -> int:
        pid = os.fork()
        if not pid:
            time.sleep(60)
            os._exit(0)
        begun.append(pid)
        return pid

    monkeypatch.setattr(world.watch, "begin", hanging)
    # a child in the kernel's hands does not die when it is killed
    monkeypatch.setattr(world.watch.os, "kill", lambda _pid, _signal: None)
    monkeypatch.setattr(world.watch, "alive", lambda pid: pid in begun)
    assert world.look(mounted=True) == []
    assert world.look(mounted=True) == ["restart -- rclone-cloud.service"]
    assert len(begun) == 1
    monkeypatch.undo()
    os.kill(begun[0], 9)
    os.waitpid(begun[0], 0)
    assert not world.watch.alive(begun[0])


def test_a_torn_state_is_as_good_as_none(world: World) -> None:
    (world.folder / "cloud").mkdir()
    (world.folder / "run").mkdir()
    (world.folder / "run" / "state.json").write_text("{")
    assert world.look(mounted=True) == []


def exited(name: str, error: str, policy: str = "unless-stopped") -> dict[str, Any]:
    labels = {"Labels": {"mediaserver.project": "films"}}
    return {"Id": name, "Config": labels, "State": {"Error": error}, "HostConfig": {"RestartPolicy": {"Name": policy}}}


def test_what_docker_could_not_start_again_is_started_once_its_mounts_are_well(world: World) -> None:
    (world.folder / "cloud").mkdir()
    world.containers = [exited("lost", "error mounting"), exited("stopped", ""), exited("job", "error", "no")]
    assert world.look(mounted=True) == ["lost"]
    world.state = "inactive"
    assert world.look(mounted=True) == [], "systemd has stopped the service"
    assert world.look(mounted=False) == ["start -- rclone-cloud.service"], "and while a mount is away"


def test_a_host_without_docker(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    (world.folder / "cloud").mkdir()

    def missing(*_arguments: Any, **_options: Any) -> None:
        raise FileNotFoundError("docker")

    monkeypatch.setattr(world.watch.subprocess, "run", missing)
    assert world.look(mounted=True) == []
