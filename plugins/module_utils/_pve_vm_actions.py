# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A VM's way from its state to the wanted one, as a list of actions. Pure: no API, no clock."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from ansible_collections.homelab.mediaserver.plugins.module_utils import _pve_format as fmt
from ansible_collections.homelab.mediaserver.plugins.module_utils._pve_vm_desired import Desired, canonical, split
from ansible_collections.homelab.mediaserver.plugins.module_utils._pve_vm_plan import (
    Changes,
    Current,
    after_view,
    comparable,
    differences,
    is_live,
    view,
)
from ansible_collections.homelab.mediaserver.plugins.module_utils._reconcile import Failure


@dataclass(frozen=True)
class Action:
    """One write: what it is called, what it is, and with which data."""

    describe: str
    kind: str
    data: dict[str, Any] = field(default_factory=dict)


@dataclass
class Course:
    """The actions, and the states before and after for the diff."""

    before: dict[str, Any]
    after: dict[str, Any]
    actions: list[Action] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    waiting: list[str] = field(default_factory=list)  # keys that will wait for a restart
    running: bool = False


def managed(desired: Desired) -> set[str]:
    slots = {desired.cloud_init_drive[0]} if desired.cloud_init_drive else set()
    return {*desired.values, *desired.properties, *desired.disks, *desired.gone, *slots}


def sized(desired: Desired) -> set[str]:
    return {slot for slot, disk in desired.disks.items() if disk.size is not None}


def waits(current: Current, changes: Changes) -> list[str]:
    """Keys whose value will come into force at the next start only."""
    if not current.running:
        return []
    found = []
    for key in sorted({*changes.values, *changes.delete, *current.waiting}):
        target = None if key in changes.delete else changes.values.get(key, current.config.get(key))
        runs = current.effective.get(key)
        if _same(key, runs, target):
            continue
        untouched = key in current.waiting and key not in changes.values and key not in changes.delete
        if untouched or not is_live(key, runs, target):
            found.append(key)
    return found


def _same(key: str, one: str | None, other: str | None) -> bool:
    if one is None or other is None:
        return one is other
    a, b = ({k: v for k, v in canonical(key, split(key, text)).items() if k != "size"} for text in (one, other))
    return a == b or comparable(key, one) == comparable(key, other)


def write_actions(vmid: int, desired: Desired, changes: Changes) -> list[Action]:
    """Grow disks first: a pending disk string would bring the old size back at the next start."""
    actions = [_resize(vmid, slot, count) for slot, count in sorted(changes.resize.items())]
    keep = [key for key in changes.delete if key not in desired.destroy]
    if changes.values or keep:
        parts = [f"set {', '.join(sorted(changes.values))}"] if changes.values else []
        parts += [f"remove {', '.join(keep)}"] if keep else []
        actions.append(Action(f"{' and '.join(parts)} of VM {vmid}", "config", {"set": changes.values, "delete": keep}))
    gone = [key for key in changes.delete if key in desired.destroy]
    if gone:
        actions.append(Action(f"remove {', '.join(gone)} of VM {vmid} with its data", "config",
                              {"set": {}, "delete": gone, "force": True}))  # fmt: skip
    return actions + [_resize(vmid, slot, count) for slot, count in sorted(changes.resize_after.items())]


def _resize(vmid: int, slot: str, count: int) -> Action:
    text = fmt.show_size(count)
    return Action(f"grow disk {slot} of VM {vmid} to {text}", "resize", {"disk": slot, "size": text})


def plan_absent(params: dict[str, Any], current: Current | None) -> Course:
    vmid = params["vmid"]
    if current is None:
        return Course({"state": "absent"}, {"state": "absent"})
    course = Course({"state": _power(current.running), "name": current.config.get("name")}, {"state": "absent"})
    if current.config.get("protection") == "1":
        raise Failure(f"Unable to destroy VM {vmid}: can't remove VM {vmid} - protection mode enabled "
                      "(set protection: false first)")  # fmt: skip
    if current.running:
        course.actions.append(_power_off(params))
    course.actions.append(Action(f"destroy VM {vmid} and its disks", "destroy"))
    return course


def _power(running: bool) -> str:
    return "started" if running else "stopped"


def _power_off(params: dict[str, Any]) -> Action:
    kind = "stop" if params.get("force") else "shutdown"
    return Action(f"{'stop' if kind == 'stop' else 'shut down'} VM {params['vmid']}", kind)


def plan_new(params: dict[str, Any], desired: Desired, source: Current | None) -> Course:
    """Create, or clone from ``source``."""
    vmid = params["vmid"]
    if not params.get("name"):
        raise Failure(f"Unable to find VM {vmid}: it does not exist (it is created when name is given)")
    start = params["state"] == "started"
    keys = managed(desired)
    if source is None:
        changes = differences(vmid, desired, {})
        data = {**changes.values, **desired.secret}
        if params.get("pool"):
            data["pool"] = params["pool"]
        actions = [Action(f"create VM {vmid} {params['name']}", "create", data)]
        actions += [_resize(vmid, slot, count) for slot, count in sorted(changes.resize_after.items())]
        after = after_view({}, changes, keys, sized(desired))
    else:
        changes = differences(vmid, desired, source.config)
        actions = [Action(f"clone VM {params['clone_from']} as VM {vmid} {params['name']}", "clone"),
                   Action(f"configure VM {vmid} as wanted", "converge")]  # fmt: skip
        after = after_view(source.config, changes, keys, sized(desired))
    if params.get("template"):
        actions.append(Action(f"make VM {vmid} a template", "template"))
    if start:
        actions.append(Action(f"start VM {vmid}", "start"))
    state = {"state": _power(start), **({"pool": params["pool"]} if params.get("pool") else {})}
    return Course({"state": "absent"}, {**state, **after}, actions, changes.warnings, [], start)


def plan_present(params: dict[str, Any], desired: Desired, current: Current) -> Course:
    vmid, state = params["vmid"], params["state"]
    if current.template and state == "started":
        raise Failure(f"Unable to start VM {vmid}: it is a template")
    if current.template and params.get("template") is False:
        raise Failure(f"Unable to make template {vmid} a VM again: Proxmox VE cannot; clone it")
    changes = differences(vmid, desired, current.config)
    if desired.secret and params.get("update_password") == "always":
        changes.values.update(desired.secret)
    keys = managed(desired)
    before: dict[str, Any] = {"state": _power(current.running), **view(current.config, keys, sized(desired))}
    after: dict[str, Any] = {**before, **after_view(current.config, changes, keys, sized(desired))}
    for key in changes.delete:
        after.pop(key, None)
    course = Course(before, after, [], changes.warnings, [], current.running)
    off = state == "stopped" and current.running
    if off:
        course.actions.append(_power_off(params))
        course.running = False
        current = replace(current, running=False)
    course.actions += write_actions(vmid, desired, changes)
    _pool(params, current, course)
    course.waiting = waits(current, changes)
    _template(params, current, course)
    if state == "started" and not course.running:
        course.actions.append(Action(f"start VM {vmid}", "start"))
        course.running = True
    elif course.waiting and params.get("restart") == "if_needed" and course.running:
        course.actions.append(Action(f"restart VM {vmid} for {', '.join(course.waiting)}", "restart"))
        course.waiting = []
    after["state"] = _power(course.running)
    return course


def _pool(params: dict[str, Any], current: Current, course: Course) -> None:
    wanted = params.get("pool")
    if wanted is None:
        return
    course.before["pool"], course.after["pool"] = current.pool or "", wanted
    if (current.pool or "") == wanted:
        return
    vm = f"VM {params['vmid']}"
    word = f"put {vm} into pool {wanted}" if wanted else f"take {vm} out of pool {current.pool}"
    course.actions.append(Action(word, "move_pool", {"old": current.pool, "new": wanted}))


def _template(params: dict[str, Any], current: Current, course: Course) -> None:
    if params.get("template") is None:
        return
    course.before["template"], course.after["template"] = current.template, params["template"]
    if params["template"] and not current.template:
        if current.running:
            raise Failure(f"Unable to make VM {params['vmid']} a template: it runs (use state: stopped)")
        course.actions.append(Action(f"make VM {params['vmid']} a template", "template"))


def plan(params: dict[str, Any], desired: Desired, current: Current | None, source: Current | None = None) -> Course:
    """The whole way; ``source`` is the VM to clone, if one is to be cloned."""
    if params["state"] == "absent":
        return plan_absent(params, current)
    if params["state"] == "started" and params.get("template"):
        raise Failure(f"Unable to start VM {params['vmid']}: a template cannot run")
    if current is None:
        return plan_new(params, desired, source)
    return plan_present(params, desired, current)
