# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Mistakes and warnings, collected so that all of them can be told at once."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Where:
    """A place in a file: ``group_vars/all/site.yml`` and ``site_services.jellyfin.hosts``."""

    file: str
    key: str = ""

    def at(self, *parts: object) -> Where:
        """The place of an entry below this one."""
        steps = [self.key] if self.key else []
        return Where(self.file, ".".join([*steps, *(str(part) for part in parts)]))


@dataclass(frozen=True)
class Problem:
    """One mistake: its kind (stable name), place, what is wrong and what would be right."""

    kind: str
    where: Where
    reason: str
    remedy: str

    def text(self) -> str:
        place = f"{self.where.file}: {self.where.key}" if self.where.key else self.where.file
        return f"{place}: {self.reason}. {self.remedy}."

    def plain(self) -> dict[str, str]:
        return {
            "kind": self.kind,
            "file": self.where.file,
            "key": self.where.key,
            "reason": self.reason,
            "remedy": self.remedy,
        }


@dataclass(frozen=True)
class Warning_:
    """Something unwise that the inventory may accept by name."""

    name: str
    where: Where
    message: str


@dataclass
class Problems:
    """What was found so far, in the order of finding, each once."""

    found: list[Problem] = field(default_factory=list)
    warnings: list[Warning_] = field(default_factory=list)

    def add(self, kind: str, where: Where, reason: str, remedy: str) -> None:
        problem = Problem(kind, where, reason.rstrip("."), remedy.rstrip("."))
        if problem not in self.found:
            self.found.append(problem)

    def warn(self, name: str, where: Where, message: str) -> None:
        warning = Warning_(name, where, message)
        if warning not in self.warnings:
            self.warnings.append(warning)


def one_of(names: Iterable[object]) -> str:
    """``a, b or c``, for messages."""
    words = [str(name) for name in names]
    if len(words) < 2:
        return "".join(words) or "nothing"
    return ", ".join(words[:-1]) + " or " + words[-1]


def all_of(names: Iterable[object]) -> str:
    """``a, b and c``, for messages."""
    words = [str(name) for name in names]
    return "".join(words) if len(words) < 2 else ", ".join(words[:-1]) + " and " + words[-1]


def suggest(name: str, known: Iterable[str], otherwise: str = "") -> str:
    """Say what was probably meant: ``Did you mean jellyfin``, else what there is."""
    names = sorted(known)
    near = difflib.get_close_matches(str(name), names, n=1, cutoff=0.6)
    if near:
        return f"Did you mean {near[0]}"
    if otherwise or not names:
        return otherwise or "Remove it"
    return (
        f"Use {one_of(names)}" if len(names) <= 12 else f"There are {', '.join(names[:12])} and {len(names) - 12} more"
    )
