# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A new environment: from questions and answers to what changes in a reference inventory's files."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .problems import suggest

SITE_FILE = "group_vars/all/site.yml"
LAN = "192.168.1."
"""First three numbers of every address in the reference inventories."""


class AnswerError(Exception):
    """An answer that cannot be used; the message names it and says what would do."""


@dataclass
class Changes:
    """``values``: file -> dotted path -> value; ``rename``: part of a text -> new; ``secrets``: for the vault."""

    values: dict[str, dict[str, str]] = field(default_factory=dict)
    rename: dict[str, str] = field(default_factory=dict)
    secrets: dict[str, str] = field(default_factory=dict)


def asked(questions: Sequence[Mapping[str, Any]], system: str) -> list[dict[str, Any]]:
    """The questions that a system has, with what differs between systems chosen."""

    def chosen(value: Any) -> Any:
        return value[system] if isinstance(value, Mapping) and system in value else value

    own = [question for question in questions if system in question.get("for", [system])]
    return [{key: chosen(value) for key, value in question.items()} for question in own]


def changes(questions: Sequence[Mapping[str, Any]], system: str, answers: Mapping[str, Any], name: str) -> Changes:
    """What the answers change for an environment called ``name``. Without an answer the reference's value stays."""
    own = {str(question["name"]): question for question in asked(questions, system)}
    unknown = sorted(set(answers) - set(own))
    if unknown:
        hint = suggest(unknown[0], own, f"There are: {', '.join(own)}")
        raise AnswerError(f"No question of {system} is called {unknown[0]!r}. {hint}")
    made = Changes(values={SITE_FILE: {"site_name": name}})
    given = {key: str(answers[key]).strip() for key in own if str(answers.get(key) or "").strip()}
    for key, answer in given.items():
        question = own[key]
        if question.get("secret"):
            made.secrets[str(question["secret"])] = answer
        elif question.get("network"):
            made.rename[LAN] = prefix_of(key, answer)
        elif question.get("replaces"):
            made.rename[str(question["replaces"])] = answer
        else:
            for file, paths in question["sets"].items():
                made.values.setdefault(file, {}).update(dict.fromkeys(paths, answer))
    prefix = made.rename.get(LAN, LAN)
    for key, answer in given.items():
        if own[key].get("address") and not answer.startswith(prefix):
            raise AnswerError(f"{key}: {answer!r} is not in the network of your home, {prefix}0/24")
    return made


def prefix_of(key: str, answer: str) -> str:
    """The first three numbers of a network."""
    try:
        network = ipaddress.IPv4Network(answer)
    except ValueError:
        network = None
    if network is None or network.prefixlen != 24:
        raise AnswerError(f"{key}: {answer!r} is no network of three numbers and 0/24, as in 192.168.178.0/24")
    return str(network.network_address).rpartition(".")[0] + "."
