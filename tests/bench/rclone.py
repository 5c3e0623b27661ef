#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Starts of rclone for 20 remotes, with the real rclone: created, and again with nothing to change.

A wrapper before rclone writes down each start. Beside it stands what the same list costs when `rclone config create`
is called for each remote, as a loop over a task does.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
REMOTES, TARGET = 20, 3
PROGRAM = """
import json, sys
from ansible.module_utils.testing import patch_module_args
with patch_module_args(json.load(sys.stdin)):
    from ansible_collections.homelab.mediaserver.plugins.modules import rclone_remotes
    rclone_remotes.main()
"""


def wrapper(folder: Path, real: str) -> tuple[Path, Path]:
    """A program that logs its start and becomes rclone; the log."""
    program, log = folder / "rclone", folder / "starts"
    program.write_text(f'#!/bin/sh\necho start >>"{log}"\nexec "{real}" "$@"\n')
    program.chmod(0o755)
    return program, log


def starts(log: Path) -> int:
    """Starts since the last question."""
    found = len(log.read_text().splitlines()) if log.exists() else 0
    log.write_text("")
    return found


def run(arguments: dict[str, object]) -> tuple[dict[str, object], float]:
    begun = time.monotonic()
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        input=json.dumps(arguments),
        env={**os.environ, "PYTHONPATH": str(ROOT / "playbooks/collections")},
        text=True,
        stdout=subprocess.PIPE,
        check=False,
    )
    result: dict[str, object] = json.loads(ended.stdout or "{}")
    if "changed" not in result or result.get("failed"):
        sys.exit(f"rclone_remotes failed: {result.get('msg')}")
    return result, time.monotonic() - begun


def main() -> int:
    real = os.environ.get("RCLONE") or shutil.which("rclone")
    if real is None:
        sys.exit("rclone is not installed: apt-get install rclone")
    with tempfile.TemporaryDirectory(prefix="mediaserver-bench-") as name:
        folder = Path(name)
        program, log = wrapper(folder, real)
        remotes = [
            {
                "name": f"nas{number}",
                "type": "webdav",
                "options": {"url": f"http://nas{number}/", "pass": f"pw{number}"},
            }
            for number in range(REMOTES)
        ]
        arguments: dict[str, object] = {
            "remotes": remotes,
            "path": str(folder / "rclone.conf"),
            "executable": str(program),
        }
        good = True
        for what, changed in (("created", True), ("nothing to change", False)):
            result, seconds = run(arguments)
            count = starts(log)
            good = good and count <= TARGET and result["changed"] is changed
            verdict = "reached" if count <= TARGET else "MISSED"
            print(
                f"{REMOTES} remotes, {what}: {count} starts of rclone in {seconds:.2f} s (target {TARGET}: {verdict})"
            )
            if result["changed"] is not changed:
                print(f"changed is {result['changed']}, which is wrong")
        begun = time.monotonic()
        for number in range(REMOTES):
            words = [f"nas{number}", "webdav", "url", f"http://nas{number}/", "pass", f"pw{number}"]
            command = [str(program), "--config", str(folder / "other.conf"), "config", "create", *words]
            subprocess.run(command, check=True, capture_output=True)
        print(f"one `rclone config create` each: {starts(log)} starts in {time.monotonic() - begun:.2f} s")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
