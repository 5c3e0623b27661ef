# SPDX-License-Identifier: MIT
"""Plain machines for tests of single roles (molecule), on a network of their own."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from . import cleanup, machines, networks
from .images import Images
from .layout import DISK_MARK, FIRST_TEST_LOOP, PREFIX, TEST, TEST_SECRETS, USER
from .secrets import Secrets
from .shell import LabError, alone, docker, docker_ok, step

LOOPS = 8


def container_name(name: str) -> str:
    return f"{PREFIX}-test-{name}"


def slot_of(address: str) -> int:
    """A number of its own for each machine: the last part of its address."""
    return int(address.rpartition(".")[2])


def taken() -> set[int]:
    """Last parts of the addresses that machines of the test network asked for."""
    names = docker("ps", "-aq", "--filter", f"network={TEST.name}").split()
    if not names:
        return set()
    form = f'{{{{(index .NetworkSettings.Networks "{TEST.name}").IPAMConfig.IPv4Address}}}}'
    return {slot_of(line) for line in docker("inspect", "-f", form, *names).splitlines() if "." in line}


def address_of(name: str) -> str | None:
    container = container_name(name)
    if not machines.exists(container):
        return None
    form = f'{{{{(index .NetworkSettings.Networks "{TEST.name}").IPAMConfig.IPv4Address}}}}'
    return docker("inspect", "-f", form, container)


def description(name: str, slot: int, secrets: Secrets, sizes: Sequence[int]) -> dict[str, Any]:
    _, public = secrets.ssh_key()
    first = FIRST_TEST_LOOP + slot * LOOPS
    disks = [
        {
            "file": f"/.lab/disks/{DISK_MARK}disk{index}",
            "bytes": size,
            "loop": first + index,
            "device": f"/dev/sd{'bcdefgh'[index]}",
            "id": f"scsi-0QEMU_QEMU_HARDDISK_drive-scsi{index + 1}",
        }
        for index, size in enumerate(sizes)
    ]
    return {
        "hostname": name,
        "keep_docker_dns": True,
        "disks": disks,
        "gpu": False,
        "instance": {"user": USER, "ssh_keys": [public], "host_keys": secrets.host_key(name)},
    }


def bytes_of(text: str) -> int:
    match = re.fullmatch(r"(\d+)([MG])", text)
    if not match:
        raise LabError(f"A disk's size is written 500M or 4G, not {text}")
    return int(match[1]) << (20 if match[2] == "M" else 30)


def up(
    names: Sequence[str],
    images: Images,
    image: str = "machine",
    inventory: str | None = None,
    disks: Sequence[str] = (),
    publish: Sequence[str] = (),
) -> dict[str, str]:
    """Boot these machines (those that run stay); returns name -> address and writes an inventory if asked to."""
    addresses: dict[str, str] = {}
    with alone():
        secrets = Secrets(TEST_SECRETS)
        secrets.ssh_key()
        networks.ensure(TEST)
        reference = images.get(image)
        with step(f"test machines {', '.join(names)}"):
            for name in names:
                addresses[name] = _boot(name, reference, secrets, [bytes_of(size) for size in disks], publish)
        secrets.pin((addresses[name], secrets.host_key(name)["ed25519"]["public"]) for name in names)
    with ThreadPoolExecutor(len(names)) as pool:
        list(pool.map(lambda name: machines.wait_ready(container_name(name)), names))
    if inventory:
        Path(inventory).parent.mkdir(parents=True, exist_ok=True)
        Path(inventory).write_text(inventory_text(addresses, TEST_SECRETS))
    return addresses


def _boot(name: str, image: str, secrets: Secrets, sizes: Sequence[int], publish: Sequence[str]) -> str:
    address = address_of(name) or f"10.77.3.{next(number for number in range(130, 250) if number not in taken())}"
    slot, container = slot_of(address), container_name(name)
    volumes = {
        f"{container}-docker": "/var/lib/docker",
        f"{container}-containerd": "/var/lib/containerd",
        f"{container}-disks": "/.lab/disks",
    }
    wanted = machines.Container(
        container, image, "test", TEST.name, address, f"fd77:77:3::{slot}", volumes=volumes, publish=publish
    )
    machines.ensure(wanted, description(name, slot, secrets, sizes), {})
    return address


def down(names: Sequence[str]) -> None:
    """Remove these machines with everything they held."""
    with alone():
        for name in names:
            _remove(name)


def _remove(name: str) -> None:
    container = container_name(name)
    address = address_of(name)
    if machines.exists(container):
        docker("rm", "--force", "--volumes", container)
    if address:
        first = FIRST_TEST_LOOP + slot_of(address) * LOOPS
        cleanup.detach_loops(first, first + LOOPS - 1)
    for kind in ("docker", "containerd", "disks"):
        if docker_ok("volume", "inspect", f"{container}-{kind}"):
            docker("volume", "rm", f"{container}-{kind}")


def inventory_text(addresses: dict[str, str], secrets: Path) -> str:
    """An inventory in JSON, which Ansible reads as YAML."""
    options = f"-o UserKnownHostsFile={secrets / 'known_hosts'} -o StrictHostKeyChecking=yes"
    variables = {
        "ansible_user": USER,
        "ansible_become": True,
        "ansible_ssh_private_key_file": str(secrets / "id_ed25519"),
        "ansible_ssh_common_args": options,
        "ansible_python_interpreter": "/usr/bin/python3",
    }
    hosts = {name: {"ansible_host": address} for name, address in addresses.items()}
    return json.dumps({"all": {"hosts": hosts, "vars": variables}}, indent=2) + "\n"


__all__ = ["address_of", "down", "inventory_text", "up"]
