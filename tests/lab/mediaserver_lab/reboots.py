# SPDX-License-Identifier: MIT
"""Stands in for the part of a hypervisor that resets a machine whose guest reboots; runs on the node.

A container ends when its systemd reboots (exit code 129: reboot(2) in a process namespace of its own) and when it
powers off (130). Only the first is started again.
"""

from __future__ import annotations

import subprocess
import sys

from .layout import LABEL
from .shell import docker, run

REBOOT = "129"


def main() -> int:
    watch = subprocess.Popen(
        ["docker", "events", "--filter", "event=die", "--filter", "type=container", "--filter", f"label={LABEL}",
         "--format", '{{.Actor.Attributes.name}} {{.Actor.Attributes.exitCode}}'],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    ended = ["--filter", f"label={LABEL}", "--filter", f"exited={REBOOT}"]
    for name in docker("ps", "-a", *ended, "--format", "{{.Names}}").split():
        run(["docker", "start", name], check=False)
    assert watch.stdout is not None
    for line in watch.stdout:
        name, code = line.split()
        if code == REBOOT:
            print(f"{name} reboots", flush=True)
            run(["docker", "start", name], check=False)
    return watch.wait()


if __name__ == "__main__":
    sys.exit(main())
