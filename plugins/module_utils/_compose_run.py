# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module compose_projects at work: read once, bring up side by side, wait, and say what failed and why."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.homelab.mediaserver.plugins.module_utils import _compose, _docker
from ansible_collections.homelab.mediaserver.plugins.module_utils._compose import Container, Host, Network, Project
from ansible_collections.homelab.mediaserver.plugins.module_utils._lock import lock
from ansible_collections.homelab.mediaserver.plugins.module_utils._reconcile import Failure, Plan, Step, run

POLL = 1.0
PAUSES = (2, 5, 10)
PULL_LIMIT = 1800
LINES = 20
EXITED_PATIENCE = 10

PROJECT: dict[str, Any] = {
    "name": {"type": "str", "required": True},
    "service": {"type": "str"},
    "directory": {"type": "path", "required": True},
    "unit": {"type": "str"},
    "networks": {"type": "list", "elements": "str", "default": []},
    "wait": {"type": "int", "default": 300},
}
NETWORK: dict[str, Any] = {
    "name": {"type": "str", "required": True},
    "subnet": {"type": "str", "required": True},
    "subnet6": {"type": "str"},
}


def desired(params: dict[str, Any]) -> list[Project]:
    """The wanted projects with what their .env says; the caller's digests go first (check mode knows them already)."""
    projects = []
    for item in params["projects"]:
        directory = item["directory"]
        values = _compose.parse_environment(_docker.read_text(f"{directory}/.env"))
        listed = values.get("MEDIASERVER_CONTAINERS", "")
        projects.append(
            Project(
                name=item["name"],
                directory=directory,
                unit=item["unit"] or "",
                networks=tuple(item["networks"]),
                wait=item["wait"],
                digest=params["digests"].get(item["name"]) or values.get("MEDIASERVER_DIGEST", ""),
                containers=tuple(name for name in listed.split(",") if name),
                stale=item["name"] in params["stale"] or (Path(directory) / _compose.MARKER).exists(),
                service=item["service"] or item["name"],
            )
        )
    return projects


class Runner:
    """Reads the host and does the steps."""

    def __init__(self, module: AnsibleModule) -> None:
        self.tool = _docker.Tool(module)
        self.params = module.params
        self.failures: dict[str, Failure] = {}

    def read(self, projects: Sequence[Project]) -> Host:
        """Everything a plan needs, with three commands however many projects there are."""
        units = [p.unit for p in projects if p.unit]
        found = self.tool.units(units)
        found = {
            name: replace(unit, enabled=unit.enabled and not _docker.unlinked(name)) for name, unit in found.items()
        }
        host = Host(units=found, dangling=_docker.dangling(units))
        try:
            host.containers = self.tool.containers()
            host.networks = self.tool.networks()
        except Failure as failure:
            if not _docker.absent(failure.message):
                raise
            host.docker = failure.message
        return host

    def steps(self, work: _compose.Work, projects: Sequence[Project]) -> list[Step]:
        """The steps of a plan, in an order that a killed run can be taken up from."""
        by_name = {p.name: p for p in projects}
        steps = [Step(f"remove project {name}, keep its data", partial(self.remove, name)) for name in work.remove]
        steps += [Step(f"unlink {path}", Path(path).unlink) for path in work.unlink]
        steps += [Step(f"take down project {name}", partial(self.down, by_name[name])) for name in work.down]
        steps += [Step(f"remove network {name}", partial(self.drop_network, name)) for name in work.drop_networks]
        steps += [Step(f"make network {n.name} {n.mark}", partial(self.make_network, n)) for n in work.make_networks]
        if work.reload or work.unlink:
            steps.append(Step("reload systemd", partial(self._systemctl, "daemon-reload")))
        if work.enable:
            steps.append(Step(f"enable {' '.join(work.enable)}", partial(self._systemctl, "enable", *work.enable)))
        last = []
        if work.start:
            start = partial(self._systemctl, "start", *work.start)
            last.append((f"start {' '.join(work.start)}", partial(self._collect, "units", start)))
        if work.up:
            last.append((f"bring up {', '.join(p.name for p in work.up)}", partial(self.bring_up, work.up)))
        # what fails in one of these keeps no other from running; all of it is told after the last
        for number, (describe, apply) in enumerate(last, start=1):
            steps.append(Step(describe, partial(self._then, apply, number == len(last))))
        return steps

    def _collect(self, what: str, apply: Callable[[], Any]) -> None:
        try:
            apply()
        except Failure as failure:
            self.failures[what] = failure

    def _then(self, apply: Callable[[], Any], is_last: bool) -> None:
        apply()
        if is_last:
            self._report()

    def _systemctl(self, *words: str) -> None:
        limit = 60 + max((item["wait"] for item in self.params["projects"]), default=0)
        self.tool.run(["systemctl", "--quiet", *words], f"{words[0]} {' '.join(words[1:])}".strip(), limit)

    def remove(self, name: str) -> None:
        """Stop a project's unit and remove its containers and networks. Volumes and folders stay."""
        unit = f"mediaserver-{name}.service"
        if self.tool.module.get_bin_path("systemctl"):
            self.tool.attempt(["systemctl", "--quiet", "stop", unit], 300)  # its compose file may be gone already
            self.tool.attempt(["systemctl", "--quiet", "reset-failed", unit])
        argv = ["docker", "compose", "--project-name", name, "down", "--remove-orphans"]
        self.tool.run(argv, f"remove project {name}", 300)

    def down(self, project: Project) -> None:
        argv = ["docker", "compose", "--project-name", project.name, "down", "--remove-orphans"]
        self.tool.run(argv, f"take down project {project.name}", 300)

    def drop_network(self, name: str) -> None:
        self.tool.run(["docker", "network", "rm", name], f"remove network {name}")

    def make_network(self, network: Network) -> None:
        self.tool.run(_docker.network_create(network), f"make network {network.name}")

    def bring_up(self, projects: Sequence[Project]) -> None:
        """Pull and start side by side, then wait for all."""
        watch = Watch(self.tool)
        held = self.held(projects)
        self.failures.update(held)

        def one(project: Project) -> None:
            self._up(project)
            # before the wait: until its unit runs, nothing stops it when a mount goes away, also after a killed run
            if project.unit:
                self._systemctl("start", project.unit)
            watch.wait(project)
            (Path(project.directory) / _compose.MARKER).unlink(missing_ok=True)

        free = [project for project in projects if project.name not in held]
        with ThreadPoolExecutor(max_workers=self.params["parallel"]) as pool:
            list(pool.map(lambda project: self._collect(project.name, partial(one, project)), free))

    def held(self, projects: Sequence[Project]) -> dict[str, Failure]:
        """Projects on whose folders a container made by hand runs: two databases on the same files destroy them."""
        own = {p.name: _docker.written_folders(_docker.read_text(f"{p.directory}/compose.yaml")) for p in projects}
        others = self.tool.writers() if any(own.values()) else {}
        text = "Unable to start project {}: container {}, which is not ours, writes to {}. Stop it, or `make adopt`"
        return {
            name: Failure(text.format(name, others[folder], folder))
            for name, folders in own.items()
            for folder in sorted(folders & others.keys())
        }

    def await_starting(self, projects: Sequence[Project]) -> None:
        """Wait for projects that an earlier run started and that are not healthy yet."""
        watch = Watch(self.tool)
        for project in projects:
            self._collect(project.name, partial(watch.wait, project))
        self._report()

    def _report(self) -> None:
        found = self.failures
        if found:
            text = "\n".join(found[name].message for name in sorted(found))
            raise Failure(text, projects={name: found[name].details for name in sorted(found)})

    def _up(self, project: Project) -> None:
        """docker compose pull (what lacks, several tries) and up, within the project's time."""
        pull = _docker.compose(project.name, project.directory, "pull", "--quiet", "--policy", "missing")
        for pause in (*PAUSES, None):
            code, out, err = self.tool.attempt(pull, PULL_LIMIT)
            if code == 0:
                break
            text = (err or out).strip()
            if pause is None or _hopeless(text):
                raise Failure(f"Unable to pull the images of project {project.name}: {text}", step="pull")
            time.sleep(pause)
        words = ["up", "--detach", "--remove-orphans", "--pull", "never"]
        if project.stale:
            words.append("--force-recreate")
        argv = _docker.compose(project.name, project.directory, *words)
        code, out, err = self.tool.attempt(argv, project.wait)
        if code != 0:
            self._failed(project, f"no end within {project.wait} seconds" if code == 124 else (err or out).strip())

    def _failed(self, project: Project, text: str) -> None:
        containers = self.tool.containers()
        raise failure(self.tool, project, text, _compose.blame(project, containers))


class Watch:
    """Waits for projects; however many wait, one `docker ps` a second answers them all."""

    def __init__(self, tool: _docker.Tool) -> None:
        self.tool = tool
        self.lock = threading.Lock()
        self.read = 0.0
        self.containers: list[Container] = []

    def look(self) -> list[Container]:
        with self.lock:
            if time.monotonic() - self.read >= POLL:
                self.containers = self.tool.containers()
                self.read = time.monotonic()
            return self.containers

    def wait(self, project: Project) -> None:
        """Return when the project runs; fail when a container failed for good or the time is over."""
        deadline = time.monotonic() + project.wait
        exited = 0.0
        while True:
            containers = self.look()
            done, culprit = _compose.verdict(project, containers)
            if done:
                return
            if culprit is not None:
                raise failure(
                    self.tool, project, f"container {culprit.name} is {culprit.health or culprit.state}", culprit
                )
            suspect = _compose.blame(project, containers)
            now = time.monotonic()
            exited = (exited or now) if suspect is not None and suspect.state == "exited" else 0.0
            if suspect is not None and exited and now - exited > EXITED_PATIENCE:
                raise failure(self.tool, project, f"container {suspect.name} ended: {suspect.status}", suspect)
            if now >= deadline:
                what = (
                    f"container {suspect.name} is {suspect.health or suspect.state}"
                    if suspect
                    else "containers are missing"
                )
                raise failure(self.tool, project, f"{what} after {project.wait} seconds", suspect)
            time.sleep(POLL)


def failure(tool: _docker.Tool, project: Project, text: str, culprit: Container | None) -> Failure:
    """What is known of a project that did not come up: container and last log lines, without its secrets."""
    secrets = _docker.secret_values(project.directory)
    message = f"Unable to start project {project.name}: {_docker.conceal(text, secrets)}"
    if culprit is None:
        return Failure(message)
    _code, out, err = tool.attempt(["docker", "logs", "--tail", str(LINES), culprit.name])
    lines = _docker.conceal(out + err, secrets).splitlines()[-LINES:]
    details = {"container": culprit.name, "state": culprit.health or culprit.state, "log": lines}
    if culprit.name not in message:
        message += f" (container {culprit.name} is {details['state']})"
    tail = "".join(f"\n    {line}" for line in lines)
    return Failure(f"{message}. Its last log lines:{tail}" if lines else f"{message}. Its log is empty.", **details)


def _hopeless(text: str) -> bool:
    """Errors that no second try mends."""
    return any(
        sign in text.lower() for sign in ("manifest unknown", "not found: manifest", "unknown command", "no such file")
    )


def networks(params: dict[str, Any]) -> list[Network]:
    return [Network(item["name"], item["subnet"], item["subnet6"] or "") for item in params["networks"]]


def work(module: AnsibleModule) -> dict[str, Any]:
    """Lock, read, plan, run."""
    params = module.params
    with lock("projects", timeout=params["lock_timeout"]):
        projects = desired(params)
        runner = Runner(module)
        host = runner.read(projects)
        todo = _compose.plan(projects, networks(params), host, params["root"], params["only"])
        changing = [*todo.up, *(Project(name, "") for name in todo.remove)]
        before = {p.name: _compose.view(p, host.containers) for p in changing}
        after = {p.name: {"state": "running", "digest": p.digest} for p in todo.up}
        after |= {name: {"state": "absent"} for name in todo.remove}
        warnings = todo.warnings + ([f"{host.docker}: nothing is known of what runs"] if host.docker else [])
        result = {"started": [p.name for p in todo.up], "removed": todo.remove}
        plan = Plan(before, after, tuple(runner.steps(todo, projects)), tuple(warnings), result)

        def read_back() -> dict[str, Any]:
            runner.await_starting([replace(p, stale=False) for p in todo.wait])
            return {}

        return run(module, plan, read_back if todo.wait else None)
