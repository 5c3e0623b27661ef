# SPDX-License-Identifier: MIT
"""What a host of role fail2ban is like after an attack. Reads only."""

from __future__ import annotations


def test_jails(host):
    status = host.check_output("fail2ban-client status")
    for jail in ("sshd", "recidive", "mediaserver-login", "mediaserver-scan", "nginx-http-auth"):
        assert jail in status


def test_who_guessed_is_banned_and_who_is_trusted_is_not(host):
    banned = host.check_output("fail2ban-client banned")
    assert "198.51.100.7" in banned
    assert "198.51.100.8" in banned
    assert "10.1.2.3" not in banned


def test_bans_act_before_docker(host):
    rules = host.check_output("nft list table inet f2b-table")
    assert "hook prerouting priority dstnat - 1" in rules
    assert "tcp dport { 80, 443 } ip saddr @addr-set-mediaserver-login drop" in rules
    assert "hook input" not in rules


def test_sshd_is_read_from_the_journal(host):
    # Ubuntu's filter names another unit, and the program beside it
    match = host.check_output("fail2ban-client get sshd journalmatch")
    assert "_SYSTEMD_UNIT=ssh.service" in match or "_COMM=sshd" in match


def test_own_settings_are_merged(host):
    assert host.check_output("fail2ban-client get mediaserver-scan bantime") == "172800"


def test_runs_and_starts_at_boot(host):
    for unit in ("fail2ban.service", "mediaserver-fail2ban-logs.path"):
        assert host.service(unit).is_running
        assert host.service(unit).is_enabled
