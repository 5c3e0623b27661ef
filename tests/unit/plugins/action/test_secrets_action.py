# SPDX-License-Identifier: MIT
from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from unittest.mock import MagicMock

import pytest
import yaml
from ansible.errors import AnsibleActionFail
from ansible.parsing.dataloader import DataLoader
from ansible.parsing.vault import VaultSecret
from ansible_collections.homelab.mediaserver.plugins.action.secrets import ActionModule
from ansible_collections.homelab.mediaserver.plugins.plugin_utils import vault

PASSWORD = {"name": "immich.db_password", "length": 40}
HOST_KEY = {"name": "ssh_host_key.intranet", "kind": "ssh_ed25519"}


@pytest.fixture
def run(tmp_path):
    def run(*required, check=False, passwords=(), **args):
        loader = DataLoader()
        loader.set_vault_secrets([("default", VaultSecret(text)) for text in passwords])
        task = MagicMock(
            args={"directory": str(tmp_path / "store"), "required": list(required), **args},
            check_mode=check,
            async_val=0,
        )
        plugin = ActionModule(task, MagicMock(), MagicMock(), loader, MagicMock(), MagicMock())
        plugin.cleanup = lambda force=False: None
        return plugin.run(task_vars={})

    return run


@pytest.fixture
def store(tmp_path):
    return tmp_path / "store"


def test_keeps_what_was_told_once(run, store):
    told = {"pve": {"api_token_secret": "planted-one"}}
    checked = run(PASSWORD, check=True, keep=told)
    assert (checked["changed"], checked["kept"]) == (True, ["pve.api_token_secret"])
    assert not store.exists()
    first = run(PASSWORD, keep=told)
    assert first["kept"] == ["pve.api_token_secret"]
    assert first["names"] == ["immich.db_password", "pve.api_token_secret"]
    again = run(PASSWORD, keep=told)
    assert (again["changed"], again["kept"]) == (False, [])
    assert run(keep={"pve.api_token_secret": "planted-two"})["kept"] == ["pve.api_token_secret"]
    ask = {"name": "pve.api_token_secret", "ask": True}
    assert run(PASSWORD, ask)["secrets"] == {**first["secrets"], "pve.api_token_secret": "planted-two"}


def test_what_comes_later_is_neither_made_nor_asked_for(run, store):
    later = {"name": "cloudflared.tunnel_token", "later": True}
    assert "cloudflared.tunnel_token" not in run(PASSWORD, later)["secrets"]
    told = {"cloudflared.tunnel_token": "planted"}
    assert run(PASSWORD, later, keep=told)["secrets"]["cloudflared.tunnel_token"] == "planted"
    again = run(PASSWORD, later)
    assert not again["changed"] and again["secrets"]["cloudflared.tunnel_token"] == "planted"


def test_generates_once_and_keeps(run, store):
    first = run(PASSWORD, HOST_KEY)
    assert first["changed"]
    assert first["generated"] == ["immich.db_password", "ssh_host_key.intranet"]
    assert first["_ansible_no_log"] is True
    assert len(first["secrets"]["immich.db_password"]) == 40
    files = {path.name: path.stat().st_mode & 0o777 for path in store.iterdir()}
    assert (files["vault.yml"], files["vault.key"]) == (0o600, 0o600)
    assert store.stat().st_mode & 0o777 == 0o700
    before = (store / "vault.yml").read_bytes()
    again = run({**PASSWORD, "length": 8}, HOST_KEY)
    assert not again["changed"]
    assert again["secrets"] == first["secrets"]
    assert (store / "vault.yml").read_bytes() == before
    more = run(PASSWORD, HOST_KEY, {"name": "x.y"})
    assert more["generated"] == ["x.y"]
    assert more["secrets"].items() >= first["secrets"].items()


def test_ansible_vault_itself_reads_it(run, store):
    secrets = run(PASSWORD)["secrets"]
    command = Path(sys.executable).with_name("ansible-vault")
    argv = [str(command), "view", "--vault-password-file", str(store / "vault.key"), str(store / "vault.yml")]
    shown = subprocess.run(argv, check=True, capture_output=True, text=True).stdout
    assert yaml.safe_load(shown) == {"immich.db_password": secrets["immich.db_password"]}


def test_check_mode_writes_nothing_and_gives_usable_values(run, store):
    result = run(PASSWORD, HOST_KEY, check=True, known_hosts=[{"host": "intranet", "secret": "ssh_host_key.intranet"}])
    assert result["changed"]
    assert result["secrets"]["ssh_host_key.intranet.public"].startswith("ssh-ed25519 ")
    assert not store.exists()


def test_given_values_win_and_are_not_stored(run, store):
    result = run(PASSWORD, given={"immich": {"db_password": "by hand"}, "other.name": "dotted"})
    assert result["secrets"] == {"immich.db_password": "by hand", "other.name": "dotted"}
    assert not (store / "vault.yml").exists()


def test_all_that_the_owner_must_give_is_told_at_once(run, store):
    run(PASSWORD)
    with pytest.raises(AnsibleActionFail) as caught:
        run({"name": "ddclient.password", "ask": True, "help": "From OVH."}, {"name": "cf.token", "ask": True})
    lines = str(caught.value).splitlines()
    assert lines[0].startswith("Secret ddclient.password must be given by you. From OVH. Set site_secrets: {ddclient:")
    assert lines[1].startswith("Secret cf.token must be given by you. Set site_secrets: {cf: {token: ...}}")
    assert f"ansible-vault edit --vault-password-file {store}/vault.key {store}/vault.yml" in lines[1]


def test_a_missing_key_gives_its_name_and_the_remedy(run, store):
    run(PASSWORD)
    (store / "vault.key").unlink()
    with pytest.raises(AnsibleActionFail, match=r"its key .*/vault.key is missing. Put the key back"):
        run(PASSWORD)


def test_a_wrong_key_is_told_and_nothing_is_overwritten(run, store):
    run(PASSWORD)
    (store / "vault.key").write_text("other")
    before = (store / "vault.yml").read_bytes()
    with pytest.raises(AnsibleActionFail, match=r"vault.key is the wrong key"):
        run(PASSWORD, {"name": "new.one"})
    assert (store / "vault.yml").read_bytes() == before


def test_a_vault_that_is_not_encrypted_is_refused(run, store):
    store.mkdir()
    (store / "vault.yml").write_text("a: b\n")
    with pytest.raises(AnsibleActionFail, match=r"not encrypted. Run: ansible-vault encrypt"):
        run(PASSWORD)


def test_a_vault_password_that_ansible_was_told_is_used(run, store):
    first = run(PASSWORD, passwords=[b"from the user"])
    assert not (store / "vault.key").exists()
    assert run(PASSWORD, passwords=[b"wrong one", b"from the user"])["secrets"] == first["secrets"]
    with pytest.raises(AnsibleActionFail, match="the given vault password is the wrong key"):
        run(PASSWORD, passwords=[b"wrong one"])


def test_known_hosts(run, store):
    store.mkdir()
    (store / "known_hosts").write_text("other ssh-ed25519 AAAA\nintranet,10.0.0.9 ssh-ed25519 OLD\n")
    host = {"host": "intranet", "addresses": ["10.0.0.1"], "port": 22, "secret": "ssh_host_key.intranet"}
    key = run(HOST_KEY, known_hosts=[host])["secrets"]["ssh_host_key.intranet.public"]
    assert (store / "known_hosts").read_text() == f"other ssh-ed25519 AAAA\nintranet,10.0.0.1 {key}\n"
    assert not run(HOST_KEY, known_hosts=[host])["changed"]
    assert run(HOST_KEY, known_hosts=[{**host, "port": 2222}])["changed"]
    assert f"[intranet]:2222,[10.0.0.1]:2222 {key}\n" in (store / "known_hosts").read_text()
    with pytest.raises(AnsibleActionFail, match="no required secret of kind ssh_ed25519"):
        run(PASSWORD, known_hosts=[{**host, "secret": "immich.db_password"}])


def test_ssh_agrees_about_the_public_key(run, tmp_path):
    secrets = run(HOST_KEY)["secrets"]
    private = tmp_path / "key"
    private.write_text(secrets["ssh_host_key.intranet"])
    private.chmod(0o600)
    shown = subprocess.run(["ssh-keygen", "-y", "-f", str(private)], check=True, capture_output=True, text=True).stdout
    assert shown.split()[:2] == secrets["ssh_host_key.intranet.public"].split()[:2]


def test_other_kinds(run):
    wanted = [
        {"name": "a.hex", "kind": "hex", "length": 64},
        {"name": "a.pin", "length": 8, "alphabet": "digits"},
        {"name": "own.ca", "kind": "ca", "common_name": "Home"},
        {"name": "wg.key", "kind": "wireguard"},
    ]
    secrets = run(*wanted)["secrets"]
    assert int(secrets["a.hex"], 16) >= 0
    assert len(secrets["a.hex"]) == 64
    assert secrets["a.pin"].isdigit()
    assert secrets["own.ca.certificate"].startswith("-----BEGIN CERTIFICATE-----")
    assert len(secrets["wg.key.public"]) == 44
    assert run(*wanted)["secrets"] == secrets
    with pytest.raises(AnsibleActionFail, match=r"Unable to make secret x.y: a length of 4 is too short"):
        run({"name": "x.y", "length": 4})
    with pytest.raises(AnsibleActionFail, match=r"Unable to use secret ssh.key: it is no private key"):
        run({"name": "ssh.key", "kind": "ssh_ed25519"}, given={"ssh": {"key": "nonsense"}})


def test_flatten():
    assert vault.flatten({"a": {"b": "1", "c": {"d": 2}}, "e.f": "3", "empty": "", "none": None}) == {
        "a.b": "1",
        "a.c.d": "2",
        "e.f": "3",
    }
