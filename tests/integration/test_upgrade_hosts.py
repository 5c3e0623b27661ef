# SPDX-License-Identifier: MIT
"""upgrade.yml over several hosts: one whose upgrade fails keeps no other from its turn, and is told at the end.

The plays are the playbook's own; plan and role are stand-ins of a few lines, as what the role does is proved elsewhere.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
HOSTS = ("first", "second", "third")
ROLE = [
    {
        "name": "As the role's last task",
        "ansible.builtin.assert": {"that": "inventory_hostname not in broken", "fail_msg": "photos went back"},
    },
    {"name": "Say it", "ansible.builtin.debug": {"msg": "{{ inventory_hostname }} had its turn"}},
]


def upgrade(folder: Path, broken: list[str]) -> tuple[int, str]:
    role = folder / "ansible_collections/homelab/mediaserver/roles/upgrade/tasks"
    role.mkdir(parents=True)
    (role / "main.yml").write_text(yaml.safe_dump(ROLE))
    whole: list[dict[str, Any]] = yaml.safe_load((ROOT / "playbooks/upgrade.yml").read_text())
    plan = {
        "site": {"root": "/opt"},
        "hosts": {name: {key: [] for key in ("upgrades", "files", "directories", "late")} for name in HOSTS},
    }
    facts = {"site_plan": {"plan": plan}, "site_vault": {"secrets": {}}}
    stand_in = {"hosts": "localhost", "gather_facts": False, "tasks": [{"ansible.builtin.set_fact": facts}]}
    plays = [{**play, "become": False} for play in whole if "ansible.builtin.import_playbook" not in play]
    (folder / "upgrade.yml").write_text(yaml.safe_dump([stand_in, *plays]))
    local = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    group = {"hosts": dict.fromkeys(HOSTS, local)}
    (folder / "hosts.yml").write_text(yaml.safe_dump({"all": {"children": {"planned": group}}}))
    done = subprocess.run(
        [str(Path(sys.executable).parent / "ansible-playbook"), "-i", "hosts.yml", "upgrade.yml",
         "-e", yaml.safe_dump({"broken": broken}, default_flow_style=True)],
        cwd=folder, capture_output=True, text=True, check=False,
        env={**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(folder), "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")},
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def test_a_host_that_fails_keeps_no_other_from_its_turn(tmp_path: Path) -> None:
    code, output = upgrade(tmp_path, ["first", "third"])
    assert code != 0, output
    assert "second had its turn" in output and "first had its turn" not in output
    told = output.rpartition("TASK [Every host is upgraded]")[2]
    assert "first: photos went back" in told and "third: photos went back" in told and "second:" not in told


def test_without_a_failure_it_ends_well(tmp_path: Path) -> None:
    code, output = upgrade(tmp_path, [])
    assert code == 0, output
    assert all(f"{name} had its turn" in output for name in HOSTS)
