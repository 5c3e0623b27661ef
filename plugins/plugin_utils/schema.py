# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A small schema: tables of types that check a value, fill in defaults and describe themselves as JSON Schema.

``clean`` never raises: a wrong value is reported and replaced by the type's default, so that whoever works with the
result can rely on its types and the user hears of all mistakes at once.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from . import sizes
from .problems import Problems, Where, one_of, suggest


class Type(Protocol):
    """What a value may be."""

    @property
    def help(self) -> str: ...

    @property
    def default(self) -> Any: ...

    def clean(self, value: Any, where: Where, problems: Problems) -> Any: ...

    def json(self) -> dict[str, Any]: ...


def describe(value: object) -> str:
    """A wrong value in a message, shortened."""
    if value is None:
        return "nothing"
    kind = {dict: "a mapping", list: "a list", bool: "true or false", int: "a number", float: "a number"}
    name = kind.get(type(value), "text")
    text = str(value)
    return f"{name} ({text[:40]}…)" if len(text) > 40 else f"{name} ({text})"


def wrong(where: Where, problems: Problems, value: object, wanted: str) -> None:
    problems.add("wrong-type", where, f"expected {wanted}, found {describe(value)}", f"Write {wanted}")


@dataclass(frozen=True)
class Text:
    help: str = ""
    default: Any = None
    pattern: str = ""
    wanted: str = "text"
    choices: tuple[str, ...] = ()
    numbers: bool = False  # a number is taken as its text

    def clean(self, value: Any, where: Where, problems: Problems) -> Any:
        if self.numbers and isinstance(value, (int, float)) and not isinstance(value, bool):
            value = str(value)
        if not isinstance(value, str):
            wrong(where, problems, value, self.wanted)
            return self.default
        if self.choices and value not in self.choices:
            remedy = suggest(value, self.choices, f"Use {one_of(self.choices)}")
            problems.add("bad-choice", where, f"{value!r} is not one of {', '.join(self.choices)}", remedy)
            return self.default
        if self.pattern and not re.search(self.pattern, value):
            problems.add("bad-form", where, f"{value!r} is not {self.wanted}", f"Write {self.wanted}")
            return self.default
        return str(value)

    def json(self) -> dict[str, Any]:
        shape: dict[str, Any] = {"type": ["string", "number"] if self.numbers else "string"}
        if self.choices:
            shape["enum"] = list(self.choices)
        if self.pattern:
            shape["pattern"] = self.pattern
        return documented(self, shape)


@dataclass(frozen=True)
class Number:
    help: str = ""
    default: Any = None
    least: int = 0
    most: int = 2**31
    wanted: str = "a whole number"

    def clean(self, value: Any, where: Where, problems: Problems) -> Any:
        if isinstance(value, str) and value.isdigit():
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool):
            wrong(where, problems, value, self.wanted)
            return self.default
        if not self.least <= value <= self.most:
            reason = f"{value} is not between {self.least} and {self.most}"
            problems.add("out-of-range", where, reason, f"Write {self.wanted} between {self.least} and {self.most}")
            return self.default
        return int(value)

    def json(self) -> dict[str, Any]:
        return documented(self, {"type": "integer", "minimum": self.least, "maximum": self.most})


@dataclass(frozen=True)
class Flag:
    help: str = ""
    default: Any = False

    def clean(self, value: Any, where: Where, problems: Problems) -> Any:
        if isinstance(value, bool):
            return value
        wrong(where, problems, value, "true or false")
        return self.default

    def json(self) -> dict[str, Any]:
        return documented(self, {"type": "boolean"})


@dataclass(frozen=True)
class Size:
    help: str = ""
    default: Any = None

    def clean(self, value: Any, where: Where, problems: Problems) -> Any:
        if isinstance(value, str) and sizes.parse(value) is not None:
            return value.strip().upper()
        problems.add("bad-size", where, f"{describe(value)} is no size", "Write a number and a unit, as in 10G or 512M")
        return self.default

    def json(self) -> dict[str, Any]:
        return documented(self, {"type": "string", "pattern": sizes.PATTERN})


@dataclass(frozen=True)
class Anything:
    """Free-form: whatever the application understands."""

    help: str = ""
    default: Any = None

    def clean(self, value: Any, where: Where, problems: Problems) -> Any:
        return value

    def json(self) -> dict[str, Any]:
        return documented(self, {})


@dataclass(frozen=True)
class Items:
    item: Type
    help: str = ""
    default: Any = ()
    least: int = 0
    lone: bool = False  # a mapping stands for a list of it alone

    def clean(self, value: Any, where: Where, problems: Problems) -> Any:
        if self.lone and isinstance(value, Mapping):
            cleaned = self.item.clean(value, where, problems)
            return [] if cleaned is None else [cleaned]
        if not isinstance(value, (list, tuple)):
            wrong(where, problems, value, "a list")
            return list(self.default or [])
        if len(value) < self.least:
            problems.add("empty-list", where, "the list is empty", f"Name at least {self.least}")
        cleaned = [self.item.clean(item, where.at(index), problems) for index, item in enumerate(value)]
        return [item for item in cleaned if item is not None]

    def json(self) -> dict[str, Any]:
        shape: dict[str, Any] = {"type": "array", "items": self.item.json()}
        if self.least:
            shape["minItems"] = self.least
        return documented(self, {"anyOf": [self.item.json(), shape]} if self.lone else shape)


@dataclass(frozen=True)
class Named:
    """A mapping of free names to values of one type."""

    item: Type
    help: str = ""
    pattern: str = ""
    wanted: str = "a name of small letters, digits, - and _"
    default: Any = field(default_factory=dict)
    nullable: bool = False  # `name:` without a value stands for {}

    def clean(self, value: Any, where: Where, problems: Problems) -> Any:
        if not isinstance(value, Mapping):
            wrong(where, problems, value, "a mapping")
            return dict(self.default or {})
        result = {}
        for raw, item in value.items():
            name = str(raw)
            if self.pattern and not re.fullmatch(self.pattern, name):
                problems.add("bad-name", where.at(name), f"{name!r} is not {self.wanted}", f"Write {self.wanted}")
                continue
            cleaned = self.item.clean({} if item is None and self.nullable else item, where.at(name), problems)
            if cleaned is not None:
                result[name] = cleaned
        return result

    def json(self) -> dict[str, Any]:
        shape: dict[str, Any] = {"type": "object", "additionalProperties": self.item.json()}
        if self.pattern:
            shape["propertyNames"] = {"pattern": f"^(?:{self.pattern})$"}
        return documented(self, shape)


@dataclass(frozen=True)
class Table:
    """A mapping with known keys. Unset keys get their type's default."""

    fields: Mapping[str, Type]
    help: str = ""
    required: tuple[str, ...] = ()
    short: str = ""  # a plain value stands for {short: value}
    default: Any = None

    def clean(self, value: Any, where: Where, problems: Problems) -> Any:
        if self.short and value is not None and not isinstance(value, Mapping):
            value = {self.short: value}
        if not isinstance(value, Mapping):
            wrong(where, problems, value, "a mapping")
            return self.default
        given = {str(key): item for key, item in value.items() if item is not None}
        for key in given:
            if key not in self.fields:
                remedy = suggest(key, self.fields)
                problems.add("unknown-key", where.at(key), "unknown key", remedy)
        result: dict[str, Any] = {}
        whole = True
        for key, kind in self.fields.items():
            if key in given:
                result[key] = kind.clean(given[key], where.at(key), problems)
            else:
                result[key] = fresh(kind)
                if key in self.required:
                    problems.add("missing-key", where.at(key), "missing", f"Add it: {kind.help or key}")
            whole = whole and not (key in self.required and result[key] is None)
        return result if whole else self.default

    def json(self) -> dict[str, Any]:
        shape: dict[str, Any] = {
            "type": "object",
            "additionalProperties": False,
            "properties": {key: kind.json() for key, kind in self.fields.items()},
        }
        if self.required:
            shape["required"] = list(self.required)
        if self.short:
            shape = {"anyOf": [self.fields[self.short].json(), shape]}
        return documented(self, shape)


def fresh(kind: Any) -> Any:
    """The default of a type; containers are new, so that no two declarations share one."""
    default = kind.default
    if isinstance(default, tuple):
        return list(default)
    return dict(default) if isinstance(default, dict) else default


def documented(kind: Any, shape: dict[str, Any]) -> dict[str, Any]:
    """Add the help text and a default worth showing."""
    if kind.help:
        shape["description"] = kind.help
    if isinstance(kind.default, (str, int, bool)) and kind.default is not False:
        shape["default"] = kind.default
    return shape
