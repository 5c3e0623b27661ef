# SPDX-License-Identifier: MIT
"""A compose project during its upgrade: pull, stop, start, wait, ask whether it answers."""

from __future__ import annotations

import calendar
import json
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from mediaserver_restic import Problem
from mediaserver_upgrade_data import call

PULL_PATIENCE = 3600
STOP_PATIENCE = 120
CALM = 5
"""Seconds that a container without a health check must have run without a restart."""
RESTARTS = 5
"""So many restarts since it was started are a crash, not a service that waits for its database."""
POLL = 1.0
SMOKE_PATIENCE = 30
ASK = 60
FORMAT = "{{json .}}"


class Project:
    """One compose project and the unit that owns it."""

    def __init__(self, request: dict[str, Any]) -> None:
        self.name: str = request["service"]
        self.directory: str = request["directory"]
        self.unit: str | None = request.get("unit")
        self.patience: int = request.get("wait", 300)
        self.smoke_test: dict[str, Any] | None = request.get("smoke")

    def compose(self, what: str, *words: str, folder: Path | None = None, limit: int | None = None) -> None:
        argv = ["docker", "compose", "--project-name", self.name, "--project-directory", str(folder or self.directory)]
        call(what, [*argv, *words], limit or self.patience)

    def pull(self, folder: Path) -> None:
        words = ("pull", "--quiet", "--policy", "missing")
        self.compose(f"pull the images of {self.name}", *words, folder=folder, limit=PULL_PATIENCE)

    def containers(self) -> list[dict[str, Any]]:
        """What Docker says about each of its containers, stopped ones too."""
        label = f"label=com.docker.compose.project={self.name}"
        names = call("list containers", ["docker", "ps", "--all", "--quiet", "--filter", label], ASK).split()
        if not names:
            return []
        found = subprocess.run(["docker", "inspect", "--format", FORMAT, *names], capture_output=True, text=True,
                               check=False)  # one may be gone meanwhile # fmt: skip
        return [json.loads(line) for line in found.stdout.splitlines() if line]

    def stop(self, patience: int = STOP_PATIENCE) -> None:
        """By its unit, so that systemd knows; then whatever runs still, whichever files it was started from."""
        if self.unit and Path(self.directory).is_dir():
            subprocess.run(["systemctl", "stop", self.unit], capture_output=True, check=False)
        if running := [one["Id"] for one in self.containers() if one["State"]["Status"] != "exited"]:
            argv = ["docker", "stop", "--time", str(patience), *running]
            call(f"stop {self.name}", argv, patience * len(running) + 60)

    def stop_all_but(self, names: list[str]) -> None:
        others = [one["Id"] for one in self.containers()
                  if service_of(one) not in names and one["State"]["Status"] != "exited"]  # fmt: skip
        if others:
            argv = ["docker", "stop", "--time", str(STOP_PATIENCE), *others]
            call(f"stop {self.name}", argv, STOP_PATIENCE * len(others) + 60)

    def start(self, *only: str) -> None:
        """Start it (or some of its containers alone) and wait until it is well."""
        deadline = time.monotonic() + self.patience
        words = ["up", "--detach", "--pull", "never", *(("--no-deps", *only) if only else ("--remove-orphans",))]
        self.compose(f"start {self.name}", *words)
        wanted = set(only) or expected(Path(self.directory))
        while not self.well(wanted):
            if time.monotonic() > deadline:
                raise Problem(f"Unable to start {self.name}: {self.blame(wanted)} after {self.patience} seconds")
            time.sleep(POLL)
        if self.unit and not only:
            call(f"start {self.unit}", ["systemctl", "start", self.unit], self.patience)

    def well(self, wanted: set[str]) -> bool:
        """Whether all run as they should. A Problem as soon as one has failed for good."""
        found = {service_of(one): one for one in self.containers() if service_of(one) in wanted}
        for name, one in found.items():
            if health(one) == "unhealthy" or one["RestartCount"] >= RESTARTS:
                raise Problem(f"Unable to start {self.name}: {describe(name, one)}")
        return set(found) == wanted and all(calm(one) for one in found.values())

    def blame(self, wanted: set[str]) -> str:
        found = {service_of(one): one for one in self.containers()}
        bad = [describe(name, found[name]) for name in sorted(wanted) if name in found and not calm(found[name])]
        return "; ".join(bad) or f"{', '.join(sorted(wanted - set(found)))} is missing"

    def smoke(self) -> None:
        """Ask the service what a person would ask first. It answers by its container's own address."""
        ask = self.smoke_test
        if not ask:
            return
        deadline = time.monotonic() + SMOKE_PATIENCE
        while True:
            answer = self.ask(ask)
            if answer is None:
                return
            if time.monotonic() > deadline:
                raise Problem(f"Unable to use {self.name}: {ask['path']} at port {ask['port']} {answer}")
            time.sleep(POLL)

    def ask(self, ask: dict[str, Any]) -> str | None:
        """What is wrong with the answer; None when it is one."""
        one = next((one for one in self.containers() if service_of(one) == ask["container"]), None)
        address = address_of(one) if one else ""
        if not address:
            return "has no address"
        url = f"http://{address}:{ask['port']}{ask['path']}"
        try:
            with urllib.request.build_opener(Stay, urllib.request.ProxyHandler({})).open(url, timeout=10) as answer:
                code = int(answer.status)
        except urllib.error.HTTPError as error:
            code = error.code
        except (OSError, ValueError) as error:
            return f"does not answer: {error}"
        # a login page, a redirect and a demand for a password are answers; a health path must be content
        return None if code < (400 if ask.get("strict") else 500) and code != 404 else f"answers {code}"


class Stay(urllib.request.HTTPRedirectHandler):
    """A redirect is an answer; where it leads is not asked."""

    def redirect_request(self, *_arguments: Any, **_more: Any) -> None:
        return None


def expected(folder: Path) -> set[str]:
    """The containers that must run, as the project's own .env says."""
    lines = (folder / ".env").read_text().splitlines()
    listed = next((line.partition("=")[2] for line in lines if line.startswith("MEDIASERVER_CONTAINERS=")), "")
    return {name for name in listed.split(",") if name}


def service_of(one: dict[str, Any]) -> str:
    return str(one["Config"]["Labels"].get("com.docker.compose.service", ""))


def health(one: dict[str, Any]) -> str:
    return str((one["State"].get("Health") or {}).get("Status", ""))


def calm(one: dict[str, Any]) -> bool:
    """Healthy, or up for a while where nothing but time can tell."""
    if one["State"]["Status"] != "running":
        return False
    if health(one):
        return health(one) == "healthy"
    started = time.strptime(one["State"]["StartedAt"][:19], "%Y-%m-%dT%H:%M:%S")
    return time.time() - calendar.timegm(started) >= CALM


def describe(name: str, one: dict[str, Any]) -> str:
    state = health(one) or one["State"]["Status"]
    again = f", restarted {one['RestartCount']} times" if one["RestartCount"] else ""
    return f"container {name} is {state}{again} (exit code {one['State'].get('ExitCode', 0)})"


def address_of(one: dict[str, Any]) -> str:
    if one["HostConfig"]["NetworkMode"] == "host":
        return "127.0.0.1"
    networks = one["NetworkSettings"]["Networks"].values()
    return next((str(network["IPAddress"]) for network in networks if network["IPAddress"]), "")
