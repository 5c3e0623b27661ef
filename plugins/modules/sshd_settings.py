#!/usr/bin/python
# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: sshd_settings
short_description: Settings of the SSH server, validated, and undone unless the controller can still log in
version_added: 0.1.0
description:
  - Writes one drop-in with the given settings. The server takes the first value that it reads of a setting, so the
    drop-in's name must sort before others (as cloud-init's C(50-cloud-init.conf)).
  - The whole configuration is validated with the new drop-in before it replaces the old one. Afterwards the module asks
    the server what is really in force and fails when another file overrides a setting.
  - Before its first write the module arms a revert; see M(homelab.mediaserver.confirm_change).
author: The homelab.mediaserver authors (@homelab)
attributes:
  check_mode:
    support: full
    description: Reads only and says what it would do.
  diff_mode:
    support: full
    description: The drop-in before and after.
options:
  settings:
    description: Names of C(sshd_config) with their values; a list for settings that may repeat (C(Port)) or hold
      several words (C(AllowUsers)); booleans become C(yes) and C(no).
    type: dict
    required: true
  authorized_keys:
    description:
      - Keys that may log in as a user. They belong to this module because taking away the controller's own key locks it
        out as well as any setting.
    type: list
    elements: dict
    default: []
    suboptions:
      user:
        description: The user.
        type: str
        required: true
      keys:
        description: Public keys, one per element.
        type: list
        elements: str
        required: true
      exclusive:
        description: Remove all other keys.
        type: bool
        default: false
  path:
    description: The drop-in.
    type: path
    default: /etc/ssh/sshd_config.d/10-mediaserver.conf
  revert_after:
    description: Seconds until the former settings come back unless the change is confirmed. 0 arms nothing.
    type: int
    default: 60
"""

EXAMPLES = r"""
- name: Keys only
  homelab.mediaserver.sshd_settings:
    settings:
      PasswordAuthentication: false
      PermitRootLogin: prohibit-password
      AllowUsers: [ops]
    authorized_keys:
      - {user: ops, keys: ["ssh-ed25519 AAAA... me@home"], exclusive: true}
"""

RETURN = r"""
revert:
  description: The armed change, for M(homelab.mediaserver.confirm_change); null when nothing was armed.
  returned: always
  type: dict
steps:
  description: What was done or, in check mode, would be.
  returned: always
  type: list
  elements: str
"""

import os
import pwd
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.homelab.mediaserver.plugins.module_utils import _command
from ansible_collections.homelab.mediaserver.plugins.module_utils._deadman import (
    Deadman,
    Run,
    checked,
    read_file,
    write_file,
)
from ansible_collections.homelab.mediaserver.plugins.module_utils._reconcile import Failure, Plan, Step, main, run

MAIN = "/etc/ssh/sshd_config"
HEADER = "# Written by homelab.mediaserver (sshd_settings).\n"
REPEATED = {"port", "listenaddress", "hostkey", "acceptenv"}
KEYS = {
    "user": {"type": "str", "required": True},
    "keys": {"type": "list", "elements": "str", "required": True, "no_log": False},
    "exclusive": {"type": "bool", "default": False},
}
SPEC = {
    "settings": {"type": "dict", "required": True},
    "authorized_keys": {"type": "list", "elements": "dict", "default": [], "options": KEYS, "no_log": False},
    "path": {"type": "path", "default": "/etc/ssh/sshd_config.d/10-mediaserver.conf"},
    "revert_after": {"type": "int", "default": 60},
}


def words(name: str, value: Any) -> list[str]:
    """A setting's value(s) as sshd spells them."""
    values = value if isinstance(value, list) else [value]
    spelled = [("yes" if item else "no") if isinstance(item, bool) else str(item) for item in values]
    if not re.fullmatch(r"[A-Za-z0-9]+", name) or not spelled or any(not i.strip() or "\n" in i for i in spelled):
        raise Failure(f"Unable to write sshd setting {name}: {value!r} is not a word, number, boolean or list of them")
    return spelled


def render(settings: dict[str, Any]) -> str:
    lines = []
    for name, value in settings.items():
        spelled = words(name, value)
        lines += [f"{name} {item}" for item in spelled] if name.lower() in REPEATED else [f"{name} {' '.join(spelled)}"]
    return HEADER + "".join(f"{line}\n" for line in lines)


def overridden(settings: dict[str, Any], effective: str) -> list[str]:
    """Settings that another file decides, by what ``sshd -T`` prints (one line per value, names in lower case)."""
    real: dict[str, list[str]] = {}
    for line in effective.splitlines():
        name, _space, value = line.partition(" ")
        real.setdefault(name, []).append(value)
    found = []
    same = {"without-password": "prohibit-password"}
    for name, value in settings.items():
        wanted = sorted(words(name, value))
        has = [same.get(item, item) for item in real.get(name.lower(), [])]
        # AllowUsers and the like print one line per word, others one line with all words
        if has and sorted(has) != wanted and has != [" ".join(words(name, value))]:
            found.append(f"{name} is {' '.join(has)}")
    return found


def keys_file(user: str) -> str:
    """Where a user's keys lie. A user that a dry run has not made yet counts as an ordinary one."""
    try:
        home = pwd.getpwnam(user).pw_dir
    except KeyError:
        home = f"/home/{user}"
    return f"{home}/.ssh/authorized_keys"


def wanted_keys(current: str | None, keys: list[str], exclusive: bool) -> str:
    """The file as it should be: the wanted keys, once each, after those of others where they may stay."""
    stay = [] if exclusive else (current or "").splitlines()
    listed = [key.strip() for key in keys if key.strip()]
    if exclusive and not listed:
        raise Failure("Unable to remove all keys of a user: nobody could log in as that user again")
    return "".join(f"{line}\n" for line in dict.fromkeys([*stay, *listed]))


def plan(
    settings: dict[str, Any],
    current: str | None,
    keys: dict[str, tuple[str, str | None, str]],
    pending: bool,
    do: dict[str, Callable[..., Any]],
) -> Plan:
    """``keys``: user -> file, its text, its text as wanted."""
    text = render(settings)
    steps = [
        Step(f"write the keys of {user}", lambda user=user, file=file, new=new: do["keys"](user, file, new))  # type: ignore[misc]
        for user, (file, old, new) in keys.items()
        if old != new
    ]
    if current != text:
        steps.append(Step("write the settings of the SSH server", lambda: do["write"](text)))
    if current != text or pending:
        steps.append(Step("let the SSH server read them", do["reload"]))
    return Plan(
        before={"settings": current or "", "keys": {user: old or "" for user, (_file, old, _new) in keys.items()}},
        after={"settings": text, "keys": {user: new for user, (_file, _old, new) in keys.items()}},
        steps=tuple(steps),
    )


def has_socket(execute: Run) -> bool:
    """Whether systemd listens for the server (Ubuntu); Debian's server listens itself."""
    return execute(["systemctl", "is-active", "--quiet", "ssh.socket"])[0] == 0


def reload_commands(socket: bool) -> list[list[str]]:
    if not socket:
        return [["systemctl", "try-reload-or-restart", "ssh.service"]]
    # a generator makes the socket's ports out of sshd_config; established sessions are services of their own
    return [
        ["systemctl", "daemon-reload"],
        ["systemctl", "restart", "ssh.socket"],
        ["systemctl", "try-reload-or-restart", "ssh.service"],
    ]


def validate(execute: Run, path: str, text: str) -> None:
    """The server's verdict on its whole configuration as it will be, before anything is changed."""
    with tempfile.TemporaryDirectory() as folder:
        drop_in, config = Path(folder) / "drop-in", Path(folder) / "sshd_config"
        drop_in.write_text(text)
        config.write_text(f"Include {drop_in}\n" + (read_file(MAIN) or ""))
        code, out, err = execute(["/usr/sbin/sshd", "-t", "-f", str(config)])
    if code != 0:
        raise Failure(f"Unable to use the SSH settings of {path}: {(err or out).strip()}")


def writes(execute: Run, path: str, settings: dict[str, Any], socket: bool) -> dict[str, Callable[..., Any]]:
    def write(text: str) -> None:
        validate(execute, path, text)
        write_file(path, text, 0o600)

    def reload() -> None:
        effective = checked(execute, ["/usr/sbin/sshd", "-T"], "read the settings in force of the SSH server")
        if others := overridden(settings, effective):
            raise Failure(f"Unable to set the SSH server's settings: another file decides that {', '.join(others)}")
        for command in reload_commands(socket):
            checked(execute, command, "let the SSH server read its settings")

    return {"write": write, "reload": reload, "keys": write_keys}


def write_keys(user: str, file: str, text: str) -> None:
    """Owned by the user; sshd refuses keys that others could write."""
    try:
        entry = pwd.getpwnam(user)
    except KeyError as error:
        raise Failure(f"Unable to write the keys of {user}: there is no such user") from error
    folder = Path(file).parent
    if not folder.is_dir():
        folder.mkdir(mode=0o700)
        os.chown(folder, entry.pw_uid, entry.pw_gid)
    write_file(file, text, 0o600, (entry.pw_uid, entry.pw_gid))


def work(module: AnsibleModule) -> dict[str, Any]:
    deadman = Deadman("sshd", _command.run)
    path, seconds, settings = (module.params[name] for name in ("path", "revert_after", "settings"))
    pending = deadman.pending()
    socket = has_socket(_command.run)
    keys = {}
    for item in module.params["authorized_keys"]:
        file = keys_file(item["user"])
        old = read_file(file)
        keys[item["user"]] = (file, old, wanted_keys(old, item["keys"], item["exclusive"]))
    planned = plan(settings, read_file(path), keys, pending, writes(_command.run, path, settings, socket))
    armed: list[str] = []

    def arm() -> None:
        armed.append(
            deadman.arm(seconds, [path, *(file for file, _old, _new in keys.values())], reload_commands(socket))
        )

    if planned.steps and (seconds or pending):
        first = Step(f"arm the revert ({seconds} s)", arm) if seconds else Step("disarm the revert", deadman.forget)
        planned = Plan(planned.before, planned.after, (first, *planned.steps))
    result = run(module, planned)
    return {**result, "revert": {"name": deadman.name, "id": armed[0]} if armed else None}


if __name__ == "__main__":
    main(AnsibleModule(argument_spec=SPEC, supports_check_mode=True), work)
