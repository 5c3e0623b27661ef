# SPDX-License-Identifier: MIT
"""Role windows on the simulated Windows (tests/windows): no Windows is here, and nothing of this proves one.

Proved is: every argument is one that the real modules document, a second run changes nothing, a dry run keeps its hands
off, no secret is shown. What PowerShell, WSL and the modules really do is unproven.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from ansible_collections.homelab.mediaserver.plugins.plugin_utils import build
from ansible_collections.homelab.mediaserver.tests.unit.fakes import program

ROOT = Path(__file__).resolve().parents[2]
SYSTEM = ROOT / "inventories/windows"
SECRETS = {
    "ssh_host_key.services": "planted-host-key",
    "windows.minipc_mediaserver": "planted-logon-password",
    "windows.minipc_family": "planted-share-password",
    "restic.password": "planted-restic-password",
    "cloudflared.tunnel_token": "planted-tunnel-token",
    "rclone.onedrive_token": "planted-rclone-token",
}


def load(name: str) -> ModuleType:
    return program.load(ROOT / f"tests/windows/{name}.py")


generate = load("generate")


def plan(**more: Any) -> dict[str, Any]:
    """The Windows machine of the reference inventory, as its plan has it, with the tunnel on Windows too."""
    values = yaml.safe_load((SYSTEM / "group_vars/all/site.yml").read_text())
    children = yaml.safe_load((SYSTEM / "hosts.yml").read_text())["all"]["children"]
    values["site_services"]["cloudflared"]["hosts"] = ["minipc"]
    values["site_admin"]["ssh_keys"] = ["ssh-ed25519 AAAA ops"]
    values["site_secrets"] = {"rclone.onedrive_token": True, "cloudflare.api_token": True}
    hosts = {
        name: {"file": "hosts.yml", "groups": [group], "vars": body}
        for group in ("windows", "single")
        for name, body in children[group]["hosts"].items()
    }
    hosts["minipc"]["vars"]["windows"] |= more
    result = build.build(build.Inputs(values=values, hosts=hosts, catalogs=[(ROOT / "roles/services/catalog", False)]))
    assert [problem.text() for problem in result.problems.found] == []
    return dict(result.plan["windows"]["minipc"])


class House:
    """A simulated machine and a play of the role on it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "windows.json"
        generate.make(folder / "stubs")

    @property
    def state(self) -> dict[str, Any]:
        return dict(json.loads(self.file.read_text()))

    def play(self, wanted: dict[str, Any], *arguments: str) -> subprocess.CompletedProcess[str]:
        variables = {
            "windows_plan": wanted,
            "windows_admin": {"user": "ops", "ssh_keys": ["ssh-ed25519 AAAA ops"], "ssh_port": 2222},
            "windows_secrets": SECRETS,
        }
        (self.folder / "vars.json").write_text(json.dumps(variables))
        book = [{"hosts": "minipc", "gather_facts": False, "roles": [{"role": "homelab.mediaserver.windows"}]}]
        return self.run(book, "-e", f"@{self.folder / 'vars.json'}", *arguments)

    def run(self, book: list[Any], *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        (self.folder / "play.yml").write_text(yaml.safe_dump(book))
        argv = [str(Path(sys.executable).parent / "ansible-playbook"), "-i", "minipc,", str(self.folder / "play.yml")]
        environment = dict(
            os.environ,
            ANSIBLE_CONFIG=str(ROOT / "ansible.cfg"),
            ANSIBLE_COLLECTIONS_PATH=f"{self.folder / 'stubs'}{os.pathsep}{ROOT / 'playbooks/collections'}",
            ANSIBLE_NOCOLOR="1",
            SIMULATED_WINDOWS=str(self.file),
        )
        argv += ["-e", "ansible_connection=local", *arguments]
        return subprocess.run(argv, cwd=ROOT, env=environment | more, capture_output=True, text=True, check=False)


def changed(run: subprocess.CompletedProcess[str]) -> int:
    assert run.returncode == 0, run.stdout[-6000:] + run.stderr
    found = re.search(r"minipc\s+: ok=\d+\s+changed=(\d+)", run.stdout)
    assert found, run.stdout
    return int(found[1])


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> House:
    """Check on an empty machine, converge, again, check: each once for all tests."""
    made = House(tmp_path_factory.mktemp("windows"))
    wanted = plan()
    made.dry = made.play(wanted, "--check")  # type: ignore[attr-defined]
    assert not made.file.exists(), "a dry run wrote"
    made.first = made.play(wanted, "-vvv", "--diff")  # type: ignore[attr-defined]
    made.second = made.play(wanted)  # type: ignore[attr-defined]
    made.check = made.play(wanted, "--check", "--diff", "-vvv")  # type: ignore[attr-defined]
    return made


def test_check_converge_again_check(house: Any) -> None:
    assert changed(house.dry) > 0 and "was never set up" in house.dry.stdout
    assert changed(house.first) > 10
    assert changed(house.second) == 0, re.findall(r"^changed: .*", house.second.stdout, re.M)
    assert changed(house.check) == 0
    assert "is not simulated" not in house.first.stdout


def test_no_secret_is_shown(house: Any) -> None:
    text = house.first.stdout + house.first.stderr + house.check.stdout + house.check.stderr
    assert len(text) > 50_000
    assert [name for name, value in SECRETS.items() if value in text] == []
    kept = house.file.read_text()
    assert [name for name, value in SECRETS.items() if value not in kept] == [], "or there was nothing to hide"


def test_the_machine_is_as_the_plan_says(house: Any) -> None:
    state = house.state
    assert state["boots"] == 2 and state["logged_on"] == "mediaserver"
    assert set(state["tasks"]) == {f"\\mediaserver\\{name}" for name in ("ingest", "backup", "drill", "debian")}
    assert state["tasks"]["\\mediaserver\\debian"]["logon_type"] == "interactive_token"
    assert state["tasks"]["\\mediaserver\\backup"]["username"] == "SYSTEM"
    assert state["shares"]["films"]["change"] == "family"
    assert {one["localport"] for one in state["rules"].values()} >= {"22", "445", "2222", "8096", "2283"}
    assert "mediaserver share films 445/tcp" not in state["hyperv"] and len(state["hyperv"]) >= 3
    assert state["inherits"] == {"c:\\programdata\\mediaserver": False, "c:\\programdata\\mediaserver\\etc": False,
                                 "c:\\programdata\\mediaserver\\key": False}  # fmt: skip
    assert not any("S-1-5-32-545" in name for name in state["acl"] if "\\etc " in name or "\\key " in name)
    assert "planted" not in json.dumps([state["tasks"], state["services"]])
    assert state["standby"] == 0 and state["wsl"]


def test_the_programs_find_their_configuration(house: Any) -> None:
    """Paths of Windows in the files that the programs read, and every module of them beside."""
    files = house.state["files"]
    data = "c:\\programdata\\mediaserver"
    ingest, backup = json.loads(files[f"{data}\\etc\\ingest.json"]), json.loads(files[f"{data}\\etc\\backup.json"])
    assert ingest["jobs"][0]["target"].startswith("D:/") and ingest["backup_config"].endswith("etc/backup.json")
    assert backup["lock_file"].startswith("C:/") and all(one["paths"] for one in backup["jobs"])
    assert all(one["path"].startswith("C:/") for one in backup["repositories"])
    for role in ("backup", "ingest"):
        for path in (ROOT / f"roles/{role}/files").glob("*.py"):
            assert f"{data}\\lib\\{role}\\{path.name}" in files
    assert "[onedrive]" in files[f"{data}\\etc\\rclone.conf"]


def test_status_and_backup_ask_the_programs(house: Any) -> None:
    tasks = [{"ansible.builtin.include_role": {"name": "homelab.mediaserver.windows", "tasks_from": f"{one}.yml"}}
             for one in ("status", "backup")]  # fmt: skip
    book = [{"hosts": "minipc", "gather_facts": False, "tasks": tasks}]
    ran = house.run(book, "-e", f"@{house.folder / 'vars.json'}", "-e", "windows_service=jellyfin")
    assert changed(ran) == 1
    for words in ("simulated: backup status", "simulated: ingest status", "simulated: backup run jellyfin-media"):
        assert words in ran.stdout
    assert "run jellyfin-media immich" not in ran.stdout


def test_what_is_no_longer_wanted_goes(house: Any) -> None:
    wanted = plan(boot_task=True, shares={})
    wanted |= {"tunnel": None, "ingest": None}
    assert changed(house.play(wanted)) > 0
    state = house.state
    assert "Cloudflared" not in state["services"] and "\\mediaserver\\ingest" not in state["tasks"]
    assert state["shares"] == {} and "445" not in {one["localport"] for one in state["rules"].values()}
    assert "\\mediaserver\\debian-boot" in state["tasks"] and state["boots"] == 2
    assert changed(house.play(wanted)) == 0


def test_a_machine_that_may_not_restart_says_so_and_goes_on_afterwards(house: Any, tmp_path: Path) -> None:
    """As after a run that ended before the restart: the features are on, nobody is logged on."""
    house.file = tmp_path / "windows.json"
    wanted = plan(reboot="never")
    refused = house.play(wanted)
    assert refused.returncode != 0 and "Windows must be restarted once" in refused.stdout
    assert house.state["boots"] == 1 and house.state["logged_on"] == ""
    assert changed(house.play(wanted | {"reboot": "if_needed"})) > 0
    assert house.state["boots"] == 2 and house.state["logged_on"] == "mediaserver"


# --- the simulation itself --------------------------------------------------------------------------------------------
WRONG = {
    "an unknown option": (
        "ansible.windows.win_share",
        {"name": "a", "path": "C:\\a", "chnage": "b"},
        "Supported parameters include",
    ),
    "a wrong choice": ("ansible.windows.win_service", {"name": "a", "start_mode": "boot"}, "must be one of"),
    "a missing option": (
        "ansible.windows.win_acl",
        {"path": "C:\\a", "user": "b", "type": "allow"},
        "missing required",
    ),
    "a wrong type": ("ansible.windows.win_user", {"name": "a", "password_never_expires": "perhaps"}, "valid boolean"),
    "a wrong option inside": (
        "community.windows.win_scheduled_task",
        {"name": "a", "triggers": [{"type": "daily", "at": "02:30"}]},
        "triggers.at",
    ),
    "an account that is not there": (
        "community.windows.win_scheduled_task",
        {"name": "a", "path": "\\b", "username": "nobody", "triggers": []},
        "does not exist",
    ),
}


def test_wrong_arguments_are_refused(house: Any) -> None:
    tasks = [
        {"name": case, name: arguments, "ignore_errors": True} for case, (name, arguments, _words) in WRONG.items()
    ]
    book = [{"hosts": "minipc", "gather_facts": False, "tasks": tasks}]
    ran = house.run(book, SIMULATED_WINDOWS=str(house.folder / "other.json"))
    said = {part.partition("]")[0]: " ".join(part.split()) for part in ran.stdout.split("TASK [")[1:]}
    assert set(said) == set(WRONG)
    for case, (_name, _arguments, words) in WRONG.items():
        assert "fatal" in said[case] and words in said[case], said[case]
    assert not (house.folder / "other.json").exists()


def test_every_module_that_the_role_uses_is_simulated() -> None:
    simulated = set(load("simulated").MODULES)
    assert {name.rpartition(".")[2] for name in generate.used()} <= simulated


def test_every_script_of_the_role_is_simulated_and_runs_in_check_mode() -> None:
    scripts = {path.stem: path.read_text() for path in (ROOT / "roles/windows/files").glob("*.ps1")}
    assert set(scripts) == set(load("simulated").SCRIPTS)
    for name, text in scripts.items():
        assert text.startswith(f"# {name}: ") and "SupportsShouldProcess" in text and "$Ansible.Changed = " in text
