"""Tags of services, own ones included."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from ansible import context
from ansible_collections.homelab.mediaserver.plugins.lookup import service_tags

ROOT = Path(__file__).resolve().parents[4]


@pytest.fixture
def inventory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "catalog/own-notes"
    folder.mkdir(parents=True)
    (folder / "service.yml").write_text("summary: Notes\n", encoding="utf-8")
    monkeypatch.setattr(context, "CLIARGS", {"inventory": [str(tmp_path)]})
    service_tags.names.cache_clear()
    return tmp_path


def run(*terms: str) -> list[str]:
    (found,) = service_tags.LookupModule().run(list(terms))  # one list, so that lookup() returns it whole
    return found


def test_catalog_and_own_services(inventory: Path) -> None:
    found = run()
    assert "jellyfin" in found and "own-notes" in found


def test_terms_come_first(inventory: Path) -> None:
    assert run("services")[0] == "services"


def test_inventory_given_as_a_file(inventory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (inventory / "hosts.yml").write_text("all: {}\n", encoding="utf-8")
    monkeypatch.setattr(context, "CLIARGS", {"inventory": [str(inventory / "hosts.yml")]})
    assert "own-notes" in run()


@pytest.mark.parametrize("source", ["a.example.org,", "/does/not/exist"])
def test_other_sources_add_nothing(source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(context, "CLIARGS", {"inventory": [source]})
    service_tags.names.cache_clear()
    assert "own-notes" not in run()


def test_each_service_is_a_tag_of_its_own(inventory: Path) -> None:
    """What Ansible makes of it: a text with commas would be one tag that nobody can ask for."""
    play = inventory / "play.yml"
    tags = "{{ lookup('homelab.mediaserver.service_tags') }}"
    play.write_text(
        f'- hosts: localhost\n  tasks:\n    - ansible.builtin.debug:\n      tags: [services, "{tags}"]\n',
        encoding="utf-8",
    )
    environment = {
        **os.environ,
        "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "playbooks/collections"),
        "ANSIBLE_NOCOLOR": "1",
    }
    command = [str(Path(sys.executable).parent / "ansible-playbook"), "-i", f"{inventory}/", str(play), "--list-tags"]
    listed = subprocess.run(command, env=environment, cwd=inventory, capture_output=True, text=True).stdout
    found = listed.partition("TASK TAGS: [")[2].partition("]")[0].split(", ")
    assert {"services", "jellyfin", "own-notes"} <= set(found)
