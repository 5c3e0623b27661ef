# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The configuration file of a host and its rclone."""

from __future__ import annotations

import contextlib
import glob
import grp
import hashlib
import json
import os
import pwd
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.homelab.mediaserver.plugins.module_utils._lock import lock
from ansible_collections.homelab.mediaserver.plugins.module_utils._rclone_backends import Backends, from_providers
from ansible_collections.homelab.mediaserver.plugins.module_utils._rclone_crypt import (
    CryptError,
    decrypt_file,
    encrypt_file,
    is_encrypted,
)
from ansible_collections.homelab.mediaserver.plugins.module_utils._rclone_file import Document, FormatError
from ansible_collections.homelab.mediaserver.plugins.module_utils._reconcile import Failure

Run = Callable[[list[str], Mapping[str, str]], tuple[int, str, str]]
FILE_MODE, FOLDER_MODE = 0o600, 0o700


@dataclass(frozen=True)
class State:
    """The file as found; ``text`` is None when there is none."""

    text: str | None = None
    encrypted: bool = False
    mode: int = FILE_MODE
    uid: int = -1
    gid: int = -1
    raw: bytes | None = None


def number(name: str | None, database: Callable[[str], Any]) -> int | None:
    """A user's or group's number; None when not managed, -1 when it does not exist (yet)."""
    if name is None:
        return None
    if name.isdigit():
        return int(name)
    try:
        return int(database(name)[2])
    except KeyError:
        return -1


@dataclass
class Host:
    """``program`` is None where rclone is not installed."""

    run: Run
    path: Path
    program: str | None
    password: str | None = None
    owner: str | None = None
    group: str | None = None
    mode: int = FILE_MODE

    # --- rclone
    def _ask(self, config: str, what: list[str], to: str) -> Any:
        """JSON from rclone. The password goes through the environment, which only root and its owner can read."""
        argv = [str(self.program), "--config", config, "--ask-password=false", *what]
        secret = {"RCLONE_CONFIG_PASS": self.password} if self.password is not None else {}
        code, out, err = self.run(argv, secret)
        try:
            if code == 0:
                return json.loads(out)
        except ValueError:
            err = "its answer is no JSON"
        raise Failure(f"Unable to {to}: {err.strip() or f'rclone ended with {code}'}", code=code)

    def backends(self) -> Backends:
        return from_providers(self._ask("", ["config", "providers"], "ask rclone for its backends"))

    def dump(self) -> dict[str, dict[str, str]]:
        """The remotes as rclone itself reads them."""
        found: dict[str, dict[str, str]] = self._ask(str(self.path), ["config", "dump"], f"let rclone read {self.path}")
        return found

    # --- the file
    @property
    def target(self) -> Path:
        """rclone follows a symbolic link as well."""
        return Path(os.path.realpath(self.path))

    def raw(self) -> bytes | None:
        try:
            return self.target.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise Failure(f"Unable to read {self.path}: {error.strerror}") from error

    def read(self) -> State:
        raw = self.raw()
        for _attempt in range(10):
            if raw is not None or not self._set_aside():
                break
            time.sleep(0.05)  # rclone saves by moving the old file away, then the new one in
            raw = self.raw()
        if raw is None:
            if aside := self._set_aside():
                raise Failure(
                    f"Unable to read {self.path}: it is missing, but there is {aside}. An rclone that was killed while"
                    " it saved leaves its file so: move that file back, or away if it is not wanted"
                )
            return State()
        status = self.target.stat()
        text = raw.decode("utf-8", "surrogateescape")
        encrypted = is_encrypted(text)
        try:
            plain = decrypt_file(text, self.password) if encrypted else text
        except CryptError as error:
            raise Failure(f"Unable to read {self.path}: {error}") from None
        return State(plain, encrypted, status.st_mode & 0o7777, status.st_uid, status.st_gid, raw)

    def parse(self, state: State) -> Document:
        try:
            return Document.parse(state.text or "")
        except FormatError as error:
            raise Failure(f"Unable to read {self.path}: {error}") from None

    def _set_aside(self) -> Path | None:
        return next(iter(sorted(self.target.parent.glob(f"{glob.escape(self.target.name)}.old*"))), None)

    def ids(self) -> tuple[int | None, int | None]:
        return number(self.owner, pwd.getpwnam), number(self.group, grp.getgrnam)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        name = hashlib.sha256(os.fsencode(self.target)).hexdigest()[:16]
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(lock(f"rclone-{os.getuid()}-{name}"))
            except OSError as error:
                raise Failure(f"Unable to lock {self.path}: {error}") from error
            yield

    def write(self, text: str, seen: bytes | None) -> None:
        """Put a new file in the old one's place, unless somebody wrote a newer one since ``seen``."""
        uid, gid = self.ids()
        for name, found in ((self.owner, uid), (self.group, gid)):
            if found == -1:
                raise Failure(f"Unable to write {self.path}: there is no user or group {name}")
        new = encrypt_file(text, self.password) if self.password is not None else text
        try:
            self._replace(new.encode("utf-8", "surrogateescape"), uid, gid, seen)
        except OSError as error:
            raise Failure(f"Unable to write {self.path}: {error.strerror}") from error

    def _replace(self, data: bytes, uid: int | None, gid: int | None, seen: bytes | None) -> None:
        target = self.target
        missing = [folder for folder in target.parents if not folder.exists()]
        for folder in reversed(missing):
            folder.mkdir(mode=FOLDER_MODE)
            os.chown(folder, -1 if uid is None else uid, -1 if gid is None else gid)
        old = target.stat() if seen is not None else None
        # under the lock one name does: what a killed run left of it goes
        fresh = target.with_name(f".{target.name}.mediaserver")
        fresh.unlink(missing_ok=True)
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, FILE_MODE)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                kept = (old.st_uid, old.st_gid) if old else (-1, -1)
                os.fchown(descriptor, kept[0] if uid is None else uid, kept[1] if gid is None else gid)
                os.fchmod(descriptor, self.mode)
                os.fsync(descriptor)
            if self.raw() != seen:
                raise Failure(f"Unable to write {self.path}: rclone or somebody else wrote it meanwhile; run again")
            fresh.replace(target)
        finally:
            fresh.unlink(missing_ok=True)
        folder_descriptor = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder_descriptor)
        finally:
            os.close(folder_descriptor)
