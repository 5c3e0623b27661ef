# SPDX-License-Identifier: MIT
"""What stands behind the fake Proxmox VE API and runs "virtual machines".

The fake keeps configurations, disks and tasks as data; a :class:`MachineDriver` makes something real of them (the lab's
driver boots Debian machines in containers). The fake serialises calls for the same machine.
"""

from __future__ import annotations

from typing import Protocol

Config = dict[str, str | int]
"""A VM's configuration in the API's own shape, pending changes merged: ``{"cores": 2, "memory": "2048", "net0":
"virtio=BC:24:11:00:00:01,bridge=vmbr0", "scsi0": "local-lvm:vm-101-disk-0,size=40G", "ipconfig0": "…"}``.
"""


class DriverError(Exception):
    """A machine could not be made, started or stopped; the text becomes the exit status of the task."""


class MachineDriver(Protocol):
    """Runs machines. Every method may raise :class:`DriverError`; a call that has nothing to do succeeds.

    A driver must survive a restart of the fake: ``running()`` is asked at start-up, and the answer is the truth.
    """

    def create(self, vmid: int, config: Config) -> None:
        """A VM was created. It does not run yet; a driver may do nothing until :meth:`start`."""

    def start(self, vmid: int, config: Config, virtiofs: dict[str, str], vendor_data: str | None) -> None:
        """Boot the machine with this configuration.

        ``virtiofs`` maps tag (the directory mapping's id) to the directory's path on the node; ``vendor_data`` is the
        text of the vendor snippet of ``cicustom``, read at start as the real thing does, or None.
        """

    def hotplug(self, vmid: int, config: Config, virtiofs: dict[str, str]) -> None:
        """The disks of a running machine changed: show it those of now and their sizes."""

    def stop(self, vmid: int) -> None:
        """Pull the plug; disks stay."""

    def shutdown(self, vmid: int) -> None:
        """Shut down cleanly and return once the machine is off; disks stay."""

    def destroy(self, vmid: int) -> None:
        """Remove the machine and its disks."""

    def running(self) -> set[int]:
        """The ids of the machines that run now."""


class NullDriver:
    """No machines, only the memory of which would run: for unit tests."""

    def __init__(self) -> None:
        self._running: set[int] = set()
        self.calls: list[tuple[str, int]] = []
        self.fail_start: str | None = None

    def create(self, vmid: int, config: Config) -> None:
        self.calls.append(("create", vmid))

    def start(self, vmid: int, config: Config, virtiofs: dict[str, str], vendor_data: str | None) -> None:
        self.calls.append(("start", vmid))
        if self.fail_start is not None:
            raise DriverError(self.fail_start)
        self._running.add(vmid)

    def hotplug(self, vmid: int, config: Config, virtiofs: dict[str, str]) -> None:
        self.calls.append(("hotplug", vmid))

    def stop(self, vmid: int) -> None:
        self.calls.append(("stop", vmid))
        self._running.discard(vmid)

    def shutdown(self, vmid: int) -> None:
        self.calls.append(("shutdown", vmid))
        self._running.discard(vmid)

    def destroy(self, vmid: int) -> None:
        self.calls.append(("destroy", vmid))
        self._running.discard(vmid)

    def running(self) -> set[int]:
        return set(self._running)
