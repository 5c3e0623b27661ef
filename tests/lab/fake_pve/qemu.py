# SPDX-License-Identifier: MIT
"""The life of a VM: create, change, resize, start, stop, clone, template, destroy."""

from __future__ import annotations

import re
import time
import uuid
from typing import Any

from . import config as conf
from . import mapping, storage
from .driver import DriverError
from .errors import ApiError, TaskError, invalid, no_config
from .routing import Call, route
from .schema import check, is_disk, parse, parse_key, prefix_of, render_disk, render_net
from .world import World, digest, human, in_bytes

VM = "/nodes/{node}/qemu/{vmid}"
ROOT_MAY = "Only root may use this option."


def get(world: World, vmid: str | int) -> conf.Vm:
    vm = world.data["vms"].get(str(vmid))
    if vm is None:
        raise no_config(world.node, int(vmid))
    return vm


def vm_digest(vm: conf.Vm) -> str:
    return digest([vm["conf"], vm["pending"], vm["delete"]])


def _check_digest(vm: conf.Vm, wanted: str | None) -> None:
    if wanted and wanted != vm_digest(vm):
        raise ApiError(500, "checksum mismatch (file change by other user?)")


def _true(value: Any) -> bool:
    return str(value).lower() in ("1", "on", "yes", "true")


def _checked(call: Call, params: dict[str, Any]) -> None:
    if params.get("skiplock") is not None and not call.root:
        raise invalid({"skiplock": ROOT_MAY})
    for key, value in params.items():
        conf.check_rights(call, key, str(value))


def _bootable(config: dict[str, Any]) -> str:
    disks = sorted(k for k in config if prefix_of(k) in ("scsi", "virtio", "sata", "ide"))
    hard = [k for k in disks if "media=cdrom" not in config[k]]
    rom = [k for k in disks if "media=cdrom" in config[k]]
    nets = sorted(k for k in config if prefix_of(k) == "net")
    order = hard[:1] + rom[:1] + nets[:1]
    return f"order={';'.join(order)}" if order else " "


@route("POST", "/nodes/{node}/qemu")
def create(call: Call, node: str) -> Any:
    world, params = call.world, dict(call.params)
    call.require("vmid")
    check(params, world.release, creating=True)
    vmid = int(params.pop("vmid"))
    call.need("VM.Allocate", f"/vms/{vmid}")
    pool, start = params.pop("pool", None), _true(params.pop("start", 0))
    _checked(call, params)
    for kind, word in (("vms", "VM"), ("cts", "CT")):
        if str(vmid) in world.data[kind]:
            raise ApiError(500, f"unable to create VM {vmid} - {word} {vmid} already exists on node '{node}'")
    if pool is not None and pool not in world.data["pools"]:
        raise ApiError(500, f"pool '{pool}' does not exist")
    vm: conf.Vm = {"conf": {"lock": "create"}, "pending": {}, "delete": [], "started": 0}
    world.data["vms"][str(vmid)] = vm
    if pool is not None:
        world.data["pools"][pool].append(vmid)

    def work(log: list[str]) -> None:
        with world.vm_lock(vmid):
            try:
                with world.changing():
                    made: dict[str, Any] = {}
                    for key in sorted(params):
                        made[key] = conf.prepare(world, vmid, key, str(params[key]))
                        if is_disk(key):
                            log.append(f"{key}: successfully created disk '{made[key]}'")
                    conf.check_boot(made)
                    made.setdefault("boot", _bootable(made))
                    made.setdefault("vmgenid", str(uuid.uuid4()))
                    made.setdefault("smbios1", f"uuid={uuid.uuid4()}")
                    made["meta"] = f"creation-qemu=10.0.13,ctime={int(time.time())}"
                world.driver.create(vmid, conf.shown(made))
                with world.changing():
                    vm["conf"] = made
            except (ApiError, DriverError) as error:
                with world.changing():
                    _forget(world, vmid)
                raise TaskError(f"unable to create VM {vmid} - {error}") from error
        if start:
            _start(world, vmid)

    return world.task("qmcreate", vmid, call.user, work)


def _forget(world: World, vmid: int) -> None:
    world.data["vms"].pop(str(vmid), None)
    for volid in [v for v, data in world.data["volumes"].items() if data["vmid"] == vmid]:
        del world.data["volumes"][volid]
    for members in world.data["pools"].values():
        if vmid in members:
            members.remove(vmid)
    world.data["firewall"].pop(f"vm/{vmid}", None)


@route("GET", f"{VM}/config")
def get_config(call: Call, node: str, vmid: str) -> Any:
    vm = get(call.world, vmid)
    values = vm["conf"] if _true(call.params.get("current", 0)) else conf.merged(vm)
    return {**conf.shown(values), "digest": vm_digest(vm)}


@route("GET", f"{VM}/pending")
def get_pending(call: Call, node: str, vmid: str) -> Any:
    vm = get(call.world, vmid)
    current, waiting = conf.shown(vm["conf"]), conf.shown(vm["pending"])
    result: list[dict[str, Any]] = []
    for key in [*current, *(k for k in waiting if k not in current)]:
        item: dict[str, Any] = {"key": key}
        if key in current:
            item["value"] = current[key]
        if key in waiting:
            item["pending"] = waiting[key]
        if key in vm["delete"]:
            item["delete"] = 1
        result.append(item)
    return [*result, {"key": "digest", "value": vm_digest(vm)}]


def _update(call: Call, vmid: str) -> None:
    world, params = call.world, dict(call.params)
    vm = get(world, vmid)
    call.need("VM.Config.Options", f"/vms/{vmid}")
    check(params, world.release, creating=False)
    delete = [k for k in str(params.pop("delete", "")).replace(";", ",").split(",") if k]
    revert = [k for k in str(params.pop("revert", "")).split(",") if k]
    wanted, force = params.pop("digest", None), _true(params.pop("force", 0))
    for key in delete:
        if key in params:
            raise invalid({"delete": f"you can't use '-{key}' and -delete {key}' at the same time"})
    _checked(call, params)
    for key in delete:
        if key in conf.ROOT_ONLY and not call.root:
            raise ApiError(500, f"only root can set '{key}' config")
        if key == "startup":
            call.need("Sys.Modify", "/")
    _check_digest(vm, wanted)
    if vm["conf"].get("lock"):
        raise ApiError(500, f"VM is locked ({vm['conf']['lock']})")
    for key in [*params, *delete]:  # who changes a device must be allowed to use the one that is there, too
        if prefix_of(key) in ("hostpci", "usb") and key in vm["conf"]:
            conf.check_rights(call, key, str(vm["conf"][key]))
    changes = {key: str(value) for key, value in params.items()}
    if "tags" in changes:  # unless the datacenter says that the size of letters matters
        changes["tags"] = ";".join(sorted({tag.lower() for tag in re.split(r"[;, ]+", changes["tags"]) if tag}))
    running = world.running(int(vmid))
    before = _disks(vm)
    problems = conf.update(world, int(vmid), vm, changes, delete, revert, running, force)
    if problems:
        world.save()
        raise invalid(problems)
    if running and _disks(vm) != before:
        _hotplug(world, int(vmid), vm)


def _disks(vm: conf.Vm) -> dict[str, str]:
    return {key: value for key, value in vm["conf"].items() if is_disk(key)}


def _hotplug(world: World, vmid: int, vm: conf.Vm) -> None:
    config = conf.shown(vm["conf"])
    try:
        world.driver.hotplug(vmid, config, _shares(world, config))
    except DriverError as error:
        raise invalid({"scsi": f"hotplug problem - {error}\n"}) from error


def _shares(world: World, config: dict[str, Any]) -> dict[str, str]:
    """Tag -> directory on the node, as the start checks it."""
    keys = sorted(key for key in config if prefix_of(key) == "virtiofs")
    tags = [parse_key(key, str(config[key]))["dirid"] for key in keys]
    return {tag: mapping.resolve(world, "dir", tag)["path"] for tag in tags}


@route("PUT", f"{VM}/config")
def put_config(call: Call, node: str, vmid: str) -> Any:
    _update(call, vmid)


@route("POST", f"{VM}/config")
def post_config(call: Call, node: str, vmid: str) -> Any:
    vm = get(call.world, vmid)
    check(dict(call.params), call.world.release, creating=False)
    _check_digest(vm, call.params.get("digest"))

    def work(log: list[str]) -> None:
        try:
            with call.world.changing():
                _update(call, vmid)
        except ApiError as error:
            if error.errors is None:
                raise
            texts = " ".join(f"{key}: {text.strip()}" for key, text in sorted(error.errors.items()))
            raise TaskError(f"400 {error.message} {texts} ") from error

    return call.world.task("qmconfig", vmid, call.user, work)


@route("PUT", f"{VM}/resize")
def resize(call: Call, node: str, vmid: str) -> Any:
    world, params = call.world, call.require("disk", "size")
    vm = get(world, vmid)
    _check_digest(vm, params.get("digest"))
    key, wanted = params["disk"], str(params["size"])

    def work(log: list[str]) -> None:
        with world.vm_lock(int(vmid)), world.changing():
            if key not in vm["conf"]:
                raise TaskError(f"disk '{key}' does not exist")
            disk = parse_key(key, vm["conf"][key])
            volume = world.data["volumes"][disk["file"]]
            size = volume["size"] + in_bytes(wanted[1:]) if wanted[0] == "+" else in_bytes(wanted)
            size += -size % 1024
            if size < volume["size"]:
                raise TaskError("shrinking disks is not supported")
            if size == volume["size"]:
                return  # the configuration is not written either
            volume["size"] = size
            vm["conf"][key] = render_disk({**disk, "size": human(size)})
            if world.running(int(vmid)):
                _hotplug(world, int(vmid), vm)

    return world.task("resize", vmid, call.user, work)


def _vendor_data(world: World, config: dict[str, Any]) -> str | None:
    volid = parse(str(config.get("cicustom", ""))).get("vendor")
    if not volid:
        return None
    path = storage.file_of(world, volid)
    if not path.exists():
        raise TaskError(f"volume '{volid}' does not exist")
    return path.read_text()


def _start(world: World, vmid: int) -> None:
    """Start a machine; what is pending comes into force. Raises TaskError."""
    with world.vm_lock(vmid):
        with world.changing():
            vm = get(world, vmid)
            if world.running(vmid):
                raise TaskError(f"VM {vmid} already running")
            if vm["conf"].get("template"):
                raise TaskError("you can't start a vm if it's a template")
            conf.apply_pending(world, vm)
            config = conf.shown(vm["conf"])
            for key, value in sorted(config.items()):
                if prefix_of(key) == "hostpci":
                    _check_hostpci(world, config, parse_key(key, str(value)))
            shares = _shares(world, config)
            vendor = _vendor_data(world, config)
        try:
            world.driver.start(vmid, config, shares, vendor)
        except DriverError as error:
            raise TaskError(f"start failed: {error}") from error
        with world.changing():
            vm["started"] = int(time.time())


def _check_hostpci(world: World, config: dict[str, Any], device: dict[str, str]) -> None:
    if "mapping" in device:
        mapping.resolve(world, "pci", device["mapping"])
    if device.get("legacy-igd") == "1" and "q35" in str(config.get("machine", "")):
        raise TaskError("legacy IGD assignment is not compatible with q35")
    if device.get("pcie") == "1" and "q35" not in str(config.get("machine", "")):
        raise TaskError("q35 machine model is not enabled")


def _stop(world: World, vmid: int, clean: bool) -> None:
    with world.vm_lock(vmid):
        if world.running(vmid):
            try:
                (world.driver.shutdown if clean else world.driver.stop)(vmid)
            except DriverError as error:
                raise TaskError(str(error)) from error
        with world.changing():
            conf.apply_pending(world, get(world, vmid))


def _reboot(world: World, vmid: int) -> None:
    if not world.running(vmid):
        raise TaskError("VM is not running")
    _stop(world, vmid, clean=True)
    _start(world, vmid)


ACTIONS = {
    "start": ("qmstart", _start),
    "stop": ("qmstop", lambda world, vmid: _stop(world, vmid, clean=False)),
    "shutdown": ("qmshutdown", lambda world, vmid: _stop(world, vmid, clean=True)),
    "reboot": ("qmreboot", _reboot),
}


@route("GET", f"{VM}/status/current")
def status(call: Call, node: str, vmid: str) -> Any:
    vm = get(call.world, vmid)
    config = vm["conf"]
    running = call.world.running(int(vmid))
    result = {"vmid": int(vmid), "status": "running" if running else "stopped",
              "ha": {"managed": int(int(vmid) in call.world.data["ha_managed"])},
              "qmpstatus": "running" if running else "stopped", "name": config.get("name", f"VM{vmid}"),
              "cpus": int(config.get("cores", 1)), "maxmem": int(config.get("memory") or 512) * 1024**2,
              "uptime": max(1, int(time.time()) - vm["started"]) if running else 0, "cpu": 0, "mem": 0, "disk": 0,
              "maxdisk": 0, "netin": 0, "netout": 0}  # fmt: skip
    result.update({k: config[k] for k in ("lock", "tags") if k in config})
    if config.get("template"):
        result["template"] = 1
    if running and parse(str(config.get("agent", "")), "enabled").get("enabled") == "1":
        result["agent"] = 1
    return result


@route("POST", f"{VM}/status/{{action}}")
def change_status(call: Call, node: str, vmid: str, action: str) -> Any:
    world = call.world
    get(world, vmid)
    if action not in ACTIONS:
        raise ApiError(501, f"Method 'POST /nodes/{node}/qemu/{vmid}/status/{action}' not implemented")
    call.need("VM.PowerMgmt", f"/vms/{vmid}")
    kind, work = ACTIONS[action]
    return world.task(kind, vmid, call.user, lambda log: work(world, int(vmid)))


@route("DELETE", VM)
def destroy(call: Call, node: str, vmid: str) -> Any:
    world, number = call.world, int(vmid)
    vm = get(world, vmid)
    call.need("VM.Allocate", f"/vms/{vmid}")
    if int(vm["conf"].get("protection", 0)):
        raise ApiError(500, f"can't remove VM {vmid} - protection mode enabled")
    if number in world.data["ha_managed"] and not _true(call.params.get("purge", 0)):
        raise ApiError(500, f"unable to remove VM {vmid} - used in HA resources and purge parameter not set.")
    if world.running(number):
        raise ApiError(500, f"VM {vmid} is running - destroy failed")

    def work(log: list[str]) -> None:
        with world.vm_lock(number):
            storage.check_bases(world, number)
            world.driver.destroy(number)
            with world.changing():
                _forget(world, number)

    return world.task("qmdestroy", vmid, call.user, work)


@route("POST", f"{VM}/template")
def template(call: Call, node: str, vmid: str) -> Any:
    world, vm = call.world, get(call.world, vmid)

    def work(log: list[str]) -> None:
        if world.running(int(vmid)):
            raise TaskError("you can't convert a vm to template if vm is running vm")
        with world.changing():
            for key in [k for k in vm["conf"] if is_disk(k)]:
                disk = parse_key(key, vm["conf"][key])
                if disk["file"] in world.data["volumes"] and "cloudinit" not in disk["file"]:
                    volume = world.data["volumes"].pop(disk["file"])
                    disk["file"] = disk["file"].replace(f"vm-{vmid}-", f"base-{vmid}-")
                    world.data["volumes"][disk["file"]] = volume
                    vm["conf"][key] = render_disk(disk)
            vm["conf"]["template"] = "1"

    return world.task("qmtemplate", vmid, call.user, work)


@route("POST", f"{VM}/clone")
def clone(call: Call, node: str, vmid: str) -> Any:
    world, params = call.world, call.require("newid")
    source, newid = get(world, vmid), int(params["newid"])
    if str(newid) in world.data["vms"]:
        raise ApiError(500, f"unable to create VM {newid}: config file already exists")
    full = _true(params["full"]) if "full" in params else not source["conf"].get("template")
    if not full and params.get("storage"):
        raise invalid({"storage": "parameter 'storage' not allowed for linked clones"})
    vm: conf.Vm = {"conf": {"lock": "clone"}, "pending": {}, "delete": [], "started": 0}
    world.data["vms"][str(newid)] = vm
    if params.get("pool"):
        world.data["pools"][params["pool"]].append(newid)

    def work(log: list[str]) -> None:
        with world.vm_lock(newid):
            with world.changing():
                made = {k: _cloned(world, newid, k, str(v), full, params.get("storage"))
                        for k, v in source["conf"].items()
                        if k not in ("template", "lock") and not k.startswith("unused")}  # fmt: skip
                made.update(vmgenid=str(uuid.uuid4()), smbios1=f"uuid={uuid.uuid4()}")
                made.update({k: params[k] for k in ("name", "description") if k in params})
            world.driver.create(newid, conf.shown(made))
            with world.changing():
                vm["conf"] = made

    return world.task("qmclone", vmid, call.user, work)


def _cloned(world: World, newid: int, key: str, value: str, full: bool, target: str | None) -> str:
    if prefix_of(key) == "net":
        net = parse_key(key, value)
        return render_net({**net, "macaddr": conf.new_mac()})
    if not is_disk(key):
        return value
    disk = parse_key(key, value)
    volume = world.data["volumes"].get(disk["file"])
    if volume is None:
        return value
    store = target or disk["file"].partition(":")[0]
    cloudinit = "cloudinit" in disk["file"]
    volid = storage.allocate(world, store, newid, volume["size"], suffix="cloudinit" if cloudinit else "",
                             form=volume["format"])  # fmt: skip
    if not full and not cloudinit:
        world.data["volumes"][volid]["base"] = disk["file"]
    disk["file"] = volid
    return render_disk({**disk, "size": human(volume["size"])})


@route("GET", f"{VM}/cloudinit")
def cloudinit(call: Call, node: str, vmid: str) -> Any:
    config = conf.shown(get(call.world, vmid)["conf"])
    return [{"key": key, "value": config[key]} for key in ("ciuser", "cipassword", "sshkeys") if key in config]


@route("PUT", f"{VM}/cloudinit")
def regenerate_cloudinit(call: Call, node: str, vmid: str) -> Any:
    get(call.world, vmid)


@route("POST", f"{VM}/move_disk")
def move_disk(call: Call, node: str, vmid: str) -> Any:
    world, params = call.world, call.require("disk", "storage")
    vm, key = get(world, vmid), params["disk"]
    if params.get("digest") not in (None, vm_digest(vm)):
        raise ApiError(500, "detected modified configuration - file changed by other user? Try again.")

    def work(log: list[str]) -> None:
        with world.vm_lock(int(vmid)), world.changing():
            if key not in vm["conf"]:
                raise TaskError(f"disk '{key}' does not exist")
            disk = parse_key(key, vm["conf"][key])
            volume = world.data["volumes"][disk["file"]]
            old, disk["file"] = disk["file"], storage.allocate(world, params["storage"], int(vmid), volume["size"])
            vm["conf"][key] = render_disk(disk)
            if _true(params.get("delete", 0)):
                del world.data["volumes"][old]

    return world.task("qmmove", vmid, call.user, work)


@route("GET", f"{VM}/agent/network-get-interfaces")
def agent_interfaces(call: Call, node: str, vmid: str) -> Any:
    vm = get(call.world, vmid)
    if parse(str(vm["conf"].get("agent", "")), "enabled").get("enabled") != "1":
        raise ApiError(500, "No QEMU guest agent configured")
    if not call.world.running(int(vmid)):
        raise ApiError(500, f"VM {vmid} is not running")
    rows = [{"name": "lo", "hardware-address": "00:00:00:00:00:00",
             "ip-addresses": [{"ip-address": "127.0.0.1", "ip-address-type": "ipv4", "prefix": 8}]}]  # fmt: skip
    for number, key in enumerate(sorted(k for k in vm["conf"] if prefix_of(k) == "net")):
        address = parse(str(vm["conf"].get(f"ipconfig{number}", ""))).get("ip", "192.168.1.50/24")
        ip, _, prefix = address.partition("/")
        told = {"ip-address": ip, "ip-address-type": "ipv4", "prefix": int(prefix or 24)}
        mac = parse_key(key, vm["conf"][key])["macaddr"].lower()
        rows.append({"name": f"eth{number}", "hardware-address": mac, "ip-addresses": [told]})
    return {"result": rows}


@route("POST", f"{VM}/agent/ping")
def agent_ping(call: Call, node: str, vmid: str) -> Any:
    vm = get(call.world, vmid)
    if parse(str(vm["conf"].get("agent", "")), "enabled").get("enabled") != "1":
        raise ApiError(500, "No QEMU guest agent configured")
    if not call.world.running(int(vmid)):
        raise ApiError(500, f"VM {vmid} is not running")
    raise ApiError(500, "QEMU guest agent is not running")
