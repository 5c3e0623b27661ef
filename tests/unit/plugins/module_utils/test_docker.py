# SPDX-License-Identifier: MIT
from __future__ import annotations

import pytest
from ansible_collections.homelab.mediaserver.plugins.module_utils import _docker
from ansible_collections.homelab.mediaserver.plugins.module_utils._compose import Container, Network, Unit


def test_ps_output_with_every_awkward_character():
    line = '["a-main-1","running","Up 2 hours (healthy)","a","main","d1","/opt/my, \\"own\\" a"]\n'
    expected = Container("a-main-1", "a", "main", "running", "Up 2 hours (healthy)", "d1", '/opt/my, "own" a')
    assert _docker.parse_ps(line) == [expected]
    assert _docker.parse_ps("") == []


def test_the_ps_format_asks_for_what_is_parsed():
    assert _docker.PS_FORMAT.count("{{json") == 7
    assert '(.Label "mediaserver.digest")' in _docker.PS_FORMAT


def test_units():
    text = (
        "Id=a.service\nLoadState=loaded\nActiveState=active\nUnitFileState=enabled\nNeedDaemonReload=no\n\n"
        "Id=b.service\nLoadState=not-found\nActiveState=inactive\nUnitFileState=\nNeedDaemonReload=no\n\n"
        "Id=c.service\nLoadState=loaded\nActiveState=failed\nUnitFileState=disabled\nNeedDaemonReload=yes\n"
    )
    assert _docker.parse_units(text) == {
        "a.service": Unit(True, True, True, False),
        "b.service": Unit(False, False, False, False),
        "c.service": Unit(True, False, False, True),
    }


def test_network_create():
    argv = _docker.network_create(Network("n", "10.0.0.0/24", "fd00::/64"))
    assert argv == [
        *("docker", "network", "create", "--label", "mediaserver.subnet=10.0.0.0/24,fd00::/64"),
        *("--subnet", "10.0.0.0/24", "--ipv6", "--subnet", "fd00::/64", "n"),
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("docker is not installed", True),
        ("Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?", True),
        ("permission denied while trying to connect to the Docker daemon socket", False),
        ("unknown flag: --filter", False),
    ],
)
def test_absent_is_matched_narrowly(text, expected):
    assert _docker.absent(text) is expected


def test_conceal(tmp_path):
    (tmp_path / "secrets/main").mkdir(parents=True)
    (tmp_path / "secrets/main/pw").write_text("hunter2hunter2\n")
    (tmp_path / "secrets/main/key").write_text("-----BEGIN\nabcdefgh\n-----END\n")
    (tmp_path / "secrets/main/short").write_text("a")
    values = _docker.secret_values(str(tmp_path))
    text = _docker.conceal("login hunter2hunter2 failed, key abcdefgh, a cat", values)
    assert text == "login ******** failed, key ********, a cat"


def test_dangling_links(tmp_path, monkeypatch):
    wants = tmp_path / "multi-user.target.wants"
    wants.mkdir()
    (tmp_path / "mediaserver-a.service").touch()
    for name in ("mediaserver-a", "mediaserver-b", "mediaserver-c", "other"):
        (wants / f"{name}.service").symlink_to(tmp_path / f"{name}.service")
    monkeypatch.setattr(_docker, "WANTS", tmp_path)
    assert _docker.dangling(["mediaserver-c.service"]) == [str(wants / "mediaserver-b.service")]


def test_a_unit_that_a_further_mount_wants_is_not_fully_enabled(tmp_path, monkeypatch):
    monkeypatch.setattr(_docker, "WANTS", tmp_path)
    unit, mount = "mediaserver-a.service", r"mnt-my\x2dcloud.mount"
    assert not _docker.unlinked(unit), "no file yet: systemd says what there is to say"
    (tmp_path / unit).write_text(f"[Install]\nWantedBy=multi-user.target {mount}\n")
    for target in ("multi-user.target", mount):
        assert _docker.unlinked(unit)
        (tmp_path / f"{target}.wants").mkdir()
        (tmp_path / f"{target}.wants" / unit).symlink_to(tmp_path / unit)
    assert not _docker.unlinked(unit)
