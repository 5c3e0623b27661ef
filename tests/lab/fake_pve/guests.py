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
