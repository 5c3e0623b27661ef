# SPDX-License-Identifier: MIT
"""Containers made templates, and clones of containers."""

from __future__ import annotations

from typing import Any

from . import config as conf
from . import storage
from .errors import ApiError, TaskError
from .lxc import CT, Ct, check_lock, family, get, is_volume, join, split
from .routing import Call, route
from .world import World


@route("POST", f"{CT}/template")
def template(call: Call, node: str, vmid: str) -> Any:
    """Answers at once and with nothing, while its task goes on: the task is found in the node's list only."""
    world, ct = call.world, get(call.world, vmid)
    if ct["conf"].get("template"):
        raise ApiError(500, "you can't convert a template to a template")
    if ct["running"]:
        raise ApiError(500, "you can't convert a CT to template if the CT is running")

    def work(log: list[str]) -> None:
        with world.vm_lock(int(vmid)), world.changing():
            for key in filter(is_volume, list(ct["conf"])):
                disk = split(key, ct["conf"][key])
                if disk["volume"].startswith("/"):
                    raise TaskError(f"unable to convert {disk['volume']} to a base volume")
                volume = world.data["volumes"].pop(disk["volume"])
                disk["volume"] = disk["volume"].replace(f"vm-{vmid}-", f"base-{vmid}-")
                world.data["volumes"][disk["volume"]] = volume
                ct["conf"][key] = join(key, disk)
            ct["conf"]["template"] = "1"

    world.task("vztemplate", vmid, call.user, work)


@route("POST", f"{CT}/clone")
def clone(call: Call, node: str, vmid: str) -> Any:
    world, params = call.world, call.require("newid")
    source, newid = get(world, vmid), int(params["newid"])
    call.need("VM.Clone", f"/vms/{vmid}")
    pool = params.get("pool")
    if pool and pool not in world.data["pools"]:
        raise ApiError(500, f"pool '{pool}' does not exist")
    check_lock(source)
    for kind, word in (("vms", "VM"), ("cts", "CT")):
        if str(newid) in world.data[kind]:
            raise ApiError(500, f"unable to create CT {newid} - {word} {newid} already exists on node '{node}'")
    full = str(params["full"]) == "1" if "full" in params else not source["conf"].get("template")
    made = _clone_conf(world, source, full, params.get("storage"))
    made.update({key: str(params[key]) for key in ("hostname", "description") if params.get(key)})
    ct: Ct = {"conf": {**made, "lock": "create"}, "pending": {}, "delete": [], "running": False, "started": 0}
    world.data["cts"][str(newid)] = ct
    source["conf"]["lock"] = "disk"

    def work(log: list[str]) -> None:
        with world.vm_lock(newid), world.changing():
            for key in filter(is_volume, source["conf"]):
                ct["conf"][key] = _clone_volume(world, newid, key, source["conf"][key], full, params.get("storage"))
            del source["conf"]["lock"], ct["conf"]["lock"]
            if pool:
                world.data["pools"][pool].append(newid)

    return world.task("vzclone", vmid, call.user, work)


def _clone_conf(world: World, source: Ct, full: bool, target: str | None) -> dict[str, Any]:
    """What is copied besides volumes; refuses what cannot be cloned."""
    if target and not full:
        raise ApiError(500, "parameter 'storage' not allowed for linked clones")
    made = {}
    for key, text in source["conf"].items():
        if is_volume(key):
            volume = split(key, text)["volume"]
            if volume.startswith("/"):
                kind = "device" if volume.startswith("/dev/") else "bind"
                raise ApiError(500, f"unable to clone mountpoint '{key}' (type {kind})")
            if full and source["running"]:
                raise ApiError(500, "Full clone of a running container is only possible from a snapshot")
            files = storage.storage(world, volume.partition(":")[0])["type"] in storage.FILE_TYPES
            if not full and (files or "base-" not in volume):
                raise ApiError(500, f"Linked clone feature for '{volume}' is not available")
        elif family(key) == "net":
            made[key] = join(key, {**split(key, text), "hwaddr": conf.new_mac()})
        elif family(key) != "unused" and key not in ("template", "lock"):
            made[key] = text
    return made


def _clone_volume(world: World, newid: int, key: str, text: str, full: bool, target: str | None) -> str:
    disk = split(key, text)
    base = disk["volume"]
    store = target or base.partition(":")[0]
    disk["volume"] = storage.allocate(world, store, newid, world.data["volumes"][base]["size"])
    if not full:
        world.data["volumes"][disk["volume"]]["base"] = base
    return join(key, disk)
