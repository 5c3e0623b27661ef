# SPDX-License-Identifier: MIT
"""The settings of ZFS's event daemon hold tokens of push services: role zfs shows none of them. In check mode, on this
machine, without ZFS; the stage zfs looks at the runs on real OpenZFS in the same way."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
SECRET = "planted-zed-secret"


def test_no_secret_of_the_event_daemon_is_shown(tmp_path):
    settings = {"ZED_SLACK_WEBHOOK_URL": f"https://example.org/{SECRET}", "ZED_NTFY_ACCESS_TOKEN": SECRET}
    role = {"ansible.builtin.import_role": {"name": "homelab.mediaserver.zfs"}}
    play = {
        "hosts": "localhost",
        "connection": "local",
        "gather_facts": False,
        "vars": {"ansible_python_interpreter": sys.executable, "zfs_packages": [], "zfs_zed_settings": settings},
        "tasks": [role],
    }
    (tmp_path / "play.yml").write_text(yaml.safe_dump([play]))
    environment = {
        **os.environ,
        "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "playbooks/collections"),
        "ANSIBLE_HOME": str(tmp_path / "home"),
        "ANSIBLE_NOCOLOR": "1",
    }
    command = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", "localhost,", "--check", "--diff", "-vvv"]
    done = subprocess.run([*command, str(tmp_path / "play.yml")], env=environment, capture_output=True, text=True)
    output = done.stdout + done.stderr  # where there is no systemd, its last task fails: after the file was shown
    assert "zed.rc" in output and "(secret, not shown)" in output, output[-3000:]
    assert SECRET not in output
