# SPDX-License-Identifier: MIT
"""Who reaches what, asked from the neighbours that prepare.yml made. Reads only."""

from __future__ import annotations

import pytest

LAN4, LAN6 = "10.90.1.1", "fd90:1::1"
WAN4, WAN6 = "10.90.2.1", "fd90:2::1"
BOX4, BOX6 = "10.90.3.2", "fd90:3::2"

OPEN = [
    ("lan", LAN4, 8096),
    ("lan", LAN6, 8096),
    ("lan", LAN4, 8097),
    ("wan", WAN4, 8097),
    ("wan", WAN6, 8097),
    ("lan", LAN4, 9100),
    ("lan", LAN6, 9100),
    ("wan", WAN4, 22),
    ("box", "10.90.3.1", 22),
]
CLOSED = [
    ("wan", WAN4, 8096),  # published, opened to the LAN only
    ("wan", WAN6, 8096),
    ("wan", LAN4, 8096),  # the LAN's address of the machine, asked from outside
    ("lan", LAN4, 8098),  # waits for its application's administrator
    ("wan", WAN4, 8098),
    ("lan", LAN4, 8099),  # published, opened to nobody
    ("wan", WAN4, 8099),
    ("wan", WAN6, 8099),
    ("lan", BOX4, 8096),  # routed straight to the container
    ("lan", BOX6, 8096),
    ("wan", BOX4, 8097),
    ("wan", WAN4, 9100),  # the host's own
    ("wan", WAN6, 9100),
    ("lan", LAN4, 9101),
]


@pytest.fixture(scope="module")
def reached(host) -> set[tuple[str, str, int]]:
    """Everything asked at once: a closed port answers by silence."""
    asked = [f"(ip netns exec {z} nc -z -w 2 {a} {p} && echo {z} {a} {p}) & " for z, a, p in (*OPEN, *CLOSED)]
    answers = (line.split() for line in host.check_output("".join(asked) + "wait").splitlines())
    return {(zone, address, int(port)) for zone, address, port in answers}


@pytest.mark.parametrize(("zone", "address", "port"), OPEN)
def test_open(reached, zone, address, port):
    assert (zone, address, port) in reached


@pytest.mark.parametrize(("zone", "address", "port"), CLOSED)
def test_closed(reached, zone, address, port):
    assert (zone, address, port) not in reached


def test_nothing_waits_for_a_confirmation(host):
    assert host.file("/var/lib/mediaserver/revert").listdir() == []
    assert "mediaserver-revert" not in host.check_output("systemctl list-units --all --plain --no-legend")
    assert not [name for name in host.file("/etc/systemd/system").listdir() if "revert" in name]


def test_both_firewalls_come_back_at_boot_and_before_docker(host):
    assert host.service("ufw").is_enabled
    assert host.service("mediaserver-container-firewall").is_enabled
    assert not host.service("nftables").is_enabled
    unit = host.check_output("systemctl show --property=Before mediaserver-container-firewall.service")
    assert "network-pre.target" in unit
    assert "docker.service" in unit
    link = "/etc/systemd/system/docker.service.requires/mediaserver-container-firewall.service"
    assert host.file(link).is_symlink
