# SPDX-License-Identifier: MIT
from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.homelab.mediaserver.plugins.filter.rclone_secrets import FilterModule

rclone_secrets = FilterModule().filters()["rclone_secrets"]


def test_secrets_become_options_and_their_names_go():
    remotes = [{"name": "a", "type": "webdav", "options": {"url": "u"}, "secrets": {"pass": "rclone.a_pass"}}]
    assert rclone_secrets(remotes, {"rclone.a_pass": "x", "other": "y"}) == [
        {"name": "a", "type": "webdav", "options": {"url": "u", "pass": "x"}}
    ]
    assert "secrets" in remotes[0], "what was given is not changed"


def test_a_remote_without_secrets_stays():
    assert rclone_secrets([{"name": "a", "state": "absent"}], {}) == [{"name": "a", "state": "absent", "options": {}}]


def test_a_missing_one_is_named_and_no_value_is_shown():
    with pytest.raises(AnsibleFilterError, match=r"remote a: no secret rclone\.a_pass") as error:
        rclone_secrets([{"name": "a", "secrets": {"pass": "rclone.a_pass"}}], {"b": "hush"})
    assert "hush" not in str(error.value)
