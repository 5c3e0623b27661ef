# SPDX-License-Identifier: MIT
"""The Makefile's verbs are whole, and the first evening's guide says what the reference inventory needs."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
MAKEFILE = (ROOT / "Makefile").read_text()
RULES = {
    name: bool(explanation)
    for names, explanation in re.findall(r"^([a-z][a-z -]*):[^=\n#]*(## \S.*)?$", MAKEFILE, re.MULTILINE)
    for name in names.split()
}
PHONY = [name for line in re.findall(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE) for name in line.split()]
GUIDE = (ROOT / "docs/guides/first-evening.md").read_text()


# `make test` runs these tests, and its variables would make the inner make speak of entering its directory
OUTSIDE_MAKE = {name: value for name, value in os.environ.items() if name not in ("MAKELEVEL", "MAKEFLAGS", "MFLAGS")}


def make(*arguments: str) -> str:
    done = subprocess.run(["make", *arguments], cwd=ROOT, env=OUTSIDE_MAKE, capture_output=True, text=True, check=True)
    return done.stdout


def dry(*arguments: str) -> str:
    return make("-n", *arguments)


def test_every_verb_has_a_rule_an_explanation_and_is_phony() -> None:
    assert sorted(RULES) == sorted(PHONY)
    assert [name for name, explained in RULES.items() if not explained] == []


def test_help_names_every_verb() -> None:
    assert set(PHONY) <= set(make("help").split())


def test_every_playbook_of_the_operator_has_a_verb() -> None:
    for path in (ROOT / "playbooks").glob("[a-z]*.yml"):
        assert f"playbooks/{path.name}" in MAKEFILE, path.name


@pytest.mark.parametrize("query", ["forwards", "hosts.*.services[]", "probes[?zone=='internet'].[\"address\", port]"])
def test_a_query_reaches_the_plan_as_it_was_written(query: str) -> None:
    command = dry("plan", f"QUERY={query}")
    words = subprocess.run(
        ["bash", "-c", "printf '%s\\0' " + command], capture_output=True, text=True, check=True
    ).stdout.split("\0")
    assert yaml.safe_load(words[words.index("-e") + 1]) == {"plan_query": query}


@pytest.mark.parametrize(
    ("verb", "given"), [("restore", "ANY_VERSION=yes"), ("restore", "AT=2026-11-20"), ("recovery-kit", "TO=/media/usb")]
)
def test_what_is_given_reaches_the_playbook(verb: str, given: str) -> None:
    name, _equals, value = given.partition("=")
    assert f'{{"{name.lower()}": "{value}"}}' in dry(verb, given)


def test_lab_destroy_leaves_nothing() -> None:
    assert "lab.py destroy --images --secrets" in dry("lab-destroy")


def homelab() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / "inventories/homelab/hosts.yml").read_text())
    return found["all"]["children"]


def test_every_pool_is_made_of_devices_that_the_guide_leads_to() -> None:
    """The site makes pools and datasets itself; the guide makes the partition and names where devices are found."""
    pools = homelab()["proxmox"]["hosts"]["pve"]["node"]["pools"]
    devices = [device for body in pools.values() for vdev in body["vdevs"] for device in vdev["devices"]]
    assert devices and all(re.fullmatch(r"/dev/disk/by-id/[a-z]+-YOURS(-part\d+)?", device) for device in devices)
    for part in [device.rpartition("-part")[2] for device in devices if "-part" in device]:
        assert re.search(rf"^sgdisk --new={part}:", GUIDE, re.MULTILINE), f"partition {part}"
        assert f"-part{part}" in GUIDE
    assert "/dev/disk/by-id" in GUIDE and "hosts.yml" in GUIDE
    assert "zpool create" not in GUIDE and "zfs create" not in GUIDE


def test_guide_lets_the_token_reach_every_guest_and_storage() -> None:
    children = homelab()
    node = children["proxmox"]["hosts"]["pve"]["node"]
    guests = [host["guest"]["vmid"] for group in ("extranet", "intranet") for host in children[group]["hosts"].values()]
    assert f"for id in {' '.join(map(str, sorted(guests)))}; do" in GUIDE
    stores = re.search(r"for store in (.*?); do", GUIDE)
    assert stores
    assert {node["image_storage"], node["snippet_storage"], node["disk_storage"]} == set(stores[1].split())
    # a role on a storage replaces what is inherited from /storage, so the storage that the site defines has none
    assert re.search(
        r'^pveum role add MediaserverDefine --privs "[^"]*\bDatastore.Allocate\b.*AllocateSpace', GUIDE, re.M
    )
    assert "pveum acl modify /storage --users automation@pve --roles MediaserverDefine\n" in GUIDE
    assert f"pveum user add {node['api']['user']}\n" in GUIDE
    assert f"pveum user token add {node['api']['user']} {node['api']['token_id']} " in GUIDE


def test_playbooks_that_ask_the_api_carry_the_token() -> None:
    asking = [
        path
        for path in (ROOT / "playbooks").rglob("*.yml")
        if "collections" not in path.parts and "group/homelab.mediaserver.proxmox" in path.read_text()
    ]
    assert asking
    assert [path.name for path in asking if "api_token_secret" not in path.read_text()] == []


def test_adopt_hands_on_what_was_given_and_nothing_of_the_environment() -> None:
    command = dry("adopt", "HOST=vm-intranet", "OLD=back", "CONFIRM=yes")
    assert "playbooks/adopt.yml" in command
    for piece in ('{"host": "vm-intranet"}', '{"old": "back"}', '{"confirm": "yes"}'):
        assert piece in command
    assert "-e" not in dry("adopt").partition("adopt.yml")[2]
