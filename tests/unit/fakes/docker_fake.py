#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A stand-in for the commands docker, docker compose and systemctl, with its state in a JSON file (FAKE_STATE).

It knows the calls that compose_projects and adopt_services make and refuses all others (containers that compose did
not start here are in "old", as docker inspect tells them). With FAKE_READ_ONLY every write fails, so that a
check mode run that writes is found. What it does with a project is scripted in the state: "behave": {project: ...}.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import sys
from pathlib import Path

ABSENT = {"LoadState": "not-found", "ActiveState": "inactive", "UnitFileState": ""}
NEW = {"LoadState": "loaded", "ActiveState": "inactive", "UnitFileState": "disabled"}
AFTER = {
    "enable": {"UnitFileState": "enabled"},
    "start": {"ActiveState": "active"},
    "stop": {"ActiveState": "inactive"},
}


def fail(text: str, code: int = 1) -> None:
    sys.stderr.write(text + "\n")
    sys.exit(code)


def option(argv: list[str], name: str) -> str:
    return argv[argv.index(name) + 1]


def write(state: dict, what: str) -> None:
    if os.environ.get("FAKE_READ_ONLY"):
        fail(f"WRITE IN CHECK MODE: {what}", 99)
    state["writes"].append(what)


def ps(state: dict, argv: list[str]) -> None:
    if "--quiet" in argv:
        print("\n".join(one["Id"] for one in state.get("old", [])))
        return
    labels = re.findall(r'\.Label "([^"]+)"', option(argv, "--format"))
    for one in state["containers"]:
        print(
            json.dumps([one["name"], one["state"], one["status"], *(one["labels"].get(label, "") for label in labels)])
        )


def network(state: dict, argv: list[str]) -> None:
    if argv[0] == "ls":
        for name, subnet in state["networks"].items():
            print(json.dumps([name, subnet]))
    elif argv[0] == "create":
        write(state, f"network create {argv[-1]}")
        if argv[-1] in state["networks"]:
            fail(f"network with name {argv[-1]} already exists")
        state["networks"][argv[-1]] = option(argv, "--label").partition("=")[2]
    elif argv[0] == "rm":
        write(state, f"network rm {argv[1]}")
        del state["networks"][argv[1]]
    else:
        fail(f"unknown network command {argv}", 98)


def compose(state: dict, argv: list[str]) -> None:
    name = option(argv, "--project-name")
    if "down" in argv:
        write(state, f"down {name}")
        state["containers"] = [c for c in state["containers"] if c["labels"]["com.docker.compose.project"] != name]
        return
    directory = option(argv, "--project-directory")
    behave = state["behave"].get(name, "")
    if "pull" in argv:
        write(state, f"pull {name}")
        if behave == "no image":
            fail("manifest unknown: manifest unknown")
        if behave == "pull fails once":
            state["behave"][name] = ""
            fail("net/http: TLS handshake timeout")
    elif "up" in argv:
        write(state, f"up {name}{' anew' if '--force-recreate' in argv else ''}")
        start(state, name, directory, behave)
    else:
        fail(f"unknown compose command {argv}", 98)


def start(state: dict, name: str, directory: str, behave: str) -> None:
    values = dict(line.split("=", 1) for line in Path(directory, ".env").read_text().splitlines())
    labels = {
        "com.docker.compose.project": name,
        "com.docker.compose.project.working_dir": directory,
        "mediaserver.digest": values["MEDIASERVER_DIGEST"],
    }
    state["containers"] = [c for c in state["containers"] if c["labels"]["com.docker.compose.project"] != name]
    status = {"unhealthy": "Up 9 seconds (unhealthy)", "slow": "Up 1 second (health: starting)"}.get(
        behave, "Up 9 seconds (healthy)"
    )
    for service in values["MEDIASERVER_CONTAINERS"].split(","):
        state["containers"].append(
            {
                "name": f"{name}-{service}-1",
                "state": "running",
                "status": status,
                "labels": {**labels, "com.docker.compose.service": service},
            }
        )
    if behave == "up fails":
        fail("Error response from daemon: Bind for 0.0.0.0:80 failed: port is already allocated")


def one_old(state: dict, name: str) -> dict:
    for one in state["old"]:
        if one["Id"] == name:
            return one
    return fail(f"Error response from daemon: No such container: {name}")


def old(state: dict, argv: list[str]) -> None:
    """inspect, update, stop, start, rm and exec of a container that was there before."""
    verb, names = argv[0], [word for word in argv[1:] if not word.startswith("--")]
    if verb == "inspect":
        print(json.dumps([one_old(state, name) for name in names]))
        return
    if verb == "exec":
        execute(state, names)
        return
    write(state, " ".join(argv))
    for name in names:
        one = one_old(state, name)
        if verb == "update":
            policy, _colon, count = option_value(argv, "--restart").partition(":")
            one["HostConfig"]["RestartPolicy"] = {"Name": policy, "MaximumRetryCount": int(count or 0)}
        elif verb == "stop":
            one["State"]["Status"] = "exited"
        elif verb == "start":
            one["State"]["Status"] = "running"
        elif one["State"]["Status"] == "running":
            fail("cannot remove container: container is running")
        else:
            state["old"].remove(one)


def option_value(argv: list[str], name: str) -> str:
    return next(word.partition("=")[2] for word in argv if word.startswith(f"{name}="))


def execute(state: dict, words: list[str]) -> None:
    """A database of two tables, "public.t" with two rows."""
    if one_old(state, words[0])["State"]["Status"] != "running":
        fail("container is not running")
    if words[1] == "psql":
        print("public.empty 0\npublic.t 2")
    elif words[1] == "pg_dump":
        write(state, "dump")
        rows = "1\n" if state["behave"].get("dump") == "row lost" else "1\n2\n"
        print(f"COPY public.t (n) FROM stdin;\n{rows}\\.\nCOPY public.empty (n) FROM stdin;\n\\.")
        if state["behave"].get("dump") != "short":
            print("-- PostgreSQL database dump complete")


def systemctl(state: dict, argv: list[str]) -> None:
    argv = [word for word in argv if word != "--quiet"]
    if argv[0] == "show":
        shown = [{"Id": name, "NeedDaemonReload": "no", **state["units"].get(name, ABSENT)} for name in argv[3:]]
        print("\n".join("".join(f"{key}={value}\n" for key, value in unit.items()) for unit in shown), end="")
        return
    write(state, f"systemctl {' '.join(argv)}")
    for name in argv[1:]:
        if argv[0] == "start" and state["behave"].get(name) == "unit fails":
            fail(f"Dependency failed for {name}.")
        state["units"].setdefault(name, dict(NEW)).update(AFTER.get(argv[0], {}))


def logs(state: dict, argv: list[str]) -> None:
    for line in state["logs"].get(argv[-1], [])[-int(option(argv, "--tail")) :]:
        sys.stderr.write(line + "\n")


def serve(state: dict, program: str, argv: list[str]) -> None:
    """One command."""
    state["calls"].append(" ".join([program, *argv])[:60])
    if state.get("down") and program == "docker":
        fail("Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?")
    if program == "systemctl":
        systemctl(state, argv)
    elif argv[0] in ("ps", "network", "compose", "logs"):
        globals()[argv[0]](state, argv[1:])
    elif argv[0] in ("inspect", "update", "stop", "start", "rm", "exec"):
        old(state, argv)
    else:
        fail(f"unknown command {argv}", 98)


def main() -> None:
    path = Path(os.environ["FAKE_STATE"])
    with path.open("r+") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        state = json.load(stream)
        try:
            serve(state, Path(sys.argv[0]).name, sys.argv[1:])
        finally:
            stream.seek(0)
            stream.truncate()
            json.dump(state, stream)


if __name__ == "__main__":
    main()
