#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Mounts that die under load: containers stop and come back, nothing is written below, nothing is lost.

    mount_faults.py [--rounds 30] [--seed N] [--keep]

A machine of the lab gets its mounts, Docker and two services by the roles, from a plan made here: one writes into a
mount by real rclone, whose far side is `rclone serve webdav` in the same machine, the other onto a disk. Each round
does something to the mounts at a random moment. A watcher in the machine looks below the mount points all the time. In
the end every file whose writing was acknowledged must be at the far side, or on the disk, with its hash.
Not tested here: NFS and virtiofs, whose clients this machine's kernel may lack; the immutable flag, which a machine in
a container may not set; a power cut here loses no page cache. Over 300 lines, as host, faults and oracle are one story.
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
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
NAME = "mount-faults"
CONTAINER = f"mediaserver-lab-test-{NAME}"
LAB = [sys.executable, str(ROOT / "tests/lab/lab.py"), "machine"]
CLOUD, DISK, LEDGER = "/mnt/cloud", "/mnt/disk", "/srv/ledger"
DEVICE = "/dev/disk/by-id/scsi-0QEMU_QEMU_HARDDISK_drive-scsi1"
RCLONE = "rclone-mnt-cloud.service"
MOUNT_OF = {"cloudy": CLOUD, "solid": DISK}
FAR = """\
[Service]
ExecStart=/usr/bin/rclone serve webdav /srv/far --addr 127.0.0.1:8080 --user far --pass faults-not-secret
[Install]
WantedBy=multi-user.target
"""
# Writes a file, and its name and hash into the ledger once the file is closed; ends when it cannot, as programs do.
WRITER = """\
trap exit TERM
cd /ledger
while :; do
  name=$(/bin/busybox cat /proc/sys/kernel/random/uuid)
  /bin/busybox head -c $((1000 + RANDOM)) /dev/urandom >/tmp/new
  /bin/busybox cp /tmp/new "/data/$name" || exit 3
  echo "$name $(/bin/busybox sha256sum </tmp/new)" >>SERVICE
  /bin/busybox sleep 0.2
done
"""
# Runs in the machine. /under shows the root file system without what is mounted over it.
WATCHER = """\
import json, os, subprocess, time
found, since = set(), {}
while True:
    points = {line.split()[4] for line in open("/proc/self/mountinfo")}
    running = subprocess.run(["docker", "ps", "--format", "{{.Names}}"], capture_output=True, text=True).stdout
    for service, path in MOUNT_OF.items():
        if below := os.listdir("/under" + path):
            found.add(f"{below[:3]} was written below {path}")
        if path in points or f"{service}-main-1" not in running:
            since.pop(service, None)
        elif time.monotonic() - since.setdefault(service, time.monotonic()) > 60:
            found.add(f"{service} ran for more than 60 s without {path}")
    with open("/run/watched.new", "w") as file:
        json.dump(sorted(found), file)
    os.replace("/run/watched.new", "/run/watched")
    time.sleep(0.3)
"""


def say(text: str) -> None:
    print(f"mount_faults: {text}", flush=True)


def inside(*argv: str, check: bool = True) -> str:
    """Run in the machine."""
    done = subprocess.run(["docker", "exec", CONTAINER, *argv], check=False, capture_output=True, text=True)
    if check and done.returncode:
        raise SystemExit(f"mount_faults: {' '.join(argv)} ended with {done.returncode}: {done.stderr.strip()}")
    return done.stdout.strip()


def script(text: str, check: bool = True) -> str:
    return inside("sh", "-c", text, check=check)


def put(path: str, text: str) -> None:
    argv = ["docker", "exec", "-i", CONTAINER, "sh", "-c", 'mkdir -p "$(dirname "$1")" && cat >"$1"', "sh", path]
    subprocess.run(argv, input=text, text=True, check=True)


def until(what: str, good: Callable[[], bool], seconds: float = 240) -> float:
    """Wait; how long it took."""
    begin = time.monotonic()
    while not good():
        if time.monotonic() - begin > seconds:
            units = script(f"journalctl --no-pager -n 200; systemctl --no-pager status {RCLONE} mnt-disk.mount "
                           "mediaserver-cloudy mediaserver-solid; docker ps -a; docker logs --tail 5 cloudy-main-1",
                           check=False)  # fmt: skip
            raise SystemExit(f"{units}\nmount_faults: {what} did not happen within {seconds:.0f} s")
        time.sleep(0.3)
    return time.monotonic() - begin


# --- the host and its plan
def service(name: str, storage: str) -> dict[str, Any]:
    return {
        "summary": f"Writes to {storage}",
        "containers": {
            "main": {
                "image": "localhost/box:1", "user": "1000:1000", "memory": "64M",
                "command": ["/bin/busybox", "sh", "-c", WRITER.replace("SERVICE", name)],
                "volumes": {"data": "/data", "ledger": "/ledger"},
                "options": {"tmpfs": ["/tmp:mode=1777"]},
            }
        },
        "volumes": {"data": {"class": storage}, "ledger": {"class": "ledger", "folder": name}},
    }  # fmt: skip


def make_plan(folder: Path) -> dict[str, Any]:
    sys.path.insert(0, str(ROOT / "playbooks/collections"))
    from ansible_collections.homelab.mediaserver.plugins.plugin_utils import build

    for name, storage in (("cloudy", "cloud"), ("solid", "disk")):
        (folder / "catalog" / name).mkdir(parents=True)
        (folder / "catalog" / name / "service.yml").write_text(json.dumps(service(name, storage)))
    far = {"url": "http://127.0.0.1:8080", "vendor": "other", "user": "far"}
    options = "--dir-cache-time=3s,--vfs-write-back=1s,--timeout=10s,--low-level-retries=2,--attr-timeout=1s"
    values = {
        "site_name": "faults", "site_domain": "example.org", "site_email": "a@example.org",
        "site_admin": {"user": "ops", "ssh_keys": ["ssh-ed25519 AAAA ops"]},
        "site_zones": {"lan": ["10.77.3.0/24"]}, "site_network": {"gateway": "10.77.3.1"},
        "site_services": {"cloudy": {"hosts": ["box"]}, "solid": {"hosts": ["box"]}},
        "site_rclone": {"far": {"type": "webdav", "options": far, "secrets": ["pass"]}},
        "site_secrets": {"rclone.far_pass": True},
        "site_storage": {
            "cloud": {"source": "far:", "as": "rclone", "mount": CLOUD, "cache": "1G", "options": options},
            "disk": {"source": DEVICE, "as": "disk", "mount": DISK},
            "ledger": {"as": "local", "mount": LEDGER},
        },
    }  # fmt: skip
    hosts = {"box": {"file": "hosts.yml", "groups": [], "vars": {"ansible_host": "10.77.3.20"}}}
    made = build.build(build.Inputs(values=values, hosts=hosts, catalogs=[(folder / "catalog", False)]))
    if made.problems.found:
        raise SystemExit("\n".join(problem.text() for problem in made.problems.found))
    host: dict[str, Any] = made.plan["hosts"]["box"]
    return host


def converge(folder: Path, again: bool = False) -> None:
    environment = dict(
        os.environ, ANSIBLE_PIPELINING="1", ANSIBLE_NOCOWS="1", ANSIBLE_NOCOLOR="1",
        ANSIBLE_COLLECTIONS_PATH=str(ROOT / "playbooks/collections"), PATH=f"{BIN}{os.pathsep}{os.environ['PATH']}",
    )  # fmt: skip
    argv = [str(BIN / "ansible-playbook"), str(ROOT / "tests/faults/mount_faults.yml"),
            "-i", str(folder / "machine.yml"), "-e", f"@{folder / 'plan.json'}"]  # fmt: skip
    done = subprocess.run(argv, env=environment, check=False, capture_output=True, text=True)
    if done.returncode or (again and "changed=0 " not in done.stdout):
        told = f"{done.stdout[-6000:]}{done.stderr}"
        raise SystemExit(f"mount_faults: the roles failed, or changed something twice\n{told}")


def boot(folder: Path) -> None:
    machine = [*LAB, "up", NAME, "--image", "prepared", "--disk=300M", "--inventory", str(folder / "machine.yml")]
    subprocess.run(machine, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)


def watch() -> None:
    script("mkdir -p /under && mount --bind / /under")
    put("/run/watch.py", f"MOUNT_OF = {MOUNT_OF!r}\n{WATCHER}")
    subprocess.run(["docker", "exec", "-d", CONTAINER, "python3", "/run/watch.py"], check=True)


# --- what is seen
def running(name: str) -> bool:
    form = "{{.State.Running}}"
    return inside("docker", "inspect", "-f", form, f"{name}-main-1", check=False) == "true"


def ledger(name: str) -> dict[str, str]:
    lines = [line.split() for line in script(f"cat {LEDGER}/{name}/{name}", check=False).splitlines()]
    return {fields[0]: fields[1] for fields in lines if len(fields) == 3}


def writes_again(name: str) -> Callable[[], bool]:
    """It writes into what is mounted there now, acknowledged anew."""
    before = len(ledger(name))
    return lambda: running(name) and len(ledger(name)) > before


def mounted(path: str) -> bool:
    return bool(script(f"grep -c ' {path} ' /proc/self/mountinfo", check=False).strip("0"))


# --- what is done to it
def kill_rclone() -> None:
    script(f"kill -9 $(systemctl show -P MainPID {RCLONE})")
    until("rclone's mount ends", lambda: not mounted(CLOUD) or not running("cloudy"))


def far_away() -> None:
    inside("systemctl", "stop", "far.service")
    until("the container stops while its far side is away", lambda: not running("cloudy"))
    inside("systemctl", "start", "far.service")


def kill_while_far_away() -> None:
    inside("systemctl", "stop", "far.service")
    kill_rclone()
    until("the container stops", lambda: not running("cloudy"))
    time.sleep(6)
    if running("cloudy") or mounted(CLOUD):
        raise SystemExit("mount_faults: it mounted, or ran, without a far side")
    # neither the daemon's start nor somebody's start of the unit gets past that
    inside("systemctl", "restart", "docker.service")
    inside("docker", "start", "cloudy-main-1", check=False)
    time.sleep(2)
    if running("cloudy"):
        raise SystemExit("mount_faults: Docker started it without its mount")
    inside("systemctl", "start", "far.service")


def far_freezes() -> None:
    inside("systemctl", "kill", "--signal=STOP", "far.service")
    until("the container stops while its far side says nothing", lambda: not running("cloudy"))
    inside("systemctl", "kill", "--signal=CONT", "far.service")


def lazy_unmount() -> None:
    inside("fusermount3", "-uz", CLOUD)
    until("the cloud is mounted again", lambda: mounted(CLOUD))


def unmount_disk() -> None:
    inside("umount", "--lazy", DISK)
    until("the container stops without its disk", lambda: not running("solid"))


def cut_in(folder: Path) -> Callable[[], None]:
    def power_cut() -> None:
        inside("systemctl", "disable", "far.service")
        subprocess.run(["docker", "kill", CONTAINER], check=True, stdout=subprocess.DEVNULL)
        boot(folder)
        watch()
        time.sleep(8)
        if running("cloudy"):
            raise SystemExit("mount_faults: it started at boot without its mount")
        inside("systemctl", "enable", "--now", "far.service")

    return power_cut


def round_(fault: Callable[[], None], dice: random.Random) -> None:
    time.sleep(dice.uniform(0, 3))
    fault()
    took = max(until(f"{name} writes again", writes_again(name)) for name in MOUNT_OF)
    told = json.loads(script("cat /run/watched"))
    if told:
        raise SystemExit(f"mount_faults: {'; '.join(told)}")
    say(f"{fault.__name__:<20} back after {took:.0f} s")


def settle() -> tuple[int, int]:
    """Let what is cached reach the far side, then compare: acknowledged files, files that are not as they were."""
    for name in MOUNT_OF:
        inside("systemctl", "stop", f"mediaserver-{name}.service")
    wanted = {f"/srv/far/cloudy/data/{name}": sha for name, sha in ledger("cloudy").items()}
    wanted |= {f"{DISK}/solid/data/{name}": sha for name, sha in ledger("solid").items()}

    def there() -> set[str]:
        lines = script(f"find /srv/far/cloudy {DISK}/solid -type f -exec sha256sum {{}} +").splitlines()
        found = {line.split("  ", 1)[1]: line.split()[0] for line in lines}
        return {path for path, sha in wanted.items() if found.get(path) != sha}

    end = time.monotonic() + 60
    while there() and time.monotonic() < end:
        time.sleep(1)
    lost = there()
    for path in sorted(lost)[:5]:
        say(f"LOST {path}")
    return len(wanted), len(lost)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(4), "big"))
    parser.add_argument("--keep", action="store_true", help="leave the machine as it is")
    arguments = parser.parse_args()
    dice = random.Random(arguments.seed)
    say(f"seed {arguments.seed}, {arguments.rounds} rounds")
    folder = Path(tempfile.mkdtemp(prefix="mount-faults-"))
    began = time.monotonic()
    try:
        subprocess.run([*LAB, "down", NAME], cwd=ROOT, check=False, stdout=subprocess.DEVNULL)
        plan = make_plan(folder)
        (folder / "plan.json").write_text(json.dumps({"host_plan": plan}))
        boot(folder)
        script(
            "apt-get -qq install -y --no-install-recommends rclone busybox-static >/dev/null 2>&1; mkdir -p /srv/far"
        )
        put("/etc/systemd/system/far.service", FAR)
        script("systemctl daemon-reload && systemctl enable --now far.service 2>/dev/null")
        converge(folder)
        watch()
        say(f"host built in {time.monotonic() - began:.0f} s")
        faults = [kill_rclone, kill_while_far_away, unmount_disk, far_away, lazy_unmount, far_freezes]
        faults.append(cut_in(folder))
        dice.shuffle(faults)  # each once before any twice; of a few rounds the seed says which
        done: Counter[str] = Counter()
        for number in range(arguments.rounds):
            fault = faults[number % len(faults)] if number < len(faults) else dice.choice(faults)
            round_(fault, dice)
            done[fault.__name__] += 1
        if arguments.rounds >= len(faults):
            converge(folder, again=True)
        count, lost = settle()
        say(f"{sum(done.values())} faults {dict(done)}, {count} files acknowledged, {lost} lost, "
            f"{time.monotonic() - began:.0f} s")  # fmt: skip
        return 1 if lost or count < 10 else 0
    finally:
        if not arguments.keep:
            subprocess.run([*LAB, "down", NAME], cwd=ROOT, check=False, stdout=subprocess.DEVNULL)
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
