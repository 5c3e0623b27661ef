# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The writes of a host's tree: each file whole or not at all, also when the process is killed in the middle."""

from __future__ import annotations

import contextlib
import json
import os
import tarfile
from pathlib import Path
from typing import Any

from ansible_collections.homelab.mediaserver.plugins.module_utils import _tree
from ansible_collections.homelab.mediaserver.plugins.module_utils._reconcile import Failure


def sync_folder(folder: str) -> None:
    """Make renames in ``folder`` last through a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_atomic(path: str, data: bytes, mode: int, uid: int, gid: int) -> None:
    """Write a file beside ``path`` and rename it over it."""
    beside = _tree.temporary(path)
    Path(beside).unlink(missing_ok=True)
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(data)
        stream.flush()
        os.fchown(descriptor, uid, gid)
        os.fchmod(descriptor, mode)
        os.fsync(descriptor)
    Path(beside).rename(path)
    sync_folder(path.rpartition("/")[0])


class Writer:
    """Applies the actions of a tree's plan."""

    def __init__(self, name: str, archive: str, key: str) -> None:
        self.name = name
        self.key = key
        self.contents: dict[str, bytes] = {}
        if archive:
            self._unpack(archive)

    def _unpack(self, archive: str) -> None:
        """Read the archive into memory: names are digests, so nothing is ever unpacked to a path it names."""
        with tarfile.open(archive) as tar:
            for member in tar:
                stream = tar.extractfile(member)
                if stream is not None:
                    data = stream.read()
                    self.contents[_tree.fingerprint(data, self.key)] = data

    def missing(self, actions: list[_tree.Action]) -> list[str]:
        """Files whose content must be written and is not in the archive."""
        return [
            action.path
            for action in actions
            if action.verb == "content" and action.wanted is not None and action.wanted.digest not in self.contents
        ]

    def apply(self, action: _tree.Action) -> None:
        """Do one action."""
        try:
            getattr(self, f"_{action.verb}")(action)
        except OSError as error:
            raise Failure(
                f"Unable to write {action.path}: {error.strerror}", path=action.path, errno=error.errno
            ) from error

    def _ids(self, wanted: _tree.Wanted) -> tuple[int, int]:
        uid, gid = _tree.user_id(wanted.owner), _tree.group_id(wanted.group)
        if uid is None:
            raise Failure(f"Unable to write {wanted.path}: there is no user {wanted.owner} on this host")
        if gid is None:
            raise Failure(f"Unable to write {wanted.path}: there is no group {wanted.group} on this host")
        return uid, gid

    def _content(self, action: _tree.Action) -> None:
        wanted = _need(action)
        write_atomic(action.path, self.contents[wanted.digest], int(wanted.mode, 8), *self._ids(wanted))

    def _directory(self, action: _tree.Action) -> None:
        wanted = _need(action)
        ids = self._ids(wanted)
        folder = Path(action.path)
        if not folder.is_dir():
            folder.mkdir(0o700)
        os.chown(folder, *ids)
        folder.chmod(int(wanted.mode, 8))

    def _attributes(self, action: _tree.Action) -> None:
        wanted = _need(action)
        os.chown(action.path, *self._ids(wanted), follow_symlinks=False)
        Path(action.path).chmod(int(wanted.mode, 8))

    def _remove(self, action: _tree.Action) -> None:
        Path(action.path).unlink(missing_ok=True)

    _leftover = _remove

    def _rmdir(self, action: _tree.Action) -> None:
        with contextlib.suppress(FileNotFoundError):
            Path(action.path).rmdir()

    def _stale(self, action: _tree.Action) -> None:
        Path(action.path).touch(mode=0o600)

    def record(self, manifest: dict[str, Any]) -> None:
        """Write the manifest."""
        path = _tree.MANIFESTS / f"{self.name}.json"
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        text = json.dumps({"version": 1, **manifest}, indent=1, sort_keys=True) + "\n"
        write_atomic(str(path), text.encode(), 0o600, os.geteuid(), os.getegid())


def _need(action: _tree.Action) -> _tree.Wanted:
    if action.wanted is None:
        raise ValueError(f"{action.verb} {action.path} says not what is wanted")
    return action.wanted
