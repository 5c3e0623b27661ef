#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Run mypy, strict, on everything that is typed: plugins (without modules), the lab, its stand-ins, tools.

Modules are tables around typed utilities and are checked by their tests. Stand-ins are programs, each in a folder of
its own, that use the same file names; folders without a common name share one start of mypy.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
COLLECTION = ROOT / "playbooks" / "collections" / "ansible_collections" / "homelab" / "mediaserver"
PLUGINS = ("action", "doc_fragments", "filter", "lookup", "module_utils", "plugin_utils")
PROGRAMS = (
    "tests",
    "tests/bench",
    "tests/faults",
    "tests/lab",
    "tests/lab/internet",
    "tests/windows",
    "tests/zfs",
    "tools",
)
PACKAGES = ("tests/lab/fake_pve", "tests/lab/mediaserver_lab")


def groups() -> list[tuple[list[Path], list[Path]]]:
    """Folders to look for imports in, and files to check, per start of mypy."""
    files = [path for kind in PLUGINS for path in sorted((COLLECTION / "plugins" / kind).glob("*.py"))]
    files += [path for folder in (*PROGRAMS, *PACKAGES) for path in sorted((ROOT / folder).glob("*.py"))]
    files += sorted(ROOT.glob("roles/*/files/*.py"))
    found = [([*(ROOT / folder for folder in PROGRAMS), *sorted(ROOT.glob("roles/*/files"))], files)]
    for folder in sorted((ROOT / "tests/lab/standins").iterdir()):
        programs = sorted(folder.glob("*.py"))
        names = {path.name for path in programs}
        for folders, others in found:
            if not names & {path.name for path in others if path.parent in folders}:
                break
        else:
            folders, others = [ROOT / "tests/lab/standins/common"], []
            found.append((folders, others))
        if folder not in folders:
            folders.append(folder)
        others += programs
    return found


def main() -> int:
    worst = 0
    for folders, files in groups():
        environment = dict(os.environ, MYPYPATH=os.pathsep.join(map(str, folders)))
        command = [sys.executable, "-m", "mypy", *map(str, files)]
        worst = max(worst, subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode)
    return worst


if __name__ == "__main__":
    sys.exit(main())
