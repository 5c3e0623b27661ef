# SPDX-License-Identifier: MIT
"""An application with a database and a folder. BEHAVIOUR says how its upgrade goes, VERSION what it calls itself."""

from __future__ import annotations

import http.server
import os
import subprocess
import sys
import time
from pathlib import Path

BEHAVIOUR = os.environ["BEHAVIOUR"]
VERSION = os.environ["VERSION"]
DATA = Path("/data")


def sql(text: str) -> None:
    argv = ["psql", "--quiet", "--set=ON_ERROR_STOP=1", "--host=database", "--username=postgres", "--dbname=app"]
    subprocess.run(argv, input=text, text=True, check=True)


def migrate() -> None:
    """What a new version does at its first start, so that the old one could not go on with it."""
    sql(f"""BEGIN;
        CREATE TABLE IF NOT EXISTS migration (version text PRIMARY KEY);
        INSERT INTO migration VALUES ('{VERSION}') ON CONFLICT DO NOTHING; COMMIT;""")
    (DATA / f"migrated-{VERSION}").write_text(VERSION)


def ruin() -> None:
    sql("ALTER TABLE photo RENAME COLUMN hash TO checksum; DELETE FROM photo WHERE id % 2 = 0;")
    for file in sorted(DATA.glob("file-*"))[::2]:
        file.unlink()
    (DATA / "file-1").write_text("ruined")


class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        code = 200 if self.path == "/health" else 500 if BEHAVIOUR == "broken" else 200
        self.send_response(code)
        self.end_headers()
        self.wfile.write(VERSION.encode())

    def log_message(self, *_arguments: object) -> None:
        return


if BEHAVIOUR == "crash":
    (DATA / "rubbish").write_text("crash")
    sys.exit(1)
if BEHAVIOUR == "hang":
    (DATA / "rubbish").write_text("hang")
    time.sleep(86400)
if BEHAVIOUR == "ruin":
    ruin()
    sys.exit(1)
migrate()
http.server.ThreadingHTTPServer(("", 8080), Answer).serve_forever()
