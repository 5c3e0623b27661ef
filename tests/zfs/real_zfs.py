#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Modules and roles against real OpenZFS, in the emulated machine of machine.sh (built on first use: 15 CPU minutes).

    real_zfs.py [CASE ...]      all, or cases of cases.py by name (without `case_`); `roles` runs the roles, `cost`
                                measures zfs_datasets beside a loop of community.general.zfs
    real_zfs.py --keep ...      leave the machine running

The modules run inside the machine without Ansible's transport, the roles by ansible-playbook over SSH: check, converge,
again (no change), check (no change), verify.
"""

from __future__ import annotations

import argparse
import io
import os
import re
import shlex
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

import ansible
import cost
import yaml

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
MACHINE = ["bash", str(HERE / "machine.sh")]
ROLES = ("zfs", "zfs_snapshots")
FOREIGN = "/root/lib"
SECRET = "planted-zed-secret"  # of converge.yml


def machine(*words: str) -> str:
    return subprocess.run([*MACHINE, *words], check=True, stdout=subprocess.PIPE, text=True).stdout


def bundle() -> bytes:
    """What the modules need on the machine: themselves and Ansible's module_utils."""
    stream = io.BytesIO()
    core = Path(ansible.__file__).parent
    inside = Path("ansible_collections/homelab/mediaserver/plugins")
    with tarfile.open(fileobj=stream, mode="w:gz", compresslevel=1) as tar:
        tar.addfile(tarfile.TarInfo("ansible/__init__.py"))  # empty, as in the archives that Ansible sends
        for path in sorted((core / "module_utils").rglob("*.py")):
            tar.add(path, str(Path("ansible") / path.relative_to(core)))
        for pattern in ("modules/zfs_*.py", "module_utils/_*.py"):
            for path in sorted((ROOT / "plugins").glob(pattern)):
                tar.add(path, str(inside / path.relative_to(ROOT / "plugins")))
        tar.add(HERE / "cases.py", "cases.py")
    return stream.getvalue()


def run_cases(names: list[str]) -> bool:
    unpack = f"rm -rf {FOREIGN} && mkdir -p {FOREIGN} && tar -C {FOREIGN} -xz"
    subprocess.run([*MACHINE, "ssh", unpack], input=bundle(), check=True)
    command = f"cd {FOREIGN} && PYTHONPATH={FOREIGN} python3 -u cases.py {shlex.join(names)}"
    return subprocess.run([*MACHINE, "ssh", command]).returncode == 0


def inventory(folder: Path) -> Path:
    paths = dict(word.split("=", 1) for word in machine("paths").split())
    host = {
        "ansible_host": "127.0.0.1",
        "ansible_port": int(paths["port"]),
        "ansible_user": "root",
        "ansible_ssh_private_key_file": paths["key"],
        "ansible_ssh_common_args": f"-o UserKnownHostsFile={paths['known_hosts']} -o StrictHostKeyChecking=yes",
        "ansible_python_interpreter": "/usr/bin/python3",
    }
    target = folder / "hosts.yml"
    target.write_text(yaml.safe_dump({"all": {"hosts": {"zfs-machine": host}}}))
    return target


def play(folder: Path, name: str, *options: str) -> tuple[int, str]:
    """Changes and output of one playbook, errors included; ends the program when it fails."""
    environment = {
        **os.environ,
        "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "playbooks/collections"),
        "ANSIBLE_PIPELINING": "1",
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_HOME": str(folder / "home"),
    }
    command = [
        str(Path(sys.executable).with_name("ansible-playbook")),
        "-i",
        str(inventory(folder)),
        "--diff",
        *options,
    ]
    done = subprocess.run([*command, str(HERE / name)], env=environment, cwd=HERE, capture_output=True, text=True)
    recap = re.search(r"changed=(\d+).*failed=(\d+)", done.stdout)
    if done.returncode != 0 or recap is None:
        sys.exit(f"{name} {' '.join(options)} failed:\n{done.stdout[-5000:]}\n{done.stderr[-2000:]}")
    return int(recap[1]), done.stdout + done.stderr


def run_roles() -> bool:
    """The order of the molecule scenarios, on this machine."""
    good = True
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        play(folder, "prepare.yml")
        for step, options, quiet in (
            ("check on a fresh machine", ("--check",), None),
            ("converge", (), False),
            ("again", (), True),
            ("check", ("--check",), True),
        ):
            begun = time.monotonic()
            changed, output = play(folder, "converge.yml", "-vvv", *options)
            fine = quiet is None or (changed == 0) == quiet
            if SECRET in output:
                fine = False
                print(f"roles: {step}: a secret is shown {output.count(SECRET)} times")
            good &= fine
            verdict = "passed" if fine else "FAILED"
            print(f"roles: {step}: {verdict}, changed={changed} ({time.monotonic() - begun:.0f} s)", flush=True)
            if not fine:
                print(output[-4000:].replace(SECRET, "(the secret)"))
        play(folder, "verify.yml")
        print("roles: verify: passed", flush=True)
    return good


def run_cost() -> bool:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        return cost.measure(folder, lambda line: machine("ssh", line), lambda path: play(folder, path)[0])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("case", nargs="*")
    parser.add_argument("--keep", action="store_true", help="leave the machine running")
    arguments = parser.parse_args()
    cases = [name for name in arguments.case if name not in ("roles", "cost")]
    machine("start")
    good = True
    try:
        if cases or not arguments.case:
            good &= run_cases(cases)
        if "roles" in arguments.case or not arguments.case:
            good &= run_roles()
        if "cost" in arguments.case or not arguments.case:
            good &= run_cost()
    finally:
        if not arguments.keep:
            machine("stop")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
