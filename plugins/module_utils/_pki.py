# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an OpenVPN server's authority holds, and what is missing in it. Pure but for the two readers at the end."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

DAY = 86400


@dataclass(frozen=True)
class Authority:
    """The authority as it is. Times are seconds since 1970; ``issued`` maps names to the end of their certificate."""

    exists: bool = False
    issued: dict[str, int] = field(default_factory=dict)
    tls_key: bool = False
    crl_ends: int = 0
    crl_complete: bool = True
    crl_published: bool = False
    profiles: dict[str, bool] = field(default_factory=dict)


@dataclass(frozen=True)
class Wish:
    """The authority as it shall be."""

    server: str
    clients: tuple[str, ...]
    revoked: tuple[str, ...]
    renew_days: int


@dataclass(frozen=True)
class Act:
    """One write: verb is authority, tls_key, server, renew, client, revoke, crl, publish, profile or drop_profile."""

    verb: str
    name: str = ""

    def describe(self) -> str:
        words = {
            "authority": "make the authority",
            "tls_key": "make the tls-crypt key",
            "server": f"issue the server certificate {self.name}",
            "renew": f"renew the server certificate {self.name}",
            "client": f"issue the client certificate {self.name}",
            "revoke": f"revoke the client certificate {self.name}",
            "crl": "renew the list of revoked certificates",
            "publish": "publish the list of revoked certificates",
            "profile": f"write the profile {self.name}",
            "drop_profile": f"remove the profile {self.name}",
        }
        return words[self.verb]


def acts(wish: Wish, now: Authority, clock: int) -> list[Act]:
    """The writes that lead from ``now`` to ``wish``, in order."""
    limit = clock + wish.renew_days * DAY
    result = [] if now.exists else [Act("authority")]
    if not now.tls_key:
        result.append(Act("tls_key"))
    if wish.server not in now.issued:
        result.append(Act("server", wish.server))
    elif now.issued[wish.server] < limit:
        result.append(Act("renew", wish.server))
    new = [name for name in wish.clients if name not in now.issued]
    result += [Act("client", name) for name in new]
    gone = [name for name in wish.revoked if name in now.issued]
    result += [Act("revoke", name) for name in gone]
    # Half a year before its end: a server whose list is over refuses everybody.
    renewed = (
        bool(gone) or not now.exists or not now.crl_complete or now.crl_ends < clock + max(180, wish.renew_days) * DAY
    )
    if renewed:
        result.append(Act("crl"))
    if renewed or not now.crl_published:
        result.append(Act("publish"))
    result += [Act("profile", name) for name in wish.clients if name in new or not now.profiles.get(name)]
    result += [Act("drop_profile", name) for name in wish.revoked if name in now.profiles]
    return result


def states(wish: Wish, now: Authority, todo: list[Act]) -> tuple[dict[str, object], dict[str, object]]:
    """Before and after for the diff; neither holds a secret."""
    valid = sorted(set(now.issued) - {wish.server})
    done = {(act.verb, act.name) for act in todo}
    verbs = {act.verb for act in todo}
    before = {
        "authority": now.exists,
        "server": _end(now.issued.get(wish.server)),
        "clients": valid,
        "profiles": sorted(name for name, right in now.profiles.items() if right),
        "revocations_end": _end(now.crl_ends),
    }
    clients = {*valid, *(name for verb, name in done if verb == "client")} - {
        name for verb, name in done if verb == "revoke"
    }
    profiles = {*now.profiles, *wish.clients} - {name for verb, name in done if verb == "drop_profile"}
    after = {
        "authority": True,
        "server": "new" if verbs & {"server", "renew"} else before["server"],
        "clients": sorted(clients),
        "profiles": sorted(profiles),
        "revocations_end": "new" if "crl" in verbs else before["revocations_end"],
    }
    return before, after


def _end(seconds: int | None) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d") if seconds else "missing"


def unlisted(wish: Wish, now: Authority) -> list[str]:
    """Clients that hold a valid certificate although nobody speaks of them."""
    return sorted(set(now.issued) - {wish.server, *wish.clients, *wish.revoked})


def openssl_time(text: str) -> int:
    """``notAfter=Nov 18 08:59:37 2036 GMT`` as seconds since 1970."""
    moment = datetime.strptime(" ".join(text.partition("=")[2].split()), "%b %d %H:%M:%S %Y %Z")
    return int(moment.replace(tzinfo=UTC).timestamp())


def profile(head: str, pki: Path, tls_key: Path, name: str) -> str:
    """A client's whole profile, keys included."""
    certificate = (pki / "issued" / f"{name}.crt").read_text()
    begin = certificate.index("-----BEGIN CERTIFICATE-----")
    parts = {
        "ca": (pki / "ca.crt").read_text(),
        "cert": certificate[begin:],
        "key": (pki / "private" / f"{name}.key").read_text(),
        "tls-crypt": tls_key.read_text(),
    }
    blocks = [f"<{tag}>\n{text.strip()}\n</{tag}>\n" for tag, text in parts.items()]
    return head.rstrip("\n") + f"\nsetenv FRIENDLY_NAME {name}\n" + "".join(blocks)


def revoked_serials(index: str) -> set[str]:
    """Serial numbers that the authority's index says are revoked."""
    rows = (line.split("\t") for line in index.splitlines())
    return {row[3].upper().lstrip("0") for row in rows if len(row) > 3 and row[0] == "R"}


def listed_serials(text: str) -> set[str]:
    """Serial numbers in what ``openssl crl -text`` says."""
    words = (line.split() for line in text.splitlines())
    return {row[-1].upper().lstrip("0") for row in words if row[:2] == ["Serial", "Number:"]}


def read(pki: Path, tls_key: Path, published: Path, profiles: Path, head: str, ask: Callable[..., str]) -> Authority:
    """Read everything. ``ask(kind, path, *options)`` is openssl's answer about a ``x509`` or ``crl``."""
    exists = (pki / "ca.crt").exists()
    issued = (
        {path.stem: openssl_time(ask("x509", path, "-enddate")) for path in sorted((pki / "issued").glob("*.crt"))}
        if exists
        else {}
    )
    crl = pki / "crl.pem"
    listed = ask("crl", crl, "-nextupdate", "-text") if exists and crl.exists() else ""
    index = (pki / "index.txt").read_text() if exists else ""
    found = {path.stem: path for path in sorted(profiles.glob("*.ovpn"))}
    return Authority(
        exists=exists,
        issued=issued,
        tls_key=tls_key.exists(),
        crl_ends=openssl_time(listed.splitlines()[0]) if listed else 0,
        crl_complete=revoked_serials(index) <= listed_serials(listed),
        crl_published=bool(listed) and published.exists() and crl.read_bytes() == published.read_bytes(),
        profiles={name: name in issued and _right(path, head, pki, tls_key, name) for name, path in found.items()},
    )


def _right(path: Path, head: str, pki: Path, tls_key: Path, name: str) -> bool:
    try:
        return path.read_text() == profile(head, pki, tls_key, name) and path.stat().st_mode & 0o777 == 0o600
    except OSError:
        return False


def write_private(path: Path, text: str | bytes, mode: int = 0o600) -> None:
    """Write beside and rename, never readable by others for a moment."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.mediaserver-tmp")
    temporary.unlink(missing_ok=True)
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as stream:
        stream.write(text.encode() if isinstance(text, str) else text)
        os.fchmod(stream.fileno(), mode)
    temporary.replace(path)
