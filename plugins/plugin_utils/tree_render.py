# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Renders the files of a host's tree on the controller: declarations in, bytes out, all mistakes at once."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

SOURCES = ("content", "yaml", "template", "copy", "secret_ref")
HEADER = "# Written by homelab.mediaserver: what is changed here by hand is undone by the next run.\n"
DROP = object()


class RenderError(Exception):
    """Everything that is wrong with the declared files, one text each."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = list(problems)


class Problem(Exception):
    """What is wrong with one file."""


@dataclass(frozen=True)
class Entry:
    """A file as it shall lie on the host."""

    path: str
    data: bytes
    mode: str = "0644"
    owner: str = "0"
    group: str = "0"
    secret: bool = False
    service: str = ""


@dataclass(frozen=True)
class Context:
    """What values come from. ``template(path, variables)`` renders a Jinja2 file."""

    template: Callable[[str, dict[str, Any]], str]
    late: Mapping[str, Any] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict)
    variables: Mapping[str, Any] = field(default_factory=dict)


class Dumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # type: ignore[misc]
    """YAML that readers of version 1.1 and 1.2 take alike: quotes every string that either could take for a number."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _represent_str(dumper: Any, text: str) -> Any:
    if "\n" in text and not re.search(r"[ \t]\n", text):
        return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|")
    ambiguous = re.match(r"[-+.]?[0-9]", text) or text.lower() in ("y", "n")
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="'" if ambiguous else None)


Dumper.add_representer(str, _represent_str)


def to_yaml(value: Any) -> str:
    """``value`` as YAML text, keys in their order."""
    return yaml.dump(value, Dumper=Dumper, sort_keys=False, default_flow_style=False, width=4096, allow_unicode=True)


def empty(value: Any) -> bool:
    return value is None or value in ("", [], {})


def resolve(value: Any, context: Context, secret: bool) -> Any:
    """``value`` as plain data with its references filled in; an empty late value gives DROP."""
    if isinstance(value, Mapping):
        if len(value) == 1:
            for key, table in (("$late", context.late), ("$secret", context.secrets)):
                if key in value:
                    return _reference(key, str(value[key]), table, secret)
        pairs = ((str(key), resolve(item, context, secret)) for key, item in value.items())
        return {key: item for key, item in pairs if item is not DROP}
    if isinstance(value, (list, tuple)):
        return _resolve_list(value, context, secret)
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, str):
        return str(value)
    if isinstance(value, int):
        return int(value)
    return float(value) if isinstance(value, float) else value


def _resolve_list(items: Sequence[Any], context: Context, secret: bool) -> list[Any]:
    """A list in which a reference to a list is spread."""
    result: list[Any] = []
    for item in items:
        value = resolve(item, context, secret)
        if value is DROP:
            continue
        spread = isinstance(item, Mapping) and set(item) == {"$late"} and isinstance(value, list)
        result.extend(value if spread else [value])
    return result


def _reference(key: str, name: str, table: Mapping[str, Any], secret: bool) -> Any:
    if name not in table:
        raise Problem(f"there is no {'late value' if key == '$late' else 'secret'} {name}")
    if key == "$secret" and not secret:
        raise Problem(f"it holds the secret {name} and must say secret: true")
    return DROP if key == "$late" and empty(table[name]) else resolve(table[name], Context(_no_template), secret)


def _no_template(path: str, variables: dict[str, Any]) -> str:
    raise Problem(f"a value cannot be the template {path}")


def render_file(spec: Mapping[str, Any], context: Context) -> Entry:
    """One file."""
    given = [source for source in SOURCES if spec.get(source) is not None]
    if len(given) != 1:
        raise Problem(f"exactly one of {', '.join(SOURCES)} is needed, not {' and '.join(given) or 'none'}")
    path, source = str(spec["path"]), given[0]
    if not path.startswith("/") or ".." in path.split("/"):
        raise Problem("the path must be absolute and without ..")
    secret = bool(spec.get("secret")) or source == "secret_ref"
    data = globals()[f"_from_{source}"](spec, context, secret)
    if source in ("content", "template", "copy"):
        validate(path, data)
    return Entry(
        path=path,
        data=data,
        mode=mode(spec.get("mode"), "0644"),
        owner=str(spec.get("owner") if spec.get("owner") is not None else "0"),
        group=str(spec.get("group") if spec.get("group") is not None else "0"),
        secret=secret,
        service=str(spec.get("service") or ""),
    )


def mode(value: Any, default: str) -> str:
    """A mode as four octal digits; a number is refused because YAML reads 0644 and 644 as different numbers."""
    text = default if value is None else value
    if not isinstance(text, str) or not re.fullmatch(r"0?[0-7]{3,4}", text):
        raise Problem(f"mode {value!r} must be a string of octal digits such as '0644'")
    return f"{int(text, 8):04o}"


def _from_content(spec: Mapping[str, Any], context: Context, secret: bool) -> bytes:
    return str(spec["content"]).encode()


def _from_yaml(spec: Mapping[str, Any], context: Context, secret: bool) -> bytes:
    data = resolve(spec["yaml"], context, secret)
    if str(spec["path"]).endswith(".json"):
        return (json.dumps(data, indent=2, ensure_ascii=False) + "\n").encode()
    return (HEADER + to_yaml(data)).encode()


def _from_template(spec: Mapping[str, Any], context: Context, secret: bool) -> bytes:
    variables = {**context.variables, **(spec.get("variables") or {})}
    variables.setdefault("service", str(spec.get("service") or ""))
    variables["late"] = dict(context.late)
    if secret:
        variables["secrets"] = dict(context.secrets)
    return context.template(str(spec["template"]), variables).encode()


def _from_copy(spec: Mapping[str, Any], context: Context, secret: bool) -> bytes:
    try:
        return Path(str(spec["copy"])).read_bytes()
    except OSError as error:
        raise Problem(f"unable to read {spec['copy']}: {error.strerror}") from error


def _from_secret_ref(spec: Mapping[str, Any], context: Context, secret: bool) -> bytes:
    return str(_reference("$secret", str(spec["secret_ref"]), context.secrets, secret)).encode()


def validate(path: str, data: bytes) -> None:
    """Refuse a JSON or YAML file that no reader would take. Only the syntax is looked at."""
    try:
        if path.endswith(".json"):
            json.loads(data)
        elif path.endswith((".yaml", ".yml")):
            loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
            for _event in yaml.parse(data, Loader=loader):
                pass
    except (ValueError, yaml.YAMLError) as error:
        text = " ".join(str(error).split()) if not isinstance(error, yaml.MarkedYAMLError) else _where(error)
        raise Problem(f"it is no valid {'JSON' if path.endswith('.json') else 'YAML'}: {text}") from None


def _where(error: yaml.MarkedYAMLError) -> str:
    """A YAML error without the line's text, which may be a secret."""
    mark = error.problem_mark
    return f"{error.problem}" + (f", line {mark.line + 1}, column {mark.column + 1}" if mark else "")


def digest(entries: Iterable[Entry], project: str, directory: str) -> str:
    """The digest of a project: all of its service's files below its folder, but not its .env.

    What one service adds to another's folder (a scrape target) restarts neither.
    """
    lines = hashlib.sha256()
    for entry in sorted(entries, key=lambda item: item.path):
        if entry.service != project or entry.path == f"{directory}/.env" or not entry.path.startswith(f"{directory}/"):
            continue
        path = entry.path.removeprefix(f"{directory}/")
        content = hashlib.sha256(entry.data).hexdigest()
        lines.update(json.dumps([path, entry.mode, entry.owner, entry.group, content]).encode())
    return lines.hexdigest()[:32]


def containers(entries: Iterable[Entry], directory: str) -> list[str]:
    """The containers that must run while the project runs, from its compose file."""
    data = next((entry.data for entry in entries if entry.path == f"{directory}/compose.yaml"), b"{}")
    services = (yaml.load(data, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)) or {}).get("services") or {}
    return sorted(
        n for n, s in services.items() if not s.get("profiles") and str(s.get("restart")) not in ("no", "False")
    )


def render(
    files: Iterable[Mapping[str, Any]], projects: Mapping[str, str], context: Context
) -> tuple[list[Entry], dict[str, str]]:
    """All files, with each project's .env, and the projects' digests."""
    problems: list[str] = []
    entries: dict[str, Entry] = {}
    for spec in files:
        try:
            entry = render_file(spec, context)
            if entry.path in entries:
                raise Problem("it is declared twice")
            entries[entry.path] = entry
        except Problem as problem:
            problems.append(f"Unable to render {spec.get('path')}: {problem}")
    if problems:
        raise RenderError(problems)
    digests = {}
    for name, directory in projects.items():
        digests[name] = digest(entries.values(), name, directory)
        expected = ",".join(containers(entries.values(), directory))
        text = f"MEDIASERVER_DIGEST={digests[name]}\nMEDIASERVER_CONTAINERS={expected}\n"
        path = f"{directory}/.env"
        given = entries.get(path)
        if given is not None:
            entries[path] = Entry(path, given.data.rstrip(b"\n") + b"\n" + text.encode(), *_rest(given))
        else:
            entries[path] = Entry(path, text.encode(), service=name)
    return list(entries.values()), digests


def _rest(entry: Entry) -> tuple[str, str, str, bool, str]:
    return entry.mode, entry.owner, entry.group, entry.secret, entry.service
