# SPDX-License-Identifier: MIT
"""Keys of the lab, made once below inventories/lab/.secrets and never committed."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterable
from pathlib import Path

from .shell import run

KNOWN_HOSTS = "known_hosts"


class Secrets:
    """The folder of secrets; every method makes what is missing and returns what is there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def _write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
        return path

    def ssh_key(self, name: str = "id_ed25519") -> tuple[str, str]:
        """Private and public part of an SSH key pair."""
        path = self.folder / name
        if not path.exists():
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", f"mediaserver-lab {path.name}", "-f", str(path)])
        return path.read_text(), path.with_name(path.name + ".pub").read_text().strip()

    def host_key(self, machine: str) -> dict[str, dict[str, str]]:
        private, public = self.ssh_key(f"lab/host_keys/{machine}")
        return {"ed25519": {"private": private, "public": public}}

    def token(self, name: str = "pve_token_secret") -> str:
        """The secret of the API token, in Proxmox's own shape."""
        path = self.folder / name
        if not path.exists():
            self._write(name, f"{uuid.uuid4()}\n")
        return path.read_text().strip()

    def certificate(self, addresses: Iterable[str], name: str) -> tuple[str, str]:
        """Key and certificate of a machine, signed by the lab's own authority ``pve-ca.pem``."""
        authority, authority_key = self.folder / "pve-ca.pem", self.folder / "lab/pve-ca.key"
        key, request, certificate = (self.folder / f"lab/{name}.{kind}" for kind in ("key", "csr", "pem"))
        new = ["openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj"]
        fresh = not (authority.exists() and authority_key.exists())
        if fresh:
            authority_key.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            ca_usage = ["-addext", "keyUsage=critical,keyCertSign,cRLSign"]
            run([*new, "/CN=mediaserver lab authority", "-x509", "-days", "3650", *ca_usage,
                 "-keyout", str(authority_key), "-out", str(authority)])  # fmt: skip
        if fresh or not certificate.exists():
            run([*new, f"/CN={name}", "-keyout", str(key), "-out", str(request)])
            names = ",".join([*(f"IP:{address}" for address in addresses), f"DNS:{name}"])
            usage = f"subjectAltName={names}\nextendedKeyUsage=serverAuth\n"
            extensions = self._write(f"lab/{name}.ext", usage)
            sign = ["openssl", "x509", "-req", "-CA", str(authority), "-CAkey", str(authority_key), "-CAcreateserial"]
            run([*sign, "-days", "3650", "-extfile", str(extensions), "-in", str(request), "-out", str(certificate)])
        return key.read_text(), certificate.read_text()

    def pin(self, entries: Iterable[tuple[str, str]]) -> None:
        """Pin host keys (address, public key) in known_hosts; other hosts' lines stay."""
        path = self.folder / KNOWN_HOSTS
        self._write(KNOWN_HOSTS, pinned(path.read_text() if path.exists() else "", entries))


def pinned(text: str, entries: Iterable[tuple[str, str]]) -> str:
    """known_hosts with exactly one line for each of these addresses."""
    wanted = {address: " ".join(key.split()[:2]) for address, key in entries}
    lines = [f"{address} {key}" for address, key in wanted.items()]
    if set(lines) <= set(text.splitlines()):
        return text  # others write this file too: the order of its lines is no difference
    kept = [line for line in text.splitlines() if line.strip() and line.split()[0] not in wanted]
    return "".join(f"{line}\n" for line in [*kept, *lines])
