#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Run the unit tests and sanity on the ansible-core line that the other Python versions get from uv.lock.

Python 3.11 gets ansible-core 2.19, Python 3.12 and 3.13 get 2.21. Fails when no Python of the other line is found.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENT = ROOT / ".cache" / "second-core"
CANDIDATES = ("python3.12", "python3.13") if sys.version_info < (3, 12) else ("python3.11",)


def find_python() -> str | None:
    """A Python of the other line that really starts (a version manager's shim may not)."""
    places = [shutil.which(name) for name in CANDIDATES]
    places += [str(path) for name in CANDIDATES for path in (Path.home() / ".pyenv" / "versions").glob(f"*/bin/{name}")]
    for place in filter(None, places):
        started = subprocess.run([place, "-c", "import ensurepip"], capture_output=True, check=False)
        if started.returncode == 0:
            return place
    return None


def main() -> int:
    python = find_python()
    if python is None:
        print(f"second-core: none of {', '.join(CANDIDATES)} is installed (with its venv module)")
        return 1
    uv = next((ROOT / ".cache").glob("uv-*/bin/uv"))
    sync = [str(uv), "sync", "--quiet", "--frozen", "--system-certs", "--group", "test", "--python", python]
    environment = dict(os.environ, UV_PROJECT_ENVIRONMENT=str(ENVIRONMENT))
    subprocess.run(sync, cwd=ROOT, env=environment, check=True)
    binaries = ENVIRONMENT / "bin"
    subprocess.run([str(binaries / "ansible"), "--version"], check=True)
    environment = dict(os.environ, PATH=f"{binaries}{os.pathsep}{os.environ['PATH']}")
    environment["PYTHONPATH"] = str(ROOT / "playbooks" / "collections")
    for command in (["-m", "pytest", "-q", "-n", "2", "tests/unit"], ["tests/sanity.py"]):
        code = subprocess.run([str(binaries / "python"), *command], cwd=ROOT, env=environment, check=False).returncode
        if code != 0:
            return code
    return 0


if __name__ == "__main__":
    sys.exit(main())
