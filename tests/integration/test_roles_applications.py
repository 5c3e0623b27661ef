# SPDX-License-Identifier: MIT
"""Roles npm, jellyfin and immich over real HTTP: check on a fresh machine, converge, again, check.

The applications are the lab's stand-ins, run as processes (Immich's with SQLite). None of them is the real one.
"""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest

ROOT = Path(__file__).parents[2]
STANDINS = ROOT / "tests/lab/standins"
SECRETS = {
    "npm.pw": "planted-secret-npm",
    "jellyfin.pw": "planted-secret-jellyfin",
    "immich.pw": "planted-secret-immich",
}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class StandIn:
    """One of the lab's programs as a process, its paths below ``root``."""

    def __init__(self, program: str, root: Path, mounts: list[str], **environment: str) -> None:
        self.root, self.port = root, free_port()
        for path in mounts:
            (root / path.lstrip("/")).mkdir(parents=True, exist_ok=True)
        self.command = [sys.executable, str(STANDINS / program)]
        self.environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": f"{STANDINS / 'common'}:{(STANDINS / program).parent}",
            "LAB_TEST_ROOT": str(root),
            "LAB_TEST_MOUNTS": ":".join(mounts),
            "LAB_TEST_PORT": str(self.port),
            "LAB_TEST_BOOT": "0",
            **environment,
        }
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.process = subprocess.Popen(self.command, env=self.environment, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 15
        while socket.socket().connect_ex(("127.0.0.1", self.port)):
            assert time.monotonic() < deadline, f"{self.command} does not listen"
            time.sleep(0.05)

    def get(self, path: str, key: str = "") -> Any:
        with urlopen(
            Request(f"http://127.0.0.1:{self.port}{path}", headers={"x-api-key": key} if key else {})
        ) as answer:
            return json.load(answer)

    def stop(self) -> None:
        if self.process:
            self.process.kill()
            self.process.wait()


class Home:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        nginx = folder / "nginx"
        nginx.write_text("#!/bin/sh\nexit 0\n")
        nginx.chmod(0o755)
        self.npm = StandIn(
            "nginx-proxy-manager/manager.py", folder / "npm", ["/data", "/etc/letsencrypt"], LAB_TEST_NGINX=str(nginx)
        )
        self.jellyfin = StandIn("jellyfin/jellyfin.py", folder / "jellyfin", ["/config", "/cache", "/media"])
        self.immich = StandIn(
            "immich-server/start.py",
            folder / "immich",
            ["/data", "/external", "/mnt/photographs/family"],
            LAB_TEST_DATABASE=str(folder / "immich.db"),
            LAB_TEST_REDIS="none",
        )
        (folder / "immich/external/beach.jpg").write_bytes(b"a picture")
        for name in ("a.jpg", "b.jpg", "Trash/c.jpg"):
            path = folder / "immich/mnt/photographs/family" / name
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(b"a picture")
        self.applications = [self.npm, self.jellyfin, self.immich]

    def entry(self, name: str, port: int, **more: Any) -> dict[str, Any]:
        return {
            "service": name,
            "role": f"homelab.mediaserver.{name}",
            "url": f"http://127.0.0.1:{port}",
            "secrets": {"admin_password": f"{name}.pw"},
            "marker": str(self.folder / f"{name}.marker"),
            "volumes": {},
            "gpu": False,
            "routes": [],
            **more,
        }

    def play(self, *options: str) -> str:
        """Run the roles as role `host` does; the recap's numbers and all output."""
        upstream = {"address": "192.168.1.101", "port": 8096, "scheme": "http"}
        route = {"upstream": upstream, "login": "application", "websockets": True}
        media = str(self.folder / "jellyfin/media")
        variables = {
            "host_site": {"site": {"email": "admin@example.org", "tls": {"issuer": "none"}}},
            "host_secrets": SECRETS,
            "immich_api_key_file": str(self.folder / "keys/immich"),
            "immich_passwords": {"ann@example.org": "planted-secret-ann"},
            "npm_wait": 10,
            "jellyfin_media_owner": str(os.getuid()),
            "jellyfin_media_group": str(os.getgid()),
            "applications": [
                self.entry(
                    "npm",
                    self.npm.port,
                    settings={"default_site": "444"},
                    routes=[
                        {**route, "service": "jellyfin", "domains": ["media.example.org"], "allow": "any"},
                        {
                            **route,
                            "service": "grafana",
                            "domains": ["grafana.example.org"],
                            "allow": ["192.168.1.0/24", "10.8.0.0/24"],
                        },
                    ],
                ),
                self.entry(
                    "jellyfin",
                    self.jellyfin.port,
                    settings={
                        "libraries": [{"name": "Movies", "type": "movies", "paths": ["/media/movies"]}],
                        "system": {"EnableMetrics": True},
                    },
                    volumes={"media": {"host": media, "container": "/media"}},
                ),
                self.entry(
                    "immich",
                    self.immich.port,
                    settings={
                        "config": {"machineLearning": {"enabled": False}},
                        "schedule": "0 3 * * *",
                        "users": [{"email": "ann@example.org", "name": "Ann"}],
                        "libraries": [{"name": "Photo archive", "paths": ["/external"]}],
                    },
                    folders={
                        "photographs": [
                            {
                                "name": "Family",
                                "path": "/mnt/photographs/family",
                                "read_only": True,
                                "owner": "Ann@example.org",
                                "exclude": ["**/Trash/**"],
                            }
                        ]
                    },
                ),
            ],
        }
        playbook = self.folder / "play.yml"
        task = {
            "ansible.builtin.include_role": {"name": "{{ application.role }}"},
            "loop": "{{ applications }}",
            "loop_control": {"loop_var": "application", "label": "{{ application.service }}"},
        }
        play = {"hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": [task], "vars": variables}
        playbook.write_text(json.dumps([play]))
        result = subprocess.run(
            [str(ROOT / ".venv/bin/ansible-playbook"), str(playbook), "-i", "localhost,", "-vvv", "--diff", *options],
            env={
                **os.environ,
                "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
                "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "playbooks/collections"),
                "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
                "ANSIBLE_STDOUT_CALLBACK": "default",
            },
            capture_output=True,
            text=True,
            check=False,
            cwd=self.folder,
            timeout=300,
        )
        assert result.returncode == 0, result.stdout[-6000:] + result.stderr[-2000:]
        return result.stdout + result.stderr


def changed(output: str) -> int:
    return int(re.findall(r"changed=(\d+)", output)[-1])


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    made = Home(tmp_path_factory.mktemp("home"))
    yield made
    for application in made.applications:
        application.stop()


def test_roles_from_nothing_to_no_change(home: Home) -> None:
    outputs = [home.play("--check")]
    assert changed(outputs[0]) > 0, "a dry run of a fresh machine says what it would do"
    for application in home.applications:
        application.start()
    outputs.append(home.play("--check"))
    assert home.immich.get("/api/server/config")["isInitialized"] is False
    assert not (home.folder / "npm.marker").exists()

    outputs.append(home.play())
    assert changed(outputs[-1]) > 0
    for name in ("npm", "jellyfin", "immich"):
        assert (home.folder / f"{name}.marker").stat().st_mode & 0o777 == 0o644
    key = home.folder / "keys/immich"
    assert key.stat().st_mode & 0o777 == 0o400
    assert (home.folder / "jellyfin/media/movies").is_dir()
    immich = partial(home.immich.get, key=key.read_text())
    assert immich("/api/system-config")["library"]["scan"]["cronExpression"] == "0 3 * * *"
    assert {user["email"] for user in immich("/api/admin/users")} == {"admin@example.org", "ann@example.org"}
    library, family = immich("/api/libraries")
    assert library["importPaths"] == ["/external"]
    assert immich(f"/api/libraries/{library['id']}/statistics")["photos"] == 1, "waited until it was imported"
    assert (family["name"], family["importPaths"]) == ("Family", ["/mnt/photographs/family"])
    owner = next(user for user in immich("/api/admin/users") if user["email"] == "ann@example.org")
    assert family["ownerId"] == owner["id"]
    assert immich(f"/api/libraries/{family['id']}/statistics")["photos"] == 2, "less what is excluded"
    state = json.loads((home.folder / "npm/data/stand-in.json").read_text())
    assert {name for host in state["proxy_hosts"] for name in host["domain_names"]} == {
        "media.example.org",
        "grafana.example.org",
    }
    guarded = next(host for host in state["proxy_hosts"] if "grafana.example.org" in host["domain_names"])
    assert guarded["access_list_id"] == state["access_lists"][0]["id"]

    for options in ([], ["--check"]):
        outputs.append(home.play(*options))
        assert changed(outputs[-1]) == 0, outputs[-1][-6000:]
    for output in outputs:
        assert "planted-secret" not in output.replace("invocation", ""), "a secret is told"
        assert key.read_text() not in output
