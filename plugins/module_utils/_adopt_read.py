# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads a hand-made set-up on its host. Writes nothing; secrets leave only by :meth:`Reader.reveal`."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible.module_utils.urls import open_url
from ansible_collections.homelab.mediaserver.plugins.module_utils import _adopt, _docker
from ansible_collections.homelab.mediaserver.plugins.module_utils._compose import Unit
from ansible_collections.homelab.mediaserver.plugins.module_utils._reconcile import Failure

COMPOSE_FILES = ("docker-compose.yml", "docker-compose.yaml", "compose.yaml", "compose.yml")
JOURNALS = "/var/lib/mediaserver/adopt"
LIMIT = 256 * 1024
"""Configuration files above this size are no configuration files."""


class Reader:
    """``root`` is / but for tests."""

    def __init__(self, tool: _docker.Tool, root: Path) -> None:
        self.tool = tool
        self.root = root

    def path(self, name: str) -> Path:
        return self.root / name.lstrip("/")

    def text(self, name: str) -> str:
        """A small file's text; nothing where it is missing, unreadable, too big or no text."""
        path = self.path(name)
        try:
            return path.read_text(encoding="utf-8") if path.stat().st_size <= LIMIT else ""
        except (OSError, UnicodeDecodeError):
            return ""

    def texts(self, *patterns: str) -> dict[str, str]:
        found = {}
        for pattern in patterns:
            for path in sorted(self.root.glob(pattern.lstrip("/"))):
                if path.is_file():
                    name = f"/{path.relative_to(self.root)}"
                    found[name] = self.text(name)
        return found

    # containers

    def inspect(self) -> list[dict[str, Any]]:
        """All containers as docker inspect tells them."""
        names = self.tool.run(["docker", "ps", "--all", "--quiet", "--no-trunc"], "list containers").split()
        if not names:
            return []
        found: list[dict[str, Any]] = json.loads(self.tool.run(["docker", "inspect", *names], "inspect containers"))
        return found

    def containers(self) -> list[dict[str, Any]]:
        details = self.inspect()
        identities = sorted({one["Image"] for one in details})
        images: dict[str, Any] = {}
        if identities:
            code, out, _err = self.tool.attempt(["docker", "image", "inspect", *identities])
            images = {one["Id"]: one for one in json.loads(out or "[]")} if code in (0, 1) else {}
        found = []
        for one in details:
            entry = _adopt.container(one, images.get(one["Image"], {}))
            if not entry["ours"]:
                entry["version"] = self.ask_version(one, entry) or entry["version"]
                for mount in entry["mounts"]:
                    mount.update(self.looks(mount["source"]))
                if entry["state"] == "running" and "POSTGRES_PASSWORD" in "".join(entry["environment"]):
                    entry["database"] = self.database(entry)
            found.append(entry)
        return sorted(found, key=lambda one: (one["project"], one["name"]))

    def ask_version(self, details: Mapping[str, Any], entry: Mapping[str, Any]) -> str:
        """The program's own word, asked on the container's address."""
        repository = str(entry["image"]).partition("@")[0].rpartition("/")[2].partition(":")[0]
        ports, paths = _adopt.SELF_TOLD.get(repository, ((), ()))
        networks = (details.get("NetworkSettings") or {}).get("Networks") or {}
        addresses = [one["IPAddress"] for one in networks.values() if one.get("IPAddress")]
        if entry["state"] != "running":
            return ""
        for address in addresses[:1]:
            for port in ports:
                for path in paths:
                    with (
                        contextlib.suppress(OSError, ValueError),
                        open_url(f"http://{address}:{port}{path}", timeout=3, use_proxy=False) as answer,
                    ):
                        version = _adopt.told_version(json.load(answer))
                        if version:
                            return version
        return ""

    def looks(self, source: str) -> dict[str, Any]:
        """Owner of a mounted folder, and the major version of the PostgreSQL that lies there."""
        found: dict[str, Any] = {}
        with contextlib.suppress(OSError):
            info = self.path(source).stat()
            found = {"owner": f"{info.st_uid}:{info.st_gid}", "folder": self.path(source).is_dir()}
            mark = self.path(source) / "PG_VERSION"
            if mark.is_file():
                found["postgresql"] = mark.read_text().strip()
        return found

    def database(self, entry: Mapping[str, Any]) -> dict[str, Any]:
        """Name, user and extensions of a PostgreSQL container's database, by its own psql on its own socket."""
        environment = entry["environment"]
        user = environment.get("POSTGRES_USER") or "postgres"
        name = environment.get("POSTGRES_DB") or user
        query = "SELECT extname || ' ' || extversion FROM pg_extension ORDER BY 1"
        psql = ["psql", "--no-psqlrc", "--no-align", "--tuples-only", f"--username={user}", f"--dbname={name}"]
        code, out, _err = self.tool.attempt(["docker", "exec", str(entry["id"]), *psql, "--command", query])
        extensions = dict(line.partition(" ")[::2] for line in out.splitlines() if line) if code == 0 else {}
        return {"user": user, "name": name, "extensions": extensions}

    def projects(self, containers: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Compose projects that run, and folders below /opt that hold a compose file."""
        found: dict[str, dict[str, Any]] = {}
        for one in containers:
            if one["project"] and not one["ours"]:
                entry = found.setdefault(one["project"], {"name": one["project"], "directory": one["directory"]})
                entry["services"] = sorted({*entry.get("services", []), one["service"]})
        known = {one["directory"] for one in found.values()}
        for name in COMPOSE_FILES:
            for path in sorted(self.root.glob(f"opt/*/{name}")):
                directory = f"/{path.parent.relative_to(self.root)}"
                if directory not in known and not directory.startswith("/opt/mediaserver"):
                    known.add(directory)
                    found[directory] = {"name": path.parent.name, "directory": directory, "services": []}
        for entry in found.values():
            entry["files"] = [n for n in COMPOSE_FILES if (self.path(entry["directory"]) / n).is_file()]
            entry["declared"] = self.declared(entry)
        return sorted(found.values(), key=lambda one: str(one["directory"]))

    def declared(self, entry: Mapping[str, Any]) -> dict[str, str]:
        """Service and image as the compose file has them now, which may be other than what runs."""
        if not entry["files"]:
            return {}
        argv = ["docker", "compose", "--project-directory", str(entry["directory"]), "config", "--format", "json"]
        code, out, _err = self.tool.attempt(argv)
        if code != 0:
            return {}
        services = json.loads(out).get("services") or {}
        return {name: body.get("image") or "(built)" for name, body in services.items()}

    # what systemd and cron run

    def units(self, directories: Sequence[str]) -> list[dict[str, Any]]:
        """The owner's own units, as far as they concern compose projects, restic or backups."""
        found: list[dict[str, Any]] = []
        for name, text in self.texts("/etc/systemd/system/*.service", "/etc/systemd/system/*.timer").items():
            short = name.rpartition("/")[2]
            about = [d for d in directories if d and re.search(rf"{re.escape(d)}(?![\w-])", text)]
            if short.startswith("mediaserver-") or not (about or re.search(r"docker|restic|backup|rclone", text, re.I)):
                continue
            found.append({"name": short, "directory": about[0] if about else "", "restic": _adopt.restic_places(text)})
        states = self.tool.units([one["name"] for one in found]) if found else {}
        for one in found:
            state = states.get(one["name"], Unit())
            one |= {"active": state.active, "enabled": state.enabled}
        return found

    def restic(self) -> dict[str, Any]:
        """Repository and password file, from whatever names them."""
        texts = self.texts(
            "/etc/systemd/system/*.service", "/etc/cron*/*", "/var/spool/cron/crontabs/*", "/etc/restic/*",
            "/usr/local/bin/*", "/usr/local/sbin/*", "/opt/*/*.sh", "/root/*.sh",
        )  # fmt: skip
        found: dict[str, Any] = {"used_by": []}
        for name, text in texts.items():
            if "mediaserver" in name or not re.search(r"restic", text, re.I):
                continue
            found["used_by"].append(name)
            for key, value in _adopt.restic_places(text).items():
                found.setdefault(key, value)
        if "password_file" not in found and self.path("/etc/restic/passwd").is_file():
            found["password_file"] = "/etc/restic/passwd"
        return found if found["used_by"] or len(found) > 1 else {}

    def cron(self) -> list[dict[str, str]]:
        """Crontab lines of the owner's; passwords in them are masked."""
        lines = []
        for name, text in self.texts("/etc/crontab", "/etc/cron.d/*", "/var/spool/cron/crontabs/*").items():
            for line in text.splitlines():
                if re.search(r"docker|restic|backup|rclone|pg_dump", line, re.I) and not line.startswith("#"):
                    lines.append({"file": name, "line": _adopt.masked_line(line.strip())})
        return lines

    def system(self) -> dict[str, Any]:
        """OpenVPN, ddclient, fail2ban and UFW."""
        found: dict[str, Any] = {}
        servers = self.texts("/etc/openvpn/*.conf", "/etc/openvpn/server/*.conf")
        found["openvpn"] = [{"file": name, **_adopt.directives(text)} for name, text in servers.items()]
        values = _adopt.key_values(self.text("/etc/ddclient.conf"))
        found["ddclient"] = {k: v for k, v in values.items() if k in ("protocol", "login", "server", "use", "usev4")}
        jails = self.texts("/etc/fail2ban/jail.local", "/etc/fail2ban/jail.d/*.local", "/etc/fail2ban/jail.d/*.conf")
        found["fail2ban"] = _adopt.jails(body for name, body in jails.items() if "mediaserver" not in name)
        rules = self.texts("/etc/ufw/user.rules", "/etc/ufw/user6.rules")
        found["ufw"] = re.findall(r"^### tuple ### (.+)$", "\n".join(rules.values()), re.M)
        return found

    def all(self) -> dict[str, Any]:
        """Everything, without a secret."""
        found: dict[str, Any] = {"containers": [], "projects": [], "docker": ""}
        try:
            found["containers"] = self.containers()
            found["projects"] = self.projects(found["containers"])
        except Failure as failure:
            if not _docker.absent(failure.message):
                raise
            found["docker"] = failure.message
        found["units"] = self.units([one["directory"] for one in found["projects"]])
        found |= {"takeovers": self.takeovers(), "restic": self.restic(), "cron": self.cron(), **self.system()}
        return found

    def takeovers(self) -> list[dict[str, Any]]:
        """What adopt_services wrote into its journals."""
        texts = self.texts(f"{JOURNALS}/*/journal.json")
        read = [json.loads(text) for text in texts.values() if text]
        return [
            {"phase": one["phase"], "containers": [o["id"] for o in one["old"]], "projects": one["projects"]}
            for one in read
        ]

    # secrets

    def reveal(self, wanted: Sequence[Mapping[str, Any]]) -> dict[str, str]:
        """The values of the named secrets; those that are nowhere are left out."""
        details = {one["Id"]: one for one in self.inspect()} if any(one.get("container") for one in wanted) else {}
        values: dict[str, str] = {}
        for one in wanted:
            value = self.one_secret(one, details)
            if value and one["secret"] not in values:
                values[one["secret"]] = value
        return values

    def one_secret(self, one: Mapping[str, Any], details: Mapping[str, Any]) -> str:
        if one.get("container"):
            found = details.get(one["container"], {})
            environment = _adopt.environment_of((found.get("Config") or {}).get("Env"))
            if environment.get(one["variable"]):
                return environment[one["variable"]]
            file = environment.get(f"{one['variable']}_FILE") or environment.get(f"{one['variable']}__FILE")
            if not file:
                return ""
            argv = ["docker", "exec", str(one["container"]), "cat", file]
            return self.tool.run(argv, f"read {file} of container {found.get('Name', '')}").rstrip("\r\n")
        text = self.text(one["file"])
        if one.get("key"):
            return _adopt.key_values(text).get(one["key"], "")
        return text.rstrip("\r\n")
