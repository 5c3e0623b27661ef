# SPDX-License-Identifier: MIT
"""Job queues as their figures show from outside: one worker, waiting, active, paused; nothing completed is kept."""

from __future__ import annotations

import gzip
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import api
import redis
import release
from api import Caller, body, field, invalid, now, route
from config_document import QUEUES
from standin import Reply, Request, log, real_path


@dataclass(eq=False)
class Job:
    due: float  # when it starts; once it runs, when it ends
    seconds: float
    queue: str
    work: Callable[[], None]


PACE = float(os.environ.get("LAB_TEST_PACE", "1"))
lock = threading.Condition()
active = dict.fromkeys(QUEUES, 0)
waiting: list[Job] = []
running: list[Job] = []
paused: set[str] = set()
state = {"working": True}
starters: dict[str, Callable[[], None]] = {}  # what "start" of a queue does
media_folder = "/data"


def clock() -> float:
    """Seconds; the unit tests' fake puts its own clock here and calls ``step`` itself."""
    return time.monotonic()


def enqueue(queue: str, work: Callable[[], None], seconds: float = 0.1, delay: float = 0) -> None:
    """delay: a gap in which no queue shows the job, as between a crawl and its imports."""
    redis.ping()
    with lock:
        waiting.append(Job(clock() + delay * PACE, seconds * PACE, queue, work))
        lock.notify()


def step() -> bool:
    """The one worker: end the job that has had its time, or start one that is due; False: nothing to do now."""
    with lock:
        job = running[0] if running else None
        if job is None:
            due = [each for each in waiting if each.due <= clock() and each.queue not in paused]
            if not due or not state["working"]:
                return False
            waiting.remove(due[0])
            due[0].due = clock() + due[0].seconds
            running.append(due[0])
            active[due[0].queue] += 1
            return True
        if job.due > clock():
            return False
    try:
        with api.app.lock:
            job.work()
    except Exception as error:
        log("immich-server", f"job in {job.queue} failed: {error}")
    with lock:
        running.remove(job)
        active[job.queue] -= 1
    return True


def run() -> None:
    while True:
        if not step():
            with lock:
                lock.wait(0.02)


def counts(queue: str) -> dict[str, int]:
    with lock:
        queued = sum(job.queue == queue and job.due <= clock() for job in waiting)
        held = queue in paused
        return {"active": active[queue], "completed": 0, "failed": 0, "delayed": 0,
                "waiting": 0 if held else queued, "paused": queued if held else 0}  # fmt: skip


def _old_form(queue: str) -> dict[str, Any]:
    figures = counts(queue)
    return {"queueStatus": {"isActive": figures["active"] > 0, "isPaused": queue in paused}, "jobCounts": figures}


def _new_form(queue: str) -> dict[str, Any]:
    return {"name": queue, "isPaused": queue in paused, "statistics": counts(queue)}


def _queue(request: Request) -> str:
    if request.params["name"] not in QUEUES:
        raise invalid(("name", "Invalid option"))
    return request.params["name"]


@route("GET", "/jobs", "job.read", admin=True)
def list_jobs(request: Request, caller: Caller) -> Any:
    return {queue: _old_form(queue) for queue in QUEUES}


@route("POST", "/jobs", "job.create", admin=True)
def create_job(request: Request, caller: Caller) -> Any:
    name = field(body(request), "name", str, True)
    if name == "backup-database":
        enqueue("backupDatabase", backup)
    elif name not in ("person-cleanup", "tag-cleanup", "user-cleanup", "memory-cleanup", "memory-create"):
        raise invalid(("name", "Invalid option"))
    return Reply(204)


@route("PUT", "/jobs/{name}", "job.create", admin=True)
def command(request: Request, caller: Caller) -> Any:
    queue, given = _queue(request), body(request)
    wanted = field(given, "command", str, True)
    if wanted not in ("start", "pause", "resume", "empty", "clear-failed"):
        raise invalid(("command", "Invalid option"))
    if wanted in ("pause", "resume"):
        _pause(queue, wanted == "pause")
    elif wanted == "empty":
        with lock:
            waiting[:] = [job for job in waiting if job.queue != queue]
    elif wanted == "start" and queue in starters:
        starters[queue]()
    return _old_form(queue)


def _pause(queue: str, hold: bool) -> None:
    with lock:
        (paused.add if hold else paused.discard)(queue)
        lock.notify()


@route("GET", "/queues", "queue.read", admin=True, since=(2, 4))
def list_queues(request: Request, caller: Caller) -> Any:
    return [_new_form(queue) for queue in QUEUES]


@route("GET", "/queues/{name}", "queue.read", admin=True, since=(2, 4))
def get_queue(request: Request, caller: Caller) -> Any:
    return _new_form(_queue(request))


@route("PUT", "/queues/{name}", "queue.update", admin=True, since=(2, 4))
def update_queue(request: Request, caller: Caller) -> Any:
    queue = _queue(request)
    hold = field(body(request), "isPaused", bool)
    if hold is not None:
        _pause(queue, hold)
    return _new_form(queue)


# --- the server's own database backup


def backup() -> None:
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
    name = f"immich-db-backup-{stamp}-v{release.text()}-pg17.sql.gz"
    file = real_path(f"{media_folder}/backups/{name}")
    file.write_bytes(gzip.compress(("-- stand-in's dump, " + now() + "\n" + api.database.dump()).encode()))


starters["backupDatabase"] = lambda: enqueue("backupDatabase", backup)


@route("GET", "/admin/database-backups", "backup.list", admin=True, since=(2, 5))
def list_backups(request: Request, caller: Caller) -> Any:
    files = sorted(real_path(f"{media_folder}/backups").glob("*.sql.gz"), reverse=True)
    return {"backups": [{"filename": file.name, "filesize": file.stat().st_size, "timezone": "UTC"} for file in files]}
