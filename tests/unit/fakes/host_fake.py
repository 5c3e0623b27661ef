# SPDX-License-Identifier: MIT
"""A host for modules that read files and run commands: runs a module and answers its commands from a stateful fake."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ansible.module_utils import basic
from ansible.module_utils.testing import patch_module_args
from ansible_collections.homelab.mediaserver.plugins.module_utils import _command, _deadman, _reconcile


class Ended(BaseException):
    """exit_json or fail_json."""


class Result(dict):
    @property
    def failed(self) -> bool:
        return bool(self.get("failed"))


class Commands:
    """Answers commands. ``call`` of a subclass returns text, a return code, or a tuple (code, out, err).

    A command that it does not know fails the test, and so does a write while ``read_only``.
    """

    def __init__(self) -> None:
        self.read_only = False
        self.reads: list[str] = []
        self.writes: list[str] = []
        self.enabled: set[str] = set()
        self.active: set[str] = set()
        self.fail: dict[str, str] = {}

    def __call__(self, argv: list[str], **_environment: str) -> tuple[int, str, str]:
        assert isinstance(argv, list), "argv, never a line for a shell"
        line = " ".join(argv)
        for start, text in self.fail.items():
            if line.startswith(start):
                return 1, "", text
        answer = self.systemctl(argv[1:]) if argv[0] == "systemctl" else self.call(argv)
        if answer is None:
            raise AssertionError(f"the fake does not know: {line}")
        if isinstance(answer, tuple):
            return answer
        return (answer, "", "") if isinstance(answer, int) else (0, answer, "")

    def call(self, argv: list[str]) -> Any:
        return None

    def read(self, *words: str) -> None:
        self.reads.append(" ".join(words))

    def write(self, *words: str) -> None:
        line = " ".join(words)
        assert not self.read_only, f"written while nothing may change: {line}"
        self.writes.append(line)

    def systemctl(self, words: list[str]) -> Any:
        verb, names = words[0], [word for word in words[1:] if not word.startswith("-")]
        if verb == "is-enabled":
            self.read("systemctl", *words)
            return (0, "enabled\n", "") if names[0] in self.enabled else (1, "disabled\n", "")
        if verb == "is-active":
            self.read("systemctl", *words)
            return 0 if names[0] in self.active else 3
        if verb == "show":
            self.read("systemctl", *words)
            return self.show(words, names)
        self.write("systemctl", *words)
        if verb in ("enable", "disable"):
            (self.enabled.update if verb == "enable" else self.enabled.difference_update)(names)
        if verb in ("start", "restart") or (verb == "enable" and "--now" in words):
            self.active.update(names)
        if verb == "stop" or (verb == "disable" and "--now" in words):
            self.active.difference_update(names)
        return 0

    def show(self, words: list[str], names: list[str]) -> str:
        if "--property=ActiveState" in words:
            return "inactive\n"
        boot, active = names[0] in self.enabled, names[0] in self.active
        return f"UnitFileState={'enabled' if boot else ''}\nActiveState={'active' if active else 'inactive'}\n"


def run_module(module: Any, commands: Commands, args: dict[str, Any], monkeypatch: Any, check: bool = False) -> Result:
    """The module's result. In check mode the fake raises on every write."""

    def end(_self: Any, **result: Any) -> None:
        raise Ended(json.loads(json.dumps(result)))

    with monkeypatch.context() as patch:
        patch.setattr(_command, "execute", commands)
        patch.setattr(basic.AnsibleModule, "exit_json", end)
        patch.setattr(
            basic.AnsibleModule, "fail_json", lambda self, msg, **more: end(self, failed=True, msg=msg, **more)
        )
        commands.read_only, commands.reads, commands.writes = check, [], []
        with patch_module_args({**args, "_ansible_check_mode": check, "_ansible_remote_tmp": "/tmp"}):
            try:
                made = basic.AnsibleModule(argument_spec=module.SPEC, supports_check_mode=True)
                _reconcile.main(made, module.work)
            except Ended as ended:
                return Result(ended.args[0])
    raise AssertionError("the module did not end")


def deadman_in(root: Path, *modules: Any, monkeypatch: Any) -> None:
    """Let the modules arm their reverts below ``root``."""
    (root / "units").mkdir(exist_ok=True)

    def make(name: str, run: Any) -> _deadman.Deadman:
        return _deadman.Deadman(name, run, state=str(root / "revert"), units=str(root / "units"))

    for module in modules:
        monkeypatch.setattr(module, "Deadman", make)


def files_below(root: Path) -> dict[str, str]:
    """Everything below a folder, to see that nothing has changed."""
    return {str(path): path.read_text() for path in sorted(root.rglob("*")) if path.is_file()}
