# SPDX-License-Identifier: MIT
"""What a host of role openvpn is like with one device locked out. Reads only."""

from __future__ import annotations


def test_keys_are_roots_alone(host):
    for path, mode in (
        ("/etc/openvpn/pki", 0o700),
        ("/etc/openvpn/pki/private/ca.key", 0o600),
        ("/etc/openvpn/server/tls-crypt.key", 0o600),
    ):
        assert (host.file(path).mode, host.file(path).user) == (mode, "root")


def test_profiles(host):
    assert host.file("/etc/openvpn/profiles").listdir() == ["laptop.ovpn"]
    profile = host.file("/etc/openvpn/profiles/laptop.ovpn")
    assert profile.mode == 0o600
    for part in ("remote 198.51.100.1 1194", "<ca>", "<cert>", "<key>", "<tls-crypt>", "remote-cert-tls server"):
        assert part in profile.content_string


def test_revoked_certificate_is_on_the_published_list(host):
    text = host.check_output("openssl crl -in /etc/openvpn/server/crl.pem -noout -text")
    assert text.count("Serial Number:") == 1
    assert host.file("/etc/openvpn/server/crl.pem").mode == 0o644


def test_server_runs_and_starts_at_boot(host):
    assert host.service("openvpn-server@server").is_running
    assert host.service("openvpn-server@server").is_enabled
    assert host.socket("udp://0.0.0.0:1194").is_listening


def test_clients_are_judged_before_they_take_this_hosts_address(host):
    rules = host.check_output("nft list table inet mediaserver_vpn")
    assert "hook forward priority filter - 5" in rules
    assert (
        rules.index("192.168.77.101 tcp dport 8096 accept")
        < rules.index("192.168.77.101 drop")
        < rules.index("192.168.77.0/24 accept")
    )


def test_forwarding_stays_after_a_boot(host):
    assert host.sysctl("net.ipv4.ip_forward") == 1
    assert "net.ipv4.ip_forward=1" in host.file("/etc/sysctl.d/60-mediaserver-vpn.conf").content_string.replace(" ", "")


def test_prometheus_learns_when_the_certificate_ends(host):
    text = host.file("/var/lib/mediaserver/metrics/openvpn.prom").content_string
    line = next(line for line in text.splitlines() if line.startswith("mediaserver_certificate_end"))
    assert int(line.split()[-1]) > 1_790_000_000
