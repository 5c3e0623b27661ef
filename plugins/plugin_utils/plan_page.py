# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan as one self-contained HTML page."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import Any

from . import plan_map, plan_text

Tree = dict[str, Any]

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem; color: #1b2631; }
svg { width: 100%; height: auto; border: 1px solid #d5d8dc; border-radius: 8px; }
table { border-collapse: collapse; width: 100%; margin-bottom: 1rem; }
th, td { text-align: left; padding: .25rem .75rem .25rem 0; border-bottom: 1px solid #e5e7e9; vertical-align: top; }
.warning { color: #9c640c; } pre { white-space: pre-wrap; }
"""


def page(plan: Tree) -> str:
    """HTML without scripts and without anything from elsewhere; holds no secret, as the plan holds none."""
    title = f"{plan['site']['name']}: the plan"
    parts = [
        f"<h1>{escape(title)}</h1>",
        "<h2>Map</h2>",
        plan_map.svg(plan),
        "<p>Coloured lines are allowed flows; hold the pointer on one to read it. Everything else is closed.</p>",
        services(plan),
        table("Public names", ("Name", "Service", "Where", "For", "Login"), routes(plan)),
        table("Ports", ("From", "Host", "Service", "Port"), ports(plan)),
        table("Router", ("Port", "To", "Service"), forwards(plan)),
        table("Backups", ("When", "Host", "What"), backups(plan)),
        "<h2>Warnings</h2>",
        *(f'<p class="warning">{escape(line)}</p>' for line in plan_text.warnings(plan) or ["none"]),
        "<h2>As text</h2>",
        f"<pre>{escape(chr(10).join(plan_text.lines(plan)))}</pre>",
    ]
    head = f'<meta charset="utf-8"><title>{escape(title)}</title><style>{STYLE}</style>'
    return f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head><body>\n' + "\n".join(parts) + "\n</body></html>\n"


def table(title: str, head: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    top = "".join(f"<th>{escape(name)}</th>" for name in head)
    body = "\n".join("<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<h2>{escape(title)}</h2>\n<table><tr>{top}</tr>\n{body}</table>"


def services(plan: Tree) -> str:
    rows = [(host, name, plan["catalog"][name]) for host, body in plan_map.machines(plan).items()
            for name in body["services"]]  # fmt: skip
    return table("Services", ("Host", "Service", "What for"), rows)


def routes(plan: Tree) -> list[tuple[object, ...]]:
    return [
        (route["domains"][0], route["service"], route["upstream"]["host"], ", ".join(route["zones"]), route["login"])
        for route in plan["routes"]
    ] + [
        (name["domain"], name["service"], name["upstream"]["host"], "internet, through Cloudflare's tunnel",
         "Cloudflare Access" if name["guarded"] else "application")
        for name in (plan["cloudflare"] or {"names": []})["names"]
    ]  # fmt: skip


def ports(plan: Tree) -> list[tuple[object, ...]]:
    flows = sorted(plan["flows"], key=lambda one: (one["host"], one["service"] or "", one["port"], one["zone"]))
    return [(one["zone"], one["host"], one["service"] or "ssh", f"{one['port']}/{one['protocol']}") for one in flows]


def forwards(plan: Tree) -> list[tuple[object, ...]]:
    return [(f"{one['port']}/{one['protocol']}", one["to"], one["service"]) for one in plan["forwards"]]


def backups(plan: Tree) -> list[tuple[object, ...]]:
    return [
        (job["schedule"], name, job["name"])
        for name, host in plan_map.saved(plan).items()
        for job in host["backups"]["jobs"]
    ]
