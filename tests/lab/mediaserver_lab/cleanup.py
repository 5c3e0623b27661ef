# SPDX-License-Identifier: MIT
"""Removing every trace of the lab."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import PurePosixPath

from .layout import (
    DISK_MARK,
    FIRST_LOOP,
    FIRST_TEST_LOOP,
    LABEL,
    LAST_LOOP,
    NODE,
    PREFIX,
    SECRETS,
    STATE,
    TEST,
    TEST_SECRETS,
)
from .machines import LIMITS, exists
from .shell import docker, docker_ok, step

CACHES = {f"{PREFIX}-packages", f"{PREFIX}-registry"}
"""Volumes that only save time: they go with the images."""

DETACH = r"""
import fcntl, os, pathlib, stat, subprocess, sys
first, last = int(sys.argv[1]), int(sys.argv[2])
os.mknod("/dev/loop-control", stat.S_IFCHR | 0o600, os.makedev(10, 237))
for path in pathlib.Path("/sys/block").glob("loop*"):
    number, file = int(path.name[4:]), path / "loop/backing_file"
    if not first <= number <= last:
        continue
    device = pathlib.Path(f"/dev/loop{number}")
    if file.exists():
        if not pathlib.Path(file.read_text()).name.startswith(sys.argv[3]):
            continue
        if not device.exists():
            os.mknod(device, stat.S_IFBLK | 0o600, os.makedev(7, number))
        subprocess.run(["losetup", "--detach", device], check=False)
    with open("/dev/loop-control", "rb") as control:
        try:
            fcntl.ioctl(control, 0x4C81, number)  # LOOP_CTL_REMOVE
        except OSError:
            pass
"""
SWEEP = r"""
mkdir -p /run/tree && mount -t cgroup2 cgroup2 /run/tree
find /run/tree/mediaserver-lab -depth -type d -exec rmdir {} + 2>/dev/null || true
rm -rf "/parent/$STATE_NAME"
"""


def labelled(kind: str, role: str) -> list[str]:
    """Ids of everything of a kind (container, volume, network) that serves this role in the lab."""
    verb = ["ps", "-aq"] if kind == "container" else [kind, "ls", "-q"]
    return docker(*verb, "--filter", f"label={LABEL}={role}").split()


def as_root(command: Sequence[str], *options: str) -> None:
    """Run a command as root of the Docker host's devices and control groups: this user may not be root."""
    if docker_ok("image", "inspect", f"{PREFIX}/machine:latest"):
        docker(
            "run", "--rm", "--cgroupns=host", *LIMITS, "--network", "none", *options,
            "--entrypoint", command[0], f"{PREFIX}/machine:latest", *command[1:],
        )  # fmt: skip


def detach_loops(first: int, last: int) -> None:
    """Let go of the lab's loop devices of this range and remove them."""
    as_root(["/usr/bin/python3", "-c", DETACH, str(first), str(last), DISK_MARK])


def remove_files() -> None:
    """Control groups and files on the Docker host."""
    state = PurePosixPath(STATE)
    as_root(["/bin/sh", "-c", SWEEP], "--env", f"STATE_NAME={state.name}", "--volume", f"{state.parent}:/parent")


def remove_machines(*roles: str) -> None:
    """Remove containers and volumes of these roles, and the loop devices of disks that nobody has any more."""
    containers = [name for role in roles for name in labelled("container", role)]
    if containers:
        with step(f"remove {len(containers)} machines"):
            docker("rm", "--force", "--volumes", *containers)
    detach_loops(FIRST_LOOP, LAST_LOOP if "test" in roles else FIRST_TEST_LOOP - 1)
    volumes = [name for role in roles for name in labelled("volume", role) if name not in CACHES]
    if volumes:
        docker("volume", "rm", *volumes)


def empty_node() -> None:
    """Remove guests, the node and everything on its disks; router, registry and probers stay."""
    remove_machines("vm")
    if exists(NODE.container):
        docker("rm", "--force", "--volumes", NODE.container)
    remove_files()


def destroy(*, images: bool, secrets: bool, keep_tests: bool) -> None:
    """Remove the lab; with ``keep_tests`` the machines for tests of roles stay."""
    remove_machines("vm", "machine", *([] if keep_tests else ["test"]))
    with step("remove files, control groups, networks"):
        remove_files()
        kept = {TEST.name} if keep_tests else set()
        networks = docker("network", "ls", "--filter", f"label={LABEL}=network", "--format", "{{.Name}}").split()
        if gone := [network for network in networks if network not in kept]:
            docker("network", "rm", *gone)
        if not keep_tests:
            shutil.rmtree(TEST_SECRETS, ignore_errors=True)
    if images:
        with step("remove images and caches"):
            if caches := [name for name in labelled("volume", "machine") if name in CACHES]:
                docker("volume", "rm", *caches)
            if found := set(docker("images", "-q", "--filter", f"label={LABEL}=image").split()):
                docker("rmi", "--force", *found)
    if secrets:
        shutil.rmtree(SECRETS, ignore_errors=True)
