# SPDX-License-Identifier: MIT
"""How a machine of the lab becomes a Docker container: pure descriptions, and the few calls that carry them out."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .layout import LABEL, Network
from .shell import LabError, docker, docker_ok, put_files, run

LIMITS: tuple[str, ...] = (
    "--cap-add", "SYS_ADMIN", "--cap-add", "NET_ADMIN", "--cap-add", "NET_RAW", "--cap-add", "SYS_PTRACE",
    "--cap-add", "SYS_BOOT",
    "--security-opt", "seccomp=unconfined", "--security-opt", "apparmor=unconfined",
    "--tmpfs", "/run:exec,mode=755", "--tmpfs", "/run/lock", "--tmpfs", "/tmp:exec,mode=1777",
    "--device-cgroup-rule", "c 10:200 rwm", "--device-cgroup-rule", "c 10:229 rwm",
    "--device-cgroup-rule", "c 10:237 rwm", "--device-cgroup-rule", "b 7:* rwm",
)  # fmt: skip
"""What a container needs to be a machine: mounts and control groups, its own network, tun, fuse and loop devices."""


def cgroup_arguments(version: str) -> list[str]:
    """Which control group namespace to ask Docker for, by the version that its engine runs (``docker info``)."""
    return ["--cgroupns=host"] if version == "1" else ["--cgroupns=private"]


@dataclass(frozen=True)
class Container:
    """A machine's container."""

    name: str
    image: str
    role: str
    network: str
    address: str | None = None
    address6: str | None = None
    second_network: tuple[str, str, str] | None = None
    binds: Mapping[str, str] = field(default_factory=dict)
    """Path on the Docker host -> path in the machine."""
    volumes: Mapping[str, str] = field(default_factory=dict)
    """Volume's name -> path in the machine."""
    publish: Sequence[str] = ()
    sysctls: Sequence[str] = ()
    memory: int | None = None
    """MiB."""


def create_argv(container: Container, cgroup_version: str) -> list[str]:
    """Arguments of ``docker`` that create this container."""
    argv = ["create", "--name", container.name, "--hostname", container.name, "--label", f"{LABEL}={container.role}"]
    argv += [*LIMITS, *cgroup_arguments(cgroup_version), "--network", container.network]
    for option, value in (("--ip", container.address), ("--ip6", container.address6)):
        if value:
            argv += [option, value]
    for host, inside in container.binds.items():
        argv += ["--volume", f"{host}:{inside}"]
    for volume, inside in container.volumes.items():
        argv += ["--volume", f"{volume}:{inside}"]
    for port in container.publish:
        argv += ["--publish", port]
    for sysctl in container.sysctls:
        argv += ["--sysctl", sysctl]
    if container.memory:
        argv += ["--memory", f"{container.memory}m", "--memory-swap", f"{container.memory}m"]
    return [*argv, container.image]


def cgroup_version() -> str:
    return docker("info", "--format", "{{.CgroupVersion}}") or "1"


def create(container: Container) -> None:
    for volume in container.volumes:
        docker("volume", "create", "--label", f"{LABEL}={container.role}", volume)
    docker(*create_argv(container, cgroup_version()))
    if container.second_network:
        network, address, address6 = container.second_network
        docker("network", "connect", "--ip", address, "--ip6", address6, network, container.name)


def boot(name: str, description: Mapping[str, Any]) -> None:
    """Start a container that exists with this description (see images/machine/boot) and see that it stays up."""
    put_files(name, {"/.lab/machine.json": (json.dumps(description, indent=1).encode(), 0o600)})
    docker("start", name)
    time.sleep(0.3)
    if not is_running(name):
        raise LabError(f"Unable to boot {name}: {docker_logs(name)}")


def ensure(container: Container, told: dict[str, Any], files: Mapping[str, tuple[bytes, int]]) -> None:
    """Make sure a machine runs from this image, description and files; one made from others boots anew."""
    name = container.name
    told = told | {"files": hashlib.sha256(repr(sorted(files.items())).encode()).hexdigest()}
    if exists(name):
        if docker("container", "inspect", "-f", "{{.Config.Image}}", name) != container.image:
            docker("rm", "--force", "--volumes", name)
        elif is_running(name):
            if booted_with(name) == told:
                return
            docker("stop", name)
    if not exists(name):
        create(container)
    if files:
        put_files(name, files)
    boot(name, told)


def booted_with(name: str) -> dict[str, Any] | None:
    """The description that a running machine got at its last boot."""
    done = run(["docker", "exec", name, "cat", "/.lab/machine.json"], check=False)
    try:
        found: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        return None
    return found


def hotplug(name: str, description: Mapping[str, Any]) -> None:
    """Show a running machine its changed disks and shared folders."""
    put_files(name, {"/.lab/machine.json": (json.dumps(description, indent=1).encode(), 0o600)})
    docker("exec", name, "/usr/local/lib/mediaserver-lab/boot", "hotplug")


def docker_logs(name: str) -> str:
    done = run(["docker", "logs", "--tail", "20", name], check=False)
    return (done.stderr + done.stdout).strip()


def exists(name: str) -> bool:
    return docker_ok("container", "inspect", name)


def is_running(name: str) -> bool:
    done = run(["docker", "container", "inspect", "-f", "{{.State.Running}}", name], check=False)
    return done.stdout.strip() == "true"


def wait_ready(name: str, seconds: float = 60) -> str:
    """Wait until systemd has finished booting; returns its state (``running`` or ``degraded``)."""
    end = time.monotonic() + seconds
    state = ""
    while time.monotonic() < end:
        if not is_running(name):
            raise LabError(f"{name} stopped while it booted: {docker_logs(name)}")
        done = run(["docker", "exec", name, "systemctl", "is-system-running"], check=False)
        state = done.stdout.strip() or done.stderr.strip()
        if state in ("running", "degraded"):
            return state
        time.sleep(0.3)
    raise LabError(f"{name} did not boot within {seconds:.0f} s, systemd says: {state}")


def interface(network: Network, *addresses: str, mac: str | None = None) -> dict[str, Any]:
    return {"subnet": network.subnet, "addresses": list(addresses), "mac": mac}
