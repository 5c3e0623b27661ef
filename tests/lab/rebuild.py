#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The stage rebuild: everything burns but the off-site repository and the recovery kit; the home comes back whole.

The site is built with a repository outside the house (real `rclone serve restic` on the machine `internet`) and gets
data: files in every class, rows in Immich's real PostgreSQL. After the backup the guests, the node's disks, the
inventory and all secrets are destroyed. The kit opens into an empty folder, one `make rebuild` follows, and what came
back is compared by hashes and rows. The seconds from the kit to the proved site are the RTO.

With --kills the rebuild is killed (SIGKILL, the whole process group) so often before it may finish, at seeded moments,
every second time while data come back. What comes back must be the same.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import yaml

sys.path.insert(0, str(Path(__file__).resolve().parent))
HOME = Path(__file__).resolve().parents[2] / ".lab" / "rebuild"
INVENTORY = HOME / "inventory"
# an inventory of its own, which can be lost; the lab's machines take their keys from it
os.environ["MEDIASERVER_LAB_SECRETS"] = str(INVENTORY / ".secrets")

from end_to_end import expect, own_service, own_service_retired, own_service_upgraded, run_checks
from faults import killed_run, tasks_in
from runs import GUESTS, LAB, ROOT, Run, command, guest, guest_python, secret_values, stream
from runs import INVENTORY as REFERENCE
from runs import play as play_in

KIT = HOME / "stick" / "lab.kit"
NOTES = HOME / "notes.json"
INTERNET = "mediaserver-lab-internet"
ADDRESS = "rest:http://198.18.77.1:8000/"
USER, PASSWORD = "home", "lab-only-offsite"
REBUILD = ("rebuild.yml", "-e", "repository=offsite")
OPTIONS = argparse.Namespace()
"""What the command line says: kills, seed."""

FILL = r"""
import os, pathlib, random, subprocess
dice = random.Random(77)
made = 0
for folder, count, size in (
    ("/mnt/photos/immich/lab-probe", 300, 60_000),
    ("/mnt/photos/albums/lab-probe", 60, 60_000),
    ("/mnt/photos/library/lab-probe", 60, 60_000),
    ("/mnt/media/library/movies/lab-probe", 3, 8_000_000),
):
    for number in range(count):
        path = pathlib.Path(folder, f"{number % 7}", f"{number:04}.jpg")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(dice.randbytes(dice.randrange(size)))
        os.utime(path, ns=(1_700_000_000_000_000_000 + number, 1_700_000_000_123_456_789 + number))
        made += 1
psql = ["docker", "exec", "-i", "immich-database-1", "psql", "-qAt", "-U", "postgres", "-v", "ON_ERROR_STOP=1"]
rows = "DROP TABLE IF EXISTS lab_probe;"
rows += "CREATE TABLE lab_probe AS SELECT n, md5(n::text) AS v FROM generate_series(1, 20000) AS n;"
subprocess.run([*psql, "-d", "immich"], input=rows, text=True, check=True)
print(made)
"""
# What every job protects: files by hash, mode, owner and time, databases by rows of each table. Logs are not compared.
COLLECT = r"""
import fnmatch, hashlib, json, os, pathlib, subprocess, sys, tempfile
sys.dont_write_bytecode = True
sys.path.insert(0, "/usr/local/lib/mediaserver")
import mediaserver_dumps, mediaserver_manifest, mediaserver_psql
config = json.load(open("/etc/mediaserver/backup.json"))
files, rows = {}, {}
for job in config["jobs"]:
    database = job.get("database") or {}
    if database.get("kind") == "postgresql":
        container = mediaserver_psql.container_id(job["service"], database["container"])
        rows[job["name"]] = mediaserver_manifest.of_postgresql(container, database["user"], database["name"])
    elif database and os.path.exists(database["file"]):  # some stand-ins keep none
        with tempfile.TemporaryDirectory() as folder:
            copy = pathlib.Path(folder, "copy")
            mediaserver_dumps.sqlite_copy(database["file"], copy)
            rows[job["name"]] = mediaserver_manifest.of_sqlite(copy)
    for source in job.get("paths", []):
        for folder, _folders, names in os.walk(source["path"]):
            for path in (os.path.join(folder, name) for name in names):
                if any(fnmatch.fnmatch(path, pattern) for pattern in job.get("exclude", [])):
                    continue
                info = os.lstat(path)
                content = os.readlink(path) if os.path.islink(path) else hashlib.sha256(
                    open(path, "rb").read()).hexdigest()
                files[path] = [content, oct(info.st_mode), info.st_uid, info.st_gid, info.st_mtime_ns]
probe = ""
if "immich-main" in rows:
    psql = ["docker", "exec", "immich-database-1", "psql", "-qAt", "-U", "postgres", "-d", "immich", "-c"]
    probe = subprocess.run([*psql, "SELECT count(*), md5(string_agg(v, '' ORDER BY n)) FROM lab_probe"],
                           capture_output=True, text=True).stdout.strip()
print(json.dumps({"files": files, "rows": rows, "probe": probe}))
"""
# What only people and the VPN's authority write must come back to the letter, times included. Services that run again
# go on writing their own files.
EXACT = ("/lab-probe/", "/letsencrypt/", "/pki/")


def play(playbook: str, *arguments: str) -> Run:
    return play_in(playbook, *arguments, inventory=INVENTORY)


def note(**values: Any) -> dict[str, Any]:
    """What later checks need; kept in a file, as --from begins anew."""
    known: dict[str, Any] = json.loads(NOTES.read_text()) if NOTES.exists() else {}
    NOTES.write_text(json.dumps({**known, **values}))
    return {**known, **values}


def state() -> dict[str, Any]:
    return {name: json.loads(guest_python(name, COLLECT)) for name in GUESTS}


def on_internet(*argv: str) -> str:
    return subprocess.run(["docker", "exec", INTERNET, *argv], check=True, capture_output=True, text=True).stdout


def an_inventory_with_a_repository_outside() -> str:
    shutil.rmtree(HOME, ignore_errors=True)
    shutil.copytree(REFERENCE, INVENTORY, ignore=shutil.ignore_patterns(".secrets"))
    site_file = INVENTORY / "group_vars" / "all" / "site.yml"
    site = yaml.safe_load(site_file.read_text())
    site["site_backup"]["repositories"]["offsite"] = {"url": ADDRESS}
    site["site_accept"].remove("backup-without-off-site")
    site["site_secrets"]["offsite"] = {"restic_rest_username": USER, "restic_rest_password": PASSWORD}
    site_file.write_text(yaml.safe_dump(site))
    return ""


def machines_and_the_server_outside() -> str:
    stream([sys.executable, str(LAB), "destroy", "--keep-tests"])
    stream([sys.executable, str(LAB), "up"])
    program = shutil.which("rclone")
    expect(program is not None, "this machine has no rclone to serve the repository with")
    subprocess.run(["docker", "cp", str(program), f"{INTERNET}:/usr/local/bin/rclone"], check=True)
    login = [f"--setenv=RCLONE_USER={USER}", f"--setenv=RCLONE_PASS={PASSWORD}"]
    serve = ["rclone", "serve", "restic", "--addr", "198.18.77.1:8000", "/srv/offsite"]
    on_internet("systemd-run", "--unit=lab-offsite", *login, *serve)
    return on_internet("rclone", "version").splitlines()[0]


def first_build() -> str:
    run = play("site.yml", "--skip-tags", "verify")
    expect(run.code == 0, f"site.yml ended with {run.code}, see {run.log}")
    note(tasks=tasks_in(run.log))
    return ""


def data_backup_and_kit() -> str:
    files = guest_python("vm-intranet", FILL).strip()
    saved = play("backup.yml")
    expect(saved.code == 0, f"backup.yml ended with {saved.code}, see {saved.log}")
    made = play("recovery_kit.yml", "-e", json.dumps({"to": str(KIT.parent)}))
    expect(made.code == 0 and KIT.exists(), f"recovery_kit.yml ended with {made.code}, see {made.log}")
    again = play("recovery_kit.yml", "-e", json.dumps({"to": str(KIT.parent)}))
    expect(again.code == 0 and again.changed_total() == 0, f"the same kit was written twice, see {again.log}")
    values = secret_values(INVENTORY)
    page = KIT.with_suffix(".html").read_text()
    shown = [name for name, value in values.items() if value in made.text + again.text + page + KIT.read_text()]
    expect(not shown, f"in clear on the page or in the output: {', '.join(shown)}")
    # the owner has written it down
    note(words=values["recovery_kit.passphrase"], before=state())
    counts = note()["before"]
    tables = sum(len(one) for host in counts.values() for one in host["rows"].values())
    return f"{files} files of people's, {sum(len(host['files']) for host in counts.values())} in all, {tables} tables"


def everything_burns() -> str:
    shutil.rmtree(INVENTORY)
    expect(not list(HOME.rglob("vault.*")), "a vault survived")
    return ""


def killed() -> list[str]:
    """Rebuilds that are killed, each a little further; what was struck."""
    dice, found = random.Random(OPTIONS.seed), []
    width = note()["tasks"] / max(1, OPTIONS.kills)
    for number in range(OPTIONS.kills):
        task, delay = int(width * number) + dice.randrange(max(1, int(width))), dice.random() * 6
        data = number % 2 == 1
        argv = command(*REBUILD, "--skip-tags", "verify", inventory=INVENTORY)
        struck = killed_run(number + 1, 1 if data else max(1, task), delay, argv, "Bring the data back" if data else "")
        found.append(f"{'the data' if data else f'task {task}'} + {delay:.1f} s ({struck})")
        print(f"lab: kill {number + 1} at {found[-1]}", flush=True)
    return found


def rebuilt_from_the_kit() -> str:
    began = time.monotonic()
    tool = [sys.executable, str(ROOT / "tools/recovery_kit.py"), "open", str(KIT), str(INVENTORY)]
    opened = subprocess.run(tool, input=note()["words"], capture_output=True, text=True, check=False)
    expect(opened.returncode == 0, f"the kit does not open: {opened.stderr}")
    opening = time.monotonic() - began
    # the new hardware: an empty node that knows the owner's key. Its making is not part of the RTO
    stream([sys.executable, str(LAB), "reset"])
    for name in GUESTS:
        expect(guest(name, "true").returncode != 0, f"{name} is still there")
    began = time.monotonic()
    struck = killed()
    run = play(*REBUILD)
    seconds = time.monotonic() - began + opening
    expect(run.code == 0, f"rebuild.yml ended with {run.code}, see {run.log}")
    expect("surprises: 0" in run.probes_line(), f"the rebuilt site is not proved: {run.probes_line()}, see {run.log}")
    note(rto=seconds)
    if struck:
        kills = f"seed {OPTIONS.seed}, killed at {'; '.join(struck)}"
        return f"{kills}; then whole, {seconds:.0f} s altogether; {run.probes_line()}"
    return f"RTO {seconds:.0f} s (kit opened, machines built, data restored, proved); {run.probes_line()}"


def all_data_are_back() -> str:
    """People's files to the letter, every row; what services wrote themselves is counted."""
    before, after = note()["before"], state()
    exact = same = lost = changed = 0
    for host, was in before.items():
        now = after[host]
        for path, file in was["files"].items():
            if any(part in path for part in EXACT):
                exact += 1
                expect(now["files"].get(path) == file, f"{host}:{path} was {file}, is {now['files'].get(path)}")
            lost += path not in now["files"]
            same += now["files"].get(path, [None])[0] == file[0]
            changed += now["files"].get(path, file)[0] != file[0]
        for job, tables in was["rows"].items():
            fewer = {name: (rows, now["rows"][job].get(name)) for name, rows in tables.items()
                     if (now["rows"][job].get(name) or 0) < rows}  # fmt: skip
            expect(not fewer, f"{host}: {job}: rows were lost: {fewer}")
        expect(now["probe"] == was["probe"], f"{host}: Immich's rows are {now['probe']}, were {was['probe']}")
    note(after=after)
    expect(lost == 0, f"{lost} files are missing that were there before")
    left = [host for host in GUESTS if "before" in guest(host, "find /mnt /etc -maxdepth 3 -name *.before-*").stdout]
    expect(not left, f"an old state was kept of machines that had none: {left}")
    rows = sum(sum(one.values()) for host in before.values() for one in host["rows"].values())
    return f"{exact} files to the letter, {same} in all by hash, {changed} written anew by services; {rows} rows"


def a_second_run_changes_nothing() -> str:
    run = play("site.yml", "--skip-tags", "verify")
    expect(run.code == 0 and run.changed_total() == 0, f"changed={run.changed}, code {run.code}, see {run.log}")
    return f"changed=0 on {len(run.changed)} hosts"


def a_second_rebuild_touches_no_data() -> str:
    """Neither what it brought back itself, nor, where that is forgotten, what is there."""
    run = play(*REBUILD, "--skip-tags", "verify")
    expect(run.code == 0 and "is left as it is" in run.text, f"rebuild.yml again ended with {run.code}, see {run.log}")
    expect(": as of " not in run.text, f"data were brought back twice, see {run.log}")
    guest("vm-intranet", "rm /var/lib/mediaserver/backup/state.json")
    run = play(*REBUILD, "--skip-tags", "verify", "--limit", "localhost,pve,vm-intranet")
    expect(run.code != 0 and "there are data already" in run.text, f"not refused: {run.log}")
    probe = json.loads(guest_python("vm-intranet", COLLECT))["probe"]
    expect(probe == note()["before"]["vm-intranet"]["probe"], "the refused rebuild touched Immich's rows")
    return "left as it is; refused where it is forgotten"


def a_service_comes_is_upgraded_and_retired() -> str:
    """The rebuilt site is one to go on with. Not in the quick tier for its minutes."""
    return "; ".join((own_service(INVENTORY), own_service_upgraded(), own_service_retired()))


CHECKS = [
    an_inventory_with_a_repository_outside,
    machines_and_the_server_outside,
    first_build,
    data_backup_and_kit,
    everything_burns,
    rebuilt_from_the_kit,
    all_data_are_back,
    a_second_run_changes_nothing,
    a_second_rebuild_touches_no_data,
    a_service_comes_is_upgraded_and_retired,
]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=0)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    return run_checks(CHECKS, parser, OPTIONS)


if __name__ == "__main__":
    sys.exit(main())
