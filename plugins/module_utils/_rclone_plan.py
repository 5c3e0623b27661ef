# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From wanted remotes and the file's text to the new text: one code for the module and for the filter. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.homelab.mediaserver.plugins.module_utils._rclone_backends import (
    Backend,
    Backends,
    Option,
    missing,
    near,
    wrong,
)
from ansible_collections.homelab.mediaserver.plugins.module_utils._rclone_crypt import CryptError, obscure, reveal
from ansible_collections.homelab.mediaserver.plugins.module_utils._rclone_file import DEFAULT, Document, cannot_keep
from ansible_collections.homelab.mediaserver.plugins.module_utils._reconcile import Failure

NAME = re.compile(r"[\w.+@](?:[\w.+@ -]*[\w.+@])?")
OLD_NAME = re.compile(r"[0-9A-Za-z_.](?:[0-9A-Za-z_. -]*[0-9A-Za-z_.])?")
KEY = re.compile(r"[A-Za-z_][\w.-]*")
SECRET = "(secret)"
CHANGED = "(secret, changed)"


@dataclass(frozen=True)
class Remote:
    """One wanted remote; ``removed`` are options that shall not be there."""

    name: str
    kind: str = ""
    options: Mapping[str, str] = field(default_factory=dict)
    removed: tuple[str, ...] = ()
    present: bool = True
    strict: bool = True


@dataclass(frozen=True)
class Policy:
    purge: bool = False
    replace: bool = False
    update_token: str = "on_create"


@dataclass
class Changes:
    """What differs: options by remote, those of a new one included. Holds no values."""

    created: list[str] = field(default_factory=list)
    updated: dict[str, list[str]] = field(default_factory=dict)
    removed: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.created or self.updated or self.removed)

    def words(self) -> list[str]:
        return [
            *(f"create remote {name}" for name in self.created),
            *(f"update remote {name} ({', '.join(keys)})" for name, keys in self.updated.items()),
            *(f"remove remote {name}" for name in self.removed),
        ]


def text_of(value: Any, option: Option) -> str:
    """A value as rclone writes it; "" means none."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        return json.dumps(value, separators=(",", ":"))
    if isinstance(value, list | tuple):
        # lists of words, as union's, and comma-separated lists; both in the quotes of CSV
        separator = " " if option.type == "SpaceSepList" or option.name == "upstreams" else ","
        return separator.join(_csv(text_of(item, option), separator) for item in value)
    text = str(value)
    if option.name == "token" or "\n" in text:
        text = _compact(text)
    return text


def _csv(item: str, separator: str) -> str:
    return '"' + item.replace('"', '""') + '"' if separator in item or '"' in item else item


def _compact(text: str) -> str:
    """JSON in one line, as it comes from `rclone authorize` or a service account's file; other text as it is."""
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return json.dumps(value, separators=(",", ":")) if isinstance(value, dict) else text


def clean(items: Iterable[Mapping[str, Any]], backends: Backends) -> list[Remote]:
    """The module's ``remotes``; all that can be told without the file is told at once."""
    found: list[str] = []
    remotes = [_clean(item, backends, found) for item in items]
    names = [remote.name for remote in remotes]
    found += [f"{name}: it is listed twice" for name in sorted({name for name in names if names.count(name) > 1})]
    refuse(found)
    return remotes


def _clean(item: Mapping[str, Any], backends: Backends, found: list[str]) -> Remote:
    name, kind = str(item["name"]), str(item.get("type") or "")
    if not (NAME if backends.modern else OLD_NAME).fullmatch(name) or name == DEFAULT:
        found.append(f"{name}: rclone takes no remote of this name (letters, digits, _ . - and spaces inside)")
    if (item.get("state") or "present") == "absent":
        return Remote(name, present=False)
    strict = item.get("strict") is not False
    backend = backends.find(kind)
    if not kind:
        found.append(f"{name}: it has no type")
    elif backend is None and backends.listed and strict:
        found.append(f"{name}: rclone has no backend {kind}{near(kind, backends.by_name)}")
    options: dict[str, str] = {}
    removed = []
    for key, value in (item.get("options") or {}).items():
        option = backends.any(kind).option(str(key))
        text = text_of(value, option)
        if not KEY.fullmatch(str(key)) or key == "type":
            found.append(f"{name}: {key} cannot be an option" + (", it stands beside options" if key == "type" else ""))
        elif not text:
            removed.append(str(key))
        else:
            options[str(key)] = text
            problem = None if option.password else cannot_keep(text)
            if problem:
                found.append(f"{name}: {key} cannot be kept: {problem}")
    if strict:
        found += [f"{name}: {problem}" for problem in wrong(backends.any(kind), options, removed)]
    return Remote(name, kind, options, tuple(removed), strict=strict)


def refuse(found: Sequence[str]) -> None:
    if found:
        raise Failure(f"Unable to configure rclone: {'; '.join(found)}", mistakes=list(found))


def same_backend(one: str, other: str, backends: Backends) -> bool:
    known = backends.find(one)
    return one == other or (known is not None and known == backends.find(other))


def same(option: Option, have: str, want: str) -> bool:
    """Whether a stored value means the wanted one."""
    if option.password:
        try:
            return reveal(have) == want
        except CryptError:
            return False
    if want.startswith("{"):
        return bool(_json(have) == _json(want))
    return option.canonical(have) == option.canonical(want)


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def left_alone(key: str, have: str, want: str, policy: Policy) -> bool:
    """A token that rclone renews by itself is written once."""
    return key == "token" and policy.update_token != "always" and have.startswith("{") and want.startswith("{")


def differences(remote: Remote, current: Mapping[str, str], backend: Backend, policy: Policy) -> dict[str, str | None]:
    """Options to write, as rclone stores them, and (None) to take away."""
    found: dict[str, str | None] = {}
    for key, want in remote.options.items():
        option, have = backend.option(key), current.get(key)
        if have is not None and (left_alone(key, have, want, policy) or same(option, have, want)):
            continue
        found[key] = obscure(want, f"{remote.name}/{key}") if option.password else want
    found.update({key: None for key in remote.removed if key in current})
    return found


def edit(document: Document, remotes: Iterable[Remote], backends: Backends, policy: Policy) -> Changes:
    """Make the document as wanted, and tell what that changed."""
    sections, changes, found, listed = document.sections(), Changes(), list[str](), set[str]()
    for remote in remotes:
        listed.add(remote.name)
        current = sections.get(remote.name)
        if remote.present:
            keys = _make(document, remote, current, backends, policy, found)
            if current is None:
                changes.created.append(remote.name)
            elif keys:
                changes.updated[remote.name] = keys
        elif current is not None:
            changes.removed.append(remote.name)
    if policy.purge:
        changes.removed += [name for name in sections if name not in listed and name != DEFAULT]
    refuse(found)
    for name in changes.removed:
        document.remove(name)
    return changes


def _make(
    document: Document,
    remote: Remote,
    current: Mapping[str, str] | None,
    backends: Backends,
    policy: Policy,
    found: list[str],
) -> list[str]:
    """Write one remote into the document; the options that differed."""
    have = dict(current or {})
    kind = have.get("type", "")
    if kind and not same_backend(kind, remote.kind, backends):
        if not policy.replace:
            found.append(f"{remote.name}: it is of type {kind}, not {remote.kind}; replace=true makes it anew")
        document.empty(remote.name)
        have, kind = {}, ""
    backend = backends.any(remote.kind)
    writes = differences(remote, have, backend, policy)
    if remote.strict:
        after = {key: value for key, value in {**have, **writes}.items() if value}
        found += [f"{remote.name}: {problem}" for problem in missing(backend, after)]
    if not kind:
        writes = {"type": remote.kind, **writes}
    for key, value in writes.items():
        if value is None:
            document.unset(remote.name, key)
        else:
            document.set(remote.name, key, value)
    return list(writes)


def unlike(sections: Mapping[str, Mapping[str, str]], remotes: Iterable[Remote], backends: Backends) -> list[str]:
    """Where rclone's own reading (``config dump``) differs from what is wanted; empty when all is as wanted."""
    found = []
    for remote in remotes:
        have = sections.get(remote.name)
        if not remote.present or have is None:
            found += [remote.name] if remote.present or have is not None else []
            continue
        if not same_backend(have.get("type", ""), remote.kind, backends):
            found.append(f"{remote.name} type")
        # a token may be renewed at any moment
        wanted = Remote(
            remote.name, remote.kind, {k: v for k, v in remote.options.items() if k != "token"}, remote.removed
        )
        found += [f"{remote.name} {key}" for key in differences(wanted, have, backends.any(remote.kind), Policy())]
    return found


def shown(
    before: Document, after: Document, names: Iterable[str], backends: Backends
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Both states of some remotes for the diff, without their secrets."""
    old, new = before.sections(), after.sections()
    left: dict[str, Any] = {}
    right: dict[str, Any] = {}
    for name in names:
        if name in old:
            left[name] = _masked(old[name], {}, backends)
        if name in new:
            right[name] = _masked(new[name], old.get(name, {}), backends)
    return left, right


def _masked(options: Mapping[str, str], before: Mapping[str, str], backends: Backends) -> dict[str, str]:
    backend = backends.any(options.get("type", ""))
    masked = {}
    for key, value in options.items():
        if key == "type" or not backend.hidden(key, value):
            masked[key] = value
        else:
            masked[key] = SECRET if key not in before or before[key] == value else CHANGED
    return masked
