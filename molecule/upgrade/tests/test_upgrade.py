# SPDX-License-Identifier: MIT
"""What a host is like after an upgrade that succeeded and several that did not. Reads only."""

from __future__ import annotations

import json

ROOT = "/opt/mediaserver/services"


def test_the_last_good_version_runs_on_its_data(host):
    form = "{{.Config.Image}} {{.State.Status}} {{.RestartCount}}"
    assert host.check_output(f"docker inspect --format '{form}' box-main-1") == "localhost/box:2.0 running 0"
    assert host.file("/srv/data/box/note").content_string == "precious\n"
    assert host.file("/srv/data/box/note").mode == 0o640
    assert host.file("/srv/data/box/version").content_string == "two\n"
    assert host.service("mediaserver-box.service").is_running


def test_the_state_before_the_good_upgrade_is_kept(host):
    (kept,) = host.check_output("ls -d /srv/data/box.before-*").splitlines()
    assert host.file(f"{kept}/note").content_string == "precious\n"
    assert not host.file(f"{kept}/version").exists
    (project,) = host.check_output(f"ls -d {ROOT}/.before/*").splitlines()
    assert "localhost/box:1.0" in host.file(f"{project}/compose.yaml").content_string


def test_what_failed_lies_aside(host):
    failed = host.check_output("ls -d /srv/data/box.failed-*").splitlines()
    assert len(failed) == 2, "one that failed, one that was interrupted"
    assert not host.file(f"{failed[0]}/note").exists


def test_the_journal_says_how_it_ended(host):
    told = json.loads(host.file("/var/lib/mediaserver/upgrade/box.json").content_string)
    assert (told["state"], told["reason"]) == ("returned", "the upgrade was interrupted")
    assert [path for path in told["old"] if ".before-" in path and "/data/" in path]
    assert "kept: /" in host.check_output("mediaserver-upgrade status")


def test_nothing_is_left_on_the_way(host):
    assert host.check_output("find /srv/data -name '.upgrading*'") == ""
    assert host.service("mediaserver-upgrade.service").is_enabled
