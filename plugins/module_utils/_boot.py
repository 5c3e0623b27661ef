# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The kernel's command line in the files of GRUB and systemd-boot. Pure: texts in, texts out.

Proxmox VE boots by GRUB, or by systemd-boot from partitions that proxmox-boot-tool copies kernels to (there may be
GRUB on these as well). GRUB reads /etc/default/grub, systemd-boot's entries are made of /etc/kernel/cmdline.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

GRUB = "/etc/default/grub"
GRUB_PARTS = "/etc/default/grub.d"
SYSTEMD_BOOT = "/etc/kernel/cmdline"
ESPS = "/etc/kernel/proxmox-boot-uuids"
VARIABLE = "GRUB_CMDLINE_LINUX_DEFAULT"
LOADER_TOKENS = ("initrd", "BOOT_IMAGE")  # the loader's own, never to be written into a file
# the inner text of a quoted value keeps its own quotes, and so does a parameter that holds spaces
TOKEN = re.compile(r"(?:[^\s\"\\]|\\.|\"[^\"]*\")+")
VALUE = r"(\"(?:[^\"\\]|\\.)*\"|'[^']*'|[^\s#;]*)"


def tokens(text: str) -> list[str]:
    return TOKEN.findall(text)


def key_of(token: str) -> str:
    return token.partition("=")[0]


def merged(current: Iterable[str], wanted: Iterable[str], absent: Iterable[str]) -> list[str]:
    """``current`` with the wanted tokens; ``key=value`` takes the place of other values of its key.

    An absent ``key`` goes with whatever value, an absent ``key=value`` only so.
    """
    wanted, absent = list(wanted), list(absent)
    replaced = {key_of(token) for token in wanted if "=" in token}
    kept = []
    for token in current:
        gone = token in absent or key_of(token) in absent
        if not gone and (token in wanted or key_of(token) not in replaced):
            kept.append(token)
    return kept + [token for token in wanted if token not in kept]


def lacks(running: Iterable[str], wanted: Iterable[str], absent: Iterable[str]) -> list[str]:
    """Why this command line is not the wanted one: of a key given twice the kernel takes the last."""
    have = list(running)
    last = {key_of(token): token for token in have}
    found = [
        f"without {token}"
        for token in wanted
        if (last.get(key_of(token)) != token if "=" in token else token not in have)
    ]
    return found + [f"with {token}" for token in have if token in list(absent) or key_of(token) in list(absent)]


def grub_value(text: str, variable: str = VARIABLE) -> str:
    """The value of a variable in /etc/default/grub without its quotes; the last assignment counts."""
    found = re.findall(rf"^[ \t]*(?:export[ \t]+)?{variable}={VALUE}", text, re.MULTILINE)
    return unquoted(found[-1]) if found else ""


def unquoted(value: str) -> str:
    return value[1:-1] if value[:1] in ("'", '"') and value[-1:] == value[:1] and len(value) > 1 else value


def grub_text(text: str, wanted: list[str], absent: list[str]) -> str:
    """/etc/default/grub with the tokens. What GRUB_CMDLINE_LINUX has already is not added again."""
    always = tokens(grub_value(text, "GRUB_CMDLINE_LINUX"))
    current = tokens(grub_value(text))
    new = merged(current, [token for token in wanted if token not in always or token in current], absent)
    if new == current:
        return text
    pattern = re.compile(rf"^([ \t]*(?:export[ \t]+)?{VARIABLE}=){VALUE}", re.MULTILINE)
    found = list(pattern.finditer(text))
    if not found:
        return f'{text.rstrip()}\n{VARIABLE}="{" ".join(new)}"\n'.lstrip("\n")
    match = found[-1]
    quote = "'" if match[2].startswith("'") else '"'
    return text[: match.start()] + f"{match[1]}{quote}{' '.join(new)}{quote}" + text[match.end() :]


def cmdline_text(text: str | None, running: str, wanted: list[str], absent: list[str]) -> str:
    """/etc/kernel/cmdline, one line. Where it is missing, proxmox-boot-tool takes the running kernel's."""
    if text is None:
        current = [token for token in tokens(running) if key_of(token) not in LOADER_TOKENS]
    else:
        current = tokens(" ".join(line for line in text.splitlines() if not line.lstrip().startswith("#")))
    new = merged(current, wanted, absent)
    return text if text is not None and new == current else " ".join(new) + "\n"


def desired(files: Mapping[str, str | None], running: str, wanted: list[str], absent: list[str]) -> dict[str, str]:
    """The files that hold the command line on this machine, as they should be. None: no boot loader that we know."""
    found: dict[str, str] = {}
    grub = files.get(GRUB)
    if grub is not None:
        found[GRUB] = grub_text(grub, wanted, absent)
    if (files.get(ESPS) or "").strip():
        found[SYSTEMD_BOOT] = cmdline_text(files.get(SYSTEMD_BOOT), running, wanted, absent)
    return found


def overriding(parts: Mapping[str, str]) -> list[str]:
    """Files of /etc/default/grub.d that give the variable a value of their own."""
    return [
        path
        for path, text in sorted(parts.items())
        if re.search(rf"^[ \t]*{VARIABLE}=", text, re.MULTILINE) and f"${VARIABLE}" not in text.replace("{", "")
    ]
