# SPDX-License-Identifier: MIT
"""Package sources and subscription of a node. Written after the sources of proxmox-apt and pve-manager, not recorded.

A repository that is in no file has no `status` in `standard-repos`; a configured one has 1 or 0. Adding one that is
there switches it on. Who needs these routes imports this file.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from .errors import ApiError
from .routing import Call, route
from .world import World

SUITES = {"8.4": ("bookworm", "list", ("quincy", "reef", "squid")), "9.1": ("trixie", "sources", ("squid",))}
ENTERPRISE, DOWNLOAD = "https://enterprise.proxmox.com/debian", "http://download.proxmox.com/debian"


def entry(handle: str, suite: str, kind: str) -> dict[str, Any]:
    """The repository behind a handle."""
    base, _dash, channel = handle.rpartition("ceph-")[2].partition("-") if "ceph-" in handle else ("", "", handle)
    host = ENTERPRISE if channel == "enterprise" else DOWNLOAD
    product, component = (f"ceph-{base}", channel) if base else ("pve", f"pve-{channel}")
    return {"Types": ["deb"], "URIs": [f"{host}/{product}"], "Suites": [suite], "Components": [component],
            "FileType": kind, "Enabled": 1}  # fmt: skip


def state(world: World) -> dict[str, Any]:
    """As the installer leaves it: Debian's own sources, the enterprise repositories of Proxmox VE and Ceph."""
    if "apt" not in world.data:
        suite, kind, _ceph = SUITES[world.release]
        folder = "/etc/apt/sources.list.d"
        debian = {"Types": ["deb"], "URIs": ["http://deb.debian.org/debian"], "Suites": [suite],
                  "Components": ["main"], "FileType": "list", "Enabled": 1}  # fmt: skip
        ceph = "ceph-quincy-enterprise" if world.release == "8.4" else "ceph-squid-enterprise"
        world.data["apt"] = {
            "subscription": "notfound",
            "files": [
                {"path": "/etc/apt/sources.list", "file-type": "list", "repositories": [debian]},
                {"path": f"{folder}/ceph.{kind}", "file-type": kind, "repositories": [entry(ceph, suite, kind)]},
                {"path": f"{folder}/pve-enterprise.{kind}", "file-type": kind,
                 "repositories": [entry("enterprise", suite, kind)]},
            ],
        }  # fmt: skip
    found: dict[str, Any] = world.data["apt"]
    return found


def handles(world: World) -> list[str]:
    ceph = [
        f"ceph-{name}-{channel}"
        for name in SUITES[world.release][2]
        for channel in ("enterprise", "no-subscription", "test")
    ]
    return ["enterprise", "no-subscription", "test", *ceph]


def digest(world: World) -> str:
    return hashlib.sha256(json.dumps(state(world)["files"], sort_keys=True).encode()).hexdigest()


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether a file's repository is the one of a handle, be it switched on or off."""
    uris = {uri.rstrip("/").partition("//")[2] for uri in one["URIs"]}
    return (
        other["URIs"][0].partition("//")[2] in uris
        and set(other["Suites"]) <= set(one["Suites"])
        and set(other["Components"]) <= set(one["Components"])
    )


def configured(world: World, handle: str) -> dict[str, Any] | None:
    suite, kind, _ceph = SUITES[world.release]
    wanted = entry(handle, suite, kind)
    found = [one for file in state(world)["files"] for one in file["repositories"] if same(one, wanted)]
    return next((one for one in found if one["Enabled"]), found[0] if found else None)


def guard(call: Call) -> None:
    if call.params.get("digest") not in (None, digest(call.world)):
        raise ApiError(500, "detected modified configuration - file changed by other user? Try again.")


@route("GET", "/nodes/{node}/apt/repositories")
def repositories(call: Call, node: str) -> Any:
    call.need("Sys.Audit", f"/nodes/{node}")
    standard = []
    for handle in handles(call.world):
        row: dict[str, Any] = {"handle": handle, "name": handle}
        found = configured(call.world, handle)
        standard.append(row if found is None else {**row, "status": found["Enabled"]})
    return {"files": state(call.world)["files"], "errors": [], "infos": [], "digest": digest(call.world),
            "standard-repos": standard}  # fmt: skip


@route("PUT", "/nodes/{node}/apt/repositories")
def add(call: Call, node: str) -> Any:
    call.need("Sys.Modify", f"/nodes/{node}")
    handle = call.require("handle")["handle"]
    guard(call)
    if handle not in handles(call.world):
        raise ApiError(500, f"unknown repository handle '{handle}'")
    found = configured(call.world, handle)
    if found is not None:
        found["Enabled"] = 1
        return
    suite, kind, _ceph = SUITES[call.world.release]
    path = "/etc/apt/sources.list" if kind == "list" else "/etc/apt/sources.list.d/proxmox.sources"
    path = f"/etc/apt/sources.list.d/ceph.{kind}" if handle.startswith("ceph-") else path
    files = state(call.world)["files"]
    file = next((one for one in files if one["path"] == path), None)
    if file is None:
        file = {"path": path, "file-type": kind, "repositories": []}
        files.append(file)
    file["repositories"].append(entry(handle, suite, kind))


@route("POST", "/nodes/{node}/apt/repositories")
def change(call: Call, node: str) -> Any:
    call.need("Sys.Modify", f"/nodes/{node}")
    params = call.require("path", "index")
    guard(call)
    file = next((one for one in state(call.world)["files"] if one["path"] == params["path"]), None)
    if file is None:
        raise ApiError(500, f"invalid path - {params['path']}")
    if int(params["index"]) >= len(file["repositories"]):
        raise ApiError(500, f"invalid index - {params['index']}")
    if "enabled" in params:
        file["repositories"][int(params["index"])]["Enabled"] = int(params["enabled"])


@route("GET", "/nodes/{node}/subscription")
def subscription(call: Call, node: str) -> Any:
    return {"status": state(call.world)["subscription"]}
