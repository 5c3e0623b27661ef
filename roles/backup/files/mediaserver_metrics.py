# SPDX-License-Identifier: MIT
"""What the backups tell Prometheus, by node_exporter's textfile collector."""

from __future__ import annotations

from typing import Any

from mediaserver_cluster import FOLDER
from mediaserver_jobs import PERIODS, entry
from mediaserver_platform import is_local

PREFIX = "mediaserver_backup"
BACKUPS = (
    ("success", "last_success_timestamp_seconds", "Start of the last run that succeeded."),
    ("due", "due_timestamp_seconds", "When the next run should have succeeded."),
    ("ok", "last_run_successful", "Whether the last run succeeded."),
    ("seconds", "last_duration_seconds", "How long the last run took."),
    ("bytes", "last_size_bytes", "Bytes that the last run read."),
    ("added", "last_added_bytes", "Bytes that the last run added to the repository."),
)
DRILLS = (
    ("success", "last_success_timestamp_seconds", "Start of the last drill that proved the service's backups."),
    ("due", "due_timestamp_seconds", "When the next drill should have succeeded."),
    ("ok", "last_run_successful", "Whether the last drill proved them."),
    ("seconds", "last_duration_seconds", "How long the last drill took."),
)


def metrics(config: dict[str, Any], state: dict[str, Any]) -> str:
    """The whole file."""
    lines: list[str] = []

    def gauge(name: str, help_text: str, values: list[tuple[str, float]]) -> None:
        if values:
            lines.extend([f"# HELP {name} {help_text}", f"# TYPE {name} gauge"])
            lines.extend(f"{name}{{{labels}}} {value:.0f}" for labels, value in values)

    backups = backup_entries(config, state)
    for key, name, help_text in BACKUPS:
        gauge(f"{PREFIX}_{name}", help_text, [(labels, one[key]) for labels, one in backups if key in one])
    rpo = [(f'backup="{job["name"]}",service="{job["service"]}"', job["rpo"]) for job in config["jobs"] if "rpo" in job]
    gauge(f"{PREFIX}_rpo_seconds", "How old the newest backup may get.", rpo)
    warnings = [(f'warning="{one["name"]}"', 1.0) for one in config.get("warnings", [])]
    gauge(f"{PREFIX}_warning", "What is unwise about the backups, and was not accepted.", sorted(set(warnings)))
    remote = [(f'repository="{one["name"]}"', float(not is_local(one["path"]))) for one in config["repositories"]]
    gauge(f"{PREFIX}_repository_remote", "Whether the repository lies on no disk of this site.", remote)
    names = [one["name"] for one in config["repositories"]]
    for key, name, help_text in (
        ("checked", "last_check_timestamp_seconds", "Last check of the repository that found no error."),
        ("whole", "repository_whole", "Whether the last check of the repository found no error."),
        ("reachable", "repository_reachable", "Whether the repository could be opened at the last run."),
    ):
        found = state.get(key, {})
        gauge(f"{PREFIX}_{name}", help_text, [(f'repository="{one}"', found[one]) for one in names if one in found])
    drills = drill_entries(config, state)
    for key, name, help_text in DRILLS:
        gauge(f"mediaserver_drill_{name}", help_text, [(labels, one[key]) for labels, one in drills if key in one])
    rto = [(f'service="{service}"', seconds) for service, seconds in sorted(config.get("rto", {}).items())]
    gauge("mediaserver_drill_rto_seconds", "How long bringing the service back may take.", rto)
    return "\n".join(lines) + "\n"


def backup_entries(config: dict[str, Any], state: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Of each job in each repository: labels and values."""
    found = []
    pairs = [(job, one["name"]) for job in config["jobs"] for one in config["repositories"]]
    pairs += [(job, FOLDER) for job in config.get("dumps", [])]
    for job, repository in pairs:
        labels = f'backup="{job["name"]}",repository="{repository}",service="{job["service"]}"'
        one = entry(state, job, repository)
        due = one.get("success", one.get("declared", state[job["name"]]["declared"])) + PERIODS[job["schedule"]]
        found.append((labels, {**one, "due": due}))
    return found


def drill_entries(config: dict[str, Any], state: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Of each service in each repository."""
    found = []
    for service in sorted({job["service"] for job in config["jobs"]}):
        drill = state.get("drills", {}).get(service, {})
        for repository in config["repositories"]:
            one = drill.get("repositories", {}).get(repository["name"], {})
            due = one.get("success", one.get("declared", drill["declared"])) + PERIODS["monthly"]
            found.append((f'repository="{repository["name"]}",service="{service}"', {**one, "due": due}))
    return found
