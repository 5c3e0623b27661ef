"""The action plan in real runs of ansible-playbook."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from ansible_collections.homelab.mediaserver.plugins.plugin_utils import catalog, tags

ROOT = Path(__file__).resolve().parents[4]
PLAY = """
- hosts: localhost
  connection: local
  gather_facts: false
  tags: always
  tasks:
    - homelab.mediaserver.plan:
        requested_tags: "{{ ansible_run_tags }}"
        incomplete: "{{ incomplete | default(false) | bool }}"
      register: site_plan
    - ansible.builtin.copy: {content: "{{ site_plan | to_json }}", dest: "{{ target }}", mode: "0600"}
"""


@pytest.fixture
def inventory(tmp_path: Path) -> Path:
    folder = tmp_path / "inventory"
    shutil.copytree(ROOT / "inventories/homelab", folder, ignore=shutil.ignore_patterns(".secrets"))
    secrets = {"site_secrets": {"ddclient": {"password": "planted-value"}, "pve": {"api_token_secret": "planted-too"}}}
    (folder / "group_vars/all/given.yml").write_text(yaml.safe_dump(secrets), encoding="utf-8")
    hosts = folder / "hosts.yml"
    hosts.write_text(hosts.read_text(encoding="utf-8").replace("YOURS", "SERIAL"), encoding="utf-8")
    site = folder / "group_vars/all/site.yml"
    data = yaml.safe_load(site.read_text(encoding="utf-8"))
    data["site_admin"] = {"user": "ops", "ssh_keys": ["ssh-ed25519 AAAA ops"]}
    site.write_text(yaml.safe_dump(data, sort_keys=False), encoding="utf-8")
    return folder


def run(inventory: Path, *arguments: str) -> tuple[int, str, dict]:
    play, target = inventory.parent / "play.yml", inventory.parent / "plan.json"
    play.write_text(PLAY, encoding="utf-8")
    environment = {
        **os.environ,
        "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "playbooks/collections"),
        "ANSIBLE_NOCOLOR": "1",
    }
    command = [
        str(Path(sys.executable).parent / "ansible-playbook"),
        "-i",
        str(inventory),
        str(play),
        "-e",
        f"target={target}",
    ]
    done = subprocess.run([*command, *arguments], env=environment, cwd=inventory.parent, capture_output=True, text=True)
    found = json.loads(target.read_text(encoding="utf-8")) if target.exists() else {}
    return done.returncode, done.stdout + done.stderr, found


def test_reference_system_is_planned_without_secrets(inventory: Path) -> None:
    code, output, found = run(inventory, "-vvv")
    assert code == 0, output
    assert [guest["vmid"] for guest in found["plan"]["guests"]] == [100, 101]
    assert found["state_directory"] == str(inventory / ".secrets")
    assert found["dry_run"] is False
    assert found["changed"] is False
    assert "planted" not in output + json.dumps(found)


def test_placeholders_of_devices_are_refused_but_for_a_look(inventory: Path) -> None:
    hosts = (inventory / "hosts.yml").read_text(encoding="utf-8")
    (inventory / "hosts.yml").write_text(hosts.replace("SERIAL", "YOURS"), encoding="utf-8")
    code, output, _found = run(inventory)
    assert code != 0
    assert "2 mistakes in inventory or catalog. No host was touched." in output
    assert "hosts.yml: pve.node.pools.tank-hdd.vdevs.0.devices.0: /dev/disk/by-id/ata-YOURS stands for" in output
    code, output, found = run(inventory, "-e", "incomplete=true")
    assert code == 0, output
    assert "Before this can be deployed: hosts.yml: pve.node.pools.tank-ssd" in output
    assert [pool["name"] for pool in found["plan"]["nodes"]["pve"]["zfs"]["pools"]] == ["tank-ssd", "tank-hdd"]


def test_all_mistakes_are_told_with_their_file(inventory: Path) -> None:
    (inventory / "group_vars/all/zone.yml").write_text("site_timezone: 7\n", encoding="utf-8")
    hosts = (inventory / "hosts.yml").read_text(encoding="utf-8")
    (inventory / "hosts.yml").write_text(hosts.replace("memory: 10G", "memory: 12G"), encoding="utf-8")
    code, output, _found = run(inventory)
    assert code != 0
    assert "2 mistakes in inventory or catalog. No host was touched." in output
    assert "group_vars/all/zone.yml: site_timezone: expected a time zone" in output
    assert "hosts.yml: pve.node.memory: the guests" in output


def test_tags_are_known_or_refused(inventory: Path) -> None:
    code, output, found = run(inventory, "--tags", "jellyfin")
    assert code == 0, output
    assert found["only"] == ["jellyfin"]
    code, output, _found = run(inventory, "--tags", "jelyfin")
    assert code != 0
    assert "--tags jelyfin: matches no service and no concern. Did you mean jellyfin" in output


def test_concerns_are_the_tags_of_the_playbook(inventory: Path) -> None:
    """A concern that no task carries would be a tag that does nothing; a tag that is no concern would be refused."""
    command = [
        str(Path(sys.executable).parent / "ansible-playbook"),
        "-i",
        str(inventory),
        str(ROOT / "playbooks/site.yml"),
    ]
    done = subprocess.run([*command, "--list-tags"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    listed = {tag for found in re.findall(r"TASK TAGS: \[(.*?)\]", done.stdout) for tag in found.split(", ") if tag}
    services = set(catalog.names([ROOT / "roles/services/catalog"]))
    assert listed - services - set(tags.SPECIAL) == set(tags.CONCERNS) - {"plan"}
    assert services <= listed


def test_what_only_the_owner_has_may_be_missing_for_a_look(inventory: Path) -> None:
    (inventory / "group_vars/all/given.yml").unlink()
    code, output, _found = run(inventory)
    assert code != 0 and "site_secrets.ddclient.password" in output
    code, output, found = run(inventory, "-e", "incomplete=true")
    assert code == 0, output
    assert "Before this can be deployed" in output
    assert found["plan"]["guests"]


def test_playbook_writes_the_page_and_answers_questions(inventory: Path) -> None:
    page = inventory.parent / "page.html"
    command = [
        str(Path(sys.executable).parent / "ansible-playbook"),
        "-i",
        str(inventory),
        str(ROOT / "playbooks/plan.yml"),
    ]
    done = subprocess.run(
        [*command, "-e", f"plan_html={page}", "-e", "plan_query=hosts.*.services[]"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "nginx-proxy-manager" in done.stdout
    assert "<svg" in page.read_text(encoding="utf-8")
