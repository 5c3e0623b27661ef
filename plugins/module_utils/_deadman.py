# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""No lock-out: a change returns by itself unless it is confirmed over a new connection.

Before its first write a module *arms*: it saves the files that it will change, writes a script that puts them back and
starts a timer for it. ``confirm_change`` reconnects and disarms. The timer is a real unit, enabled, so that a host
which reboots (or loses power) in between still returns. Whoever renames ``armed`` first has won: the script or the
confirmation, never both. An armed change that is armed again keeps the first copies: they are the last confirmed state.
"""

from __future__ import annotations

import os
import secrets
import shlex
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.homelab.mediaserver.plugins.module_utils._reconcile import Failure

Run = Callable[[Sequence[str]], tuple[int, str, str]]
STATE = "/var/lib/mediaserver/revert"
UNITS = "/etc/systemd/system"


def write_file(path: str | Path, text: str, mode: int = 0o644, owner: tuple[int, int] | None = None) -> None:
    """Write ``text`` so that a reader (or a power cut) finds the old file or the new one, never a part."""
    target = Path(path)
    handle, temporary = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fchmod(file.fileno(), mode)
            if owner is not None:
                os.fchown(file.fileno(), *owner)
            os.fsync(file.fileno())
        Path(temporary).replace(target)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def read_file(path: str | Path) -> str | None:
    """The text of a file; None when it does not exist."""
    try:
        return Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        return None


def checked(run: Run, argv: Sequence[str], action: str) -> str:
    """Run a command; its output, or "Unable to <action>: <its text>"."""
    code, out, err = run(argv)
    if code != 0:
        raise Failure(f"Unable to {action}: {(err or out).strip()}", command=list(argv), rc=code)
    return out


def revert_script(directory: str, unit: str, saved: dict[str, bool], commands: Sequence[Sequence[str]]) -> str:
    """The script that puts everything back. ``saved``: path -> it existed when the change was armed."""
    lines = [
        "#!/bin/sh",
        "# Written by homelab.mediaserver: puts back what a change that nobody confirmed has changed.",
        f"cd {shlex.quote(directory)} || exit 1",
        "mv armed reverted 2>/dev/null || exit 0",
    ]
    for path, existed in saved.items():
        quoted = shlex.quote(path)
        copy = shlex.quote(f"files{path}")
        lines.append(
            f"cp -p {copy} {quoted}.revert && mv -f {quoted}.revert {quoted}" if existed else f"rm -f {quoted}"
        )
    lines += [shlex.join(command) for command in commands]
    quoted_unit = shlex.quote(unit)
    lines += [f"systemctl disable {quoted_unit}.timer", "exit 0", ""]
    return "\n".join(lines)


def unit_texts(name: str, directory: str, seconds: int) -> dict[str, str]:
    """The service and the timer that fire the script, by file name."""
    unit = f"mediaserver-revert-{name}"
    service = (
        f"[Unit]\nDescription=Put back the unconfirmed change of {name} (homelab.mediaserver)\n\n"
        f"[Service]\nType=oneshot\nExecStart=/bin/sh {directory}/revert\n"
    )
    timer = (
        f"[Unit]\nDescription=Wait for the confirmation of the change of {name} (homelab.mediaserver)\n\n"
        f"[Timer]\nOnActiveSec={seconds}\nAccuracySec=1s\n\n[Install]\nWantedBy=timers.target\n"
    )
    return {f"{unit}.service": service, f"{unit}.timer": timer}


@dataclass
class Deadman:
    """The armed change ``name`` on this host."""

    name: str
    run: Run
    state: str = STATE
    units: str = UNITS

    @property
    def directory(self) -> Path:
        return Path(self.state) / self.name

    @property
    def unit(self) -> str:
        return f"mediaserver-revert-{self.name}"

    def pending(self) -> bool:
        """A change was made and neither confirmed nor returned: an earlier run was killed, or is still at work."""
        return (self.directory / "armed").exists()

    def armed_id(self) -> str | None:
        text = read_file(self.directory / "armed")
        return text.strip() if text is not None else None

    def reverted_id(self) -> str | None:
        text = read_file(self.directory / "reverted")
        return text.strip() if text is not None else None

    def arm(self, seconds: int, files: Sequence[str], commands: Sequence[Sequence[str]]) -> str:
        """Save ``files``, start the timer, return the change's id."""
        change = secrets.token_hex(8)
        action = f"arm the revert of {self.name}"
        if self.pending():
            # keep the first copies; only the time starts again, under a new id
            self.run(["systemctl", "stop", f"{self.unit}.timer"])
            if not self.pending():
                raise Failure(f"Unable to {action}: an earlier change went back at this very moment; run again")
        else:
            self.wait_reverted()
            self._save(files, commands)
        write_file(self.directory / "armed", change + "\n", 0o600)
        for file, text in unit_texts(self.name, str(self.directory), seconds).items():
            write_file(Path(self.units) / file, text)
        # enable also makes systemd read the units; restart, because a timer that fired once counts as started
        checked(self.run, ["systemctl", "enable", f"{self.unit}.timer"], action)
        checked(self.run, ["systemctl", "restart", f"{self.unit}.timer"], action)
        return change

    def _save(self, files: Sequence[str], commands: Sequence[Sequence[str]]) -> None:
        shutil.rmtree(self.directory, ignore_errors=True)
        self.directory.mkdir(mode=0o700, parents=True)
        saved: dict[str, bool] = {}
        for path in files:
            saved[path] = Path(path).exists()
            if saved[path]:
                copy = self.directory / "files" / path.lstrip("/")
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(path, copy)
                status = Path(path).stat()
                os.chown(copy, status.st_uid, status.st_gid)
        write_file(self.directory / "revert", revert_script(str(self.directory), self.unit, saved, commands), 0o700)

    def confirm(self) -> bool:
        """Keep the change. False when the script was faster."""
        try:
            (self.directory / "armed").rename(self.directory / "confirmed")
        except FileNotFoundError:
            return False
        self.forget()
        return True

    def forget(self) -> None:
        """Remove timer, script and copies."""
        self.run(["systemctl", "disable", "--now", f"{self.unit}.timer"])
        for file in unit_texts(self.name, str(self.directory), 0):
            (Path(self.units) / file).unlink(missing_ok=True)
        shutil.rmtree(self.directory, ignore_errors=True)
        checked(self.run, ["systemctl", "daemon-reload"], f"disarm the revert of {self.name}")

    def wait_reverted(self, sleep: Callable[[float], None] = time.sleep, tries: int = 60) -> None:
        """Until the script, once begun, has ended."""
        for _try in range(tries):
            _rc, out, _err = self.run(
                ["systemctl", "show", "--property=ActiveState", "--value", f"{self.unit}.service"]
            )
            if out.strip() not in ("activating", "active", "deactivating"):
                return
            sleep(0.5)
        raise Failure(f"Unable to see the end of the revert of {self.name}: {self.unit}.service still runs")
