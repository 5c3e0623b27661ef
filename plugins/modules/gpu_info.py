#!/usr/bin/python
# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: gpu_info
short_description: Whether a host's GPU can be used, and for what
version_added: 0.1.0
description:
  - Looks from the PCI bus over the kernel's driver to the render device, and asks VA-API for its codecs.
  - Says what is missing and what to do about it. Changes nothing.
  - Values for containers (group and devices) come from M(homelab.mediaserver.host_values).
author: The homelab.mediaserver authors (@homelab)
extends_documentation_fragment:
  - homelab.mediaserver.attributes.info
options:
  probe:
    description: Whether VA-API is asked, with the command C(vainfo).
    type: bool
    default: true
  required:
    description: Whether a GPU that cannot be used fails the module. Otherwise its problems are warnings.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: What can the GPU do?
  homelab.mediaserver.gpu_info:
  register: gpu
"""

RETURN = r"""
gpus:
  description: GPUs on the PCI bus, with C(path), C(id), C(vendor) and C(driver) (empty without one).
  returned: always
  type: list
  elements: dict
vendors:
  description: Their makers - intel, amd, nvidia.
  returned: always
  type: list
  elements: str
render_devices:
  description: Render devices.
  returned: always
  type: list
  elements: str
vaapi:
  description: Driver and the codecs that it decodes and encodes. Empty when it was not asked or does not work.
  returned: always
  type: dict
  sample: {driver: Intel iHD driver, decode: [h264, hevc], encode: [h264]}
problems:
  description: What is missing and what to do.
  returned: always
  type: list
  elements: str
"""

import grp
import os
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.homelab.mediaserver.plugins.module_utils import _command, _gpu, _passthrough, _reconcile

ROOT = Path("/")
SPEC: dict[str, Any] = {"probe": {"type": "bool", "default": True}, "required": {"type": "bool", "default": False}}


def read(root: Path, release: str) -> _gpu.State:
    devices = _passthrough.read_devices(root)
    wanted = [name for device in _gpu.gpus(devices) for name in device.drivers]
    lists = [root / "lib/modules" / release / name for name in ("modules.dep", "modules.builtin")]
    texts = [file.read_text(encoding="utf-8", errors="replace") for file in lists if file.is_file()]
    folder = root / "dev/dri"
    render = sorted(folder.glob("renderD*")) if folder.is_dir() else []
    return _gpu.State(
        release=release,
        devices=devices,
        loadable=_gpu.loadable(texts, wanted),
        render=[f"/dev/dri/{path.name}" for path in render],
        group=group_name(render[0].stat().st_gid) if render else "",
    )


def group_name(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def ask_vaapi(module: AnsibleModule, device: str) -> tuple[dict[str, Any], str]:
    """(codecs, problem)"""
    command = module.get_bin_path("vainfo")
    if command is None:
        return {}, "vainfo is not installed: what VA-API can do is not known"
    code, out, err = _command.run([command, "--display", "drm", "--device", device])
    vaapi = _gpu.parse_vainfo(f"{out}\n{err}")
    problem = _gpu.probe_problem(device, code, f"{err}\n{out}", vaapi)
    return ({} if code else vaapi), problem


def work(module: AnsibleModule) -> dict[str, Any]:
    state = read(ROOT, os.uname().release)
    found, vaapi = _gpu.problems(state), {}
    if state.render and module.params["probe"]:
        vaapi, problem = ask_vaapi(module, state.render[0])
        found += [problem] if problem else []
    if found and module.params["required"]:
        raise _reconcile.Failure("Unable to use the GPU: " + "; ".join(found), problems=found)
    for text in found:
        module.warn(text)
    seen = _gpu.gpus(state.devices)
    return {
        "changed": False,
        "gpus": [
            {"path": one.path, "id": one.id, "vendor": _gpu.VENDORS[one.vendor], "driver": one.driver} for one in seen
        ],
        "vendors": sorted({_gpu.VENDORS[one.vendor] for one in seen}),
        "render_devices": state.render,
        "vaapi": vaapi,
        "problems": found,
    }


def main() -> None:
    _reconcile.main(AnsibleModule(SPEC, supports_check_mode=True), work)


if __name__ == "__main__":
    main()
