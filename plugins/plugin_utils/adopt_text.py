# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A comparison as text for people."""

from __future__ import annotations

import textwrap

import yaml

from .adopt_model import CHANGES, LINES, OWNER, REFUSED, SAME, STAYS, Found, Row

MEANINGS = {
    SAME: "nothing changes",
    CHANGES: "the take-over changes it",
    STAYS: "is left alone",
    OWNER: "only you can do it",
    LINES: "the lines below must stand in the inventory first",
    REFUSED: "hinders the take-over",
}
WIDTH = 100


def cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"


def row(one: Row) -> list[str]:
    """What it is, now and planned, in one line; what to know about it below."""
    between = f"{one.now} -> {one.plan}" if one.plan and one.plan not in (one.now, "the same") else one.now
    head = f"  {one.verdict:<10}{cut(one.what, 34):<35}{between}"
    note = textwrap.wrap(one.note, WIDTH, initial_indent=" " * 14, subsequent_indent=" " * 14)
    return [head.rstrip(), *note]


def lines(host: str, found: Found) -> list[str]:
    """The table, and what to write into the inventory."""
    text = [f"{host}: what runs, beside what the plan wants"]
    last = None
    for one in found.rows:
        if one.service != last:
            text += ["", "the machine itself, and what is not taken over" if one.service == "-" else one.service]
            last = one.service
        text += row(one)
    if not found.rows:
        text.append("  nothing was found")
    used = [word for word in MEANINGS if word in {one.verdict for one in found.rows}]
    text += ["", *(f"  {word:<10}{MEANINGS[word]}" for word in used)]
    if found.inventory:
        shown = yaml.safe_dump(found.inventory, sort_keys=False, default_flow_style=None, width=WIDTH)
        text += ["", "For group_vars/all/site.yml (add to what stands there):", ""]
        text += [f"  {line}" for line in shown.splitlines()]
    if found.request["old"]:
        names = ", ".join(found.services)
        text += ["", f"CONFIRM=yes takes over: {names}." if not found.refused else "Not yet: see above."]
    return text
