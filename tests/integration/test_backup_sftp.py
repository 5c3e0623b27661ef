# SPDX-License-Identifier: MIT
"""An SFTP repository: real restic and ssh through the real runner, to a real SFTP server (rclone's)."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.homelab.mediaserver.plugins.filter import restic_repositories as filters
from ansible_collections.homelab.mediaserver.plugins.plugin_utils import repositories

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/faults"))
from real_restic import restic_folder

BACKUP = ROOT / "roles/backup/files/mediaserver_backup.py"
MISSING = [program for program in ("rclone", "ssh", "ssh-keygen") if shutil.which(program) is None]
pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}")


def keypair(path: Path) -> tuple[str, str]:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", path], check=True)
    return path.read_text(), path.with_suffix(".pub").read_text().strip()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[dict[str, Any]]:
    """Its port, its host key, and the key that it lets in."""
    _private, known_host = keypair(tmp_path / "host_key")
    key, public = keypair(tmp_path / "client_key")
    (tmp_path / "authorized_keys").write_text(f"{public}\n")
    (tmp_path / "served").mkdir()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = ["rclone", "serve", "sftp", f"--addr=127.0.0.1:{port}", f"--key={tmp_path}/host_key",
               f"--authorized-keys={tmp_path}/authorized_keys", str(tmp_path / "served")]  # fmt: skip
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                break
            time.sleep(0.1)
        yield {"port": port, "known_host": known_host, "key": key, "public": public}
        process.kill()


def run(folder: Path, server: dict[str, Any], known_host: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The runner, with what plan and role make of the inventory."""
    declared = {
        "url": f"sftp://backup@127.0.0.1:{server['port']}//home", "credentials": None, "environment": {},
        "append_only": False, "prune": None, "upload_limit": "100M", "download_limit": None, "known_host": known_host,
    }  # fmt: skip
    one = {
        "name": "offsite",
        "path": repositories.below(declared["url"], "back"),
        **repositories.remote("offsite", declared),
    }
    ssh = folder / "ssh"
    ssh.mkdir(mode=0o700, exist_ok=True)
    secrets = {"offsite.ssh_key": server["key"], "offsite.ssh_key.public": server["public"]}
    for file in filters.restic_ssh_files([one], secrets, str(ssh)):
        Path(file["path"]).unlink(missing_ok=True)
        Path(file["path"]).write_text(file["content"])
        Path(file["path"]).chmod(int(file.get("mode", "0644"), 8))
    (folder / "password").write_text("sftp-not-secret\n")
    job = {"name": "app-data", "service": "app", "schedule": "daily", "keep": {"daily": 7},
           "paths": [{"path": str(folder / "source"), "mount": None}]}  # fmt: skip
    (folder / "backup.json").write_text(json.dumps({
        "host": "back", "jobs": [job], "repositories": filters.restic_repositories([one], str(ssh)),
        "password_file": str(folder / "password"), "environment_file": str(folder / "none.json"), "check_data": "2%",
        "cache_dir": str(folder / "cache"), "state_dir": str(folder / "state"), "patience": 30,
        "metrics_file": str(folder / "metrics"), "lock_file": str(folder / "lock"),
    }))  # fmt: skip
    environment = {
        **os.environ,
        "PATH": f"{restic_folder()}{os.pathsep}{os.environ['PATH']}",
        "MEDIASERVER_BACKUP_CONFIG": str(folder / "backup.json"),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    command = [sys.executable, str(BACKUP), *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)


def test_saved_and_back_over_sftp(tmp_path: Path, server: dict[str, Any]) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source/note.txt").write_text("precious\n")
    done = run(tmp_path, server, server["known_host"], "run", "all")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "served/home/back/config").is_file()
    dumped = run(tmp_path, server, server["known_host"], "restic", "dump", "latest", f"{tmp_path}/source/note.txt")
    assert dumped.stdout == "precious\n", dumped.stderr


def test_a_server_with_another_host_key_gets_nothing(tmp_path: Path, server: dict[str, Any]) -> None:
    (tmp_path / "source").mkdir()
    _private, foreign = keypair(tmp_path / "foreign")
    done = run(tmp_path, server, foreign, "run", "all")
    assert done.returncode == 1
    assert "Unable to" in done.stderr
    assert not list((tmp_path / "served").iterdir())
