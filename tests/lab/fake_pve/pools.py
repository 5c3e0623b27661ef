# SPDX-License-Identifier: MIT
"""Pools, as PVE::API2::Pool answers. Guests are in ``world.data["pools"]``, comments and storages beside them."""

from __future__ import annotations

from typing import Any

from .access import accept, kept, split, state, true
from .errors import ApiError
from .routing import Call, route


def the_pool(call: Call, name: str, failed: str = "") -> dict[str, Any]:
    if name not in call.world.data["pools"]:
        raise ApiError(500, f"{failed}pool '{name}' does not exist")
    more: dict[str, Any] = state(call.world)["pools"].setdefault(name, {"comment": "", "storage": []})
    return more


@route("GET", "/pools")
def list_pools(call: Call) -> Any:
    params = accept(call, "", poolid="pool", type="text")
    pools = call.world.data["pools"]
    if "poolid" not in params:
        rows = [(name, the_pool(call, name)["comment"]) for name in sorted(pools)]
        return [{"poolid": name, **({"comment": comment} if comment else {})} for name, comment in rows]
    name, node = str(params["poolid"]), call.world.node
    more = the_pool(call, name)
    members: list[dict[str, Any]] = [
        {"id": f"qemu/{vmid}", "node": node, "type": "qemu", "vmid": vmid}
        for vmid in sorted(pools[name])
        if str(vmid) in call.world.data["vms"]
    ]
    members += [{"id": f"storage/{node}/{item}", "node": node, "type": "storage", "storage": item}
                for item in sorted(more["storage"]) if item in call.world.data["storages"]]  # fmt: skip
    return [{"poolid": name, "members": members, **({"comment": more["comment"]} if more["comment"] else {})}]


@route("POST", "/pools")
def create_pool(call: Call) -> Any:
    params = accept(call, "poolid", poolid="pool", comment="text")
    name = str(params["poolid"])
    call.need("Pool.Allocate", f"/pool/{name}")
    if name in call.world.data["pools"]:
        raise ApiError(500, f"create pool failed: pool '{name}' already exists")
    call.world.data["pools"][name] = []
    the_pool(call, name)["comment"] = kept(params.get("comment", ""))


@route("PUT", "/pools")
def update_pool(call: Call) -> Any:
    kinds = {"comment": "text", "vms": "vmids", "storage": "storages", "delete": "bool", "allow-move": "bool"}
    params = accept(call, "poolid", poolid="pool", **kinds)
    name, pools = str(params["poolid"]), call.world.data["pools"]
    call.need("Pool.Allocate", f"/pool/{name}")
    more = the_pool(call, name, "update pools failed: ")
    removing = true(params.get("delete", 0))
    if "comment" in params:
        more["comment"] = kept(params["comment"])
    for vmid in (int(item) for item in split(params.get("vms", ""))):
        _vm(pools, name, vmid, removing, true(params.get("allow-move", 0)))
    for item in split(params.get("storage", "")):
        if removing != (item in more["storage"]):
            what = "is not" if removing else "is already"
            raise ApiError(500, f"update pools failed: Storage '{item}' {what} a pool member")
        more["storage"] = sorted({*more["storage"]} ^ {item})


def _vm(pools: dict[str, list[int]], name: str, vmid: int, removing: bool, move: bool) -> None:
    if removing:
        if vmid not in pools[name]:
            raise ApiError(500, f"update pools failed: VM {vmid} is not a pool member")
        pools[name].remove(vmid)
        return
    if vmid in pools[name]:
        raise ApiError(500, f"update pools failed: VM {vmid} is already a pool member")
    for other in pools:
        if vmid in pools[other]:
            if not move:
                text = f"VM {vmid} belongs already to pool '{other}' and 'allow-move' is not set"
                raise ApiError(500, f"update pools failed: {text}")
            pools[other].remove(vmid)
    pools[name] = sorted({*pools[name], vmid})


@route("DELETE", "/pools")
def delete_pool(call: Call) -> Any:
    name = str(accept(call, "poolid", poolid="pool")["poolid"])
    call.need("Pool.Allocate", f"/pool/{name}")
    more = the_pool(call, name, "delete pool failed: ")
    guests = [vmid for vmid in call.world.data["pools"][name] if str(vmid) in call.world.data["vms"]]
    if guests:
        raise ApiError(500, f"delete pool failed: pool '{name}' is not empty (contains VM {guests[0]})")
    if more["storage"]:
        raise ApiError(500, f"delete pool failed: pool '{name}' is not empty (contains storage '{more['storage'][0]}')")
    del call.world.data["pools"][name], state(call.world)["pools"][name]
