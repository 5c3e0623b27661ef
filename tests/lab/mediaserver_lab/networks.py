# SPDX-License-Identifier: MIT
"""The lab's networks: Docker bridges, whose own address on each is the controller's."""

from __future__ import annotations

import json

from .layout import LABEL, Network
from .shell import LabError, docker, run

MASQUERADE = "com.docker.network.bridge.enable_ip_masquerade"


def create_argv(network: Network) -> list[str]:
    """Arguments of ``docker`` that make this network."""
    return [
        "network", "create", "--ipv6", "--label", f"{LABEL}=network",
        "--subnet", network.subnet, "--gateway", network.gateway, "--ip-range", network.automatic,
        "--subnet", network.subnet6, "--gateway", network.gateway6, "--ip-range", network.automatic6,
        "--opt", f"com.docker.network.bridge.name={network.name.replace('mediaserver-lab', 'mslab')}",
        "--opt", f"{MASQUERADE}={str(network.masquerade).lower()}",
        network.name,
    ]  # fmt: skip


def ensure(network: Network) -> None:
    found = run(["docker", "network", "inspect", network.name], check=False)
    if found.returncode != 0:
        docker(*create_argv(network))
        return
    there = json.loads(found.stdout)[0]
    subnets = {entry["Subnet"] for entry in there["IPAM"]["Config"]}
    masquerade = there["Options"].get(MASQUERADE) == "true"
    if subnets != {network.subnet, network.subnet6} or masquerade != network.masquerade:
        raise LabError(f"Docker network {network.name} is of another version of the lab: run `make lab-destroy` first")
