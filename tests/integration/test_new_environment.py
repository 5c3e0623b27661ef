# SPDX-License-Identifier: MIT
"""make new, whole: an inventory from a file of answers, planned at once, its secrets in a vault."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
PASSWORD = "planted-password-of-dyndns"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHCd8mM0vPpKOcUvkwmd1TZOJ0bXBfR9Eb6qqJUE5yXr me"


def play(book: str, inventory: str, folder: Path, **more: str) -> subprocess.CompletedProcess[str]:
    argv = [
        str(Path(sys.executable).parent / "ansible-playbook"),
        "-i",
        inventory,
        f"playbooks/{book}",
        "-vv",
        "--diff",
    ]
    argv += ["-e", json.dumps({"new_root": str(folder), **more})]
    environment = dict(os.environ, ANSIBLE_CONFIG=str(ROOT / "ansible.cfg"), ANSIBLE_NOCOLOR="1")
    return subprocess.run(argv, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("system", ["homelab", "single-vm", "windows", "raspberrypi"])
def test_answers_become_an_environment_that_is_planned(system: str, tmp_path: Path) -> None:
    (tmp_path / "key.pub").write_text(KEY)
    answers = {"domain": "films.example.net", "lan": "10.20.30.0/24", "ssh_key": str(tmp_path / "key.pub")}
    if system == "homelab":
        answers["dyndns_password"] = PASSWORD
    if system == "raspberrypi":
        answers |= {"azure_key": PASSWORD, "cloudflare_token": "another-planted-password", "azure_account": "family"}
    if system == "windows":
        answers |= {"cloudflare_token": PASSWORD, "onedrive_token": '{"access_token": "planted-password-of-rclone"}'}
    (tmp_path / "answers.yml").write_text(yaml.safe_dump(answers))
    told = {"new_name": "mine", "new_system": system, "new_answers": str(tmp_path / "answers.yml")}
    written = play("new_environment.yml", "localhost,", tmp_path, **told)
    assert written.returncode == 0, written.stdout + written.stderr
    planned = play("new_secrets.yml", str(tmp_path / "mine"), tmp_path)
    assert planned.returncode == 0, planned.stdout + planned.stderr
    assert "films.example.net" in planned.stdout and "10.20.30." in planned.stdout
    assert "planted-password" not in written.stdout + written.stderr + planned.stdout
    vault = tmp_path / "mine/.secrets/vault.yml"
    assert vault.stat().st_mode & 0o777 == 0o600
    assert vault.read_text().startswith("$ANSIBLE_VAULT")
    again = play("new_environment.yml", "localhost,", tmp_path, **told)
    assert again.returncode != 0 and "exists: edit it" in again.stdout


def test_an_answer_that_cannot_be_used_writes_nothing(tmp_path: Path) -> None:
    (tmp_path / "answers.yml").write_text("domian: example.net\n")
    told = {"new_name": "mine", "new_answers": str(tmp_path / "answers.yml")}
    refused = play("new_environment.yml", "localhost,", tmp_path, **told)
    assert refused.returncode != 0 and "Did you mean domain" in refused.stdout
    assert not (tmp_path / "mine").exists()


def test_eight_gigabytes_are_enough_as_the_guide_says(tmp_path: Path) -> None:
    """docs/guides/single-vm.md, its figures."""
    folder = tmp_path / "small"
    shutil.copytree(ROOT / "inventories/single-vm", folder, ignore=shutil.ignore_patterns(".secrets"))
    guide = (ROOT / "docs/guides/single-vm.md").read_text()
    hosts = (folder / "hosts.yml").read_text()
    site = yaml.safe_load((folder / "group_vars/all/site.yml").read_text())
    for said, old, new in (
        ("`memory: 8G`", "memory: 16G", "memory: 8G"),
        ("`arc_max: 1G`", "arc_max: 2G", "arc_max: 1G"),
        ("`memory: 5G`", "memory: 11G", "memory: 5G"),
    ):
        assert said in guide and old in hosts
        hosts = hosts.replace(old, new)
    (folder / "hosts.yml").write_text(hosts)
    assert "site_leave_out: [monitoring]" in guide and "memory: {server: 1536M, database: 1G}" in guide
    whole = play("plan.yml", str(folder), tmp_path)
    assert whole.returncode != 0 and "the containers on services may take" in whole.stdout
    site["site_leave_out"] = ["monitoring"]
    site["site_services"]["jellyfin"]["memory"] = {"jellyfin": "1G"}
    site["site_services"]["immich"] |= {"memory": {"server": "1536M", "database": "1G"}, "with": []}
    (folder / "group_vars/all/site.yml").write_text(yaml.safe_dump(site))
    small = play("plan.yml", str(folder), tmp_path)
    assert small.returncode == 0, small.stdout
    assert "grafana" not in small.stdout.partition("What runs where")[2].partition("Machines")[0]
