# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The take-over of a hand-made set-up: stop, dump, copy, start anew, look; on a failure everything back.

Its journal says what was there and what has been done, so that a killed take-over is continued by the next run, and one
that was killed while it was being undone is undone. Phases: begun, switching (the new may have written), done,
returning, returned, finished.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.homelab.mediaserver.plugins.module_utils import (
    _adopt_data,
    _adopt_dump,
    _compose,
    _compose_run,
    _docker,
)
from ansible_collections.homelab.mediaserver.plugins.module_utils._lock import lock
from ansible_collections.homelab.mediaserver.plugins.module_utils._reconcile import Failure, Plan, Step, run

OPEN = ("begun", "switching", "returning")
STOP_LIMIT = 300
PULL_LIMIT = 7200
SMOKE_SECONDS = 90.0
STEP_SECONDS = 3600
"""A stepping stone's migration may take as long as this."""
RETURN_SECONDS = 300.0
POLL = 0.5
Tree = dict[str, Any]


def journals(folder: Path) -> list[tuple[Path, Tree]]:
    """All take-overs of this host, the oldest first."""
    return [(path.parent, json.loads(path.read_text())) for path in sorted(folder.glob("*/journal.json"))]


class Course:
    """One take-over: its journal and its steps. Each step may be run again."""

    def __init__(self, module: AnsibleModule, folder: Path, journal: Tree) -> None:
        self.module, self.folder, self.journal = module, folder, journal
        self.tool = _docker.Tool(module)
        self.runner = _compose_run.Runner(module)

    def save(self, **change: Any) -> None:
        self.journal.update(change)
        _adopt_data.write_json(self.folder / "journal.json", self.journal)

    @property
    def old(self) -> list[Tree]:
        return list(self.journal["old"])

    # forward

    def pull(self) -> None:
        """While the old still runs: a registry that does not answer costs nobody anything."""
        for project in self.module.params["projects"]:
            name, directory = project["name"], project["directory"]
            argv = _docker.compose(name, directory, "pull", "--quiet", "--policy", "missing")
            self.tool.run(argv, f"pull the images of {name}. Nothing was touched", PULL_LIMIT)
        for image in sorted({image for step in self.journal["steps"] for image in step["images"].values()}):
            if self.tool.attempt(["docker", "image", "inspect", image])[0]:
                self.tool.run(["docker", "pull", "--quiet", image], f"pull {image}. Nothing was touched", PULL_LIMIT)

    def begin(self) -> None:
        """Write down what there is, before anything is changed."""
        copied = [Path(one["path"]) for one in self.journal["data"] if one["copy"]]
        _adopt_data.check_room(copied, self.journal["stamp"], self.folder)
        details = self.details()
        for one in self.journal["old"]:
            found = details[one["id"]]
            policy = found["HostConfig"].get("RestartPolicy") or {}
            count = policy.get("MaximumRetryCount") or 0
            name = policy.get("Name") or "no"
            one["restart"] = f"{name}:{count}" if count else name
            one["running"] = found["State"]["Status"] in ("running", "restarting")
            one["started"] = found["State"].get("StartedAt", "")
            one["health"] = (found["State"].get("Health") or {}).get("Status", "")
        states = self.tool.units(self.journal["units"])
        enabled = [name for name in self.journal["units"] if states.get(name, _compose.Unit()).enabled]
        self.save(phase="begun", enabled=enabled, copies={}, owners={}, dumps={})

    def details(self) -> dict[str, Tree]:
        names = [one["id"] for one in self.old]
        found = json.loads(self.tool.run(["docker", "inspect", *names], "inspect the old containers"))
        return {one["Id"]: one for one in found}

    def stop(self, databases: bool) -> None:
        """The old containers stay, stopped, and nothing starts them but the way back."""
        chosen = [one["id"] for one in self.old if bool(one["database"]) == databases]
        if not databases:
            self.forget_stale()
        if not databases and self.journal["enabled"]:
            self.tool.run(["systemctl", "--quiet", "disable", *self.journal["enabled"]], "disable the old units")
        if chosen:
            self.tool.run(["docker", "update", "--restart=no", *chosen], "keep the old containers from restarting")
            self.tool.run(["docker", "stop", "--time=60", *chosen], "stop the old containers", STOP_LIMIT)

    def forget_stale(self) -> None:
        """Copies and dumps of a killed run are worth nothing if somebody has started the old containers since."""
        details = self.details()
        runs = [one for one in self.old if not one["database"] and details[one["id"]]["State"]["Status"] == "running"]
        if runs and (self.journal["copies"] or self.journal["dumps"]):
            for place in self.journal["copies"].values():
                shutil.rmtree(place, ignore_errors=True)
            self.save(copies={}, dumps={})

    def dump(self) -> None:
        """Nothing writes any more but the dump's own reading."""
        for one in self.old:
            if not one["database"] or not one["running"] or one["name"] in self.journal["dumps"]:
                continue
            self.tool.run(["docker", "start", one["id"]], f"start {one['name']} for its dump")
            _adopt_dump.wait_ready(self.tool, one["id"], one["database"])
            target = self.folder / "dumps" / f"{one['name']}.sql"
            rows = _adopt_dump.dump(self.tool, one["id"], one["database"], target)
            self.save(dumps={**self.journal["dumps"], one["name"]: sum(rows.values())})

    def copy(self) -> None:
        for one in self.journal["data"]:
            path = Path(one["path"])
            if not one["copy"] or one["path"] in self.journal["copies"]:
                continue
            place = _adopt_data.copy_place(path, self.journal["stamp"], self.folder)
            _adopt_data.make_copy(self.tool, path, place)
            self.save(copies={**self.journal["copies"], one["path"]: str(place)})

    def give(self) -> None:
        """The folders to the users that the new containers run as."""
        self.save(phase="switching")
        for number, one in enumerate(self.journal["data"]):
            if one["owner"]:
                note = self.folder / f"owners-{number}.json"
                self.save(owners={**self.journal["owners"], one["path"]: str(note)})
                _adopt_data.give(Path(one["path"]), one["owner"], note)
        for one in sorted(self.module.params["directories"], key=lambda entry: str(entry["path"])):
            path = Path(one["path"])
            if not path.is_dir():
                path.mkdir(mode=int(one["mode"], 8))
                os.chown(path, int(one["owner"]), int(one["group"]))

    def stone(self, step: Mapping[str, Any]) -> None:
        """Start a service once with other images, so that it migrates its data, and take it down again."""
        name, project = f"adopt-{step['service']}", step["service"]
        if step["name"] in self.journal.get("stones", []):
            return
        directory = self.project(project)["directory"]
        whole = json.loads(
            self.tool.run(
                _docker.compose(project, directory, "config", "--format", "json"), f"read the files of {project}"
            )
        )
        file = self.folder / f"{step['name']}.json"
        _adopt_data.write_json(file, stone_file(whole, name, step))
        argv = ["docker", "compose", "--project-name", name, "--project-directory", directory, "--file", str(file)]
        try:
            up = [*argv, "up", "--detach", "--pull", "never", "--wait", "--wait-timeout", str(STEP_SECONDS)]
            code, out, err = self.tool.attempt(up, STEP_SECONDS + 60)
            if code:
                _code, logs, more = self.tool.attempt([*argv, "logs", "--tail", "20"])
                values = _docker.secret_values(directory)
                text = _docker.conceal(f"{(err or out).strip()}\n{logs}{more}", values)
                raise Failure(f"Unable to migrate {project} by {step['name']}: {text}")
        finally:
            self.tool.attempt([*argv, "down"], STOP_LIMIT)
        self.save(stones=[*self.journal.get("stones", []), step["name"]])

    def project(self, name: str) -> Tree:
        return next(one for one in self.module.params["projects"] if one["name"] == name)

    def start(self) -> None:
        """Bring up the new projects as compose_projects does, and wait until they are healthy."""
        params = self.module.params
        projects = _compose_run.desired(params)
        host = self.runner.read(projects)
        networks = _compose_run.networks(params)
        work = _compose.plan(projects, networks, host, params["root"], [p["name"] for p in params["projects"]])
        for step in self.runner.steps(work, projects):
            step.apply()
        self.runner.await_starting(work.wait)

    def smoke(self) -> None:
        """Each service answers a request from this host."""
        for one in self.journal["smoke"]:
            end, seen = time.monotonic() + SMOKE_SECONDS, ""
            while True:
                code = answer(one["url"])
                if isinstance(code, int) and code < 500:
                    break
                seen = f"answers {code}" if isinstance(code, int) else code
                if time.monotonic() > end:
                    raise Failure(f"Unable to use {one['service']}: {one['url']}: {seen}")
                time.sleep(POLL)

    def done(self) -> None:
        self.save(phase="done")

    def guarded(self, what: str, apply: Callable[[], Any]) -> Callable[[], None]:
        """``apply``; when it fails, the old set-up first, then the reason."""

        def guarded() -> None:
            try:
                apply()
            except (Failure, OSError, ValueError, KeyError, shutil.Error) as problem:
                reason = problem.message if isinstance(problem, Failure) else f"Unable to {what}: {problem}"
                details = problem.details if isinstance(problem, Failure) else {}
                with contextlib.suppress(OSError):
                    self.save(reason=reason)
                try:
                    kept = self.give_back()
                except (Failure, OSError) as second:
                    raise Failure(
                        f"{reason}\nThe way back stopped too: {second}. Run this again to go on", **details
                    ) from None
                text = f"{reason}\nThe take-over was undone: the old set-up runs again as before."
                if kept:
                    text += f" What the new one wrote is kept: {', '.join(kept)}."
                raise Failure(text, **details) from None

        return guarded

    # back

    def give_back(self) -> list[str]:
        """The old set-up as it was. Where the new one's data were put aside."""
        written = self.journal["phase"] in ("switching", "done", "returning") and self.journal.get("written", True)
        if self.journal["phase"] != "returning":
            written = self.journal["phase"] in ("switching", "done")
            self.save(phase="returning", written=written)
        for name in self.journal["projects"]:
            self.runner.remove(name)
            self.tool.attempt(["docker", "compose", "--project-name", f"adopt-{name}", "down"], STOP_LIMIT)
            self.tool.attempt(["systemctl", "--quiet", "disable", f"mediaserver-{name}.service"])
        self.tool.run(["docker", "stop", "--time=60", *[one["id"] for one in self.old]], "stop", STOP_LIMIT)
        for path, note in self.journal["owners"].items():
            _adopt_data.give_back(Path(path), Path(note))
        kept = []
        for path, place in self.journal["copies"].items():
            if written:
                kept.append(_adopt_data.put_back(self.tool, Path(path), Path(place), self.journal["stamp"]))
            elif Path(place).exists():
                shutil.rmtree(place)  # the folder itself was not touched
        self.start_old()
        for place in self.journal["copies"].values():  # of mounts: they came back and were compared
            shutil.rmtree(place, ignore_errors=True)
        self.save(phase="returned")
        return kept

    def start_old(self) -> None:
        """In the order in which they had been started, databases first; then as they had been."""
        if self.journal["enabled"]:
            self.tool.run(["systemctl", "--quiet", "enable", *self.journal["enabled"]], "enable the old units")
        order = sorted(self.old, key=lambda one: (not one["database"], one["started"]))
        for one in order:
            self.tool.run(["docker", "update", f"--restart={one['restart']}", one["id"]], f"restore {one['name']}")
            if one["running"]:
                self.tool.run(["docker", "start", one["id"]], f"start {one['name']}")
        end = time.monotonic() + RETURN_SECONDS
        while True:
            found = self.details()
            late = [one["name"] for one in order if one["running"] and not as_before(one, found[one["id"]])]
            if not late:
                return
            if time.monotonic() > end:
                raise Failure(
                    f"Unable to bring back the old containers {', '.join(late)}: they were started and are not as "
                    f"before after {RETURN_SECONDS:g} seconds. Look at `docker logs`, and run this again to go on"
                )
            time.sleep(POLL)

    def finish(self) -> None:
        """The old containers and the copies go; the dumps stay."""
        present = self.tool.run(["docker", "ps", "--all", "--quiet", "--no-trunc"], "list containers").split()
        gone = [one["id"] for one in self.old if one["id"] in present]
        if gone:
            self.tool.run(["docker", "rm", *gone], "remove the old containers", STOP_LIMIT)
        for place in self.journal["copies"].values():
            if Path(place).exists():
                shutil.rmtree(place)
        self.save(phase="finished", copies={})


def stone_file(whole: Tree, name: str, step: Mapping[str, Any]) -> Tree:
    """A compose file for one stepping stone: some containers of the new one, with other images, published nowhere."""
    services = {}
    for container in step["containers"]:
        body = {key: value for key, value in whole["services"][container].items() if key not in ("ports", "labels")}
        body["image"] = step["images"].get(container, body["image"])
        body["restart"] = "no"
        body["labels"] = {"mediaserver.digest": "stepping-stone"}  # ours, should a killed run leave it behind
        body["depends_on"] = {
            other: how for other, how in (body.get("depends_on") or {}).items() if other in step["containers"]
        }
        for at, source in step["volumes"].get(container, {}).items():
            bind = {"type": "bind", "source": source, "target": at, "bind": {"create_host_path": False}}
            body["volumes"] = [*(body.get("volumes") or []), bind]
        body["networks"] = {"default": None}
        services[container] = body
    return {"name": name, "services": services}


def answer(url: str) -> int | str:
    """Status of a request, or why there is none. A redirection is an answer and is not followed."""

    class Stay(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, *_args: Any, **_options: Any) -> None:
            return None

    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({}), Stay).open(url, timeout=10) as reply:
            return int(reply.status)
    except urllib.error.HTTPError as error:
        return error.code
    except (OSError, ValueError) as error:
        return f"no answer ({error})"


def as_before(one: Mapping[str, Any], found: Mapping[str, Any]) -> bool:
    state = found["State"]
    health = (state.get("Health") or {}).get("Status", "")
    return state["Status"] == "running" and (one["health"] != "healthy" or health == "healthy")


def fresh(params: Mapping[str, Any], taken: Sequence[str]) -> Tree:
    """The journal of a take-over that has not begun; its stamp is none of those ``taken``."""
    request = {key: params[key] for key in ("old", "data", "stones", "smoke", "units")}
    stones = request.pop("stones")
    names = [one["name"] for one in params["projects"]]
    stamp = time.strftime("%Y%m%d-%H%M%S")
    while stamp in taken:
        stamp += "-2"
    return {**request, "steps": stones, "stamp": stamp, "projects": names, "phase": ""}


def forward(course: Course) -> list[Step]:
    """What is left of a take-over. The first step changes nothing but the journal."""
    journal = course.journal
    names = ", ".join(one["name"] for one in journal["old"])
    steps: list[tuple[str, Callable[[], Any]]] = []
    if journal["phase"] != "switching":
        steps += [
            (f"stop the old containers {names} (kept, disabled)", partial(course.stop, databases=False)),
            ("dump the databases and count the rows", course.dump),
            ("stop the old databases", partial(course.stop, databases=True)),
            (f"copy {', '.join(one['path'] for one in journal['data'] if one['copy'])} and compare", course.copy),
        ]
    steps.append(("give the folders to the new containers' users", course.give))
    for stone in journal["steps"]:
        steps.append((f"migrate {stone['service']} by way of {stone['name']}", partial(course.stone, stone)))
    steps += [
        (f"start {', '.join(journal['projects'])}", course.start),
        ("look whether they answer", course.smoke),
        ("close the journal", course.done),
    ]
    guarded = [Step(text, course.guarded(text, apply)) for text, apply in steps]
    if journal["phase"]:
        return guarded
    return [Step("pull the images", course.pull), Step("write down what runs", course.begin), *guarded]


def backward(courses: Sequence[Course]) -> list[Step]:
    return [Step(f"bring back {', '.join(o['name'] for o in c.old)}", c.give_back) for c in reversed(courses)]


def interrupted(course: Course) -> Callable[[], None]:
    def apply() -> None:
        course.give_back()
        raise Failure(
            "An earlier take-over had failed and was being undone when it was interrupted. It is undone now: the old "
            f"set-up runs as before. Its reason had been: {course.journal.get('reason', 'unknown')}"
        )

    return apply


def steps(module: AnsibleModule, courses: Sequence[Course], folder: Path) -> list[Step]:
    """By the wanted state and what the journals say."""
    unfinished = [course for course in courses if course.journal["phase"] in OPEN]
    if module.params["state"] == "finished":
        return [Step(f"remove {', '.join(o['name'] for o in c.old)} and the copies", c.finish)
                for c in courses if c.journal["phase"] == "done"]  # fmt: skip
    if module.params["state"] == "returned":
        return backward([course for course in courses if course.journal["phase"] in (*OPEN, "done")])
    for course in unfinished:
        if course.journal["phase"] == "returning":
            return [Step("undo the take-over that failed", interrupted(course))]
        return forward(course)
    taken = {one["id"] for course in courses if course.journal["phase"] == "done" for one in course.old}
    if not [one for one in module.params["old"] if one["id"] not in taken]:
        return []
    journal = fresh(module.params, [course.folder.name for course in courses])
    return forward(Course(module, folder / journal["stamp"], journal))


def work(module: AnsibleModule) -> dict[str, Any]:
    """Lock, read the journals, plan, run."""
    folder = Path(module.params["directory"])
    with lock("projects", timeout=module.params["lock_timeout"]):
        courses = [Course(module, path, journal) for path, journal in journals(folder)]
        todo = steps(module, courses, folder)
        before = {str(course.folder.name): course.journal["phase"] for course in courses}
        plan = Plan(
            {"take-overs": before}, {"state": module.params["state"]} if todo else {"take-overs": before}, tuple(todo)
        )

        def read_back() -> dict[str, Any]:
            return {"journals": {path.name: journal["phase"] for path, journal in journals(folder)}}

        return run(module, plan, read_back)
