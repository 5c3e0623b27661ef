#!/usr/bin/python
# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: host_values
short_description: Values that only the host knows
version_added: 0.1.0
author:
  - The homelab.mediaserver authors (@homelab)
description:
  - Resolves the late-bound values of a plan on the host itself.
  - C(render_gid) is the group of the first render device, as text, and empty without one.
  - C(gpu_devices) are the devices of a GPU that a container needs, and empty without one.
  - C(architecture) is the processor's architecture as image registries name it, for example V(amd64) or V(arm64).
extends_documentation_fragment:
  - homelab.mediaserver.attributes.info
options:
  names:
    description: Values to resolve. Empty means all.
    type: list
    elements: str
    default: []
    choices: [render_gid, gpu_devices, architecture]
"""

EXAMPLES = r"""
- name: Ask the host for what only it knows
  homelab.mediaserver.host_values:
    names: [render_gid, gpu_devices]
  register: late
"""

RETURN = r"""
late:
  description: The values by name.
  type: dict
  returned: success
  sample: {render_gid: "104", gpu_devices: [/dev/dri/renderD128, /dev/dri/card0], architecture: amd64}
"""

import platform
import stat
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.homelab.mediaserver.plugins.module_utils import _reconcile

DEVICES = Path("/dev/dri")
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm/v7", "armv6l": "arm/v6", "i686": "386"}


def nodes(folder: Path, pattern: str) -> list[Path]:
    """The character devices below ``folder`` with names like ``pattern``."""
    return [path for path in sorted(folder.glob(pattern)) if stat.S_ISCHR(path.stat().st_mode)]


def render_gid(folder: Path) -> str:
    devices = nodes(folder, "renderD*")
    return str(devices[0].stat().st_gid) if devices else ""


def gpu_devices(folder: Path) -> list[str]:
    """Render devices and their cards; a card alone (a plain console) is no GPU for a container."""
    render = nodes(folder, "renderD*")
    return [str(path) for path in [*render, *nodes(folder, "card*")]] if render else []


def architecture(machine: str) -> str:
    return ARCHITECTURES.get(machine, machine)


def work(module: AnsibleModule) -> dict[str, Any]:
    values = {
        "render_gid": render_gid(DEVICES),
        "gpu_devices": gpu_devices(DEVICES),
        "architecture": architecture(platform.machine()),
    }
    names = module.params["names"] or list(values)
    return {"changed": False, "late": {name: values[name] for name in names}}


def main() -> None:
    spec: dict[str, Any] = {
        "names": {
            "type": "list",
            "elements": "str",
            "default": [],
            "choices": ["render_gid", "gpu_devices", "architecture"],
        }
    }
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True)
    _reconcile.main(module, work)


if __name__ == "__main__":
    main()
