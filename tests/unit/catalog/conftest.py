"""Shared by the catalog's tests."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="session")
def promtool(tmp_path_factory: pytest.TempPathFactory) -> str:
    """promtool of PATH, of the variable PROMTOOL, or out of Debian's package."""
    cache = ROOT / ".cache/promtool"
    found = os.environ.get("PROMTOOL") or shutil.which("promtool") or shutil.which(str(cache / "usr/bin/promtool"))
    if found:
        return found
    folder = tmp_path_factory.mktemp("promtool")
    if (
        shutil.which("apt-get")
        and not subprocess.run(
            ["apt-get", "download", "-q", "prometheus"], cwd=folder, check=False, capture_output=True
        ).returncode
    ):
        cache.mkdir(parents=True, exist_ok=True)
        subprocess.run(["dpkg-deb", "--extract", str(next(folder.glob("*.deb"))), str(cache)], check=True)
        return str(cache / "usr/bin/promtool")
    pytest.skip("promtool is not here and Debian's package prometheus cannot be fetched")
