# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How many rows each table of a PostgreSQL database has. Also a file of role backup, whose programs need no Ansible,
so it imports nothing of this collection."""

from __future__ import annotations

from collections.abc import Iterable

# Exact counts of all tables in one answer. What belongs to an extension comes with it, not with the dump.
COUNT = """
SELECT format('%I.%I', n.nspname, c.relname) || ' ' || (xpath('/row/rows/text()', query_to_xml(
    format('SELECT count(*) AS rows FROM %I.%I', n.nspname, c.relname), false, true, '')))[1]::text
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND c.relpersistence <> 't'
    AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
    AND NOT EXISTS (SELECT FROM pg_depend d
        WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
ORDER BY 1;
"""


def parse(lines: Iterable[str]) -> dict[str, int]:
    """``schema.table 12`` -> ``{"schema.table": 12}``."""
    return {name: int(count) for name, _space, count in (line.rpartition(" ") for line in lines) if name}
