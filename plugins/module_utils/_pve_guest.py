# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A virtual machine or container at the API: read it in two or three calls, carry actions out, look again."""

from __future__ import annotations

import functools
import re
import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.homelab.mediaserver.plugins.module_utils import _pve_format as fmt
from ansible_collections.homelab.mediaserver.plugins.module_utils import _reconcile
from ansible_collections.homelab.mediaserver.plugins.module_utils._pve import ApiFailure, Pve, TaskFailure
from ansible_collections.homelab.mediaserver.plugins.module_utils._pve_guest_course import Action, Course, plan, writes
from ansible_collections.homelab.mediaserver.plugins.module_utils._pve_guest_plan import (
    Current,
    current_from,
    differences,
)
from ansible_collections.homelab.mediaserver.plugins.module_utils._pve_kind import UNUSED, Desired
from ansible_collections.homelab.mediaserver.plugins.module_utils._reconcile import Failure, Plan, Step

UNFINISHED = ("create", "clone")
POLL = 1.0
WORDS = {"qemu": "VM", "lxc": "container"}


class Guest:
    """One guest of one node."""

    def __init__(self, pve: Pve, params: dict[str, Any], desired: Desired) -> None:
        self.pve = pve
        self.params = params
        self.desired = desired
        self.kind = desired.kind
        self.vmid = int(params["vmid"])
        self.node = str(params["node"])
        self.guests = f"nodes/{self.node}/{self.kind.path}"
        self.path = f"{self.guests}/{self.vmid}"
        self._digest: str | None = None
        self._ha = False
        self._restarts_later = False
        self.unplugged: list[str] = []  # what a running guest did not take

    # reading

    def read(self, vmid: int | None = None) -> Current | None:
        """The guest or None; one that is still being made is waited for."""
        number = vmid or self.vmid
        path, to = f"{self.guests}/{number}", f"read {self.kind.word} {number}"
        deadline = time.monotonic() + self.pve.task_timeout
        while True:
            try:
                pending = self.pve.get_list(f"{path}/pending", to)
            except ApiFailure as failure:
                if failure.is_missing_vm(number):
                    self._nowhere_else(number)
                    return None
                if self._hidden(failure, number):
                    return None
                raise
            current = current_from(pending, {})
            if current.config.get("lock") not in UNFINISHED:
                break
            if time.monotonic() > deadline:
                lock = current.config["lock"]
                raise Failure(f"Unable to use {self.kind.word} {number}: it is locked ({lock})")
            time.sleep(POLL)
        status = self.pve.get_dict(f"{path}/status/current", to)
        found = current_from(pending, status, self._pool(number))
        if number == self.vmid:
            self._digest, self._ha = found.digest, found.ha
        return found

    def _hidden(self, failure: ApiFailure, vmid: int) -> bool:
        """With rights on a pool only, a guest that is not in it yet cannot be asked for; creating it tells the rest."""
        pooled = bool(self.params.get("pool")) and self.params["state"] != "absent"
        return pooled and failure.status == 403 and not self._row(vmid)

    def _row(self, vmid: int) -> dict[str, Any]:
        """What the whole cluster says of this number."""
        rows = self.pve.get_list("cluster/resources", f"look for {self.kind.word} {vmid} in the cluster", type="vm")
        return next((row for row in rows if str(row.get("vmid")) == str(vmid)), {})

    def _pool(self, vmid: int) -> str | None:
        return self._row(vmid).get("pool") if self.params.get("pool") is not None else None

    def _nowhere_else(self, vmid: int) -> None:
        """The node does not have it: is the number taken elsewhere, or by something else?"""
        row = self._row(vmid)
        kind, node = str(row.get("type", "")), str(row.get("node", ""))
        if not row or (kind == self.kind.path and node == self.node):
            return
        what, name = f"{self.kind.word} {vmid}", row.get("name", "")
        if kind != self.kind.path:
            if self.params["state"] == "absent":
                return  # there is no such VM (or container), as wanted
            raise Failure(
                f"Unable to use {what} on {self.node}: {vmid} is the {WORDS.get(kind, kind)} {name} of node {node}"
            )
        raise Failure(f"Unable to use {what} on {self.node}: {name} is on node {node} (say node: {node})")

    def read_back(self) -> dict[str, Any]:
        """What the result says of the guest after the writes."""
        current = self.read()
        if current is None:
            return {"exists": False, "status": "absent", "pending": [], "restart_required": False, "config": {}}
        return self.facts(current)

    def facts(self, current: Current) -> dict[str, Any]:
        waiting = sorted(current.waiting) if current.running else []
        config = {key: value for key, value in current.config.items() if key != "cipassword"}
        return {"exists": True, "status": "running" if current.running else "stopped", "pending": waiting,
                "restart_required": bool(waiting), "config": config}  # fmt: skip

    # writing

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
            self.pve.task("put", f"{self.path}/resize", action.describe, **action.data, **self._guard())
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
        current = current_from(self.pve.get_list(f"{self.path}/pending", action.describe), {})
        disk = self.kind.split(slot, current.config.get(slot, ""))
        if disk and fmt.size(disk.get("size", "0")) < fmt.size(size):
            told = {} if self.kind.rereads_size else {"size": size}
            text = self.kind.join(slot, {**{k: v for k, v in disk.items() if k != "size"}, **told})
            self.pve.call("put", f"{self.path}/config", action.describe, **{slot: text}, digest=current.digest)

    def _guard(self) -> dict[str, str]:
        """The digest of what was read: the first write fails if somebody else wrote in between."""
        return {"digest": self._digest} if self._digest else {}

    def _config(self, action: Action) -> None:
        values, delete = action.data["set"], action.data["delete"]
        data: dict[str, Any] = {**values, **self._guard()}
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
        current = current_from(self.pve.get_list(f"{self.path}/pending", action.describe), {})
        keys = sorted(key for key, text in current.config.items()
                      if UNUSED.fullmatch(key) and text in action.data["volumes"])  # fmt: skip
        if keys:
            self.pve.call("put", f"{self.path}/config", action.describe, delete=",".join(keys), digest=current.digest)

    def _move(self, action: Action) -> None:
        end, parameter = self.kind.move
        data = {parameter: action.data["slot"], "storage": action.data["storage"], "delete": 1}
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
        self.pve.task("post", f"{self.path}/template", action.describe)

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
