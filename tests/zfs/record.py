# SPDX-License-Identifier: MIT
"""Records what OpenZFS prints, for the unit tests.

    bash tests/zfs/machine.sh ssh python3 - < tests/zfs/record.py > tests/unit/fakes/zfs_recorded.json

Runs in the machine of machine.sh (it empties disks) and needs nothing but Python there.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

BY_ID = "/dev/disk/by-id/virtio-"
SSD0, SSD1, HDD0, HDD1 = (BY_ID + name for name in ("ssd0", "ssd1", "hdd0", "hdd1"))
records: dict[str, dict[str, object]] = {}


def sh(line: str, data: str = "", must: bool = False) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "LC_ALL": "C"}
    done = subprocess.run(line.split(), input=data, capture_output=True, text=True, env=environment)
    if must and done.returncode != 0:
        sys.exit(f"{line}: {done.stderr}")
    return done


def create(line: str) -> None:
    """Make a pool; udev is slow in an emulated machine on a busy one, and zpool does not wait long for it."""
    for _attempt in range(5):
        sh("udevadm settle")
        if sh(f"zpool create {line}").returncode == 0:
            sh("udevadm settle")
            return
    sh(f"zpool create {line}", must=True)


def record(name: str, line: str) -> None:
    done = sh(line)
    records[name] = {"command": line, "rc": done.returncode, "out": done.stdout, "err": done.stderr}


def clean() -> None:
    for name in sh("zpool list -H -o name").stdout.split():
        sh(f"zpool destroy -f {name}")
    for path in (SSD0, SSD1, HDD0, HDD1):
        real = os.path.realpath(path)
        for part in sorted(Path("/dev").glob(f"{Path(real).name}[0-9]*")):
            sh(f"wipefs -qa {part}")
        sh(f"wipefs -qa {real}")
        sh(f"blkdiscard -q -f {real}")
    sh("udevadm settle")


def pools() -> None:
    get = "zpool get -Hp -o name,property,value,source health,size,allocated,free,ashift,autotrim,comment"
    record("no pools", get)
    record("nothing to import", f"zpool import -d {SSD0}")
    record("status of no pool", "zpool status -j -P tank")
    record("an option that status does not know", "zpool status -Z -P tank")
    for disk in (SSD0, SSD1):
        sh(f"sfdisk -q {disk}", "label: gpt\n,1G\n,1G\n,1G\n,1G\n")
    sh("udevadm settle")
    create(
        f"tank mirror {HDD0} {HDD1} special mirror {SSD0}-part1 {SSD1}-part1 "
        f"log mirror {SSD0}-part2 {SSD1}-part2 cache {SSD0}-part3 spare {SSD1}-part3 "
        f"dedup mirror {SSD0}-part4 {SSD1}-part4"
    )
    record("full status", "zpool status -P tank")
    record("full status json", "zpool status -j -P tank")
    record("pool properties", get)
    record("unknown pool property", get + ",autotrimm")
    sh("zpool export tank")
    record("one to import", f"zpool import -d {HDD0}-part1 -d {HDD1}-part1 -d {SSD0}-part1 -d {SSD1}-part1")
    record("parts of a whole disk", f"zpool import -d {HDD0}")
    sh("zpool import -d /dev/disk/by-id tank")
    sh("zpool destroy tank")
    clean()
    create(f"tank mirror {HDD0} {HDD1}")
    sh(f"zpool offline -f tank {HDD1}")
    record("faulted status", "zpool status -P tank")
    record("faulted status json", "zpool status -j -P tank")
    sh("zpool export tank")
    sh(f"wipefs -qa {HDD1}-part1 {HDD1}")
    sh(f"dd if=/dev/zero of={HDD1} bs=1M count=8 conv=fsync")
    sh("udevadm settle")
    record("degraded to import", f"zpool import -d {HDD0}-part1")
    sh("zpool import -d /dev/disk/by-id tank")
    record("missing status", "zpool status -P tank")
    record("missing status json", "zpool status -j -P tank")
    record("mismatched add", f"zpool add -n tank {SSD0}")
    record("busy create", f"zpool create -n other {HDD0}")
    clean()
    files = " ".join(f"/var/tmp/record{number}" for number in range(4))
    sh(f"truncate -s 200M {files}")
    sh("zpool create tank raidz1 /var/tmp/record0 /var/tmp/record1 /var/tmp/record2")
    sh("dd if=/dev/urandom of=/tank/data bs=1M count=60")
    sh("zpool offline tank /var/tmp/record1")
    sh("zpool replace tank /var/tmp/record1 /var/tmp/record3")
    record("raidz status", "zpool status -P tank")
    record("raidz status json", "zpool status -j -P tank")
    sh("zpool destroy tank")
    sh(f"rm {files}")


def datasets() -> None:
    create(f"-o ashift=12 tank {SSD0}")
    record("created volume", "zfs create -V 100000001 tank/odd")
    record("size of odd volume", "zfs get -Hp -o value volsize tank/odd")
    sh("zfs create tank/a")
    sh("zfs set x:lines=one\ttwo tank/a")
    subprocess.run(["zfs", "set", "x:lines=one\ttwo\nthree\tfour", "tank/a"])
    record("user property with line breaks", "zfs get -Hp -o name,property,value,source x:lines,quota tank/a tank")
    for prop in ("snapshot_limit", "userquota@1000", "groupobjquota@7", "refreservation", "x:none", "volsize"):
        record(f"unset {prop}", f"zfs get -Hp -o name,property,value,source {prop} tank/a")
    record(
        "missing datasets",
        "zfs get -Hp -t filesystem,volume -o name,property,value,source quota none/x tank/none tank/a",
    )
    record("unknown property", "zfs get -Hp -o name,property,value,source quotta tank/a")
    record("all of a file system", "zfs get -Hp -o name,property,value,source all tank/a")
    record("all of a volume", "zfs get -Hp -o name,property,value,source all tank/odd")
    record("list of a missing tree", "zfs list -Hp -r -t filesystem,volume,snapshot -o name,type tank/none tank/a")
    sh("useradd -u 1500 backup-user")
    sh("zfs allow backup-user create,mount,send tank")
    sh("zfs allow -l -g 1500 diff tank/a")
    sh("zfs allow -d -e hold tank/a")
    sh("zfs allow -s @set clone tank/a")
    sh("zfs allow -c destroy tank/a")
    sh("zfs allow -u 4242 send,receive,@set tank/a")
    record("allow", "zfs allow tank/a")
    record("allow nothing", "zfs allow tank/odd")
    for name, line in {
        "create in a missing pool": "zfs create none/x",
        "create below a missing parent": "zfs create tank/x/y",
        "create again": "zfs create tank/a",
        "bad value": "zfs set compression=x tank/a",
        "quota zero": "zfs set quota=0 tank/a",
        "limit zero": "zfs set snapshot_limit=0 tank/a",
        "read-only": "zfs set used=1 tank/a",
        "inherit quota": "zfs inherit quota tank/a",
        "mount again": "zfs mount tank/a",
        "volsize not a multiple": "zfs set volsize=200000001 tank/odd",
        "destroy a parent": "zfs destroy tank",
        "allow an unknown user": "zfs allow nobody-here send tank/a",
        "missing key": "zfs create -o encryption=on -o keyformat=raw -o keylocation=file:///none tank/lost",
    }.items():
        record(name, line)


if __name__ == "__main__":
    if Path("/etc/hostname").read_text().strip() != "zfs-machine":
        sys.exit("This empties disks: it only runs in the machine of tests/zfs/machine.sh.")
    clean()
    records["version"] = {"command": "zfs version", "rc": 0, "out": sh("zfs version").stdout, "err": ""}
    try:
        datasets()
        clean()
        pools()
        clean()
    finally:
        json.dump(records, sys.stdout, indent=1)
        print()
