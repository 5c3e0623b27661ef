# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host's compose projects: what runs, what should run, and the steps between. Pure; the commands are in _docker."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

MARKER = ".stale"


@dataclass(frozen=True)
class Container:
    """One line of `docker ps`."""

    name: str
    project: str
    service: str
    state: str
    status: str
    digest: str
    directory: str

    @property
    def health(self) -> str:
        """healthy, unhealthy, starting, or nothing where the container has no health check."""
        match = re.search(r"\((?:health: )?(healthy|unhealthy|starting)\)", self.status)
        return match.group(1) if match else ""

    @property
    def fine(self) -> bool:
        return self.state == "running" and self.health in ("healthy", "")

    @property
    def settled(self) -> bool:
        """Fine, and not only for an instant where nothing but time can tell."""
        return self.fine and (bool(self.health) or seconds(self.status) >= 3)


@dataclass(frozen=True)
class Unit:
    """What systemd says about a project's unit."""

    exists: bool = False
    active: bool = False
    enabled: bool = False
    reload: bool = False


@dataclass(frozen=True)
class Network:
    """A shared network."""

    name: str
    subnet: str
    subnet6: str = ""

    @property
    def mark(self) -> str:
        """What its label says, to be compared."""
        return ",".join(filter(None, (self.subnet, self.subnet6)))


@dataclass(frozen=True)
class Project:
    """A compose project as it shall run."""

    name: str
    directory: str
    unit: str = ""
    networks: tuple[str, ...] = ()
    wait: int = 300
    digest: str = ""
    containers: tuple[str, ...] = ()
    stale: bool = False
    service: str = ""


@dataclass
class Host:
    """What is there now. ``docker`` is empty when it answers, else what it said."""

    containers: list[Container] = field(default_factory=list)
    networks: dict[str, str] = field(default_factory=dict)
    units: dict[str, Unit] = field(default_factory=dict)
    dangling: list[str] = field(default_factory=list)
    docker: str = ""


@dataclass
class Work:
    """What to do, in this order."""

    remove: list[str] = field(default_factory=list)
    down: list[str] = field(default_factory=list)
    drop_networks: list[str] = field(default_factory=list)
    make_networks: list[Network] = field(default_factory=list)
    up: list[Project] = field(default_factory=list)
    wait: list[Project] = field(default_factory=list)
    reload: bool = False
    enable: list[str] = field(default_factory=list)
    start: list[str] = field(default_factory=list)
    unlink: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def seconds(status: str) -> int:
    """How long a container is up, as far as it matters here: "Up 2 seconds", "Up Less than a second", "Up 3 hours"."""
    match = re.match(r"Up (\d+) second", status)
    if match:
        return int(match.group(1))
    return 0 if "Less than" in status else 60


def parse_environment(text: str) -> dict[str, str]:
    """The KEY=value lines of a .env file."""
    pairs = (line.partition("=") for line in text.splitlines() if "=" in line and not line.startswith("#"))
    return {key.strip(): value.strip() for key, _equals, value in pairs}


def reason(project: Project, containers: Iterable[Container]) -> str:
    """Why a project must be brought up; empty when it runs as it should."""
    own = [c for c in containers if c.project == project.name]
    if not own:
        return "not running"
    if not project.digest or any(c.digest != project.digest for c in own):
        return "changed"
    if project.stale:
        return "started from other files"
    missing = sorted(set(project.containers) - {c.service for c in own})
    if missing:
        return f"without {', '.join(missing)}"
    checked = [c for c in own if not project.containers or c.service in project.containers]
    broken = sorted(f"{c.service} {c.health or c.state}" for c in checked if not c.fine and c.health != "starting")
    return ", ".join(broken)


def foreign(containers: Iterable[Container], root: str) -> dict[str, str]:
    """Projects that were started from below ``root``: name to directory."""
    below = root.rstrip("/") + "/"
    return {c.project: c.directory for c in containers if c.project and c.directory.startswith(below)}


def plan(
    projects: Sequence[Project],
    networks: Sequence[Network],
    host: Host,
    root: str,
    only: Iterable[str] = (),
) -> Work:
    """What to do. With ``only`` nothing of other projects is looked at, and nothing is removed."""
    work = Work()
    chosen = set(only)
    mine = [p for p in projects if not chosen or chosen & {p.name, p.service}]
    if not chosen:
        wanted = {p.name for p in projects}
        work.remove = sorted(set(foreign(host.containers, root)) - wanted)
        work.unlink = list(host.dangling)
    _plan_networks(work, mine, projects, networks, host, bool(chosen))
    for project in mine:
        why = reason(project, host.containers)
        if why or project.name in work.down:
            work.up.append(project)
        elif any(c.project == project.name and c.health == "starting" for c in host.containers):
            work.wait.append(project)
        unit = host.units.get(project.unit, Unit())
        if project.unit:
            work.reload = work.reload or unit.reload or not unit.exists
            work.enable += [project.unit] if not unit.enabled else []
            # the unit of a project that is brought up is started there, once its containers run
            work.start += [project.unit] if not unit.active and project not in work.up else []
    return work


def _plan_networks(
    work: Work,
    mine: Sequence[Project],
    projects: Sequence[Project],
    networks: Sequence[Network],
    host: Host,
    limited: bool,
) -> None:
    """Shared networks: make what lacks, make anew what has other addresses, drop what nobody wants."""
    needed = {name for project in mine for name in project.networks}
    for network in networks:
        present = host.networks.get(network.name)
        if present == network.mark or (limited and not needed & {network.name, short(network.name)}):
            continue
        if present is not None and limited:
            work.warnings.append(
                f"network {network.name} has other addresses than wanted; a run without a choice changes it"
            )
            continue
        if present is not None:
            work.drop_networks.append(network.name)
            running = {c.project for c in host.containers}
            work.down += [
                p.name
                for p in projects
                if {network.name, short(network.name)} & set(p.networks)
                and p.name in running
                and p.name not in work.down
            ]
        work.make_networks.append(network)
    if not limited:
        unwanted = set(host.networks) - {network.name for network in networks}
        work.drop_networks += sorted(unwanted)


def short(name: str) -> str:
    """A network's name as a catalog entry says it."""
    return name.removeprefix("mediaserver-")


def verdict(project: Project, containers: Iterable[Container]) -> tuple[bool, Container | None]:
    """While waiting: whether the project runs, and the container that failed for good, if any."""
    own = [c for c in containers if c.project == project.name]
    checked = [c for c in own if not project.containers or c.service in project.containers]
    for container in checked:
        if container.health == "unhealthy" or container.state == "dead":
            return False, container
    complete = set(project.containers) <= {c.service for c in own}
    return bool(checked) and complete and all(c.settled for c in checked), None


def blame(project: Project, containers: Iterable[Container]) -> Container | None:
    """The container to name when a project did not come up."""
    own = [c for c in containers if c.project == project.name and not c.fine]
    order = {"restarting": 0, "exited": 1, "dead": 1}
    return min(own, key=lambda c: (c.health != "unhealthy", order.get(c.state, 2), c.name), default=None)


def view(project: Project, containers: Iterable[Container]) -> Mapping[str, str]:
    """A project's present state as the diff shows it."""
    own = [c for c in containers if c.project == project.name]
    if not own:
        return {"state": "absent"}
    return {"state": reason(project, own) or "running", "digest": ", ".join(sorted({c.digest or "none" for c in own}))}
