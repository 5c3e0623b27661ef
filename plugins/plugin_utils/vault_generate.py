# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes secrets: passwords, SSH keys, an own certificate authority."""

from __future__ import annotations

import base64
import datetime
import secrets
import string
from collections.abc import Mapping
from typing import Any

try:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, x25519
except ImportError:  # said when a key is asked for; passwords need nothing
    HAS_CRYPTOGRAPHY = False
else:
    HAS_CRYPTOGRAPHY = True

ALPHABETS = {
    "alphanumeric": string.ascii_letters + string.digits,
    "letters": string.ascii_letters,
    "digits": string.digits,
    "hex": "0123456789abcdef",
}
KINDS = ("password", "hex", "words", "ssh_ed25519", "ca", "wireguard")
CONSONANTS, VOWELS = "bdfghjklmnprstvz", "aiou"  # proquints (Wilkerson 2009): 16 bits a word, no letter like another


class KindError(Exception):
    """A requirement that cannot be met."""


def generate(requirement: Mapping[str, Any]) -> dict[str, str]:
    """A new secret, and what belongs to it, by the suffix of its name ("" is the secret itself)."""
    kind = str(requirement.get("kind") or "password")
    if kind in ("password", "hex"):
        alphabet = "hex" if kind == "hex" else str(requirement.get("alphabet") or "alphanumeric")
        return {"": password(int(requirement.get("length") or 32), alphabet)}
    if kind == "words":
        return {"": "-".join(word() for _number in range(int(requirement.get("length") or 8)))}
    if kind not in KINDS:
        raise KindError(f"kind {kind} is none of {', '.join(KINDS)}")
    if not HAS_CRYPTOGRAPHY:
        raise KindError("the Python library cryptography is missing on the controller")
    if kind == "ssh_ed25519":
        return {"": _ssh_key()}
    if kind == "wireguard":
        return {"": base64.b64encode(x25519.X25519PrivateKey.generate().private_bytes_raw()).decode()}
    return certificate_authority(str(requirement.get("common_name") or requirement["name"]))


def password(length: int, alphabet: str) -> str:
    """Random characters; ``alphabet`` is a known name or the characters themselves."""
    if length < 8:
        raise KindError(f"a length of {length} is too short, 8 is the least")
    characters = ALPHABETS.get(alphabet, alphabet)
    return "".join(secrets.choice(characters) for _number in range(length))


def word() -> str:
    """16 random bits that can be read aloud and written by hand."""
    return "".join(secrets.choice(letters) for letters in (CONSONANTS, VOWELS, CONSONANTS, VOWELS, CONSONANTS))


def public(kind: str, value: str) -> dict[str, str]:
    """What can be told to others, computed from the secret itself."""
    if kind == "ssh_ed25519":
        key = serialization.load_ssh_private_key(value.encode(), None)
        encoding, form = serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
        return {".public": key.public_key().public_bytes(encoding, form).decode()}
    if kind == "wireguard":
        private = x25519.X25519PrivateKey.from_private_bytes(base64.b64decode(value))
        return {".public": base64.b64encode(private.public_key().public_bytes_raw()).decode()}
    return {}


def _ssh_key() -> str:
    key = ed25519.Ed25519PrivateKey.generate()
    form = serialization.PrivateFormat.OpenSSH
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()).decode()


def certificate_authority(name: str) -> dict[str, str]:
    """A key and its self-signed certificate, for ten years."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
    certificate = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=3653))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return {"": private.decode(), ".certificate": certificate.public_bytes(pem).decode()}
