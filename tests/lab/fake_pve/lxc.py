# SPDX-License-Identifier: MIT
"""The life of a container. A container of the fake is a configuration and a word for whether it runs: nothing runs."""

from __future__ import annotations

import re
import time
from typing import Any

from . import config as conf
from . import storage
from .errors import ApiError, TaskError, invalid
from .routing import Call, route
from .schema import NOT_DEFINED, check_ssh_keys, parse
from .world import World, digest, human, in_bytes

CT = "/nodes/{node}/lxc/{vmid}"
FAST = {"description", "onboot", "startup", "protection", "hostname", "hookscript", "cores", "tags", "lock", "memory",
        "swap", "cpulimit", "cpuunits"}  # fmt: skip
TEXTS = {"hostname", "description", "hookscript", "startup", "tags", "nameserver", "searchdomain", "timezone", "arch",
         "ostype", "cmode", "features", "rootfs", "lock"}  # fmt: skip
NUMBERS = {"cores", "cpuunits", "memory", "swap", "tty"}
FLAGS = {"onboot", "protection", "console", "debug", "template", "unprivileged"}
CREATE_ONLY = {"vmid", "ostemplate", "password", "ssh-public-keys", "pool", "storage", "start", "unique", "force",
               "restore", "ignore-unpack-errors", "bwlimit"}  # fmt: skip
UPDATE_ONLY = {"delete", "digest", "revert"}
VOLUME = {"volume", "size", "acl", "mountoptions", "ro", "quota", "replicate", "shared"}
PROPERTIES = {
    "rootfs": VOLUME,
    "mp": VOLUME | {"backup", "mp"},
    "net": {"name", "bridge", "hwaddr", "mtu", "ip", "gw", "ip6", "gw6", "firewall", "tag", "trunks", "rate",
            "link_down", "type"},
    "dev": {"path", "mode", "uid", "gid", "deny-write"},
    "features": {"nesting", "keyctl", "fuse", "mknod", "force_rw_sys", "mount"},
}  # fmt: skip
DEFAULT_KEY = {"rootfs": "volume", "mp": "volume", "dev": "path"}
NEW = re.compile(r"[^:/\s]+:\d+(\.\d+)?")

Ct = dict[str, Any]


def family(key: str) -> str:
    match = re.fullmatch(r"(mp|net|dev|unused)(\d{1,3})", key)
    return match[1] if match else key


def is_volume(key: str) -> bool:
    return key == "rootfs" or family(key) == "mp"


def split(key: str, text: str) -> dict[str, str]:
    return parse(text, DEFAULT_KEY.get(family(key), ""))


def join(key: str, properties: dict[str, str]) -> str:
    first = DEFAULT_KEY.get(family(key), "")
    bare = [properties[first]] if first in properties else []
    return ",".join([*bare, *(f"{k}={v}" for k, v in sorted(properties.items()) if k != first)])


def get(world: World, vmid: str | int) -> Ct:
    ct = world.data["cts"].get(str(vmid))
    if ct is None:
        raise ApiError(500, f"Configuration file 'nodes/{world.node}/lxc/{vmid}.conf' does not exist")
    found: Ct = ct
    return found


def ct_digest(ct: Ct) -> str:
    return digest([ct["conf"], ct["pending"], ct["delete"]])


def check_lock(ct: Ct) -> None:
    if ct["conf"].get("lock"):
        raise ApiError(500, f"CT is locked ({ct['conf']['lock']})")


def check_digest(ct: Ct, wanted: str | None) -> None:
    if wanted and wanted != ct_digest(ct):
        raise ApiError(500, "detected modified configuration - file changed by other user? Try again.")


def shown(config: dict[str, Any]) -> dict[str, Any]:
    return {key: int(value) if key in NUMBERS | FLAGS else value for key, value in config.items()}


def _true(value: Any) -> bool:
    return str(value).lower() in ("1", "on", "yes", "true")


def check(params: dict[str, Any], creating: bool) -> None:
    """Refuse what the schema does not know (400), all at once."""
    errors: dict[str, str] = {}
    for key, value in params.items():
        known = PROPERTIES.get(family(key))
        if known is not None:
            problems = [f"{key}.{name}: {NOT_DEFINED}" for name in split(key, str(value)) if name not in known]
            missing = {"net": "name", "mp": "mp"}.get(family(key))
            if missing and missing not in split(key, str(value)):
                problems.append(f"{key}.{missing}: property is missing and it is not optional")
            if problems:
                errors[key] = "invalid format - format error\n" + "\n".join(problems) + "\n"
        elif key in NUMBERS and not re.fullmatch(r"\d+", str(value)):
            errors[key] = f"type check ('integer') failed - got '{value}'"
        elif key == "cpulimit" and not re.fullmatch(r"\d+(\.\d+)?", str(value)):
            errors[key] = f"type check ('number') failed - got '{value}'"
        elif key not in TEXTS | NUMBERS | FLAGS | {"cpulimit"} | (CREATE_ONLY if creating else UPDATE_ONLY):
            errors[key] = NOT_DEFINED
    if creating and len(str(params.get("password", "long enough"))) < 5:
        errors["password"] = "value must be at least 5 characters long"
    if errors:
        raise invalid(errors)


def _forbid(what: str) -> ApiError:
    return ApiError(403, f"Permission check failed ({what} is only allowed for root@pam)")


def check_rights(
    call: Call, old: dict[str, Any], params: dict[str, Any], delete: list[str], unprivileged: bool
) -> None:
    """What only root@pam may do."""
    if call.root:
        return
    for key in [*params, *delete]:
        text = str(params.get(key, ""))
        if is_volume(key) and key in params and split(key, text).get("volume", "").startswith("/"):
            kind = "device" if split(key, text)["volume"].startswith("/dev/") else "bind"
            raise _forbid(f"mount point type {kind}")
        if family(key) == "dev":
            raise _forbid("configuring device passthrough")
        if key == "hookscript":
            raise _forbid("changing the hookscript")
        if key == "features":
            _check_features(parse(str(old.get("features", ""))), parse(text), unprivileged)


def _check_features(old: dict[str, str], new: dict[str, str], unprivileged: bool) -> None:
    if not unprivileged:
        raise _forbid("changing feature flags for privileged container")
    if old:
        other = any(old.get(name, "") != new.get(name, "") for name in {*old, *new} - {"nesting"})
    else:
        other = bool(new) and (list(new) != ["nesting"] or not _true(new["nesting"]))
    if other:
        raise _forbid("changing feature flags (except nesting)")


def make_volume(world: World, vmid: int, key: str, text: str) -> str:
    """``store:8`` becomes a volume; an attached one gets its size."""
    disk = split(key, text)
    store, _, wanted = disk["volume"].partition(":")
    if disk["volume"].startswith("/"):
        return text
    content = storage.contents(storage.storage(world, store))
    if "rootdir" not in content:
        raise ApiError(500, f"storage '{store}' does not allow content type 'rootdir' (Container)")
    if NEW.fullmatch(disk["volume"]):
        size = int(float(wanted) * 1024) * 1024**2  # whole MiB, the rest is cut off
        volid = storage.allocate(world, store, vmid, size)
        return join(key, {**disk, "volume": volid, "size": human(size)})
    if disk["volume"] not in world.data["volumes"]:
        raise ApiError(500, f"volume '{disk['volume']}' does not exist")
    if key != "rootfs":  # a root volume is written as it is told
        disk["size"] = human(world.data["volumes"][disk["volume"]]["size"])
    return join(key, disk)


def with_mac(key: str, text: str) -> str:
    net = split(key, text)
    return join(key, {"hwaddr": conf.new_mac(), "type": "veth", **net})


@route("GET", "/nodes/{node}/lxc")
def list_cts(call: Call, node: str) -> Any:
    return [status(call, node, ident) for ident in sorted(call.world.data["cts"], key=int)]


@route("POST", "/nodes/{node}/lxc")
def create(call: Call, node: str) -> Any:
    world, params = call.world, dict(call.params)
    call.require("vmid", "ostemplate")
    check(params, creating=True)
    vmid = int(params.pop("vmid"))
    call.need("VM.Allocate", f"/vms/{vmid}")
    for kind, word in (("vms", "VM"), ("cts", "CT")):
        if str(vmid) in world.data[kind]:
            raise ApiError(500, f"{word} {vmid} already exists on node '{node}'")
    # 8.4 makes a privileged container unless told otherwise, 9.1 an unprivileged one
    unprivileged = _true(params.pop("unprivileged", "0" if world.release.startswith("8") else "1"))
    if not unprivileged:
        call.need("Sys.Modify", "/")
    check_ssh_keys(params.pop("ssh-public-keys", ""))
    for secret in ("password", "storage", "start"):
        params.pop(secret, None)
    pool, template = params.pop("pool", None), params.pop("ostemplate")
    check_rights(call, {}, params, [], unprivileged)
    ct: Ct = {"conf": {"lock": "create"}, "pending": {}, "delete": [], "running": False, "started": 0}
    world.data["cts"][str(vmid)] = ct
    if pool is not None:
        world.data["pools"][pool].append(vmid)

    def work(log: list[str]) -> None:
        try:
            with world.vm_lock(vmid), world.changing():
                if not storage.file_of(world, template).exists():
                    raise ApiError(500, f"volume '{template}' does not exist")
                made = {"arch": "amd64", "ostype": "debian", "memory": "512", "swap": "512", "hostname": f"CT{vmid}"}
                for key in sorted(params, key=lambda key: (key != "rootfs", key)):
                    made[key] = _prepared(world, vmid, key, str(params[key]))
                if "rootfs" not in made:
                    made["rootfs"] = make_volume(world, vmid, "rootfs", "local:4")
                if unprivileged:
                    made["unprivileged"] = "1"
                ct["conf"] = made
        except ApiError as error:
            with world.changing():
                forget(world, vmid)
            raise TaskError(f"unable to create CT {vmid} - {error}") from error

    return world.task("vzcreate", vmid, call.user, work)


def _prepared(world: World, vmid: int, key: str, text: str) -> str:
    if is_volume(key):
        return make_volume(world, vmid, key, text)
    return with_mac(key, text) if family(key) == "net" else text


def forget(world: World, vmid: int) -> None:
    world.data["cts"].pop(str(vmid), None)
    for volid in [v for v, data in world.data["volumes"].items() if data["vmid"] == vmid]:
        del world.data["volumes"][volid]
    for members in world.data["pools"].values():
        if vmid in members:
            members.remove(vmid)


@route("GET", f"{CT}/config")
def get_config(call: Call, node: str, vmid: str) -> Any:
    ct = get(call.world, vmid)
    values = ct["conf"] if _true(call.params.get("current", 0)) else conf.merged(ct)
    return {**shown(values), "digest": ct_digest(ct)}


@route("GET", f"{CT}/pending")
def get_pending(call: Call, node: str, vmid: str) -> Any:
    ct = get(call.world, vmid)
    current, waiting = shown(ct["conf"]), shown(ct["pending"])
    rows = []
    for key in [*current, *(k for k in waiting if k not in current)]:
        row: dict[str, Any] = {"key": key}
        row.update({"value": current[key]} if key in current else {})
        row.update({"pending": waiting[key]} if key in waiting else {})
        row.update({"delete": 1} if key in ct["delete"] else {})
        rows.append(row)
    return [*rows, {"key": "digest", "value": ct_digest(ct)}]


@route("PUT", f"{CT}/config")
def put_config(call: Call, node: str, vmid: str) -> Any:
    world, params = call.world, dict(call.params)
    ct = get(world, vmid)
    call.need("VM.Config.Options", f"/vms/{vmid}")
    check(params, creating=False)
    delete = [k for k in str(params.pop("delete", "")).replace(";", ",").split(",") if k]
    wanted = params.pop("digest", None)
    for key in delete:
        if key in params:
            raise invalid({"delete": f"you can't use '-{key}' and -delete {key}' at the same time"})
    check_rights(call, ct["conf"], params, delete, ct["conf"].get("unprivileged") == "1")
    check_lock(ct)
    check_digest(ct, wanted)
    _register(ct, vmid, params, delete)
    errors = _apply(world, int(vmid), ct, {*params, *delete})
    if errors:
        world.save()
        raise invalid(errors)


def _register(ct: Ct, vmid: str, params: dict[str, Any], delete: list[str]) -> None:
    protected = ct["conf"].get("protection") == "1"
    for key in delete:
        if key in ("memory", "rootfs", "ostype"):
            raise ApiError(500, f"unable to delete required option '{key}'")
        if protected and family(key) in ("mp", "unused"):
            raise ApiError(500, f"can't remove CT {vmid} drive '{key}' - protection mode enabled")
        if key == "unprivileged":
            raise ApiError(500, f"unable to delete read-only option: '{key}'")
        ct["pending"].pop(key, None)
        if key in ct["conf"]:
            ct["delete"] = sorted({*ct["delete"], key})
    for key, value in params.items():
        text = str(value)
        if protected and is_volume(key):
            raise ApiError(500, f"can't update CT {vmid} drive '{key}' - protection mode enabled")
        if key == "unprivileged":
            raise ApiError(500, f"unable to modify read-only option: '{key}'")
        if key == "tags":
            text = ";".join(sorted({tag.lower() for tag in re.split(r"[;, ]+", text) if tag}))
        if key in ("nameserver", "searchdomain"):
            text = " ".join(re.split(r"[;,\s]+", text))
        ct["delete"] = [k for k in ct["delete"] if k != key]
        ct["pending"].pop(key, None)
        if str(ct["conf"].get(key)) != text:
            ct["pending"][key] = text


def _live(ct: Ct, key: str, removal: bool) -> bool:
    if key in FAST or family(key) == "unused":
        return True
    if family(key) == "net":
        return not removal or len(key) == 4
    return family(key) in ("mp", "dev") and not removal and key not in ct["conf"]


def _apply(world: World, vmid: int, ct: Ct, selection: set[str]) -> dict[str, str]:
    """What waits comes into force: all of it in a stopped container, what can be hotplugged in a running one."""
    errors: dict[str, str] = {}
    for key in [k for k in ct["delete"] if k in selection and (not ct["running"] or _live(ct, k, True))]:
        old = ct["conf"].pop(key, None)
        ct["delete"].remove(key)
        if old is not None:
            _left(world, ct, key, str(old))
    for key, text in list(ct["pending"].items()):
        if key not in selection or (ct["running"] and not _live(ct, key, False)):
            continue
        if ct["running"] and key in world.hotplug_fails:
            errors[key] = f"unable to hotplug {key}: {world.hotplug_fails[key]}\n"
            continue
        value = _prepared(world, vmid, key, text)
        old = ct["conf"].get(key)
        ct["conf"][key] = value
        del ct["pending"][key]
        if is_volume(key):
            volume = split(key, value)["volume"]
            for unused in [k for k, v in ct["conf"].items() if family(k) == "unused" and v == volume]:
                del ct["conf"][unused]
            if old is not None and split(key, str(old))["volume"] != volume:
                _left(world, ct, key, str(old))
    return errors


def _left(world: World, ct: Ct, key: str, old: str) -> None:
    if family(key) == "unused":
        world.data["volumes"].pop(old, None)
    elif family(key) == "mp" and split(key, old)["volume"] in world.data["volumes"]:
        number = next(n for n in range(256) if f"unused{n}" not in ct["conf"])
        ct["conf"][f"unused{number}"] = split(key, old)["volume"]


@route("PUT", f"{CT}/resize")
def resize(call: Call, node: str, vmid: str) -> Any:
    """What is wrong is told at once, not by the task."""
    world, params = call.world, call.require("disk", "size")
    ct = get(world, vmid)
    check_lock(ct)
    check_digest(ct, params.get("digest"))
    key, wanted = params["disk"], str(params["size"])
    if key not in ct["conf"]:
        raise ApiError(500, "unable to parse volume - value is not defined")
    disk = split(key, ct["conf"][key])
    volume = world.data["volumes"][disk["volume"]]
    size = volume["size"] + in_bytes(wanted[1:]) if wanted[0] == "+" else in_bytes(wanted)
    if size < volume["size"]:
        raise ApiError(500, "unable to shrink disk size")
    if size == volume["size"]:
        raise ApiError(500, "disk is already at specified size")

    def work(log: list[str]) -> None:
        with world.vm_lock(int(vmid)), world.changing():
            volume["size"] = size
            ct["conf"][key] = join(key, {**disk, "size": human(size)})

    return world.task("resize", vmid, call.user, work)


@route("POST", f"{CT}/move_volume")
def move_volume(call: Call, node: str, vmid: str) -> Any:
    world, params = call.world, call.require("volume", "storage")
    ct, key = get(world, vmid), params["volume"]
    check_lock(ct)
    if ct["running"]:
        raise ApiError(500, "cannot move volumes of a running container")
    check_digest(ct, params.get("digest"))

    def work(log: list[str]) -> None:
        with world.changing():
            disk = split(key, ct["conf"][key])
            volume = world.data["volumes"].pop(disk["volume"])
            disk["volume"] = storage.allocate(world, params["storage"], int(vmid), volume["size"])
            ct["conf"][key] = join(key, disk)

    return world.task("move_volume", vmid, call.user, work)


@route("GET", f"{CT}/status/current")
def status(call: Call, node: str, vmid: str) -> Any:
    ct = get(call.world, vmid)
    config = ct["conf"]
    result = {"vmid": int(vmid), "type": "lxc", "name": config.get("hostname", f"CT{vmid}"), "ha": {"managed": 0},
              "status": "running" if ct["running"] else "stopped", "cpus": int(config.get("cores", 4)),
              "maxmem": int(config.get("memory", 512)) * 1024**2, "maxdisk": 0, "cpu": 0, "mem": 0, "disk": 0,
              "uptime": max(1, int(time.time()) - ct["started"]) if ct["running"] else 0}  # fmt: skip
    result.update({key: config[key] for key in ("lock", "tags") if key in config})
    return {**result, "template": 1} if config.get("template") else result


@route("POST", f"{CT}/status/{{action}}")
def change_status(call: Call, node: str, vmid: str, action: str) -> Any:
    world, ct = call.world, get(call.world, vmid)
    if action not in ("start", "stop", "shutdown"):
        raise ApiError(501, f"Method 'POST /nodes/{node}/lxc/{vmid}/status/{action}' not implemented")
    call.need("VM.PowerMgmt", f"/vms/{vmid}")
    if action == "start" and ct["running"]:
        raise ApiError(500, f"CT {vmid} already running")
    if action != "start" and not ct["running"]:
        raise ApiError(500, f"CT {vmid} not running")

    def work(log: list[str]) -> None:
        with world.vm_lock(int(vmid)), world.changing():
            if action == "start":  # what waits comes into force now, not when the container stopped
                _apply(world, int(vmid), ct, {*ct["pending"], *ct["delete"]})
            ct["running"], ct["started"] = action == "start", int(time.time())

    return world.task(f"vz{action}", vmid, call.user, work)


@route("GET", f"{CT}/interfaces")
def interfaces(call: Call, node: str, vmid: str) -> Any:
    ct = get(call.world, vmid)
    if not ct["running"]:
        return []
    rows = [{"name": "lo", "hwaddr": "00:00:00:00:00:00", "inet": "127.0.0.1/8"}]
    for key in sorted(k for k in ct["conf"] if family(k) == "net"):
        net = split(key, ct["conf"][key])
        rows.append({"name": net["name"], "hwaddr": net["hwaddr"].lower(), "inet": net.get("ip", ""),
                     "inet6": net.get("ip6", "")})  # fmt: skip
    return [{k: v for k, v in row.items() if v} for row in rows]


@route("DELETE", CT)
def destroy(call: Call, node: str, vmid: str) -> Any:
    world, ct = call.world, get(call.world, vmid)
    call.need("VM.Allocate", f"/vms/{vmid}")
    if ct["conf"].get("protection") == "1":
        raise ApiError(500, f"can't remove CT {vmid} - protection mode enabled")
    if ct["running"] and not _true(call.params.get("force", 0)):
        raise ApiError(500, f"unable to destroy CT {vmid} - container is running")

    def work(log: list[str]) -> None:
        with world.vm_lock(int(vmid)), world.changing():
            storage.check_bases(world, int(vmid))
            forget(world, int(vmid))

    return world.task("vzdestroy", vmid, call.user, work)
