# SPDX-License-Identifier: MIT
"""How a database in a container is spoken to."""

from __future__ import annotations

import subprocess

from mediaserver_restic import Problem, last_words


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
