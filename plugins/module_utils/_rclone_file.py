# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The text of rclone.conf, read as rclone reads it and edited by lines: what is not touched stays to the letter. Pure.

The rules are those of the library that rclone uses, measured with rclone 1.60.1 and 1.75.2: ``=`` or ``:`` after the
key, keys and values may stand in quotes (back quotes or three double quotes; keys also in plain double quotes),
comments are lines of their own, a section may come twice, of a key that comes twice the last counts, and what stands
before the first section belongs to ``DEFAULT``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

DEFAULT = "DEFAULT"
# rclone replaces %(key)s by that key's value when it reads
EXPANDED = re.compile(r"%\([^)]+\)s")


class FormatError(ValueError):
    """A line that rclone refuses as well. Names the line's number only: the line may hold a secret."""


@dataclass
class Line:
    """``kind``: blank, comment, section or key. ``name`` is the section's or the key's."""

    text: str
    kind: str
    section: str
    name: str = ""
    value: str = ""

    def is_key(self, section: str, name: str) -> bool:
        return self.kind == "key" and self.section == section and self.name == name


def _split(line: str) -> tuple[str, str] | None:
    quote = next((mark for mark in ('"""', '"', "`") if line.startswith(mark)), "")
    if quote == '"""' and len(line) < 6:
        quote = '"'
    if quote:
        end = line.find(quote, len(quote))
        separator = re.compile("[=:]").search(line, end) if end >= 0 else None
        if separator is None:
            return None
        return line[len(quote) : end], line[separator.end() :].strip()
    separator = re.search("[=:]", line)
    if separator is None or separator.start() == 0:
        return None
    return line[: separator.start()].strip(), line[separator.end() :].strip()


def _unquote(value: str) -> str | None:
    quote = ""
    if value.startswith("`") and len(value) >= 2:
        quote = "`"
    elif value.startswith('"""') and len(value) >= 6:
        quote = '"""'
    if not quote:
        return value
    end = value.rfind(quote, len(quote))
    return value[len(quote) : end] if end >= 0 else None


def cannot_keep(value: str) -> str | None:
    """Why rclone could not keep a value, or None: it rewrites the file when it renews a token, in its own quotes."""
    if any(ord(char) < 32 or ord(char) == 127 for char in value):
        return "it holds a line break or another control character"
    if value != value.strip():
        return "it begins or ends with a space"
    if value.startswith(("`", '"""')):
        return "it begins with a quote that rclone takes off"
    if EXPANDED.search(value):
        return "rclone would replace its %(...)s"
    return None


@dataclass
class Document:
    """A configuration file."""

    lines: list[Line] = field(default_factory=list)
    newline: str = "\n"

    @classmethod
    def parse(cls, text: str) -> Document:
        document = cls(newline="\r\n" if "\r\n" in text else "\n")
        section, automatic = DEFAULT, 0
        for number, raw in enumerate(text.removeprefix("\ufeff").split("\n"), 1):
            line = raw.strip()
            if not line or line[0] in "#;":
                document.lines.append(Line(raw, "comment" if line else "blank", section))
            elif line[0] == "[" and line[-1] == "]":
                section, automatic = line[1:-1].strip(), 0
                document.lines.append(Line(raw, "section", section))
            else:
                parts = _split(line)
                value = _unquote(parts[1]) if parts else None
                if not section or parts is None or value is None:
                    raise FormatError(f"line {number} is neither a section nor an option")
                name = parts[0]
                if name == "-":
                    automatic += 1
                    name = f"#{automatic}"
                document.lines.append(Line(raw, "key", section, name, value))
        if document.lines and document.lines[-1].text == "":
            document.lines.pop()
        return document

    def render(self) -> str:
        return "".join(line.text.rstrip("\r\n") + self.newline for line in self.lines)

    def sections(self) -> dict[str, dict[str, str]]:
        """All remotes with their options, in order."""
        found: dict[str, dict[str, str]] = {}
        for line in self.lines:
            if line.kind == "section":
                found.setdefault(line.section, {})
            elif line.name:
                found.setdefault(line.section, {})[line.name] = line.value
        return found

    def set(self, section: str, key: str, value: str) -> None:
        """Replace an option where it stands, else add it behind the section's last one."""
        new = Line(f"{key} = {value}", "key", section, key, value)
        at = [index for index, line in enumerate(self.lines) if line.is_key(section, key)]
        if at:
            self.lines[at[-1]] = new
            for index in reversed(at[:-1]):
                del self.lines[index]
            return
        inside = [i for i, line in enumerate(self.lines) if line.section == section and line.kind in ("section", "key")]
        if inside:
            self.lines.insert(inside[-1] + 1, new)
            return
        if self.lines and self.lines[-1].kind != "blank":
            self.lines.append(Line("", "blank", self.lines[-1].section))
        self.lines += [Line(f"[{section}]", "section", section), new]

    def unset(self, section: str, key: str) -> None:
        self.lines = [line for line in self.lines if not line.is_key(section, key)]

    def empty(self, section: str) -> None:
        """Take all options away, the section stays where it is."""
        self.lines = [line for line in self.lines if line.kind != "key" or line.section != section]

    def remove(self, section: str) -> None:
        """Comments behind the section's last line belong to what follows and stay."""
        kept: list[Line] = []
        for index, line in enumerate(self.lines):
            if line.section != section:
                kept.append(line)
            elif line.kind == "comment":
                rest = self.lines[index:]
                following = next((other for other in rest if other.kind in ("section", "key")), None)
                if following is None or following.kind == "section":
                    kept.append(line)
        self.lines = kept
