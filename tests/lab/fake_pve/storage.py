# SPDX-License-Identifier: MIT
"""A node's storages: volumes, downloads. Their configuration is in storage_config."""

from __future__ import annotations

import hashlib
import os
import re
import ssl
import struct
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from .errors import ApiError, TaskError
from .routing import Call, route
from .world import World

FILE_CONTENT = {"import": "import", "iso": "template/iso", "vztmpl": "template/cache", "snippets": "snippets",
                "backup": "dump"}  # fmt: skip
FILE_TYPES = ("dir", "nfs", "cifs", "btrfs")


def storage(world: World, name: str) -> dict[str, Any]:
    try:
        return dict(world.data["storages"][name])
    except KeyError:
        raise ApiError(500, f"storage '{name}' does not exist") from None


def contents(config: dict[str, Any]) -> list[str]:
    return str(config.get("content", "")).split(",")


def file_of(world: World, volid: str) -> Path:
    """Where ``local:import/x.qcow2`` or ``local:snippets/x.yml`` lies."""
    name, _, rest = volid.partition(":")
    config = storage(world, name)
    kind, _, file = rest.partition("/")
    if config["type"] not in FILE_TYPES or not file or "/" in file or kind not in FILE_CONTENT:
        raise ApiError(500, f"unable to parse {config['type']} volume name '{rest}'")
    return world.path(f"{config['path']}/{FILE_CONTENT[kind]}/{file}")


def image_size(path: Path) -> int:
    """The virtual size of an image: from the header of a qcow2 file, else the file's size."""
    with path.open("rb") as file:
        head = file.read(32)
    if head[:4] == b"QFI\xfb":
        return int(struct.unpack(">Q", head[24:32])[0])
    return path.stat().st_size


def allocate(world: World, store: str, vmid: int, size: int, *, suffix: str = "", form: str = "") -> str:
    """Make a volume of a VM and return its volid; the caller holds the lock."""
    config = storage(world, store)
    if "images" not in contents(config):
        raise ApiError(500, f"storage '{store}' does not support content-type 'images'")
    files = config["type"] in FILE_TYPES
    form = (form or "raw") if files else "raw"
    volumes = world.data["volumes"]

    def name(label: str) -> str:
        return f"{store}:{vmid}/vm-{vmid}-{label}.{form}" if files else f"{store}:vm-{vmid}-{label}"

    if suffix:
        volid = name(suffix)
        if volid in volumes:
            where = f"{config['path']}/images/{volid.partition(':')[2]}" if files else volid
            raise ApiError(500, f"disk image '{where}' already exists")
    else:
        mine = [volid for volid in volumes if volid.startswith(f"{store}:")]
        taken = {volid.rsplit("/", 1)[-1].partition(".")[0].rpartition(":")[2] for volid in mine}
        number = 0
        while f"vm-{vmid}-disk-{number}" in taken or f"base-{vmid}-disk-{number}" in taken:
            number += 1
        volid = name(f"disk-{number}")
    volumes[volid] = {"size": size, "format": form, "vmid": vmid}
    return volid


def check_bases(world: World, vmid: int) -> None:
    """A template cannot go while a linked clone uses its volumes."""
    for volume in world.data["volumes"].values():
        base = volume.get("base")
        if base and world.data["volumes"].get(base, {}).get("vmid") == vmid:
            raise TaskError(f"base volume '{base}' is still in use by linked cloned")


@route("GET", "/nodes/{node}/storage")
def node_storages(call: Call, node: str) -> Any:
    wanted = [item for item in str(call.params.get("content", "")).split(",") if item]
    result = []
    for name, config in sorted(call.world.data["storages"].items()):
        if wanted and not set(wanted) & set(contents(config)):
            continue
        result.append({"storage": name, "type": config["type"], "content": config.get("content", ""), "active": 1,
                       "enabled": 0 if config.get("disable") else 1, "shared": 0, "total": 200 * 1024**3,
                       "used": 20 * 1024**3, "avail": 180 * 1024**3, "used_fraction": 0.1})  # fmt: skip
    return result


@route("GET", "/nodes/{node}/storage/{name}/content")
def list_content(call: Call, node: str, name: str) -> Any:
    world = call.world
    config = storage(world, name)
    wanted = call.params.get("content")
    result = []
    if config["type"] in FILE_TYPES:
        for kind in contents(config):
            folder = world.path(f"{config['path']}/{FILE_CONTENT.get(kind, kind)}")
            if kind not in FILE_CONTENT or wanted not in (None, kind) or not folder.is_dir():
                continue
            for file in sorted(folder.iterdir()):
                if file.is_file() and not file.name.startswith("."):
                    stat = file.stat()
                    result.append({"volid": f"{name}:{kind}/{file.name}", "content": kind, "size": stat.st_size,
                                   "ctime": int(stat.st_ctime), "format": file.suffix.lstrip(".")})  # fmt: skip
    if wanted in (None, "images"):
        for volid, volume in sorted(world.data["volumes"].items()):
            if volid.startswith(f"{name}:"):
                result.append({"volid": volid, "content": "images", "size": volume["size"],
                               "format": volume["format"], "vmid": volume["vmid"]})  # fmt: skip
    return result


@route("DELETE", "/nodes/{node}/storage/{name}/content/{volume}")
def delete_content(call: Call, node: str, name: str, volume: str) -> Any:
    volid = volume if ":" in volume else f"{name}:{volume}"

    def work(log: list[str]) -> None:
        with call.world.changing():
            if volid in call.world.data["volumes"]:
                del call.world.data["volumes"][volid]
                return
            file_of(call.world, volid).unlink(missing_ok=True)

    return call.world.task("imgdel", f"{volid}@{name}", call.user, work)


@route("POST", "/nodes/{node}/storage/{name}/download-url")
def download_url(call: Call, node: str, name: str) -> Any:
    params = call.require("url", "filename", "content")
    params["filename"] = re.sub(r"[^a-zA-Z0-9_.-]", "_", params["filename"])
    config = storage(call.world, name)
    if not call.may("Datastore.AllocateTemplate"):
        raise ApiError(403, "Permission check failed")
    if params["content"] not in contents(config):
        raise ApiError(500, f"storage '{name}' is not configured for content-type '{params['content']}'")
    target = file_of(call.world, f"{name}:{params['content']}/{params['filename']}")
    algorithm = params.get("checksum-algorithm", "")
    expected = str(params.get("checksum", "")).lower()
    shown = f"{config['path']}/{FILE_CONTENT[params['content']]}/{params['filename']}"
    verify = str(params.get("verify-certificates", "1")) not in ("0", "no", "off", "false")

    def work(log: list[str]) -> None:
        log.append(f"downloading {params['url']} to {shown}")
        if target.exists() and algorithm:
            got = hashlib.new(algorithm, target.read_bytes()).hexdigest()
            if got != expected:
                raise TaskError(f"mismatch (got '{got}' != expect '{expected}'), aborting")
            log.append("OK, got correct file already, no need to download")
            return
        _download(params["url"], target, algorithm, expected, verify)
        log.append(f"download of '{params['url']}' to '{shown}' finished")

    return call.world.task("download", params["filename"], call.user, work)


def _download(url: str, target: Path, algorithm: str, expected: str, verify: bool) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.tmp.{os.getpid()}.{time.monotonic_ns()}")
    context = ssl.create_default_context() if verify else ssl._create_unverified_context()
    try:
        with urllib.request.urlopen(url, context=context, timeout=60) as answer, temporary.open("wb") as file:
            while block := answer.read(1 << 20):
                file.write(block)
    except (urllib.error.URLError, OSError) as error:
        temporary.unlink(missing_ok=True)
        raise TaskError(f"download failed: {getattr(error, 'reason', error)}") from error
    if algorithm:
        with temporary.open("rb") as file:
            got = hashlib.file_digest(file, algorithm).hexdigest()
        if got != expected:
            temporary.unlink()
            raise TaskError(f"checksum mismatch: got '{got}' != expect '{expected}'")
    temporary.replace(target)
