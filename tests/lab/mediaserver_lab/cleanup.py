# SPDX-License-Identifier: MIT
"""Removing every trace of the lab."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import PurePosixPath

from .driver import FIRST_LOOP
from .layout import LABEL, PREFIX, SECRETS, STATE
from .machines import LIMITS
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
        if not file.read_text().startswith("/.lab/disks/"):
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


def labelled(kind: str, *extra: str) -> list[str]:
    """Ids of everything of a kind (container, volume, network) that carries the lab's label."""
    verb = ["ps", "-aq"] if kind == "container" else [kind, "ls", "-q"]
    return docker(*verb, *extra, "--filter", f"label={LABEL}").split()


def as_root(command: Sequence[str], *options: str) -> None:
    """Run a command as root of the Docker host's devices and control groups: this user may not be root."""
    if docker_ok("image", "inspect", f"{PREFIX}/machine:latest"):
        docker(
            "run", "--rm", "--cgroupns=host", *LIMITS, "--network", "none", *options,
            "--entrypoint", command[0], f"{PREFIX}/machine:latest", *command[1:],
        )  # fmt: skip


def detach_loops(first: int = FIRST_LOOP, last: int = 1 << 20) -> None:
    """Let go of the lab's loop devices of this range and remove them."""
    as_root(["/usr/bin/python3", "-c", DETACH, str(first), str(last)])


def remove_files() -> None:
    """Control groups and files on the Docker host."""
    state = PurePosixPath(STATE)
    as_root(["/bin/sh", "-c", SWEEP], "--env", f"STATE_NAME={state.name}", "--volume", f"{state.parent}:/parent")


def destroy(*, images: bool, secrets: bool) -> None:
    if containers := labelled("container"):
        with step(f"{len(containers)} containers"):
            docker("rm", "--force", "--volumes", *containers)
    with step("loop devices, control groups, files"):
        detach_loops()
        remove_files()
    with step("volumes and networks"):
        volumes = [volume for volume in labelled("volume") if images or volume not in CACHES]
        if volumes:
            docker("volume", "rm", *volumes)
        if networks := labelled("network"):
            docker("network", "rm", *networks)
    if images:
        with step("images"):
            found = set(docker("images", "-q", "--filter", f"label={LABEL}=image").split())
            if found:
                docker("rmi", "--force", *found)
    if secrets:
        shutil.rmtree(SECRETS, ignore_errors=True)
