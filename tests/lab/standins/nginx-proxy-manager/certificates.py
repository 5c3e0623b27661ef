# SPDX-License-Identifier: MIT
"""Uploaded certificates, read by openssl as the manager does."""

from __future__ import annotations

import re
import subprocess
from datetime import datetime


class NotValid(ValueError):
    pass


def _openssl(*arguments: str, stdin: bytes) -> str:
    done = subprocess.run(["openssl", *arguments], input=stdin, capture_output=True, check=False)
    if done.returncode:
        raise NotValid(done.stderr.decode(errors="replace").strip().splitlines()[0][:200])
    return done.stdout.decode()


def check_key(key: bytes) -> str:
    """The key's public half; NotValid."""
    try:
        return _openssl("pkey", "-pubout", stdin=key)
    except NotValid as error:
        raise NotValid(f"Certificate Key is not valid ({error})") from error


def describe(certificate: bytes) -> tuple[list[str], datetime, str]:
    """Names, end of validity, public key of the first certificate; NotValid."""
    try:
        shown = _openssl(
            "x509", "-noout", "-subject", "-nameopt", "multiline", "-ext", "subjectAltName", stdin=certificate
        )
        end = _openssl("x509", "-noout", "-enddate", stdin=certificate)
        public = _openssl("x509", "-noout", "-pubkey", stdin=certificate)
    except NotValid as error:
        raise NotValid(f"Certificate is not valid ({error})") from error
    names = re.findall(r"DNS:([^,\s]+)", shown)
    common = re.search(r"commonName\s*=\s*(\S+)", shown)
    if common and common.group(1) not in names:
        names.insert(0, common.group(1))
    moment = datetime.strptime(end.strip().split("=", 1)[1], "%b %d %H:%M:%S %Y %Z")
    return names, moment, public


def password_hash(password: str) -> str:
    return _openssl("passwd", "-apr1", "-stdin", stdin=password.encode()).strip()
