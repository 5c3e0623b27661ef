# SPDX-License-Identifier: MIT
"""The revert's files and its script, which really runs here (with a systemctl that does nothing)."""

from __future__ import annotations

import os
import subprocess

import pytest
from ansible_collections.homelab.mediaserver.plugins.module_utils._deadman import (
    Deadman,
    checked,
    unit_texts,
    write_file,
)
from ansible_collections.homelab.mediaserver.plugins.module_utils._reconcile import Failure


@pytest.fixture
def calls():
    return []


@pytest.fixture
def deadman(tmp_path, calls):
    (tmp_path / "units").mkdir()

    def run(argv):
        calls.append(" ".join(argv))
        return 0, "inactive\n" if "show" in argv else "", ""

    return Deadman("thing", run, state=str(tmp_path / "revert"), units=str(tmp_path / "units"))


def fire(deadman, tmp_path) -> None:
    """What the timer does."""
    tools = tmp_path / "bin"
    tools.mkdir(exist_ok=True)
    write_file(tools / "systemctl", "#!/bin/sh\n", 0o755)
    environment = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}"}
    subprocess.run(["/bin/sh", str(deadman.directory / "revert")], check=True, env=environment)


def test_unconfirmed_change_goes_back(deadman, tmp_path):
    kept, made, flag = tmp_path / "it's kept", tmp_path / "made", tmp_path / "flag"
    kept.write_text("old")
    kept.chmod(0o640)
    change = deadman.arm(30, [str(kept), str(made)], [["touch", str(flag)]])
    kept.write_text("new")
    made.write_text("new")
    assert deadman.pending() and deadman.armed_id() == change
    fire(deadman, tmp_path)
    assert kept.read_text() == "old" and kept.stat().st_mode & 0o777 == 0o640
    assert not made.exists() and flag.exists()
    assert deadman.reverted_id() == change and not deadman.pending()


@pytest.mark.skipif(os.getuid() != 0, reason="only root gives files away")
def test_owner_goes_back_too(deadman, tmp_path):
    file = tmp_path / "keys"
    file.write_text("old")
    os.chown(file, 1234, 5678)
    deadman.arm(30, [str(file)], [])
    write_file(file, "new", owner=(0, 0))
    fire(deadman, tmp_path)
    assert (file.stat().st_uid, file.stat().st_gid, file.read_text()) == (1234, 5678, "old")


def test_confirmed_change_stays(deadman, tmp_path, calls):
    file = tmp_path / "file"
    file.write_text("old")
    deadman.arm(30, [str(file)], [])
    file.write_text("new")
    assert deadman.confirm()
    assert not deadman.directory.exists()
    assert list((tmp_path / "units").iterdir()) == []
    assert "systemctl disable --now mediaserver-revert-thing.timer" in calls
    assert file.read_text() == "new"


def test_script_and_confirmation_never_both(deadman, tmp_path):
    file = tmp_path / "file"
    file.write_text("old")
    deadman.arm(30, [str(file)], [])
    script = (deadman.directory / "revert").read_text()
    fire(deadman, tmp_path)
    assert not deadman.confirm(), "the script was faster"

    file.write_text("new")
    deadman.arm(30, [str(file)], [])
    file.write_text("newer")
    (deadman.directory / "armed").rename(deadman.directory / "confirmed")
    write_file(deadman.directory / "revert", script)
    fire(deadman, tmp_path)
    assert file.read_text() == "newer", "the confirmation was faster"


def test_armed_again_keeps_the_first_copies_and_one_timer(deadman, tmp_path, calls):
    file = tmp_path / "file"
    file.write_text("confirmed")
    first = deadman.arm(30, [str(file)], [])
    file.write_text("half done")
    second = deadman.arm(30, [str(file)], [])
    assert first != second and deadman.armed_id() == second
    assert sorted(path.name for path in (tmp_path / "units").iterdir()) == [
        "mediaserver-revert-thing.service",
        "mediaserver-revert-thing.timer",
    ]
    fire(deadman, tmp_path)
    assert file.read_text() == "confirmed"


def test_armed_after_a_return_saves_anew(deadman, tmp_path):
    file = tmp_path / "file"
    file.write_text("one")
    deadman.arm(30, [str(file)], [])
    fire(deadman, tmp_path)
    file.write_text("two")
    deadman.arm(30, [str(file)], [])
    assert deadman.reverted_id() is None
    file.write_text("three")
    fire(deadman, tmp_path)
    assert file.read_text() == "two"


def test_change_that_goes_back_while_it_is_armed_again_fails(deadman, tmp_path):
    deadman.arm(30, [], [])

    def run(argv):
        if argv[:2] == ["systemctl", "stop"]:
            (deadman.directory / "armed").rename(deadman.directory / "reverted")
        return 0, "", ""

    deadman.run = run
    with pytest.raises(Failure, match="run again"):
        deadman.arm(30, [], [])


def test_timer_survives_a_reboot():
    texts = unit_texts("thing", "/state/thing", 60)
    assert "WantedBy=timers.target" in texts["mediaserver-revert-thing.timer"]
    assert "OnActiveSec=60" in texts["mediaserver-revert-thing.timer"]
    assert "ExecStart=/bin/sh /state/thing/revert" in texts["mediaserver-revert-thing.service"]


def test_waits_for_the_script_s_end(deadman):
    answers = iter(["activating", "deactivating", "inactive"])
    slept = []
    deadman.run = lambda _argv: (0, next(answers), "")
    deadman.wait_reverted(sleep=slept.append)
    assert len(slept) == 2
    deadman.run = lambda _argv: (0, "activating", "")
    with pytest.raises(Failure, match="still runs"):
        deadman.wait_reverted(sleep=slept.append, tries=2)


def test_half_written_file_is_never_seen(tmp_path, monkeypatch):
    file = tmp_path / "file"
    file.write_text("old")
    monkeypatch.setattr(os, "fsync", lambda _handle: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        write_file(file, "new")
    assert file.read_text() == "old" and [path.name for path in tmp_path.iterdir()] == ["file"]


def test_failed_command_says_what_it_said():
    with pytest.raises(Failure, match="Unable to do it: no"):
        checked(lambda _argv: (1, "", " no\n"), ["x"], "do it")
