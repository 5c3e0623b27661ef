# SPDX-License-Identifier: MIT
"""Commands of lab.py."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from . import cleanup, fixed, machines, networks, node, standins, test_machines
from .images import PARENTS, Images
from .layout import LABEL, LAN, MACHINES, NODE, SECRETS, UPLINK, WAN
from .secrets import Secrets
from .shell import LabError, alone, docker, step


def up(images: Images, release: str) -> None:
    secrets = Secrets(SECRETS)
    for name in ("machine", *(machine.image for machine in MACHINES)):
        images.get(name)
    with step("keys and certificates"):
        secrets.ssh_key()
        secrets.token()
        secrets.certificate(NODE.addresses, NODE.name)
        secrets.pin(
            (address, secrets.host_key(machine.name)["ed25519"]["public"])
            for machine in MACHINES
            for address in machine.addresses
        )
    with step("networks"):
        for network in (LAN, WAN, UPLINK):
            networks.ensure(network)
    with step(f"machines {', '.join(machine.name for machine in MACHINES)}"):
        for machine in MACHINES:
            fixed.up(machine, secrets, images)
        with ThreadPoolExecutor(len(MACHINES)) as pool:
            states = list(pool.map(lambda machine: machines.wait_ready(machine.container), MACHINES))
    for machine, state in zip(MACHINES, states, strict=True):
        failed = docker("exec", machine.container, "systemctl", "--failed", "--no-legend", "--plain")
        if state != "running" and any(line.split()[0] != "pveproxy.service" for line in failed.splitlines()):
            raise LabError(f"{machine.name} booted, but units failed: {failed}")
    standins.publish_vm_images()
    standins.publish_all(images)
    with step("fake Proxmox VE API"):
        node.install(secrets.token(), secrets.folder / "pve-ca.pem", release)


def status() -> None:
    rows = docker("ps", "-a", "--filter", f"label={LABEL}", "--format", "{{.Names}}\t{{.Status}}\t{{.Image}}")
    print(rows or "nothing of the lab is there")


def build_images(images: Images, names: Sequence[str]) -> None:
    for name in names or ["debian", *PARENTS]:
        print(f"  {images.get(name)}")
    if not names:
        standins.build_all(images)


def parser() -> argparse.ArgumentParser:
    root = argparse.ArgumentParser(prog="lab.py", description=__doc__)
    root.add_argument(
        "--base", help="take this image (such as docker.io/library/debian:trixie) as Debian root instead of mmdebstrap"
    )
    commands = root.add_subparsers(dest="command", required=True)
    start = commands.add_parser("up", help="networks, images and machines; what is there already stays")
    reset = commands.add_parser("reset", help="up, with an empty node: no guests, nothing on its disks")
    for command in (start, reset):
        command.add_argument(
            "--guests", choices=["machine", "ubuntu-machine"], default="machine", help="what they boot"
        )
        command.add_argument("--release", choices=["8.4", "9.1"], default="9.1", help="the Proxmox VE to be like")
    destroy = commands.add_parser("destroy", help="remove containers, volumes, networks, loop devices and files")
    destroy.add_argument("--keep-tests", action="store_true", help="leave the machines for tests of roles")
    destroy.add_argument("--images", action="store_true", help="also the built images and the package cache")
    destroy.add_argument("--secrets", action="store_true", help="also the lab's keys in inventories/lab/.secrets")
    commands.add_parser("status", help="what of the lab is there")
    image = commands.add_parser("image", help="build images (all, or those named)")
    image.add_argument("names", nargs="*", metavar="NAME")
    machine = commands.add_parser("machine", help="plain machines for tests of roles")
    machine.add_argument("action", choices=["up", "down"])
    machine.add_argument("names", nargs="+", metavar="NAME")
    machine.add_argument("--image", default="machine", help="which of the lab's images (default: machine)")
    machine.add_argument("--inventory", help="write an Ansible inventory file of the machines to this path")
    machine.add_argument("--disk", action="append", default=[], help="give each machine a disk of this size (4G)")
    return root


def main(argv: Sequence[str] | None = None) -> int:
    arguments = parser().parse_args(argv)
    images = Images(arguments.base, getattr(arguments, "guests", "machine"))
    begin = time.monotonic()
    try:
        if arguments.command == "up":
            with alone():
                up(images, arguments.release)
            print(f"the lab is up after {time.monotonic() - begin:.0f} s")
        elif arguments.command == "destroy":
            with alone():
                cleanup.destroy(images=arguments.images, secrets=arguments.secrets, keep_tests=arguments.keep_tests)
        elif arguments.command == "reset":
            with alone():
                cleanup.empty_node()
                up(images, arguments.release)
        elif arguments.command == "status":
            status()
        elif arguments.command == "image":
            build_images(images, arguments.names)
        elif arguments.action == "up":
            test_machines.up(arguments.names, images, arguments.image, arguments.inventory, arguments.disk)
        else:
            test_machines.down(arguments.names)
    except LabError as exc:
        print(f"\nlab: {exc}")
        return 1
    return 0
