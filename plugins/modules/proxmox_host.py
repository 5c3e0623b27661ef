#!/usr/bin/python
# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: proxmox_host
short_description: Kernel command line, PCI passthrough and ZFS cache of a Proxmox VE node
version_added: 0.1.0
description:
  - Runs on the node. Keeps tokens of the kernel's command line for GRUB and for systemd-boot (as proxmox-boot-tool has
    it), keeps the host's drivers off PCI devices that guests get, and limits the ZFS cache.
  - Boot loader and initramfs are made anew when they were built from something else than what is on disk, so a run
    that was killed in between is made good by the next one.
  - Where the machine has no boot loader or initramfs (it is a container), the files are written and that is said.
  - Restarts nothing; RV(reboot_required) says why a restart is needed.
author: The homelab.mediaserver authors (@homelab)
attributes:
  check_mode:
    support: full
    description: Can run in check mode and return what would change, without changing anything.
  diff_mode:
    support: full
    description: Returns the files and the live limit before and after.
options:
  passthrough:
    description:
      - Addresses of PCI devices for guests, as V(0000:00:02.0); V(0000:01:00) means all functions of a card.
      - Functions of the same card and IOMMU group (a GPU's sound) come along. C(iommu=pt), and C(intel_iommu=on) where
        the kernel needs it, are put on the command line.
      - Unset leaves passthrough alone, an empty list takes this module's files away.
    type: list
    elements: str
  cmdline:
    description: Further tokens of the command line. C(key=value) takes the place of other values of that key.
    type: list
    elements: str
    default: []
  cmdline_absent:
    description: Tokens that must not be there; C(key) goes with any value.
    type: list
    elements: str
    default: []
  arc_max:
    description:
      - Limit of the ZFS cache in bytes, in C(/etc/modprobe.d/zfs.conf) and, where ZFS is loaded, at once.
      - Unset leaves it alone.
    type: int
"""

EXAMPLES = r"""
- name: Give the GPU to guests and leave 1 GiB to the ZFS cache
  homelab.mediaserver.proxmox_host:
    passthrough: ["0000:00:02.0"]
    arc_max: 1073741824
"""

RETURN = r"""
reboot_required:
  description: Why the node must be restarted; empty when it need not.
  returned: always
  type: list
  elements: str
problems:
  description: What a person has to look at, such as a switch in the firmware.
  returned: always
  type: list
  elements: str
guests_running:
  description: Numbers of the VMs and containers that run on the node.
  returned: always
  type: list
  elements: int
boot_files:
  description: Files that hold the command line; empty without a known boot loader.
  returned: always
  type: list
  elements: str
steps:
  description: What was done, or would be done.
  returned: always
  type: list
  elements: str
"""

import functools
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.homelab.mediaserver.plugins.module_utils import (
    _boot,
    _command,
    _node_host,
    _node_plan,
    _reconcile,
)
from ansible_collections.homelab.mediaserver.plugins.module_utils._deadman import Run, checked
from ansible_collections.homelab.mediaserver.plugins.module_utils._lock import lock
from ansible_collections.homelab.mediaserver.plugins.module_utils._node_host import Machine, State
from ansible_collections.homelab.mediaserver.plugins.module_utils._reconcile import Failure, Plan, Step

ROOT = Path("/")
ARGUMENTS: dict[str, Any] = {
    "passthrough": {"type": "list", "elements": "str", "no_log": False},
    "cmdline": {"type": "list", "elements": "str", "default": []},
    "cmdline_absent": {"type": "list", "elements": "str", "default": []},
    "arc_max": {"type": "int"},
}


def plan(params: dict[str, Any], state: State, machine: Machine, execute: Run) -> Plan:
    after = _node_plan.desired_files(params, state)
    limit = params["arc_max"]
    if limit is not None and limit <= state.arc_least:
        raise Failure(
            f"Unable to limit the ZFS cache to {limit} bytes: ZFS ignores a limit that is not above its least size, "
            f"{state.arc_least} here"
        )
    anew = _node_plan.rebuilds(params, state, after)
    steps = []
    for path, text in after.items():
        if state.files.get(path) != text:
            what = "boot" if path in (_boot.GRUB, _boot.SYSTEMD_BOOT) else "initramfs"
            verb = "write" if text is not None else "remove"
            mark = what if what in anew else ""
            steps.append(Step(f"{verb} {path}", functools.partial(write, machine, path, text, mark)))
    texts = {**state.files, **after}
    inputs = {"initramfs": _node_host.INPUTS, "boot": [p for p in (_boot.GRUB, _boot.SYSTEMD_BOOT) if p in after]}
    for what, argv in anew.items():
        value = _node_host.digest(texts, inputs[what])
        steps.append(Step(f"run {' '.join(argv)}", functools.partial(rebuild, machine, execute, argv, what, value)))
    live = limit is not None and state.arc_live not in (None, limit)
    if live:
        describe = f"limit the running ZFS cache to {limit} bytes"
        steps.append(Step(describe, functools.partial(machine.write_live, _node_host.ARC, str(limit))))
    reasons = _node_plan.reboot_reasons(params, state, after)
    managed = {"arc_max": state.arc_live} if limit is not None else {}
    return Plan(
        before={"files": {path: state.files.get(path) for path in after}, **managed},
        after={"files": after, **({"arc_max": limit if live else state.arc_live} if managed else {})},
        steps=tuple(steps),
        result={
            "reboot_required": reasons,
            "problems": _node_plan.problems(params, state, reasons),
            "guests_running": state.guests,
            "boot_files": _node_plan.boot_files(state),
        },
    )


def write(machine: Machine, path: str, text: str | None, mark: str) -> None:
    """The mark first: a run killed after the write leaves it, and the next one makes anew what is built from it."""
    if mark:
        machine.stamp(mark, _node_host.PENDING)
    machine.write(path, text)


def rebuild(machine: Machine, execute: Run, argv: list[str], what: str, value: str) -> None:
    checked(execute, argv, "make the initramfs anew" if what == "initramfs" else "make the boot loader's entries anew")
    machine.stamp(what, value)


def work(module: AnsibleModule) -> dict[str, Any]:
    machine = Machine(ROOT)
    with lock("node"):
        return _reconcile.run(module, plan(module.params, machine.read(), machine, _command.run))


def main() -> None:
    _reconcile.main(AnsibleModule(ARGUMENTS, supports_check_mode=True), work)


if __name__ == "__main__":
    main()
