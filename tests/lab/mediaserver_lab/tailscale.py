# SPDX-License-Identifier: MIT
"""A package repository like Tailscale's, really signed, whose one package holds a stand-in."""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

CONTROL = """Package: tailscale
Version: 1.0
Architecture: all
Maintainer: nobody <nobody@example.org>
Depends: python3
Description: stand-in
"""
UNIT = """[Unit]
Description=Stand-in for tailscaled
[Service]
EnvironmentFile=/etc/default/tailscaled
ExecStart=/usr/sbin/tailscaled --port=${PORT}
[Install]
WantedBy=multi-user.target
"""


def package(folder: Path, program: Path) -> Path:
    """tailscale.deb with the program as tailscale and tailscaled."""
    root = folder / "package"
    shutil.rmtree(root, ignore_errors=True)
    files = {
        "DEBIAN/control": CONTROL,
        "etc/default/tailscaled": 'PORT="41641"\n',
        "usr/lib/systemd/system/tailscaled.service": UNIT,
    }
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    for name in ("usr/bin/tailscale", "usr/sbin/tailscaled"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(program, root / name)
        (root / name).chmod(0o755)
    made = folder / "tailscale.deb"
    subprocess.run(["dpkg-deb", "--root-owner-group", "--build", str(root), str(made)], check=True, capture_output=True)
    return made


def repository(folder: Path, program: Path, suite: str) -> Path:
    """dists/, pool/, <suite>.noarmor.gpg and, for the test alone, `fingerprint`."""
    made, deb = folder / "repository", package(folder, program)
    index = made / "dists" / suite / "main" / "binary-amd64"
    shutil.rmtree(made, ignore_errors=True)
    index.mkdir(parents=True)
    (made / "pool").mkdir()
    content = deb.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    name = f"tailscale_{digest[:16]}.deb"  # a package cache keeps files by their names
    (made / "pool" / name).write_bytes(content)
    about = f"Filename: pool/{name}\nSize: {len(content)}\nSHA256: {digest}\n"
    packages = (CONTROL + about).encode()
    lines = []
    for name, data in (("Packages", packages), ("Packages.gz", gzip.compress(packages))):
        (index / name).write_bytes(data)
        lines.append(f" {hashlib.sha256(data).hexdigest()} {len(data)} main/binary-amd64/{name}\n")
    head = f"Suite: {suite}\nCodename: {suite}\nComponents: main\nArchitectures: amd64\n"
    date = "Date: Thu, 01 Jan 2026 00:00:00 UTC\n"
    sign(folder, made, suite, f"{head}{date}SHA256:\n{''.join(lines)}")
    return made


def sign(folder: Path, made: Path, suite: str, release: str) -> None:
    home = folder / "gnupg"
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(mode=0o700)
    environment = os.environ | {"GNUPGHOME": str(home)}

    def gpg(*arguments: str, text: str = "") -> bytes:
        argv = ["gpg", "--batch", "--quiet", *arguments]
        return subprocess.run(argv, input=text.encode(), env=environment, check=True, capture_output=True).stdout

    gpg("--passphrase", "", "--quick-generate-key", "Stand-in <nobody@example.org>", "rsa2048", "sign", "never")
    (made / "dists" / suite / "InRelease").write_bytes(gpg("--clearsign", text=release))
    (made / f"{suite}.noarmor.gpg").write_bytes(gpg("--export"))
    listed = gpg("--with-colons", "--list-keys").decode()
    (made / "fingerprint").write_text(
        next(line.split(":")[9] for line in listed.splitlines() if line.startswith("fpr"))
    )
    subprocess.run(["gpgconf", "--kill", "gpg-agent"], env=environment, check=False, capture_output=True)


if __name__ == "__main__":
    target, standin, *suites = sys.argv[1:]
    for one in suites:
        repository(Path(target, one), Path(standin), one)
