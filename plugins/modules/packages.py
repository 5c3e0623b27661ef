#!/usr/bin/python
# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: packages
short_description: Have Debian packages installed
version_added: 0.1.0
description:
  - Asks dpkg once; when everything is there, that is all (M(ansible.builtin.apt) loads APT's whole cache each time).
  - In check mode it works on a fresh machine, whose APT has no lists yet and therefore knows no package.
  - Finishes what an interrupted dpkg has left half done.
author: The homelab.mediaserver authors (@homelab)
attributes:
  check_mode:
    support: full
    description: Reads only and says what it would do. Whether a missing package exists is not known then.
  diff_mode:
    support: full
    description: The packages that are not there before, and after.
options:
  names:
    description: Names of real packages, without versions.
    type: list
    elements: str
    required: true
  recommends:
    description: Install recommended packages too.
    type: bool
    default: false
  lists_valid_for:
    description: Seconds that APT's lists stay good. They are only looked at when something is missing.
    type: int
    default: 86400
"""

EXAMPLES = r"""
- name: Install the firewall's tools
  homelab.mediaserver.packages:
    names: [ufw, nftables]
"""

RETURN = r"""
missing:
  description: The packages that were not there.
  returned: always
  type: list
  elements: str
steps:
  description: What was done or, in check mode, would be.
  returned: always
  type: list
  elements: str
"""

import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.homelab.mediaserver.plugins.module_utils import _command
from ansible_collections.homelab.mediaserver.plugins.module_utils._deadman import Run, checked
from ansible_collections.homelab.mediaserver.plugins.module_utils._reconcile import Failure, Plan, Step, main, run

LISTS = "/var/lib/apt/lists"
APT = ["apt-get", "--quiet", "--yes", "-o", "DPkg::Lock::Timeout=300", "-o", "Dpkg::Options::=--force-confold"]
SPEC = {
    "names": {"type": "list", "elements": "str", "required": True},
    "recommends": {"type": "bool", "default": False},
    "lists_valid_for": {"type": "int", "default": 86400},
}


def parse_states(text: str) -> dict[str, str]:
    """dpkg's answer: package -> state, ``installed`` when all is well."""
    states: dict[str, str] = {}
    for line in text.splitlines():
        name, _tab, state = line.partition("\t")
        if states.get(name) != "installed":  # another architecture's
            states[name] = state
    return states


def lists_are_old(lists: Path, now: float, valid_for: int) -> bool:
    """Whether APT has no lists or has not renewed them for long."""
    if not lists.is_dir() or not any(path.name.endswith(("Packages", "Packages.lz4")) for path in lists.iterdir()):
        return True
    return now - lists.stat().st_mtime > valid_for


def plan(names: Sequence[str], states: dict[str, str], old_lists: bool, do: dict[str, Callable[..., Any]]) -> Plan:
    missing = sorted({name for name in names if states.get(name) != "installed"})
    steps = []
    if any(states.get(name, "not-installed") not in ("not-installed", "config-files", "installed") for name in missing):
        steps.append(Step("finish what dpkg has left half done", do["finish"]))
    if missing and old_lists:
        steps.append(Step("renew the package lists", do["update"]))
    if missing:
        steps.append(Step(f"install {', '.join(missing)}", lambda: do["install"](missing)))
    return Plan({"missing": missing}, {"missing": []}, tuple(steps), result={"missing": missing})


def writes(execute: Run, recommends: bool) -> dict[str, Callable[..., Any]]:
    extra = [] if recommends else ["--no-install-recommends"]
    return {
        "finish": lambda: checked(execute, ["dpkg", "--configure", "-a", "--force-confold"], "finish dpkg's work"),
        "update": lambda: checked(execute, [*APT, "update"], "renew the package lists"),
        "install": lambda names: checked(execute, [*APT, *extra, "install", *names], f"install {', '.join(names)}"),
    }


def work(module: AnsibleModule) -> dict[str, Any]:
    def execute(argv: Any) -> tuple[int, str, str]:
        return _command.run(argv, DEBIAN_FRONTEND="noninteractive", NEEDRESTART_MODE="l")

    names = module.params["names"]
    if wrong := [name for name in names if not re.fullmatch(r"[a-z0-9][a-z0-9+.-]+", name)]:
        raise Failure(f"Unable to install {', '.join(wrong)}: not names of packages")
    states = {}
    if names:
        # ends with 1 when one of them is unknown, and then still prints the others
        code, out, err = execute(["dpkg-query", "--show", "--showformat=${Package}\\t${db:Status-Status}\\n", *names])
        if code not in (0, 1):
            raise Failure(f"Unable to ask dpkg: {err.strip()}")
        states = parse_states(out)
    old = lists_are_old(Path(LISTS), time.time(), module.params["lists_valid_for"])
    return run(module, plan(names, states, old, writes(execute, module.params["recommends"])))


if __name__ == "__main__":
    main(AnsibleModule(argument_spec=SPEC, supports_check_mode=True), work)
