#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Requests of a run that changes nothing: proxmox_vm and proxmox_lxc against the fake API, counted by it.

The figure is one of the module and not of the fake: it is what the module asks, whatever answers.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
TARGET = 3


def measure(folder: Path, release: str) -> dict[str, int]:
    """Make a guest of each kind, run again, and count what the second run asked."""
    from ansible_collections.homelab.mediaserver.plugins.modules import proxmox_lxc, proxmox_vm
    from ansible_collections.homelab.mediaserver.tests.unit.fake_pve import harness

    common: dict[str, Any] = {"node": "pve", "state": "started", "cores": 2, "memory": "2G", "onboot": True,
                              "tags": ["mediaserver"], "pool": "home"}  # fmt: skip
    found = {}
    with harness.lab(folder, release, harness.certificate(folder)) as lab:
        lab.world.data["pools"] = {"home": []}
        vm = {
            **common, "vmid": 101, "name": "web", "agent": True, "scsihw": "virtio-scsi-single",
            "disks": {"scsi0": {"storage": "local-lvm", "import_from": lab.image(), "size": "40G", "discard": True},
                      "scsi1": {"storage": "local-lvm", "size": "20G", "serial": "data"}},
            "networks": {"net0": {"bridge": "vmbr0", "firewall": True}},
            "cloud_init": {"storage": "local-lvm", "user": "ops", "ssh_keys": [harness.KEY],
                           "ipconfig": [{"ip": "192.168.1.101/24", "gateway": "192.168.1.1"}]},
        }  # fmt: skip
        container = {
            **common, "vmid": 120, "hostname": "dns", "ostemplate": lab.template(),
            "rootfs": {"storage": "local-lvm", "size": "8G"}, "networks": {"net0": {"bridge": "vmbr0", "ip": "dhcp"}},
            "mounts": {"mp0": {"storage": "local-lvm", "size": "20G", "path": "/srv"}}, "features": {"nesting": True},
        }  # fmt: skip
        for module, arguments in ((proxmox_vm, vm), (proxmox_lxc, container)):
            lab.run(module, **arguments)
            again = lab.run(module, **arguments)
            if again.get("failed") or again["changed"]:
                sys.exit(f"The second run was no run without changes: {again.get('msg') or again['steps']}")
            found[module.__name__.rpartition(".")[2]] = len(lab.service.requests)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--json", type=Path, help="also write the figures here")
    arguments = parser.parse_args()
    sys.path.insert(0, str(ROOT / "playbooks/collections"))
    figures = {}
    for release in ("8.4", "9.1"):
        with tempfile.TemporaryDirectory(prefix="mediaserver-bench-") as folder:
            figures[release] = measure(Path(folder), release)
    good = True
    for release, found in figures.items():
        for module, count in found.items():
            good &= count <= TARGET
            verdict = "reached" if count <= TARGET else "MISSED"
            print(f"{module} on {release}, nothing to change: {count} requests (target at most {TARGET}: {verdict})")
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
