# SPDX-License-Identifier: MIT
from __future__ import annotations

import os
import time
from datetime import UTC, datetime

import pytest
from ansible_collections.homelab.mediaserver.plugins.modules import units
from ansible_collections.homelab.mediaserver.tests.unit.fakes.host_fake import Commands, run_module


class Systemd(Commands):
    def __init__(self) -> None:
        super().__init__()
        self.state: dict[str, dict[str, str]] = {}
        self.now = time.time() + 100

    def systemctl(self, words):
        names = [word for word in words[1:] if not word.startswith("-")]
        if words[0] == "show":
            self.read("systemctl", *words)
            blocks = [{"Id": name, "ActiveState": "inactive", **self.state.get(name, {})} for name in names]
            return "\n".join("".join(f"{key}={value}\n" for key, value in block.items()) for block in blocks)
        self.write("systemctl", *words)
        for name in names:
            unit = self.state.setdefault(name, {})
            if words[0] in ("start", "restart"):
                at = datetime.fromtimestamp(self.now, UTC).strftime("%a %Y-%m-%d %H:%M:%S.%f UTC")
                unit.update(ActiveState="active", InactiveExitTimestamp=at)
            elif words[0] in ("enable", "disable"):
                unit["UnitFileState"] = f"{words[0]}d"
        return 0


@pytest.fixture
def systemd(tmp_path, monkeypatch):
    monkeypatch.setattr(units, "STAMP", str(tmp_path / "stamps"))
    return Systemd()


@pytest.fixture
def run(systemd, monkeypatch):
    return lambda *wanted, check=False: run_module(units, systemd, {"units": list(wanted)}, monkeypatch, check)


def test_missing_arguments(run):
    assert run({"files": []}).failed


def test_check_start_again_restart(run, systemd, tmp_path):
    conf = tmp_path / "conf"
    conf.write_text("1")
    unit = {"name": "a.service", "files": [str(conf), str(tmp_path / "not there")], "enabled": True}
    assert run(unit, check=True)["steps"] == ["enable a.service", "start a.service"]
    assert run(unit)["changed"]
    for check in (True, False):
        assert not run(unit, check=check)["changed"]
        assert len(systemd.reads) == 1
    systemd.state["a.service"]["InactiveExitTimestamp"] = "Sat 2020-11-21 09:03:47 UTC"
    assert run(unit)["steps"] == ["restart a.service"], "it was started before its file was written"
    assert not run(unit)["changed"]
    assert run({**unit, "enabled": False})["steps"] == ["disable a.service"]


def test_many_units_are_one_question(run, systemd):
    run(*({"name": f"{name}.service"} for name in "abc"))
    assert not run(*({"name": f"{name}.service"} for name in "abc"))["changed"]
    assert len(systemd.reads) == 1


def test_file_in_a_folder_counts(run, systemd, tmp_path):
    (tmp_path / "conf.d").mkdir()
    unit = {"name": "a.service", "files": [str(tmp_path / "conf.d")]}
    systemd.now = time.time() - 100
    run(unit)
    (tmp_path / "conf.d/x").touch()
    systemd.now = time.time() + 100
    assert run(unit)["steps"] == ["restart a.service"]


def test_reload(run, systemd, tmp_path):
    (tmp_path / "conf").touch()
    unit = {"name": "a.service", "files": [str(tmp_path / "conf")], "reload": True}
    systemd.now = time.time() - 100
    run(unit)
    assert run(unit)["steps"] == ["reload a.service"]
    assert not run(unit)["changed"], "the reload counts, although the unit's start is old"
    later = time.time() + 50
    os.utime(tmp_path / "stamps/a.service", (later - 100, later - 100))
    assert run(unit)["steps"] == ["reload a.service"]


def test_unit_that_is_not_for_this_machine_is_left_alone(run, systemd):
    systemd.state["clock.service"] = {"ConditionResult": "no", "ConditionTimestampMonotonic": "12"}
    assert not run({"name": "clock.service"})["changed"]
    systemd.state["clock.service"]["ConditionTimestampMonotonic"] = "0"
    assert run({"name": "clock.service"}, check=True)["changed"], "never tried yet"


def test_changed_unit_file_is_read_first(run, systemd):
    systemd.state["a.service"] = {"NeedDaemonReload": "yes"}
    assert run({"name": "a.service"})["steps"] == ["let systemd read changed units", "start a.service"]


def test_static_unit_is_not_enabled(run, systemd):
    systemd.state["a.service"] = {"UnitFileState": "static", "ActiveState": "active"}
    assert not run({"name": "a.service", "enabled": True})["changed"]


def test_failure_names_the_unit(run, systemd):
    systemd.fail["systemctl start"] = "Job for a.service failed"
    assert run({"name": "a.service"})["msg"] == "Unable to start a.service: Job for a.service failed"
    systemd.fail = {"systemctl show": "no bus"}
    assert run({"name": "a.service"})["msg"] == "Unable to ask systemd: no bus"
