# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A virtual machine or container at the API: carry actions out, look again."""

from __future__ import annotations

import functools
import re
import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.homelab.mediaserver.plugins.module_utils import _pve_format as fmt
from ansible_collections.homelab.mediaserver.plugins.module_utils import _reconcile
from ansible_collections.homelab.mediaserver.plugins.module_utils._pve import ApiFailure, Pve, TaskFailure
from ansible_collections.homelab.mediaserver.plugins.module_utils._pve_guest_course import plan
from ansible_collections.homelab.mediaserver.plugins.module_utils._pve_guest_plan import differences
from ansible_collections.homelab.mediaserver.plugins.module_utils._pve_guest_read import POLL, GuestReader
from ansible_collections.homelab.mediaserver.plugins.module_utils._pve_guest_writes import Action, Course, writes
from ansible_collections.homelab.mediaserver.plugins.module_utils._pve_kind import UNUSED, Desired
from ansible_collections.homelab.mediaserver.plugins.module_utils._reconcile import Failure, Plan, Step


class Guest(GuestReader):
    """One guest, and what can be done to it."""

    def __init__(self, pve: Pve, params: dict[str, Any], desired: Desired) -> None:
        super().__init__(pve, params, desired)
        self._restarts_later = False
        self.unplugged: list[str] = []  # what a running guest did not take

    def plan(self, course: Course, exists: bool) -> Plan:
        steps = tuple(Step(action.describe, functools.partial(self.apply, action)) for action in course.actions)
        self._restarts_later = any(action.kind == "restart" for action in course.actions)
        result = {"exists": exists, "pending": course.waiting, "restart_required": bool(course.waiting)}
        return Plan(course.before, course.after, steps, tuple(course.warnings), result)

    def apply(self, action: Action) -> None:
        getattr(self, f"_{action.kind}")(action)
        self._digest = None

    def _create(self, action: Action) -> None:
        self.pve.task("post", self.guests, action.describe, vmid=self.vmid, **action.data)

    def _clone(self, action: Action) -> None:
        params = self.params
        full = params.get("clone_full")
        data: dict[str, Any] = {"newid": self.vmid, self.kind.name: params[self.kind.name]}
        if params.get("clone_storage"):
            full = True if full is None else full  # a linked clone lies where its template lies
            data["storage"] = params["clone_storage"]
        if full is not None:
            data["full"] = full
        if params.get("pool"):
            data["pool"] = params["pool"]
        self.pve.task("post", f"{self.guests}/{params['clone_from']}/clone", action.describe, **data)

    def _converge(self, action: Action) -> None:
        """Bring a fresh clone to what is wanted; its MAC addresses are known only now."""
        current = self.read()
        if current is None:
            raise Failure(f"Unable to {action.describe}: the clone vanished")
        changes = differences(self.vmid, self.desired, current.config)
        changes.values.update(self.desired.secret)
        found = writes(f"{self.kind.word} {self.vmid}", self.desired, changes, current)
        for inner in [*found.early, *found.late]:
            self.apply(inner)

    def _resize(self, action: Action) -> None:
        try:
            data = {**action.data, **self.guard(action.describe)}
            self._written.add(action.data["disk"])
            self.pve.task("put", f"{self.path}/resize", action.describe, **data)
        except (ApiFailure, TaskFailure) as failure:
            if self.unplugged and "does not exist" in failure.message:
                return  # the disk itself waits: the run after the restart grows it
            if "disk is already at specified size" not in failure.message:
                raise
        self._digest = None
        self._tell_size(action)

    def _tell_size(self, action: Action) -> None:
        """A value that waits keeps the size of when it was written and would bring it back: write it anew."""
        slot, size = action.data["disk"], str(action.data["size"])
        current = self.look(action.describe)
        disk = self.kind.split(slot, current.config.get(slot, ""))
        if disk and fmt.size(disk.get("size", "0")) < fmt.size(size):
            told = {} if self.kind.rereads_size else {"size": size}
            text = self.kind.join(slot, {**{k: v for k, v in disk.items() if k != "size"}, **told})
            self.pve.call("put", f"{self.path}/config", action.describe, **{slot: text}, digest=current.digest)

    def _config(self, action: Action) -> None:
        values, delete = action.data["set"], action.data["delete"]
        data: dict[str, Any] = {**values, **self.guard(action.describe)}
        self._written |= {*values, *delete}
        if delete:
            data["delete"] = ",".join(delete)
        if action.data.get("force"):
            data["force"] = 1
        # an import may take minutes: as a task, not within one answer
        slow = any("import-from=" in str(value) for value in values.values())
        try:
            if slow:
                self.pve.task("post", f"{self.path}/config", action.describe, **data)
            else:
                self.pve.call("put", f"{self.path}/config", action.describe, **data)
        except (ApiFailure, TaskFailure) as failure:
            if not _only_hotplug(failure):
                raise
            self._not_hotplugged(action, failure)

    def _not_hotplugged(self, action: Action, failure: Failure) -> None:
        """The running guest did not take it: it is written down and comes into force with the next start."""
        text = failure.message.removeprefix(f"Unable to {action.describe}: ")
        if self.params["restart"] == "if_needed":
            if not self._restarts_later:
                self._restart(action)
            return
        self.unplugged.append(f"{action.describe}: waits for a restart, the running guest did not take it: {text}")

    def _free(self, action: Action) -> None:
        """Destroy the data of volumes that were just detached."""
        current = self.look(action.describe)
        keys = sorted(key for key, text in current.config.items()
                      if UNUSED.fullmatch(key) and text in action.data["volumes"])  # fmt: skip
        if keys:
            self.pve.call("put", f"{self.path}/config", action.describe, delete=",".join(keys), digest=current.digest)

    def _move(self, action: Action) -> None:
        end, parameter = self.kind.move
        data = {parameter: action.data["slot"], "storage": action.data["storage"], "delete": 1}
        data |= self.guard(action.describe)
        self._written.add(action.data["slot"])
        self.pve.task("post", f"{self.path}/{end}", action.describe, **data)

    def _move_pool(self, action: Action) -> None:
        old, new = action.data["old"], action.data["new"]
        if old:
            self.pve.call("put", "pools", action.describe, poolid=old, vms=self.vmid, delete=1)
        if new:
            self.pve.call("put", "pools", action.describe, poolid=new, vms=self.vmid)

    def _start(self, action: Action) -> None:
        self._power(action, "start", "running")

    def _stop(self, action: Action) -> None:
        self._power(action, "stop", "stopped")

    def _shutdown(self, action: Action) -> None:
        self._power(action, "shutdown", "stopped", timeout=self.params["shutdown_timeout"])

    def _power(self, action: Action, verb: str, wanted: str, **data: Any) -> None:
        """With high availability the task only asks for it, so its end is waited for."""
        self._seen = None  # a start writes what it likes: the next look begins anew
        try:
            self.pve.task("post", f"{self.path}/status/{verb}", action.describe, **data)
        except (ApiFailure, TaskFailure) as failure:
            if not re.search(r"already running$" if verb == "start" else r" not running$", failure.message):
                raise  # else somebody was faster
        deadline = time.monotonic() + self.pve.task_timeout
        while self._ha:
            state = self.pve.get_dict(f"{self.path}/status/current", action.describe).get("status")
            if state == wanted:
                return
            if time.monotonic() > deadline:
                raise Failure(f"Unable to {action.describe}: high availability was asked for it, but it is {state}")
            time.sleep(POLL)

    def _restart(self, action: Action) -> None:
        """Guest agent or ACPI first; what waited comes into force with the start."""
        (self._stop if self.params.get("force") else self._shutdown)(action)
        self._start(action)

    def _template(self, action: Action) -> None:
        answer = self.pve.task("post", f"{self.path}/template", action.describe)
        if answer is None:  # a container's answer comes at once and names no task
            kind = {"vmid": self.vmid, "typefilter": "vztemplate", "source": "all"}
            rows = self.pve.get_list(f"nodes/{self.node}/tasks", action.describe, **kind)
            newest = max(rows, key=lambda row: int(row.get("starttime", 0)), default={})
            if newest.get("upid"):
                self.pve.wait(str(newest["upid"]), action.describe)

    def _destroy(self, action: Action) -> None:
        data = {"purge": self.params["purge"], "destroy-unreferenced-disks": self.params["destroy_unreferenced_disks"]}
        try:
            self.pve.task("delete", self.path, action.describe, **data)
        except ApiFailure as failure:
            if not failure.is_missing_vm(self.vmid):
                raise  # else somebody was faster


def _only_hotplug(failure: Failure) -> bool:
    """Did the API write everything down and fail only to give it to the running guest?"""
    if isinstance(failure, ApiFailure):
        texts = [str(text) for text in failure.errors.values()]
        marks = ("hotplug problem", "unable to hotplug")
        return failure.status == 400 and bool(texts) and all(any(mark in text for mark in marks) for text in texts)
    return "400 Parameter verification failed" in failure.message and "hotplug problem" in failure.message


def work(module: AnsibleModule, desired: Desired) -> dict[str, Any]:
    """The whole run of a module that declares one guest."""
    params = module.params
    pve = Pve(params)
    guest = Guest(pve, params, desired)
    current, source = guest.read(), None
    if current is None and params.get("clone_from") and params["state"] != "absent":
        source = guest.read(params["clone_from"])
        if source is None:
            to = f"clone {desired.kind.word} {params['clone_from']}"
            raise Failure(f"Unable to {to}: it does not exist on {params['node']}")
    plan_ = guest.plan(plan(params, desired, current, source), current is not None)
    unchanged = not plan_.steps and current is not None
    result = _reconcile.run(module, plan_, lambda: guest.facts(current) if unchanged and current else guest.read_back())
    for text in guest.unplugged:
        module.warn(text)
    return {**result, "task_warnings": [*pve.warnings, *guest.unplugged]}
