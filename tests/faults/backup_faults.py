#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Backups under fire, with the real runner and real restic. Nothing that was saved may be lost; the next run converges.

    backup_faults.py [--kills 20] [--seed N]

SIGKILL at seeded moments, a wrong password, one flipped pack, an off-site server that is away, answers 500 or refuses
to delete (real `rclone serve restic --append-only`), a repository on a full disk (a small tmpfs; needs root, else NOT
RUN). There are two repositories; after each fault both are compared, by hashes, with what was to be saved.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import http.server
import json
import os
import random
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))
from real_restic import restic_folder

ROOT = Path(__file__).resolve().parents[2]
BACKUP = ROOT / "roles/backup/files/mediaserver_backup.py"
PATIENCE = 5


def contents(folder: Path) -> dict[str, str]:
    """Path below the folder to SHA-256."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


class World:
    """Two sources, a database and two repositories."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder, self.dice = folder, random.Random(seed)
        self.source = folder / "photos"
        self.places: dict[str, dict[str, Any]] = {
            name: {"name": name, "path": str(folder / name), "mount": None} for name in ("local", "offsite")
        }
        self.environment = {
            **os.environ,
            "PATH": f"{restic_folder()}{os.pathsep}{os.environ['PATH']}",
            "MEDIASERVER_BACKUP_CONFIG": str(folder / "backup.json"),
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        (folder / "password").write_text("faults-not-secret\n")
        with contextlib.closing(sqlite3.connect(folder / "app.db")) as database:
            database.execute("CREATE TABLE t (v TEXT)")
            database.execute("INSERT INTO t VALUES ('kept')")
            database.commit()
        self.add(40)
        self.configure()

    def add(self, count: int, size: int = 400_000) -> None:
        for _index in range(count):
            path = self.source / f"{self.dice.randrange(20)}" / f"{self.dice.randrange(10**9)}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(self.dice.randbytes(self.dice.randrange(1, size)))

    def configure(self, keep: int = 1000, **secrets: dict[str, str]) -> None:
        common = {"service": "photos", "schedule": "daily", "keep": {"last": keep}}
        database = {"kind": "sqlite", "file": str(self.folder / "app.db"), "mount": None}
        jobs = [
            {**common, "name": "photos-all", "paths": [{"path": str(self.source), "mount": None}]},
            {**common, "name": "photos-main", "database": database},
        ]
        (self.folder / "environment.json").write_text(json.dumps(secrets))
        (self.folder / "backup.json").write_text(json.dumps({
            "host": "faults", "jobs": jobs, "repositories": list(self.places.values()), "patience": PATIENCE,
            "password_file": str(self.folder / "password"), "environment_file": str(self.folder / "environment.json"),
            "cache_dir": str(self.folder / "cache"), "state_dir": str(self.folder / "state"),
            "metrics_file": str(self.folder / "backup.prom"), "lock_file": str(self.folder / "backup.lock"),
            "check_data": "100%",
        }))  # fmt: skip

    def run(self, *arguments: str, allowed: tuple[int, ...] = (0,)) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(BACKUP), *arguments]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False)
        if done.returncode not in allowed:
            fail(f"{' '.join(arguments)} ended with {done.returncode}: {done.stderr.strip()}")
        return done

    def metric(self, name: str, **labels: str) -> float | None:
        for line in (self.folder / "backup.prom").read_text().splitlines():
            if line.startswith(f"{name}{{") and all(f'{key}="{value}"' in line for key, value in labels.items()):
                return float(line.rpartition(" ")[2])
        return None

    def last_good(self, repository: str, job: str = "photos-all") -> float | None:
        name = "mediaserver_backup_last_run_successful"
        return self.metric(name, repository=repository, backup=job)

    def snapshots(self, repository: str) -> set[str]:
        listed = self.run("restic", f"@{repository}", "snapshots", "--json", "--tag", "photos-all")
        return {one["id"] for one in json.loads(listed.stdout)}

    def prove(self, repository: str, wanted: dict[str, str]) -> None:
        """The newest snapshot gives back exactly what was to be saved."""
        target = self.folder / "restored"
        shutil.rmtree(target, ignore_errors=True)
        self.run("restic", f"@{repository}", "restore", "latest", "--tag", "photos-all", f"--target={target}",
                 "--quiet")  # fmt: skip
        found = contents(Path(f"{target}{self.source}"))
        if found != wanted:
            fail(f"{repository} gives back {len(found)} files, not the {len(wanted)} that were saved")
        dump = self.folder / "restored.db"
        with dump.open("wb") as file:
            subprocess.run(
                [sys.executable, str(BACKUP), "restic", f"@{repository}", "dump", "--tag", "photos-main", "latest",
                 "photos-main.sqlite"], env=self.environment, stdout=file, check=True,
            )  # fmt: skip
        with contextlib.closing(sqlite3.connect(dump)) as database:
            if database.execute("SELECT v FROM t").fetchall() != [("kept",)]:
                fail(f"{repository} lost the database")

    def good(self) -> None:
        """One more run without faults is good in both repositories."""
        self.run("run", "all")
        if [self.last_good(name) for name in self.places] != [1] * len(self.places):
            fail("the metrics do not say that the run was good everywhere")

    def converge(self) -> None:
        """Then everything is in both repositories, which are whole."""
        self.good()
        self.run("check")
        for name in self.places:
            self.prove(name, contents(self.source))


def fail(text: str) -> None:
    raise SystemExit(f"FAILED: {text}")


def kills(world: World, count: int) -> None:
    """The whole group dies: runner, restic and what restic runs."""
    world.run("run", "all")
    world.add(8)
    started = time.monotonic()
    world.run("run", "all")
    usual, runs, struck = time.monotonic() - started, 0, 0
    kept: dict[str, set[str]] = {name: world.snapshots(name) for name in world.places}
    while struck < count and runs < 3 * count:
        runs += 1
        world.add(8)
        with subprocess.Popen(
            [sys.executable, str(BACKUP), "run", "all"], env=world.environment, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, start_new_session=True,
        ) as process:  # fmt: skip
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=world.dice.uniform(0.05, 0.95 * usual))
            if process.poll() is None:
                struck += 1
                os.killpg(process.pid, signal.SIGKILL)
        if runs % 4:
            continue
        for name, before in kept.items():
            if before - (now := world.snapshots(name)):
                fail(f"{name} lost snapshots by a kill")
            kept[name] = now
    for name, before in kept.items():
        if before - world.snapshots(name):
            fail(f"{name} lost snapshots by a kill")
    if struck < count:
        fail(f"only {struck} of {runs} runs were hit")
    world.converge()
    print(f"killed {struck} of {runs} runs: both repositories whole, every file back by its hash", flush=True)


def wrong_password(world: World) -> None:
    """On the far side only: the near one is saved all the same, and the far one is left alone."""
    good, before = (world.folder / "password").read_text(), contents(world.folder / "offsite")
    (world.folder / "password").write_text("another-password\n")
    said = world.run("run", "all", allowed=(1,)).stderr
    if said.count("it was made with another password") != 2 or contents(world.folder / "offsite") != before:
        fail(f"a wrong password was not told or something was written: {said}")
    if world.last_good("local") != 0:
        fail("the metrics are still good with a wrong password")
    (world.folder / "password").write_text(good)
    world.good()
    print("wrong password: told, nothing written, the next run is good", flush=True)


def flipped_pack(world: World) -> None:
    packs = sorted(path for path in (world.folder / "local/data").rglob("*") if path.is_file())
    pack = max(packs, key=lambda one: one.stat().st_size)
    kept, data = world.folder / "kept-pack", bytearray(pack.read_bytes())
    shutil.copy2(pack, kept)
    place = world.dice.randrange(len(data) // 2)
    data[place] ^= 1 << world.dice.randrange(8)
    pack.chmod(0o600)
    pack.write_bytes(data)
    said = world.run("check", allowed=(1,))
    state = json.loads((world.folder / "state/state.json").read_text())
    if "local" in state["checks"] or "offsite" not in state["checks"] or "offsite: no damage" not in said.stdout:
        fail(f"the check did not tell the damaged repository from the whole one: {said.stdout}{said.stderr}")
    if world.metric("mediaserver_backup_repository_whole", repository="local") != 0:
        fail("the metric that fires the alert RepositoryDamaged is not 0")
    wanted = contents(world.source)
    lost = next(path for path in world.source.rglob("*.jpg"))
    lost.write_bytes(b"ruined")
    world.run("restore", "--service", "photos", "--repository", "offsite")
    if contents(world.source) != wanted:
        fail("the other repository did not bring everything back")
    for old in world.folder.glob("*.before-*"):
        shutil.rmtree(old) if old.is_dir() else old.unlink()
    shutil.copy2(kept, pack)
    world.run("check")
    if world.metric("mediaserver_backup_repository_whole", repository="local") != 1:
        fail("the metric does not say that the repository is whole again")
    print("one bit of a pack flipped: check and metric say so, the other repository gives everything back", flush=True)


class Answers500(http.server.BaseHTTPRequestHandler):
    def answer(self) -> None:
        self.send_response(500)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_HEAD = do_POST = do_DELETE = answer

    def log_message(self, *_arguments: Any) -> None:
        pass


def offsite_away(world: World) -> None:
    """Unreachable, then answering 500: the local backup is made in both cases, and the far one catches up."""
    kept = dict(world.places["offsite"])
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers500)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    for what, url in (
        ("away", f"rest:http://127.0.0.1:{free_port()}/faults/"),
        ("answering 500", f"rest:http://127.0.0.1:{server.server_address[1]}/faults/"),
    ):
        world.places["offsite"]["path"] = url
        world.configure()
        world.add(3)
        said = world.run("run", "all", allowed=(1,)).stderr
        if (world.last_good("local"), world.last_good("offsite")) != (1, 0):
            fail(f"off-site {what}: the metrics do not tell the two repositories apart: {said}")
        if world.metric("mediaserver_backup_repository_reachable", repository="offsite") != 0:
            fail(f"off-site {what}: it counts as reachable")
        world.prove("local", contents(world.source))
    server.shutdown()
    world.places["offsite"] = kept
    world.places["local"], local = (
        {**world.places["local"], "mount": str(world.folder / "unmounted")},
        world.places["local"],
    )
    world.configure()
    world.add(3)
    world.run("run", "all", allowed=(1,))
    if (world.last_good("local"), world.last_good("offsite")) != (0, 1):
        fail("the local disk is away: the off-site copy was not made")
    world.places["local"] = local
    world.configure()
    world.good()
    print("off-site away, answering 500, then the local disk away: the other one was saved, later both", flush=True)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def rest_server(folder: Path, *options: str) -> Iterator[str]:
    """A real REST server, with the login of its own that is given here."""
    port = free_port()
    login = ["--user=faults", "--pass=rest-not-secret"]
    command = ["rclone", "serve", "restic", f"--addr=127.0.0.1:{port}", *login, *options, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            deadline = time.monotonic() + 20
            while time.monotonic() < deadline:
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                    break
                time.sleep(0.1)
            yield f"rest:http://127.0.0.1:{port}/"
        finally:
            server.kill()


def append_only(world: World) -> None:
    """Its own credentials by environment; what may not be deleted is never asked for, and told where it is."""
    kept = dict(world.places["offsite"])
    login = {"RESTIC_REST_USERNAME": "faults", "RESTIC_REST_PASSWORD": "rest-not-secret"}
    (folder := world.folder / "served").mkdir()
    with rest_server(folder, "--append-only") as url:
        world.places["offsite"] = {"name": "offsite", "path": url, "mount": None, "append_only": True}
        world.configure(keep=1, offsite=login)
        for _number in range(2):
            world.add(2)
            world.run("run", "all")
        both = world.snapshots("offsite")
        if len(both) != 2 or len(world.snapshots("local")) != 1:
            fail(f"append-only: the far side has {len(both)} snapshots instead of 2")
        if "only add there" not in world.run("prune", allowed=(1,)).stderr:
            fail("prune of an append-only repository was not refused")
        world.places["offsite"].pop("append_only")  # as if nobody had said so: the server refuses, restic ends with 0
        world.configure(keep=1, offsite=login)
        said = world.run("run", "all", allowed=(1,)).stderr
        if "refuses to delete" not in said or world.last_good("offsite") != 0 or not both <= world.snapshots("offsite"):
            fail(f"a refused forget was taken for a good one: {said}")
        world.prove("offsite", contents(world.source))
    with rest_server(folder) as url:  # where deleting is allowed: the identity that prunes
        world.places["offsite"]["path"] = url
        world.configure(keep=1, offsite=login)
        world.run("prune")
        if len(world.snapshots("offsite")) != 1:
            fail("the identity that may prune did not")
        world.prove("offsite", contents(world.source))
    world.places["offsite"] = kept
    world.configure()
    print("append-only: added without deleting, a refused forget is a failure, pruned by who may", flush=True)


def full_disk(world: World) -> None:
    if os.geteuid() != 0:
        print("NOT RUN: repository disk full (needs root)", flush=True)
        return
    kept, disk = dict(world.places["local"]), world.folder / "disk"
    disk.mkdir()
    # what there is fits (how much the kills left, the seed decides), the 30 MB that follow do not
    room = sum(path.stat().st_size for path in world.source.rglob("*.jpg")) * 21 // 20 + 8 * 2**20
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={room}", "tmpfs", str(disk)], check=True)
    try:
        world.places["local"].update(path=str(disk / "repository"), mount=str(disk))
        world.configure()
        small = {path: path.read_bytes() for path in world.source.rglob("*.jpg")}
        world.run("run", "all")
        before = world.snapshots("local")
        saved = contents(world.source)
        for number in range(30):
            (world.source / f"big-{number}.bin").write_bytes(world.dice.randbytes(1_000_000))
        said = world.run("run", "all", allowed=(1,)).stderr
        if "no space left" not in said or (world.last_good("local"), world.last_good("offsite")) != (0, 1):
            fail(f"a full disk was not told, or kept the backup from the other repository: {said}")
        world.prove("offsite", contents(world.source))
        subprocess.run(["mount", "-o", f"remount,size={room + 200 * 2**20}", str(disk)], check=True)
        if not before <= world.snapshots("local"):
            fail("a full disk cost snapshots")
        if len(small) > len(saved):
            fail("the source lost files")
        world.good()
        world.prove("local", contents(world.source))
    finally:
        subprocess.run(["umount", str(disk)], check=True)
        world.places["local"] = kept
        world.configure()
    world.converge()
    print(
        "repository disk full: told, older snapshots whole, the other repository saved; good with more room", flush=True
    )


PARTS = (wrong_password, flipped_pack, offsite_away, append_only, full_disk)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--parts", type=int, default=len(PARTS), help="so many of the other faults, chosen by the seed")
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="backup-faults-") as folder:
        world = World(Path(folder), options.seed)
        kills(world, options.kills)
        chosen = world.dice.sample(PARTS, options.parts)
        for part in PARTS:
            started = time.monotonic()
            if part not in chosen:
                print(f"NOT RUN (left to make test-long): {part.__name__}", flush=True)
                continue
            part(world)
            print(f"  ({time.monotonic() - started:.1f} s)", flush=True)
        if len(chosen) == len(PARTS):
            world.converge()
    print("nothing was lost", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
