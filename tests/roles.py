#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Run the molecule scenarios of the roles, several at once, on machines of the lab.

    roles.py [--role NAME ...] [--workers N] [--image ubuntu-prepared]

Builds the lab's image (Debian's) if it is not there. One line per scenario: result, seconds, CPU seconds of the
controller (the machine's own are not in it). All logs are in .lab/logs/roles/, a failed one's tail is shown. The
machines are removed at the end, however it ends. Exit code 1 when a scenario failed.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
SCENARIOS = ROOT / "molecule"
LOGS = ROOT / ".lab" / "logs" / "roles"
WORK = ROOT / ".lab" / "molecule"
LAB = [sys.executable, str(ROOT / "tests" / "lab" / "lab.py")]
SLOW_FIRST = ("services", "firewall", "openvpn", "base", "docker", "ddclient")
"""The longest begin first, so that none is left alone at the end; what is not named comes after them."""
PREFIX = "all-"
"""Begins the names of this run's machines: who runs a scenario by hand at the same time takes none of them away."""
LIMIT = 400
"""Seconds after which a scenario is killed and has failed."""
TAIL = 60
"""How many lines of a failed one's log are shown."""
STEPS = ("create", "check", "converge", "idempotence", "check", "verify")
"""What every scenario has to have gone through, in this order; more may lie between."""


@dataclass(frozen=True)
class Result:
    name: str
    passed: bool
    seconds: float
    cpu: float
    log: Path


class Running:
    """The process groups of scenarios, so that an end from outside leaves none behind."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._groups: set[int] = set()
        self.ending = False

    def start(self, argv: list[str], **options: Any) -> subprocess.Popen[bytes] | None:
        with self._lock:
            if self.ending:
                return None
            process = subprocess.Popen(argv, start_new_session=True, **options)
            self._groups.add(process.pid)
            return process

    def kill(self, group: int) -> None:
        with self._lock:
            if group in self._groups:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(group, signal.SIGKILL)

    def forget(self, group: int) -> None:
        with self._lock:
            self._groups.discard(group)

    def end(self) -> None:
        with self._lock:
            self.ending = True
            groups = set(self._groups)
        for group in groups:
            self.kill(group)


def scenarios() -> list[str]:
    names = sorted(path.parent.name for path in SCENARIOS.glob("*/molecule.yml") if path.parent.name != "default")
    return sorted(names, key=lambda name: SLOW_FIRST.index(name) if name in SLOW_FIRST else len(SLOW_FIRST))


def environment(name: str) -> dict[str, str]:
    """Tools of this Python, no colours, and a folder of its own: molecule keeps there what it has already done."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return dict(os.environ) | {
        "PATH": path,
        "PYTHONPATH": str(ROOT / "playbooks" / "collections"),
        "MOLECULE_EPHEMERAL_DIRECTORY": str(WORK / name),
        "MEDIASERVER_MACHINE_PREFIX": PREFIX,
        "NO_COLOR": "1",
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_FORCE_COLOR": "0",
        "COLUMNS": "200",
    }


def left_out(text: str) -> str | None:
    """The first of STEPS that a log does not show as done, for molecule also passes what it was not told to do."""
    done = iter(re.findall(r"^INFO +\[[^]>]+ > (\w+)\] Executed: Successful", text, re.MULTILINE))
    for step in STEPS:
        if step not in done:
            return step
    return None if "Verifier completed successfully" in text else "verify"


def run(name: str, running: Running) -> Result:
    """Run one scenario. molecule does not destroy (that would stand last in a failed one's log): the end of it does."""
    log, folder = LOGS / f"{name}.log", WORK / name
    log.with_suffix(".journal").unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    begin = time.monotonic()
    argv = ["molecule", "test", "--scenario-name", name, "--destroy=never", "--no-command-borders", "--no-report"]
    with log.open("wb") as output:
        process = running.start(
            argv, cwd=ROOT, env=environment(name), stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
        )
        if process is None:
            return Result(name, False, 0, 0, log)
        timer = threading.Timer(LIMIT, running.kill, [process.pid])
        timer.start()
        _, status, usage = os.wait4(process.pid, 0)
        timer.cancel()
        running.forget(process.pid)
    seconds = time.monotonic() - begin
    process.returncode = os.waitstatus_to_exitcode(status)
    problem = None
    if seconds >= LIMIT:
        problem = f"killed after {LIMIT} s"
    elif process.returncode == 0 and (step := left_out(log.read_text(errors="replace"))):
        problem = f"{step} did not run. A scenario has tests, and its test_sequence goes through {', '.join(STEPS)}"
    if problem:
        with log.open("a") as output:
            output.write(f"\n{problem}\n")
    passed = process.returncode == 0 and not problem
    if not passed:
        keep_journal(name)
    machines_down([name])
    return Result(name, passed, seconds, usage.ru_utime + usage.ru_stime, log)


def keep_journal(name: str) -> None:
    """Keep what a failed scenario's machine has to say, beside the log."""
    with (LOGS / f"{name}.journal").open("wb") as output:
        argv = ["docker", "exec", f"mediaserver-lab-test-{PREFIX}{name}", "journalctl", "--no-pager", "--lines=3000"]
        subprocess.run(argv, stdout=output, stderr=subprocess.STDOUT, check=False)


def machines_down(names: list[str]) -> None:
    machines = [PREFIX + name for name in names]
    subprocess.run([*LAB, "machine", "down", *machines], cwd=ROOT, stdout=subprocess.DEVNULL, check=False)


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Scenarios' machines have fixed names: two runs on one Docker host would take each other's away."""
    path = Path(tempfile.gettempdir()) / f"mediaserver-roles-{os.getuid()}.lock"
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            sys.exit("roles: another run uses the scenarios' machines now")
        yield


def run_all(names: list[str], workers: int) -> list[Result]:
    """Run scenarios until all are done or somebody ends it; no process and no machine stays."""
    running, results = Running(), []
    machines_down(names)
    pool = ThreadPoolExecutor(workers)
    try:
        for done in as_completed([pool.submit(run, name, running) for name in names]):
            result = done.result()
            results.append(result)
            word = "passed" if result.passed else "FAILED"
            print(f"{result.name:<12}{word:<8}{result.seconds:>7.1f} s{result.cpu:>7.1f} s CPU", flush=True)
            if not result.passed:
                text = re.sub(r"\x1b\[[\d;]*m", "", result.log.read_text(errors="replace"))
                print("\n".join(f"    {line}" for line in text.splitlines()[-TAIL:]))
                print(f"    (all of it: {result.log}, the machine's journal beside it)", flush=True)
    finally:
        running.end()
        pool.shutdown(cancel_futures=True)
        if len(results) < len(names):
            machines_down(names)
    return results


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--role", action="append", help="only this role's scenario; may be given several times")
    parser.add_argument("--workers", type=int, default=3, help="how many at once (3)")
    parser.add_argument("--image", default="prepared", help="what the machines boot: prepared, ubuntu-prepared")
    arguments = parser.parse_args()
    os.environ["MEDIASERVER_MACHINE_IMAGE"] = arguments.image  # read by molecule/default/create.yml
    everything = scenarios()
    if unknown := sorted(set(arguments.role or []) - set(everything)):
        parser.error(f"no scenario for {', '.join(unknown)}; there are: {', '.join(everything)}")
    names = [name for name in everything if not arguments.role or name in arguments.role]
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda received, _frame: sys.exit(128 + received))
    LOGS.mkdir(parents=True, exist_ok=True)
    with alone():
        begin = time.monotonic()
        if subprocess.run([*LAB, "image", arguments.image], cwd=ROOT, check=False).returncode != 0:
            return 1
        print(f"{'image':<12}{'ready':<8}{time.monotonic() - begin:>7.1f} s", flush=True)
        results = run_all(names, arguments.workers)
    if not arguments.role:
        others = sorted({path.name for path in (ROOT / "roles").iterdir() if path.is_dir()} - set(everything))
        print(f"NOT RUN here (tests/unit/test_house.py says where each is): {', '.join(others)}")
    failed = sum(not result.passed for result in results)
    print(f"{len(results) - failed} passed, {failed} failed in {time.monotonic() - begin:.0f} s")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
