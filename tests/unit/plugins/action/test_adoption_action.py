# SPDX-License-Identifier: MIT
"""The action adoption in a real run of ansible-playbook, on the reference inventory."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[4]
PLAY = """
- hosts: localhost
  connection: local
  gather_facts: false
  tasks:
    - homelab.mediaserver.plan: {incomplete: true}
      register: site_plan
- hosts: vm-extranet
  connection: local
  gather_facts: false
  tasks:
    - homelab.mediaserver.adoption:
        found: "{{ lookup('file', found) | from_json }}"
        plan: "{{ hostvars.localhost.site_plan.plan }}"
        host: "{{ name | default(omit) }}"
      register: compared
    - ansible.builtin.copy: {content: "{{ compared | to_json }}", dest: "{{ target }}", mode: "0600"}
      delegate_to: localhost
"""
FOUND = {
    "docker": "",
    "containers": [
        {
            "id": "1",
            "name": "npm",
            "project": "extranet",
            "service": "npm",
            "directory": "/opt/extranet",
            "image": "jc21/nginx-proxy-manager:latest",
            "digests": [],
            "version": "2.11.3",
            "state": "running",
            "ports": [],
            "mounts": [{"type": "bind", "source": "/srv/npm", "at": "/data", "read_only": False, "volume": ""}],
            "environment": {},
            "microservices": False,
            "ours": False,
        }
    ],
    "projects": [], "units": [], "takeovers": [], "restic": {}, "cron": [], "openvpn": [], "ddclient": {},
    "fail2ban": [], "ufw": [],
}  # fmt: skip


def run(folder: Path, **more: str) -> tuple[int, str, dict]:
    inventory = folder / "inventory"
    if not inventory.exists():
        shutil.copytree(ROOT / "inventories/homelab", inventory, ignore=shutil.ignore_patterns(".secrets"))
    (folder / "found.json").write_text(json.dumps(FOUND))
    (folder / "play.yml").write_text(PLAY)
    target = folder / "compared.json"
    extra = {"found": str(folder / "found.json"), "target": str(target), **more}
    done = subprocess.run(
        [str(Path(sys.executable).parent / "ansible-playbook"), "-i", str(inventory), str(folder / "play.yml"),
         "-e", json.dumps(extra)],
        env={**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "playbooks/collections"), "ANSIBLE_NOCOLOR": "1"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr, json.loads(target.read_text()) if target.exists() else {}


def test_it_compares_with_catalog_and_plan(tmp_path):
    code, text, compared = run(tmp_path)
    assert code == 0, text
    assert compared["changed"] is False and compared["services"] == ["nginx-proxy-manager"]
    assert compared["inventory"]["site_storage"] == {"nginx-proxy-manager-data": {"as": "local", "mount": "/srv"}}
    assert any("letsencrypt inside" in one for one in compared["refused"])
    assert compared["table"][0] == "vm-extranet: what runs, beside what the plan wants"


def test_an_unknown_host_is_named(tmp_path):
    code, text, _compared = run(tmp_path, name="nowhere")
    assert code != 0 and "nowhere is no host of this plan" in text
