# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A guest's way from its state to the wanted one, as a list of actions. Pure: no API, no clock."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ansible_collections.homelab.mediaserver.plugins.module_utils._pve_guest_plan import Changes, Current, differences
from ansible_collections.homelab.mediaserver.plugins.module_utils._pve_guest_view import after_view, view
from ansible_collections.homelab.mediaserver.plugins.module_utils._pve_guest_writes import (
    Action,
    Course,
    Writes,
    resize,
    waits,
    writes,
)
from ansible_collections.homelab.mediaserver.plugins.module_utils._pve_kind import Config, Desired
from ansible_collections.homelab.mediaserver.plugins.module_utils._reconcile import Failure

AT_CREATION = {"password": "password", "ssh-public-keys": "ssh_keys"}  # parameter -> option; no clone takes them


def plan_absent(what: str, params: dict[str, Any], desired: Desired, current: Current | None) -> Course:
    if current is None:
        return Course({"state": "absent"}, {"state": "absent"})
    kind, vmid = desired.kind, params["vmid"]
    course = Course({"state": _power(current.running), "name": current.config.get(kind.name)}, {"state": "absent"})
    if current.config.get("protection") == "1":
        raise Failure(f"Unable to destroy {what}: can't remove {kind.short} {vmid} - protection mode enabled "
                      "(set protection: false first)")  # fmt: skip
    if current.running:
        course.actions.append(_power_off(what, params))
    course.actions.append(Action(f"destroy {what} and its disks", "destroy"))
    return course


def _power(running: bool) -> str:
    return "started" if running else "stopped"


def _power_off(what: str, params: dict[str, Any]) -> Action:
    kind = "stop" if params.get("force") else "shutdown"
    return Action(f"{'stop' if kind == 'stop' else 'shut down'} {what}", kind)


def plan_new(what: str, params: dict[str, Any], desired: Desired, source: Current | None) -> Course:
    """Create, or clone from ``source``."""
    vmid, name = params["vmid"], params.get(desired.kind.name)
    if not name:
        raise Failure(f"Unable to find {what}: it does not exist (it is created when {desired.kind.name} is given)")
    needs, start = desired.kind.needs, params["state"] == "started"
    if needs and not params.get(needs) and source is None:
        raise Failure(f"Unable to create {what}: {needs} is not given")
    if source is None:
        changes = differences(vmid, desired, {}, fresh=True)
        data = {**changes.values, **desired.create, **desired.secret}
        if params.get("pool"):
            data["pool"] = params["pool"]
        actions = [Action(f"create {what} {name}", "create", data)]
        after = after_view({}, changes, desired)
        actions += [resize(what, slot, count) for slot, count in sorted(changes.resize_after.items())]
    else:
        config = _cloned(params, desired, source)
        _check_privileges(what, params, desired, config)
        changes = differences(vmid, desired, config)
        untold = [option for key, option in AT_CREATION.items() if key in desired.create]
        if untold:
            changes.warnings.append(f"{what} is a clone and keeps its template's {' and '.join(untold)}")
        actions = [Action(f"clone {desired.kind.word} {params['clone_from']} as {what} {name}", "clone"),
                   Action(f"configure {what} as wanted", "converge")]  # fmt: skip
        after = after_view(config, changes, desired)
    if params.get("template"):
        actions.append(Action(f"make {what} a template", "template"))
    if start:
        actions.append(Action(f"start {what}", "start"))
    given = {key: params[key] for key in ("pool", "template") if params.get(key) is not None}
    state: dict[str, Any] = {"state": _power(start), **given}
    return Course({"state": "absent"}, {**state, **after}, actions, changes.warnings, [], start)


def _cloned(params: dict[str, Any], desired: Desired, source: Current) -> Config:
    """What a clone will say: what runs of the source, without what waits there, on the storage that is asked for."""
    storage, made = params.get("clone_storage"), {}
    for key, text in source.effective.items():
        if key in ("template", "lock") or key.startswith("unused"):
            continue
        if storage and desired.kind.disk.fullmatch(key) and ":" in text:
            text = f"{storage}:{text.partition(':')[2]}"
        made[key] = text
    return made


def plan_present(what: str, params: dict[str, Any], desired: Desired, current: Current) -> Course:
    state, asked = params["state"], params.get("restart") == "if_needed"
    _check_present(what, params, desired, current)
    changes = differences(params["vmid"], desired, current.config, current.leaving)
    for key, text in desired.secret.items():
        if params.get("update_password") == "always" or key not in current.config:
            changes.values[key] = text
    before: dict[str, Any] = {"state": _power(current.running), **view(current.config, desired)}
    after = {**before, **after_view(current.config, changes, desired, current.leaving)}
    for key in changes.delete:
        after.pop(key, None)
    course = Course(before, after, [], changes.warnings, [], current.running)
    if state == "stopped" and current.running:
        course.actions.append(_power_off(what, params))
        course.running = False
        current = replace(current, running=False, effective=current.config)  # what waits comes into force
    course.waiting = waits(current, desired, changes)
    if course.running:
        _check_running(what, desired, changes, current)
    found = writes(what, desired, changes, current)
    course.actions += found.early
    _pool(what, params, current, course)
    if not course.running or asked:
        _late(course, found, course.waiting if course.running else [], what)
    else:
        _not_now(what, course, found, current)
    _template(what, params, current, course)
    if state == "started" and not course.running:
        course.actions.append(Action(f"start {what}", "start"))
        course.running = True
    after["state"] = _power(course.running)
    return course


def _check_present(what: str, params: dict[str, Any], desired: Desired, current: Current) -> None:
    if current.template and params["state"] == "started":
        raise Failure(f"Unable to start {what}: it is a template")
    if current.template and params.get("template") is False:
        raise Failure(f"Unable to make template {params['vmid']} a {desired.kind.word} again: Proxmox VE cannot; "
                      "clone it")  # fmt: skip
    _check_privileges(what, params, desired, current.config)


def _check_privileges(what: str, params: dict[str, Any], desired: Desired, config: Config) -> None:
    wanted, has = desired.create.get("unprivileged"), config.get("unprivileged", "0")
    if params.get("unprivileged") is not None and wanted != has:
        words = {"0": "privileged", "1": "unprivileged"}
        raise Failure(f"Unable to make {what} {words[str(wanted)]}: it is {words[has]}, and Proxmox VE lets that be "
                      "chosen at creation only")  # fmt: skip


def _check_running(what: str, desired: Desired, changes: Changes, current: Current) -> None:
    kind = desired.kind
    if changes.move and not kind.moves_running:
        raise Failure(f"Unable to move {', '.join(sorted(changes.move))} of {what}: it runs (use state: stopped)")
    used = {kind.split(slot, text).get("file"): slot for slot, text in current.effective.items()
            if kind.disk.fullmatch(slot) and "media=cdrom" not in text}  # fmt: skip
    for slot, text in changes.values.items():
        volume = kind.split(slot, text).get("file", "") if kind.disk.fullmatch(slot) else ""
        if ":" in volume and used.get(volume, slot) != slot:
            raise Failure(f"Unable to attach {volume} as {slot} of {what}: it is {used[volume]} of the running guest "
                          "(use state: stopped)")  # fmt: skip


def _late(course: Course, found: Writes, waiting: list[str], what: str) -> None:
    """A restart, if anything waits, then what had to wait for it."""
    if waiting:
        course.actions.append(Action(f"restart {what} for {', '.join(waiting)}", "restart"))
        course.waiting = []
    course.actions += found.late


def _not_now(what: str, course: Course, found: Writes, current: Current) -> None:
    """What a running guest cannot be done before its restart, which nobody asked for."""
    for action in found.late:
        if action.kind == "move" and action.data["slot"] not in {*course.waiting, *current.waiting}:
            course.actions.append(action)
        elif action.kind == "resize":
            slot = action.data["disk"]
            course.warnings.append(f"{what} runs: disk {slot} grows in the first run after its restart")
            shown = {**course.after[slot], "size": course.before.get(slot, {}).get("size")}
            course.after[slot] = {name: value for name, value in shown.items() if value is not None}
        else:
            raise Failure(f"Unable to {action.describe}: it runs and would have to restart first "
                          "(restart: if_needed, or state: stopped)")  # fmt: skip


def _pool(what: str, params: dict[str, Any], current: Current, course: Course) -> None:
    wanted = params.get("pool")
    if wanted is None:
        return
    course.before["pool"], course.after["pool"] = current.pool or "", wanted
    if (current.pool or "") != wanted:
        word = f"put {what} into pool {wanted}" if wanted else f"take {what} out of pool {current.pool}"
        course.actions.append(Action(word, "move_pool", {"old": current.pool, "new": wanted}))


def _template(what: str, params: dict[str, Any], current: Current, course: Course) -> None:
    if params.get("template") is None:
        return
    course.before["template"], course.after["template"] = current.template, params["template"]
    if params["template"] and not current.template:
        if course.running:
            raise Failure(f"Unable to make {what} a template: it runs (use state: stopped)")
        course.actions.append(Action(f"make {what} a template", "template"))


def plan(params: dict[str, Any], desired: Desired, current: Current | None, source: Current | None = None) -> Course:
    """The whole way; ``source`` is the guest to clone, if one is to be cloned."""
    what = f"{desired.kind.word} {params['vmid']}"
    if params["state"] == "absent":
        return plan_absent(what, params, desired, current)
    if params["state"] == "started" and params.get("template"):
        raise Failure(f"Unable to start {what}: a template cannot run")
    if current is None:
        return plan_new(what, params, desired, source)
    return plan_present(what, params, desired, current)
