# SPDX-License-Identifier: MIT
"""Which keys a VM's configuration has and what their values look like; complaints in the API's words."""

from __future__ import annotations

import re
from typing import Any

from .errors import ApiError, invalid

NOT_DEFINED = "property is not defined in schema and the schema does not allow additional properties"
NET_MODELS = [
    "e1000", "e1000-82540em", "e1000-82544gc", "e1000-82545em", "e1000e", "i82551", "i82557b", "i82559er", "ne2k_isa",
    "ne2k_pci", "pcnet", "rtl8139", "virtio", "vmxnet3",
]  # fmt: skip

Kind = str | tuple[str, ...]  # "str", "int", "num", "bool" or the allowed values
Format = dict[str, Kind]

_DISK: Format = {
    "file": "str", "format": "str", "size": "str", "media": ("cdrom", "disk"), "import-from": "str",
    "cache": ("none", "writethrough", "writeback", "unsafe", "directsync"), "discard": ("ignore", "on"),
    "aio": ("native", "threads", "io_uring"), "backup": "bool", "replicate": "bool", "shared": "bool",
    "snapshot": "bool", "detect_zeroes": "bool", "serial": "str", "wwn": "str", "ssd": "bool", "iothread": "bool",
    "ro": "bool", "queues": "int", "product": "str", "vendor": "str", "werror": "str", "rerror": "str",
    "iops": "int", "iops_rd": "int", "iops_wr": "int", "iops_max": "int", "mbps": "num", "mbps_rd": "num",
    "mbps_wr": "num", "mbps_max": "num",
}  # fmt: skip

# prefix of the key -> (default key, its properties)
FORMATS: dict[str, tuple[str, Format]] = {
    "scsi": ("file", _DISK),
    "virtio": ("file", {k: v for k, v in _DISK.items() if k not in ("ssd", "queues", "product", "vendor")}),
    "sata": ("file", {k: v for k, v in _DISK.items() if k not in ("iothread", "ro", "queues", "product", "vendor")}),
    "ide": ("file", {k: v for k, v in _DISK.items() if k not in ("iothread", "ro", "queues", "product", "vendor")}),
    "efidisk": ("file", {"file": "str", "efitype": ("2m", "4m"), "pre-enrolled-keys": "bool", "ms-cert": "str",
                         "size": "str", "format": "str", "import-from": "str"}),
    "tpmstate": ("file", {"file": "str", "size": "str", "version": ("v1.2", "v2.0"), "import-from": "str",
                          "format": "str"}),
    "unused": ("file", {"file": "str"}),
    "net": ("model", {"model": tuple(NET_MODELS), "macaddr": "str", "bridge": "str", "firewall": "bool",
                      "link_down": "bool", "mtu": "int", "queues": "int", "rate": "num", "tag": "int",
                      "trunks": "str"}),
    "ipconfig": ("", {"ip": "str", "gw": "str", "ip6": "str", "gw6": "str"}),
    "hostpci": ("host", {"host": "str", "mapping": "str", "pcie": "bool", "rombar": "bool", "romfile": "str",
                         "x-vga": "bool", "legacy-igd": "bool", "mdev": "str", "vendor-id": "str",
                         "device-id": "str", "sub-vendor-id": "str", "sub-device-id": "str"}),
    "virtiofs": ("dirid", {"dirid": "str", "cache": ("auto", "always", "metadata", "never"), "direct-io": "bool",
                           "expose-acl": "bool", "expose-xattr": "bool"}),
    "usb": ("host", {"host": "str", "mapping": "str", "usb3": "bool"}),
    "agent": ("enabled", {"enabled": "bool", "fstrim_cloned_disks": "bool", "freeze-fs-on-backup": "bool",
                          "type": ("virtio", "isa")}),
    "cpu": ("cputype", {"cputype": "str", "flags": "str", "hidden": "bool", "hv-vendor-id": "str",
                        "phys-bits": "str", "guest-phys-bits": "int", "reported-model": "str"}),
    "machine": ("type", {"type": "str", "viommu": ("intel", "virtio"), "enable-s3": "bool", "enable-s4": "bool"}),
    "vga": ("type", {"type": ("cirrus", "qxl", "qxl2", "qxl3", "qxl4", "none", "serial0", "serial1", "serial2",
                              "serial3", "std", "virtio", "virtio-gl", "vmware"),
                     "memory": "int", "clipboard": ("vnc",)}),
    "startup": ("order", {"order": "int", "up": "int", "down": "int"}),
    "memory": ("current", {"current": "int"}),
    "boot": ("legacy", {"legacy": "str", "order": "str"}),
    "cicustom": ("", {"meta": "str", "network": "str", "user": "str", "vendor": "str"}),
    "watchdog": ("model", {"model": ("i6300esb", "ib700"), "action": "str"}),
    "rng": ("source", {"source": ("/dev/urandom", "/dev/random", "/dev/hwrng"), "max_bytes": "int", "period": "int"}),
    "audio": ("device", {"device": "str", "driver": "str"}),
    "smbios1": ("", {"base64": "bool", **dict.fromkeys(
        ("family", "manufacturer", "product", "serial", "sku", "uuid", "version"), "str")}),
    "ivshmem": ("", {"size": "int", "name": "str"}),
    "spice_enhancements": ("", {"foldersharing": "bool", "videostreaming": "str"}),
}  # fmt: skip
COUNTS = {"scsi": 31, "virtio": 16, "sata": 6, "ide": 4, "net": 32, "ipconfig": 32, "hostpci": 16, "virtiofs": 10,
          "usb": 14, "unused": 256, "efidisk": 1, "tpmstate": 1, "rng": 1, "audio": 1}  # fmt: skip

SCALARS: dict[str, Kind] = {
    "name": "str", "description": "str", "tags": "str", "ostype": "str", "scsihw": (
        "lsi", "lsi53c810", "virtio-scsi-pci", "virtio-scsi-single", "megasas", "pvscsi"),
    "bios": ("seabios", "ovmf"), "keyboard": "str", "hookscript": "str", "args": "str", "affinity": "str",
    "hugepages": "str", "vmgenid": "str", "lock": "str", "migrate_downtime": "num", "startdate": "str",
    "ciuser": "str", "cipassword": "str", "citype": "str", "nameserver": "str", "searchdomain": "str",
    "sshkeys": "str", "hotplug": "str", "cpulimit": "num", "cores": "int", "sockets": "int", "vcpus": "int",
    "cpuunits": "int", "balloon": "int", "shares": "int", "onboot": "bool", "protection": "bool", "numa": "bool",
    "kvm": "bool", "acpi": "bool", "tablet": "bool", "freeze": "bool", "localtime": "bool", "autostart": "bool",
    "keephugepages": "bool", "ciupgrade": "bool", "template": "bool", "reboot": "bool", "parallel0": "str",
}  # fmt: skip
SCALARS_9: dict[str, Kind] = {"allow-ksm": "bool", "ha-managed": "bool", "intel-tdx": "str"}
CREATE_ONLY = {"vmid": "int", "pool": "str", "storage": "str", "start": "bool", "force": "bool", "unique": "bool",
               "archive": "str", "bwlimit": "int", "import-working-storage": "str", "live-restore": "bool"}  # fmt: skip
UPDATE_ONLY = {"delete": "str", "digest": "str", "revert": "str", "force": "bool", "skiplock": "bool",
               "background_delay": "int", "import-working-storage": "str"}  # fmt: skip
DISK_PREFIXES = ("scsi", "virtio", "sata", "ide", "efidisk", "tpmstate")


def prefix_of(key: str) -> str | None:
    """The name of the format of ``key``: ``scsi`` for ``scsi3``, ``cpu`` for ``cpu``; None for a plain value."""
    if key in FORMATS and key not in COUNTS:
        return key
    match = re.fullmatch(r"([a-z]+)(\d{1,3})", key)
    if match and match[1] in COUNTS and int(match[2]) < COUNTS[match[1]]:
        return match[1]
    return None


def is_disk(key: str) -> bool:
    return prefix_of(key) in DISK_PREFIXES


def parse(text: str, default_key: str = "") -> dict[str, str]:
    """A property string as a dict, in the order written."""
    result: dict[str, str] = {}
    for item in text.split(","):
        name, sep, value = item.partition("=")
        if not sep:
            name, value = default_key, item
        if item:
            result[name] = value
    return result


def parse_key(key: str, text: str) -> dict[str, str]:
    prefix = prefix_of(key) or ""
    result = parse(text, FORMATS[prefix][0])
    if prefix == "net":
        for model in NET_MODELS:
            if model in result:
                return {"model": model, "macaddr": result.pop(model), **result}
    return result


def render_disk(disk: dict[str, str]) -> str:
    rest = sorted((k, v) for k, v in disk.items() if k != "file")
    return ",".join([disk["file"], *(f"{k}={v}" for k, v in rest)])


def render_net(net: dict[str, str]) -> str:
    rest = sorted((k, v) for k, v in net.items() if k not in ("model", "macaddr"))
    return ",".join([f"{net['model']}={net['macaddr']}", *(f"{k}={v}" for k, v in rest)])


def _check_value(name: str, kind: Kind, value: str) -> str | None:
    if isinstance(kind, tuple):
        if value not in kind:
            return f"{name}: value '{value}' does not have a value in the enumeration '{', '.join(kind)}'"
    elif kind == "int" and not re.fullmatch(r"-?\d+", value):
        return f"{name}: type check ('integer') failed - got '{value}'"
    elif kind == "num" and not re.fullmatch(r"-?\d+(\.\d+)?", value):
        return f"{name}: type check ('number') failed - got '{value}'"
    elif kind == "bool" and value.lower() not in ("0", "1", "on", "off", "yes", "no", "true", "false"):
        return f"{name}: type check ('boolean') failed - got '{value}'"
    return None


def _check_format(key: str, value: str) -> str | None:
    _default, properties = FORMATS[prefix_of(key) or ""]
    problems: list[str | None] = []
    for name, text in parse_key(key, value).items():
        if name not in properties:
            problems.append(f"{key}.{name}: {NOT_DEFINED}")
        else:
            problems.append(_check_value(f"{key}.{name}", properties[name], text))
    found = [problem for problem in problems if problem]
    return "invalid format - format error\n" + "\n".join(found) + "\n" if found else None


def check(params: dict[str, Any], release: str, creating: bool) -> None:
    """Refuse parameters that the API's schema does not know (400), all at once."""
    newer = {} if release.startswith("8") else SCALARS_9
    scalars = {**SCALARS, **(CREATE_ONLY if creating else UPDATE_ONLY), **newer}
    errors: dict[str, str] = {}
    for key, raw in params.items():
        value = str(raw)
        problem = None
        if prefix_of(key):
            problem = _check_format(key, value) if value else None
        elif re.fullmatch(r"(serial[0-3]|parallel[0-2]|numa[0-7])", key):
            pass
        elif key not in scalars:
            problem = NOT_DEFINED
        else:
            problem = _check_value(key, scalars[key], value)
            problem = problem.split(": ", 1)[1] if problem else None
        if problem:
            errors[key] = problem
    vmid = str(params.get("vmid", "100"))
    if creating and (not vmid.isdigit() or int(vmid) < 100):
        errors["vmid"] = "invalid format - value does not look like a valid VM ID\n"
    keys = params.get("sshkeys")
    if keys and not re.fullmatch(r"[-%a-zA-Z0-9_.!~*'()]*", str(keys)):
        errors["sshkeys"] = f"invalid format - invalid urlencoded string: {keys}\n"
    if errors:
        raise invalid(errors)
    check_ssh_keys(str(keys or ""))


def check_ssh_keys(encoded: str) -> None:
    from urllib.parse import unquote

    for line in unquote(encoded).splitlines():
        if line.strip() and not re.match(r"(ssh-|ecdsa-|sk-)[a-z0-9@.-]+ +[A-Za-z0-9+/]+=*( |$)", line.strip()):
            raise ApiError(500, "SSH public key validation error")


def typed(key: str, value: Any) -> str | int:
    """The value as the API's JSON has it: integers and booleans as numbers, all else as text (memory too)."""
    kind = SCALARS.get(key, SCALARS_9.get(key))
    if kind == "int":
        return int(value)
    if kind == "bool":
        return int(str(value).lower() in ("1", "on", "yes", "true"))
    return str(value)
