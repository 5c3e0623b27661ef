#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Kill site.yml (SIGKILL, the whole process group) at seeded moments; the next run must converge.

The moments are spread over all phases: the tasks of an undisturbed run are cut into as many strata as there are kills
in a build, and each kill strikes at a random task of its stratum, after a random fraction of a second. A build that was
killed again and again and then finished must equal one that was never killed, file by file and container by container.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import snapshot
from runs import LAB, LOGS, ROOT, command, environment, play, read, stream

REFERENCE = ROOT / ".lab" / "reference.json"
KILLS_PER_BUILD = 5


def tasks_in(log: Path) -> int:
    return log.read_text(encoding="utf-8", errors="replace").count("\nTASK [")


def fresh_lab() -> None:
    """An empty node; the lab's keys and the site's secrets stay, so that two builds can be compared."""
    stream([sys.executable, str(LAB), "reset"])


def reference() -> dict:
    """State and number of tasks of an undisturbed build; the lab stage leaves them behind."""
    if REFERENCE.exists():
        return json.loads(REFERENCE.read_text())
    fresh_lab()
    run = play("site.yml")
    if run.code != 0:
        raise SystemExit(f"faults: the undisturbed build failed, see {run.log}")
    return keep_reference(run.log)


def keep_reference(log: Path) -> dict:
    found = {"tasks": tasks_in(log), "state": snapshot.take()}
    REFERENCE.write_text(json.dumps(found))
    return found


def killed_run(number: int, task: int, delay: float, argv: list[str] | None = None, after: str = "") -> str:
    """Run site.yml (or ``argv``) until ``task`` tasks began, wait ``delay`` seconds, kill. Returns the struck task.

    ``after``: words of its output to wait for besides.
    """
    log = LOGS / f"killed-{number:02d}.log"
    with log.open("w", encoding="utf-8") as output:
        process = subprocess.Popen(
            argv or command("site.yml", "--skip-tags", "verify"), cwd=ROOT, env=environment(),
            stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
    while process.poll() is None and (tasks_in(log) < task or after not in log.read_text(errors="replace")):
        time.sleep(0.05)
    if process.poll() is None:
        time.sleep(delay)
    if process.poll() is not None:
        return "(ended before the kill)"
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return read(0, log).text.rsplit("\nTASK [", 1)[-1].split("]")[0]


def build_with_kills(numbers: range, tasks: int, dice: random.Random, wanted: dict) -> list[str]:
    fresh_lab()
    width = tasks / len(numbers)
    for index, number in enumerate(numbers):
        task = int(width * index) + dice.randrange(max(1, int(width)))
        delay = dice.random() * 3
        struck = killed_run(number, max(1, task), delay)
        print(f"faults: kill {number}: at task {task} + {delay:.2f} s: {struck}", flush=True)
    last = play("site.yml")
    if last.code != 0:
        return [f"the run after the kills ended with {last.code}, see {last.log}"]
    return snapshot.differences(wanted, snapshot.take())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    arguments = parser.parse_args()
    print(f"faults: seed {arguments.seed} (repeat with --seed {arguments.seed})", flush=True)
    LOGS.mkdir(parents=True, exist_ok=True)
    dice = random.Random(arguments.seed)
    found = reference()
    failed = 0
    for first in range(0, arguments.kills, KILLS_PER_BUILD):
        numbers = range(first + 1, min(first + KILLS_PER_BUILD, arguments.kills) + 1)
        differing = build_with_kills(numbers, found["tasks"], dice, found["state"])
        for line in differing:
            print(f"faults: {line}")
        failed += bool(differing)
        print(
            f"faults: build with kills {numbers[0]}-{numbers[-1]}: {'differs' if differing else 'equals the reference'}"
        )
    builds = -(-arguments.kills // KILLS_PER_BUILD)
    print(f"{builds - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
