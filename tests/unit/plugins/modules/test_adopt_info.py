# SPDX-License-Identifier: MIT
"""Reading a hand-made set-up: what is told, what is masked, and that nothing is written."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils import basic
from ansible.module_utils.testing import patch_module_args
from ansible_collections.homelab.mediaserver.plugins.module_utils import _adopt, _docker
from ansible_collections.homelab.mediaserver.plugins.modules import adopt_info

PLANTED = "planted-secret-value"
READS = ("ps", "inspect", "image", "exec", "compose", "show")


def details(name: str, image: str, environment: dict[str, str], **more: Any) -> dict[str, Any]:
    return {
        "Id": f"{name}-id",
        "Name": f"/{name}",
        "Image": f"sha256:{name}",
        "Config": {
            "Image": image,
            "Env": [f"{key}={value}" for key, value in environment.items()],
            "Labels": {
                "com.docker.compose.project": "intranet",
                "com.docker.compose.service": name,
                "com.docker.compose.project.working_dir": "/opt/intranet",
            },
            "Cmd": more.pop("command", None),
        },
        "State": {"Status": "running", "StartedAt": "2026-01-01", "Health": {"Status": "healthy"}},
        "HostConfig": {
            "RestartPolicy": {"Name": "always"},
            "PortBindings": {"5432/tcp": [{"HostIp": "", "HostPort": "5432"}], "53/udp": None},
        },
        "NetworkSettings": {"Networks": {"intranet_default": {"IPAddress": ""}}},
        "Mounts": [
            {"Type": "bind", "Source": "/mnt/postgres", "Destination": "/var/lib/postgresql/data", "RW": True},
            {"Type": "tmpfs", "Destination": "/tmp"},
        ],
        **more,
    }


class Host:
    """Commands by what they are asked; anything else fails, as does any write."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.root, self.capsys = root, capsys
        self.containers = [
            details(
                "database",
                "tensorchord/pgvecto-rs:pg14-v0.2.0",
                {
                    "POSTGRES_PASSWORD": PLANTED,
                    "POSTGRES_DB": "immich",
                    "DB_URL": f"postgres://immich:{PLANTED}@database/immich",
                    "NOTE": f"it is {PLANTED}",
                },
            ),
            details(
                "server",
                "ghcr.io/immich-app/immich-server:release",
                {"DB_PASSWORD_FILE": "/run/secrets/db", "IMMICH_SOURCE_REF": "v1.118.0"},
                command=["start.sh", "microservices"],
            ),
        ]
        self.calls: list[list[str]] = []
        monkeypatch.setattr(adopt_info, "ROOT", root)
        monkeypatch.setattr(_docker.Tool, "attempt", lambda _tool, argv, _limit=60: self.attempt(list(argv)))
        (root / "mnt/postgres").mkdir(parents=True)
        (root / "mnt/postgres/PG_VERSION").write_text("14\n")
        for name, text in {
            "opt/intranet/docker-compose.yml": "services: {}\n",
            "opt/extranet/compose.yaml": "services: {}\n",
            "etc/restic/passwd": f"{PLANTED}\n",
            "etc/cron.d/backup": f"0 2 * * * root RESTIC_PASSWORD={PLANTED} restic -r /mnt/backups/repo backup /mnt\n",
            "etc/systemd/system/intranet.service": "[Service]\nWorkingDirectory=/opt/intranet\n",
            "etc/systemd/system/mediaserver-x.service": "[Service]\nExecStart=docker\n",
            "etc/ddclient.conf": f"protocol=ovh, login=home, \\\npassword='{PLANTED}' \\\nhome.example.org\n",
            "etc/openvpn/server.conf": f"port 1194\nserver 10.8.0.0 255.255.255.0\n<key>\n{PLANTED}\n</key>\n",
            "etc/fail2ban/jail.local": "[DEFAULT]\nenabled = true\n[sshd]\nenabled = true\n[other]\nenabled = false\n",
            "etc/ufw/user.rules": "### tuple ### allow tcp 8096 0.0.0.0/0 any 0.0.0.0/0 in\n-A ufw\n",
            "var/lib/mediaserver/adopt/1/journal.json": json.dumps(
                {"phase": "done", "old": [{"id": "gone"}], "projects": ["jellyfin"]}
            ),
        }.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text)

    def attempt(self, argv: Sequence[str]) -> tuple[int, str, str]:
        self.calls.append(list(argv))
        assert argv[1] in READS, f"a write: {argv}"
        if argv[:2] == ["docker", "ps"]:
            return 0, "\n".join(one["Id"] for one in self.containers), ""
        if argv[:2] == ["docker", "inspect"]:
            return 0, json.dumps([one for one in self.containers if one["Id"] in argv]), ""
        if argv[:2] == ["docker", "image"]:
            found = [
                {"Id": one["Image"], "RepoDigests": [f"x@{one['Image']}"], "Config": {}} for one in self.containers
            ]
            return 0, json.dumps(found), ""
        if argv[:2] == ["docker", "exec"] and "psql" in argv:
            return 0, "plpgsql 1.0\nvectors 0.2.0\n", ""
        if argv[:2] == ["docker", "exec"] and argv[-2:] == ["cat", "/run/secrets/db"]:
            return 0, f"{PLANTED}-from-file\n", ""
        if argv[:2] == ["docker", "compose"]:
            return 0, json.dumps({"services": {"database": {"image": "new:2", "environment": {"P": PLANTED}}}}), ""
        if argv[:2] == ["systemctl", "show"]:
            return 0, "Id=intranet.service\nLoadState=loaded\nActiveState=active\nUnitFileState=enabled\n", ""
        return 1, "", f"unknown {argv}"

    def run(self, check: bool = False, **params: Any) -> dict[str, Any]:
        basic._ANSIBLE_ARGS = None
        with patch_module_args({**params, "_ansible_check_mode": check}), pytest.raises(SystemExit):
            adopt_info.main()
        self.text = self.capsys.readouterr().out.strip().splitlines()[-1]
        return json.loads(self.text)


@pytest.fixture
def host(tmp_path, monkeypatch, capsys):
    return Host(tmp_path, monkeypatch, capsys)


@pytest.mark.parametrize("check", [True, False])
def test_everything_is_found_and_no_secret_told(host, check):
    before = sorted(str(path) for path in host.root.rglob("*"))
    found = host.run(check)["found"]
    assert PLANTED not in host.text
    assert sorted(str(path) for path in host.root.rglob("*")) == before
    database, server = found["containers"]
    assert (database["name"], database["restart"], database["project"]) == ("database", "always", "intranet")
    assert database["digests"] == ["x@sha256:database"]
    assert database["ports"] == [{"address": "0.0.0.0", "published": 5432, "inside": 5432, "protocol": "tcp"}]
    assert [(m["source"], m["postgresql"]) for m in database["mounts"]] == [("/mnt/postgres", "14")]
    assert database["database"] == {
        "user": "postgres",
        "name": "immich",
        "extensions": {"plpgsql": "1.0", "vectors": "0.2.0"},
    }
    assert database["environment"]["POSTGRES_DB"] == "immich"
    assert (server["version"], server["microservices"]) == ("1.118.0", True)
    assert [one["directory"] for one in found["projects"]] == ["/opt/extranet", "/opt/intranet"]
    assert found["projects"][1]["declared"] == {"database": "new:2"}
    assert [(u["name"], u["directory"], u["enabled"]) for u in found["units"]] == [
        ("intranet.service", "/opt/intranet", True)
    ]
    assert found["restic"] == {
        "used_by": ["/etc/cron.d/backup"], "repository": "/mnt/backups/repo", "password_file": "/etc/restic/passwd",
    }  # fmt: skip
    assert found["ddclient"] == {"protocol": "ovh", "login": "home"}
    assert found["openvpn"] == [
        {"file": "/etc/openvpn/server.conf", "port": ["1194"], "server": ["10.8.0.0 255.255.255.0"]}
    ]
    assert found["fail2ban"] == ["sshd"]
    assert found["ufw"] == ["allow tcp 8096 0.0.0.0/0 any 0.0.0.0/0 in"]
    assert found["takeovers"] == [{"phase": "done", "containers": ["gone"], "projects": ["jellyfin"]}]


def test_secrets_are_told_only_when_they_are_asked_for(host):
    reveal = [
        {"secret": "a", "container": "database-id", "variable": "POSTGRES_PASSWORD"},
        {"secret": "b", "container": "server-id", "variable": "DB_PASSWORD"},
        {"secret": "c", "file": "/etc/restic/passwd"},
        {"secret": "d", "file": "/etc/ddclient.conf", "key": "password"},
        {"secret": "e", "file": "/etc/nothing"},
        {"secret": "a", "container": "database-id", "variable": "POSTGRES_DB"},
    ]
    told = host.run(reveal=reveal)
    assert told["secrets"] == {"a": PLANTED, "b": f"{PLANTED}-from-file", "c": PLANTED, "d": PLANTED}
    assert "found" not in told


def test_a_host_without_docker_is_no_mistake(host):
    real = host.attempt
    host.attempt = lambda argv: (127, "", "docker is not installed") if argv[0] == "docker" else real(argv)
    found = host.run()["found"]
    assert "docker is not installed" in found["docker"] and found["containers"] == []


def test_missing_arguments(host):
    assert "secret" in host.run(reveal=[{"file": "/x"}])["msg"]


@pytest.mark.parametrize(
    ("name", "secret"),
    [
        ("DB_PASSWORD", True), ("POSTGRES_PASSWORD_FILE", False), ("JWT_SECRET", True), ("API_KEY", True),
        ("TUNNEL_TOKEN", True), ("MYSQL_PWD", True), ("ENCRYPTION_KEY", True), ("DB_HOSTNAME", False), ("TZ", False),
        ("KEYBOARD", False), ("GF_SECURITY_ADMIN_PASSWORD", True), ("GF_SECURITY_ADMIN_PASSWORD__FILE", False),
    ],
)  # fmt: skip
def test_names_of_secrets(name, secret):
    assert _adopt.secret_name(name) is secret


def test_masks():
    shown = _adopt.masked({"A_TOKEN": "abcdef", "URL": "https://u:p@host/abcdef", "SHORT_KEY": "x", "EMPTY_SECRET": ""})
    assert shown == {
        "A_TOKEN": "********",
        "URL": "https://********@host/********",
        "SHORT_KEY": "********",
        "EMPTY_SECRET": "",
    }


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("restic -p /etc/restic/passwd backup", "restic -p /etc/restic/passwd backup"),
        ("x --password-file /a b", "x --password-file /a b"),
        ("RESTIC_PASSWORD=abc restic", "RESTIC_PASSWORD=******** restic"),
        ("x --password abc y", "x --password ******** y"),
        ("curl https://me:abc@host/", "curl https://********@host/"),
    ],
)
def test_masked_lines(line, shown):
    assert _adopt.masked_line(line) == shown


@pytest.mark.parametrize(
    ("body", "version"),
    [
        ({"major": 1, "minor": 118, "patch": 2}, "1.118.2"),
        ({"status": "OK", "version": {"major": 2, "minor": 15, "revision": 1}}, "2.15.1"),
        ({"status": "success", "data": {"version": "2.53.0"}}, "2.53.0"),
        ({"Version": "10.8.13"}, "10.8.13"),
        ({"database": "ok", "version": "12.2.0"}, "12.2.0"),
        ([], ""),
        ({"message": "no"}, ""),
    ],
)
def test_told_versions(body, version):
    assert _adopt.told_version(body) == version
