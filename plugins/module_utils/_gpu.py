# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a host's GPU can be used: PCI device, kernel driver, render device, VA-API. Mostly pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ansible_collections.homelab.mediaserver.plugins.module_utils._passthrough import Device

VENDORS = {"8086": "intel", "1002": "amd", "10de": "nvidia"}
DISPLAY = "03"
CODECS = ("MPEG2", "MPEG4", "H264", "HEVC", "VC1", "VP8", "VP9", "AV1", "JPEG", "VVC")
ENCODE = ("VAEntrypointEncSlice", "VAEntrypointEncSliceLP", "VAEntrypointEncPicture")
DECODE = "VAEntrypointVLD"
RESTART = (
    "Is the node's GPU passed on? After a change of its PCI devices the guest must be shut down and started again from "
    "Proxmox VE (a restart from inside does not count)"
)


@dataclass(frozen=True)
class State:
    """What the host shows. ``loadable``: drivers that the running kernel has, as module or built in."""

    release: str
    devices: list[Device]
    loadable: frozenset[str]
    render: list[str]
    group: str


def gpus(devices: Iterable[Device]) -> list[Device]:
    """Display devices of a maker of GPUs; the emulated ones of a hypervisor are none."""
    return [device for device in devices if device.kind.startswith(DISPLAY) and device.vendor in VENDORS]


def loadable(release_files: Iterable[str], wanted: Iterable[str]) -> frozenset[str]:
    """Which of the drivers stand in modules.dep or modules.builtin."""
    text = "\n".join(release_files)
    return frozenset(name for name in wanted if re.search(rf"/{re.escape(name)}\.ko\b", text))


def problems(state: State) -> list[str]:
    """Why there is no GPU to use, from the PCI bus upwards; only the first reason of a chain."""
    if state.render:
        strange = state.group not in ("render", "video")
        return [f"{state.render[0]} belongs to group {state.group}, not to render: is udev at work?"] if strange else []
    found = gpus(state.devices)
    if not found:
        return [f"there is no GPU on the PCI bus. {RESTART}"]
    device = found[0]
    known = [name for name in device.drivers if name in state.loadable]
    if not device.driver and not known:
        remedy = (
            "install linux-image-amd64, remove the cloud kernel (apt purge 'linux-image*cloud*') and restart"
            if "cloud" in state.release
            else "install a kernel that has it"
        )
        wanted = " or ".join(device.drivers)
        return [f"kernel {state.release} has no driver {wanted} for the GPU {device.path} ({device.id}): {remedy}"]
    if not device.driver:
        return [
            f"the GPU {device.path} ({device.id}) has no driver, though the kernel has {', '.join(known)}: restart, "
            f"then look at `dmesg | grep {known[0]}`"
        ]
    return [
        f"driver {device.driver} has the GPU {device.path} and made no render device: look at `dmesg | grep "
        f"{device.driver}`"
    ]


def parse_vainfo(text: str) -> dict[str, Any]:
    """Driver, and by codec what it decodes and encodes."""
    driver = re.search(r"Driver version: (.+)", text)
    found: dict[str, set[str]] = {"decode": set(), "encode": set()}
    for profile, entry in re.findall(r"^\s*VAProfile(\w+)\s*:\s*(VAEntrypoint\w+)", text, re.MULTILINE):
        codec = next((name for name in CODECS if profile.upper().startswith(name)), "")
        kind = "decode" if entry == DECODE else "encode" if entry in ENCODE else ""
        if codec and kind:
            found[kind].add(codec.lower())
    return {
        "driver": driver[1].strip() if driver else "",
        "decode": sorted(found["decode"]),
        "encode": sorted(found["encode"]),
    }


def probe_problem(device: str, code: int, text: str, vaapi: dict[str, Any]) -> str:
    """Empty when VA-API works."""
    if code != 0:
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        reason = next((line for line in lines if re.search(r"fail|error|cannot", line, re.IGNORECASE)), "")
        return f"VA-API does not work on {device}: {reason or (lines[-1] if lines else f'vainfo ended with {code}')}"
    if not vaapi["decode"]:
        return f"VA-API on {device} decodes nothing: is the driver for this GPU installed?"
    return ""
