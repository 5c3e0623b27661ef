#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""CPU seconds of a backup of 10,000 small files and 2 GB, beside plain restic on the same files, in one run.

    backup.py [--files 10000] [--megabytes 2000]

Plain restic: `init` and `backup`, and nothing else. mediaserver-backup: its first run into an empty repository, with
all it does around them (locks, retention, prune; the weekly check is measured apart). Fails above 1.15.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/faults"))
from real_restic import restic_folder

BACKUP = ROOT / "roles/backup/files/mediaserver_backup.py"
LIMIT = 1.15


def cpu(command: list[str], environment: dict[str, str]) -> float:
    """CPU seconds of a command and all it started."""
    before = os.times()
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


def make(source: Path, files: int, megabytes: int) -> None:
    dice = random.Random(1)
    for number in range(files):
        path = source / f"small/{number % 100}/{number}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(dice.randbytes(dice.randrange(100, 8000)))
    for number in range(megabytes // 20):
        path = source / f"photos/{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(20 * 1_000_000))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--megabytes", type=int, default=2_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="backup-bench-") as name:
        folder = Path(name)
        source = folder / "source"
        make(source, options.files, options.megabytes)
        (folder / "password").write_text("bench-not-secret\n")
        job = {"name": "app-data", "service": "app", "schedule": "daily", "keep": {"daily": 7},
               "paths": [{"path": str(source), "mount": None}]}  # fmt: skip
        (folder / "backup.json").write_text(json.dumps({
            "host": "bench", "jobs": [job], "repositories": [{"name": "local", "path": str(folder / "ours")}],
            "password_file": str(folder / "password"), "environment_file": str(folder / "none.json"),
            "cache_dir": str(folder / "cache"), "state_dir": str(folder / "state"), "check_data": "2%",
            "metrics_file": str(folder / "metrics"), "lock_file": str(folder / "lock"),
        }))  # fmt: skip
        (folder / "state").mkdir()
        (folder / "state/state.json").write_text(json.dumps({"checked": {"local": time.time()}}))
        plain = {
            **os.environ,
            "PATH": f"{restic_folder()}{os.pathsep}{os.environ['PATH']}",
            "RESTIC_PASSWORD_FILE": str(folder / "password"),
            "RESTIC_CACHE_DIR": str(folder / "plain-cache"),
            "RESTIC_REPOSITORY": str(folder / "plain"),
        }
        ours = {**plain, "MEDIASERVER_BACKUP_CONFIG": str(folder / "backup.json"), "PYTHONDONTWRITEBYTECODE": "1"}
        reference = cpu(["restic", "init"], plain) + cpu(["restic", "backup", "--quiet", str(source)], plain)
        shutil.rmtree(folder / "plain")
        measured = cpu([sys.executable, str(BACKUP), "run", "all"], ours)
        again = cpu([sys.executable, str(BACKUP), "run", "all"], ours)
        checked = cpu([sys.executable, str(BACKUP), "check"], ours)
    ratio = measured / reference
    others = f"again without changes {again:.1f} CPU s, check {checked:.1f} CPU s"
    print(
        f"{options.files} files and {options.megabytes} MB: plain restic {reference:.1f} CPU s, mediaserver-backup "
        f"{measured:.1f} CPU s: {ratio:.3f} (limit {LIMIT}); {others}"
    )
    return 0 if ratio <= LIMIT else 1


if __name__ == "__main__":
    sys.exit(main())
