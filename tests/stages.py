#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Run the test stages, each within its budget, and print seconds per stage.

    stages.py quick|long [--resume]     a whole tier; --resume skips stages that passed for exactly this tree
    stages.py STAGE [--role NAME]       one stage alone

A stage is a list of commands. A stage that overruns its budget is killed and has failed. What a tier leaves out is
printed as NOT RUN, never counted as passed. A new stage is one entry in STAGES.

A tier runs two lanes side by side: the stages that use the lab's site, which mostly wait, and all others. The output of
a stage is shown when it ends.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parent.parent
BIN = ROOT / ".venv" / "bin"
PASSED = ROOT / ".cache" / "stages"
PYTHON = str(BIN / "python")
RUNNING: set[int] = set()
"""Process groups of the commands that run now."""


@dataclass(frozen=True)
class Stage:
    """``budget`` in seconds of wall clock on two cores; ``tier`` is the first tier that runs it."""

    name: str
    what: str
    budget: int
    tier: str
    commands: list[list[str]] = field(default_factory=list)
    site: bool = False
    """Uses the lab's site, of which there is one on a machine."""


STAGES = [
    Stage("lint", "ruff, mypy, yamllint, ansible-lint (production), shellcheck", 480, "quick", [
        [str(BIN / "ruff"), "check", "."],
        [str(BIN / "ruff"), "format", "--check", "."],
        [PYTHON, "tests/check_types.py"],
        [str(BIN / "yamllint"), "--strict", "."],
        ["shellcheck", "tools/setup", ".ci/run", *map(str, sorted((ROOT / "tests/zfs").glob("*.sh")))],
        [str(BIN / "ansible-lint"), "--offline", "--strict"],
    ]),
    Stage("sanity", "ansible-test sanity on the built and unpacked collection", 480, "quick", [
        [PYTHON, "tests/sanity.py"],
    ]),
    Stage("unit", "pytest: plan, modules against fakes, stand-ins, docs", 600, "quick", [
        [str(BIN / "pytest"), "-q", "-n", "2", "tests/unit"],
    ]),
    Stage("integration", "real rclone, restic, Traefik; ingest, backup, a machine killed (seeded)", 900, "quick", [
        [str(BIN / "pytest"), "-q", "-rs", "-n", "2", "tests/integration"],
        [PYTHON, "tests/faults/ingest_faults.py", "--kills", "5"],
        [PYTHON, "tests/faults/backup_faults.py", "--kills", "2", "--parts", "1"],
        [PYTHON, "tests/faults/power_cut.py", "--cuts", "1"],
    ]),
    Stage("roles", "molecule: check, converge, idempotence, check, verify", 1000, "quick", [
        [PYTHON, "tests/roles.py"],
    ]),
    Stage("lab", "site.yml whole in the lab, second run, check run, probes, planted secrets", 1500, "quick", [
        [PYTHON, "tests/lab/end_to_end.py"],
    ], site=True),
    Stage("faults", "runs (3) and upgrades (3) killed, mounts broken (3), at seeded moments", 1200, "quick", [
        [PYTHON, "tests/lab/faults.py", "--kills", "3"],
        [PYTHON, "tests/faults/upgrade_faults.py", "--only", "ruin", "--only", "kills", "--kills", "3"],
        [PYTHON, "tests/faults/mount_faults.py", "--rounds", "3"],
    ], site=True),
    Stage("faults-long", "runs killed at seeded moments converge (20)", 3600, "long", [
        [PYTHON, "tests/lab/faults.py", "--kills", "20"],
    ], site=True),
    Stage("rebuild", "all is destroyed but kit and off-site repository; rebuilt, compared, timed", 3600, "long", [
        [PYTHON, "tests/lab/rebuild.py"],
    ], site=True),
    Stage("rebuild-killed", "as rebuild, but the rebuild is killed at seeded moments (4)", 4200, "long", [
        [PYTHON, "tests/lab/rebuild.py", "--kills", "4"],
    ], site=True),
    Stage("single-vm", "reference system 2 whole: one Ubuntu guest behind the real Traefik", 2400, "long", [
        [PYTHON, "tests/lab/single_vm.py"],
    ], site=True),
    Stage("raspberrypi", "system 5 on Azurite: built, rclone killed (5), Azure away (3 min), rebuilt", 3600, "long", [
        [PYTHON, "tests/lab/raspberrypi.py"],
    ]),
    Stage("ingest-long", "ingest killed at seeded moments (50)", 2400, "long", [
        [PYTHON, "tests/faults/ingest_faults.py", "--kills", "50"],
    ]),
    Stage("backup-long", "backup killed at seeded moments (20), full disk, damage, off-site away", 1800, "long", [
        [PYTHON, "tests/faults/backup_faults.py", "--kills", "20"],
    ]),
    Stage("upgrade-long", "upgrades that fail in every way, killed at seeded moments (30)", 2400, "long", [
        [PYTHON, "tests/faults/upgrade_faults.py", "--kills", "30"],
    ]),
    Stage("power-cut", "a machine killed while its database is loaded, then a restore (5)", 900, "long", [
        [PYTHON, "tests/faults/power_cut.py", "--cuts", "5"],
    ]),
    Stage("cloudflare", "site.yml's plays for Cloudflare against a stand-in of its API", 240, "long", [
        [str(BIN / "pytest"), "-q", "tests/long"],
    ]),
    Stage("windows", "system 4: its Debian real, Windows itself simulated; probes, backups", 1800, "long", [
        [PYTHON, "tests/lab/windows.py"],
    ]),
    Stage("mounts-long", "mounts killed, away, frozen and cut off under containers that write (30)", 2400, "long", [
        [PYTHON, "tests/faults/mount_faults.py", "--rounds", "30"],
    ]),
    Stage("adopt", "a set-up made by hand taken over, with faults and kills (4)", 3600, "long", [
        [PYTHON, "tests/faults/adopt_faults.py", "--kills", "4"],
    ]),
    Stage("second-core", "sanity and unit on the other ansible-core line (Python 3.12 or 3.13)", 900, "long", [
        [PYTHON, "tests/second_core.py"],
    ]),
    Stage("zfs", "modules and roles on real OpenZFS, in an emulated machine", 5400, "long", [
        [PYTHON, "tests/zfs/real_zfs.py"],
    ]),
    Stage("bench", "cost of runs that change nothing, beside the same work done with common modules", 900, "long", [
        [PYTHON, "tests/bench/run.py"],
        [PYTHON, "tests/bench/proxmox_calls.py"],
        [PYTHON, "tests/bench/immich_requests.py"],
        [PYTHON, "tests/bench/rclone.py"],
        [PYTHON, "tests/bench/zfs.py"],
        [PYTHON, "tests/bench/backup.py"],
    ]),
]  # fmt: skip


def tree_digest() -> str:
    """Digest of everything git would commit now: HEAD, the difference to it and untracked files."""
    digest = hashlib.sha256()
    for argv in (["git", "rev-parse", "HEAD"], ["git", "diff", "HEAD"]):
        digest.update(subprocess.run(argv, cwd=ROOT, check=True, capture_output=True).stdout)
    listed = subprocess.run(
        ["git", "ls-files", "--others", "--exclude-standard"], cwd=ROOT, check=True, capture_output=True, text=True
    )
    for name in listed.stdout.splitlines():
        digest.update(name.encode() + (ROOT / name).read_bytes())
    return digest.hexdigest()


def run(stage: Stage, extra: list[str], output: IO[str] | None = None) -> tuple[bool, float]:
    """Run a stage's commands until one fails or the budget is used up. ``output``: where all goes that they say."""
    print(f"\n=== {stage.name}: {stage.what} (budget {stage.budget} s)", file=output, flush=True)
    environment = dict(os.environ, PYTHONPATH=str(ROOT / "playbooks" / "collections"))
    environment["PATH"] = f"{BIN}{os.pathsep}{environment['PATH']}"
    start = time.monotonic()
    for command in stage.commands:
        left = stage.budget - (time.monotonic() - start)
        with subprocess.Popen(
            command + extra,
            cwd=ROOT,
            env=environment,
            start_new_session=True,
            stdout=output,
            stderr=output and subprocess.STDOUT,
        ) as process:
            RUNNING.add(process.pid)
            try:
                code = process.wait(timeout=max(left, 0.1))
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGTERM)
                try:
                    process.wait(timeout=20)
                except subprocess.TimeoutExpired:
                    os.killpg(process.pid, signal.SIGKILL)
                print(
                    f"{stage.name}: over its budget of {stage.budget} s in: {' '.join(command)}",
                    file=output,
                    flush=True,
                )
                code = 1
            finally:
                RUNNING.discard(process.pid)
        if code != 0:
            print(f"{stage.name}: failed (exit code {code}): {' '.join(command + extra)}", file=output, flush=True)
            return False, time.monotonic() - start
    return True, time.monotonic() - start


class Lane:
    """Stages that run one after the other; their results."""

    said = threading.Lock()

    def __init__(self, stages: list[Stage], resume: bool, digest: str) -> None:
        self.stages, self.resume, self.digest = stages, resume, digest
        self.results: list[tuple[Stage, str, float]] = []

    def run(self) -> None:
        for stage in self.stages:
            stamp = PASSED / stage.name
            if self.resume and stamp.exists() and stamp.read_text() == self.digest:
                self.results.append((stage, "passed earlier for this tree", 0.0))
                continue
            stamp.unlink(missing_ok=True)
            with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as output:
                good, seconds = run(stage, [], output)
                output.seek(0)
                with self.said:
                    sys.stdout.write(output.read())
                    print(f"{stage.name}: {'passed' if good else 'FAILED'} in {seconds:.1f} s", flush=True)
            self.results.append((stage, "passed" if good else "FAILED", seconds))
            if good:
                stamp.write_text(self.digest)


def run_tier(tier: str, resume: bool) -> int:
    chosen = [stage for stage in STAGES if tier == "long" or stage.tier == "quick"]
    PASSED.mkdir(parents=True, exist_ok=True)
    digest = tree_digest()
    lanes = [Lane([stage for stage in chosen if stage.site == site], resume, digest) for site in (True, False)]
    print(f"running {', '.join(stage.name for stage in chosen)}: each tells what it did when it ends", flush=True)
    with ThreadPoolExecutor(len(lanes)) as pool:
        try:
            for done in [pool.submit(lane.run) for lane in lanes]:
                done.result()
        except KeyboardInterrupt:
            for lane in lanes:
                lane.stages.clear()
            for group in list(RUNNING):
                os.killpg(group, signal.SIGTERM)
            raise
    results = [result for lane in lanes for result in lane.results]
    print(f"\n{'stage':<14}{'result':<32}{'seconds':>9}{'budget':>9}")
    for stage, result, seconds in results:
        print(f"{stage.name:<14}{result:<32}{seconds:>9.1f}{stage.budget:>9}")
    for stage in STAGES:
        if stage not in chosen:
            print(f"NOT RUN: {stage.name}: {stage.what} (make test-long)")
    failed = sum(result == "FAILED" for _stage, result, _seconds in results)
    print(f"{len(results) - failed} passed, {failed} failed")
    return 1 if failed else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["quick", "long", *(stage.name for stage in STAGES)])
    parser.add_argument("--resume", action="store_true", help="skip stages that passed for exactly this tree")
    parser.add_argument("--role", help="only this role (stage roles)")
    arguments = parser.parse_args()
    if arguments.what in ("quick", "long"):
        return run_tier(arguments.what, arguments.resume)
    stage = next(stage for stage in STAGES if stage.name == arguments.what)
    good, seconds = run(stage, ["--role", arguments.role] if arguments.role else [])
    print(f"{stage.name}: {'passed' if good else 'FAILED'} in {seconds:.1f} s")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
