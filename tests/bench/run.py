#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""CPU seconds of runs that change nothing, beside the same work done with common modules.

Both sides run on this machine over Ansible's local connection, with one task file each and no facts. Counted is the CPU
time of ansible-playbook and of every process it started, module and docker client processes included; what the Docker
daemon itself spent is printed beside it. The containers are real ones in this machine's Docker engine, from an image of
one tiny program that sleeps. Those of the role are started by `docker run` with the labels that Compose gives, as the
measured run needs no Compose; systemd units are left out, as docker_container knows none.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import platform
import re
import resource
import shutil
import struct
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
IMAGE = "mediaserver-bench:1"
LABEL = "mediaserver.bench=1"
SERVICES = 20
FILES = 60
TARGETS = {"services": 5.0, "config tree": 20.0}


@dataclass
class Cost:
    """What one run cost."""

    cpu: float
    wall: float
    daemon: float

    def __str__(self) -> str:
        return f"{self.cpu:8.2f} {self.wall:8.2f} {self.daemon:8.2f}"


def sleeper() -> bytes:
    """A static program that only waits, for the image: pause() in a loop."""
    code, machine = {
        "x86_64": (bytes.fromhex("b8220000000f05ebf7"), 62),
        "aarch64": (
            bytes.fromhex("0000 80d2 0100 80d2 0200 80d2 0300 80d2 2809 80d2 0100 00d4 faff ff17".replace(" ", "")),
            183,
        ),
    }[platform.machine()]
    base = 0x400000
    size = 120 + len(code)
    header = struct.pack(
        "<16sHHIQQQIHHHHHH", b"\x7fELF\2\1\1" + bytes(9), 2, machine, 1, base + 120, 64, 0, 0, 64, 56, 1, 0, 0, 0
    )
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, base, base, size, size, 0x1000)
    return header + segment + code


def docker(*words: str, data: bytes | None = None) -> str:
    return subprocess.run(["docker", *words], check=True, input=data, capture_output=True).stdout.decode()


def make_image() -> None:
    """The image, straight from a tar archive."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        member = tarfile.TarInfo("sleep")
        program = sleeper()
        member.size, member.mode = len(program), 0o755
        tar.addfile(member, io.BytesIO(program))
    docker("import", "--change", 'CMD ["/sleep"]', "-", IMAGE, data=stream.getvalue())


def daemon_seconds() -> float:
    """CPU time of the Docker daemon so far."""
    total = 0.0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            text = stat.read_text()
            if "(dockerd)" in text:
                fields = text.rpartition(")")[2].split()
                total += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return total


def play(folder: Path, name: str, changed: bool | None = None) -> Cost:
    """Run a playbook and count; ``changed`` False insists that nothing changed."""
    environment = {
        **os.environ,
        "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "playbooks/collections"),
        "ANSIBLE_HOME": str(folder / "home"),
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_DEPRECATION_WARNINGS": "0",
    }
    command = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", "localhost,", str(folder / name)]
    before, begun, daemon = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic(), daemon_seconds()
    done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    recap = re.search(r"changed=(\d+).*failed=(\d+)", done.stdout)
    if done.returncode != 0 or recap is None or (changed is False and recap.group(1) != "0"):
        sys.exit(f"{name} did not end as it should:\n{done.stdout[-3000:]}\n{done.stderr[-2000:]}")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Cost(cpu, time.monotonic() - begun, daemon_seconds() - daemon)


def write_play(folder: Path, name: str, tasks: list[dict] | None = None, **more: object) -> None:
    body = {
        "hosts": "localhost",
        "connection": "local",
        "gather_facts": False,
        "vars": {"ansible_python_interpreter": sys.executable, **more.pop("vars", {})},  # type: ignore[dict-item]
        **more,
    }
    if tasks is not None:
        body["tasks"] = tasks
    (folder / name).write_text(yaml.safe_dump([body], sort_keys=False))


def service_files(root: Path, name: str) -> list[dict]:
    """Three files: compose file, configuration, secret."""
    labels = {"mediaserver.project": name, "mediaserver.digest": "${MEDIASERVER_DIGEST}"}
    body = {"image": IMAGE, "restart": "unless-stopped", "labels": labels, "environment": {"TZ": "Europe/Paris"}}
    folder = f"{root}/{name}"
    return [
        {"path": f"{folder}/compose.yaml", "service": name, "yaml": {"name": name, "services": {"main": body}}},
        {"path": f"{folder}/files/app.conf", "service": name, "content": f"name = {name}\n" * 20},
        {"path": f"{folder}/secrets/main/password", "service": name, "secret_ref": f"{name}.password", "mode": "0400"},
    ]


def services(folder: Path) -> tuple[Cost, Cost]:
    """The role services and 20 tasks of docker_container, each on its own 20 containers that are as wanted."""
    root = folder / "services"
    names = [f"bench{number:02}" for number in range(SERVICES)]
    variables = {
        "services_root": str(root),
        "services_files": [entry for name in names for entry in service_files(root, name)],
        "services_projects": [{"name": name, "directory": f"{root}/{name}"} for name in names],
        "services_secrets": {f"{name}.password": "x" * 32 for name in names},
    }
    tree = {
        "name": "services",
        "files": "{{ services_files }}",
        "projects": {name: f"{root}/{name}" for name in names},
        "secrets": "{{ services_secrets }}",
    }
    write_play(folder, "prepare.yml", [{"homelab.mediaserver.config_tree": tree}], vars=variables)
    play(folder, "prepare.yml")
    for name in names:
        digest = dict(line.split("=", 1) for line in (root / name / ".env").read_text().splitlines())
        labels = {
            "com.docker.compose.project": name,
            "com.docker.compose.service": "main",
            "com.docker.compose.project.working_dir": f"{root}/{name}",
            "mediaserver.digest": digest["MEDIASERVER_DIGEST"],
        }
        words = [word for key, value in labels.items() for word in ("--label", f"{key}={value}")]
        docker(
            "run",
            "--detach",
            "--label",
            LABEL,
            *words,
            "--name",
            f"mediaserver-{name}-main-1",
            "--network",
            "none",
            IMAGE,
        )
    write_play(folder, "services.yml", vars=variables, roles=["homelab.mediaserver.services"])
    container = {
        "image": IMAGE,
        "state": "started",
        "restart_policy": "unless-stopped",
        "network_mode": "none",
        "env": {"TZ": "Europe/Paris"},
        "labels": {"mediaserver.bench": "1"},
        "pull": "missing",
    }
    tasks = [{"community.docker.docker_container": {"name": f"mediaserver-peer-{name}", **container}} for name in names]
    write_play(folder, "containers.yml", tasks)
    play(folder, "containers.yml")
    time.sleep(4)
    return play(folder, "services.yml", changed=False), play(folder, "containers.yml", changed=False)


def trees(folder: Path) -> tuple[Cost, Cost]:
    """60 files by config_tree and by a loop over template."""
    source = folder / "source.j2"
    source.write_text("# {{ item }}\n" + "".join(f"key{number} = {{{{ value }}}} {number}\n" for number in range(30)))
    files = [f"{folder}/tree/{number:02}/app.conf" for number in range(FILES)]
    for path in files:
        Path(path.replace("/tree/", "/loop/")).parent.mkdir(parents=True)
    entries = [{"path": path, "template": str(source), "variables": {"item": path}} for path in files]
    task = {"homelab.mediaserver.config_tree": {"name": "bench", "files": entries, "variables": {"value": "x"}}}
    write_play(folder, "tree.yml", [task])
    loop = {
        "ansible.builtin.template": {"src": str(source), "dest": "{{ item }}", "mode": "0644"},
        "loop": [path.replace("/tree/", "/loop/") for path in files],
    }
    write_play(folder, "loop.yml", [loop], vars={"value": "x"})
    for name in ("tree.yml", "loop.yml"):
        play(folder, name)
    return play(folder, "tree.yml", changed=False), play(folder, "loop.yml", changed=False)


def empty(folder: Path) -> Cost:
    """What ansible-playbook costs before it does anything."""
    write_play(folder, "empty.yml", [{"ansible.builtin.debug": {"msg": "x"}}])
    return play(folder, "empty.yml", changed=False)


@contextlib.contextmanager
def workplace() -> Iterator[Path]:
    """A folder, and none of our containers, image or manifests left afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="mediaserver-bench-"))
    try:
        yield folder
    finally:
        for name in ("services", "bench"):
            manifest = Path("/var/lib/mediaserver/trees") / f"{name}.json"
            with contextlib.suppress(OSError, ValueError):
                if str(folder) in manifest.read_text():
                    manifest.unlink()
        with contextlib.suppress(subprocess.CalledProcessError, FileNotFoundError):
            ids = docker("ps", "--all", "--quiet", "--filter", f"label={LABEL}").split()
            if ids:
                docker("rm", "--force", *ids)
            docker("rmi", "--force", IMAGE)
        shutil.rmtree(folder)


def report(title: str, ours: tuple[str, Cost], theirs: tuple[str, Cost], start: Cost, target: float) -> bool:
    """One comparison; the ratio counts whole processes, Ansible's own start included on both sides."""
    ratio = theirs[1].cpu / ours[1].cpu
    net = (theirs[1].cpu - start.cpu) / max(ours[1].cpu - start.cpu, 0.01)
    print(f"\n{title}\n  {'':46} {'CPU s':>8} {'wall s':>8} {'dockerd':>8}")
    for name, cost in (ours, theirs):
        print(f"  {name:46} {cost}")
    verdict = "reached" if ratio >= target else "MISSED"
    print(f"  ratio of CPU seconds {ratio:.1f} (target {target:g}: {verdict}); without Ansible's own start {net:.1f}")
    return ratio >= target


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--json", type=Path, help="also write the figures here")
    arguments = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("Run it as root: it writes below /var/lib/mediaserver and talks to Docker.")
    if Path("/var/lib/mediaserver/trees/services.json").exists():
        sys.exit("This machine has services of its own: run the benchmark on another one.")
    with workplace() as folder:
        make_image()
        start = empty(folder)
        print(f"Ansible's own start, nothing done: {start.cpu:.2f} CPU s, {start.wall:.2f} s")
        ours, theirs = services(folder)
        good = report(
            f"Second run of {SERVICES} services, nothing to change",
            (f"role services, {SERVICES} projects, {3 * SERVICES} files", ours),
            (f"{SERVICES} tasks of community.docker.docker_container", theirs),
            start,
            TARGETS["services"],
        )
        tree, loop = trees(folder)
        good &= report(
            f"Second run of {FILES} files, nothing to change",
            ("config_tree", tree),
            ("ansible.builtin.template in a loop", loop),
            start,
            TARGETS["config tree"],
        )
    if arguments.json:
        figures = {"start": start, "services": ours, "docker_container": theirs, "config_tree": tree, "template": loop}
        arguments.json.write_text(json.dumps({name: vars(cost) for name, cost in figures.items()}, indent=2) + "\n")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
