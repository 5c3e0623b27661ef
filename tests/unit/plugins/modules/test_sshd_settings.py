# SPDX-License-Identifier: MIT
from __future__ import annotations

import os
from pathlib import Path

import pytest
from ansible_collections.homelab.mediaserver.plugins.module_utils._reconcile import Failure
from ansible_collections.homelab.mediaserver.plugins.modules import sshd_settings
from ansible_collections.homelab.mediaserver.tests.unit.fakes.host_fake import (
    Commands,
    deadman_in,
    files_below,
    run_module,
)

SETTINGS = {"PasswordAuthentication": False, "Port": [22, 2222], "AllowUsers": ["ops", "backup"]}


class Sshd(Commands):
    """The first value of a setting counts, as in sshd."""

    def __init__(self, drop_in: Path, other: str = "") -> None:
        super().__init__()
        self.drop_in, self.other = drop_in, other

    def call(self, argv):
        if argv[:2] == ["/usr/sbin/sshd", "-t"]:
            text = Path(argv[3]).read_text()
            assert text.startswith("Include "), "the new drop-in is read first"
            wrong = "Nonsense" in Path(text.splitlines()[0].split()[1]).read_text()
            return (255, "", "Bad configuration option: Nonsense\n") if wrong else 0
        if argv == ["/usr/sbin/sshd", "-T"]:
            self.read(*argv)
            lines: dict[str, list[str]] = {}
            for line in (self.other + self.drop_in.read_text()).splitlines():
                name, _space, value = line.partition(" ")
                if name == "Port":
                    lines.setdefault("port", []).append(value)
                elif name == "AllowUsers":
                    lines.setdefault("allowusers", value.split())
                elif name != "#":
                    lines.setdefault(name.lower(), [value])
            return "".join(f"{name} {value}\n" for name, values in lines.items() for value in values)
        return None


@pytest.fixture
def path(tmp_path, monkeypatch):
    deadman_in(tmp_path, sshd_settings, monkeypatch=monkeypatch)
    monkeypatch.setattr(sshd_settings, "MAIN", str(tmp_path / "sshd_config"))
    return tmp_path / "10-mediaserver.conf"


@pytest.fixture
def run(path, monkeypatch):
    def go(fake, check=False, **args):
        return run_module(sshd_settings, fake, {"settings": SETTINGS, "path": str(path), **args}, monkeypatch, check)

    return go


def test_missing_arguments(run, path):
    assert run(Sshd(path), settings=None).failed


def test_check_create_again_update(run, path, tmp_path):
    fake = Sshd(path)
    before = files_below(tmp_path)
    checked = run(fake, check=True)
    assert checked["changed"] and files_below(tmp_path) == before

    created = run(fake)
    assert created["diff"] == checked["diff"] and created["steps"] == checked["steps"]
    assert path.read_text().splitlines()[1:] == [
        "PasswordAuthentication no",
        "Port 22",
        "Port 2222",
        "AllowUsers ops backup",
    ]
    assert fake.writes[-1] == "systemctl try-reload-or-restart ssh.service"
    (tmp_path / "revert/sshd/armed").unlink()

    for check in (True, False):
        assert not run(fake, check=check)["changed"]
        assert not fake.writes
    assert run(fake, settings={"PasswordAuthentication": True})["changed"]


def test_change_that_was_never_confirmed_is_read_again(run, path):
    fake = Sshd(path)
    run(fake)
    result = run(fake)
    assert result["steps"] == ["arm the revert (60 s)", "let the SSH server read them"]


def test_socket_of_systemd_is_restarted_too(run, path, tmp_path):
    fake = Sshd(path)
    fake.active.add("ssh.socket")
    run(fake)
    assert fake.writes[-3:] == [
        "systemctl daemon-reload",
        "systemctl restart ssh.socket",
        "systemctl try-reload-or-restart ssh.service",
    ]
    assert "systemctl restart ssh.socket" in (tmp_path / "revert/sshd/revert").read_text()


def test_settings_that_sshd_refuses_replace_nothing(run, path):
    path.write_text("# former\n")
    result = run(Sshd(path), settings={"Nonsense": "yes"})
    assert result["msg"] == f"Unable to use the SSH settings of {path}: Bad configuration option: Nonsense"
    assert path.read_text() == "# former\n"


def test_setting_that_another_file_decides_fails(run, path):
    fake = Sshd(path, other="PasswordAuthentication yes\n")
    result = run(fake)
    assert "another file decides that PasswordAuthentication is yes" in result["msg"]
    assert not any("try-reload" in line for line in fake.writes)


class Entry:
    def __init__(self, home):
        self.pw_dir, self.pw_uid, self.pw_gid = str(home), os.getuid(), os.getgid()


@pytest.fixture
def home(tmp_path, monkeypatch):
    (tmp_path / "home").mkdir()
    users = {"ops": Entry(tmp_path / "home")}
    monkeypatch.setattr(sshd_settings.pwd, "getpwnam", lambda user: users[user])
    return tmp_path / "home"


def test_keys_are_part_of_the_armed_change(run, path, home, tmp_path):
    fake = Sshd(path)
    run(fake)
    (tmp_path / "revert/sshd/armed").unlink()
    keys = {"user": "ops", "keys": ["ssh-ed25519 A me", "ssh-ed25519 A me", "ssh-ed25519 B you "]}
    assert run(fake, check=True, authorized_keys=[keys])["changed"]
    created = run(fake, authorized_keys=[keys])
    assert created["steps"] == ["arm the revert (60 s)", "write the keys of ops"]
    file = home / ".ssh/authorized_keys"
    assert file.read_text() == "ssh-ed25519 A me\nssh-ed25519 B you\n"
    assert file.stat().st_mode & 0o777 == 0o600 and file.parent.stat().st_mode & 0o777 == 0o700
    assert f"rm -f {file}" in (tmp_path / "revert/sshd/revert").read_text()
    (tmp_path / "revert/sshd/armed").unlink()
    assert not run(fake, authorized_keys=[keys])["changed"]

    file.write_text("# mine\nssh-ed25519 A me\n")
    run(fake, authorized_keys=[keys])
    assert file.read_text() == "# mine\nssh-ed25519 A me\nssh-ed25519 B you\n"
    run(fake, authorized_keys=[{**keys, "keys": ["ssh-ed25519 B you"], "exclusive": True}])
    assert file.read_text() == "ssh-ed25519 B you\n"


def test_never_the_last_key(run, path, home):
    keys = {"user": "ops", "keys": [" "], "exclusive": True}
    assert "nobody could log in" in run(Sshd(path), authorized_keys=[keys])["msg"]


def test_user_that_a_dry_run_has_not_made(run, path, home):
    keys = {"user": "nobody-yet", "keys": ["ssh-ed25519 A"]}
    assert run(Sshd(path), check=True, authorized_keys=[keys])["changed"]
    assert "there is no such user" in run(Sshd(path), authorized_keys=[keys])["msg"]


@pytest.mark.parametrize(("name", "value"), [("Port 22\nX", 1), ("Banner", ""), ("Banner", "a\nb"), ("Port", [])])
def test_values_that_cannot_be(name, value):
    with pytest.raises(Failure, match="Unable to write sshd setting"):
        sshd_settings.words(name, value)


@pytest.mark.parametrize(
    ("settings", "effective", "found"),
    [
        ({"PermitRootLogin": "prohibit-password"}, "permitrootlogin without-password", []),
        ({"Ciphers": "a,b"}, "ciphers a,b", []),
        ({"AllowUsers": ["a", "b"]}, "allowusers a\nallowusers b", []),
        ({"Unlisted": "x"}, "", []),
        ({"Port": [22]}, "port 22\nport 23", ["Port is 22 23"]),
    ],
)
def test_what_is_in_force(settings, effective, found):
    assert sshd_settings.overridden(settings, effective) == found
