# SPDX-License-Identifier: MIT
from __future__ import annotations

from types import SimpleNamespace

import pytest
from ansible_collections.homelab.mediaserver.plugins.modules import host_values


@pytest.fixture
def devices(tmp_path, monkeypatch):
    """A /dev/dri of plain files that are taken for character devices."""
    monkeypatch.setattr(host_values.stat, "S_ISCHR", lambda mode: True)
    monkeypatch.setattr(host_values, "DEVICES", tmp_path)
    return tmp_path


def ask(*names):
    return host_values.work(SimpleNamespace(params={"names": list(names)}))


def test_without_a_gpu_the_values_are_empty(devices):
    assert ask("render_gid", "gpu_devices") == {"changed": False, "late": {"render_gid": "", "gpu_devices": []}}


def test_a_console_is_no_gpu(devices):
    (devices / "card0").touch()
    assert ask("gpu_devices")["late"] == {"gpu_devices": []}


def test_with_a_gpu(devices):
    for name in ("renderD128", "card0", "by-path"):
        (devices / name).touch()
    late = ask()["late"]
    assert late["render_gid"] == str((devices / "renderD128").stat().st_gid)
    assert late["gpu_devices"] == [str(devices / "renderD128"), str(devices / "card0")]
    assert set(late) == {"render_gid", "gpu_devices", "architecture"}


def test_plain_files_are_no_devices(tmp_path, monkeypatch):
    monkeypatch.setattr(host_values, "DEVICES", tmp_path)
    (tmp_path / "renderD128").touch()
    assert ask("render_gid")["late"] == {"render_gid": ""}


@pytest.mark.parametrize(("machine", "name"), [("x86_64", "amd64"), ("aarch64", "arm64"), ("riscv64", "riscv64")])
def test_architecture(machine, name, monkeypatch):
    assert host_values.architecture(machine) == name
