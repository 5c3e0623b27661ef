# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The secret store of an environment: one file in ansible-vault's own format, and its key beside it.

What is missing is generated once and kept; nothing is ever derived anew from anything else.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from ansible.errors import AnsibleError
from ansible.parsing.vault import VaultLib, VaultSecret

VAULT = "vault.yml"
KEY = "vault.key"
KNOWN_HOSTS = "known_hosts"
HEADER = b"$ANSIBLE_VAULT;"


class VaultError(Exception):
    """A problem with the store, with its remedy. Never holds a secret."""


@dataclass
class Store:
    """A folder with vault.yml and vault.key. ``given`` are vault passwords that Ansible itself was told."""

    folder: Path
    given: tuple[VaultSecret, ...] = ()
    used: VaultSecret | None = None

    @property
    def vault(self) -> Path:
        return self.folder / VAULT

    @property
    def key(self) -> Path:
        return self.folder / KEY

    def _candidates(self) -> list[VaultSecret]:
        own = []
        with contextlib.suppress(FileNotFoundError):
            text = self.key.read_bytes().strip()
            own = [VaultSecret(text)] if text else []
        return [*own, *self.given]

    def load(self) -> dict[str, str]:
        """All stored secrets by name; nothing when there is no vault yet."""
        try:
            data = self.vault.read_bytes()
        except FileNotFoundError:
            return {}
        if not data.startswith(HEADER):
            raise VaultError(
                f"Unable to read {self.vault}: it is not encrypted. "
                f"Run: ansible-vault encrypt --vault-password-file {self.key} {self.vault}"
            )
        candidates = self._candidates()
        if not candidates:
            raise VaultError(
                f"Unable to read {self.vault}: its key {self.key} is missing. Put the key back from your recovery "
                "copy, or point ANSIBLE_VAULT_PASSWORD_FILE at it. Without the key the secrets are lost: only if no "
                f"deployed service needs them any more, move {self.vault} away and run again to make new ones."
            )
        for candidate in candidates:
            with contextlib.suppress(AnsibleError):
                text = VaultLib([("default", candidate)]).decrypt(data)
                self.used = candidate
                return flatten(self._parse(text))
        raise VaultError(
            f"Unable to read {self.vault}: {self.key if self.key.exists() else 'the given vault password'} is the "
            "wrong key. Put back the key that belongs to it, or point ANSIBLE_VAULT_PASSWORD_FILE at it."
        )

    def _parse(self, text: bytes) -> Mapping[str, Any]:
        try:
            data = yaml.safe_load(text)
        except yaml.YAMLError:
            data = "broken"
        if not isinstance(data, dict) and data is not None:
            raise VaultError(f"Unable to read {self.vault}: what is encrypted is no YAML mapping of names to values")
        return data or {}

    def save(self, values: Mapping[str, str]) -> None:
        """Write all secrets; the key is made first, if there is none at all."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        password = self.used or next(iter(self._candidates()), None)
        if password is None:
            text = secrets.token_urlsafe(48)
            write_private(self.key, f"{text}\n".encode())
            password = VaultSecret(text.encode())
        text = yaml.safe_dump(dict(sorted(values.items())), default_flow_style=False, allow_unicode=True, width=4096)
        write_private(self.vault, VaultLib([("default", password)]).encrypt(text.encode(), password))
        self.used = password


def write_private(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Write a file whole, readable by its owner only from its first moment on."""
    beside = path.with_name(f".{path.name}.tmp")
    beside.unlink(missing_ok=True)
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(descriptor)
    beside.replace(path)


def flatten(data: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested mappings as one, names joined by dots: {immich: {db_password: x}} is {immich.db_password: x}."""
    flat: dict[str, str] = {}
    for key, value in data.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            flat.update(flatten(value, f"{name}."))
        elif value is not None and str(value) != "":
            flat[name] = str(value)
    return flat


def host_names(item: Mapping[str, Any]) -> list[str]:
    """A host's name and addresses as known_hosts writes them: with the port where it is not 22."""
    names = [str(name) for name in (item["host"], *(item.get("addresses") or [])) if name]
    port = int(item.get("port") or 22)
    return names if port == 22 else [f"[{name}]:{port}" for name in names]


def known_hosts(present: str, wanted: Iterable[tuple[list[str], str]]) -> str:
    """The text of a known_hosts file with one line per host; lines of other hosts stay as they are."""
    lines = {",".join(names): f"{','.join(names)} {key}" for names, key in wanted}
    ours = {name for names in lines for name in names.split(",")}
    others = [
        line
        for line in present.splitlines()
        if line.strip() and not ours & set(line.split(" ", maxsplit=1)[0].split(","))
    ]
    return "".join(f"{line}\n" for line in [*others, *(lines[names] for names in sorted(lines))])
