# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What rclone's backends take, from ``rclone config providers``, and which of it is secret. Pure."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

# Obscured options of rclone 1.60.1 and 1.75.2, for where `rclone config providers` is not at hand.
PASSWORDS: dict[str, tuple[str, ...]] = {
    "azureblob": ("client_certificate_password", "password"),
    "azurefiles": ("client_certificate_password", "password"),
    "cache": ("plex_password",),
    "crypt": ("password", "password2"),
    "fichier": ("file_password", "folder_password"),
    "filen": ("api_key", "password"),
    "filescom": ("password",),
    "ftp": ("pass",),
    "iclouddrive": ("password",),
    "internxt": ("pass",),
    "koofr": ("password",),
    "linkbox": ("password",),
    "mailru": ("pass",),
    "mega": ("pass",),
    "netstorage": ("secret",),
    "opendrive": ("password",),
    "pcloud": ("password",),
    "pikpak": ("pass",),
    "protondrive": ("mailbox_password", "otp_secret_key", "password"),
    "seafile": ("library_key", "pass"),
    "sftp": ("key_file_pass", "pass"),
    "sia": ("api_password",),
    "smb": ("pass",),
    "ulozto": ("password",),
    "webdav": ("pass",),
}
# Options that rclone 1.60 keeps for these backends without listing them.
OAUTH = ("token", "client_id", "client_secret", "auth_url", "token_url")
UNLISTED = {
    "jottacloud": (*OAUTH, "configVersion", "tokenURL", "username", "device", "mountpoint"),
    "mailru": OAUTH,
    "premiumizeme": OAUTH,
    "putio": OAUTH,
    "sharefile": OAUTH,
}
# rclone 1.75 calls it required, its help names a default and it works without
NOT_REQUIRED = {("compress", "level")}
SECRET_NAME = re.compile(
    r"pass|secret|token|key|cred|cookie|auth|header|sas_url|connection_string|session|grant|mnemonic|otp|salt|access_id"
)
PLAIN_NAME = re.compile(
    r"(auth|token)_url|(pub)?key_file|env_auth|auth_version|access_scopes|key_exchange|use_.*|no_.*|disable_.*"
)
# rclone calls these sensitive for who posts his file in a forum
SHOWN = {"account", "domain", "drive_id", "email", "host", "namenode", "namespace", "url", "user", "username"}
# a user's password or a signature in an address, an option in a connection string
SECRET_VALUE = re.compile(r"://[^/@\s]*:[^/@\s]*@|(?i:pass|secret|token|key|auth|sig)\w*=")
HARMLESS = {"bool", "Tristate", "int", "float64", "SizeSuffix", "Duration", "Time", "Encoding", "MultiEncoder", "Bits"}
BOOLEANS = {
    **dict.fromkeys(("1", "t", "T", "TRUE", "true", "True"), "true"),
    **dict.fromkeys(("0", "f", "F", "FALSE", "false", "False"), "false"),
}
SIZE = re.compile(r"off|[0-9]+(\.[0-9]*)?([bkmgtpe]|[kmgtpe]i?b?)?", re.IGNORECASE)


@dataclass(frozen=True)
class Option:
    """``required`` holds a condition on the remote's provider for each time that the option is required."""

    name: str
    type: str = "string"
    password: bool = False
    sensitive: bool = False
    required: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()

    def canonical(self, value: str) -> str:
        """One form for values that mean the same to rclone."""
        if self.type in ("bool", "Tristate"):
            return BOOLEANS.get(value, value)
        if self.type == "int" and re.fullmatch(r"[+-]?[0-9]+", value):
            return str(int(value))
        return value

    def mistake(self, value: str) -> str | None:
        if self.type == "bool" and value not in BOOLEANS:
            return "is no boolean (true or false)"
        if self.type == "Tristate" and value not in BOOLEANS and value != "unset":
            return "is none of true, false and unset"
        if self.type == "int" and not re.fullmatch(r"[+-]?[0-9]+", value):
            return "is no whole number"
        if self.type == "SizeSuffix" and not SIZE.fullmatch(value):
            return "is no size (as 10Mi, or off)"
        if self.choices and value not in self.choices:
            return f"is none of {', '.join(choice or repr('') for choice in self.choices)}"
        return None


@dataclass(frozen=True)
class Backend:
    """One kind of remote. ``known`` is false where its options are not known, only those that are obscured."""

    name: str
    options: Mapping[str, Option] = field(default_factory=dict)
    known: bool = True

    def option(self, name: str) -> Option:
        return self.options.get(name) or Option(name)

    def hidden(self, name: str, value: str) -> bool:
        """Whether a value is never shown. What is not surely harmless is hidden."""
        option = self.option(name)
        if option.password:
            return True
        if option.type in HARMLESS or value in BOOLEANS:
            return False
        if SECRET_VALUE.search(value) or (option.sensitive and name not in SHOWN):
            return True
        return bool(SECRET_NAME.search(name) and not PLAIN_NAME.fullmatch(name))


@dataclass(frozen=True)
class Backends:
    """All kinds of remotes that an rclone knows. ``listed`` is false without its word."""

    by_name: Mapping[str, Backend]
    listed: bool = True
    modern: bool = True

    def find(self, name: str) -> Backend | None:
        return self.by_name.get(name)

    def any(self, name: str) -> Backend:
        """Of a remote that somebody else wrote."""
        return self.by_name.get(name) or Backend(name, known=False)

    def near(self, name: str) -> str:
        return near(name, self.by_name)


def near(name: str, known: Iterable[str]) -> str:
    """ " (near: a, b)", what somebody may have meant."""
    found = difflib.get_close_matches(name.lower(), sorted(known), n=3, cutoff=0.6)
    return f" (near: {', '.join(found)})" if found else ""


def without_providers() -> Backends:
    """What is known without asking an rclone: which options are obscured."""
    names = {
        kind: Backend(kind, {name: Option(name, password=True) for name in options}, known=False)
        for kind, options in PASSWORDS.items()
    }
    return Backends(names, listed=False)


def from_providers(providers: str | list[dict[str, Any]]) -> Backends:
    """From the JSON of ``rclone config providers``. A backend goes by its name, short name and other names."""
    entries = json.loads(providers) if isinstance(providers, str) else providers
    if isinstance(entries, dict):  # what `rclone rc config/providers` answers
        entries = entries["providers"]
    found: dict[str, Backend] = {}
    aliases: dict[str, Backend] = {}
    modern = False
    for entry in entries:
        options: dict[str, Option] = {name: Option(name) for name in UNLISTED.get(entry["Name"], ())}
        for raw in entry.get("Options") or ():
            modern = modern or "Sensitive" in raw
            options[raw["Name"]] = _option(raw, options.get(raw["Name"]), entry["Name"])
        backend = Backend(entry["Name"], options)
        found[entry["Name"]] = backend
        for alias in (entry.get("Prefix"), entry["Name"].replace(" ", ""), *(entry.get("Aliases") or ())):
            if alias:
                aliases[alias] = backend
    return Backends({**aliases, **found}, modern=modern)


def _option(raw: Mapping[str, Any], before: Option | None, backend: str) -> Option:
    """An option may be listed several times, once for each provider."""
    name = raw["Name"]
    required = before.required if before else ()
    if raw.get("Required") and raw.get("DefaultStr") in ("", "[]", None) and (backend, name) not in NOT_REQUIRED:
        required = (*required, raw.get("Provider") or "")
    choices: tuple[str, ...] = ()
    if raw.get("Exclusive") and (before is None or before.choices):
        examples = tuple(str(example["Value"]) for example in raw.get("Examples") or ())
        choices = (*(before.choices if before else ()), *examples)
    kind = str(raw.get("Type") or "string")
    return Option(
        name=name,
        # several words joined by | are the choices, as info|debug
        type=kind if before is None or before.type == kind else "string",
        password=bool(raw.get("IsPassword")) or bool(before and before.password),
        sensitive=bool(raw.get("Sensitive")) or bool(before and before.sensitive),
        required=required,
        choices=choices,
    )


def applies(condition: str, provider: str) -> bool:
    """Whether an option is one of a provider: "", "AWS,Ceph" or "!AWS,Ceph"."""
    if not condition or not provider:
        return not condition
    negative = condition.startswith("!")
    return (provider in condition.removeprefix("!").split(",")) != negative


def wrong(backend: Backend, wanted: Mapping[str, str], removed: Iterable[str]) -> list[str]:
    """Options that the backend does not take. Names no values: they may be secret."""
    if not backend.known:
        return []
    found = []
    for key in (*wanted, *removed):
        if key not in backend.options:
            found.append(f"backend {backend.name} has no option {key}{near(key, backend.options)}")
    for key, value in wanted.items():
        option = backend.option(key)
        problem = None if option.password else option.mistake(value)
        if problem:
            found.append(f"{key} {problem}")
    return found


def missing(backend: Backend, options: Mapping[str, str]) -> list[str]:
    """Required options that a remote would not have."""
    provider = options.get("provider", "")
    return [
        f"backend {backend.name} requires {key}"
        for key, option in backend.options.items()
        if not options.get(key) and any(applies(condition, provider) for condition in option.required)
    ]
