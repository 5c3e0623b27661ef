# SPDX-License-Identifier: MIT
"""CPU seconds of zfs_datasets beside community.general.zfs in a loop, on real OpenZFS: 50 datasets with 4 properties,
nothing to change.

Counted is what the managed host notices: the Python processes that Ansible starts there, with the commands that they
start, as the kernel counts them (`times` of a shell around Python). A machine that waits for its host counts that, too,
so both sides run in turns, and the least of each counts. Of the loop a sample is run, for an item costs the
same whatever the number of items: all 50 would take a quarter of an hour in an emulated machine.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import yaml

DATASETS = 50
ROUNDS = 4
ITEMS = 2  # of the loop, in each round
TARGET = 60.0
PROPERTIES = {"compression": "lz4", "atime": "off", "recordsize": "131072", "quota": "1073741824"}
PYTHON = "/root/counted-python"
TIMES = "/root/times"
PREPARE = f"""set -e
zpool list -H -o name | while read -r pool; do zpool destroy -f "$pool"; done
truncate -s 2G /var/tmp/cost
zpool create -o ashift=12 cost /var/tmp/cost
cat > {PYTHON} <<'END'
#!/bin/sh
/usr/bin/python3 "$@"
code=$?
times >> {TIMES}
exit $code
END
chmod 755 {PYTHON}
"""
CLEAR = "zpool destroy -f cost; rm -f /var/tmp/cost"


def seconds(text: str) -> list[float]:
    """One number for each `times`: its second line is what the children took, as ``0m1.230000s 0m0.010000s``."""
    return [
        sum(60 * int(minutes) + float(rest) for minutes, rest in re.findall(r"(\d+)m([\d.]+)s", line))
        for line in text.splitlines()[1::2]
    ]


def measure(folder: Path, ssh: Callable[[str], str], play: Callable[[str], int]) -> bool:
    """``ssh`` runs a line on the machine, ``play`` a playbook and says how much changed."""
    names = [f"cost/d{number:03}" for number in range(DATASETS)]
    ours = {"datasets": [{"name": name, "properties": PROPERTIES} for name in names]}
    theirs = {"name": "{{ item }}", "state": "present", "extra_zfs_properties": PROPERTIES}
    tasks = {
        "ours": {"homelab.mediaserver.zfs_datasets": ours},
        "theirs": {"community.general.zfs": theirs, "loop": names[:ITEMS]},
    }
    for name, task in tasks.items():
        head = {"hosts": "all", "gather_facts": False, "vars": {"ansible_python_interpreter": PYTHON}}
        (folder / f"{name}.yml").write_text(yaml.safe_dump([{**head, "tasks": [task]}], sort_keys=False))

    def cost(name: str) -> list[float]:
        ssh(f"rm -f {TIMES}")
        if play(str(folder / f"{name}.yml")) != 0:
            raise SystemExit(f"cost: {name} changed something where all was as wanted")
        return seconds(ssh(f"cat {TIMES}"))

    one: list[float] = []
    many: list[float] = []
    ssh(PREPARE)
    try:
        play(str(folder / "ours.yml"))
        for _round in range(ROUNDS):
            many += cost("theirs")
            one += cost("ours")
    finally:
        ssh(CLEAR)
    ratio = min(many) * DATASETS / min(one)
    print(
        f"cost: {DATASETS} datasets, {len(PROPERTIES)} properties, nothing to change, CPU seconds of the managed host"
    )
    print(f"cost: zfs_datasets {min(one):.2f} (least of {len(one)}, at most {max(one):.2f})")
    print(f"cost: community.general.zfs {min(many):.2f} for a dataset (least of {len(many)}, at most {max(many):.2f}), "
          f"{min(many) * DATASETS:.0f} for all")  # fmt: skip
    verdict = "passed" if ratio >= TARGET else "FAILED"
    print(f"cost: ratio {ratio:.1f}, target {TARGET:g}: {verdict}", flush=True)
    return ratio >= TARGET
