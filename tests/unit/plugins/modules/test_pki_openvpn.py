# SPDX-License-Identifier: MIT
"""pki_openvpn against a fake of easy-rsa and openssl that keeps its state in files, as the real ones do."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.homelab.mediaserver.plugins.module_utils import _pki
from ansible_collections.homelab.mediaserver.plugins.modules import pki_openvpn
from ansible_collections.homelab.mediaserver.tests.unit.fakes.host_fake import Commands, files_below, run_module

NOW = int(time.time())
YEAR = 365 * _pki.DAY


class EasyRsa(Commands):
    """Certificates are text files "CERT <serial> <end>"; the list names its end and the revoked serial numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.serial = 16
        self.die_before = ""

    def __call__(self, argv: list[str], **environment: str) -> tuple[int, str, str]:
        self.environment = environment
        return super().__call__(argv, **environment)

    def call(self, argv: list[str]) -> Any:
        if argv[0] == "openssl":
            self.read(*argv)
            return self.openssl(argv)
        self.write(*argv)
        if argv[:2] == ["openvpn", "--genkey"]:
            return "-----BEGIN OpenVPN Static key V1-----\nplanted-tls-key\n"
        if self.die_before and self.die_before in " ".join(argv):
            return 1, "", "killed"
        return getattr(self, argv[1].replace("-", "_"))(Path(self.environment["EASYRSA_PKI"]), *argv[2:])

    def openssl(self, argv: list[str]) -> str:
        text = Path(argv[3]).read_text()
        stamp = lambda end: time.strftime("%b %e %H:%M:%S %Y GMT", time.gmtime(int(end)))  # noqa: E731
        if argv[1] == "x509":
            return f"notAfter={stamp(text.split()[2])}\n"
        end, *serials = text.split()
        return f"nextUpdate={stamp(end)}\n" + "".join(f"    Serial Number: {serial}\n" for serial in serials)

    def init_pki(self, pki: Path) -> int:
        for name in ("issued", "private", "reqs"):
            (pki / name).mkdir(parents=True)
        (pki / "index.txt").write_text("")
        return 0

    def build_ca(self, pki: Path, _nopass: str) -> int:
        assert self.environment["EASYRSA_REQ_CN"] == "vpn.example.org"
        (pki / "private/ca.key").write_text("planted-ca-key")
        (pki / "ca.crt").write_text("CA\n")
        return 0

    def build(self, pki: Path, name: str) -> Any:
        if (pki / f"reqs/{name}.req").exists():
            return 1, "", "Request file already exists"
        (pki / f"reqs/{name}.req").write_text("REQ")
        (pki / f"private/{name}.key").write_text(f"planted-key-{name}")
        return self.sign_req(pki, "", name)

    def build_server_full(self, pki: Path, name: str, _nopass: str) -> Any:
        return self.build(pki, name)

    build_client_full = build_server_full

    def sign_req(self, pki: Path, _kind: str, name: str) -> int:
        self.serial += 1
        end = NOW + int(self.environment["EASYRSA_CERT_EXPIRE"]) * _pki.DAY
        (pki / f"issued/{name}.crt").write_text(f"CERT {self.serial:X} {end}\n-----BEGIN CERTIFICATE-----\n{name}\n")
        with (pki / "index.txt").open("a") as index:
            index.write(f"V\t{end}\t\t{self.serial:X}\tunknown\t/CN={name}\n")
        return 0

    def expire(self, pki: Path, name: str) -> int:
        (pki / f"issued/{name}.crt").unlink()
        return 0

    def revoke_issued(self, pki: Path, name: str) -> int:
        serial = (pki / f"issued/{name}.crt").read_text().split()[1]
        (pki / f"issued/{name}.crt").unlink()
        text = (pki / "index.txt").read_text()
        (pki / "index.txt").write_text(re.sub(rf"V\t(\d+)\t\t{serial}\t", rf"R\t\1\t{NOW}\t{serial}\t", text))
        return 0

    def gen_crl(self, pki: Path) -> int:
        (pki / "crl.pem").write_text(
            " ".join([str(NOW + 10 * YEAR), *_pki.revoked_serials((pki / "index.txt").read_text())])
        )
        return 0


@pytest.fixture
def fake() -> EasyRsa:
    return EasyRsa()


@pytest.fixture
def go(tmp_path: Path, fake: EasyRsa, monkeypatch: pytest.MonkeyPatch) -> Any:
    def run(check: bool = False, **more: Any) -> Any:
        args = {
            "directory": str(tmp_path / "pki"),
            "server_directory": str(tmp_path / "server"),
            "authority_name": "vpn.example.org",
            "profile_directory": str(tmp_path / "profiles"),
            "profile": "client\nremote vpn.example.org 1194\n",
            **more,
        }
        return run_module(pki_openvpn, fake, args, monkeypatch, check=check)

    return run


def test_profile_is_required(fake: EasyRsa, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "profile" in run_module(pki_openvpn, fake, {}, monkeypatch)["msg"]


def test_check_then_create_then_again(go: Any, tmp_path: Path) -> None:
    planned = go(check=True, clients=["phone"])
    assert planned["changed"]
    assert files_below(tmp_path) == {}
    made = go(clients=["phone"])
    assert made["steps"] == planned["steps"]
    assert made["diff"] == planned["diff"]
    assert set(made["certificates"]) == {"server", "phone"}
    before = files_below(tmp_path)
    again = go(clients=["phone"])
    assert not again["changed"]
    assert not go(check=True, clients=["phone"])["changed"]
    assert files_below(tmp_path) == before


def test_profile_holds_everything_and_is_private(go: Any, tmp_path: Path) -> None:
    go(clients=["phone"])
    path = tmp_path / "profiles/phone.ovpn"
    text = path.read_text()
    for part in (
        "remote vpn.example.org 1194",
        "<ca>\nCA\n</ca>",
        "planted-key-phone",
        "planted-tls-key",
        "<cert>\n-----BEGIN",
    ):
        assert part in text
    assert path.stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "server/tls-crypt.key").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "server/crl.pem").stat().st_mode & 0o777 == 0o644
    assert (tmp_path / "pki").stat().st_mode & 0o777 == 0o700


def test_no_key_is_in_the_result(go: Any) -> None:
    assert "planted" not in str(go(clients=["phone"]))
    assert "planted" not in str(go(clients=["phone"], revoked=[]))


def test_revoked_device_is_on_the_published_list_and_its_profile_is_gone(go: Any, tmp_path: Path) -> None:
    go(clients=["phone", "laptop"])
    serial = (tmp_path / "pki/issued/phone.crt").read_text().split()[1]
    result = go(clients=["laptop"], revoked=["phone"])
    assert [step.split(" ")[0] for step in result["steps"]] == ["revoke", "renew", "publish", "remove"]
    assert serial in (tmp_path / "server/crl.pem").read_text()
    assert sorted(path.name for path in (tmp_path / "profiles").iterdir()) == ["laptop.ovpn"]
    assert not go(clients=["laptop"], revoked=["phone"])["changed"]


def test_killed_between_revoking_and_publishing(go: Any, fake: EasyRsa, tmp_path: Path) -> None:
    go(clients=["phone"])
    serial = (tmp_path / "pki/issued/phone.crt").read_text().split()[1]
    fake.die_before = "gen-crl"
    failed = go(revoked=["phone"])
    assert failed.failed
    assert "Unable to renew the list of revoked certificates: killed" in failed["msg"]
    fake.die_before = ""
    assert go(revoked=["phone"])["changed"]
    assert serial in (tmp_path / "server/crl.pem").read_text()


def test_rest_of_a_killed_run_does_not_hinder(go: Any, tmp_path: Path) -> None:
    go()
    (tmp_path / "pki/reqs/phone.req").write_text("half")
    (tmp_path / ".pki.new").mkdir()
    assert go(clients=["phone"])["changed"]
    assert not go(clients=["phone"])["changed"]


def test_device_comes_back_after_being_revoked(go: Any, tmp_path: Path) -> None:
    go(clients=["phone"])
    go(revoked=["phone"])
    assert go(clients=["phone"])["changed"]
    assert not go(clients=["phone"])["changed"]
    serial = (tmp_path / "pki/issued/phone.crt").read_text().split()[1]
    assert serial not in (tmp_path / "server/crl.pem").read_text().split()


def test_forgotten_device_keeps_its_certificate(go: Any, tmp_path: Path) -> None:
    go(clients=["phone"])
    assert not go(clients=[])["changed"]
    assert (tmp_path / "pki/issued/phone.crt").exists()


def test_server_is_renewed_with_its_key(go: Any, tmp_path: Path) -> None:
    go(server_days=30)
    key = (tmp_path / "pki/private/server.key").read_text()
    result = go(server_days=825)
    assert "renew the server certificate server" in result["steps"]
    assert (tmp_path / "pki/private/server.key").read_text() == key
    assert not go(server_days=825)["changed"]


def test_damaged_profile_is_written_again(go: Any, tmp_path: Path) -> None:
    go(clients=["phone"])
    (tmp_path / "profiles/phone.ovpn").chmod(0o644)
    assert go(clients=["phone"])["steps"] == ["write the profile phone"]


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"clients": ["../x"]}, "letters, digits"),
        ({"clients": ["a"], "revoked": ["a"]}, "one thing only"),
        ({"clients": ["server"]}, "one thing only"),
        ({"revoked": ["server"]}, "one thing only"),
    ],
)
def test_wrong_names(go: Any, options: dict[str, Any], text: str) -> None:
    result = go(**options)
    assert result.failed
    assert text in result["msg"]


def authority(**more: Any) -> _pki.Authority:
    whole = {
        "exists": True,
        "issued": {"server": NOW + YEAR},
        "tls_key": True,
        "crl_ends": NOW + 5 * YEAR,
        "crl_published": True,
    }
    return _pki.Authority(**{**whole, **more})


@pytest.mark.parametrize(
    ("now", "clients", "expected"),
    [
        (authority(), (), []),
        (authority(crl_ends=NOW + 100 * _pki.DAY), (), ["crl", "publish"]),
        (authority(crl_published=False), (), ["publish"]),
        (authority(crl_complete=False), (), ["crl", "publish"]),
        (authority(tls_key=False), (), ["tls_key"]),
        (authority(issued={"server": NOW + 10 * _pki.DAY}), (), ["renew"]),
        (authority(issued={}), (), ["server"]),
        (authority(), ("phone",), ["client", "profile"]),
        (authority(issued={"server": NOW + YEAR, "phone": NOW + YEAR}), ("phone",), ["profile"]),
    ],
)
def test_acts(now: _pki.Authority, clients: tuple[str, ...], expected: list[str]) -> None:
    wish = _pki.Wish("server", clients, (), 60)
    assert [act.verb for act in _pki.acts(wish, now, NOW)] == expected
