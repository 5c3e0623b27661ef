# SPDX-License-Identifier: MIT
"""How a database in a container is spoken to."""

from __future__ import annotations

import subprocess

from mediaserver_restic import Problem, last_words

# pg_dump empties the search path, and functions that name their helpers without a schema (cube, earthdistance, vector
# extensions) would not find them while indexes are built. Immich's own instructions for a restore say the same.
SEARCH_PATH = b"SELECT pg_catalog.set_config('search_path', '', false);"
SEARCH_PATH_WITH_PUBLIC = b"SELECT pg_catalog.set_config('search_path', 'public, pg_catalog', true);"


def container_id(project: str, service: str) -> str:
    """The running container of a compose project's service."""
    labels = (f"com.docker.compose.project={project}", f"com.docker.compose.service={service}")
    command = ["docker", "ps", "--quiet", "--no-trunc"]
    for label in labels:
        command += ["--filter", f"label={label}"]
    result = subprocess.run(command, text=True, check=False, capture_output=True)
    found = result.stdout.split()
    if result.returncode or len(found) != 1:
        reason = last_words(result.stderr) if result.returncode else f"{len(found)} containers run"
        raise Problem(f"Unable to dump the database of {project}: container {service}: {reason}")
    return found[0]


def psql(container: str, user: str, database: str, *more: str, answers: bool = False) -> list[str]:
    """psql that ends at the first error, told by its standard input. ``answers``: bare rows come back, else nothing."""
    options = ["--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1"]
    options += ["--no-align", "--tuples-only"] if answers else ["--output=/dev/null"]
    login = [f"--username={user}", f"--dbname={database}"]
    return ["docker", "exec", "--interactive", container, "psql", *options, *login, *more]


def feed(what: str, argv: list[str], text: str = "") -> None:
    done = subprocess.run(argv, input=text, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Problem(f"Unable to {what}: {last_words(done.stderr)}")
