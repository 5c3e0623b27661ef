# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""systemd units for mounts by rclone."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.homelab.mediaserver.plugins.module_utils._mounts import unit_name

FOLDER = "/etc/systemd/system"
RESCUE = "/usr/local/lib/mediaserver-mounts/mediaserver_rescue.py"
UNIT = """\
# Written by homelab.mediaserver (role rclone).
[Unit]
Description=rclone: {remote} at {path}
Documentation=man:rclone(1)
Wants=network-online.target
After=network-online.target
StartLimitIntervalSec=0
# the disk of the cache
RequiresMountsFor={cache}

[Service]
Type=notify
Environment=RCLONE_CONFIG={config}
# what a killed one left; then a mount point that nobody can write into while nothing is mounted there
ExecStartPre=-/usr/bin/fusermount3 -uzq {path}
ExecStartPre=-/bin/sh -c {guard} sh {path}
# no mount without a far side: an empty folder would look as if all had been deleted
ExecStartPre=/bin/sh -c {look} sh {top}
# new files in new folders of a bucket, which rclone would not send after it was killed
ExecStartPre=-/usr/bin/timeout 1800 /usr/bin/python3 {rescue} {own_cache} {remote_word}
TimeoutStartSec=2000
ExecStart=/usr/bin/rclone mount {words}
ExecStopPost=-/usr/bin/fusermount3 -uzq {path}
# also when somebody else unmounts it; `systemctl stop` is respected
Restart=always
RestartSec=5

[Install]
WantedBy=multi-user.target
"""
# a directory that is immutable already is left so; the others of these may fail where it cannot be
GUARD = 'test -d "$1" || install -d -m 0000 "$1"; chmod -f 0000 "$1"; chattr -f +i "$1"; exit 0'
LOOK = (
    "exec /usr/bin/timeout 60 /usr/bin/rclone lsf --max-depth=1 --retries=1 --low-level-retries=2 --contimeout=10s "
    '"$1" >/dev/null'
)


def word(text: str) -> str:
    """One argument as systemd reads it."""
    if "\n" in text:
        raise AnsibleFilterError("rclone_mounts: an option of a mount holds a line break")
    for plain, escaped in (("\\", "\\\\"), ('"', '\\"'), ("%", "%%"), ("$", "$$")):
        text = text.replace(plain, escaped)
    return f'"{text}"'


def top_of(remote: str) -> str:
    """The remote's bucket, share or first folder, which must exist; below it a bucket knows no empty folders."""
    name, _colon, path = remote.partition(":")
    return remote if path.startswith("/") else f"{name}:{path.split('/')[0]}"


def unit(mount: Mapping[str, Any], config: str) -> dict[str, str]:
    remote, path = str(mount["remote"]), os.path.normpath(str(mount["path"]))
    if not path.startswith("/") or path == "/" or ":" not in remote:
        raise AnsibleFilterError(
            f"rclone_mounts: {remote} at {path}: a mount is a remote (name:folder) and a path below /"
        )
    cache = str(mount.get("cache_path") or "/var/cache/rclone").rstrip("/")
    uid, _colon, gid = str(mount.get("owner") or "0:0").partition(":")
    name = f"rclone-{unit_name(path).removesuffix('.mount')}"
    words = [
        remote,
        path,
        "--allow-other",
        f"--uid={uid}",
        f"--gid={gid}",
        "--umask=0022",
        f"--cache-dir={cache}/{name}",
        f"--vfs-cache-mode={mount.get('cache_mode') or 'writes'}",
        f"--vfs-cache-max-size={mount.get('cache') or '10G'}",
        f"--vfs-cache-max-age={mount.get('cache_age') or '24h'}",
        *(["--read-only"] if mount.get("read_only") else []),
        *map(str, mount.get("options") or ()),
    ]
    text = UNIT.format(
        remote=word(remote)[1:-1],
        path=word(path),
        config=word(config),
        cache=word(cache),
        guard=word(GUARD),
        look=word(LOOK),
        top=word(top_of(remote)),
        rescue=RESCUE,
        own_cache=word(f"{cache}/{name}"),
        remote_word=word(remote),
        words=" ".join(map(word, words)),
    )
    return {"name": f"{name}.service", "path": f"{FOLDER}/{name}.service", "text": text}


def rclone_mounts(mounts: list[Mapping[str, Any]], config: str, also: list[str] | None = None) -> dict[str, Any]:
    """The mounts' units for config_tree (``files``) and for units (``units``, restarted when ``also`` changed)."""
    made = [unit(mount, config) for mount in mounts]
    names = [item["name"] for item in made]
    if len(set(names)) != len(names):
        raise AnsibleFilterError("rclone_mounts: two mounts have the same path")
    return {
        "files": [{"path": item["path"], "content": item["text"]} for item in made],
        "units": [{"name": item["name"], "enabled": True, "files": [item["path"], *(also or [])]} for item in made],
    }


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"rclone_mounts": rclone_mounts}
