# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What mediaserver-backup is told of repositories: a part without secrets, and their secrets apart."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

COPIED = ("name", "path", "mount", "append_only", "environment")
SSH = "-o BatchMode=yes -o IdentitiesOnly=yes -o StrictHostKeyChecking=yes -o ServerAliveInterval=30"


def restic_repositories(repositories: Iterable[Mapping[str, Any]], folder: str) -> list[dict[str, Any]]:
    """Without credentials; limits (KiB a second) and SSH's files below ``folder`` as restic's options."""
    found = []
    for one in repositories:
        options = [
            f"--limit-{way}={one[key]}"
            for way, key in (("upload", "upload_limit"), ("download", "download_limit"))
            if one.get(key)
        ]
        if one.get("ssh"):
            files = f"-i {folder}/{one['name']} -o UserKnownHostsFile={folder}/{one['name']}.known_hosts"
            options.append(f"--option=sftp.args={files} {SSH}")
        kept = {key: one[key] for key in COPIED if key in one}
        found.append({**kept, "options": options} if options else kept)
    return found


def restic_environments(
    repositories: Iterable[Mapping[str, Any]], secrets: Mapping[str, str]
) -> dict[str, dict[str, str]]:
    """The credentials of each repository that has some."""
    return {
        one["name"]: {variable: secrets[secret] for variable, secret in one["credentials"].items()}
        for one in repositories
        if one.get("credentials")
    }


def restic_ssh_files(
    repositories: Iterable[Mapping[str, Any]], secrets: Mapping[str, str], folder: str
) -> list[dict[str, Any]]:
    """Files of SSH, as config_tree takes them: private and public key, the server's host key."""
    found: list[dict[str, Any]] = []
    for one in repositories:
        if ssh := one.get("ssh"):
            path, key = f"{folder}/{one['name']}", secrets[ssh["key"]]
            found += [
                {"path": path, "content": f"{key.strip()}\n", "mode": "0400", "secret": True},
                {"path": f"{path}.known_hosts", "content": f"{ssh['known_host']}\n"},
            ]
            if public := secrets.get(f"{ssh['key']}.public"):
                found.append({"path": f"{path}.pub", "content": f"{public.strip()}\n"})
    return found


class FilterModule:
    """Filters of the collection homelab.mediaserver."""

    def filters(self) -> dict[str, Any]:
        return {
            "restic_repositories": restic_repositories,
            "restic_environments": restic_environments,
            "restic_ssh_files": restic_ssh_files,
        }
