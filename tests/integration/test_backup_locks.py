# SPDX-License-Identifier: MIT
"""Nobody waits for nobody: neither for the lock of a prune that was killed, nor for a restic that waits for itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ansible_collections.homelab.mediaserver.tests.faults.real_restic import restic_folder

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = [sys.executable, "-B", str(ROOT / "roles/backup/files/mediaserver_backup.py")]
LONGER_THAN_ANY_VERB = 60


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """A host with one snapshot in one repository."""
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/a.jpg").write_bytes(os.urandom(100_000))
    (tmp_path / "password").write_text("locks-not-secret\n")
    (tmp_path / "environment.json").write_text("{}")
    job = {"name": "photos", "service": "photos", "schedule": "daily", "keep": {"last": 9}}
    (tmp_path / "backup.json").write_text(json.dumps({
        "host": "locks", "jobs": [{**job, "paths": [{"path": str(tmp_path / "photos"), "mount": None}]}],
        "repositories": [{"name": "local", "path": str(tmp_path / "repository")}], "check_data": "100%",
        "password_file": str(tmp_path / "password"), "environment_file": str(tmp_path / "environment.json"),
        "cache_dir": str(tmp_path / "cache"), "state_dir": str(tmp_path / "state"),
        "metrics_file": str(tmp_path / "backup.prom"), "lock_file": str(tmp_path / "backup.lock"),
    }))  # fmt: skip
    path = f"{restic_folder()}{os.pathsep}{os.environ['PATH']}"
    found = {**os.environ, "PATH": path, "MEDIASERVER_BACKUP_CONFIG": str(tmp_path / "backup.json")}
    subprocess.run([*PROGRAM, "run", "all"], env=found, check=True, capture_output=True)
    return found


def killed_prune(folder: Path, environment: dict[str, str]) -> None:
    """SIGKILL as soon as the lock is there."""

    def locks() -> list[Path]:
        return [path for path in (folder / "repository/locks").iterdir() if "tmp" not in path.name]

    own = {"RESTIC_REPOSITORY": str(folder / "repository"), "RESTIC_PASSWORD_FILE": str(folder / "password")}
    for _attempt in range(20):
        with subprocess.Popen(["restic", "prune"], env={**environment, **own}, stdout=subprocess.DEVNULL) as process:
            while process.poll() is None and not locks():
                time.sleep(0.001)
            process.kill()
        if locks():
            return
    raise AssertionError("no kill left a lock: this proves nothing")


@pytest.mark.parametrize("verb", [["snapshots"], ["restic", "snapshots"]])
def test_who_reads_after_a_killed_prune_does_not_wait(
    verb: list[str], tmp_path: Path, environment: dict[str, str]
) -> None:
    killed_prune(tmp_path, environment)
    done = subprocess.run(
        [*PROGRAM, *verb], env=environment, capture_output=True, text=True, timeout=LONGER_THAN_ANY_VERB, check=False
    )
    assert done.returncode == 0, done.stderr


# Stands in front of restic: what 0.18 may do when a pack cannot be stored, and, once, what it leaves when it is killed.
STUCK = """#!/bin/sh
case "$*" in
*" backup "*) echo 'Save(<data/6aad22872a>) failed: write /repository/data/6a: no space left on device' >&2
  {0} ;;
esac
exec {1}/restic "$@"
"""


@pytest.mark.parametrize("does", ["exec sleep 600", "trap '' TERM; while :; do sleep 1; done", "kill -9 $$"])
def test_a_restic_that_cannot_store_ends_in_any_case(does: str, tmp_path: Path, environment: dict[str, str]) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/restic").write_text(STUCK.format(does, restic_folder()))
    (tmp_path / "bin/restic").chmod(0o755)
    config = tmp_path / "backup.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "grace": 1}))
    done = subprocess.run(
        [*PROGRAM, "run", "all"], env={**environment, "PATH": f"{tmp_path / 'bin'}{os.pathsep}{environment['PATH']}"},
        capture_output=True, text=True, timeout=LONGER_THAN_ANY_VERB, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "Unable to back up photos" in done.stderr and "no space left on device" in done.stderr
