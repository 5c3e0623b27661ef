# SPDX-License-Identifier: MIT
"""The recovery kit: what goes in comes out elsewhere, nothing else is overwritten, nothing secret is in clear."""

from __future__ import annotations

import contextlib
import io
import re
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pytest
from ansible.errors import AnsibleActionFail
from ansible.parsing.dataloader import DataLoader
from ansible.parsing.vault import VaultSecret
from ansible_collections.homelab.mediaserver.plugins.action.recovery_kit import ActionModule
from ansible_collections.homelab.mediaserver.plugins.plugin_utils import recovery_kit, vault, vault_generate
from ansible_collections.homelab.mediaserver.plugins.plugin_utils.vault import Store

ROOT = Path(__file__).resolve().parents[4]
PASSPHRASE = "lusab-babad-gutih-tugad-mudof-sasap-kibul-zorin"
REPOSITORIES = [
    {"name": "local", "path": "/mnt/backups/restic/box", "mount": "/mnt/backups"},
    {"name": "away", "path": "rest:https://box:planted-in-url@backup.example.org:8000/box", "mount": None},
]
PLAN = {
    "site": {"name": "home", "admin": {"ssh_keys": ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5 me@desk"]}},
    "windows": {},
    "nodes": {"pve": {"address": "192.168.1.100"}},
    "hosts": {
        "box": {"address": "192.168.1.5", "services": ["immich"], "backups": {"repositories": REPOSITORIES}},
        "bare": {"address": "192.168.1.6", "services": [], "backups": {"repositories": [], "jobs": []}},
    },
}


@pytest.fixture
def inventory(tmp_path: Path) -> Path:
    folder = tmp_path / "home"
    (folder / "group_vars/all").mkdir(parents=True)
    (folder / "hosts.yml").write_text("all: {}\n")
    (folder / "group_vars/all/site.yml").write_text("site_name: home\n")
    Store(folder / ".secrets").save({"restic.password": "planted-password", "recovery_kit.passphrase": PASSPHRASE})
    (folder / ".secrets/vpn").mkdir()
    (folder / ".secrets/vpn/phone.ovpn").write_text("planted-profile")
    (folder / ".secrets/vpn/phone.ovpn").chmod(0o600)
    (folder / ".secrets/mediaserver-secrets.lock").write_text("1")
    (folder / ".git").mkdir()
    (folder / ".git/HEAD").write_text("ref")
    return folder


Run = Callable[..., dict[str, Any]]


@pytest.fixture
def make(inventory: Path) -> Run:
    def make(check: bool = False, passwords: tuple[bytes, ...] = (), **args: Any) -> dict[str, Any]:
        loader = DataLoader()
        loader.set_vault_secrets([("default", VaultSecret(text)) for text in passwords])
        given = {"directory": str(inventory / ".secrets"), "plan": PLAN, "passphrase": PASSPHRASE, **args}
        task = MagicMock(args=given, check_mode=check, async_val=0)
        plugin = ActionModule(task, MagicMock(), MagicMock(), loader, MagicMock(), MagicMock())
        plugin.cleanup = lambda force=False: None
        found: dict[str, Any] = plugin.run(task_vars={})
        return found

    return make


def tool(*words: object, typed: str = "") -> subprocess.CompletedProcess[str]:
    """The tool's own main(), in this process: a start of Python with Ansible in it costs a second."""
    program = runpy.run_path(str(ROOT / "tools/recovery_kit.py"))
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["recovery_kit.py", *map(str, words)])
        patch.setattr(sys, "stdin", io.StringIO(f"{typed}\n"))
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = program["main"]()
    return subprocess.CompletedProcess(words, code, out.getvalue(), err.getvalue())


def open_kit(kit: Path, target: Path, typed: str = PASSPHRASE) -> subprocess.CompletedProcess[str]:
    return tool("open", kit, target, typed=typed)


def content(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {name: (file.data, file.mode) for name, file in recovery_kit.collect(folder).items()}


def test_what_goes_in_comes_out_elsewhere(make: Run, inventory: Path, tmp_path: Path) -> None:
    made = make()
    kit = inventory / ".secrets/recovery-kit/home.kit"
    assert made["changed"] and str(kit) in made["files"]
    assert not any(name.startswith((".git/", ".secrets/recovery-kit")) or "lock" in name for name in made["holds"])
    assert {".secrets/vault.key", ".secrets/vault.yml", ".secrets/vpn/phone.ovpn", "hosts.yml"} <= set(made["holds"])
    target = tmp_path / "new" / "inventories" / "back"
    typed = PASSPHRASE.upper().replace("-", "  ")  # as people type
    done = open_kit(kit, target, typed)
    assert done.returncode == 0, done.stderr
    assert content(target) == content(inventory)
    assert Store(target / ".secrets").load()["restic.password"] == "planted-password"
    assert (target / ".secrets").stat().st_mode & 0o077 == 0
    again = open_kit(kit, target)
    assert again.returncode == 0 and "just as in the kit" in again.stdout


def test_the_kit_opens_with_ansible_core_and_tar_alone(make: Run, inventory: Path, tmp_path: Path) -> None:
    make()
    (tmp_path / "password").write_text(PASSPHRASE)
    decrypt = [str(Path(sys.executable).parent / "ansible-vault"), "decrypt", "--vault-password-file"]
    kit = inventory / ".secrets/recovery-kit/home.kit"
    archive = tmp_path / "kit.tar.gz"
    subprocess.run([*decrypt, str(tmp_path / "password"), "--output", str(archive), str(kit)], check=True)
    (tmp_path / "out").mkdir()
    subprocess.run(["tar", "-xzf", str(archive), "-C", str(tmp_path / "out")], check=True)
    assert (tmp_path / "out/hosts.yml").read_text() == "all: {}\n"


def test_another_inventory_is_not_overwritten(make: Run, inventory: Path, tmp_path: Path) -> None:
    make()
    kit = inventory / ".secrets/recovery-kit/home.kit"
    other = tmp_path / "other"
    other.mkdir()
    (other / "hosts.yml").write_text("mine\n")
    done = open_kit(kit, other)
    assert done.returncode == 1 and "is another one" in done.stderr and "ENV=" in done.stderr
    assert [path.name for path in other.iterdir()] == ["hosts.yml"]
    assert (other / "hosts.yml").read_text() == "mine\n"


def test_what_a_killed_opening_left_does_not_matter(make: Run, inventory: Path, tmp_path: Path) -> None:
    make()
    half = tmp_path / ".back.opening"
    half.mkdir()
    (half / "strange").write_text("old")
    assert open_kit(inventory / ".secrets/recovery-kit/home.kit", tmp_path / "back").returncode == 0
    assert content(tmp_path / "back") == content(inventory)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda sealed: sealed[:-40] + b"0" * 40, "the passphrase is another, or the file is damaged"),
        (lambda sealed: sealed[: len(sealed) // 2], "the passphrase is another, or the file is damaged"),
        (lambda _sealed: b"<html>", "no file of ansible-vault"),
        (lambda _sealed: recovery_kit.seal(b"other", PASSPHRASE), "no recovery kit"),
        (lambda _sealed: recovery_kit.seal(recovery_kit.pack({}, {"format": 9}), PASSPHRASE), "its format is 9"),
    ],
)
def test_a_bad_kit_is_refused(
    make: Run, inventory: Path, tmp_path: Path, damage: Callable[[bytes], bytes], message: str
) -> None:
    make()
    kit = inventory / ".secrets/recovery-kit/home.kit"
    kit.write_bytes(damage(kit.read_bytes()))
    done = open_kit(kit, tmp_path / "back")
    assert done.returncode == 1 and message in done.stderr
    assert not (tmp_path / "back").exists()
    missing = open_kit(tmp_path / "nothing", tmp_path / "back")
    assert missing.returncode == 1 and "there is no file" in missing.stderr


def test_a_path_that_leads_out_is_refused() -> None:
    evil = recovery_kit.pack({"../evil": recovery_kit.File(b"x", 0o600)}, {})
    with pytest.raises(recovery_kit.KitError, match="no file of an inventory"):
        recovery_kit.unpack(evil)


def test_the_wrong_passphrase_opens_nothing(make: Run, inventory: Path, tmp_path: Path) -> None:
    make()
    done = open_kit(inventory / ".secrets/recovery-kit/home.kit", tmp_path / "back", "lusab-babad")
    assert done.returncode == 1 and "the passphrase is another" in done.stderr


def test_nothing_is_written_when_nothing_changed(make: Run, inventory: Path, tmp_path: Path) -> None:
    usb = tmp_path / "usb"
    assert make(check=True)["changed"] and not (inventory / ".secrets/recovery-kit").exists()
    make(to=str(usb))
    kit = inventory / ".secrets/recovery-kit/home.kit"
    assert (usb / "home.kit").read_bytes() == kit.read_bytes()
    before = {path: path.stat().st_mtime_ns for path in [*kit.parent.iterdir(), *usb.iterdir()]}
    assert not make(to=str(usb))["changed"]
    assert before == {path: path.stat().st_mtime_ns for path in before}
    kit.chmod(0o644)
    assert make()["changed"] and kit.stat().st_mode & 0o777 == 0o600
    (inventory / "hosts.yml").write_text("all: {hosts: {}}\n")
    assert make()["changed"]


def test_nothing_secret_is_in_clear(make: Run, inventory: Path) -> None:
    said = str(make(source="https://me:planted-token@git.example.org/x.git", version="0.1.0", commit="abc" * 14))
    files = list((inventory / ".secrets/recovery-kit").iterdir())
    assert sorted(path.name for path in files) == ["home.html", "home.kit", "record.json"]
    for path in files:
        assert path.stat().st_mode & 0o777 == 0o600
        said += path.read_text()
    key = (inventory / ".secrets/vault.key").read_text().strip()
    assert not [text for text in ("planted", PASSPHRASE, key) if text in said]
    page = (inventory / ".secrets/recovery-kit/home.html").read_text()
    for text in (
        "rest:https://box@backup.example.org:8000/box",
        "192.168.1.100",
        "192.168.1.5",
        "SHA256:",
        "make rebuild REPOSITORY=away",
    ):
        assert text in page, text
    assert not re.search(r"<script|src=|href=", page)
    assert "keep a copy of it with the kit" not in page
    make(source="/srv/clone")
    assert "keep a copy of it with the kit" in (inventory / ".secrets/recovery-kit/home.html").read_text()
    assert page.count('class="word"') == len(PASSPHRASE.split("-"))


def test_a_key_that_lies_elsewhere_is_in_the_kit(make: Run, inventory: Path, tmp_path: Path) -> None:
    key = inventory / ".secrets/vault.key"
    text = key.read_bytes().strip()
    key.unlink()
    with pytest.raises(AnsibleActionFail, match="is missing"):
        make()
    make(passwords=(text,))
    assert open_kit(inventory / ".secrets/recovery-kit/home.kit", tmp_path / "back").returncode == 0
    assert Store(tmp_path / "back/.secrets").load()["restic.password"] == "planted-password"


def test_the_plan_knows_an_old_kit(make: Run, inventory: Path) -> None:
    assert recovery_kit.state(inventory) == "missing"
    make()
    assert recovery_kit.state(inventory) == "current"
    (inventory / "hosts.yml").write_text("all: {hosts: {}}\n")
    (inventory / ".secrets/known_hosts").write_text("box ssh-ed25519 AAAA\n")
    assert recovery_kit.state(inventory) == "current"  # neither is a secret
    (inventory / "group_vars/all/given.yml").write_text("x: !vault |\n  $ANSIBLE_VAULT;1.1;AES256\n  00\n")
    assert recovery_kit.state(inventory) == "old"
    make()
    assert recovery_kit.state(inventory) == "current"
    Store(inventory / ".secrets").save({"restic.password": "another"})
    assert recovery_kit.state(inventory) == "old"
    (inventory / ".secrets" / vault.VAULT).unlink()
    assert recovery_kit.state(inventory) == ""


def test_the_passphrase_is_shown_on_a_terminal_only(inventory: Path) -> None:
    done = tool("passphrase", inventory)
    assert done.returncode == 1 and "terminal" in done.stderr and "lusab" not in done.stdout + done.stderr


def test_words_hold_sixteen_bits_each() -> None:
    words = vault_generate.generate({"name": "x", "kind": "words"})[""].split("-")
    assert len(words) == 8
    assert all(re.fullmatch(r"([bdfghjklmnprstvz][aiou]){2}[bdfghjklmnprstvz]", word) for word in words)
    assert len({vault_generate.word() for _number in range(200)}) > 190
