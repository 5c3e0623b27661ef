#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Run mypy: strict on the pure parts (the plan, module utilities) and on the lab; the rest is checked by the tests."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
COLLECTION = ROOT / "playbooks" / "collections" / "ansible_collections" / "homelab" / "mediaserver"


def main() -> int:
    files = [
        str(path)
        for folder in ("plugins/plugin_utils", "plugins/module_utils")
        for path in sorted((COLLECTION / folder).glob("*.py"))
    ]
    return subprocess.run([sys.executable, "-m", "mypy", *files], cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
