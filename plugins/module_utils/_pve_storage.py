# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A storage's definition: which options a type has, one form per value, and the change between two."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

from ansible_collections.homelab.mediaserver.plugins.module_utils import _pve_access as access
from ansible_collections.homelab.mediaserver.plugins.module_utils import _pve_format as fmt
from ansible_collections.homelab.mediaserver.plugins.module_utils._pve import ApiFailure, Pve
from ansible_collections.homelab.mediaserver.plugins.module_utils._reconcile import Failure, Plan, Step

Config = dict[str, Any]

# From Proxmox VE's storage plugins (8.4 and 9.1): options of a type; "!" marks those that are fixed when it is made.
_ALL = "content nodes disable"
_FILES = f"{_ALL} prune-backups max-protected-backups format create-base-path create-subdirs"
_MOUNT = f"{_FILES} path! content-dirs bwlimit options preallocation snapshot-as-volume-chain!"
TYPES: dict[str, str] = {
    "dir": f"{_FILES} path! content-dirs shared is_mountpoint bwlimit preallocation snapshot-as-volume-chain!",
    "btrfs": f"{_FILES} path! shared is_mountpoint nocow preallocation",
    "nfs": f"{_MOUNT} server! export!",
    "cifs": f"{_MOUNT} server! share! subdir username password domain smbversion",
    "cephfs": f"{_FILES} path! content-dirs monhost subdir options username fuse bwlimit keyring fs-name",
    "pbs": f"{_ALL} server! datastore! namespace port username password encryption-key master-pubkey prune-backups "
    "max-protected-backups fingerprint",
    "zfspool": f"{_ALL} pool! blocksize sparse mountpoint bwlimit",
    "lvm": f"{_ALL} vgname! base! shared saferemove saferemove_throughput tagged_only bwlimit snapshot-as-volume-chain",
    "lvmthin": f"{_ALL} vgname! thinpool! bwlimit",
    "rbd": f"{_ALL} monhost pool data-pool namespace username krbd keyring bwlimit",
    "iscsi": f"{_ALL} portal! target! bwlimit",
}
# what a type may hold, where that is not everything: the API leaves the rest out without an error
_BLOCKS = ("images", "rootdir")
CONTENT: dict[str, tuple[str, ...]] = {
    "pbs": ("backup",), "zfspool": _BLOCKS, "lvm": _BLOCKS, "lvmthin": _BLOCKS, "rbd": _BLOCKS, "iscsi": ("images",),
    "cephfs": ("backup", "import", "iso", "snippets", "vztmpl"),
}  # fmt: skip
SECRETS = ("password", "keyring", "encryption-key", "master-pubkey")
VISIBLE_SECRETS = ("encryption-key", "master-pubkey")  # the configuration tells whether there is one
TRUE_BY_DEFAULT = ("create-base-path", "create-subdirs")
BOOLEANS = ("disable", "shared", "sparse", "saferemove", "tagged_only", "nocow", "krbd", "fuse",
            "snapshot-as-volume-chain", *TRUE_BY_DEFAULT)  # fmt: skip
PATHS = ("path", "mountpoint", "export", "subdir")


def _flag(value: Any) -> str:
    return "" if value in (None, "") else fmt.flag(value)


def _mountpoint(value: Any) -> str:
    """Yes, no or a path; unset is no."""
    text = str(value or "")
    return {"1": "yes", "0": ""}[fmt.flag(text)] if text.lower() in (*fmt.TRUE, *fmt.FALSE) else text


def _pairs(value: Any) -> str:
    """``a=1,b=2``, from a map or a text, sorted."""
    given = value if isinstance(value, dict) else fmt.parse(value or "")
    return fmt.render({str(key): str(item) for key, item in given.items() if item is not None})


def _prune(value: Any) -> str:
    """Keeping nothing in particular is keeping all, for Proxmox VE too."""
    given = value if isinstance(value, dict) else fmt.parse(value or "")
    kept = {str(key).replace("_", "-"): item for key, item in given.items() if item is not None}
    numbers = {key: str(int(item)) for key, item in kept.items() if key != "keep-all" and int(item) > 0}
    if not kept:
        return ""
    return fmt.render(numbers) or "keep-all=1"


def _path(value: Any) -> str:
    return re.sub("/+", "/", str(value or "")).rstrip("/") or ("/" if value else "")


def _blocksize(value: Any) -> str:
    return fmt.show_size(fmt.size(value)) if value else ""


def _content(value: Any) -> str:
    return ",".join(name for name in access.names(value) if name != "none") or "none"


FORMS: dict[str, Callable[[Any], str]] = {
    "content": _content,
    "nodes": lambda value: ",".join(access.names(value)),
    "content-dirs": _pairs,
    "bwlimit": _pairs,
    "prune-backups": _prune,
    "is_mountpoint": _mountpoint,
    "blocksize": _blocksize,
    "fingerprint": lambda value: str(value or "").upper(),
    **dict.fromkeys(BOOLEANS, _flag),
    **dict.fromkeys(PATHS, _path),
}


def canonical(key: str, value: Any) -> str:
    """One form for the user's and the API's value; what a missing boolean means is the same as its being said."""
    text = FORMS.get(key, lambda given: "" if given is None else str(given))(value)
    if key in BOOLEANS and text == "":
        return "1" if key in TRUE_BY_DEFAULT else "0"
    return text


def options(kind: str) -> dict[str, bool]:
    """Options of a type: is it fixed when the storage is made?"""
    return {name.rstrip("!"): name.endswith("!") for name in TYPES[kind].split()}


def view(config: Config | None, keys: Iterable[str]) -> dict[str, Any]:
    if config is None:
        return {"state": "absent"}
    shown = {key: canonical(key, config.get(key)) for key in sorted(keys)}
    return {"state": "present", "type": config.get("type"), **shown}


def read(pve: Pve, name: str) -> Config | None:
    try:
        return pve.get_dict(access.path("storage", name), f"read storage {name}")
    except ApiFailure as failure:
        if failure.status == 500 and failure.text.strip() == f"storage '{name}' does not exist":
            return None
        raise


def desired(name: str, kind: str, given: Config, settings: Config) -> tuple[Config, Config]:
    """(options in canonical form, secrets) by the API's names (pure). ``given`` has every option of the module."""
    to = f"Unable to define storage {name}: "
    strange = sorted(key for key, value in given.items() if value is not None and key not in options(kind))
    if strange:
        raise Failure(f"{to}a storage of type {kind} has no {', '.join(strange)}")
    if set(given) & set(settings):
        text = ", ".join(sorted(set(given) & set(settings)))
        raise Failure(f"{to}give {text} as options of the module, not in settings")
    foreign = sorted(set(given.get("content") or ()) - set(CONTENT.get(kind, given.get("content") or ())))
    if foreign:
        raise Failure(f"{to}a storage of type {kind} cannot hold {', '.join(foreign)}")
    keep = given.get("prune-backups") or {}
    if keep.get("keep_all") and any(value for key, value in keep.items() if key != "keep_all"):
        raise Failure(f"{to}keep_all cannot stand with other rules of prune_backups")
    if name == "local" and given.get("nodes"):
        raise Failure(f"{to}Proxmox VE has it on every node, leave nodes out")
    all_given = {**settings, **{key: value for key, value in given.items() if value is not None}}
    secrets = {key: str(all_given.pop(key)) for key in SECRETS if key in all_given}
    wanted = {key: canonical(key, fmt.flag(value) if isinstance(value, bool) else value)
              for key, value in all_given.items()}  # fmt: skip
    return wanted, {key: value for key, value in secrets.items() if value}


def to_write(secrets: Config, current: Config, always: bool) -> Config:
    """Secrets to be written to a storage that exists (pure): those it lacks, and with ``always`` those it may have.

    A key for encryption is never made anew in place of another, and not written again if its fingerprint is there.
    """
    found = {}
    for key, value in secrets.items():
        there = str(current.get(key) or "") if key in VISIBLE_SECRETS else "?"
        same = key == "encryption-key" and there and (value == "autogen" or f'"{there}"' in value)
        if not there or (always and not same):
            found[key] = value
    return found


def plan(pve: Pve, name: str, kind: str, wanted: Config, secrets: Config, current: Config | None, always: bool) -> Plan:
    """``always``: write secrets that are there (or may be there) anew."""
    before, after = view(current, wanted), view({"type": kind, **wanted}, wanted)
    if current is None:
        data = {key: value for key, value in wanted.items() if value != ""}
        step = access.step(pve, f"create storage {name}", "post", "storage", storage=name, type=kind, **data, **secrets)
        return Plan(before, after, (step,))
    if current.get("type") != kind:
        raise Failure(_fixed_text(name, [("type", str(current.get("type")), kind)]), fixed=["type"])
    changed = [key for key in wanted if before[key] != after[key]]
    fixed = [(key, before[key], after[key]) for key in changed if options(kind).get(key)]
    if fixed:
        raise Failure(_fixed_text(name, fixed), fixed=[key for key, _old, _new in fixed])
    written = to_write(secrets, current, always)
    steps: tuple[Step, ...] = ()
    if changed or written:
        data = {key: wanted[key] for key in changed if wanted[key] != ""} | written
        gone = [key for key in changed if wanted[key] == ""]
        if gone:
            data["delete"] = ",".join(gone)
        describe = f"set {', '.join([*changed, *written])} of storage {name}"
        steps = (access.step(pve, describe, "put", access.path("storage", name), digest=current.get("digest"), **data),)
    return Plan(before, after, steps)


def read_back(pve: Pve, name: str, wanted: Config) -> Config:
    """The definition, which must be what was asked for: the API drops what a type or release does not have."""
    config = read(pve, name) or {}
    lost = [key for key, value in wanted.items() if config and canonical(key, config.get(key)) != value]
    if lost:
        raise Failure(f"Unable to define storage {name}: Proxmox VE did not take {', '.join(lost)} as given", lost=lost)
    return {key: value for key, value in config.items() if key != "digest"}


def _fixed_text(name: str, fixed: list[tuple[str, str, str]]) -> str:
    text = "; ".join(f"{key} is {old or 'not set'}, wanted is {new or 'none'}" for key, old, new in fixed)
    return (
        f"Unable to update storage {name}: what is fixed when a storage is defined differs: {text}. Remove the "
        "definition first (state=absent keeps the data), then define it anew"
    )


def absent(pve: Pve, name: str, current: Config | None, lose_key: bool) -> Plan:
    """Only the definition goes. But Proxmox VE deletes the encryption key of a backup server with it."""
    if current is None:
        return Plan({"state": "absent"}, {"state": "absent"})
    if name == "local":
        raise Failure("Unable to delete storage local: Proxmox VE always has it; disable it, or give it no content")
    if current.get("encryption-key") and not lose_key:
        raise Failure(
            f"Unable to delete storage {name}: Proxmox VE would delete its encryption key with it, and backups made "
            f"with it could not be read. Keep a copy of /etc/pve/priv/storage/{name}.enc, then give "
            "remove_encryption_key=true"
        )
    step = access.step(pve, f"delete the definition of storage {name}", "delete", access.path("storage", name))
    return Plan(view(current, ()), {"state": "absent"}, (step,))
