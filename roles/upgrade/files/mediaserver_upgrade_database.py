# SPDX-License-Identifier: MIT
"""PostgreSQL whose new version cannot read the old files: dumped by the old, loaded into the new, rows counted."""

from __future__ import annotations

import contextlib
import subprocess
from pathlib import Path
from typing import Any

import mediaserver_manifest as manifest
import mediaserver_upgrade_data as data
from mediaserver_dumps import dump_command
from mediaserver_psql import SEARCH_PATH, SEARCH_PATH_WITH_PUBLIC, container_id, feed, psql
from mediaserver_restic import Problem, last_words
from mediaserver_upgrade_docker import Project

Database = dict[str, Any]
FOREIGN = """SELECT datname FROM pg_database WHERE NOT datistemplate AND datname <> 'postgres'
AND datname NOT LIKE '%\\_before\\_%' AND datname NOT LIKE '%\\_restoring';"""


def versions(request: dict[str, Any]) -> list[Database]:
    """Each PostgreSQL of the service with the version of its files, and whether the new image needs a reload."""
    found = []
    for one in request.get("databases", []):
        has, wants = cluster_version(Path(one["path"])), one.get("major")
        if has and wants and has > wants:
            raise Problem(
                f"Unable to upgrade {request['service']}: its database is of PostgreSQL {has}, the new image is {wants}"
                ". There is no way back to an older version but a restore"
            )
        found.append({**one, "has": has, "reload": bool(has and wants and has < wants)})
    return found


def cluster_version(folder: Path) -> int | None:
    """As the cluster's own file says it, wherever below the volume the cluster lies."""
    for pattern in ("PG_VERSION", "*/PG_VERSION", "*/docker/PG_VERSION"):
        for file in folder.glob(pattern):
            text = file.read_text().strip()
            return int(text) if text.isdigit() else None
    return None


def moving(request: dict[str, Any], volumes: list[data.Volume]) -> list[tuple[Database, data.Volume]]:
    """The databases that are loaded anew, each with its volume."""
    return [(one, volume) for one in request["databases"] for volume in volumes
            if one["reload"] and one["path"] == str(volume.path)]  # fmt: skip


def job(project: Project, one: Database) -> dict[str, Any]:
    """As the backup's and the restore's functions want it."""
    database = {"kind": "postgresql", "container": one["container"], "name": one["name"], "user": one["user"]}
    return {"name": f"{project.name}-{one['name']}", "service": project.name, "database": database}


def dump(project: Project, moved: list[tuple[Database, data.Volume]], journal: Any) -> None:
    """While nothing else of the service writes. Rows are counted with it."""
    names = sorted({one["container"] for one, _volume in moved})
    project.stop_all_but(names)
    project.start(*names)
    rows: dict[str, manifest.Counts] = {}
    for one, volume in moved:
        check_nothing_else(project, one, [other["name"] for other, place in moved if place is volume])
        container = container_id(project.name, one["container"])
        rows[one["name"]] = manifest.of_postgresql(container, one["user"], one["name"])
        target = volume.dumped(one["name"])
        data.remove(target)
        with target.open("xb") as output:  # umask 077
            done = subprocess.run(dump_command(job(project, one)), stdout=output, stderr=subprocess.PIPE, check=False)
        if done.returncode:
            raise Problem(f"Unable to dump {one['name']}: {last_words(done.stderr.decode(errors='replace'))}")
    journal.write(rows=rows)


def check_nothing_else(project: Project, one: Database, declared: list[str]) -> None:
    """A database that nobody declared would stay behind."""
    container = container_id(project.name, one["container"])
    argv = psql(container, one["user"], "postgres", answers=True)
    done = subprocess.run(argv, input=FOREIGN, text=True, capture_output=True, check=False)
    if done.returncode:
        raise Problem(f"Unable to list the databases of {project.name}: {last_words(done.stderr)}")
    if more := sorted({line for line in done.stdout.splitlines() if line} - set(declared)):
        raise Problem(
            f"Unable to upgrade {project.name}: its server holds {', '.join(more)} too, which its catalog entry does"
            " not name under backup.databases; it would be left behind"
        )


def load(project: Project, moved: list[tuple[Database, data.Volume]], journal: Any) -> None:
    """Into the new version's empty server, in one transaction each; every table must have as many rows as before."""
    project.start(*sorted({one["container"] for one, _volume in moved}))
    for one, volume in moved:
        container = container_id(project.name, one["container"])
        ensure(project, one, container)
        pour(volume.dumped(one["name"]), [*psql(container, one["user"], one["name"]), "--single-transaction"])
        feed(f"analyse {one['name']}", psql(container, one["user"], one["name"]), "ANALYZE;")
        wanted = journal.now["rows"][one["name"]]
        if wrong := manifest.differences(wanted, manifest.of_postgresql(container, one["user"], one["name"])):
            raise Problem(f"Unable to load {one['name']} into the new version: " + "; ".join(wrong[:5]))


def ensure(project: Project, one: Database, container: str) -> None:
    """The image makes one database at its first start; further ones are made here."""
    script = (
        f"SELECT 'CREATE DATABASE \"{one['name']}\" TEMPLATE template0' WHERE NOT EXISTS "
        f"(SELECT FROM pg_database WHERE datname = '{one['name']}')\\gexec\n"
    )
    feed(f"make database {one['name']}", psql(container, one["user"], "postgres"), script)


def pour(source: Path, loader: list[str]) -> None:
    """A dump, line by line into psql, with the search path that extensions' functions need."""
    with subprocess.Popen(loader, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as target, source.open("rb") as lines:
        assert target.stdin and target.stderr
        with contextlib.suppress(BrokenPipeError):
            for line in lines:
                target.stdin.write(SEARCH_PATH_WITH_PUBLIC + b"\n" if line.rstrip() == SEARCH_PATH else line)
        with contextlib.suppress(BrokenPipeError):
            target.stdin.close()
        complaint = target.stderr.read().decode(errors="replace")
        if target.wait():
            raise Problem(f"Unable to load {source.name}: {last_words(complaint)}")
