# SPDX-License-Identifier: MIT
"""/storage, as PVE::API2::Storage::Config and the storage plugins answer: which option a type has, which are fixed."""

from __future__ import annotations

import re
from typing import Any

from .access import boolean, split, state, true
from .errors import ApiError, invalid
from .routing import Call, route
from .schema import NOT_DEFINED
from .storage import storage
from .world import World, digest

_FILES = "nodes disable content format mkdir create-base-path create-subdirs prune-backups max-protected-backups "
_MOUNTED = _FILES + "content-dirs bwlimit options preallocation "
# type -> (required and fixed, fixed, optional)
PLUGINS: dict[str, tuple[str, str, str]] = {
    "dir": ("path", "", _FILES + "content-dirs shared is_mountpoint bwlimit preallocation"),
    "btrfs": ("path", "", _FILES + "shared is_mountpoint nocow preallocation"),
    "nfs": ("path server export", "", _MOUNTED),
    "cifs": ("path server share", "", _MOUNTED + "subdir username password domain smbversion"),
    "cephfs": ("path", "", _FILES + "content-dirs monhost subdir options username fuse bwlimit keyring fs-name"),
    "pbs": ("server datastore", "", "namespace port nodes disable content username password encryption-key "
            "master-pubkey prune-backups max-protected-backups fingerprint"),
    "zfspool": ("pool", "", "blocksize sparse nodes disable content bwlimit mountpoint"),
    "lvm": ("vgname", "base", "nodes shared disable saferemove saferemove_throughput content tagged_only bwlimit"),
    "lvmthin": ("thinpool vgname", "", "nodes disable content bwlimit"),
    "rbd": ("", "", "nodes disable monhost pool data-pool namespace username content krbd keyring bwlimit"),
    "iscsi": ("portal target", "", "nodes disable content bwlimit"),
}  # fmt: skip
ONLY_8 = {"dir": "maxfiles", "btrfs": "maxfiles", "nfs": "maxfiles", "cifs": "maxfiles", "pbs": "maxfiles"}
ONLY_9_FIXED = {"dir": "snapshot-as-volume-chain", "nfs": "snapshot-as-volume-chain",
                "cifs": "snapshot-as-volume-chain"}  # fmt: skip
ONLY_9 = {"lvm": "snapshot-as-volume-chain"}
_ALL_CONTENT = "images rootdir vztmpl iso backup snippets import"
CONTENT = {
    "dir": f"{_ALL_CONTENT} none", "btrfs": f"{_ALL_CONTENT} none", "nfs": _ALL_CONTENT, "cifs": _ALL_CONTENT,
    "cephfs": "vztmpl iso backup snippets import", "pbs": "backup none", "zfspool": "images rootdir",
    "lvm": "images rootdir", "lvmthin": "images rootdir", "rbd": "images rootdir", "iscsi": "images none",
}  # fmt: skip
DEFAULT_CONTENT = {"dir": "images,rootdir", "btrfs": "images,rootdir", "zfspool": "images,rootdir",
                   "lvmthin": "images,rootdir", "pbs": "backup", "cephfs": "backup"}  # fmt: skip
SHARED = ("nfs", "cifs", "rbd", "cephfs", "iscsi", "pbs")
SENSITIVE = {"cifs": ("password",), "pbs": ("password", "encryption-key", "master-pubkey"), "rbd": ("keyring",),
             "cephfs": ("keyring",)}  # fmt: skip
BOOLEANS = ("disable", "shared", "sparse", "mkdir", "create-base-path", "create-subdirs", "saferemove", "tagged_only",
            "nocow", "krbd", "fuse", "snapshot-as-volume-chain")  # fmt: skip
INTEGERS = ("port", "max-protected-backups", "maxfiles")
KEEP = ("keep-all", "keep-last", "keep-hourly", "keep-daily", "keep-weekly", "keep-monthly", "keep-yearly")


def options(kind: str, release: str) -> tuple[set[str], set[str], set[str]]:
    """(required, fixed, all) options of a type."""
    required, fixed, optional = (set(text.split()) for text in PLUGINS[kind])
    if release.startswith("8"):
        optional |= set(ONLY_8.get(kind, "").split())
    else:
        fixed |= set(ONLY_9_FIXED.get(kind, "").split())
        optional |= set(ONLY_9.get(kind, "").split())
    return required, required | fixed, required | fixed | optional


def schema(call: Call, *more: str) -> dict[str, Any]:
    """One schema holds the options of all types."""
    known = set(more).union(*(options(kind, call.world.release)[2] for kind in PLUGINS))
    errors = {name: NOT_DEFINED for name in call.params if name not in known}
    for name, value in call.params.items():
        problem = None
        if name in BOOLEANS:
            problem = boolean(str(value))
        elif name in INTEGERS and not re.fullmatch(r"-?\d+", str(value)):
            problem = f"type check ('integer') failed - got '{value}'"
        elif name == "content":
            bad = [item for item in split(value) if item not in CONTENT["dir"].split()]
            problem = f"invalid format - invalid content type '{bad[0]}'\n" if bad else None
        elif name == "prune-backups":
            problem = prune_problem(str(value))
        if problem:
            errors[name] = problem
    if errors:
        raise invalid(errors)
    return dict(call.params)


def prune_problem(text: str) -> str | None:
    parts = dict(item.partition("=")[::2] for item in text.split(",") if item)
    unknown = [name for name in parts if name not in KEEP]
    if unknown:
        return f"invalid format - format error\nprune-backups.{unknown[0]}: {NOT_DEFINED}\n"
    if true(parts.pop("keep-all", 0)) and any(int(value) for value in parts.values()):
        return "invalid format - keep-all cannot be set together with other options.\n"
    return None


def checked(world: World, kind: str, name: str, params: dict[str, Any], creating: bool) -> dict[str, Any]:
    """``check_config`` of the plugin: values as the file has them."""
    required, fixed, known = options(kind, world.release)
    if creating and kind in ("nfs", "cifs", "cephfs"):
        params.setdefault("path", f"/mnt/pve/{name}")
    result: dict[str, Any] = {}
    for key, value in params.items():
        if not creating and key in fixed:
            raise ApiError(500, f"can't change value of fixed parameter '{key}'")
        if key not in known:
            raise ApiError(500, f"unexpected property '{key}'")
        result[key] = stored(kind, key, value)
    missing = sorted(required - set(params)) if creating else []
    if missing:
        raise ApiError(500, f"missing value for required option '{missing[0]}'")
    if creating and kind in ("dir", "btrfs") and not re.fullmatch(r"/[-/a-zA-Z0-9_.@]+", str(result["path"])):
        raise ApiError(500, f"illegal path for directory storage: {result['path']}")
    return result


def stored(kind: str, key: str, value: Any) -> Any:
    if key in BOOLEANS:
        return int(true(value))
    if key in INTEGERS:
        return int(value)
    if key == "content":
        good = [item for item in split(value) if item in CONTENT[kind].split()]
        if "none" in good and len(good) > 1:
            raise ApiError(500, "unable to combine 'none' with other content types")
        if not good and "none" not in CONTENT[kind].split():
            raise ApiError(500, "storage does not support content type 'none'")
        return ",".join(dict.fromkeys(good)) or "none"
    if key == "content-dirs":
        return dict(item.partition("=")[::2] for item in split(value))
    return ",".join(split(value)) if key == "nodes" else str(value)


def shown(world: World, name: str) -> dict[str, Any]:
    config = storage(world, name)
    config.setdefault("content", DEFAULT_CONTENT.get(config["type"], "images"))
    if config["type"] in SHARED:
        config["shared"] = 1
    return {"storage": name, **config, "digest": digest(world.data["storages"])}


def sensitive(world: World, kind: str, name: str, params: dict[str, Any], gone: list[str]) -> dict[str, Any]:
    """Take the secrets out of ``params`` into their files; what of them the configuration shows."""
    files = state(world)["secrets"]
    seen: dict[str, Any] = {}
    for key in SENSITIVE.get(kind, ()):
        if key in gone:
            files.pop(f"storage {name} {key}", None)
        if key in params:
            files[f"storage {name} {key}"] = str(params.pop(key))
            if key == "encryption-key":
                seen[key] = "aa:bb:cc:dd"
            elif key == "master-pubkey":
                seen[key] = "1"
    return seen


@route("GET", "/storage")
def list_storages(call: Call) -> Any:
    rows = [shown(call.world, name) for name in sorted(call.world.data["storages"])]
    return [row for row in rows if call.params.get("type") in (None, row["type"])]


@route("POST", "/storage")
def create_storage(call: Call) -> Any:
    params = schema(call, "storage", "type")
    missing = {key: "property is missing and it is not optional" for key in ("storage", "type") if key not in params}
    if missing:
        raise invalid(missing)
    name, kind = str(params.pop("storage")), str(params.pop("type"))
    call.need("Datastore.Allocate", "/storage")
    if kind not in PLUGINS:
        types = ", ".join(sorted(PLUGINS))
        raise invalid({"type": f"value '{kind}' does not have a value in the enumeration '{types}'"})
    if not params.get("nodes"):
        params.pop("nodes", None)
    secrets = {key: params.pop(key) for key in SENSITIVE.get(kind, ()) if key in params}
    config = checked(call.world, kind, name, params, creating=True)
    if name in call.world.data["storages"]:
        raise ApiError(500, f"create storage failed: storage ID '{name}' already defined")
    config |= sensitive(call.world, kind, name, secrets, [])
    if kind == "zfspool":
        config.setdefault("mountpoint", f"/{config['pool']}")
    call.world.data["storages"][name] = {"type": kind, **config}
    return {"storage": name, "type": kind}


@route("GET", "/storage/{name}")
def get_storage(call: Call, name: str) -> Any:
    call.need("Datastore.Allocate", f"/storage/{name}")
    return shown(call.world, name)


@route("PUT", "/storage/{name}")
def update_storage(call: Call, name: str) -> Any:
    params = schema(call, "digest", "delete")
    call.need("Datastore.Allocate", "/storage")
    sent, gone = params.pop("digest", None), split(params.pop("delete", ""))
    failed = "update storage failed: "
    if sent and sent != digest(call.world.data["storages"]):
        raise ApiError(500, f"{failed}detected modified configuration - file changed by other user? Try again.")
    try:
        config = storage(call.world, name)
        kind = config["type"]
        secrets = {key: params.pop(key) for key in SENSITIVE.get(kind, ()) if key in params}
        changed = checked(call.world, kind, name, params, creating=False)
        required, fixed, known = options(kind, call.world.release)
        for key in gone:
            if key not in known:
                raise ApiError(500, f"no such option '{key}'")
            if key in required:
                raise ApiError(500, f"unable to delete required option '{key}'")
            if key in fixed:
                raise ApiError(500, f"unable to delete fixed option '{key}'")
            if key in changed:
                raise ApiError(500, f"cannot set and delete property '{key}' at the same time!")
    except ApiError as error:
        raise ApiError(error.status, failed + error.message, error.errors) from None
    changed |= sensitive(call.world, kind, name, secrets, gone)
    call.world.data["storages"][name] = {k: v for k, v in {**config, **changed}.items() if k not in gone}
    return {"storage": name, "type": kind}


@route("DELETE", "/storage/{name}")
def delete_storage(call: Call, name: str) -> Any:
    call.need("Datastore.Allocate", "/storage")
    storages, data = call.world.data["storages"], state(call.world)
    if name not in storages:
        raise ApiError(500, f"delete storage failed: storage '{name}' does not exist")
    if any(str(config.get("base", "")).startswith(f"{name}:") for config in storages.values()):
        text = "can't remove storage - storage is used as base of another storage"
        raise ApiError(500, f"delete storage failed: {text}")
    sensitive(call.world, storages.pop(name)["type"], name, {}, ["password", "encryption-key", "master-pubkey"])
    for key in [key for key in data["acl"] if key.startswith(f"/storage/{name} ")]:
        del data["acl"][key]
    for pool in data["pools"].values():
        pool["storage"] = [item for item in pool["storage"] if item != name]
