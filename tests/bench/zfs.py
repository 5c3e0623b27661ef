#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""CPU seconds of zfs_datasets beside community.general.zfs in a loop: 50 datasets with 4 properties, nothing to change.

`zfs` and `zpool` are stubs here, shell scripts that print what OpenZFS 2.3 prints for datasets that are as wanted and
do nothing else: they cost less than the real commands, which favours the side that starts more of them. Two figures:
the whole run (ansible-playbook and all that it starts), and the managed host's part of it (module processes and the
commands that they start), which is what a host notices.

The target of 60 is measured on real OpenZFS (tests/zfs/cost.py, stage zfs). With stubs nearly all that is left on both
sides is Python, started and fed with Ansible's module_utils: a module that does nothing (ping, printed too) would
show 70 to 80 here, and ours shows 55 to 70, by the load of the machine. So this one guards against a module that grows.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from run import Cost, empty, play, write_play

DATASETS = 50
TARGET = 50.0
RUNS = 5  # of one module: each costs a few hundredths more or less
PROPERTIES = {"compression": "lz4", "atime": "off", "recordsize": "131072", "quota": "1073741824"}
FIXED = {
    "type": "filesystem", "used": "98304", "available": "1000000000", "mounted": "yes", "mountpoint": "/tank/x",
    "canmount": "on", "keystatus": "-", "encryption": "off", "encryptionroot": "-", "keylocation": "none",
    "keyformat": "none", "volsize": "-", "volblocksize": "-",
}  # fmt: skip
ZFS = """#!/bin/sh
# A stub of zfs: every dataset is as wanted.
[ "$1" = list ] && exit 0
[ "$1" = get ] || exit 1
shift
columns= recursive=
while :; do
  case $1 in
    -o) columns=$2; shift 2 ;;
    -t) shift 2 ;;
    -*) shift ;;
    *) break ;;
  esac
done
props=$1
shift
if [ "$columns" = property,source ]; then exec cat STATE/all; fi
if [ "$columns" = value ]; then exec cat "STATE/$props"; fi
IFS=,
rows=
for prop in $props; do
  read -r value < "STATE/$prop"
  rows="$rows,$prop\\t$value\\tlocal\\n"
done
for name in "$@"; do
  for row in ${rows#,}; do printf "$name\\t$row"; done
done
"""
ZPOOL = """#!/bin/sh
# A stub of zpool: a pool of version 5000.
printf 'NAME  PROPERTY  VALUE    SOURCE\\ntank  version   -        default\\n'
"""
PYTHON = """#!/bin/sh
# Python, with a note of the CPU time that it and its children took.
PYTHON "$@"
code=$?
times >> TIMES
exit $code
"""


@dataclass
class Measured:
    """A run, and the managed host's part of its CPU seconds."""

    cost: Cost
    host: float
    modules: int


def stubs(folder: Path) -> Path:
    """A folder with the commands and one with what they print."""
    state, commands = folder / "state", folder / "bin"
    state.mkdir()
    commands.mkdir()
    for name, value in {**FIXED, **PROPERTIES}.items():
        (state / name).write_text(f"{value}\n")
    # as many lines as the real `zfs get all` has
    rows = [f"{name}\tlocal" for name in PROPERTIES] + [f"other{number}\tdefault" for number in range(71)]
    (state / "all").write_text("".join(f"{row}\n" for row in rows))
    programs = {
        "zfs": ZFS.replace("STATE", str(state)),
        "zpool": ZPOOL,
        "python3": PYTHON.replace("PYTHON", sys.executable).replace("TIMES", str(folder / "times")),
    }
    for name, text in programs.items():
        (commands / name).write_text(text)
        (commands / name).chmod(0o755)
    return commands


def seconds(text: str) -> float:
    """The second line of `times`: what the children took, as ``0m1.230000s 0m0.010000s``."""
    return sum(
        60 * int(minutes) + float(rest) for minutes, rest in re.findall(r"(\d+)m([\d.]+)s", text.splitlines()[1])
    )


def measure(folder: Path, name: str, runs: int = 1) -> Measured:
    """The run with the mean of the managed host's part of all runs."""
    times = folder / "times"
    times.unlink(missing_ok=True)
    for _run in range(runs):
        cost = play(folder, name, changed=False)
    lines = times.read_text().splitlines()
    blocks = ["\n".join(lines[start : start + 2]) for start in range(0, len(lines), 2)]
    return Measured(cost, sum(map(seconds, blocks)) / runs, len(blocks) // runs)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--datasets", type=int, default=DATASETS)
    count = parser.parse_args().datasets
    with tempfile.TemporaryDirectory(prefix="mediaserver-bench-") as name:
        folder = Path(name)
        commands = stubs(folder)
        os.environ["PATH"] = f"{commands}:{os.environ['PATH']}"
        python = {"ansible_python_interpreter": str(commands / "python3")}
        names = [f"tank/d{number:03}" for number in range(count)]
        ours = {"datasets": [{"name": name, "properties": PROPERTIES} for name in names]}
        write_play(folder, "ours.yml", [{"homelab.mediaserver.zfs_datasets": ours}], vars=python)
        loop = {
            "community.general.zfs": {"name": "{{ item }}", "state": "present", "extra_zfs_properties": PROPERTIES},
            "loop": names,
        }
        write_play(folder, "loop.yml", [loop], vars=python)
        write_play(folder, "ping.yml", [{"ansible.builtin.ping": {}}], vars=python)
        start = empty(folder)
        least, one = measure(folder, "ping.yml", RUNS), measure(folder, "ours.yml", RUNS)
        many = measure(folder, "loop.yml")
    print(
        f"Second run of {count} datasets with {len(PROPERTIES)} properties, nothing to change (zfs and zpool are stubs)"
    )
    print(f"  {'':46} {'CPU s':>8} {'wall s':>8} {'host s':>8} {'modules':>8}")
    for what, done in (
        ("ping, which does nothing", least),
        ("zfs_datasets", one),
        ("community.general.zfs in a loop", many),
    ):
        print(f"  {what:46} {done.cost.cpu:8.2f} {done.cost.wall:8.2f} {done.host:8.2f} {done.modules:8}")
    whole, net = many.cost.cpu / one.cost.cpu, (many.cost.cpu - start.cpu) / max(one.cost.cpu - start.cpu, 0.01)
    host = many.host / max(one.host, 0.01)
    print(f"  ratio of CPU seconds, whole run {whole:.1f}; without Ansible's own start ({start.cpu:.2f} s) {net:.1f}")
    print(f"  ratio on the managed host {host:.1f}, at most {many.host / max(least.host, 0.01):.1f}")
    print(f"  target {TARGET:g}: {'reached' if host >= TARGET else 'MISSED'}")
    return 0 if host >= TARGET else 1


if __name__ == "__main__":
    sys.exit(main())
