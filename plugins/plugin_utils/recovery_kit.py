# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The recovery kit: an inventory folder with its secrets, as one file in ansible-vault's format.

Inside is a gzipped tar archive, so that ansible-core and tar open it without this collection. The same files give the
same archive, byte for byte: whether a kit is up to date is a comparison.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import re
import shutil
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from ansible.errors import AnsibleError
from ansible.parsing.vault import VaultLib, VaultSecret

from . import vault

SECRETS = ".secrets"
FOLDER = f"{SECRETS}/recovery-kit"
RECORD = "record.json"
ABOUT = "RECOVERY.json"
FORMAT = 1
# The kit itself, what is only true while something runs, and what belongs to version control.
LEFT_OUT = re.compile(rf"^{re.escape(FOLDER)}/|(^|/)(\.git/|\.[^/]*\.tmp$|mediaserver-[^/]*\.lock$|[^/]*~$)")
KNOWN_HOSTS = f"{SECRETS}/{vault.KNOWN_HOSTS}"  # grows with every guest, and every line of it follows from the vault


class KitError(Exception):
    """What is wrong with a kit, with its remedy. Never holds a secret."""


@dataclass(frozen=True)
class File:
    """One file of the inventory: its content, and its mode's nine common bits."""

    data: bytes
    mode: int


def collect(inventory: Path) -> dict[str, File]:
    """All files of an inventory folder by their names in it."""
    found: dict[str, File] = {}
    for path in sorted(inventory.rglob("*")):
        name = path.relative_to(inventory).as_posix()
        if path.is_file() and not LEFT_OUT.search(name):
            found[name] = File(path.read_bytes(), path.stat().st_mode & 0o777)
    return found


def digest(files: Mapping[str, File]) -> str:
    """Of what cannot be made again: everything in .secrets, and files that hold values of ansible-vault."""
    total = hashlib.sha256()
    for name, file in sorted(files.items()):
        if name != KNOWN_HOSTS and (name.startswith(f"{SECRETS}/") or vault.HEADER in file.data):
            total.update(f"{name}\0{hashlib.sha256(file.data).hexdigest()}\n".encode())
    return total.hexdigest()


def state(inventory: Path) -> str:
    """``missing``, ``old`` or ``current``; nothing while there is no vault to lose."""
    if not (inventory / SECRETS / vault.VAULT).exists():
        return ""
    try:
        record = json.loads((inventory / FOLDER / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return "missing"
    return "current" if record.get("digest") == digest(collect(inventory)) else "old"


def pack(files: Mapping[str, File], about: Mapping[str, Any]) -> bytes:
    """The archive."""
    text = json.dumps({"format": FORMAT, **about}, indent=2, sort_keys=True) + "\n"
    out = io.BytesIO()
    with gzip.GzipFile(fileobj=out, mode="wb", mtime=0) as packed, tarfile.open(fileobj=packed, mode="w") as archive:
        for name, file in sorted({**files, ABOUT: File(text.encode(), 0o644)}.items()):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(file.data), file.mode
            archive.addfile(entry, io.BytesIO(file.data))
    return out.getvalue()


def unpack(data: bytes) -> tuple[dict[str, File], dict[str, Any]]:
    """The files, and what the kit says of itself."""
    files: dict[str, File] = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as archive:
            for entry in archive:
                content = archive.extractfile(entry) if entry.isreg() else None
                if (
                    content is None
                    or PurePosixPath(entry.name).is_absolute()
                    or ".." in PurePosixPath(entry.name).parts
                ):
                    raise KitError(f"Unable to open the kit: {entry.name!r} is no file of an inventory")
                files[entry.name] = File(content.read(), entry.mode & 0o777)
        about: dict[str, Any] = json.loads(files.pop(ABOUT).data)
    except (tarfile.TarError, OSError, EOFError, KeyError, ValueError):
        raise KitError("Unable to open the kit: what is inside is no recovery kit") from None
    if about.get("format") != FORMAT:
        raise KitError(f"Unable to open the kit: its format is {about.get('format')}, this collection knows {FORMAT}")
    return files, about


def seal(archive: bytes, passphrase: str) -> bytes:
    secret = VaultSecret(passphrase.encode())
    sealed: bytes = VaultLib([("default", secret)]).encrypt(archive, secret)
    return sealed


def unseal(sealed: bytes, passphrase: str) -> bytes:
    if not sealed.startswith(vault.HEADER):
        raise KitError("Unable to open the kit: it is no file of ansible-vault. Take another copy")
    try:
        archive: bytes = VaultLib([("default", VaultSecret(passphrase.encode()))]).decrypt(sealed)
    except AnsibleError:
        raise KitError(
            "Unable to open the kit: the passphrase is another, or the file is damaged. Look for misread letters, "
            "compare the file's SHA-256 with the printed page, try another copy"
        ) from None
    return archive


def plain_words(typed: str) -> str:
    """A passphrase as it was made, however it was typed: words in small letters, joined by hyphens."""
    return "-".join(re.findall(r"[a-z0-9]+", typed.lower()))


def put_back(files: Mapping[str, File], inventory: Path) -> bool:
    """Write the files where no inventory is; false when exactly they are there already.

    They are written beside the place first, and get their name together: a killed run leaves nothing half.
    """
    if inventory.exists() and any(inventory.iterdir()):
        present = collect(inventory)
        differing = sorted(name for name in {*files, *present} if files.get(name) != present.get(name))
        if not differing:
            return False
        raise KitError(
            f"Unable to put the inventory back: {inventory} is another one ({differing[0]} differs). Choose another "
            "name (ENV=…). If it was opened before and changed since, go on without KIT="
        )
    beside = inventory.with_name(f".{inventory.name}.opening")
    shutil.rmtree(beside, ignore_errors=True)  # of a killed run
    for name, file in files.items():
        path = beside / name
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        vault.write_private(path, file.data, file.mode)
        path.chmod(file.mode)
    beside.replace(inventory)
    return True
