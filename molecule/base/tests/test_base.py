# SPDX-License-Identifier: MIT
"""What a host of role base is like. Reads only."""

from __future__ import annotations

import re


def effective_ssh(host) -> dict[str, list[str]]:
    settings: dict[str, list[str]] = {}
    for line in host.check_output("/usr/sbin/sshd -T").splitlines():
        name, _space, value = line.partition(" ")
        settings.setdefault(name, []).append(value)
    return settings


def test_ssh_takes_keys_only(host):
    settings = effective_ssh(host)
    assert settings["passwordauthentication"] == ["no"]
    assert settings["kbdinteractiveauthentication"] == ["no"]
    assert settings["permitrootlogin"] == ["no"]
    assert settings["allowusers"] == ["ops"]


def test_ssh_answers_on_every_port(host):
    for port in (22, 2222):
        assert host.socket(f"tcp://0.0.0.0:{port}").is_listening


def test_scripts_have_a_folder_for_prometheus(host):
    folder = host.file("/var/lib/mediaserver/metrics")
    assert folder.is_directory
    assert (folder.mode, folder.user) == (0o755, "root")


def test_no_change_waits_for_a_confirmation(host):
    assert host.file("/var/lib/mediaserver/revert").listdir() == []
    assert "mediaserver-revert" not in host.check_output("systemctl list-units --all --plain --no-legend")
    assert not [name for name in host.file("/etc/systemd/system").listdir() if "revert" in name]


def test_time_zone(host):
    assert host.file("/etc/localtime").linked_to == "/usr/share/zoneinfo/Europe/Paris"


def test_journal_runs_with_its_limit(host):
    assert "SystemMaxUse=123M" in host.file("/etc/systemd/journald.conf.d/10-mediaserver.conf").content_string
    # what the running journald says, not what its file says
    log = host.check_output("journalctl --boot --unit=systemd-journald --output=cat")
    assert re.search(r"max 123(\.0)?M", log.splitlines()[-1]), log


def test_security_updates_install_themselves(host):
    configuration = host.check_output("apt-config dump")
    assert 'APT::Periodic::Unattended-Upgrade "1";' in configuration
    assert 'Unattended-Upgrade::Automatic-Reboot-Time "03:30";' in configuration
    assert "Debian-Security" in configuration


def test_administrator_becomes_root_without_a_password_and_has_none(host):
    assert host.file("/etc/sudoers.d/10-mediaserver").mode == 0o440
    host.check_output("visudo --check")
    assert host.user("ops").password in ("!", "*", "!*")
