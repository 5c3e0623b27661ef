# SPDX-License-Identifier: MIT
"""rclone_remotes and the filter rclone_config with the real rclone (Debian's; RCLONE=/path/to/rclone: another one).

What the module wrote is read back by rclone itself, used by it (WebDAV with a login, crypt), and changed by it.
"""

from __future__ import annotations

import json
import os
import pty
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.homelab.mediaserver.plugins.modules import rclone_remotes

ROOT = Path(__file__).parents[2]
RCLONE = os.environ.get("RCLONE") or shutil.which("rclone") or "rclone"
TRAP = "AbCdEfGhIjKlMnOpQrStUvWxYz012345"  # rclone takes 22 and more of such characters for an obscured value
TOKEN = {
    "access_token": "planted-a",
    "token_type": "Bearer",
    "refresh_token": "planted-r",
    "expiry": "2030-01-01T00:00:00Z",
}
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("RCLONE")}


@dataclass
class Ended:
    returncode: int
    stdout: str
    stderr: str


def module(arguments: dict[str, Any], kill: str, syncs: int) -> None:
    """What a child process does: the module, killed by SIGKILL at a certain call."""
    for name in [name for name in os.environ if name.startswith("RCLONE")]:
        del os.environ[name]
    left, real = [syncs], os.fsync

    def stop(*_args: Any) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def fsync(descriptor: int) -> None:
        real(descriptor)
        left[0] -= 1
        if not left[0]:
            stop()

    if kill == "replace":
        Path.replace = stop  # type: ignore[assignment,method-assign]
    elif kill == "sync":
        os.fsync = fsync
    with patch_module_args(arguments):
        rclone_remotes.main()


class Site:
    def __init__(self, folder: Path) -> None:
        self.folder, self.path, self.log = folder, folder / "config/rclone.conf", folder / "starts"
        self.program = folder / "rclone"
        self.program.write_text(f'#!/bin/sh\nprintf "%s\\n" "$*" >>{self.log}\nexec {RCLONE} "$@"\n')
        self.program.chmod(0o755)

    def start(self, remotes: list[dict[str, Any]], kill: str = "", syncs: int = 0, **options: Any) -> Ended:
        self.log.write_text("")
        defaults = {"path": str(self.path), "executable": str(self.program), "_ansible_diff": True}
        arguments = {"remotes": remotes, **defaults, **options}
        outputs = [self.folder / "stdout", self.folder / "stderr"]
        child = os.fork()  # the module as a process of its own, without the second it takes to import Ansible
        if child == 0:
            try:
                for number, path in enumerate(outputs, 1):
                    os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), number)
                sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
                module(arguments, kill, syncs)
            except SystemExit:
                pass
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(0)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        return Ended(code, outputs[0].read_text(), outputs[1].read_text())

    def run(self, *remotes: dict[str, Any], check: bool = False, **options: Any) -> dict[str, Any]:
        ended = self.start(list(remotes), _ansible_check_mode=check, **options)
        assert ended.stdout, ended.stderr
        starts = self.log.read_text()
        assert len(starts.splitlines()) <= 3
        for text in (TRAP, "planted"):
            assert text not in ended.stdout + ended.stderr + starts
        result: dict[str, Any] = json.loads(ended.stdout)
        return result

    def order(self, *remotes: dict[str, Any], **options: Any) -> dict[str, Any]:
        """Check, run, check again, run again; the run's result."""
        before = self.path.read_bytes() if self.path.exists() else None
        predicted = self.run(*remotes, check=True, **options)
        assert predicted.get("changed"), predicted
        assert before == (self.path.read_bytes() if self.path.exists() else None)
        done = self.run(*remotes, **options)
        assert done.get("changed"), done
        assert (done["diff"], done["steps"]) == (predicted["diff"], predicted["steps"])
        written = self.path.read_bytes()
        for check in (True, False):
            again = self.run(*remotes, check=check, **options)
            assert (again.get("changed"), again["steps"]) == (False, [])
        assert self.path.read_bytes() == written
        return done

    def rclone(self, *words: str, password: str | None = None, code: int = 0) -> str:
        secret = {"RCLONE_CONFIG_PASS": password} if password else {}
        ended = subprocess.run(
            [RCLONE, "--config", str(self.path), "--ask-password=false", *words],
            env={**ENVIRONMENT, **secret},
            text=True,
            capture_output=True,
            check=False,
        )
        assert ended.returncode == code, ended.stderr
        return ended.stdout

    def dump(self, password: str | None = None) -> dict[str, dict[str, str]]:
        found: dict[str, dict[str, str]] = json.loads(self.rclone("config", "dump", password=password))
        return found

    def revealed(self, name: str, key: str, password: str | None = None) -> str:
        return self.rclone("reveal", self.dump(password)[name][key]).rstrip("\n")


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def nas(port: int = 1, **options: Any) -> dict[str, Any]:
    given = {"url": f"http://127.0.0.1:{port}/", "vendor": "other", "user": "media", "pass": TRAP, **options}
    return {"name": "nas", "type": "webdav", "options": given}


VAULT = {"name": "vault", "type": "crypt", "options": {"remote": "nas:vault", "password": "planted horse"}}
CLOUD = {"name": "cloud", "type": "onedrive", "options": {"drive_type": "personal", "drive_id": "x", "token": TOKEN}}


def test_rclone_reads_what_was_meant(site: Site) -> None:
    done = site.order(nas(), VAULT, CLOUD)
    assert done["remotes"] == ["cloud", "nas", "vault"]
    assert site.revealed("nas", "pass") == TRAP
    assert site.revealed("vault", "password") == "planted horse"
    assert json.loads(site.dump()["cloud"]["token"]) == TOKEN
    assert stat.S_IMODE(site.path.stat().st_mode) == 0o600
    assert site.dump()["nas"] | {"pass": ""} == {"type": "webdav", **nas()["options"], "pass": ""}


def test_drift_by_rclone_itself(site: Site) -> None:
    site.order(nas(), VAULT)
    site.rclone("config", "update", "nas", "pass", "another one", "vendor", "nextcloud", "bearer_token", "mine")
    site.rclone("config", "create", "mine", "alias", "remote", "/x")
    assert site.revealed("nas", "pass") == "another one"
    done = site.order(nas(), VAULT)
    assert done["updated"] == ["nas"]
    assert done["steps"] == [f"write {site.path}: update remote nas (vendor, pass)"]
    assert site.revealed("nas", "pass") == TRAP
    assert site.dump()["nas"]["bearer_token"] == "mine", "not named, not managed"
    assert site.dump()["mine"] == {"type": "alias", "remote": "/x"}
    # the trap: rclone stores this as it is
    site.rclone("config", "update", "nas", "pass", TRAP)
    assert site.dump()["nas"]["pass"] == TRAP
    site.order(nas(), VAULT)
    assert site.revealed("nas", "pass") == TRAP
    # obscured by rclone with another random start: the same secret
    site.rclone("config", "update", "nas", "pass", TRAP, "--obscure")
    assert not site.run(nas(), VAULT)["changed"]
    site.order(nas(bearer_token=None), VAULT, purge=True)
    assert sorted(site.dump()) == ["nas", "vault"]
    assert "bearer_token" not in site.dump()["nas"]


def test_every_printable_character(site: Site) -> None:
    text = "".join(map(chr, range(33, 127))) + " äß€ %% =:`\"'#;"
    site.order(nas(**{"pass": text, "user": text}))
    assert site.revealed("nas", "pass") == text
    assert site.dump()["nas"]["user"] == text
    site.rclone("config", "update", "nas", "vendor", "nextcloud")
    assert site.dump()["nas"]["user"] == text, "rclone keeps it when it writes the file itself"
    site.order(nas(**{"pass": text, "user": text}))


def test_a_token_that_rclone_renewed(site: Site) -> None:
    site.order(CLOUD)
    text = site.path.read_text().replace("planted-a", "renewed-a").replace("planted-r", "renewed-r")
    site.path.write_text(text)
    assert not site.run(CLOUD)["changed"]
    site.order(CLOUD, nas())
    assert "renewed-r" in site.dump()["cloud"]["token"]
    site.order(CLOUD, nas(), update_token="always")
    assert json.loads(site.dump()["cloud"]["token"]) == TOKEN


def test_what_rclone_itself_would_take(site: Site) -> None:
    """rclone ends such calls with 0."""
    wrong = {"name": "a", "type": "webdav", "options": {"vendr": "x"}}
    message = site.run(wrong, {"name": "b", "type": "webdavv"})["msg"]
    assert "a: backend webdav has no option vendr (near: vendor" in message
    assert "b: rclone has no backend webdavv (near: webdav" in message
    assert "requires url" in site.run({"name": "a", "type": "webdav"})["msg"]
    assert not site.path.exists()


def test_encrypted_both_ways(site: Site) -> None:
    site.order(nas())
    site.order(nas(), config_password="planted pä①ss")
    assert "planted" not in site.path.read_text()
    assert site.revealed("nas", "pass", "planted pä①ss") == TRAP
    # rclone encrypts anew when it saves
    site.rclone("config", "create", "mine", "alias", "remote", "/x", password="planted pä①ss")
    assert not site.run(nas(), config_password="planted pä①ss")["changed"]
    site.order(nas(), VAULT, config_password="planted pä①ss")
    assert sorted(site.dump("planted pä①ss")) == ["mine", "nas", "vault"]
    assert "no password for it is given" in site.run(nas())["msg"]
    assert "another password" in site.run(nas(), config_password="wrong")["msg"]


def test_encrypted_by_rclone(site: Site) -> None:
    """The first encryption done by rclone's own dialogue."""
    site.order(nas())
    child, terminal = pty.fork()
    if child == 0:
        os.execvpe(RCLONE, ["rclone", "--config", str(site.path), "config"], ENVIRONMENT)
    output = b""
    for prompt, answer in ((b"q>", "s"), (b"q>", "a"), (b"password:", "planted pw"), (b"password:", "planted pw")):
        seen = len(output)
        while prompt not in output[seen:]:
            output += os.read(terminal, 4096)
        os.write(terminal, f"{answer}\n".encode())
    deadline = time.monotonic() + 20
    while b"RCLONE_ENCRYPT_V0" not in (site.path.read_bytes() if site.path.exists() else b""):
        assert time.monotonic() < deadline, output
        time.sleep(0.1)
    os.kill(child, signal.SIGTERM)
    os.waitpid(child, 0)
    os.close(terminal)
    assert not site.run(nas(), config_password="planted pw")["changed"]
    site.order(nas(), VAULT, config_password="planted pw")
    assert site.revealed("vault", "password", "planted pw") == "planted horse"


@pytest.mark.parametrize(
    ("kill", "syncs", "encrypted"),
    [("replace", 0, False), ("sync", 1, False), ("sync", 2, False), ("sync", 1, True)],
)
def test_a_killed_run(site: Site, kill: str, syncs: int, encrypted: bool) -> None:
    password = "planted pw" if encrypted else None
    options = {"config_password": password} if encrypted else {}
    site.run(CLOUD, **options)
    before = site.path.read_bytes()
    ended = site.start([CLOUD, nas(), VAULT], kill, syncs, **options)
    assert ended.returncode == -signal.SIGKILL
    assert (site.path.read_bytes() == before) == (syncs != 2), "the old file or the new one, never half of one"
    site.dump(password)
    result = site.run(CLOUD, nas(), VAULT, **options)
    assert result["changed"] == (syncs != 2)
    assert not site.run(CLOUD, nas(), VAULT, check=True, **options)["changed"]
    assert [path.name for path in site.path.parent.iterdir()] == ["rclone.conf"]
    assert site.revealed("nas", "pass", password) == TRAP


@pytest.fixture
def dav(tmp_path: Path) -> Iterator[tuple[int, Path]]:
    """`rclone serve webdav` with a login."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    folder = tmp_path / "served"
    (folder / "films").mkdir(parents=True)
    (folder / "films/one.mkv").write_bytes(b"a film")
    command = [RCLONE, "--config", "", "serve", "webdav", str(folder), "--addr", f"127.0.0.1:{port}"]
    login = {"RCLONE_USER": "media", "RCLONE_PASS": TRAP}
    with subprocess.Popen(command, env={**ENVIRONMENT, **login}, stderr=subprocess.DEVNULL) as server:
        deadline = time.monotonic() + 15
        while socket.socket().connect_ex(("127.0.0.1", port)):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield port, folder
        server.terminate()


def test_in_use(site: Site, dav: tuple[int, Path]) -> None:
    port, folder = dav
    site.order(nas(port), VAULT)
    assert site.rclone("lsf", "nas:films") == "one.mkv\n"
    secret = site.folder / "secret.txt"
    secret.write_text("what nobody shall read")
    site.rclone("copy", str(secret), "vault:")
    assert site.rclone("cat", "vault:secret.txt") == "what nobody shall read"
    stored = [path for path in (folder / "vault").iterdir() if path.is_file()]
    assert len(stored) == 1
    assert stored[0].name != "secret.txt"
    assert b"nobody" not in stored[0].read_bytes()
    site.order(nas(port, **{"pass": "planted, but wrong"}), VAULT)
    site.rclone("--retries", "1", "--low-level-retries", "1", "lsf", "nas:films", code=1)


def play_book(book: Path, *options: str, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).with_name("ansible-playbook")
    path = {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"} if folder else {}
    python = f"ansible_python_interpreter={sys.executable}"
    return subprocess.run(
        [str(program), "-i", "localhost,", "-c", "local", "-e", python, *options, str(book)],
        cwd=ROOT,
        env={**ENVIRONMENT, **path},
        text=True,
        capture_output=True,
        check=False,
    )


def test_the_filter_for_windows(site: Site) -> None:
    """By ansible itself, as a play uses it; rclone reads the result."""
    site.path.parent.mkdir()
    site.path.write_text("")
    play = [
        {
            "hosts": "localhost",
            "gather_facts": False,
            "vars": {"remotes": [nas(), VAULT, CLOUD]},
            "tasks": [
                {
                    "ansible.builtin.command": {"argv": [RCLONE, "config", "providers"]},
                    "register": "providers",
                    "changed_when": False,
                },
                {"ansible.builtin.slurp": {"path": str(site.path)}, "register": "found", "no_log": True},
                {
                    "ansible.builtin.copy": {
                        "content": "{{ remotes | homelab.mediaserver.rclone_config(found.content | b64decode,"
                        " providers.stdout) }}",
                        "dest": str(site.path),
                        "mode": "0600",
                    },
                    "vars": {
                        "found": f"{{{{ lookup('ansible.builtin.file', '{site.path}', errors='ignore') or '' }}}}"
                    },
                    "no_log": True,
                },
            ],
        }
    ]
    book = site.folder / "play.json"
    book.write_text(json.dumps(play))
    for changed in (1, 0):
        ended = play_book(book)
        assert f"changed={changed} " in ended.stdout, ended.stdout + ended.stderr
    assert site.revealed("nas", "pass") == TRAP
    assert site.revealed("vault", "password") == "planted horse"
    assert not site.run(nas(), VAULT, CLOUD)["changed"], "the module finds it as it would have made it"


def test_no_secret_in_a_loud_play(site: Site) -> None:
    task = {"homelab.mediaserver.rclone_remotes": {"remotes": [nas(), VAULT, CLOUD], "path": str(site.path)}}
    book = site.folder / "play.json"
    book.write_text(json.dumps([{"hosts": "localhost", "gather_facts": False, "tasks": [task]}]))
    for changed in (1, 0):
        ended = play_book(book, "-vvv", "--diff", folder=site.folder)
        assert f"changed={changed} " in ended.stdout, ended.stdout + ended.stderr
        assert "(secret" in ended.stdout
        for text in (TRAP, "planted"):
            assert text not in ended.stdout + ended.stderr
