# SPDX-License-Identifier: MIT
"""The state of the fake: configurations, volumes, mappings, tasks. Saved after each change: a killed fake goes on."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from .driver import MachineDriver, NullDriver
from .errors import ApiError, TaskError

GIB = 1024**3
HD_530: dict[str, Any] = {
    "id": "0000:00:02.0", "class": "0x030000", "vendor": "0x8086", "device": "0x1912", "iommugroup": 0,
    "vendor_name": "Intel Corporation", "device_name": "HD Graphics 530", "subsystem_vendor": "0x1462",
    "subsystem_device": "0x7972", "subsystem_vendor_name": "Micro-Star International Co., Ltd. [MSI]",
}  # fmt: skip
USB_CONTROLLER: dict[str, Any] = {
    "id": "0000:00:14.0", "class": "0x0c0330", "vendor": "0x8086", "device": "0xa12f", "iommugroup": 1,
    "vendor_name": "Intel Corporation", "device_name": "100 Series/C230 Series Chipset Family USB 3.0 xHCI Controller",
}  # fmt: skip


def empty_world(node: str) -> dict[str, Any]:
    return {
        "node": node,
        "vms": {},
        "cts": {},  # containers: configuration and a word for whether they run
        "elsewhere": [],  # guests of other nodes, as rows of /cluster/resources
        "ha_managed": [],  # numbers of guests that high availability starts and stops
        "volumes": {},  # volid -> {"size": bytes, "format": str, "vmid": int | None}
        "storages": {
            "local": {"type": "dir", "path": "/var/lib/vz", "content": "iso,vztmpl,backup,import,snippets,images",
                      "prune-backups": "keep-all=1"},
            "local-lvm": {"type": "lvmthin", "vgname": "pve", "thinpool": "data", "content": "rootdir,images"},
        },
        "pci": [HD_530, USB_CONTROLLER],
        "mappings": {"pci": {}, "dir": {}},
        "firewall": {},
        "pools": {},
        "tasks": {},
        "counter": 1,
    }  # fmt: skip


class World:
    """All state, one lock. Handlers run under it; what takes long (machines, downloads) runs in tasks without it."""

    def __init__(self, directory: Path | None = None, *, release: str = "9.1", node: str = "pve",
                 root: Path = Path("/"), driver: MachineDriver | None = None) -> None:  # fmt: skip
        self.release = release
        self.root = root
        self.driver: MachineDriver = driver or NullDriver()
        self.lock = threading.RLock()
        self.vm_locks: dict[int, threading.Lock] = {}
        self.task_delay = 0.0
        self.hotplug_fails: dict[str, str] = {}  # key -> why a running guest does not take it
        self._file = directory / "state.json" if directory else None
        self.data = empty_world(node)
        if directory and self._file:
            directory.mkdir(parents=True, exist_ok=True)
            if self._file.exists():
                self.data |= json.loads(self._file.read_text())
        self._recover()

    @property
    def node(self) -> str:
        return str(self.data["node"])

    def save(self) -> None:
        """Write the state atomically."""
        if self._file is None:
            return
        with self.lock:
            text = json.dumps(self.data, indent=1, sort_keys=True)
            temporary = self._file.with_suffix(".tmp")
            temporary.write_text(text)
            temporary.replace(self._file)

    def _recover(self) -> None:
        """What the killed predecessor left: tasks that will never end, locked VMs."""
        for task in self.data["tasks"].values():
            if task["status"] == "running":
                task.update(status="stopped", exitstatus="unexpected status")
        for kind in ("vms", "cts"):
            for ident, guest in list(self.data[kind].items()):
                if guest["conf"].pop("lock", None) in ("create", "clone"):
                    del self.data[kind][ident]

    def path(self, on_node: str) -> Path:
        """A path of the node as a path here."""
        return self.root / on_node.lstrip("/")

    def number(self) -> int:
        self.data["counter"] += 1
        return int(self.data["counter"])

    def vm_lock(self, vmid: int) -> threading.Lock:
        with self.lock:
            return self.vm_locks.setdefault(vmid, threading.Lock())

    def running(self, vmid: int) -> bool:
        return vmid in self.driver.running()

    # tasks

    def task(self, kind: str, ident: object, user: str, work: Callable[[list[str]], None]) -> str:
        """Start ``work`` in the background and return its UPID. It fails by raising, its log is a list."""
        now = int(time.time())
        with self.lock:
            pid = self.number()
            encoded = re.sub(r"[^A-Za-z0-9.-]", lambda match: f"-{ord(match[0]):02X}", str(ident))
            upid = f"UPID:{self.node}:{pid:08X}:{pid * 7:08X}:{now:08X}:{kind}:{encoded}:{user}:"
            self.data["tasks"][upid] = {
                "upid": upid, "node": self.node, "pid": pid, "pstart": pid * 7, "starttime": now, "type": kind,
                "id": str(ident), "user": user, "status": "running", "log": [],
            }  # fmt: skip
            self.save()
        threading.Thread(target=self._run_task, args=(upid, work), daemon=True).start()
        return upid

    def _run_task(self, upid: str, work: Callable[[list[str]], None]) -> None:
        log: list[str] = []
        if self.task_delay:
            time.sleep(self.task_delay)
        try:
            work(log)
            warnings = sum(line.startswith("WARN: ") for line in log)
            exitstatus = f"WARNINGS: {warnings}" if warnings else "OK"
        except (TaskError, ApiError) as error:
            exitstatus = str(error).rstrip("\n")
            log.append(f"TASK ERROR: {exitstatus}")
        except Exception as error:  # a driver's trouble must end the task, never the server
            exitstatus = f"{type(error).__name__}: {error}" if not str(error) else str(error)
            log.append(f"TASK ERROR: {exitstatus}")
        with self.lock:
            task = self.data["tasks"].get(upid)
            if task is not None:
                task.update(status="stopped", exitstatus=exitstatus, log=log, endtime=int(time.time()))
            self.save()

    @contextlib.contextmanager
    def changing(self) -> Iterator[None]:
        """Hold the lock and save at the end."""
        with self.lock:
            yield
            self.save()


def digest(value: Any) -> str:
    return hashlib.sha1(json.dumps(value, sort_keys=True).encode()).hexdigest()


def human(size: int) -> str:
    """Bytes as Proxmox writes them in a disk's ``size=``: the largest unit that divides."""
    for unit, factor in (("T", 1024**4), ("G", GIB), ("M", 1024**2), ("K", 1024)):
        if size >= factor and size % factor == 0:
            return f"{size // factor}{unit}"
    return str(size)


def in_bytes(text: str) -> int:
    units = {"K": 1024, "M": 1024**2, "G": GIB, "T": 1024**4}
    if text[-1:] in units:
        return int(float(text[:-1]) * units[text[-1]])
    return int(text)
