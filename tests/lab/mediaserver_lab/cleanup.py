# SPDX-License-Identifier: MIT
"""Removing every trace of the lab."""

from __future__ import annotations

import shutil
from pathlib import PurePosixPath

from .layout import LABEL, PREFIX, SECRETS, STATE
from .machines import LIMITS
from .shell import docker, docker_ok, step

CACHES = {f"{PREFIX}-packages", f"{PREFIX}-registry"}
"""Volumes that only save time: they go with the images."""

DETACH = r"""
cd /sys/block
for file in loop*/loop/backing_file; do
  [ -e "$file" ] || continue
  case $(cat "$file") in /.lab/disks/*) ;; *) continue ;; esac
  number=${file%%/*}; number=${number#loop}
  [ "$number" -ge "$FIRST" ] && [ "$number" -le "$LAST" ] || continue
  [ -e /dev/loop$number ] || mknod /dev/loop$number b 7 $number
  losetup --detach /dev/loop$number
done
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


def as_root(script: str, *options: str) -> None:
    """Run a shell script as root of the Docker host's devices and control groups: this user may not be root."""
    if docker_ok("image", "inspect", f"{PREFIX}/machine:latest"):
        docker(
            "run", "--rm", "--cgroupns=host", *LIMITS, "--network", "none", *options,
            "--entrypoint", "/bin/sh", f"{PREFIX}/machine:latest", "-c", script,
        )  # fmt: skip


def detach_loops(first: int = 0, last: int = 1 << 20) -> None:
    """Let go of the lab's loop devices of this range."""
    as_root(DETACH, "--env", f"FIRST={first}", "--env", f"LAST={last}")


def remove_files() -> None:
    """Control groups and files on the Docker host."""
    state = PurePosixPath(STATE)
    as_root(SWEEP, "--env", f"STATE_NAME={state.name}", "--volume", f"{state.parent}:/parent")


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
