# SPDX-License-Identifier: MIT
"""Run playbooks against the lab and read what they say. Used by the lab stage and the fault tests."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from ansible.constants import DEFAULT_VAULT_ID_MATCH
from ansible.parsing.vault import VaultLib, VaultSecret

ROOT = Path(__file__).resolve().parent.parent.parent
LAB = ROOT / "tests" / "lab" / "lab.py"
INVENTORY = Path(os.environ.get("MEDIASERVER_LAB_INVENTORY", ROOT / "inventories" / "lab"))
SECRETS = Path(os.environ.get("MEDIASERVER_LAB_SECRETS", INVENTORY / ".secrets"))
LOGS = ROOT / ".lab" / "logs"
GUESTS = {"vm-extranet": "10.77.1.111", "vm-intranet": "10.77.1.101"}
RECAP = re.compile(r"^(\S+)\s+: ok=(\d+)\s+changed=(\d+)\s+unreachable=(\d+)\s+failed=(\d+)", re.M)


@dataclass
class Run:
    """One playbook run: exit code, output, where it is kept, and the recap's figures per host."""

    code: int
    text: str
    log: Path
    changed: dict[str, int] = field(default_factory=dict)
    failed: dict[str, int] = field(default_factory=dict)

    def changed_total(self) -> int:
        return sum(self.changed.values())

    def failed_total(self) -> int:
        return sum(self.failed.values())

    def probes_line(self) -> str:
        found = re.search(r"probes made: .*surprises: \d+", self.text)
        return found.group(0) if found else "NOT PROBED"


def command(playbook: str, *arguments: str, inventory: Path = INVENTORY) -> list[str]:
    binary = str(Path(sys.executable).parent / "ansible-playbook")
    return [binary, "-i", str(inventory), str(ROOT / "playbooks" / playbook), *arguments]


def environment() -> dict[str, str]:
    return dict(os.environ, ANSIBLE_CONFIG=str(ROOT / "ansible.cfg"), ANSIBLE_NOCOLOR="1", ANSIBLE_FORCE_COLOR="0")


def play(playbook: str, *arguments: str, inventory: Path = INVENTORY) -> Run:
    """Run a playbook to its end; its output goes to .lab/logs."""
    LOGS.mkdir(parents=True, exist_ok=True)
    words = re.sub(r"[^\w.=-]+", "_", "".join(arguments))[:40]
    log = LOGS / f"{len(list(LOGS.iterdir())):03d}-{playbook.removesuffix('.yml')}{words}.log"
    with log.open("w", encoding="utf-8") as output:
        code = subprocess.run(
            command(playbook, *arguments, inventory=inventory),
            cwd=ROOT, env=environment(), stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, check=False,
        ).returncode  # fmt: skip
    return read(code, log)


def read(code: int, log: Path) -> Run:
    text = log.read_text(encoding="utf-8", errors="replace")
    recap = RECAP.findall(text)
    return Run(
        code, text, log,
        {host: int(changed) for host, _ok, changed, _unreachable, _failed in recap},
        {host: int(unreachable) + int(failed) for host, _ok, _changed, unreachable, failed in recap},
    )  # fmt: skip


def stream(argv: list[str]) -> None:
    """Run a command with its output shown; raises CalledProcessError."""
    subprocess.run(argv, cwd=ROOT, check=True)


def secret_values(inventory: Path = INVENTORY) -> dict[str, str]:
    """Every secret of the environment's vault by name, in clear: only to search outputs for them."""
    import yaml

    folder = inventory / ".secrets"
    key = (folder / "vault.key").read_bytes().strip()
    vault = VaultLib([(DEFAULT_VAULT_ID_MATCH, VaultSecret(key))])
    flat: dict[str, str] = {}

    def walk(name: str, value: object) -> None:
        if isinstance(value, dict):
            for part, inner in value.items():
                walk(f"{name}.{part}" if name else str(part), inner)
        elif isinstance(value, str) and len(value) >= 12:
            # a key's first line is public; its body is not
            lines = [line for line in value.splitlines() if line and not line.startswith("-----")]
            flat[name] = lines[len(lines) // 2]

    walk("", yaml.safe_load(vault.decrypt((folder / "vault.yml").read_bytes())))
    return flat


def guest(name: str, command: str, text: str = "") -> subprocess.CompletedProcess[str]:
    """Run a shell command as root on a guest of the lab, ``text`` on its standard input."""
    options = ["-i", str(SECRETS / "id_ed25519"), "-o", f"UserKnownHostsFile={SECRETS / 'known_hosts'}"]
    argv = ["ssh", *options, "-o", "BatchMode=yes", f"ops@{GUESTS[name]}", f"sudo {command}"]
    return subprocess.run(argv, input=text, capture_output=True, text=True, check=False)


def guest_python(name: str, program: str) -> str:
    """Run a Python program as root on a guest and return what it prints."""
    done = guest(name, "python3 -", program)
    if done.returncode != 0:
        raise SystemExit(f"lab: cannot read the state of {name}: {done.stderr}")
    return done.stdout
