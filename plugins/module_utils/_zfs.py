# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""OpenZFS's properties in one canonical form, and how they are read. Versions 2.1 to 2.4."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.homelab.mediaserver.plugins.module_utils import _command
from ansible_collections.homelab.mediaserver.plugins.module_utils._reconcile import Failure

Run = Callable[[Sequence[str]], tuple[int, str, str]]
Properties = dict[str, tuple[str, str]]
"""Property -> (value as ``zfs get -p`` prints it, source)."""

UNLIMITED = {"quota", "refquota", "reservation", "refreservation"}
SIZES = UNLIMITED | {"volsize", "recordsize", "volblocksize", "special_small_blocks"}
LIMITS = {"filesystem_limit", "snapshot_limit"}
# those without a name are new in 2.4
QUOTA_OF = re.compile(r"(user|group|project)(obj)?quota@.+|default(user|group|project)(obj)?quota")
# other names that zfs and zpool take, but do not print
SHORT_NAMES = {
    "alloc": "allocated", "avail": "available", "cap": "capacity", "case": "casesensitivity", "compress": "compression",
    "dnsize": "dnodesize", "expand": "autoexpand", "fslimit": "filesystem_limit", "listsnaps": "listsnapshots",
    "rdonly": "readonly", "recsize": "recordsize", "redund_md": "redundant_metadata", "refreserv": "refreservation",
    "replace": "autoreplace", "reserv": "reservation", "sslimit": "snapshot_limit", "volblock": "volblocksize",
}  # fmt: skip
# booleans, and words that stand for them: zfs itself takes none but lower-case on and off
SWITCHES = {
    "atime", "autoexpand", "autoreplace", "autotrim", "canmount", "checksum", "compression", "dedup", "delegation",
    "devices", "encryption", "exec", "listsnapshots", "longname", "multihost", "nbmand", "overlay", "readonly",
    "relatime", "setuid", "sharenfs", "sharesmb", "utf8only", "vscan", "xattr", "zoned",
}  # fmt: skip
WORDS = {"on": "on", "true": "on", "yes": "on", "off": "off", "false": "off", "no": "off"}
# what `zfs get` prints for another accepted spelling
ALIASES = {
    ("acltype", "posixacl"): "posix",
    ("acltype", "noacl"): "off",
    ("aclinherit", "secure"): "restricted",
    ("volmode", "geom"): "full",
    ("encryption", "on"): "aes-256-gcm",
    ("compression", "gzip-6"): "gzip",
    ("compression", "zstd-3"): "zstd",
    ("compression", "zstd-fast-1"): "zstd-fast",
    ("dedup", "sha256"): "on",
    # `zfs get` prints "on" for sa since 2.3; before, it printed "on" for dir (Zfs.get puts that right)
    ("xattr", "on"): "sa",
}
CREATE_ONLY = {"casesensitivity", "normalization", "utf8only", "volblocksize", "encryption", "keyformat", "pbkdf2iters"}
NOT_INHERITED = SIZES - {"recordsize", "special_small_blocks"} | LIMITS | CREATE_ONLY | {"canmount", "keylocation"}
SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([KMGTPE]?)(?:i?B)?", re.IGNORECASE)
UNITS = "KMGTPE"
GONE = re.compile(r"cannot open '[^']+': (dataset does not exist|no such pool.*)")
# nothing can be there then: a host that gets OpenZFS in this very run
VERSION = Path("/sys/module/zfs/version")
NO_ZFS = re.compile(r"ZFS modules (are not |cannot be auto-)loaded")


def bytes_of(value: Any) -> int | None:
    """Bytes of ``30G``, ``1.5T``, ``512`` (powers of 1024); None when it is no size."""
    match = SIZE.fullmatch(str(value).strip())
    if match is None:
        return None
    factor = 1024 ** (UNITS.index(match[2].upper()) + 1) if match[2] else 1
    whole, _point, rest = match[1].partition(".")
    return int(int(whole) * factor + int(rest or 0) * factor // 10 ** len(rest))


def show(name: str, value: str) -> str:
    """A canonical value as a person reads it: ``30G`` where that is exact."""
    if (name in SIZES or is_quota_of(name)) and value.isdigit():
        number = int(value)
        if number == 0:
            return "none" if name in UNLIMITED or is_quota_of(name) else "0"
        for power, unit in reversed(list(enumerate(UNITS, 1))):
            if number % 1024**power == 0:
                return f"{number // 1024**power}{unit}"
    return value


def is_quota_of(name: str) -> bool:
    return QUOTA_OF.fullmatch(name) is not None


def canonical(name: str, value: Any) -> str:
    """A wanted or a read value in the one form in which they can be compared."""
    if ":" in name and not is_quota_of(name):  # a user property: to the letter, as its reader expects it
        return str(value).lower() if isinstance(value, bool) else str(value)
    text = ("on" if value else "off") if isinstance(value, bool) else str(value)
    if name in SWITCHES:
        text = WORDS.get(text.lower(), text)
    if name in LIMITS:
        return "none" if text in ("none", str(2**64 - 1)) else text
    if name in SIZES or is_quota_of(name):
        if text in ("none", "-", "") and name not in ("volsize", "recordsize", "volblocksize"):
            return "0"
        number = bytes_of(text)
        if number is None and not (name == "refreservation" and text == "auto"):
            raise Failure(f"Unable to read property {name}: {text} is no size (30G, 512M, bytes or none)")
        return text if number is None else str(number)
    if name == "dedup_table_quota":  # none is another thing than 0 there
        return text if (number := bytes_of(text)) is None else str(number)
    return ALIASES.get((name, text), text.lower() if name == "dnodesize" else text)


def canonical_all(properties: Mapping[str, Any], owner: str) -> dict[str, str]:
    """The wanted properties of one dataset or pool, by the names that zfs prints."""
    found: dict[str, str] = {}
    for given, value in properties.items():
        name = SHORT_NAMES.get(given, given)
        if value is None or isinstance(value, (dict, list)):
            raise Failure(f"Unable to read property {name} of {owner}: {value!r} is no value; to go back, use inherit")
        if name in found:
            raise Failure(f"Unable to read property {name} of {owner}: it is given twice, as {given}, too")
        found[name] = canonical(name, value)
    return found


def argument(name: str, value: str) -> str:
    """``name=value`` for a command line. A limit of 0 is refused by zfs: it wants ``none``."""
    if value == "0" and (name in UNLIMITED or is_quota_of(name)):
        value = "none"
    return f"{name}={value}"


def same(name: str, wanted: str, read: str) -> bool:
    return wanted == canonical(name, read)


@dataclass(frozen=True)
class Command:
    """One write: its words for people and its argv, or (for what is no command) a function. An error that holds
    ``fine`` says that it is done already."""

    describe: str
    argv: tuple[str, ...] = ()
    call: Callable[[], Any] | None = None
    fine: str | None = None


def parse_get(text: str, asked: Iterable[str]) -> dict[str, Properties]:
    """``zfs get -Hp -o name,property,value,source``. A value may hold tabs and line breaks."""
    known, records = set(asked), []
    for line in text.removesuffix("\n").split("\n"):  # not splitlines, which knows ends that zfs does not
        fields = line.split("\t", 2)
        if len(fields) == 3 and fields[1] in known:
            records.append(fields)
        elif records:
            records[-1][2] += f"\n{line}"
    found: dict[str, Properties] = {}
    for name, prop, rest in records:
        value, _tab, source = rest.rpartition("\t")
        found.setdefault(name, {})[prop] = (value, source)
    return found


class Zfs:
    """The commands of one host. ``present`` is False where OpenZFS is not installed or not loaded (yet)."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.present = True

    def read(self, argv: Sequence[str], action: str, absent: re.Pattern[str] | None = None) -> str:
        """Output of a reading command; errors that all say ``absent`` count as an empty answer."""
        try:
            code, out, err = self.run(argv)
        except FileNotFoundError:
            self.present = self.present and argv[0] not in ("zfs", "zpool")
            return ""
        if code == 0:
            return out
        if NO_ZFS.search(err):
            self.present = False
            return ""
        lines = [line for line in err.splitlines() if line.strip()]
        if absent is not None and lines and all(absent.fullmatch(line.strip()) for line in lines):
            return out
        raise Failure(f"Unable to {action}: {short(err or out)}", command=list(argv), rc=code)

    def write(self, command: Command) -> Any:
        if command.call is not None:
            return command.call()
        try:
            code, out, err = self.run(command.argv)
        except FileNotFoundError:
            raise Failure(f"Unable to {command.describe}: OpenZFS is not installed: no {command.argv[0]}") from None
        if code == 0 and out.startswith("Usage:"):  # zfs allow, of a user, group or permission that it does not know
            raise Failure(
                f"Unable to {command.describe}: zfs knows no such user, group or permission", command=list(command.argv)
            )
        if code != 0 and not (command.fine and command.fine in err):
            raise Failure(f"Unable to {command.describe}: {short(err or out)}", command=list(command.argv), rc=code)
        return out

    def get(self, names: Sequence[str], properties: Sequence[str], recursive: bool = False) -> dict[str, Properties]:
        """Named properties of datasets; those that do not exist are left out."""
        if not names:
            return {}
        argv = ["zfs", "get", "-Hp", *(["-r"] if recursive else []), "-t", "filesystem,volume"]
        argv += ["-o", "name,property,value,source", ",".join(properties), *names]
        found = parse_get(self.read(argv, "read the datasets", GONE), properties)
        for props in found.values() if version() < (2, 3) else ():
            if props.get("xattr", ("", ""))[0] == "on":
                props["xattr"] = ("dir", props["xattr"][1])
        return found


def version() -> tuple[int, ...]:
    """Of the kernel's module, which the commands come with."""
    text = VERSION.read_text() if VERSION.exists() else ""
    match = re.match(r"(\d+)\.(\d+)", text)
    return (int(match[1]), int(match[2])) if match else (2, 3)


def short(text: str) -> str:
    """A command's error without the usage that it prints after it."""
    return text.strip().split("\nusage:")[0].strip()


def runner(module: Any) -> Run:
    """The module's commands; one that is not installed raises FileNotFoundError."""

    def run(argv: Sequence[str]) -> tuple[int, str, str]:
        path = module.get_bin_path(argv[0], opt_dirs=["/usr/sbin", "/sbin"])
        if path is None:
            raise FileNotFoundError(argv[0])
        return _command.execute([path, *argv[1:]])

    return run
