# SPDX-License-Identifier: MIT
"""Role proxmox and the backup job of whole guests: made, kept, and removed when the inventory has no `backup` any more.

Only these tasks of the role run, with a plan of a few keys, against the stand-in of Proxmox VE's API.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml
from ansible_collections.homelab.mediaserver.tests.unit.fake_pve import harness

ROOT = Path(__file__).resolve().parents[2]
ROLE = ROOT / "roles/proxmox/tasks"
JOB = {
    "id": "mediaserver", "schedule": "01:00", "storage": "local", "vmids": [101], "mode": "snapshot",
    "compress": "zstd", "prune_backups": {"keep_daily": 7}, "notes_template": "{{guestname}}", "bwlimit": 0,
}  # fmt: skip


def run(lab: harness.Lab, backup: dict[str, Any] | None, *options: str) -> int:
    """Number of changes."""
    (block,) = [task for task in yaml.safe_load((ROLE / "main.yml").read_text()) if task["name"] == "Use the API"]
    tasks = [task for task in block["block"] if "backups" in task["name"]]
    assert len(tasks) == 2
    play = {
        "hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": tasks,
        "module_defaults": block["module_defaults"],
    }  # fmt: skip
    shutil.copy(ROLE / "backup.yml", lab.folder)
    (lab.folder / "play.yml").write_text(yaml.safe_dump([play]))
    user, _mark, token = harness.TOKEN.partition("!")
    api = {"api_host": "127.0.0.1", "api_port": lab.port, "api_user": user, "api_token_id": token,
           "api_token_secret": harness.SECRET, "ca_path": str(lab.cert[0])}  # fmt: skip
    node = {"name": "pve", "backup": backup, "backup_job": "mediaserver"}
    values = {"proxmox_node": node, "__proxmox_api": api, "ansible_python_interpreter": sys.executable}
    (lab.folder / "values.json").write_text(json.dumps(values).replace("{{guestname}}", "{{ '{{guestname}}' }}"))
    done = subprocess.run(
        [Path(sys.executable).parent / "ansible-playbook", "play.yml", "-e", "@values.json", *options],
        env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
             "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "playbooks/collections")},
        cwd=lab.folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return int(re.findall(r"changed=(\d+)", done.stdout)[-1])


def test_the_job_goes_with_the_inventorys_backup(tmp_path: Path, cert: Any) -> None:
    with harness.lab(tmp_path, "9.1", cert) as lab:
        jobs = lab.world.data.setdefault("backup_jobs", {})
        jobs["somebody's"] = {"schedule": "02:00", "all": 1, "enabled": 1}
        assert run(lab, {"storage": None, "job": JOB}) == 1
        assert set(jobs) == {"mediaserver", "somebody's"}
        assert run(lab, None, "--check") == 1 and "mediaserver" in jobs
        assert run(lab, None) == 1
        assert set(jobs) == {"somebody's"}
        assert run(lab, None) == 0
