# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a Proxmox VE node's own system lacks for passthrough and the ZFS cache. Pure: parameters and state in."""

from __future__ import annotations

from typing import Any

from ansible_collections.homelab.mediaserver.plugins.module_utils import _boot, _node_host, _passthrough
from ansible_collections.homelab.mediaserver.plugins.module_utils._node_host import State

INITRAMFS = ["update-initramfs", "-u", "-k", "all"]


def wanted_tokens(params: dict[str, Any], state: State) -> list[str]:
    own = list(params["cmdline"])
    keys = {_boot.key_of(token) for token in own}
    return own + [token for token in (state.tokens if params["passthrough"] else []) if _boot.key_of(token) not in keys]


def desired_files(params: dict[str, Any], state: State) -> dict[str, str | None]:
    """Path to text, None: no such file. Only what this call manages."""
    found: dict[str, str | None] = {}
    if params["passthrough"] is not None:
        found |= _passthrough.vfio_files(params["passthrough"], state.devices)
    if params["arc_max"] is not None:
        found[_passthrough.ZFS] = _passthrough.arc_text(state.files[_passthrough.ZFS], params["arc_max"])
    tokens = wanted_tokens(params, state)
    if tokens or params["cmdline_absent"]:
        found |= _boot.desired(state.files, state.running, tokens, params["cmdline_absent"])
    return found


def rebuilds(params: dict[str, Any], state: State, after: dict[str, str | None]) -> dict[str, list[str]]:
    """What must be made anew ("initramfs", "boot"), by which command: it was built from something else."""
    changed = {path for path, text in after.items() if state.files.get(path) != text}
    texts = {**state.files, **after}
    found: dict[str, list[str]] = {}
    fed = [path for path in _node_host.INPUTS if texts[path] is not None or state.files[path] is not None]
    if "update-initramfs" in state.tools and feeds_initramfs(params) and (fed or state.stamps["initramfs"]):
        stale = state.stamps["initramfs"] not in (None, _node_host.digest(texts, _node_host.INPUTS))
        if changed & set(_node_host.INPUTS) or stale or (not state.stamps["initramfs"] and not state.initramfs_newer):
            found["initramfs"] = INITRAMFS
    boot = [path for path in (_boot.GRUB, _boot.SYSTEMD_BOOT) if path in after]
    command = refresh_command(state)
    if boot and command:
        stamp = state.stamps["boot"]
        stale = stamp not in (None, _node_host.digest(texts, boot))
        lacking = _boot.lacks(_boot.tokens(state.running), wanted_tokens(params, state), params["cmdline_absent"])
        if changed & set(boot) or stale or (stamp is None and lacking):
            found["boot"] = command
    return found


def feeds_initramfs(params: dict[str, Any]) -> bool:
    return params["passthrough"] is not None or params["arc_max"] is not None


def boot_files(state: State) -> list[str]:
    """Files that hold the command line on this machine."""
    return list(_boot.desired(state.files, state.running, [], [])) if refresh_command(state) else []


def refresh_command(state: State) -> list[str]:
    if (state.files[_boot.ESPS] or "").strip() and "proxmox-boot-tool" in state.tools:
        return ["proxmox-boot-tool", "refresh"]
    return ["update-grub"] if state.files[_boot.GRUB] is not None and "update-grub" in state.tools else []


def reboot_reasons(params: dict[str, Any], state: State, after: dict[str, str | None]) -> list[str]:
    found = []
    if refresh_command(state) and any(path in after for path in (_boot.GRUB, _boot.SYSTEMD_BOOT)):
        tokens = wanted_tokens(params, state)
        lacking = _boot.lacks(_boot.tokens(state.running), tokens, params["cmdline_absent"])
        found += [f"the kernel runs {reason}" for reason in lacking]
    taken = _passthrough.chosen(params["passthrough"] or [], state.devices)
    return found + _passthrough.held(taken)


def problems(params: dict[str, Any], state: State, reasons: list[str]) -> list[str]:
    found = []
    paths = params["passthrough"] or []
    found += [
        f"there is no PCI device {path}: is it on in the firmware? `lspci -D` lists what there is"
        for path in _passthrough.missing(paths, state.devices)
    ]
    taken = _passthrough.chosen(paths, state.devices)
    if paths and not state.iommu and not reasons:
        found.append("the IOMMU is off: switch on VT-d (Intel) or AMD-Vi in the firmware")
    found += [
        f"{other.path} ({other.id}) is in the IOMMU group of a device for guests: it cannot stay with the host"
        for other in _passthrough.companions(state.devices, taken)
    ]
    if (wanted_tokens(params, state) or params["cmdline_absent"]) and not refresh_command(state):
        found.append("no boot loader that we know: the kernel's command line is not managed")
    if feeds_initramfs(params) and "update-initramfs" not in state.tools:
        found.append("no update-initramfs here: modules take their options when they are loaded the next time")
    found += [f"{path} sets {_boot.VARIABLE} anew, after /etc/default/grub" for path in grub_overrides(params, state)]
    if params["arc_max"] is not None:
        others = _passthrough.other_limits(state.modprobe)
        found += [f"{path} limits the ZFS cache as well: remove its zfs_arc_max" for path in others]
    return found


def grub_overrides(params: dict[str, Any], state: State) -> list[str]:
    used = state.files[_boot.GRUB] is not None and bool(wanted_tokens(params, state))
    return _boot.overriding(state.grub_parts) if used else []
