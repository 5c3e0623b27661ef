# SPDX-License-Identifier: MIT
"""Which images wrote the data that are backed up, and whether those that run now can be trusted with them.

Each repository holds a small record of its own (tag and file ``mediaserver-images``), written before the jobs whenever
an image has changed: tags of the jobs' snapshots would part them into groups that are forgotten separately. It lies in
the repository, as a host that lost everything wants it most.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mediaserver_jobs import Job
from mediaserver_restic import Problem, Restic, last_words

if TYPE_CHECKING:
    from mediaserver_snapshots import Snapshot

NAME = "mediaserver-images"
FILE = f"{NAME}.json"
FORM = '{{.Label "com.docker.compose.project"}} {{.Label "com.docker.compose.service"}} {{.Image}}'
Images = dict[str, dict[str, str]]
"""Service to container to image."""


def running(services: set[str]) -> Images:
    """Of the services' containers; nothing of what does not run."""
    if shutil.which("docker") is None:
        return {}
    done = subprocess.run(["docker", "ps", "--format", FORM], text=True, capture_output=True, check=False)
    found: Images = {}
    for words in (line.split(" ") for line in done.stdout.splitlines()):
        if len(words) == 3 and words[0] in services:
            found.setdefault(words[0], {})[words[1]] = words[2]
    return found


def record(config: dict[str, Any], state: dict[str, Any], restic: Restic) -> None:
    """Into the repository, where it does not know yet. Backups do not fail by it; the next run tries again."""
    known = state.setdefault("images", {}).get(restic.name, {})
    now = {**known, **running({job["service"] for job in config["jobs"]})}
    if now == known:
        return
    text = json.dumps(now, sort_keys=True)
    source = ["--stdin-from-command", "--stdin-filename", FILE, "--", "printf", "%s", text]
    try:
        restic.must("record the images", "backup", "--quiet", "--host", config["host"], "--tag", NAME, *source)
    except Problem as problem:
        print(problem, file=sys.stderr)
        return
    state["images"][restic.name] = now


def recorded(restic: Restic, found: list[Snapshot], chosen: Snapshot) -> Images:
    """As of a snapshot; nothing where none was recorded before it."""
    records = [one for one in found if one.job == NAME and one.time <= chosen.time]
    if not records:
        return {}
    known: Images = json.loads(restic.must("read the record of images", "dump", records[-1].id, f"/{FILE}"))
    return known


def wanted(directory: str | None) -> dict[str, str]:
    """Container to image, as the project would start now; nothing where there is no project."""
    if not directory or not Path(directory, "compose.yaml").exists():
        return {}
    argv = ["docker", "compose", "--project-directory", directory, "config", "--no-interpolate", "--format", "json"]
    done = subprocess.run(argv, text=True, capture_output=True, check=False)
    if done.returncode:
        raise Problem(f"Unable to read {directory}/compose.yaml: {last_words(done.stderr)}")
    services = json.loads(done.stdout).get("services", {})
    return {name: str(body["image"]) for name, body in services.items() if "image" in body}


def same(one: str, other: str) -> bool:
    """Whether two names are one image, perhaps through another mirror."""
    return one == other or one.endswith(f"/{other}") or other.endswith(f"/{one}")


def others(restic: Restic, found: list[Snapshot], chosen: dict[str, Snapshot], jobs: list[Job]) -> list[str]:
    """Containers of one service whose image is another one than when its snapshots were made, in words."""
    now, told = wanted(jobs[0].get("directory")), []
    for job in jobs:
        then = recorded(restic, found, chosen[job["name"]]).get(job["service"], {})
        told += [
            f"{name} was {image}, is {now[name]}"
            for name, image in sorted(then.items())
            if name in now and not same(image, now[name])
        ]
    return list(dict.fromkeys(told))
