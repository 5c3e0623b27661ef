# SPDX-License-Identifier: MIT
"""Look after the mounts of a host: bring back what is away, mount anew what is dead, tell Prometheus.

    mediaserver_mounts.py [CONFIGURATION]

systemd starts it every half minute. While all is well it costs one `docker ps` and a short-lived child for each mount:
a child lists the mount point, as that may hang for ever. A mount that is disabled is left alone, and so is whatever
somebody unmounts after `systemctl stop mediaserver-mounts.timer`.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

CONFIGURATION = "/etc/mediaserver/mounts.json"
MOUNTINFO = Path("/proc/self/mountinfo")
WELL, AWAY, DEAD, HUNG = "well", "away", "dead", "hung"
# Who may not look is not away
HARMLESS = (errno.EACCES, errno.EPERM)


def decide(kind: str, seen: str, misses: int, patience: int, unit: dict[str, str]) -> str:
    """What to do: ``start``, ``restart`` or nothing. ``misses``: how often in a row it was not well, with this time."""
    state = unit.get("ActiveState", "")
    if unit.get("UnitFileState") != "enabled" or seen == WELL or state in ("activating", "deactivating", "reloading"):
        return ""
    if seen == AWAY and state != "active":
        return "start"
    # NFS, virtiofs and disks that hang go on where they were by themselves, rclone does not
    if misses < patience or (seen == HUNG and kind != "rclone"):
        return ""
    return "restart"


def mounted(text: str) -> set[str]:
    """Mount points in the text of mountinfo."""
    fields = [line.split(" ") for line in text.splitlines()]
    return {re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), one[4]) for one in fields if len(one) > 4}


def begin(path: str) -> int:
    """A child that looks into a mount point; its exit code says how that went."""
    pid = os.fork()
    if pid:
        return pid
    code = 0
    try:
        os.statvfs(path)
        with os.scandir(path) as entries:
            next(entries, None)
    except OSError as error:
        code = 0 if error.errno in HARMLESS else 1
    finally:
        os._exit(code)


def probe(paths: list[str], stuck: dict[str, int], seconds: float) -> tuple[dict[str, str], dict[str, int]]:
    """How each mount is, and the children that hang: a mount is asked no second time before its child is gone."""
    points = mounted(MOUNTINFO.read_text(encoding="utf-8"))
    found = {path: AWAY for path in paths if path not in points}
    found |= {path: HUNG for path in paths if path in points and alive(stuck.get(path, 0))}
    asked = {path: begin(path) for path in paths if path not in found}
    end = time.monotonic() + seconds
    while asked and time.monotonic() < end:
        for path, pid in list(asked.items()):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                found[path] = WELL if os.waitstatus_to_exitcode(status) == 0 else DEAD
                del asked[path]
        if asked:
            time.sleep(0.02)
    for pid in asked.values():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    still = {path: pid for path, pid in stuck.items() if found.get(path) == HUNG}
    return found | dict.fromkeys(asked, HUNG), still | asked


def alive(pid: int) -> bool:
    """Whether a child of an earlier run still hangs. Another process may have got its number since."""
    with contextlib.suppress(OSError):
        return pid > 0 and Path(__file__).name.encode() in Path(f"/proc/{pid}/cmdline").read_bytes()
    return False


def units(names: list[str]) -> dict[str, dict[str, str]]:
    """What systemd says about units."""
    if not names:
        return {}
    argv = ["systemctl", "show", "--property=Id,ActiveState,UnitFileState", "--", *names]
    out = subprocess.run(argv, check=True, capture_output=True, text=True, timeout=60).stdout
    blocks = [dict(line.split("=", 1) for line in block.splitlines()) for block in out.strip().split("\n\n")]
    return {block["Id"]: block for block in blocks if "Id" in block}


def given_up() -> dict[str, str]:
    """Containers of ours that Docker could not start again, and their services.

    Docker revives what crashed, but when such a start itself fails, as a folder that it binds cannot be read at that
    moment, it never tries again. What somebody stopped has no such error.
    """
    try:
        argv = ["docker", "ps", "--all", "--quiet", "--filter=status=exited", "--filter=label=mediaserver.project"]
        ids = subprocess.run(argv, check=False, capture_output=True, text=True, timeout=60).stdout.split()
        argv = ["docker", "inspect", "--", *ids]
        out = subprocess.run(argv, check=False, capture_output=True, text=True, timeout=60).stdout if ids else "[]"
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return {}
    return {
        one["Id"]: one["Config"]["Labels"]["mediaserver.project"]
        for one in json.loads(out or "[]")
        if one["State"]["Error"] and one["HostConfig"]["RestartPolicy"]["Name"] == "unless-stopped"
    }


def revive() -> None:
    """Start them, where systemd has the service running: then what it binds is mounted."""
    found = given_up()
    states = units([f"mediaserver-{service}.service" for service in set(found.values())])
    for container, service in found.items():
        if states.get(f"mediaserver-{service}.service", {}).get("ActiveState") != "active":
            continue
        say(f"{service}: Docker gave a container up, it is started again")
        with contextlib.suppress(subprocess.TimeoutExpired):
            subprocess.run(["docker", "start", container], check=False, capture_output=True, timeout=60)


def say(text: str) -> None:
    """To the journal, as a notice."""
    print(f"<5>{text}", flush=True)


def act(verb: str, unit: str) -> None:
    argv = ["systemctl", "--no-block", verb, "--", unit]
    done = subprocess.run(argv, check=False, capture_output=True, text=True, timeout=60)
    if done.returncode:
        say(f"Unable to {verb} {unit}: {done.stderr.strip()}")


def write(path: Path, text: str) -> None:
    """In one rename: nobody reads half a file."""
    if path.parent.is_dir():
        new = path.with_name(f".{path.name}.new")
        new.write_text(text, encoding="utf-8")
        new.chmod(0o644)
        new.replace(path)


def metrics(seen: dict[str, str]) -> str:
    lines = ["# HELP mediaserver_mount_up Whether a storage class is mounted and answers.",
             "# TYPE mediaserver_mount_up gauge"]  # fmt: skip
    for path, state in sorted(seen.items()):
        label = path.replace("\\", "\\\\").replace('"', '\\"')
        lines.append(f'mediaserver_mount_up{{path="{label}"}} {int(state == WELL)}')
    return "\n".join([*lines, ""])


def read_state(path: Path) -> dict[str, Any]:
    with contextlib.suppress(OSError, ValueError):
        found = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(found, dict):
            return found
    return {}


def run(configuration: dict[str, Any]) -> None:
    state_file = Path(configuration["state_file"])
    before = read_state(state_file)
    known = {one["path"]: one for one in configuration["mounts"]}
    seen, stuck = probe(list(known), before.get("stuck", {}), configuration["timeout"])
    misses = {path: before.get("misses", {}).get(path, 0) + 1 for path, state in seen.items() if state != WELL}
    told = units([known[path]["unit"] for path in misses])
    for path, count in misses.items():
        one = known[path]
        verb = decide(one["kind"], seen[path], count, configuration["patience"], told.get(one["unit"], {}))
        if count == 1 or verb:
            what = f": {verb} {one['unit']}" if verb else ""
            say(f"{path} is {seen[path]}{what}")
        if verb:
            act(verb, one["unit"])
    for path in before.get("misses", {}):
        if seen.get(path) == WELL:
            say(f"{path} is back")
    if not misses:
        revive()
    state_file.parent.mkdir(parents=True, exist_ok=True)
    write(state_file, json.dumps({"misses": misses, "stuck": stuck}))
    write(Path(configuration["metrics_file"]), metrics(seen))


if __name__ == "__main__":
    run(json.loads(Path(sys.argv[1] if len(sys.argv) > 1 else CONFIGURATION).read_text(encoding="utf-8")))
