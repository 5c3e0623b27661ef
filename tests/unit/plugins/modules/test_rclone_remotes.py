# SPDX-License-Identifier: MIT
"""rclone_remotes against a stand-in for rclone; against the real one: tests/integration/test_rclone_remotes.py."""

from __future__ import annotations

import copy
import json
import os

import pytest
from ansible.module_utils.basic import AnsibleModule
from ansible_collections.homelab.mediaserver.plugins.module_utils import _lock, _rclone_crypt, _rclone_host
from ansible_collections.homelab.mediaserver.plugins.module_utils._rclone_file import Document
from ansible_collections.homelab.mediaserver.plugins.modules import rclone_remotes
from ansible_collections.homelab.mediaserver.tests.unit.fakes.host_fake import run_module
from ansible_collections.homelab.mediaserver.tests.unit.fakes.rclone_fake import Rclone

PLANTED = "plantedSecret0123456789abcdefghi"  # 32 characters that rclone would take for obscured ones
TOKEN = {"access_token": "planted-access", "token_type": "Bearer", "refresh_token": "planted-refresh"}
RENEWED = '{"access_token":"newer","token_type":"Bearer","refresh_token":"newer still"}'
NAS = {"name": "nas", "type": "webdav", "options": {"url": "https://nas/dav", "user": "media", "pass": PLANTED}}
CLOUD = {"name": "cloud", "type": "onedrive", "options": {"drive_type": "personal", "token": TOKEN}}


class Home:
    def __init__(self, version, folder, monkeypatch):
        self.rclone, self.folder, self.monkeypatch = Rclone(version), folder, monkeypatch
        self.path = folder / "rclone" / "rclone.conf"

    def run(self, *remotes, check=False, **options):
        self.rclone.calls.clear()
        args = {"remotes": copy.deepcopy(list(remotes)), "path": str(self.path), **options}
        result = run_module(rclone_remotes, self.rclone, args, self.monkeypatch, check)
        assert len(self.rclone.calls) <= 3
        assert "planted" not in json.dumps([result, self.rclone.calls])
        return result

    def state(self):
        if not self.path.exists():
            return None
        status = self.path.stat()
        return self.path.read_bytes(), status.st_mtime_ns, status.st_ino, status.st_mode

    def order(self, *remotes, **options):
        """Check, run, check again, run again; the run's result."""
        before = self.state()
        predicted = self.run(*remotes, check=True, **options)
        assert predicted.get("changed"), predicted
        assert self.state() == before
        done = self.run(*remotes, **options)
        assert done.get("changed"), done
        assert done["diff"] == predicted["diff"]
        assert done["steps"] == predicted["steps"]
        written = self.state()
        for check in (True, False):
            again = self.run(*remotes, check=check, **options)
            assert (again.get("changed"), again["steps"]) == (False, [])
            assert again["diff"]["before"] == again["diff"]["after"]
            assert json.dumps(again["diff"]["after"]) == json.dumps(done["diff"]["after"]).replace(", changed", "")
            assert self.state() == written
        return done

    def write(self, text, mode=0o600):
        self.path.parent.mkdir(exist_ok=True)
        self.path.write_text(text)
        self.path.chmod(mode)

    def sections(self):
        return Document.parse(self.path.read_text()).sections()

    def plain(self, name, key):
        return _rclone_crypt.reveal(self.sections()[name][key])


@pytest.fixture(params=["1.60.1", "1.75.2"])
def home(request, tmp_path, monkeypatch):
    monkeypatch.setattr(_lock, "FOLDER", tmp_path / "lock")
    monkeypatch.setattr(AnsibleModule, "get_bin_path", lambda _self, name, *_more, **_options: name)
    return Home(request.param, tmp_path, monkeypatch)


def test_create_again_changed_absent_again(home):
    done = home.order(NAS, CLOUD)
    assert (done["created"], done["remotes"]) == (["nas", "cloud"], ["cloud", "nas"])
    assert done["diff"]["before"] == {"file": {"state": "absent"}, "remotes": {}}
    assert done["diff"]["after"]["remotes"]["nas"] == {
        "type": "webdav",
        "url": "https://nas/dav",
        "user": "media",
        "pass": "(secret)",
    }
    assert home.plain("nas", "pass") == PLANTED
    assert json.loads(home.sections()["cloud"]["token"]) == TOKEN
    assert home.path.stat().st_mode & 0o777 == 0o600
    assert home.path.parent.stat().st_mode & 0o777 == 0o700
    changed = copy.deepcopy(NAS)
    changed["options"].update({"pass": PLANTED[::-1], "vendor": "other", "user": None})
    done = home.order(changed)
    assert done["updated"] == ["nas"]
    assert done["steps"] == [f"write {home.path}: update remote nas (pass, vendor, user)"]
    assert done["diff"]["after"]["remotes"]["nas"] == {
        "type": "webdav",
        "url": "https://nas/dav",
        "pass": "(secret, changed)",
        "vendor": "other",
    }
    assert home.plain("nas", "pass") == PLANTED[::-1]
    assert "cloud" in home.sections()
    assert home.order({"name": "nas", "state": "absent"})["removed"] == ["nas"]
    assert list(home.sections()) == ["cloud"]


def test_a_file_is_not_made_for_nothing(home):
    result = home.run({"name": "nas", "state": "absent"})
    assert not result["changed"]
    assert not home.path.exists()


def test_no_options_at_all(home):
    home.order({"name": "home", "type": "onedrive"})
    assert home.sections() == {"home": {"type": "onedrive"}}


def test_what_is_not_managed_stays_to_the_letter(home):
    text = (
        "# mine\n[old]\ntype=alias\nremote : /x\n\n[nas]\ntype = webdav\n# yes\nurl = https://nas/dav\nvendor = next\n"
    )
    home.write(text)
    home.order(NAS)
    assert home.path.read_text().startswith(text)
    assert home.sections()["nas"]["vendor"] == "next"


def test_purge(home):
    home.write("[old]\ntype = alias\nremote = /x\n\n[older]\n")
    assert home.order(NAS, purge=True)["removed"] == ["old", "older"]
    assert list(home.sections()) == ["nas"]


def test_a_plain_secret_in_the_file_is_drift(home):
    home.order(NAS)
    home.write(home.path.read_text().replace(home.sections()["nas"]["pass"], PLANTED))
    home.order(NAS)
    assert home.plain("nas", "pass") == PLANTED


def test_a_secret_that_rclone_obscured_itself_is_no_drift(home):
    other = _rclone_crypt.obscure(PLANTED, "somewhere else")
    home.write(f"[nas]\ntype = webdav\nurl = https://nas/dav\nuser = media\npass = {other}\n")
    assert not home.run(NAS)["changed"]


def test_a_renewed_token_is_kept_unless_told_otherwise(home):
    home.order(CLOUD)
    home.write(home.path.read_text().replace(json.dumps(TOKEN, separators=(",", ":")), RENEWED))
    assert not home.run(CLOUD)["changed"]
    assert home.sections()["cloud"]["token"] == RENEWED
    home.order(CLOUD, update_token="always")
    assert json.loads(home.sections()["cloud"]["token"]) == TOKEN


def test_a_token_that_is_a_password_is_managed(home):
    if home.rclone.version == "1.60.1":
        pytest.skip("1.60 has no linkbox")
    box = {"name": "box", "type": "linkbox", "options": {"token": "planted-1", "email": "a@b", "password": "planted"}}
    home.order(box)
    box["options"]["token"] = "planted-2"
    home.order(box)
    assert home.sections()["box"]["token"] == "planted-2"


def test_oauth_of_a_backend_that_1_60_does_not_list(home):
    home.order({"name": "jotta", "type": "jottacloud", "options": {"token": json.dumps(TOKEN, indent=2)}})
    assert json.loads(home.sections()["jotta"]["token"]) == TOKEN


def test_values_are_compared_by_what_they_mean(home):
    home.write("[s]\ntype = sftp\nhost = h\nport = 022\nset_modtime = T\n\n[g]\ntype = gcs\nbucket_policy_only = 1\n")
    wanted = {"name": "s", "type": "sftp", "options": {"host": "h", "port": 22, "set_modtime": True}}
    cloud = {"name": "g", "type": "google cloud storage", "options": {"bucket_policy_only": "true"}}
    assert not home.run(wanted, cloud)["changed"]
    wanted["options"]["set_modtime"] = False
    home.order(wanted, cloud)
    assert home.sections()["s"]["set_modtime"] == "false"


def test_lists(home):
    dav = {"name": "d", "type": "webdav", "options": {"url": "https://h", "headers": ["Cookie", "planted=a,b"]}}
    union = {"name": "u", "type": "union", "options": {"upstreams": ["a:", "b:with space"]}}
    home.order(dav, union)
    assert home.sections()["d"]["headers"] == 'Cookie,"planted=a,b"'
    assert home.sections()["u"]["upstreams"] == 'a: "b:with space"'


def test_all_mistakes_at_once_and_no_values(home):
    result = home.run(
        {"name": "a", "type": "webdavv", "options": {"url": "x"}},
        {"name": "b", "type": "crypt", "options": {"pasword": "planted", "remote": "a:", "show_mapping": "planted"}},
        {"name": "c", "type": "alias", "options": {"remote": "planted\n[evil]", "type": "x"}},
        {"name": "d:", "type": "alias", "options": {"remote": "/x"}},
        {"name": "e"},
        {"name": "e", "state": "absent"},
        {"name": "f", "type": "sftp", "options": {"host": "h", "port": "planted", "chunk_size": "planted"}},
    )
    for text in (
        "a: rclone has no backend webdavv (near: webdav)",
        "b: backend crypt has no option pasword (near: password, password2)",
        "b: show_mapping is no boolean",
        "c: remote cannot be kept: it holds a line break",
        "c: type cannot be an option",
        "d:: rclone takes no remote of this name",
        "e: it has no type",
        "e: it is listed twice",
        "f: port is no whole number",
        "f: chunk_size is no size",
    ):
        assert text in result["msg"], text
    assert result.failed
    assert not home.path.exists()


def test_required_options(home):
    assert (
        "a: backend crypt requires remote; a: backend crypt requires password"
        in home.run({"name": "a", "type": "crypt"})["msg"]
    )
    koofr = {"name": "k", "type": "koofr", "options": {"provider": "other", "user": "u", "password": "planted"}}
    assert home.run(koofr)["msg"].endswith("k: backend koofr requires endpoint")
    koofr["options"]["provider"] = "koofr"
    home.order(koofr)
    koofr["options"] = {"password": ""}
    assert "k: backend koofr requires password" in home.run(koofr)["msg"]
    home.order(
        {
            "name": "a",
            "type": "crypt",
            "strict": False,
            "options": {"nobody_knows": None, "remote": "y:", "override.x": "1"},
        }
    )


def test_names_are_those_that_this_rclone_takes(home):
    result = home.run({"name": "fotos@häuschen", "type": "alias", "options": {"remote": "/x"}})
    assert result.failed == (home.rclone.version == "1.60.1")


def test_another_type_needs_a_word(home):
    home.order(NAS)
    other = {"name": "nas", "type": "alias", "options": {"remote": "/x"}}
    assert "nas: it is of type webdav, not alias; replace=true makes it anew" in home.run(other)["msg"]
    home.order(other, replace=True)
    assert home.sections() == {"nas": {"type": "alias", "remote": "/x"}}


def test_addresses_with_passwords_are_hidden(home):
    home.order(
        {"name": "a", "type": "webdav", "options": {"url": "https://me:planted@h/"}},
        {"name": "b", "type": "azureblob", "options": {"account": "x", "sas_url": "https://x/?sig=planted"}},
        {"name": "c", "type": "azureblob", "options": {"account": "x", "key": "planted"}},
        {"name": "d", "type": "alias", "options": {"remote": ":sftp,host=h,pass=planted:/x"}},
    )


def test_encrypted(home):
    home.order(NAS)
    done = home.order(NAS, config_password="planted pw")
    assert done["steps"] == [f"write {home.path}: encrypted True"]
    assert home.path.read_text().startswith("# Encrypted rclone configuration File")
    home.order(NAS, CLOUD, config_password="planted pw")
    text = _rclone_crypt.decrypt_file(home.path.read_text(), "planted pw")
    assert list(Document.parse(text).sections()) == ["nas", "cloud"]
    for password, message in (
        (None, "no password for it is given"),
        ("x", "another password"),
        (" x", "begins or ends"),
    ):
        result = home.run(NAS, **({} if password is None else {"config_password": password}))
        assert result["msg"].startswith(f"Unable to read {home.path}: ")
        assert message in result["msg"]


def test_mode_and_owner(home):
    home.order(NAS)
    home.path.chmod(0o644)
    assert home.order(NAS)["steps"] == [f"write {home.path}: mode 0600"]
    home.order(NAS, mode="0640")
    same = {"owner": str(os.getuid()), "group": str(os.getgid())}
    assert not home.run(NAS, mode="0640", **same)["changed"]
    stranger = {"mode": "0640", "owner": "nobody-of-this-name"}
    assert home.run(NAS, check=True, **stranger)["changed"]
    assert home.run(NAS, **stranger)["msg"].endswith("there is no user or group nobody-of-this-name")


def test_a_symbolic_link_is_followed(home):
    real = home.folder / "real.conf"
    real.write_text("")
    real.chmod(0o600)
    home.path.parent.mkdir()
    home.path.symlink_to(real)
    home.order(NAS)
    assert home.path.is_symlink()
    assert "[nas]" in real.read_text()


def test_without_rclone(home):
    home.monkeypatch.setattr(AnsibleModule, "get_bin_path", lambda _self, _name, *_more, **_options: None)
    predicted = home.run(NAS, check=True)
    assert predicted["steps"][0] == "use rclone, which is not installed"
    assert "not installed" in home.run(NAS)["msg"]
    assert not home.path.exists()


@pytest.mark.parametrize(
    ("words", "answer", "message"),
    [
        ("config providers", (1, "", "no such command\n"), "Unable to ask rclone for its backends: no such command"),
        ("config providers", (2, "", ""), "Unable to ask rclone for its backends: rclone ended with 2"),
        ("config providers", "<html>", "Unable to ask rclone for its backends: its answer is no JSON"),
        ("config dump", (1, "", "Failed to load"), "Failed to load"),
        ("config dump", "{}", "otherwise than wanted: nas"),
        ("config dump", json.dumps({"nas": {"type": "webdav", "url": "x"}}), "wanted: nas url, nas user, nas pass"),
    ],
)
def test_when_rclone_fails(home, words, answer, message):
    home.rclone.answers[words] = answer
    assert message in home.run(NAS)["msg"]


def test_a_file_that_is_none(home):
    home.write("planted nonsense\n")
    assert home.run(NAS)["msg"] == f"Unable to read {home.path}: line 1 is neither a section nor an option"


def test_a_killed_rclone_is_told(home):
    home.write("")
    home.path.rename(home.path.with_name("rclone.conf.old123"))
    assert "rclone.conf.old123" in home.run(NAS)["msg"]


def meanwhile(home, change, moment="locked"):
    """Somebody else writes just before a call of the host's method ``moment`` goes on."""
    real = getattr(_rclone_host.Host, moment)

    def late(self, *args):
        change()
        return real(self, *args)

    home.monkeypatch.setattr(_rclone_host.Host, moment, late)


def test_a_token_renewed_meanwhile_is_kept(home):
    home.order(CLOUD)
    old = home.path.read_text()
    meanwhile(home, lambda: home.write(old.replace(json.dumps(TOKEN, separators=(",", ":")), RENEWED)))
    assert home.run(NAS)["changed"]
    assert home.sections()["cloud"]["token"] == RENEWED
    assert home.plain("nas", "pass") == PLANTED


def test_remotes_changed_meanwhile_are_not_overwritten(home):
    home.order(CLOUD)
    meanwhile(home, lambda: home.write("[new]\ntype = alias\nremote = /x\n"))
    assert "its remotes were changed meanwhile; run again" in home.run(NAS, purge=True)["msg"]
    assert list(home.sections()) == ["new"]


def test_written_in_the_last_instant_fails(home):
    home.order(CLOUD)
    meanwhile(home, lambda: home.write("[new]\n"), "write")
    assert "wrote it meanwhile; run again" in home.run(NAS)["msg"]
    assert list(home.sections()) == ["new"]
    assert [path.name for path in home.path.parent.iterdir()] == ["rclone.conf"]


@pytest.mark.parametrize("call", ["fsync", "fchmod", "fchown"])
def test_a_failed_write_leaves_the_old_file(home, call):
    home.order(CLOUD)
    before = home.state()

    def broken(*_args):
        raise OSError(28, "No space left on device")

    with home.monkeypatch.context() as patch:
        patch.setattr(os, call, broken)
        assert home.run(NAS)["msg"] == f"Unable to write {home.path}: No space left on device"
    assert home.state() == before
    home.order(NAS)
    assert [path.name for path in home.path.parent.iterdir()] == ["rclone.conf"]


def test_the_unreadable(home):
    home.path.mkdir(parents=True)
    assert home.run(NAS)["msg"] == f"Unable to read {home.path}: Is a directory"
