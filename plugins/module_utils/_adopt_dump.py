# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A dump of a PostgreSQL container that nothing writes to any more, proved by counting its rows."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ansible_collections.homelab.mediaserver.plugins.module_utils._docker import Tool
from ansible_collections.homelab.mediaserver.plugins.module_utils._reconcile import Failure
from ansible_collections.homelab.mediaserver.plugins.module_utils._rows import COUNT, parse

END = "-- PostgreSQL database dump complete"
DUMP_LIMIT = 6 * 3600


def counts(tool: Tool, container: str, database: Mapping[str, Any]) -> dict[str, int]:
    """Rows of each table: ``{"public.assets": 12}``."""
    psql = ["psql", "--no-psqlrc", "--quiet", "--no-align", "--tuples-only", "--set=ON_ERROR_STOP=1"]
    login = [f"--username={database['user']}", f"--dbname={database['name']}", "--command", COUNT]
    out = tool.run(["docker", "exec", container, *psql, *login], f"count the rows of {database['name']}", 1800)
    return parse(out.splitlines())


def counted(lines: Iterable[str]) -> tuple[dict[str, int], bool]:
    """Rows of each table in a dump's text, and whether the dump came to its end."""
    found: dict[str, int] = {}
    table, complete = "", False
    for line in lines:
        if table:
            if line.startswith("\\."):
                table = ""
            else:
                found[table] += 1
        elif match := re.match(r"COPY (\S+) (?:\(.*\) )?FROM stdin;", line):
            table = match.group(1)
            found[table] = 0
        elif line.startswith(END):
            complete = True
    return found, complete


def wait_ready(tool: Tool, container: str, database: Mapping[str, Any], seconds: float = 120) -> None:
    """Until the server takes connections."""
    end = time.monotonic() + seconds
    argv = ["docker", "exec", container, "pg_isready", "--quiet", f"--username={database['user']}"]
    while tool.attempt(argv)[0] != 0:
        if time.monotonic() > end:
            raise Failure(f"Unable to dump {database['name']}: its server does not answer within {seconds:g} seconds")
        time.sleep(0.5)


def dump(tool: Tool, container: str, database: Mapping[str, Any], target: Path) -> dict[str, int]:
    """Write the dump to ``target`` (mode 0600) and prove that it holds every row. Rows of each table."""
    name = database["name"]
    rows = counts(tool, container, database)
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    beside = target.with_name(f".{target.name}.tmp")
    os.close(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600))
    words = 'exec docker exec "$1" pg_dump --clean --if-exists --username="$2" --dbname="$3" > "$4"'
    argv = ["sh", "-c", words, "sh", container, database["user"], name, str(beside)]
    tool.run(argv, f"dump database {name}", DUMP_LIMIT)
    with beside.open(encoding="utf-8", errors="replace") as file:
        found, complete = counted(file)
    if not complete:
        raise Failure(f"Unable to dump database {name}: the dump ends in the middle")
    wrong = sorted(table for table in rows.keys() | found.keys() if rows.get(table, 0) != found.get(table, 0))
    if wrong:
        shown = ", ".join(f"{t} ({rows.get(t, 0)} rows, {found.get(t, 0)} in the dump)" for t in wrong[:5])
        raise Failure(f"Unable to dump database {name}: the dump differs from it in {shown}")
    with beside.open("rb") as stream:
        os.fsync(stream.fileno())
    beside.replace(target)
    target.with_suffix(".rows.json").write_text(json.dumps(rows, indent=1, sort_keys=True))
    return rows
