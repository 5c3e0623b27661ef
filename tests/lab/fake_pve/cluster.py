# SPDX-License-Identifier: MIT
"""Version, nodes, resources, pools, tasks, users."""

from __future__ import annotations

from typing import Any

from . import lxc, qemu
from .errors import ApiError, invalid
from .routing import Call, route
from .world import World

VERSIONS = {"8.4": "8.4.19", "9.1": "9.1.9"}
STAND_IN = "fake-pve-stand-in"


@route("GET", "/version")
def version(call: Call) -> Any:
    release = call.world.release
    return {"release": release, "version": VERSIONS[release], "repoid": STAND_IN}


@route("GET", "/nodes")
def nodes(call: Call) -> Any:
    name = call.world.node
    return [{"node": name, "id": f"node/{name}", "type": "node", "status": "online", "maxcpu": 4, "cpu": 0.1,
             "maxmem": 16 * 1024**3, "mem": 2 * 1024**3, "maxdisk": 20 * 1024**3, "disk": 5 * 1024**3,
             "uptime": 3108, "level": "", "ssl_fingerprint": "00"}]  # fmt: skip


@route("GET", "/nodes/{node}/status")
def node_status(call: Call, node: str) -> Any:
    memory = 16 * 1024**3
    return {"uptime": 3108, "cpu": 0.1, "pveversion": f"pve-manager/{VERSIONS[call.world.release]}/{STAND_IN}",
            "memory": {"total": memory, "used": memory // 8, "free": memory - memory // 8},
            "cpuinfo": {"cpus": 4, "cores": 4, "sockets": 1, "model": "Intel(R) Core(TM) i5-6500 CPU @ 3.20GHz"},
            "kversion": "Linux 6.8.12-1-pve", "boot-info": {"mode": "efi", "secureboot": 0}}  # fmt: skip


def _vm_rows(world: World) -> list[dict[str, Any]]:
    pools = {vmid: pool for pool, members in world.data["pools"].items() for vmid in members}
    rows = []
    for ident in sorted(world.data["vms"], key=int):
        call = Call(world, "root@pam", {})
        row = qemu.status(call, world.node, ident)
        row.pop("ha")
        row.update({"type": "qemu", "id": f"qemu/{ident}", "node": world.node, "template": row.get("template", 0)})
        if int(ident) in pools:
            row["pool"] = pools[int(ident)]
        rows.append(row)
    return rows


def _ct_rows(world: World) -> list[dict[str, Any]]:
    pools = {vmid: pool for pool, members in world.data["pools"].items() for vmid in members}
    rows = []
    for row in lxc.list_cts(Call(world, "root@pam", {}), world.node):
        row.pop("ha")
        row.update({"id": f"lxc/{row['vmid']}", "node": world.node, "template": 0})
        row.update({"pool": pools[row["vmid"]]} if row["vmid"] in pools else {})
        rows.append(row)
    return rows


@route("GET", "/nodes/{node}/qemu")
def list_vms(call: Call, node: str) -> Any:
    keep = ("vmid", "name", "status", "cpus", "maxmem", "uptime", "tags", "lock")
    return [
        {**{k: row[k] for k in keep if k in row}, **({"template": 1} if row["template"] else {})}
        for row in _vm_rows(call.world)
    ]


@route("GET", "/cluster/resources")
def resources(call: Call) -> Any:
    wanted = call.params.get("type")
    rows: list[dict[str, Any]] = []
    if wanted in (None, "vm"):
        rows += [*_vm_rows(call.world), *_ct_rows(call.world), *call.world.data["elsewhere"]]
    if wanted in (None, "node"):
        rows += nodes(call)
    return rows


@route("GET", "/cluster/nextid")
def nextid(call: Call) -> Any:
    used = {int(vmid) for kind in ("vms", "cts") for vmid in call.world.data[kind]}
    wanted = call.params.get("vmid")
    if wanted is not None:
        if int(wanted) in used:
            raise invalid({"vmid": f"VM {wanted} already exists"})
        return str(wanted)
    return str(next(number for number in range(100, 1_000_000) if number not in used))


@route("GET", "/nodes/{node}/tasks")
def list_tasks(call: Call, node: str) -> Any:
    kind, guest = call.params.get("typefilter"), call.params.get("vmid")
    tasks = sorted(call.world.data["tasks"].values(), key=lambda task: -int(task["pid"]))
    tasks = [task for task in tasks if kind in (None, task["type"]) and str(guest or task["id"]) == task["id"]]
    return [{**{k: v for k, v in t.items() if k != "log"}, "status": t.get("exitstatus", t["status"])} for t in tasks]


def _task(call: Call, upid: str) -> dict[str, Any]:
    task = call.world.data["tasks"].get(upid)
    if task is None:
        raise ApiError(500, f"no such task '{upid}'")
    return dict(task)


@route("GET", "/nodes/{node}/tasks/{upid}/status")
def task_status(call: Call, node: str, upid: str) -> Any:
    return {key: value for key, value in _task(call, upid).items() if key not in ("log", "endtime")}


@route("GET", "/nodes/{node}/tasks/{upid}/log")
def task_log(call: Call, node: str, upid: str) -> Any:
    lines = _task(call, upid)["log"] or ["no content"]
    start, limit = int(call.params.get("start", 0)), int(call.params.get("limit", 50))
    numbered = [{"n": number, "t": text} for number, text in enumerate(lines, 1)]
    return numbered[start : start + limit] if limit else numbered[start:]


@route("GET", "/access/permissions")
def permissions(call: Call) -> Any:
    names = ("VM.Allocate", "VM.Config.Options", "VM.Config.HWType", "VM.PowerMgmt", "Datastore.AllocateTemplate",
             "Datastore.AllocateSpace", "Sys.Audit", "Sys.Modify", "Mapping.Modify", "Mapping.Use")  # fmt: skip
    return {"/": {name: 1 for name in names if call.may(name)}}
