# SPDX-License-Identifier: MIT
"""Job queues as their figures show from outside: one worker, waiting, active, paused; nothing completed is kept."""

from __future__ import annotations

import gzip
import os
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import api
import redis
from api import Caller, body, field, invalid, now, refuse, route
from config_document import QUEUES
from standin import Reply, Request, log, real_path

PACE = float(os.environ.get("LAB_TEST_PACE", "1"))
lock = threading.Condition()
active = dict.fromkeys(QUEUES, 0)
waiting: list[tuple[float, float, str, Callable[[], None]]] = []
paused: set[str] = set()
state = {"working": True}
media_folder = "/data"


def enqueue(queue: str, work: Callable[[], None], seconds: float = 0.1, delay: float = 0) -> None:
    """delay: a gap in which no queue shows the job, as between a crawl and its imports."""
    redis.ping()
    with lock:
        waiting.append((time.monotonic() + delay * PACE, seconds * PACE, queue, work))
        lock.notify()


def _next() -> tuple[float, float, str, Callable[[], None]] | None:
    for job in waiting:
        if job[0] <= time.monotonic() and job[2] not in paused and state["working"]:
            waiting.remove(job)
            return job
    return None


def run() -> None:
    while True:
        with lock:
            job = _next()
            if not job:
                lock.wait(0.05)
                continue
            active[job[2]] += 1
        time.sleep(job[1])
        try:
            with api.app.lock:
                job[3]()
        except Exception as error:
            log("immich-server", f"job in {job[2]} failed: {error}")
        with lock:
            active[job[2]] -= 1


def counts(queue: str) -> dict[str, int]:
    with lock:
        queued = sum(job[2] == queue and job[0] <= time.monotonic() for job in waiting)
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
            waiting[:] = [job for job in waiting if job[2] != queue]
    elif wanted == "start" and queue == "library":
        import libraries

        libraries.scan_all()
    elif wanted == "start" and queue == "backupDatabase":
        enqueue("backupDatabase", backup)
    return _old_form(queue)


def _pause(queue: str, hold: bool) -> None:
    with lock:
        (paused.add if hold else paused.discard)(queue)
        lock.notify()


if not api.OLD:

    @route("GET", "/queues", "queue.read", admin=True)
    def list_queues(request: Request, caller: Caller) -> Any:
        return [_new_form(queue) for queue in QUEUES]

    @route("GET", "/queues/{name}", "queue.read", admin=True)
    def get_queue(request: Request, caller: Caller) -> Any:
        return _new_form(_queue(request))

    @route("PUT", "/queues/{name}", "queue.update", admin=True)
    def update_queue(request: Request, caller: Caller) -> Any:
        queue = _queue(request)
        hold = field(body(request), "isPaused", bool)
        if hold is not None:
            _pause(queue, hold)
        return _new_form(queue)


# --- the server's own database backup


def backup() -> None:
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
    name = f"immich-db-backup-{stamp}-v{'.'.join(map(str, api.VERSION.values()))}-pg17.sql.gz"
    file = real_path(f"{media_folder}/backups/{name}")
    file.write_bytes(gzip.compress(("-- stand-in's dump, " + now() + "\n" + api.database.dump()).encode()))


@route("GET", "/admin/database-backups", "backup.list", admin=True)
def list_backups(request: Request, caller: Caller) -> Any:
    if api.OLD:
        raise refuse(404, f"Cannot GET {request.path}")
    files = sorted(real_path(f"{media_folder}/backups").glob("*.sql.gz"), reverse=True)
    return {"backups": [{"filename": file.name, "filesize": file.stat().st_size, "timezone": "UTC"} for file in files]}
