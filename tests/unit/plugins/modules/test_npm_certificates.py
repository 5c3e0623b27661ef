# SPDX-License-Identifier: MIT
from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from ansible_collections.homelab.mediaserver.plugins.module_utils import _npm_certificates
from ansible_collections.homelab.mediaserver.plugins.module_utils._reconcile import Failure
from ansible_collections.homelab.mediaserver.plugins.modules import npm_certificates
from ansible_collections.homelab.mediaserver.tests.unit.fakes.http_fake import run_module
from ansible_collections.homelab.mediaserver.tests.unit.fakes.npm_fake import NpmFake
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

LOGIN = {"email": "admin@example.org", "password": "correct horse"}
EXPIRES = datetime(2036, 11, 18, 8, tzinfo=UTC)


def certificate(expires: datetime = EXPIRES) -> dict[str, str]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "example.org")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(expires - timedelta(days=365))
        .not_valid_after(expires)
        .sign(key, hashes.SHA256())
    )
    return {
        "certificate": made.public_bytes(serialization.Encoding.PEM).decode(),
        "key": key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ).decode(),
    }


@pytest.fixture
def run(monkeypatch):
    def call(fake, *entries, check=False, **more):
        arguments = {**LOGIN, "certificates": list(entries), **more}
        return run_module(npm_certificates, fake, arguments, check=check, monkeypatch=monkeypatch)

    return call


@pytest.fixture
def fake():
    return NpmFake()


def test_missing_arguments(run, fake):
    assert "one of the following is required: name, domains" in run(fake, {"state": "present"})["msg"]
    assert "give certificate and key" in run(fake, {"name": "home"})["msg"]
    assert "required together" in run(fake, {"name": "home", "certificate": "x"})["msg"]


@pytest.mark.parametrize("shown", [True, False])
def test_upload_check_create_again_replace_absent(run, fake, shown):
    fake.shows_certificates = shown
    home = {"name": "home", **certificate()}
    assert run(fake, home, check=True)["steps"] == ["create certificate home"]
    assert fake.certificates == {}
    created = run(fake, home)
    assert created["certificates"] == {"home": 1}
    assert fake.certificates[1]["meta"] == {"certificate": home["certificate"], "certificate_key": home["key"]}
    key_body = home["key"].splitlines()[1]
    assert key_body not in str(created)
    for check in (True, False):
        assert not run(fake, home, check=check)["changed"]

    renewed = {"name": "home", **certificate(EXPIRES + timedelta(days=300))}
    assert run(fake, renewed, check=True)["steps"] == ["upload certificate home"]
    run(fake, renewed)
    assert fake.certificates[1]["meta"]["certificate"] == renewed["certificate"]

    gone = {"name": "home", "state": "absent"}
    assert run(fake, gone)["steps"] == ["delete certificate home"]
    assert not run(fake, gone)["changed"]


def test_replaced_certificate_is_loaded(run, fake):
    run(fake, {"name": "home", **certificate()})
    host = fake.add_host(
        domain_names=["a.org"], forward_scheme="http", forward_host="x", forward_port=1, certificate_id=1
    )
    stamp = host["modified_on"]
    run(fake, {"name": "home", **certificate(EXPIRES + timedelta(days=300))})
    assert fake.writes == ["POST /nginx/certificates/1/upload", f"PUT /nginx/proxy-hosts/{host['id']}"]
    assert host["modified_on"] > stamp
    assert host["certificate_id"] == 1


def test_killed_between_create_and_upload_converges(run, fake):
    home = {"name": "home", **certificate()}
    fake.broken["POST /nginx/certificates/1/upload"] = OSError("killed")
    assert run(fake, home).failed
    fake.broken.clear()
    assert run(fake, home)["steps"] == ["upload certificate home"]
    assert not run(fake, home)["changed"]


def test_lets_encrypt_is_asked_once(run, fake):
    wanted = {"domains": ["media.example.org", "www.example.org"]}
    assert run(fake, wanted, check=True)["changed"]
    assert run(fake, wanted)["steps"] == ["request certificate media.example.org, www.example.org"]
    assert fake.certificates[1]["meta"] == {"dns_challenge": False}
    assert not run(fake, {"domains": ["www.example.org", "Media.example.org"]})["changed"]


def test_lets_encrypt_by_dns(run, fake):
    wanted = {
        "domains": ["*.example.org"],
        "dns_provider": "ovh",
        "dns_credentials": "dns_ovh_application_secret = hush",
        "propagation_seconds": 30,
        "letsencrypt_email": "a@example.org",
    }
    result = run(fake, wanted)
    assert "hush" not in str(result)
    assert fake.certificates[1]["meta"] == {
        "dns_challenge": True,
        "dns_provider": "ovh",
        "dns_provider_credentials": "dns_ovh_application_secret = hush",
        "propagation_seconds": 30,
        "letsencrypt_email": "a@example.org",
        "letsencrypt_agree": True,
    }


def test_lets_encrypt_refuses(run, fake):
    result = run(fake, {"domains": ["media.invalid"]})
    assert result["msg"] == (
        "Unable to request certificate media.invalid: "
        "Internal Error; CommandError: Some challenges have failed.; Ask for help (HTTP 500)"
    )


def test_wrong_key(run, fake):
    home = {"name": "home", **certificate(), "key": "nonsense"}
    assert "Unable to create certificate home: Certificate Key is not valid" in run(fake, home)["msg"]


def test_not_a_certificate(run, fake):
    assert "no PEM certificate" in run(fake, {"name": "home", "certificate": "x", "key": "y"})["msg"]


def test_fresh_machine_in_check_mode(run):
    home = {"name": "home", **certificate()}
    assert run(NpmFake(None), home, check=True)["reachable"] is False
    assert run(NpmFake(None), home).failed


@pytest.mark.parametrize("expires", [EXPIRES, datetime(2055, 1, 2, 3, 4, 5, tzinfo=UTC)])
def test_expiry(expires):
    assert _npm_certificates.expiry(certificate(expires)["certificate"]) == expires.timestamp()


def test_told_expiry_in_both_spellings():
    for text in ("2036-11-18 08:00:00", "2036-11-18T08:00:00.000Z"):
        assert _npm_certificates.told_expiry(text) == EXPIRES.timestamp()
    assert _npm_certificates.told_expiry(None) is None


def test_two_of_a_name():
    entry = {"provider": "other", "nice_name": "home", "meta": {}}
    option = {"name": "home", "domains": None, "state": "absent"}
    with pytest.raises(Failure, match="several of that name"):
        _npm_certificates.plan_certificates([option], [{**entry, "id": 1}, {**entry, "id": 2}])


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0, True), (7200, True), (-19800, True), (1, True), (38 * 60, False), (40, False), (16 * 3600, False)],
    ids=["same", "2 h east", "5.5 h west", "rounded", "renewed 38 minutes later", "renewed at once", "another day"],
)
def test_a_renewed_certificate_is_told_from_another_time_zone(seconds, expected):
    told = (EXPIRES + timedelta(seconds=seconds)).strftime("%Y-%m-%d %H:%M:%S")
    current = {"meta": {}, "domain_names": ["a.example.org"], "expires_on": told}
    assert _npm_certificates.same(certificate(), current) is expected
