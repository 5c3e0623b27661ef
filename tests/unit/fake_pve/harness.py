# SPDX-License-Identifier: MIT
"""Runs modules against the fake Proxmox VE API over real HTTPS, in this process."""

from __future__ import annotations

import contextlib
import datetime
import io
import ipaddress
import json
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.testing import patch_module_args
from ansible_collections.homelab.mediaserver.tests.lab.fake_pve.driver import NullDriver
from ansible_collections.homelab.mediaserver.tests.lab.fake_pve.server import Server, Service
from ansible_collections.homelab.mediaserver.tests.lab.fake_pve.world import World
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

TOKEN = "automation@pve!mediaserver"
SECRET = "11111111-2222-3333-4444-555555555555"
ROOT_PASSWORD = "correct horse battery"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIMT/Mynhb8Ir4ZXKtM7HmzosC6ru7gHq15s5U3XV4WtE a@b"


def certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that is its own authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "fake_pve")])
    now = datetime.datetime.now(datetime.UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=2))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), True)
        .sign(key, hashes.SHA256())
    )
    cert_file, key_file = folder / "cert.pem", folder / "key.pem"
    cert_file.write_bytes(built.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return cert_file, key_file


class Lab:
    """A fake with a node's file system, and modules run against it."""

    def __init__(self, folder: Path, release: str, cert: tuple[Path, Path]) -> None:
        self.folder = folder
        self.release = release
        self.cert = cert
        self.root = folder / "node"
        for path in ("var/lib/vz/import", "var/lib/vz/snippets", "var/lib/vz/template/cache"):
            (self.root / path).mkdir(parents=True)
        self.driver = NullDriver()
        self.world = self.new_world()
        self.service = Service(self.world, {TOKEN: {"value": SECRET}}, {"root@pam": ROOT_PASSWORD})
        self.server = Server(self.service, ("127.0.0.1", 0), *cert)
        self.port = self.server.start()

    def new_world(self) -> World:
        return World(self.folder / "state", release=self.release, root=self.root, driver=self.driver)

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def image(self, name: str = "debian-13.qcow2", size: int = 3 * 1024**3) -> str:
        """A file with a qcow2 header of this virtual size; its volume id."""
        head = b"QFI\xfb" + (3).to_bytes(4, "big") + bytes(16) + size.to_bytes(8, "big")
        (self.root / "var/lib/vz/import" / name).write_bytes(head)
        return f"local:import/{name}"

    def template(self, name: str = "debian-13.tar.zst") -> str:
        """A file that stands in for a container's template; its volume id."""
        (self.root / "var/lib/vz/template/cache" / name).write_bytes(b"stand-in")
        return f"local:vztmpl/{name}"

    def credentials(self) -> dict[str, Any]:
        user, _, token = TOKEN.partition("!")
        return {"api_host": "127.0.0.1", "api_port": self.port, "api_user": user, "api_token_id": token,
                "api_token_secret": SECRET, "ca_path": str(self.cert[0])}  # fmt: skip

    def as_root(self) -> dict[str, Any]:
        return {"api_user": "root@pam", "api_password": ROOT_PASSWORD, "api_token_id": None, "api_token_secret": None}

    def run(self, module: ModuleType, check: bool = False, **arguments: Any) -> dict[str, Any]:
        """Run a module; in check mode the fake refuses (and records) any write."""
        given = {**self.credentials(), **arguments, "_ansible_check_mode": check, "_ansible_diff": True}
        given = {key: value for key, value in given.items() if value is not None}
        output = io.StringIO()
        self.service.requests.clear()
        self.service.refuse_writes = check
        warnings: list[str] = []
        with (
            patch_module_args(given),
            mock.patch.object(AnsibleModule, "warn", lambda _self, text, **_: warnings.append(text)),
            contextlib.redirect_stdout(output),
            contextlib.suppress(SystemExit),
        ):
            module.main()
        self.service.refuse_writes = False
        assert self.service.refused == [], "a module wrote in check mode"
        return {**json.loads(output.getvalue()), "warnings": warnings}

    def order(self, module: ModuleType, **arguments: Any) -> dict[str, Any]:
        """Check, run, check again, run again: changes the first time, as predicted, and never after."""
        checked = self.run(module, check=True, **arguments)
        assert not checked.get("failed"), checked
        assert checked["changed"], "check mode says that something changes"
        done = self.run(module, **arguments)
        assert not done.get("failed"), done
        assert done["changed"]
        assert done["steps"] == checked["steps"]
        assert done["diff"] == checked["diff"]
        for check in (True, False):
            again = self.run(module, check=check, **arguments)
            assert not again.get("failed"), again
            assert not again["changed"], again["steps"]
            assert again["diff"]["before"] == done["diff"]["after"], "the diff was exact"
        return done

    def config(self, vmid: int) -> dict[str, Any]:
        return dict(self.world.data["vms"][str(vmid)]["conf"])

    def container(self, vmid: int) -> dict[str, Any]:
        return dict(self.world.data["cts"][str(vmid)]["conf"])

    def wait_tasks(self) -> None:
        while any(task["status"] == "running" for task in list(self.world.data["tasks"].values())):
            time.sleep(0.01)


@contextlib.contextmanager
def lab(folder: Path, release: str, cert: tuple[Path, Path]) -> Iterator[Lab]:
    made = Lab(folder, release, cert)
    try:
        yield made
    finally:
        made.close()
