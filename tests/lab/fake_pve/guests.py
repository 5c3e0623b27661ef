# SPDX-License-Identifier: MIT
"""Guests of both kinds, for what only asks whether a number is a VM or a container."""

from __future__ import annotations

from typing import Any

from .world import World


def containers(world: World) -> dict[str, Any]:
    """By number; their configuration is under ``conf``."""
    return dict(world.data.get("cts", {}))


def kind_of(world: World, vmid: str) -> str | None:
    if vmid in world.data["vms"]:
        return "qemu"
    return "lxc" if vmid in containers(world) else None


def container_rows(world: World) -> list[dict[str, Any]]:
    """Their lines in the list of the cluster's resources."""
    return [
        {"type": "lxc", "id": f"lxc/{vmid}", "vmid": int(vmid), "node": world.node, "status": "stopped", "template": 0,
         "name": container["conf"].get("hostname", f"CT{vmid}")}
        for vmid, container in sorted(containers(world).items(), key=lambda item: int(item[0]))
    ]  # fmt: skip
