# SPDX-License-Identifier: MIT
"""A restic as the managed hosts have it: this machine's when it is 0.17 or newer, else Debian 13's, kept in .cache.

Older ones answer with other exit codes. The package is fetched by apt from Debian's own archive, signature checked, and
unpacked only; nothing is installed.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

CACHES = Path(__file__).resolve().parents[2] / ".cache"
CACHE = CACHES / "restic"
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
ARCHIVE = "http://deb.debian.org/debian"


def version(program: str) -> tuple[int, int]:
    result = subprocess.run([program, "version"], capture_output=True, text=True, check=False)
    found = re.search(r"restic (\d+)\.(\d+)", result.stdout)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def restic_folder() -> Path:
    """The folder of a restic that is new enough."""
    here, kept = shutil.which("restic"), CACHE / "usr/bin/restic"
    if here and version(here) >= (0, 17):
        return Path(here).parent
    if not (kept.exists() and version(str(kept)) >= (0, 17)):
        fetch("restic")
    return kept.parent


def fetch(package: str) -> Path:
    """A package of Debian 13, unpacked into .cache/<package>."""
    cache = CACHES / package
    for folder in ("lists/partial", "archives/partial"):
        (cache / folder).mkdir(parents=True, exist_ok=True)
    (cache / "sources.list").write_text(f"deb [signed-by={KEYRING}] {ARCHIVE} trixie main\n", encoding="utf-8")
    options = [
        f"Dir::Etc::sourcelist={cache}/sources.list", "Dir::Etc::sourceparts=/nonexistent",
        f"Dir::State::lists={cache}/lists", f"Dir::Cache={cache}", "APT::Sandbox::User=root",
    ]  # fmt: skip
    apt = ["apt-get", "-qq", *[part for option in options for part in ("-o", option)]]
    for command in ([*apt, "update"], [*apt, "download", package]):
        result = subprocess.run(command, cwd=cache, capture_output=True, text=True, check=False)
        if result.returncode:
            raise SystemExit(f"Unable to fetch Debian 13's {package}: {result.stderr.strip()}")
    subprocess.run(["dpkg-deb", "-x", str(max(cache.glob(f"{package}_*.deb"))), str(cache)], check=True)
    return cache


if __name__ == "__main__":
    print(restic_folder())
    sys.exit(0)
