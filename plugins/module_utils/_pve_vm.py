# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A VM at the API: read it in two or three calls, carry actions out, look again."""

from __future__ import annotations

import functools
import time
from typing import Any

from ansible_collections.homelab.mediaserver.plugins.module_utils._pve import ApiFailure, Pve
from ansible_collections.homelab.mediaserver.plugins.module_utils._pve_vm_actions import Action, Course, write_actions
from ansible_collections.homelab.mediaserver.plugins.module_utils._pve_vm_desired import Desired
from ansible_collections.homelab.mediaserver.plugins.module_utils._pve_vm_plan import (
    Current,
    current_from,
    differences,
)
from ansible_collections.homelab.mediaserver.plugins.module_utils._reconcile import Failure, Plan, Step

UNFINISHED = ("create", "clone")
LOCK_POLL = 1.0


class Vm:
    """One VM of one node."""

    def __init__(self, pve: Pve, params: dict[str, Any], desired: Desired) -> None:
        self.pve = pve
        self.params = params
        self.desired = desired
        self.vmid = int(params["vmid"])
        self.vms = f"nodes/{params['node']}/qemu"
        self.path = f"{self.vms}/{self.vmid}"
        self._digest: str | None = None

    # reading

    def read(self, vmid: int | None = None) -> Current | None:
        """The VM or None; one that is still being made is waited for."""
        number = vmid or self.vmid
        path, to = f"{self.vms}/{number}", f"read VM {number}"
        deadline = time.monotonic() + self.pve.task_timeout
        while True:
            try:
                pending = self.pve.get_list(f"{path}/pending", to)
            except ApiFailure as failure:
                if failure.is_missing_vm(number):
                    return None
                raise
            current = current_from(pending, {})
            if current.config.get("lock") not in UNFINISHED:
                break
            if time.monotonic() > deadline:
                raise Failure(f"Unable to use VM {number}: it is locked ({current.config['lock']})")
            time.sleep(LOCK_POLL)
        status = self.pve.get_dict(f"{path}/status/current", to)
        found = current_from(pending, status, self._pool(number))
        if number == self.vmid:
            self._digest = found.digest
        return found

    def _pool(self, vmid: int) -> str | None:
        if self.params.get("pool") is None:
            return None
        rows = self.pve.get_list("cluster/resources", f"read the pool of VM {vmid}", type="vm")
        return next((row.get("pool") for row in rows if row.get("vmid") == vmid), None)

    def read_back(self) -> dict[str, Any]:
        """What the result says of the VM after the writes."""
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
        result = {"exists": exists, "pending": course.waiting, "restart_required": bool(course.waiting)}
        return Plan(course.before, course.after, steps, tuple(course.warnings), result)

    def apply(self, action: Action) -> None:
        getattr(self, f"_{action.kind}")(action)
        self._digest = None

    def _create(self, action: Action) -> None:
        self.pve.task("post", self.vms, action.describe, vmid=self.vmid, **action.data)

    def _clone(self, action: Action) -> None:
        params = self.params
        data: dict[str, Any] = {"newid": self.vmid, "name": params["name"]}
        if params.get("clone_full") is not None:
            data["full"] = params["clone_full"]
        if params.get("pool"):
            data["pool"] = params["pool"]
        if params.get("clone_storage"):
            data["storage"] = params["clone_storage"]
        self.pve.task("post", f"{self.vms}/{params['clone_from']}/clone", action.describe, **data)

    def _converge(self, action: Action) -> None:
        """Bring a fresh clone to what is wanted; its MAC addresses are known only now."""
        current = self.read()
        if current is None:
            raise Failure(f"Unable to {action.describe}: the clone vanished")
        changes = differences(self.vmid, self.desired, current.config)
        changes.values.update(self.desired.secret)
        for inner in write_actions(self.vmid, self.desired, changes):
            self.apply(inner)

    def _resize(self, action: Action) -> None:
        self.pve.task("put", f"{self.path}/resize", action.describe, **action.data, **self._guard())

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
        if slow:
            self.pve.task("post", f"{self.path}/config", action.describe, **data)
        else:
            self.pve.call("put", f"{self.path}/config", action.describe, **data)

    def _move_pool(self, action: Action) -> None:
        old, new = action.data["old"], action.data["new"]
        if old:
            self.pve.call("put", "pools", action.describe, poolid=old, vms=self.vmid, delete=1)
        if new:
            self.pve.call("put", "pools", action.describe, poolid=new, vms=self.vmid)

    def _start(self, action: Action) -> None:
        self.pve.task("post", f"{self.path}/status/start", action.describe)

    def _stop(self, action: Action) -> None:
        self.pve.task("post", f"{self.path}/status/stop", action.describe)

    def _shutdown(self, action: Action) -> None:
        self.pve.task("post", f"{self.path}/status/shutdown", action.describe, timeout=self.params["shutdown_timeout"])

    def _restart(self, action: Action) -> None:
        """Guest agent or ACPI first; what waited comes into force with the start."""
        self._shutdown(action)
        self._start(action)

    def _template(self, action: Action) -> None:
        self.pve.task("post", f"{self.path}/template", action.describe)

    def _destroy(self, action: Action) -> None:
        data = {"purge": self.params["purge"], "destroy-unreferenced-disks": self.params["destroy_unreferenced_disks"]}
        self.pve.task("delete", self.path, action.describe, **data)
