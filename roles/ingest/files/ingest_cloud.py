# SPDX-License-Identifier: MIT
"""What mediaserver_ingest.py asks of others: clouds through rclone, Immich, and what it tells Prometheus."""

from __future__ import annotations

import json
import re
import subprocess
import time
import urllib.request
from pathlib import Path
from typing import Any

from ingest_parts import Entry, Problem, entry_of

GOOGLE_TYPES = ("google photos", "gphotos")
ABSENT = (3, 4)  # rclone: directory, file not found
PERIODS = {"hourly": 3600, "daily": 86400, "weekly": 7 * 86400}
GOOGLE_PHOTOS = (
    "Google Photos cannot be a source: Google shows rclone only what rclone itself uploaded, smaller than the original "
    "and without its place, and lets no program delete. Let the phones upload to OneDrive, Google Drive or Dropbox, or "
    "take the library out with Google Takeout and immich-go"
)


class Rclone:
    """rclone with its own configuration file; secrets stay in that file."""

    def __init__(self, config: dict[str, Any]) -> None:
        self.argv = [config.get("rclone") or "rclone", "--ask-password=false", "--config", config["rclone_config"]]

    def call(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        argv = [*self.argv, *arguments]
        return subprocess.run(
            argv, capture_output=True, check=False, encoding="utf-8", errors="replace", stdin=subprocess.DEVNULL
        )

    def must(self, what: str, *arguments: str) -> str:
        result = self.call(*arguments)
        if result.returncode:
            raise Problem(f"Unable to {what}: {last_words(result.stderr)}")
        return result.stdout

    def refuse_google_photos(self, remote: str) -> None:
        """Also behind remotes that wrap others."""
        known, waiting, seen = json.loads(self.must("read rclone's remotes", "config", "dump")), [remote], set()
        if remote not in known:
            raise Problem(f"rclone has no remote {remote!r}; it has {', '.join(sorted(known)) or 'none'}")
        while waiting:
            name = waiting.pop()
            body = known.get(name)
            if body is None or name in seen:
                continue
            seen.add(name)
            inside = f"{body.get('remote', '')}\n{body.get('upstreams', '')}"
            if body.get("type") in GOOGLE_TYPES or any(f":{kind}" in inside for kind in GOOGLE_TYPES):
                raise Problem(GOOGLE_PHOTOS)
            waiting += [other for other in known if re.search(rf"(^|[\s=\"]){re.escape(other)}[,:]", inside, re.M)]

    def list(self, remote: str, path: str, filters: list[str]) -> list[Entry]:
        """Every file below a path. A folder that is not there is empty: in many clouds the last file takes it along."""
        where = f"{remote}:{path}"
        result = self.call("lsjson", "--recursive", "--files-only", "--hash", *filters, where)
        if result.returncode in ABSENT and result.stdout.split() in ([], ["["], ["[", "]"]):
            return []
        if result.returncode:
            raise Problem(f"Unable to list {where}: {last_words(result.stderr)}")
        return [entry_of(item, path) for item in json.loads(result.stdout)]

    def look(self, remote: str, entry: Entry) -> Entry | None:
        """The file as the remote has it now; None when it is gone."""
        result = self.call("lsjson", "--stat", "--hash", f"{remote}:{entry.path}")
        if result.returncode in ABSENT:
            return None
        if result.returncode:
            raise Problem(f"Unable to look at {remote}:{entry.path}: {last_words(result.stderr)}")
        item = json.loads(result.stdout or "null")
        if item is None or item.get("IsDir"):
            return None
        root = entry.path[: len(entry.path) - len(entry.name)]
        return entry_of(item, root, entry.name)


def last_words(text: str) -> str:
    """The last line of what rclone complained, without its time, and without what opens doors."""
    lines = [re.sub(r"^[0-9/]+ [0-9:]+ ", "", line) for line in text.strip().splitlines() if line.strip()]
    return re.sub(r"(?i)([?&](sig|token|access_token|key)=)[^&\s\"]+", r"\1…", lines[-1]) if lines else "no message"


def scan_library(config: dict[str, Any], name: str) -> None:
    """Tell Immich to look for new files."""
    immich = config["immich"]
    key = Path(immich["api_key_file"]).read_text(encoding="utf-8").strip()

    def ask(method: str, path: str) -> Any:
        request = urllib.request.Request(f"{immich['url'].rstrip('/')}/api{path}", method=method)
        request.add_header("x-api-key", key)
        with urllib.request.urlopen(request, timeout=30) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    found = [one["id"] for one in ask("GET", "/libraries") if one["name"] == name]
    if len(found) != 1:
        raise Problem(f"Immich has {len(found)} libraries called {name}")
    ask("POST", f"/libraries/{found[0]}/scan")


METRICS = {
    "last_success_timestamp_seconds": ("success", "Start of the last run that succeeded."),
    "due_timestamp_seconds": ("due", "When the next run should have succeeded."),
    "last_run_successful": ("ok", "Whether the last run succeeded."),
    "last_duration_seconds": ("seconds", "How long the last run took."),
    "files_copied": ("total_copied", "Files fetched by all runs that ended."),
    "bytes_copied": ("total_bytes", "Bytes fetched by all runs that ended."),
    "files_deleted": ("total_deleted", "Files deleted in the cloud by all runs that ended."),
    "files_failed": ("failed", "Failures of the last run."),
    "files_waiting": ("waiting", "Files that wait for a checked backup before they are deleted in the cloud."),
    "waiting_since_timestamp_seconds": ("since", "Since when the oldest of them has waited."),
    "files_without_hash": ("kept", "Files that are never deleted, as the remote gives no hash."),
    "room_used_up": ("full", "Whether quota or disk left no room."),
}


def metrics(states: dict[str, tuple[dict[str, Any], dict[str, Any]]]) -> str:
    lines: list[str] = []
    for job, state in states.values():
        state["due"] = state.get("success", state.get("declared", time.time())) + PERIODS[job["schedule"]]
    for name, (key, text) in METRICS.items():
        values = [(job, state[key]) for job, (_body, state) in states.items() if state.get(key) is not None]
        if key == "since":
            values = [(job, value) for job, value in values if value]
        if values:
            lines += [f"# HELP mediaserver_ingest_{name} {text}", f"# TYPE mediaserver_ingest_{name} gauge"]
            lines += [f'mediaserver_ingest_{name}{{ingest="{job}"}} {value:.0f}' for job, value in values]
    return "\n".join(lines) + "\n"
