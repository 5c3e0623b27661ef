#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Power cut of a machine while its database is being loaded, then a restore: rows equal the last dump's manifest.

    power_cut.py [--cuts 5] [--seed N]

The machine is one of the lab's (systemd and a nested Docker in a container); the power cut is SIGKILL to that
container, so that nothing in it is told. Unlike in a real one, the kernel lives on and writes what it still holds. The
database is a real PostgreSQL, backup and restore are role backup's own. Each cut comes at a seeded moment of a load;
afterwards the database must come up by itself with every row that was committed, and the restore must bring exactly the
rows that were counted at the dump.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/lab"))
from mediaserver_lab import standins, test_machines
from mediaserver_lab.images import Images

MACHINE = "power-cut"
CONTAINER = test_machines.container_name(MACHINE)
MANIFEST = "/var/lib/mediaserver/backup/manifests/app-main.local.json"
IMAGE = "localhost/power-cut-postgres:17"
PSQL = "docker exec --interactive app-database-1 psql --username=postgres --dbname=app --quiet --no-align --tuples-only"
LOAD = "INSERT INTO photo SELECT n, md5(n::text) FROM generate_series({first}, {last}) n;"
BATCH = 2000


def run(argv: list[str], text: str | None = None, check: bool = True) -> str:
    done = subprocess.run(argv, input=text, text=True, capture_output=True, check=False)
    if check and done.returncode:
        raise SystemExit(f"power-cut: {' '.join(argv[:8])}: {(done.stderr or done.stdout).strip()[-3000:]}")
    return done.stdout


def inside(script: str, text: str | None = None, check: bool = True) -> str:
    return run(["docker", "exec", "--interactive", CONTAINER, "sh", "-c", script], text, check)


def sql(text: str, check: bool = True) -> str:
    return inside(f"{PSQL} --set=ON_ERROR_STOP=1", text, check).strip()


def build(folder: Path) -> None:
    """The machine with its database and backups."""
    images = Images()
    images.get("debian")
    found = standins.load()
    digests = standins.digests(found, images.digest("debian"))
    wanted = [one for one in found if one.local or one.name == "immich-postgres"]
    reference = {one.name: standins.build(one, digests[one.name]) for one in wanted}["immich-postgres"]
    inventory = folder / "inventory.yml"
    test_machines.down([MACHINE])
    test_machines.up([MACHINE], images, "prepared", str(inventory))
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "playbooks/collections")}
    argv = [str(Path(sys.executable).parent / "ansible-playbook"), "-i", str(inventory), "-e", f"image={IMAGE}"]
    done = subprocess.run([*argv, str(Path(__file__).with_suffix(".yml"))], env=environment, cwd=ROOT, text=True,
                          capture_output=True, check=False)  # fmt: skip
    if done.returncode:
        raise SystemExit(f"power-cut: {done.stdout[-3000:]}")
    run(["docker", "tag", reference, IMAGE])
    with subprocess.Popen(["docker", "save", IMAGE], stdout=subprocess.PIPE) as saved:
        subprocess.run(["docker", "exec", "--interactive", CONTAINER, "docker", "load", "--quiet"], stdin=saved.stdout,
                       check=True, capture_output=True)  # fmt: skip
    inside("systemctl enable --now app.service")
    sql("CREATE TABLE photo (id int PRIMARY KEY, hash text);" + LOAD.format(first=1, last=BATCH))


def cut(dice: random.Random, first: int) -> tuple[int, float]:
    """Load batches, each a transaction; kill the machine in their midst. The last row known to be committed."""
    committed = first - 1
    moment = dice.uniform(0.2, 4)
    argv = ["docker", "exec", "--interactive", CONTAINER, "sh", "-c", f"{PSQL} --set=ON_ERROR_STOP=1"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) as session:
        assert session.stdin and session.stdout
        with subprocess.Popen(["sh", "-c", f"sleep {moment:.3f}; docker kill --signal=KILL {CONTAINER}"],
                              stdout=subprocess.DEVNULL) as killer:  # fmt: skip
            try:
                for number in range(first, first + 10**8, BATCH):
                    last = number + BATCH - 1
                    session.stdin.write(f"{LOAD.format(first=number, last=last)}\n\\echo {last}\n")
                    session.stdin.flush()
                    if session.stdout.readline().strip() != str(last):
                        break
                    committed = last
            except BrokenPipeError:
                pass
            killer.wait()
        session.kill()
    return committed, moment


def one(number: int, dice: random.Random) -> list[str]:
    first = int(sql("SELECT max(id) FROM photo")) + 1
    inside("mediaserver-backup run all")
    counted = json.loads(inside(f"cat {MANIFEST}"))["rows"]["public.photo"]
    committed, moment = cut(dice, first)
    began = time.monotonic()
    test_machines.up([MACHINE], Images(), "prepared")
    deadline = time.monotonic() + 120
    while not (found := sql("SELECT count(*), max(id) FROM photo", check=False)):
        if time.monotonic() > deadline:
            return [f"cut {number}: the database does not come back"]
        time.sleep(0.5)
    rows, highest = (int(part) for part in found.split("|"))
    wrong = (
        [] if rows == highest and highest >= committed else [f"cut {number}: {rows} rows, {committed} were committed"]
    )
    wrong += [] if committed > counted else [f"cut {number}: nothing was loaded before the cut"]
    inside("mediaserver-backup restore --service app")
    restored = int(sql("SELECT count(*) FROM photo"))
    wrong += [] if restored == counted else [f"cut {number}: {restored} rows came back, {counted} were dumped"]
    print(f"power-cut: {number}: after {moment:.2f} s of load; {counted} dumped, {committed} committed, {rows} found, "
          f"{restored} restored, up and restored in {time.monotonic() - began:.0f} s", flush=True)  # fmt: skip
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cuts", type=int, default=5)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    options = parser.parse_args()
    print(f"power-cut: seed {options.seed} (repeat with --cuts {options.cuts} --seed {options.seed})", flush=True)
    dice, wrong = random.Random(options.seed), []
    try:
        with tempfile.TemporaryDirectory(prefix="power-cut-") as folder:
            build(Path(folder))
            for number in range(options.cuts):
                wrong += one(number, dice)
    finally:
        test_machines.down([MACHINE])
    for line in wrong:
        print(f"power-cut: {line}")
    print(f"{options.cuts - len(wrong)} passed, {len(wrong)} failed")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
