# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a hand-made set-up says about itself, without its secrets. Pure; the reading is in _adopt_read."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

MASK = "********"
SECRET_NAME = re.compile(
    r"pass(wd|word|phrase)?|secret|token|credential|private|auth(?!_anonymous)|dsn|salt|(^|_)pwd|(^|_)psk|(api|access|encryption|jwt|secret)_?key|_key$",
    re.IGNORECASE,
)
LOGIN_IN_URL = re.compile(r"(?<=://)[^/@\s]+(?=@)")
FALLBACK_VARIABLES = (
    "IMMICH_SOURCE_REF",
    "JELLYFIN_VERSION",
    "NPM_BUILD_VERSION",
    "PG_VERSION",
    "REDIS_VERSION",
    "VALKEY_VERSION",
)
"""Environment of images that name their program's version in no label."""
SELF_TOLD = {
    "immich-server": ((2283, 3001), ("/api/server/version", "/api/server-info/version")),
    "jellyfin": ((8096,), ("/System/Info/Public",)),
    "grafana": ((3000,), ("/api/health",)),
    "prometheus": ((9090,), ("/api/v1/status/buildinfo",)),
    "nginx-proxy-manager": ((81,), ("/api/",)),
}
"""Programs that tell their version without a login: ports inside, paths to ask, by the image's last word."""


def secret_name(name: str) -> bool:
    """Whether a variable's value must not be shown. Names of files that hold secrets are no secrets."""
    return bool(SECRET_NAME.search(name)) and not name.upper().endswith("_FILE")


def masked(environment: Mapping[str, str], more: Iterable[str] = ()) -> dict[str, str]:
    """``environment`` without secrets: by name, logins in URLs, and wherever a secret's value stands again."""
    values = {value for name, value in environment.items() if secret_name(name) and len(value) >= 4} | set(more)
    shown = {}
    for name, value in environment.items():
        if secret_name(name):
            shown[name] = MASK if value else ""
            continue
        text = LOGIN_IN_URL.sub(MASK, value)
        for secret in sorted(values, key=len, reverse=True):
            text = text.replace(secret, MASK)
        shown[name] = text
    return shown


def masked_line(line: str) -> str:
    """A command line without what follows a word for a secret; files that hold secrets are no secrets."""
    shown = re.sub(
        r"(?i)(?<![/\w.-])([\w-]*(?:pass(?:word|wd|phrase)?|secret|token|key)\w*[= ])[^\s/]\S*", rf"\1{MASK}", line
    )
    return LOGIN_IN_URL.sub(MASK, shown)


def environment_of(lines: Iterable[str] | None) -> dict[str, str]:
    """``["NAME=value"]`` as docker inspect has it."""
    return dict(line.partition("=")[::2] for line in lines or [])


def told_version(body: Any) -> str:
    """The version out of one of the answers of SELF_TOLD; empty when it is none."""
    if not isinstance(body, Mapping):
        return ""
    for inner in ("data", "version"):
        if isinstance(body.get(inner), Mapping):
            return told_version(body[inner])
    if "major" in body:
        parts = [body.get(name) for name in ("major", "minor", "patch" if "patch" in body else "revision")]
        return ".".join(str(part) for part in parts if part is not None)
    return next((plain_version(str(body[key])) for key in ("Version", "version") if body.get(key)), "")


def plain_version(text: str) -> str:
    """``v1.118.0`` and ``10.8.13-1`` as numbers with points; empty where there are none."""
    match = re.match(r"v?(\d+(?:\.\d+)*)", text.strip())
    return match.group(1) if match else ""


def ports(details: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Published ports as configured, so that those of a stopped container count too."""
    found = []
    for inside, places in (details.get("HostConfig", {}).get("PortBindings") or {}).items():
        number, _slash, protocol = inside.partition("/")
        for place in places or []:
            published = place.get("HostPort") or ""
            if published.isdigit():
                found.append(
                    {
                        "address": place.get("HostIp") or "0.0.0.0",
                        "published": int(published),
                        "inside": int(number),
                        "protocol": protocol or "tcp",
                    }
                )
    return sorted(found, key=lambda one: (one["published"], one["protocol"], one["address"]))


def mounts(details: Mapping[str, Any]) -> list[dict[str, Any]]:
    found = [
        {
            "type": one.get("Type"),
            "source": one.get("Source") or "",
            "at": one.get("Destination"),
            "read_only": not one.get("RW", True),
            "volume": one.get("Name") or "",
        }
        for one in details.get("Mounts") or []
        if one.get("Type") in ("bind", "volume")
    ]
    return sorted(found, key=lambda one: str(one["at"]))


def container(details: Mapping[str, Any], image: Mapping[str, Any]) -> dict[str, Any]:
    """What of `docker inspect` of a container and its image is told."""
    config, state = details["Config"], details["State"]
    labels, environment = config.get("Labels") or {}, environment_of(config.get("Env"))
    words = " ".join([*(config.get("Entrypoint") or []), *(config.get("Cmd") or [])])
    return {
        "id": details["Id"],
        "name": details["Name"].lstrip("/"),
        "project": labels.get("com.docker.compose.project", ""),
        "service": labels.get("com.docker.compose.service", ""),
        "directory": labels.get("com.docker.compose.project.working_dir", ""),
        "image": config["Image"],
        "image_id": details["Image"],
        "digests": sorted(image.get("RepoDigests") or []),
        "version": version(image, environment),
        "state": state["Status"],
        "started": state.get("StartedAt", ""),
        "health": (state.get("Health") or {}).get("Status", ""),
        "restart": (details["HostConfig"].get("RestartPolicy") or {}).get("Name") or "no",
        "networks": sorted(details.get("NetworkSettings", {}).get("Networks") or {}),
        "ports": ports(details),
        "mounts": mounts(details),
        "environment": masked(environment),
        "user": config.get("User", ""),
        "microservices": "microservices" in words,
        "ours": "mediaserver.digest" in labels,
    }


def version(image: Mapping[str, Any], environment: Mapping[str, str]) -> str:
    """What the image says of itself; empty when it says nothing."""
    labels = (image.get("Config") or {}).get("Labels") or {}
    told = [labels.get("org.opencontainers.image.version", ""), *(environment.get(n, "") for n in FALLBACK_VARIABLES)]
    return next((found for found in map(plain_version, told) if found), "")


def key_values(text: str) -> dict[str, str]:
    """``key=value`` of a ddclient.conf: separated by commas or line ends, quotes left out."""
    found = {}
    for line in text.splitlines():
        if line.lstrip().startswith("#"):
            continue
        for match in re.finditer(r"(\w+)\s*=\s*('[^']*'|\"[^\"]*\"|[^,\s\\]+)", line):
            found[match.group(1).lower()] = match.group(2).strip("'\"")
    return found


def directives(text: str) -> dict[str, list[str]]:
    """Directives of an OpenVPN server's configuration that matter here; inline keys are no part of it."""
    wanted = (
        "port",
        "proto",
        "dev",
        "server",
        "ca",
        "cert",
        "key",
        "dh",
        "crl-verify",
        "tls-auth",
        "tls-crypt",
        "push",
    )
    found: dict[str, list[str]] = {}
    inside = False
    for raw in text.splitlines():
        line = raw.strip()
        if re.fullmatch(r"<[a-z-]+>", line):
            inside = True
        elif line.startswith("</"):
            inside = False
        elif line and not inside and line[0] not in "#;":
            word, _space, rest = line.partition(" ")
            if word in wanted:
                found.setdefault(word, []).append(rest.strip())
    return found


def restic_places(text: str) -> dict[str, str]:
    """Repository and password file that a script, a unit or a crontab names; never a password."""
    found = {}
    for key, pattern in (
        ("repository", r"(?:RESTIC_REPOSITORY=|(?:-r|--repo)[ =])[\"']?([^\s\"']+)"),
        ("password_file", r"(?:RESTIC_PASSWORD_FILE=|(?:-p|--password-file)[ =])[\"']?([^\s\"']+)"),
    ):
        match = re.search(pattern, text)
        if match:
            found[key] = LOGIN_IN_URL.sub(MASK, match.group(1))
    return found


def jails(texts: Iterable[str]) -> list[str]:
    """Names of the fail2ban jails that are switched on."""
    enabled: dict[str, bool] = {}
    section = ""
    for line in (line.strip() for text in texts for line in text.splitlines()):
        if line.startswith("[") and line.endswith("]"):
            section = line[1:-1]
        elif re.match(r"enabled\s*=", line):
            enabled[section] = line.partition("=")[2].strip().lower() in ("true", "1", "yes", "on")
    return sorted(name for name, on in enabled.items() if on and name not in ("", "DEFAULT", "INCLUDES"))
