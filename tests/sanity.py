#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Run ansible-test sanity on what users get: the built collection, unpacked into a fresh collections path.

ansible-test fetches pip's bootstrap script from a server of its own; Python's ensurepip does the same without it, so a
two-line script is put where ansible-test looks first.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
BOOTSTRAPS = ("get_pip_24_2.py", "get_pip_25_2.py")  # ansible-core 2.19 and 2.21


def main() -> int:
    cache = Path.home() / ".ansible" / "test" / "cache"
    cache.mkdir(parents=True, exist_ok=True)
    for name in BOOTSTRAPS:
        if not (cache / name).exists():
            (cache / name).write_text("import ensurepip\n\nensurepip.bootstrap(upgrade=True)\n", encoding="ascii")
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "source"
        listed = subprocess.run(
            ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
            cwd=ROOT, check=True, capture_output=True, text=True,
        )  # fmt: skip
        for name in filter(None, listed.stdout.split("\0")):
            origin = ROOT / name
            if origin.is_file() and not origin.is_symlink():
                target = source / name
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(origin, target)
        galaxy = [str(BIN / "ansible-galaxy"), "collection"]
        subprocess.run([*galaxy, "build", str(source), "--output-path", folder], check=True, stdout=subprocess.DEVNULL)
        unpacked = Path(folder) / "ansible_collections" / "homelab" / "mediaserver"
        unpacked.mkdir(parents=True)
        tarball = next(Path(folder).glob("homelab-mediaserver-*.tar.gz"))
        print(f"built {tarball.name}: {tarball.stat().st_size // 1024} KiB", flush=True)
        subprocess.run(["tar", "-xzf", str(tarball), "-C", str(unpacked)], check=True)
        environment = dict(os.environ, PATH=f"{BIN}{os.pathsep}{os.environ['PATH']}")
        environment.pop("PYTHONPATH", None)
        python = f"{sys.version_info.major}.{sys.version_info.minor}"
        command = [str(BIN / "ansible-test"), "sanity", "--local", "--python", python, "--color", "no", *sys.argv[1:]]
        return subprocess.run(command, cwd=unpacked, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
