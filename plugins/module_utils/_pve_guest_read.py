# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A virtual machine or container at the API, read in two or three calls."""

from __future__ import annotations

import re
import time
from typing import Any

from ansible_collections.homelab.mediaserver.plugins.module_utils._pve import ApiFailure, Pve
from ansible_collections.homelab.mediaserver.plugins.module_utils._pve_guest_plan import Current, current_from
from ansible_collections.homelab.mediaserver.plugins.module_utils._pve_kind import Config, Desired
from ansible_collections.homelab.mediaserver.plugins.module_utils._reconcile import Failure

UNFINISHED = ("create", "clone")
POLL = 1.0
WORDS = {"qemu": "VM", "lxc": "container"}
# what a write changes besides the keys that it names: devices leave and enter the boot order, volumes become unused,
# the kind of guest pins the machine
LOOSE = re.compile(r"boot|bootdisk|lock|machine|unused\d+")


class GuestReader:
    """One guest of one node; knows what it said when it was last looked at, and which keys were written since."""

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
        self._seen: Config | None = None
        self._written: set[str] = set()
        self._ha = False

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
            self._digest, self._ha, self._seen = found.digest, found.ha, found.config
        return found

    def look(self, to: str) -> Current:
        """The guest once more, before a write that is not the first; what was not written must be as it was."""
        current = current_from(self.pve.get_list(f"{self.path}/pending", to), {})
        if self._seen is not None:
            keys = {*self._seen, *current.config} - self._written
            foreign = sorted(k for k in keys if self._seen.get(k) != current.config.get(k) and not LOOSE.fullmatch(k))
            if foreign:
                raise Failure(f"Unable to {to}: somebody else changed {', '.join(foreign)} in between; run again")
        self._digest, self._seen = current.digest, current.config
        return current

    def guard(self, to: str) -> dict[str, str]:
        """The digest that makes a write fail if somebody else wrote since the plan was made.

        Every write changes it, so each write after the first looks again. The API takes one where a configuration is
        written, a disk grown or moved; creating, cloning, destroying, starting, stopping, making a template and
        changing a pool have no such parameter.
        """
        if self._digest is None:
            self.look(to)
        return {"digest": self._digest} if self._digest else {}

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
