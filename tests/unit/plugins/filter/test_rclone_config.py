# SPDX-License-Identifier: MIT
"""What Windows gets; that rclone reads it is shown in tests/integration/test_rclone_remotes.py."""

from __future__ import annotations

import json

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.homelab.mediaserver.plugins.filter import rclone_config as filters
from ansible_collections.homelab.mediaserver.plugins.module_utils import _rclone_crypt as crypt
from ansible_collections.homelab.mediaserver.plugins.module_utils._rclone_backends import PASSWORDS, from_providers
from ansible_collections.homelab.mediaserver.plugins.module_utils._rclone_file import Document
from ansible_collections.homelab.mediaserver.tests.unit.fakes.rclone_fake import PROVIDERS

rclone_config = filters.FilterModule().filters()["rclone_config"]
PROVIDED = json.dumps(PROVIDERS["1.75.2"])
NAS = {"name": "nas", "type": "webdav", "options": {"url": "https://nas/dav", "pass": "planted"}}
TOKEN = '{"access_token":"a","refresh_token":"planted"}'
CLOUD = {"name": "cloud", "type": "onedrive", "options": {"drive_type": "personal", "token": TOKEN}}


@pytest.fixture
def warnings(monkeypatch):
    found = []
    monkeypatch.setattr(filters.Display, "warning", lambda _self, text, *_more, **_options: found.append(text))
    return found


def test_made_again_and_changed(warnings):
    text = rclone_config([NAS, CLOUD], "", PROVIDED)
    assert crypt.reveal(Document.parse(text).sections()["nas"]["pass"]) == "planted"
    assert rclone_config([NAS, CLOUD], text, PROVIDED) == text
    assert rclone_config([{"name": "nas", "state": "absent"}], text, PROVIDED) == text[text.index("[cloud]") :]
    assert rclone_config([CLOUD], text, PROVIDED, purge=True) == text[text.index("[cloud]") :]
    assert warnings == []


def test_what_rclone_renewed_on_the_host_is_kept():
    text = rclone_config([CLOUD], "", PROVIDED).replace("planted", "newer").replace("\n", "\r\n")
    assert rclone_config([CLOUD], text, PROVIDED) == text
    added = rclone_config([NAS, CLOUD], text, PROVIDED)
    assert added.startswith(text)
    assert "newer" in added
    assert "planted" in rclone_config([CLOUD], text, PROVIDED, update_token="always")


def test_without_providers_passwords_are_obscured_and_the_rest_is_not_checked(warnings):
    nas = {**NAS, "options": {**NAS["options"], "vendr": "x"}}
    text = rclone_config([nas], "")
    assert crypt.reveal(Document.parse(text).sections()["nas"]["pass"]) == "planted"
    assert "vendr = x" in text
    assert len(warnings) == 1
    with pytest.raises(AnsibleFilterError, match="no option vendr \\(near: vendor\\)"):
        rclone_config([nas], "", PROVIDED)


@pytest.mark.parametrize("version", sorted(PROVIDERS))
def test_the_list_of_obscured_options_holds_all_that_rclone_obscures(version):
    for name, backend in from_providers(PROVIDERS[version]).by_name.items():
        obscured = {option.name for option in backend.options.values() if option.password}
        assert obscured <= set(PASSWORDS.get(name, ())), name


def test_encrypted():
    text = rclone_config([NAS], "", PROVIDED, config_password="pw")
    assert crypt.is_encrypted(text)
    assert rclone_config([NAS], text, PROVIDED, config_password="pw") == text
    both = rclone_config([NAS, CLOUD], text, PROVIDED, config_password="pw")
    assert list(Document.parse(crypt.decrypt_file(both, "pw")).sections()) == ["nas", "cloud"]
    with pytest.raises(AnsibleFilterError, match="no password for it is given"):
        rclone_config([NAS], text, PROVIDED)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([NAS], "planted"), "Unable to read the current rclone.conf: line 1"),
        (([{"type": "x"}], ""), r"malformed \(KeyError\)"),
        (([NAS], "", "planted no json"), "malformed"),
        (([NAS], "", None, False, False, "never"), "on_create or always"),
    ],
)
def test_mistakes_show_no_values(arguments, message, warnings):
    with pytest.raises(AnsibleFilterError, match=message) as caught:
        rclone_config(*arguments)
    assert "planted" not in str(caught.value)
