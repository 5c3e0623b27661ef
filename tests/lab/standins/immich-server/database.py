# SPDX-License-Identifier: MIT
"""Where the state lies: PostgreSQL, so that a restored dump brings it back. Unit tests use SQLite (LAB_TEST_DATABASE).

Every request reads from the database: nothing is cached, a restore shows at once.
"""

from __future__ import annotations

import json
import os
import re
import sqlite3
import threading
import time
from typing import Any

import pg
from standin import fatal, log

NAME = "immich-server"
# table -> columns beside id and doc
TABLES = {
    "user": ["email"],
    "session": ["token"],
    "api_key": ["key", "userId"],
    "library": ["ownerId"],
    "asset": ["ownerId", "libraryId", "originalPath", "checksum"],
    "system_metadata": [],
    "version_history": [],
}


class Database:
    def __init__(self, settings: dict[str, Any]) -> None:
        self.settings = settings
        self.lock = threading.RLock()
        self.connection: Any = None

    def connect(self) -> None:
        if "LAB_TEST_DATABASE" in os.environ:
            self.connection = sqlite3.connect(os.environ["LAB_TEST_DATABASE"], check_same_thread=False)
            self.connection.isolation_level = None
            return
        self.connection = pg.Connection(**self.settings)

    def query(self, sql: str, parameters: list[Any] | None = None) -> list[Any]:
        with self.lock:
            if isinstance(self.connection, sqlite3.Connection):
                named = {f"p{number}": value for number, value in enumerate(parameters or [], 1)}
                return self.connection.execute(re.sub(r"\$(\d+)", r":p\1", sql), named).fetchall()
            for attempt in (1, 2):
                try:
                    if self.connection is None:
                        self.connect()
                    return self.connection.query(sql, parameters)
                except (OSError, pg.PgError) as error:
                    if isinstance(error, pg.PgError) and error.code and not error.code.startswith("57"):
                        raise
                    self.connection = None
                    if attempt == 2:
                        raise
            raise AssertionError("not reached")

    # --- start

    def bootstrap(self) -> None:
        """Wait for the server, refuse what the real one refuses, make the tables."""
        where = f"{self.settings['host']}:{self.settings['port']}"
        for left in range(int(os.environ.get("LAB_TEST_PATIENCE", "10")), -1, -1):
            try:
                self.connect()
                break
            except pg.PgError as error:
                fatal(NAME, f"PostgresError: {error} ({where})")
            except OSError as error:
                if not left:
                    fatal(NAME, f"Error: connect ECONNREFUSED {where} ({error})")
                log(NAME, f"waiting for the database {where}: {error}")
                time.sleep(1)
        if not isinstance(self.connection, sqlite3.Connection):
            self._extensions()
        for table, columns in TABLES.items():
            more = "".join(f', "{column}" text' for column in columns)
            self.query(f'CREATE TABLE IF NOT EXISTS "{table}" (id text PRIMARY KEY{more}, doc jsonb NOT NULL)')

    def _extensions(self) -> None:
        version = int(self.query("SHOW server_version_num")[0][0] or 0) // 10000
        if not 14 <= version < 20:
            fatal(NAME, f"Invalid PostgreSQL version: {version}, supported are >=14 <20")
        found = {row[0] for row in self.query("SELECT name FROM pg_available_extensions")}
        wanted = {"pgvector": "vector", "vectorchord": "vchord"}.get(os.environ.get("DB_VECTOR_EXTENSION", ""))
        if os.environ.get("DB_VECTOR_EXTENSION") and not wanted:
            fatal(NAME, "DB_VECTOR_EXTENSION must be pgvector or vectorchord")
        vector = wanted or next((each for each in ("vchord", "vector") if each in found), "vchord")
        if vector not in found:
            fatal(NAME, f"The {vector} extension is not available in this Postgres instance. "
                        "If using a container image, ensure the image has the extension installed.")  # fmt: skip
        for each in (vector, "unaccent", "cube", "earthdistance", "pg_trgm", '"uuid-ossp"'):
            try:
                self.query(f"CREATE EXTENSION IF NOT EXISTS {each} CASCADE")
            except pg.PgError as error:
                fatal(NAME, f"Failed to activate {each} extension: {error}")

    # --- documents

    def all(self, table: str, **where: Any) -> list[dict[str, Any]]:
        rule = " AND ".join(f'"{column}" = ${index}' for index, column in enumerate(where, 1))
        sql = f'SELECT doc FROM "{table}"' + (f" WHERE {rule}" if rule else "")
        found = [json.loads(row[0]) for row in self.query(sql, list(where.values()))]
        return sorted(found, key=lambda each: (each.get("createdAt", ""), each.get("id", "")))

    def get(self, table: str, number: str) -> dict[str, Any] | None:
        return next(iter(self.all(table, id=number)), None)

    def put(self, table: str, number: str, document: dict[str, Any], **columns: Any) -> None:
        names = ["id", *columns, "doc"]
        marks = ", ".join(f"${index}" for index in range(1, len(names) + 1))
        sets = ", ".join(f'"{name}" = excluded."{name}"' for name in names[1:])
        listed = ", ".join(f'"{name}"' for name in names)
        values = [number, *columns.values(), json.dumps(document)]
        self.query(f'INSERT INTO "{table}" ({listed}) VALUES ({marks}) ON CONFLICT (id) DO UPDATE SET {sets}', values)

    def delete(self, table: str, number: str) -> None:
        self.query(f'DELETE FROM "{table}" WHERE id = $1', [number])

    def dump(self) -> str:
        """A plain SQL dump of these tables, for the server's own backup job."""
        lines = []
        for table, columns in TABLES.items():
            more = "".join(f', "{column}" text' for column in columns)
            lines += [f'DROP TABLE IF EXISTS "{table}";',
                      f'CREATE TABLE "{table}" (id text PRIMARY KEY{more}, doc jsonb NOT NULL);']  # fmt: skip
            listed = ", ".join(f'"{name}"' for name in ["id", *columns, "doc"])
            for row in self.query(f'SELECT {listed} FROM "{table}"'):
                values = ", ".join("NULL" if v is None else "'" + str(v).replace("'", "''") + "'" for v in row)
                lines.append(f'INSERT INTO "{table}" ({listed}) VALUES ({values});')
        return "\n".join([*lines, ""])
