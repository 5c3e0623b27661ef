# SPDX-License-Identifier: MIT
"""retire.yml over several hosts, which may share folders: one after the other, none where another one has the service,
and nothing is removed when one of them could not archive.

The plays are the playbook's own but for the last, site.yml; plan and role are stand-ins. All hosts are this machine.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
HOSTS = ("first", "second")
ROLE = [
    {
        "name": "Say it",
        "ansible.builtin.debug": {"msg": "{{ inventory_hostname }} orphan={{ upgrade_retired.orphan }}"},
    },
    {"name": "As the program", "ansible.builtin.assert": {"that": "inventory_hostname not in broken"}},
]


def retire(folder: Path, there: bool, broken: list[str]) -> tuple[int, str]:
    role = folder / "ansible_collections/homelab/mediaserver/roles/upgrade/tasks"
    role.mkdir(parents=True)
    (role / "retire.yml").write_text(yaml.safe_dump(ROLE))
    project = folder / "services/films"
    if there:
        project.mkdir(parents=True)
    whole: list[dict[str, Any]] = yaml.safe_load((ROOT / "playbooks/retire.yml").read_text())
    plan = {"site": {"root": "/opt"}, "retirable": {"films": {"directory": str(project)}}, "catalog": {}}
    facts = {"ansible.builtin.set_fact": {"site_plan": {"plan": plan}}}
    stand_in = {"hosts": "localhost", "gather_facts": False, "tasks": [facts]}
    plays = [{**play, "become": False} for play in whole if "ansible.builtin.import_playbook" not in play]
    site = {"hosts": "all", "gather_facts": False, "tasks": [{"ansible.builtin.debug": {"msg": "site is built"}}]}
    (folder / "retire.yml").write_text(yaml.safe_dump([stand_in, *plays, site]))
    local = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    groups = {"planned": {"hosts": dict.fromkeys(HOSTS, local)}}
    (folder / "hosts.yml").write_text(yaml.safe_dump({"all": {"children": groups}}))
    done = subprocess.run(
        [str(Path(sys.executable).parent / "ansible-playbook"), "-i", "hosts.yml", "retire.yml", "-e", "service=films",
         "-e", yaml.safe_dump({"broken": broken}, default_flow_style=True)],
        cwd=folder, capture_output=True, text=True, check=False,
        env={**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(folder), "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")},
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("there", [True, False])
def test_only_what_no_host_has_is_an_orphan(tmp_path: Path, there: bool) -> None:
    code, output = retire(tmp_path, there, [])
    assert code == 0, output
    assert all(f"{name} orphan={not there}" in output for name in HOSTS), output
    assert "site is built" in output


def test_what_is_not_archived_is_not_removed(tmp_path: Path) -> None:
    code, output = retire(tmp_path, True, ["first"])
    assert code != 0, output
    assert "second orphan" not in output and "site is built" not in output
