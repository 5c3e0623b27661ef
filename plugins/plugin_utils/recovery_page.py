# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The page to print beside a recovery kit: where everything is and what to do. Holds no secret."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

from . import plan_map
from .plan_page import table

Tree = dict[str, Any]
WORDS = 8
STYLE = """
@page { margin: 15mm; }
body { font: 11pt/1.4 system-ui, sans-serif; margin: 1rem auto; max-width: 48rem; padding: 0 1rem; color: #000; }
table { border-collapse: collapse; width: 100%; margin-bottom: .5rem; }
th, td { text-align: left; padding: .15rem .5rem .15rem 0; border-bottom: 1px solid #bbb; vertical-align: top; }
td, pre, code { overflow-wrap: anywhere; } pre { white-space: pre-wrap; border: 1px solid #bbb; padding: .4rem; }
h2 { font-size: 12pt; margin: .8rem 0 .2rem; }
.word { display: inline-block; width: 21%; height: 1.8rem; margin: 0 2% .4rem 0; border-bottom: 1.5px solid #000; }
"""


def page(plan: Tree, kit: Mapping[str, str], about: Mapping[str, str]) -> str:
    """``kit``: name, sha256, made. ``about``: version, source, commit of the collection."""
    title = f"{plan['site']['name']}: how to rebuild everything"
    source = " at ".join(filter(None, (about["source"], about["commit"][:12])))
    if about["source"].startswith(("/", ".")):
        source += " (a folder of the computer that made the kit: keep a copy of it with the kit)"
    parts = [
        f"<h1>{escape(title)}</h1>",
        "<p>With this page, the kit (a file), a copy of the backups and new machines the whole home comes back. "
        "Whoever has the kit and its passphrase has all its secrets.</p>",
        table(
            "The kit",
            ("What", ""),
            [
                ("File", kit["name"]),
                ("Made", kit["made"]),
                ("SHA-256", kit["sha256"]),
                ("Copies lie at (write it down)", ""),
                ("", ""),
                ("Collection", f"homelab.mediaserver {about['version']}, {source}"),
            ],
        ),
        f"<h2>Its passphrase, {WORDS} words (<code>make recovery-passphrase</code> shows it; write it by hand)</h2>",
        '<p class="words">' + '<span class="word"></span>' * WORDS + "</p>",
        table("Backups", ("Host", "Repository", "Address"), repositories(plan)),
        table("Machines", ("Name", "Address", "Services"), machines(plan)),
        table("SSH keys that may log in", ("Fingerprint", "Whose"), keys(plan["site"]["admin"]["ssh_keys"])),
        "<h2>What to do</h2>",
        steps(plan, kit, about),
    ]
    head = f'<meta charset="utf-8"><title>{escape(title)}</title><style>{STYLE}</style>'
    return f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head><body>\n' + "\n".join(parts) + "\n</body></html>\n"


def repositories(plan: Tree) -> list[tuple[str, str, str]]:
    return [
        (host, one["name"], public_address(one["path"]) + (f" (on {host}'s own storage)" if one["mount"] else ""))
        for host, body in plan_map.saved(plan).items()
        for one in body["backups"]["repositories"]
    ]


def public_address(address: str) -> str:
    """Without a password that somebody wrote into it."""
    return re.sub(r"(//[^/@:]*):[^/@]*@", r"\1@", address)


def machines(plan: Tree) -> list[tuple[str, str, str]]:
    nodes = [(name, str(node["address"]), "Proxmox VE") for name, node in plan["nodes"].items()]
    return nodes + [(name, body["address"], ", ".join(body["services"]))
                    for name, body in plan_map.machines(plan).items()]  # fmt: skip


def keys(lines: Iterable[str]) -> list[tuple[str, str]]:
    found = []
    for line in lines:
        kind, blob, *whose = line.split(maxsplit=2)
        try:
            sha = hashlib.sha256(base64.b64decode(blob, validate=True)).digest()
        except binascii.Error:
            continue
        found.append((f"SHA256:{base64.b64encode(sha).decode().rstrip('=')} ({kind})", "".join(whose)))
    return found


def steps(plan: Tree, kit: Mapping[str, str], about: Mapping[str, str]) -> str:
    """The same commands as docs/guides/disaster.md."""
    name = plan["site"]["name"]
    proxmox = ["make proxmox-access ENV=home       # the new node's token"] if plan["nodes"] else []
    offsite = next((row[1] for row in repositories(plan) if "own storage" not in row[2]), "NAME")
    commands = [
        f"git clone {about['source'] or '<the collection>'} mediaserver && cd mediaserver",
        *([f"git checkout {about['commit'][:12]}"] if about["commit"] else []),
        "make setup",
        f"sha256sum {kit['name']}                # is it the file above?",
        f"make open-kit KIT={kit['name']} ENV=home   # asks for the passphrase",
        "make plan ENV=home                 # change addresses and devices that are others now",
        *proxmox,
        f"make rebuild REPOSITORY={offsite} ENV=home",
        "make site ENV=home                 # changes nothing any more",
    ]
    return (
        "<p>New machines first: install Proxmox VE as docs/guides/first-evening.md says, let the node take your SSH "
        "key. Then on any Debian computer of the house:</p>"
        f"<pre>{escape(chr(10).join(commands))}</pre>"
        "<p>Without this collection, too, with ansible-core and tar: "
        f"<code>ansible-vault decrypt --output {escape(name)}.tar.gz {escape(kit['name'])}</code>. "
        "The backups are restic's; their password is <code>restic.password</code> in "
        "<code>.secrets/vault.yml</code>, which <code>.secrets/vault.key</code> opens.</p>"
    )
