# SPDX-License-Identifier: MIT
"""The stand-in for OVH's DynHost: its answers, and over TLS with a certificate of the lab's own authority."""

from __future__ import annotations

import base64
import socket
import ssl
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from ansible_collections.homelab.mediaserver.tests.unit.fakes import program
from mediaserver_lab import fixed, layout, secrets

AUTHORIZED = "Basic " + base64.b64encode(f"{layout.DYNDNS_LOGIN}:{layout.DYNDNS_PASSWORD}".encode()).decode()


@pytest.fixture
def dyndns() -> ModuleType:
    return program.load(layout.LAB_DIR / "internet/dyndns.py")


@pytest.fixture
def registrar(dyndns: ModuleType, tmp_path: Path) -> Any:
    return dyndns.Registrar(layout.DYNDNS_LOGIN, layout.DYNDNS_PASSWORD, layout.DOMAIN, tmp_path / "state/names.json")


def query(name: str, address: str | None = None, system: str = "dyndns") -> dict[str, list[str]]:
    asked = {"system": [system], "hostname": [name]}
    return asked | ({"myip": [address]} if address else {})


def test_new_known_and_changed_addresses(registrar: Any) -> None:
    for address, text in (("198.18.77.2", "good"), ("198.18.77.2", "nochg"), ("198.18.77.3", "good")):
        assert registrar.update(query("lab.test", address), AUTHORIZED, "-") == (200, f"{text} {address}")
    assert registrar.update(query("vpn.lab.test"), AUTHORIZED, "198.18.77.9") == (200, "good 198.18.77.9")
    assert registrar.known() == {"lab.test": "198.18.77.3", "vpn.lab.test": "198.18.77.9"}


@pytest.mark.parametrize(
    ("asked", "authorization", "answer"),
    [
        (query("lab.test", "198.18.77.2"), None, (401, "badauth")),
        (query("lab.test", "198.18.77.2"), "Basic eDp5", (401, "badauth")),
        (query("example.org", "198.18.77.2"), AUTHORIZED, (200, "nohost")),
        (query("notlab.test", "198.18.77.2"), AUTHORIZED, (200, "nohost")),
        (query("lab"), AUTHORIZED, (200, "notfqdn")),
        (query("lab.test", "198.18.77.2", system="other"), AUTHORIZED, (200, "notfqdn")),
        (query("lab.test", "here"), AUTHORIZED, (200, "dnserr")),
    ],
)
def test_refusals_change_nothing(registrar: Any, asked: Any, authorization: str | None, answer: Any) -> None:
    assert registrar.update(asked, authorization, "198.18.77.2") == answer
    assert registrar.known() == {}


def test_over_tls_with_the_labs_authority(dyndns: ModuleType, registrar: Any, tmp_path: Path) -> None:
    keys = secrets.Secrets(tmp_path / "keys")
    keys.certificate(["127.0.0.2"], "pve")  # the node's comes first, from the same authority
    key, certificate = keys.certificate(["127.0.0.1"], "internet")
    assert keys.certificate(["127.0.0.1"], "internet") == (key, certificate), "made once"
    (tmp_path / "key").write_text(key)
    (tmp_path / "cert").write_text(certificate)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    arguments = (registrar, str(tmp_path / "cert"), str(tmp_path / "key"), port)
    threading.Thread(target=dyndns.serve, args=arguments, daemon=True).start()
    trust = ssl.create_default_context(cafile=str(tmp_path / "keys/pve-ca.pem"))
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=trust))
    base = f"https://127.0.0.1:{port}"
    for _ in range(50):
        try:
            assert opener.open(f"{base}/address", timeout=5).read() == b"127.0.0.1\n"
            break
        except urllib.error.URLError:
            time.sleep(0.1)
    else:
        pytest.fail("the stand-in does not answer")
    update = f"{base}/nic/update?system=dyndns&hostname=lab.test&myip=198.18.77.2"
    asked = urllib.request.Request(update, headers={"Authorization": AUTHORIZED})
    assert opener.open(asked, timeout=5).read() == b"good 198.18.77.2\n"
    with pytest.raises(urllib.error.HTTPError) as refused:
        opener.open(update, timeout=5)
    assert (refused.value.code, refused.value.read()) == (401, b"badauth\n")
    with pytest.raises(urllib.error.URLError, match="certificate"):
        urllib.request.build_opener(urllib.request.ProxyHandler({})).open(f"{base}/address", timeout=5)


def test_only_the_internet_has_it(tmp_path: Path) -> None:
    files = fixed.dyndns_files(secrets.Secrets(tmp_path))
    assert files["/usr/local/lib/mediaserver-lab/dyndns/key.pem"][1] == 0o600
    unit = files["/etc/systemd/system/mediaserver-lab-dyndns.service"][0].decode()
    assert f"LOGIN={layout.DYNDNS_LOGIN}" in unit


def test_the_inventory_says_the_same() -> None:
    site = (layout.ROOT / "inventories/lab/group_vars/all/site.yml").read_text()
    assert f"server: {layout.INTERNET}\n" in site
    assert f"login: {layout.DYNDNS_LOGIN}\n" in site
    assert f"ddclient: {{password: {layout.DYNDNS_PASSWORD}}}" in site
