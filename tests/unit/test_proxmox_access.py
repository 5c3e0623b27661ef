# SPDX-License-Identifier: MIT
"""make proxmox-access: what it grants is enough for the site's own modules, and the secret is kept and not shown.

Against the stand-in of Proxmox VE's API, which looks at the privileges of a token but not at each path.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.homelab.mediaserver.plugins.modules import (
    proxmox_dir_mapping,
    proxmox_firewall,
    proxmox_image,
    proxmox_pci_mapping,
    proxmox_preflight,
    proxmox_storage,
    proxmox_vm,
)
from ansible_collections.homelab.mediaserver.plugins.plugin_utils import access, vault
from ansible_collections.homelab.mediaserver.tests.lab.fake_pve.access import privileges, state
from ansible_collections.homelab.mediaserver.tests.unit.fake_pve import harness

ROOT = Path(__file__).resolve().parents[2]
GUIDE = (ROOT / "docs/guides/first-evening.md").read_text()
SECRET = "pve.api_token_secret"


class Site:
    """The reference inventory, with the fake as its node."""

    def __init__(self, folder: Path, lab: harness.Lab) -> None:
        self.folder, self.lab = folder / "home", lab
        shutil.copytree(ROOT / "inventories/homelab", self.folder)
        file = self.folder / "hosts.yml"
        hosts = yaml.safe_load(file.read_text())
        node = hosts["all"]["children"]["proxmox"]["hosts"]["pve"]["node"]
        node["api"] |= {"host": "127.0.0.1", "port": lab.port, "ca_path": str(lab.cert[0])}
        file.write_text(yaml.safe_dump(hosts))

    def run(self, *arguments: str) -> tuple[int, str, dict[str, int]]:
        """(exit status, output, the node's line of the recap)."""
        done = subprocess.run(
            [Path(sys.executable).parent / "ansible-playbook", "-i", self.folder, "-vvv", "--diff", *arguments,
             ROOT / "playbooks/proxmox_access.yml"],
            env={**os.environ, "PROXMOX_PASSWORD": harness.ROOT_PASSWORD, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
                 "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "playbooks/collections"), "HOME": str(self.folder.parent)},
            cwd=ROOT, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False,
        )  # fmt: skip
        line = re.search(r"^pve +: (.*)$", done.stdout, re.MULTILINE)
        recap = {key: int(value) for key, value in re.findall(r"(\w+)=(\d+)", line[1] if line else "")}
        return done.returncode, done.stdout + done.stderr, recap

    def secrets(self) -> dict[str, str]:
        return vault.Store(self.folder / ".secrets").load()


def test_makes_keeps_and_repeats(tmp_path: Path, cert: Any) -> None:
    with harness.lab(tmp_path, "9.1", cert) as lab:
        site, data = Site(tmp_path, lab), state(lab.world)
        status, output, recap = site.run("--check")
        assert (status, recap["changed"]) == (0, 4), output
        assert not (site.folder / ".secrets").exists()
        assert data["roles"] == {}, "a dry run changes nothing"

        # what a run leaves that is killed before it keeps the secret
        token = {"mediaserver": {"privsep": 0, "expire": 0}}
        data["users"]["automation@pve"] = {"enable": 1, "expire": 0, "groups": [], "tokens": token}
        data["secrets"]["automation@pve!mediaserver"] = "told to nobody"
        status, output, recap = site.run()
        assert (status, recap["changed"]) == (0, 4), output
        secret = site.secrets()[SECRET]
        assert secret == data["secrets"]["automation@pve!mediaserver"] != "told to nobody"
        assert secret not in output
        assert "Callback dispatch" not in output
        assert harness.ROOT_PASSWORD not in output
        assert {name: tuple(found) for name, found in data["roles"].items()} == {
            name: tuple(sorted(wanted)) for name, wanted in access.ROLES.items()
        }
        assert set(data["acl"]) == {
            "/ user automation@pve MediaserverNode", "/mapping user automation@pve MediaserverMap",
            "/sdn/zones/localnetwork user automation@pve MediaserverNet",
            *(f"/vms/{vmid} user automation@pve MediaserverGuest" for vmid in (100, 101)),
            "/storage user automation@pve MediaserverDefine",
            *(f"/storage/{name} user automation@pve MediaserverStore" for name in ("local", "local-lvm")),
        }  # fmt: skip

        status, output, recap = site.run()
        assert (status, recap["changed"]) == (0, 0), output
        enough(lab, secret)


def enough(lab: harness.Lab, secret: str) -> None:
    """The modules of the role proxmox work with the token (as far as the fake asks for privileges)."""
    lab.service.tokens.clear()
    credentials = {"api_user": "automation@pve", "api_token_id": "mediaserver", "api_token_secret": secret}

    def run(module: Any, **arguments: Any) -> None:
        result = lab.run(module, **{"node": "pve", **arguments}, **credentials)
        assert not result.get("failed"), result["msg"]

    run(proxmox_preflight, images=[{"storage": "local"}], devices=["0000:00:02.0"])
    (lab.root / "tank").mkdir()
    run(proxmox_storage, node=None, storage="tank-ssd-postgres", type="dir", path="/tank")
    run(proxmox_pci_mapping, id="igpu", path="0000:00:02.0")
    (lab.root / "tank-hdd/media").mkdir(parents=True)
    run(proxmox_dir_mapping, id="media", path="/tank-hdd/media")
    run(proxmox_vm, vmid=100, name="vm-extranet", cores=1, memory=512, startup={"order": 1}, state="started",
        disks={"scsi0": {"storage": "local", "size": "1G"}}, networks={"net0": {"bridge": "vmbr0"}},
        pci={"hostpci0": {"mapping": "igpu"}}, virtiofs={"virtiofs0": {"mapping": "media"}})  # fmt: skip
    run(proxmox_firewall, node=None, level="datacenter", options={"enable": True})
    lab.image("there.qcow2")
    run(proxmox_image, storage="local", file="there.qcow2", url="https://example.invalid/there.qcow2")


@pytest.mark.parametrize("release", ["8.4", "9.1"])
def test_privileges_exist_in_both_releases(release: str) -> None:
    assert {name for role in access.ROLES.values() for name in role} <= privileges(release)


def test_the_guides_commands_grant_the_same() -> None:
    found = dict(re.findall(r'^pveum role add (\w+) --privs "(.*)"$', GUIDE, re.MULTILINE))
    assert {name: set(text.split()) for name, text in found.items()} == {
        name: set(wanted) for name, wanted in access.ROLES.items()
    }
