# SPDX-License-Identifier: MIT
"""What a host of role ddclient is like after the address has changed once. Reads only."""

from __future__ import annotations


def test_password_is_roots_alone(host):
    file = host.file("/etc/ddclient.conf")
    assert (file.mode, file.user) == (0o600, "root")


def test_each_name_was_sent_once_for_each_address(host):
    asked = host.file("/root/asked.log").content_string
    for name in ("example.org", "vpn.example.org"):
        for address in ("198.51.100.7", "198.51.100.9"):
            assert (
                asked.count(f"hostname={name}&myip={address} Basic ZXhhbXBsZS5vcmctaG9tZTptb2xlY3VsZS1ub3Qtc2VjcmV0")
                == 1
            )


def test_cache_says_good(host):
    cache = host.file("/var/cache/ddclient/ddclient.cache").content_string
    assert cache.count("ip=198.51.100.9") == 2
    assert cache.count("status=good") == 2


def test_the_given_authority_is_trusted(host):
    assert "ssl_ca_file=/etc/mediaserver/ddclient-ca.pem" in host.file("/etc/ddclient.conf").content_string
    authority = host.file("/etc/mediaserver/ddclient-ca.pem")
    assert authority.content_string.strip() == host.file("/root/ca.pem").content_string.strip()
    assert authority.mode == 0o644


def test_daemon_runs_and_starts_at_boot(host):
    assert host.service("ddclient").is_running
    assert host.service("ddclient").is_enabled
