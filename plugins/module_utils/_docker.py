# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Commands of docker, docker compose and systemctl, as argv lists, and what their output says."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.homelab.mediaserver.plugins.module_utils import _command
from ansible_collections.homelab.mediaserver.plugins.module_utils._compose import Container, Network, Unit
from ansible_collections.homelab.mediaserver.plugins.module_utils._reconcile import Failure

LABELS = (
    "com.docker.compose.project",
    "com.docker.compose.service",
    "mediaserver.digest",
    "com.docker.compose.project.working_dir",
)
PS_FORMAT = (
    "["
    + ",".join(
        [
            "{{json .Names}}",
            "{{json .State}}",
            "{{json .Status}}",
            *(f'{{{{json (.Label "{name}")}}}}' for name in LABELS),
        ]
    )
    + "]"
)
NETWORK_LABEL = "mediaserver.subnet"
NETWORK_FORMAT = f'[{{{{json .Name}}}},{{{{json (.Label "{NETWORK_LABEL}")}}}}]'
UNIT_PROPERTIES = ("Id", "LoadState", "ActiveState", "UnitFileState", "NeedDaemonReload")
WANTS = Path("/etc/systemd/system")
ENVIRONMENT = {"LC_ALL": "C.UTF-8", "COMPOSE_PROGRESS": "quiet", "COMPOSE_ANSI": "never", "COMPOSE_MENU": "false"}
AWAY = ("cannot connect to the docker daemon", "is the docker daemon running")


class Tool:
    """Runs commands of one module; every failure says what was tried and what the command said."""

    def __init__(self, module: AnsibleModule) -> None:
        self.module = module
        self.docker = module.get_bin_path("docker")

    def run(self, argv: Sequence[str], what: str, limit: int = 60) -> str:
        """Output of a command that must succeed within ``limit`` seconds."""
        code, out, err = self.attempt(argv, limit)
        if code == 124:
            raise Failure(f"Unable to {what}: no end within {limit} seconds", argv=list(argv))
        if code != 0:
            text = (err or out).strip() or f"exit status {code}"
            raise Failure(f"Unable to {what}: {text}", argv=list(argv), rc=code)
        return out

    def attempt(self, argv: Sequence[str], limit: int = 60) -> tuple[int, str, str]:
        """Exit status, output and errors of a command; 124 when it took too long."""
        if argv[0] == "docker" and self.docker is None:
            return 127, "", "docker is not installed"
        command = ["timeout", "--kill-after=10", str(limit), *argv]
        return _command.execute(command, **ENVIRONMENT)

    def containers(self) -> list[Container]:
        """All containers of compose projects."""
        out = self.run(ps_command(), "list containers")
        return parse_ps(out)

    def writers(self) -> dict[str, str]:
        """Folders that running containers write which are not ours, and the name of one that does."""
        names = self.run(["docker", "ps", "--quiet", "--no-trunc"], "list containers").split()
        found = json.loads(self.run(["docker", "inspect", *names], "inspect containers")) if names else []
        return {
            str(mount.get("Source")): one["Name"].lstrip("/")
            for one in found
            if one["State"]["Status"] == "running" and "mediaserver.digest" not in (one["Config"].get("Labels") or {})
            for mount in one.get("Mounts") or []
            if mount.get("RW")
        }

    def networks(self) -> dict[str, str]:
        """Our shared networks and their addresses."""
        argv = ["docker", "network", "ls", "--filter", f"label={NETWORK_LABEL}", "--format", NETWORK_FORMAT]
        return dict(json.loads(line) for line in self.run(argv, "list networks").splitlines())

    def units(self, names: Sequence[str]) -> dict[str, Unit]:
        """What systemd says about all units at once."""
        if not names:
            return {}
        argv = ["systemctl", "show", f"--property={','.join(UNIT_PROPERTIES)}", "--", *names]
        return parse_units(self.run(argv, "ask systemd about units"))


def absent(error: str) -> bool:
    """Whether docker is not there (yet): not installed, or not running."""
    text = error.lower()
    return "docker is not installed" in text or any(sign in text for sign in AWAY)


def ps_command() -> list[str]:
    return ["docker", "ps", "--all", "--no-trunc", "--filter", f"label={LABELS[0]}", "--format", PS_FORMAT]


def parse_ps(text: str) -> list[Container]:
    """Containers from our format of `docker ps`; those of `docker compose run` have no digest and no say."""
    found = []
    for line in text.splitlines():
        name, state, status, project, service, digest, directory = json.loads(line)
        found.append(Container(name, project, service, state, status, digest, directory))
    return found


def parse_units(text: str) -> dict[str, Unit]:
    """Units from `systemctl show` of several."""
    units = {}
    for block in text.split("\n\n"):
        values = dict(line.partition("=")[::2] for line in block.splitlines() if "=" in line)
        if "Id" in values:
            units[values["Id"]] = Unit(
                exists=values.get("LoadState") not in ("not-found", None),
                active=values.get("ActiveState") in ("active", "reloading"),
                enabled=values.get("UnitFileState") in ("enabled", "enabled-runtime", "static", "linked"),
                reload=values.get("NeedDaemonReload") == "yes",
            )
    return units


def dangling(wanted: Iterable[str]) -> list[str]:
    """Links that enable a unit of ours that is not there any more."""
    keep = set(wanted)
    links = (link for kind in ("wants", "requires") for link in WANTS.glob(f"*.{kind}/mediaserver-*.service"))
    return sorted(str(link) for link in links if link.is_symlink() and link.name not in keep and not link.exists())


def unlinked(unit: str) -> bool:
    """Whether what the unit's file says it is wanted by lacks a link: a mount that it uses since its first enabling."""
    try:
        text = (WANTS / unit).read_text(encoding="utf-8")
    except OSError:
        return False
    wanted = [name for line in re.findall(r"^WantedBy=(.*)$", text, re.MULTILINE) for name in line.split()]
    return any(not (WANTS / f"{name}.wants" / unit).is_symlink() for name in wanted)


def compose(name: str, directory: str, *rest: str) -> list[str]:
    """argv of docker compose for a project with its files."""
    return ["docker", "compose", "--project-name", name, "--project-directory", directory, *rest]


def network_create(network: Network) -> list[str]:
    argv = ["docker", "network", "create", "--label", f"{NETWORK_LABEL}={network.mark}", "--subnet", network.subnet]
    if network.subnet6:
        argv += ["--ipv6", "--subnet", network.subnet6]
    return [*argv, network.name]


def written_folders(text: str) -> set[str]:
    """Folders of the host that the containers of a compose file write, as config_tree renders it."""
    found = re.findall(r"source: (/\S+)\n\s+target: \S+\n(\s+read_only: true\n)?", text)
    return {source for source, read_only in found if not read_only}


def secret_values(directory: str) -> set[str]:
    """The secrets that a project's containers were given, to keep them out of messages."""
    values = set()
    for path in Path(directory).glob("secrets/*/*"):
        try:
            values.add(path.read_text().strip())
        except (OSError, UnicodeDecodeError):
            continue
    return {value for value in values if value}


def conceal(text: str, values: Iterable[str]) -> str:
    """``text`` without the secrets, line by line for those of several lines."""
    pieces = {line.strip() for value in values for line in value.splitlines() if len(line.strip()) >= 4}
    for piece in sorted(pieces, key=len, reverse=True):
        text = text.replace(piece, "********")
    return text


def read_text(path: str) -> str:
    """A small file's text; nothing when it is not there."""
    try:
        return Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""
