#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The stage raspberrypi: reference system 5 from `make new` to proof, its cloud's faults, and its rebuild from nothing.

    raspberrypi.py [--kills 5] [--minutes 3] [--seed N] [--keep] [--from CHECK]

What is real and what stands in: pi_world.py. A phone uploads while rclone is killed at random moments and while Azure
is away for minutes; then the Pi burns with its inventory, and comes back from the recovery kit and Azure alone.
"""

from __future__ import annotations

import argparse
import atexit
import functools
import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import yaml
from end_to_end import expect, proved, run_checks, tells_no_secret, unchanged
from mediaserver_lab import test_machines
from pi_world import (
    INVENTORY,
    KIT,
    MOUNT,
    PI,
    RCLONE,
    azure,
    clear,
    cloudflare,
    find_cloudflare,
    fit_to_the_lab,
    flash,
    inside,
    keep_cloudflare,
    new_inventory,
    note,
    others,
    play,
)  # fmt: skip
from runs import ROOT, secret_values

PHOTOS = 60
PARSER = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
PARSER.add_argument("--kills", type=int, default=5, help="how often rclone is killed while a phone uploads")
PARSER.add_argument("--minutes", type=float, default=3, help="how long Azure is away")
PARSER.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(4), "big"))
PARSER.add_argument("--keep", action="store_true", help="leave the machines as they are")
OPTIONS, _REST = PARSER.parse_known_args()
DICE = random.Random(OPTIONS.seed)
ROWS = """
import json, sys
sys.dont_write_bytecode = True
sys.path.insert(0, "/usr/local/lib/mediaserver")
import mediaserver_manifest, mediaserver_psql
container = mediaserver_psql.container_id("immich", "database")
print(json.dumps(mediaserver_manifest.of_postgresql(container, "postgres", "immich")))
"""
LOAD_DUMP = r"""
set -e
image=$(docker inspect -f '{{.Config.Image}}' immich-database-1)
docker rm -f dumped >/dev/null 2>&1 || true
docker run -d --name dumped -e POSTGRES_PASSWORD=x -v /var/lib/postgresql/data "$image" >/dev/null
for _ in $(seq 60); do docker exec dumped psql -U postgres -qAtc 'SELECT 1' >/dev/null 2>&1 && break; sleep 1; done
sleep 3
newest=$(ls /mnt/azurephotos/backup/*.gz | tail -n 1)
gunzip -c "$newest" | docker exec -i dumped psql -q -U postgres >/dev/null 2>&1
docker exec dumped psql -U postgres -qAt -d immich -c 'SELECT count(*) FROM asset'
docker rm -f -v dumped >/dev/null
"""


def until(what: str, holds: Callable[[], bool], seconds: float = 240) -> float:
    began = time.monotonic()
    while not holds():
        expect(time.monotonic() - began < seconds, f"{what}: not within {seconds:.0f} s")
        time.sleep(1)
    return time.monotonic() - began


def running() -> bool:
    form = "{{.State.Running}}"
    return inside(f"docker inspect -f '{form}' immich-server-1", check=False) == "true"


def ledger() -> list[str]:
    return inside("cat /srv/ledger", check=False).split()


def uploads_again() -> Callable[[], bool]:
    before = len(ledger())
    return lambda: len(ledger()) > before


def bare() -> str:
    """What lies below the mount point, on the system's own disk."""
    return inside(
        "mkdir -p /under; grep -q ' /under ' /proc/self/mountinfo || mount --bind / /under; ls -A /under" + MOUNT
    )


def rows() -> dict[str, int]:
    found: dict[str, int] = json.loads(inside("python3 -", ROWS))
    return found


def originals() -> dict[str, str]:
    """Photographs at Azure by hash; Immich's markers hold the time of its last start."""
    return {
        name: sha
        for name, sha in azure.hashes("originals/").items()
        if not name.endswith(("/.immich", "/.mediaserver"))
    }


# --- building
def azure_with_photographs() -> str:
    clear()
    azure.start()
    azure.make_container()
    dice = random.Random(1)
    for number in range(PHOTOS):
        azure.put(f"originals/archive/{2010 + number % 7}/IMG {number:04}.jpg", dice.randbytes(dice.randrange(60_000)))
    return f"{PHOTOS} photographs in a container of real Azurite"


def machines_and_a_new_inventory() -> str:
    registry, address = others(), flash()
    began = time.monotonic()
    new_inventory(address)
    seconds = time.monotonic() - began
    fit_to_the_lab(registry)
    return f"from make new to a validated plan: {seconds:.0f} s"


def dry_run_on_a_new_pi() -> str:
    run = play("site.yml", "--check", "--diff")
    expect(run.code == 0, f"--check on a new Pi ended with {run.code}, see {run.log}")
    return f"{run.changed_total()} changes announced"


def first_run() -> str:
    return proved(play("site.yml"))


def second_run_and_dry_run_change_nothing() -> str:
    unchanged(play("site.yml", "--skip-tags", "verify"), "the second run")
    dry = play("site.yml", "--check", "--diff", "-vvv")
    unchanged(dry, "a dry run on a configured site")
    return f"changed=0 twice, {tells_no_secret(dry, secret_values(INVENTORY))}"


def everything_lies_where_it_should() -> str:
    form = "{{range .Mounts}}{{.Destination}}={{.Source}} {{end}}"
    names = " ".join(f"immich-{name}-1" for name in ("server", "database", "machine-learning"))
    binds = dict(word.split("=", 1) for word in inside(f"docker inspect -f '{form}' {names}").split())
    wanted = {"/data": f"{MOUNT}/originals/immich", "/data/thumbs": "/mnt/ssd/immich/thumbs",
              "/data/encoded-video": "/mnt/ssd/immich/encoded-video", "/cache": "/mnt/ssd/immich/model-cache",
              "/var/lib/postgresql/data": "/mnt/ssd/immich/postgres",
              "/mnt/photographs/photo-archive": f"{MOUNT}/originals/archive"}  # fmt: skip
    wrong = {at: binds.get(at) for at, source in wanted.items() if binds.get(at) != source}
    expect(not wrong, f"elsewhere: {wrong}")
    expect(inside(f"findmnt -no FSTYPE {MOUNT}") == "fuse.rclone", "the cloud is not mounted by rclone")
    expect(not azure.names("originals/immich/thumbs/"), "thumbnails went into the cloud")
    until("the photographs that were there are a library", lambda: rows().get("public.asset", 0) >= PHOTOS, 120)
    domains = {app["domain"] for app in cloudflare.apps.values()}
    expect(domains == {"photos.example.org"}, f"Access guards {domains}")
    return f"{PHOTOS} photographs in the external library; Access guards {', '.join(domains)} (stand-in)"


# --- faults
def rclone_killed_under_load() -> str:
    program = (Path(__file__).parent / "pi_load.py").read_text()
    inside("systemctl stop pi-load 2>/dev/null; systemctl reset-failed pi-load 2>/dev/null; true")
    inside("cat >/srv/load.py; rm -f /srv/ledger /run/pi-load.stop", program)
    inside(
        "cat >/run/pi-load.password; chmod 600 /run/pi-load.password", secret_values(INVENTORY)["immich.admin_password"]
    )
    inside("systemd-run --unit=pi-load --property=StandardInput=file:/run/pi-load.password "
           f"python3 /srv/load.py http://127.0.0.1:2283/api admin@example.org {OPTIONS.seed}")  # fmt: skip
    until("the phone uploads", lambda: len(ledger()) > 5)
    took = []
    for _number in range(OPTIONS.kills):
        time.sleep(DICE.uniform(1, 5))
        settled()
        killed, began = main_pid(), time.monotonic()
        inside(f"kill -9 {killed}")
        until("the mount, or Immich, ends", lambda: not running() or not mounted(), 30)
        until("rclone is another", functools.partial(replaced, killed))
        settled()
        took.append(time.monotonic() - began)
        expect(not bare() and not open_below(), f"written below the mount point: {bare()}")
    back = f"back after {min(took):.0f} to {max(took):.0f} s"
    return f"seed {OPTIONS.seed}, {len(took)} kills, {back}, {len(ledger())} uploads"


def replaced(killed: str) -> bool:
    return main_pid() not in ("0", killed)


def settled() -> None:
    """The cloud is mounted, Immich runs, and the phone uploads."""
    until("the cloud is mounted and Immich runs", lambda: mounted() and running() and main_pid() != "0")
    until("the phone uploads", uploads_again())


def main_pid() -> str:
    return inside(f"systemctl show -P MainPID {RCLONE}")


def mounted() -> bool:
    return bool(inside(f"grep -c ' {MOUNT} ' /proc/self/mountinfo", check=False).strip("0"))


def open_below() -> bool:
    """Whether others than root could write into the bare mount point."""
    return inside(f"stat -c %a /under{MOUNT}") != "0"


def azure_away_for_minutes() -> str:
    settled()
    azure.stop()
    began = time.monotonic()
    stopped = until("Immich stops while its cloud is away", lambda: not running())
    while time.monotonic() - began < OPTIONS.minutes * 60:
        expect(not running(), "Immich runs without its cloud")
        time.sleep(2)
    expect(not bare(), f"written below the mount point: {bare()}")
    azure.start()
    took = until("the phone uploads again", uploads_again())
    away = f"away for {OPTIONS.minutes:g} min, Immich stopped after {stopped:.0f} s"
    return f"{away}, uploads again {took:.0f} s after its return"


def no_upload_is_lost() -> str:
    inside("touch /run/pi-load.stop")
    until("the phone stops", lambda: inside("systemctl is-active pi-load", check=False) != "active", 60)
    acknowledged = set(ledger())
    until("all that waits has reached Azure", lambda: acknowledged <= set(originals().values()), 180)
    return f"{len(acknowledged)} uploads acknowledged, 0 lost (each compared by its hash at Azure)"


# --- rebuild
def backups_and_a_kit() -> str:
    saved = play("backup.yml")
    expect(saved.code == 0, f"backup.yml ended with {saved.code}, see {saved.log}")
    dumps = [name for name in azure.names("backup/") if name.endswith(".gz")]
    expect(bool(dumps), f"no dump by pg_dumpall at Azure, see {saved.log}")
    made = play("recovery_kit.yml", "-e", json.dumps({"to": str(KIT.parent)}))
    expect(made.code == 0 and KIT.parent.is_dir(), f"recovery_kit.yml ended with {made.code}, see {made.log}")
    kit = next(KIT.parent.glob("*.kit"))
    note(words=secret_values(INVENTORY)["recovery_kit.passphrase"], rows=rows(), files=originals(), kit=str(kit),
         uploads=len(set(ledger())))  # fmt: skip
    counts = rows()
    data = f"{sum(counts.values())} rows in {len(counts)} tables, {len(originals())} files"
    return f"{len(dumps)} dump by pg_dumpall, {data}"


def burnt_and_rebuilt() -> str:
    """The Pi, its SSD and the inventory go; the kit, its words and Azure stay."""
    test_machines.down([PI])
    shutil.rmtree(INVENTORY)
    known = note()
    began = time.monotonic()
    argv = [sys.executable, str(ROOT / "tools/recovery_kit.py"), "open", known["kit"], str(INVENTORY)]
    opened = subprocess.run(argv, input=known["words"], capture_output=True, text=True, check=False)
    expect(opened.returncode == 0, f"the kit does not open: {opened.stderr}")
    opening = time.monotonic() - began
    move_to(flash())  # the new SD card; not part of the figure
    began = time.monotonic()
    run = play("rebuild.yml")
    seconds = time.monotonic() - began + opening
    expect(run.code == 0, f"rebuild.yml ended with {run.code}, see {run.log}")
    expect("surprises: 0" in run.probes_line(), f"{run.probes_line()}, see {run.log}")
    return f"RTO {seconds:.0f} s; {run.probes_line()}"


def move_to(address: str) -> None:
    """Another test may have taken the old address meanwhile."""
    file = INVENTORY / "hosts.yml"
    tree = yaml.safe_load(file.read_text())
    tree["all"]["children"]["raspberrypi"]["hosts"]["pi"]["ansible_host"] = address
    file.write_text(yaml.safe_dump(tree, sort_keys=False))


def data_are_the_same() -> str:
    known, now = note(), rows()
    fewer = {name: (count, now.get(name)) for name, count in known["rows"].items() if (now.get(name) or 0) < count}
    expect(not fewer, f"rows were lost: {fewer}")
    after = originals()
    gone = sorted(name for name, sha in known["files"].items() if after.get(name) != sha)
    expect(not gone, f"{len(gone)} files differ at Azure: {gone[:5]}")
    listed = inside(
        f"cd {MOUNT}/originals && find . -type f ! -name .immich ! -name .mediaserver -exec sha256sum {{}} +"
    )
    through = {f"originals/{line[68:]}": line[:64] for line in listed.splitlines()}
    expect(through == after, "the mount shows other files than Azure holds")
    assets = int(inside("sh -s", LOAD_DUMP).splitlines()[-1])
    expect(assets == known["rows"]["public.asset"], f"the dump by pg_dumpall holds {assets} assets")
    dump = f"the dump by pg_dumpall loads, with {assets} assets"
    return f"{sum(known['rows'].values())} rows, {len(through)} files by hash (at Azure and through the mount); {dump}"


def a_last_run_changes_nothing() -> str:
    run = play("site.yml", "--skip-tags", "verify")
    expect(run.code == 0 and run.changed_total() == 0, f"changed={run.changed}, code {run.code}, see {run.log}")
    for verb in ("status.yml", "plan.yml"):
        done = play(verb)
        expect(done.code == 0, f"{verb} ended with {done.code}, see {done.log}")
    return "changed=0; status and plan without a Proxmox node"


CHECKS = [
    azure_with_photographs, machines_and_a_new_inventory, dry_run_on_a_new_pi, first_run,
    second_run_and_dry_run_change_nothing, everything_lies_where_it_should, rclone_killed_under_load,
    azure_away_for_minutes, no_upload_is_lost, backups_and_a_kit, burnt_and_rebuilt, data_are_the_same,
    a_last_run_changes_nothing,
]  # fmt: skip


def main() -> int:
    atexit.register(azure.stop)
    atexit.register(keep_cloudflare)
    if "--from" in sys.argv:
        find_cloudflare()
        azure.start()
    code = run_checks(CHECKS, PARSER)
    if not OPTIONS.keep and code == 0:
        clear()
    return code


if __name__ == "__main__":
    sys.exit(main())
