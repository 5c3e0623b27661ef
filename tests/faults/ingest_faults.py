#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Ingest under fire: SIGKILL at seeded random moments, a misbehaving cloud, a full disk. No file may be lost.

    ingest_faults.py [--kills 50] [--seed N]

Real rclone against a WebDAV stand-in that injects faults (flaky_webdav.py), real restic through the real backup runner.
At every deletion that reaches the cloud an oracle looks by itself: the content must lie below the target, and must have
been there before a backup that a later check found whole. In the end every file that was ever uploaded exists,
photos are still in the cloud, videos are gone from it, each deletion stands in the manifest once and its content comes
out of the snapshot named there. Needs root only for the full disk (a small tmpfs); without, that part is NOT RUN.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))
from flaky_webdav import Cloud, serve
from real_restic import restic_folder

ROOT = Path(__file__).resolve().parents[2]
INGEST = ROOT / "roles/ingest/files/mediaserver_ingest.py"
BACKUP = ROOT / "roles/backup/files/mediaserver_backup.py"
STAGING = ".mediaserver-ingest"
UNFINISHED = ("Camera/half.mp4.partial", "Camera/~half.mov.tmp", "Camera/.pending-1-now.mp4")
NAMES = ("Camera/VID {0}.mp4", "Camera/IMG_{0}.jpg", "Été/Sommer ✓ {0}.mov", "a/b/c/{0}.heic", "Camera/# {0}%20?.MP4")


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def contents(folder: Path) -> dict[str, str]:
    """Path to SHA-256 of everything below a folder, but for the staging folder."""
    found = {}
    for path in folder.rglob("*"):
        if STAGING not in path.parts and path.is_file():
            found[str(path)] = sha(path.read_bytes())
    return found


class World:
    """A cloud, a target, a repository, and the oracle."""

    def __init__(self, folder: Path, seed: int, target: Path | None = None) -> None:
        self.folder, self.dice = folder, random.Random(seed)
        self.target = target or folder / "library"
        self.target.mkdir(exist_ok=True)
        self.cloud = Cloud(random.Random(seed + 1), on_delete=self.on_delete)
        self.server = serve(self.cloud)
        self.violations: list[str] = []
        self.uploaded: dict[str, str] = {}
        self.backed: set[str] = set()
        self.number = 0
        self.struck: Counter[str] = Counter()
        self.environment = {
            **os.environ,
            "PATH": f"{restic_folder()}{os.pathsep}{os.environ['PATH']}",
            "MEDIASERVER_INGEST_CONFIG": str(folder / "ingest.json"),
            "MEDIASERVER_BACKUP_CONFIG": str(folder / "backup.json"),
            "RCLONE_RETRIES": "1",
            "RCLONE_LOW_LEVEL_RETRIES": "2",
            "RCLONE_TIMEOUT": "10s",
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        self.configure()

    def configure(self) -> None:
        url = f"http://127.0.0.1:{self.server.server_address[1]}/"
        self.write("rclone.conf", f"[cloud]\ntype = webdav\nurl = {url}\nvendor = owncloud\n")
        job = {"name": "phone", "remote": "cloud", "paths": ["Camera", "Été", "a"], "target": str(self.target),
               "mount": None, "copy": ["photos"], "move": ["videos"], "min_age": "1h", "min_free": "0",
               "schedule": "hourly"}  # fmt: skip
        self.write("ingest.json", json.dumps({
            "jobs": [job], "rclone_config": str(self.folder / "rclone.conf"), "settle": 0.1,
            "state_dir": str(self.folder / "ingest"), "metrics_file": str(self.folder / "ingest.prom"),
            "lock_file": str(self.folder / "ingest.lock"), "backup_config": str(self.folder / "backup.json"),
        }))  # fmt: skip
        self.write("password", "faults-not-secret\n")
        backup = {"name": "library", "service": "photos", "schedule": "daily", "keep": {"last": 1000},
                  "paths": [{"path": str(self.target), "mount": None}]}  # fmt: skip
        self.write("backup.json", json.dumps({
            "host": "faults", "jobs": [backup],
            "repositories": [{"name": "local", "path": str(self.folder / "repository"), "mount": None}],
            "password_file": str(self.folder / "password"), "environment_file": str(self.folder / "none.json"),
            "cache_dir": str(self.folder / "cache"), "state_dir": str(self.folder / "backup"),
            "metrics_file": str(self.folder / "backup.prom"), "lock_file": str(self.folder / "backup.lock"),
            "check_data": "5%",
        }))  # fmt: skip

    def write(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text, encoding="utf-8")

    def upload(self, count: int, size: int = 200_000) -> None:
        for _index in range(count):
            self.number += 1
            path = self.dice.choice(NAMES).format(self.number)
            data = self.dice.randbytes(self.dice.randrange(1, size))
            self.uploaded[path] = sha(data)
            self.cloud.put(path, data)

    def on_delete(self, path: str, data: bytes) -> None:
        """The oracle: called while the cloud still has the file."""
        content = sha(data)
        if content not in contents(self.target).values():
            self.violations.append(f"{path} was deleted without a local copy")
        if content not in self.backed:
            self.violations.append(f"{path} was deleted without a checked backup")
        if not path.lower().endswith((".mp4", ".mov")) or path in UNFINISHED:
            self.violations.append(f"{path} was deleted, and is no video")

    def start(self) -> subprocess.Popen[bytes]:
        with (self.folder / "ingest.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, str(INGEST), "run"], env=self.environment, start_new_session=True,
                stdout=log, stderr=log, stdin=subprocess.DEVNULL,
            )  # fmt: skip

    def run(self) -> int:
        return self.start().wait()

    def backup(self, *verb: str) -> None:
        """Back up; the oracle notes what was on the disk before, and believes it only after a check."""
        before, checked = set(contents(self.target).values()), self.state().get("checked")
        for arguments in (["run", "all"], ["check"]) if not verb else (list(verb),):
            self.saver(*arguments)
        if self.state().get("checked") != checked:
            self.backed |= before

    def saver(self, *arguments: str) -> str:
        argv = [sys.executable, str(BACKUP), *arguments]
        result = subprocess.run(argv, env=self.environment, capture_output=True, text=True, check=False)
        if result.returncode:
            raise SystemExit(f"ingest-faults: the backup failed: {result.stderr}")
        return result.stdout

    def state(self) -> dict[str, Any]:
        path = self.folder / "backup/state.json"
        return dict(json.loads(path.read_text())) if path.exists() else {}

    def manifest(self) -> list[dict[str, Any]]:
        path = self.folder / "ingest/manifest/deleted.jsonl"
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []

    def settle(self, rounds: int = 6) -> None:
        """Undisturbed runs and backups until the videos are gone from the cloud."""
        self.cloud.rate = self.cloud.slow = 0
        for _round in range(rounds):
            self.run()
            self.backup()
            if self.run() == 0 and not self.videos():
                return

    def videos(self) -> list[str]:
        return [path for path in self.cloud.files if path.lower().endswith((".mp4", ".mov")) and path not in UNFINISHED]

    def verdict(self) -> list[str]:
        """Everything that is wrong at the end."""
        wrong = list(self.violations)
        local = contents(self.target)
        deleted = sorted(self.cloud.deleted)
        for path, content in self.uploaded.items():
            if content not in local.values():
                wrong.append(f"{path} is lost" if path not in self.cloud.files else f"{path} was never copied")
            if path not in self.cloud.files and (path, content) not in deleted:
                wrong.append(f"{path} is gone from the cloud without a deletion")
        wrong += [f"{path} was not moved" for path in self.videos()]
        wrong += [f"{path} was fetched unfinished" for path in local if "half" in path or "pending" in path]
        lines = self.manifest()
        if sorted((line["path"], line["sha256"]) for line in lines) != deleted:
            wrong.append(f"the manifest has {len(lines)} lines, the cloud saw {len(deleted)} deletions")
        checked = set(self.state().get("checks", {}).get("local", {}).get("snapshots", []))
        for line in lines:
            wrong += self.in_backup(line, checked)
        left = [path.name for path in (self.target / STAGING).iterdir() if path.name != "CACHEDIR.TAG"]
        return wrong + [f"left in the staging folder: {name}" for name in left]

    def in_backup(self, line: dict[str, Any], checked: set[str]) -> list[str]:
        snapshot = line["backups"][0]["snapshot"]
        if snapshot not in checked:
            return [f"{line['path']}: snapshot {snapshot} passed no check"]
        environment = {
            **self.environment,
            "RESTIC_REPOSITORY": str(self.folder / "repository"),
            "RESTIC_PASSWORD_FILE": str(self.folder / "password"),
            "RESTIC_CACHE_DIR": str(self.folder / "cache"),
        }
        dump = subprocess.run(
            ["restic", "dump", snapshot, line["local"]], env=environment, capture_output=True, check=False
        )
        return [] if sha(dump.stdout) == line["sha256"] else [f"{line['path']}: not in snapshot {snapshot}"]


# What a kill waits for: the start of the run, a file that is being fetched, a deletion about to begin, one that began.
AIMS = ("start", "*.part", "*.part", "*.guard", "DELETE")


def seen(world: World, aim: str, names: set[str]) -> int:
    """How often the awaited thing was seen."""
    if aim == "DELETE":
        return world.cloud.asked[aim]
    names.update(path.name for path in world.target.glob(f"{STAGING}/{aim}"))
    return len(names)


def killed_run(world: World, dice: random.Random, aim: str) -> str:
    """Start a run, kill its process group at a random moment; says when, empty when it ended before."""
    names: set[str] = set()
    times, delay = dice.randrange(1, 4), dice.random() * (3 if aim == "start" else dice.choice([0.02, 0.25]))
    wanted = seen(world, aim, names) + times
    process, began = world.start(), time.monotonic()
    while aim != "start" and process.poll() is None and seen(world, aim, names) < wanted:
        time.sleep(0.002)
    if process.poll() is None:
        time.sleep(delay)
    if process.poll() is not None:
        return ""
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    struck = phase(world)
    world.struck[struck] += 1
    event = aim if aim == "start" else f"{aim} no. {times}"
    return f"{delay:.2f} s after {event}, {time.monotonic() - began:.1f} s old, while {struck}"


def phase(world: World) -> str:
    """What the killed run was about to do or had just done, as its journal and the staging folder tell."""
    if any(world.target.glob(f"{STAGING}/*.guard")):
        return "deleting"
    return "fetching" if any(world.target.glob(f"{STAGING}/*.part*")) else "looking"


def kills(folder: Path, count: int, seed: int) -> list[str]:
    world = World(folder, seed)
    dice = random.Random(seed + 2)
    for path in UNFINISHED:
        world.cloud.put(path, b"half of it")
    kept = prepare_clashes(world)
    world.upload(5)
    world.upload(1, 3_000_000)
    aims = [aim for _round in range(count) for aim in dice.sample(AIMS, len(AIMS))]
    done = rounds = 0
    while done < count and rounds < 4 * count + 20:
        rounds += 1
        world.cloud.rate, world.cloud.slow = dice.choice([0.0, 0.1, 0.3]), dice.choice([0.0, 0.2])
        if when := killed_run(world, dice, aims[done]):
            done += 1
            print(f"ingest-faults: kill {done}: {when}", flush=True)
        world.upload(2)
        # a backup that no check looked at is not enough, whatever its colour
        if dice.random() < 0.6:
            world.backup() if dice.random() < 0.7 else world.backup("run", "all")
    world.settle()
    wrong = world.verdict()
    wrong += [
        f"{path} was overwritten" for path, content in kept.items() if contents(world.target).get(path) != content
    ]
    if done < count:
        wrong.append(f"only {done} of {count} runs lived long enough to be killed")
    faults = ", ".join(f"{times} {kind}" for kind, times in sorted(world.cloud.faults.items()))
    struck = ", ".join(f"{times} {what}" for what, times in sorted(world.struck.items()))
    counts = f"{len(world.uploaded)} files, {len(world.cloud.deleted)} moved, struck while: {struck}"
    print(f"ingest-faults: {done} kills in {rounds} runs, {counts}; the cloud's faults: {faults}")
    world.server.shutdown()
    return wrong


def prepare_clashes(world: World) -> dict[str, str]:
    """Local files that were there before: another content under a coming name, a coming content under another name."""
    same = world.dice.randbytes(5000)
    world.cloud.put("Camera/VID known.mp4", same)
    world.uploaded["Camera/VID known.mp4"] = sha(same)
    world.cloud.put("Camera/VID clash.mp4", other := world.dice.randbytes(5000))
    world.uploaded["Camera/VID clash.mp4"] = sha(other)
    (world.target / "VID clash.mp4").write_bytes(b"mine, and older")
    (world.target / "VID known.mp4").write_bytes(same)
    return contents(world.target)


def full_disk(folder: Path, seed: int) -> list[str] | None:
    """A target of 2 MB for 4 MB of files: what does not fit stays in the cloud, and comes when there is room."""
    small = folder / "small"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "none", str(small)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode:
        return None
    try:
        world = World(folder, seed, small)
        for number in range(8):
            world.uploaded[f"Camera/{number}.mp4"] = sha(data := world.dice.randbytes(500_000))
            world.cloud.put(f"Camera/{number}.mp4", data)
        world.cloud.rate = 0.1
        codes = {world.run() for _round in range(2)}
        world.backup()
        codes.add(world.run())
        wrong = [] if codes == {1} else [f"a run on a full disk ended with {codes}"]
        wrong += [
            f"{path} is nowhere whole"
            for path, content in world.uploaded.items()
            if path not in world.cloud.files and content not in contents(small).values()
        ]
        if len(world.cloud.files) in (0, 8):
            wrong.append(f"{len(world.cloud.files)} of 8 files are in the cloud: the disk was never full")
        subprocess.run(["mount", "-o", "remount,size=20m", str(small)], check=True)
        world.settle()
        world.server.shutdown()
        return wrong + world.verdict()
    finally:
        subprocess.run(["umount", str(small)], check=False)


def damaged_everywhere(whole: bytes) -> bytes:
    """One bit flipped in every half KiB, so that no file of the pack is left out."""
    torn = bytearray(whole)
    for place in range(0, len(torn), 512):
        torn[place] ^= 1
    return bytes(torn)


def no_backup(folder: Path, seed: int) -> list[str]:
    """Backups without a check, a damaged repository, a changed local copy: nothing may be deleted."""
    world = World(folder, seed)
    world.upload(4)
    world.uploaded["Camera/one.mp4"] = sha(data := world.dice.randbytes(9000))
    world.cloud.put("Camera/one.mp4", data)
    world.run()
    wrong = [] if not world.cloud.deleted else ["a file was deleted without any backup"]
    world.backup("run", "all")  # makes the repository; its first check covers this snapshot
    state = world.state()
    state["checks"] = {}
    (folder / "backup/state.json").write_text(json.dumps(state))
    world.run()
    wrong += ["a file was deleted after a backup that no check covered"] if world.cloud.deleted else []
    packs = {pack: pack.read_bytes() for pack in (folder / "repository/data").rglob("*") if pack.is_file()}
    for pack, whole in packs.items():
        pack.chmod(0o600)
        pack.write_bytes(damaged_everywhere(whole))
    listed = json.loads(world.saver("restic", "snapshots", "--json"))
    state["checks"] = {
        "local": {"snapshots": [one["id"] for one in listed]}
    }  # as if the check's sample had missed the damage
    (folder / "backup/state.json").write_text(json.dumps(state))
    world.backed = set(contents(world.target).values())
    world.run()
    damaged = [path for path, content in world.cloud.deleted if not proven_by_hand(world, content)]
    wrong += [f"{path} was deleted, and its backup is damaged" for path in damaged]
    wrong += ["nothing was spared by the damage"] if not world.videos() else []
    for pack, whole in packs.items():
        pack.write_bytes(whole)
    left = world.videos()
    for path in contents(world.target):
        Path(path).write_bytes(b"someone wrote over it")
    before = len(world.cloud.deleted)
    world.run()
    wrong += ["a file was deleted whose local copy had changed"] if len(world.cloud.deleted) != before else []
    world.server.shutdown()
    return wrong + ([] if left else ["no video was left to test a changed local copy with"])


def proven_by_hand(world: World, content: str) -> bool:
    line = next((one for one in world.manifest() if one["sha256"] == content), None)
    return line is not None and not world.in_backup(line, {line["backups"][0]["snapshot"]})


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--keep", action="store_true", help="keep the folders, to look at logs")
    arguments = parser.parse_args()
    if shutil.which("rclone") is None:
        raise SystemExit("ingest-faults: rclone is missing: apt-get install rclone")
    print(
        f"ingest-faults: seed {arguments.seed} (repeat with --kills {arguments.kills} --seed {arguments.seed})",
        flush=True,
    )
    failed = passed = 0
    for name in ("no_backup", "full_disk", "kills"):
        began, folder = time.monotonic(), Path(tempfile.mkdtemp(prefix=f"ingest-{name}-"))
        wrong = (
            kills(folder, arguments.kills, arguments.seed)
            if name == "kills"
            else globals()[name](folder, arguments.seed)
        )
        if wrong is None:
            print(f"NOT RUN: ingest-faults {name}: no right to mount a small disk")
        for line in wrong or []:
            print(f"ingest-faults: {name}: {line}")
        failed += bool(wrong)
        passed += wrong == []
        print(f"ingest-faults: {name}: {'failed' if wrong else 'good'}, {time.monotonic() - began:.0f} s", flush=True)
        if wrong:
            print(f"ingest-faults: logs in {folder}")
        elif not arguments.keep:
            shutil.rmtree(folder)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
