# SPDX-License-Identifier: MIT
"""UFW's own words (recorded from ufw 0.36.2 on Debian 13) and ours."""

from __future__ import annotations

import pytest
from ansible_collections.homelab.mediaserver.plugins.module_utils._reconcile import Failure
from ansible_collections.homelab.mediaserver.plugins.module_utils._ufw import (
    Rule,
    canonical_network,
    comment_for,
    parse_added,
    parse_settings,
    parse_status,
    set_ipv6,
    wanted_rules,
)

# what `ufw show added` printed after the command
RECORDED = [
    (
        "allow from 192.168.1.0/24 to any port 22 proto tcp comment 'mediaserver: x'",
        Rule("192.168.1.0/24", "22", "tcp"),
    ),
    ("allow from 10.0.0.5 to any port 9100 comment 'mediaserver: x'", Rule("10.0.0.5", "9100")),
    (
        "allow in on eth0 to any port 53 proto udp comment 'mediaserver: x'",
        Rule(port="53", protocol="udp", interface="eth0"),
    ),
    ("allow 443/tcp comment 'mediaserver: x'", Rule(port="443", protocol="tcp")),
    ("allow 445 comment 'mediaserver: x'", Rule(port="445")),
    ("allow from 10.8.0.0/24 comment 'mediaserver: x'", Rule("10.8.0.0/24")),
    ("allow 8000:8010/tcp", Rule(port="8000:8010", protocol="tcp")),
    (
        "route allow in on tun0 out on eth0 from 10.8.0.0/24 to 192.168.1.0/24 comment 'mediaserver: x'",
        Rule("10.8.0.0/24", interface="tun0", route=True, to="192.168.1.0/24", interface_out="eth0"),
    ),
    ("allow in on wg0 comment 'mediaserver: x'", Rule(interface="wg0")),
    ("allow from fd00:1::/64 to any port 22 proto tcp comment 'mediaserver: x'", Rule("fd00:1::/64", "22", "tcp")),
    ("deny 80/tcp", None),
    ("limit OpenSSH", None),
    ("allow OpenSSH", None),
    ("allow out 53/udp", None),
    ("allow out on eth0 to any port 53", None),
    ("allow from 10.0.0.1 port 53 to any", None),
]


@pytest.mark.parametrize(("line", "rule"), RECORDED)
def test_listed_rules(line, rule):
    (added,) = parse_added(f"Added user rules (see 'ufw status' for running firewall):\nufw {line}\n")
    assert added.rule == rule
    assert added.own == ("mediaserver:" in line)


def test_no_rules():
    assert parse_added("Added user rules (see 'ufw status' for running firewall):\n(None)\n") == []


def test_deletion_repeats_the_listed_words():
    added, routed = parse_added("ufw deny 80/tcp comment 'it is mine'\nufw route allow in on tun0 from 10.8.0.0/24\n")
    assert added.delete_argv() == ["--force", "delete", "deny", "80/tcp"]
    assert routed.delete_argv() == ["--force", "route", "delete", "allow", "in", "on", "tun0", "from", "10.8.0.0/24"]


@pytest.mark.parametrize(
    ("value", "canonical"),
    [
        ("any", "any"),
        ("0.0.0.0/0", "any"),
        ("::/0", "any"),
        ("192.168.1.7/24", "192.168.1.0/24"),
        ("10.0.0.5/32", "10.0.0.5"),
        ("FD00:0:0:1::/64", "fd00:0:0:1::/64"),
        ("fd00::5/128", "fd00::5"),
    ],
)
def test_one_form_of_each_network(value, canonical):
    assert canonical_network(value) == canonical


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"from": "lan"}, "source lan"),
        ({"from": "any", "port": "0"}, "port 0 is no port"),
        ({"from": "any", "port": "65536"}, "port 65536"),
        ({"from": "any", "port": "http"}, "port http"),
        ({"from": "any", "port": "80:90"}, "needs protocol"),
        ({"from": "any", "interface_out": "eth0"}, "needs route"),
    ],
)
def test_rules_that_cannot_be(rule, message):
    with pytest.raises(Failure, match=message):
        wanted_rules([rule])


def test_equal_rules_are_one():
    wanted = wanted_rules(
        [{"from": "any", "port": 80, "comment": "a"}, {"from": "0.0.0.0/0", "port": "80", "comment": "b"}]
    )
    assert wanted == {Rule(port="80"): "mediaserver: a"}


def test_comments_hold_nothing_that_ufw_refuses():
    assert comment_for('the owner\'s\n"own"  rule') == "mediaserver: the owner s own rule"
    assert comment_for("") == "mediaserver:"


def test_status():
    active = "Status: active\nLogging: on (low)\nDefault: deny (incoming), allow (outgoing), disabled (routed)\n"
    assert parse_status(active) == {"active": "yes", "logging": "low", "incoming": "deny", "outgoing": "allow"}
    assert parse_status("Status: active\nLogging: off\n")["logging"] == "off"
    assert parse_status("Status: inactive\n") == {"active": "no"}


def test_settings_and_ipv6():
    policies = 'DEFAULT_INPUT_POLICY="DROP"\nDEFAULT_OUTPUT_POLICY="ACCEPT"\nDEFAULT_FORWARD_POLICY="REJECT"\n'
    default = f"# a comment\nIPV6=no\n{policies}"
    assert parse_settings(default, "ENABLED=yes\nLOGLEVEL=medium\n") == {
        "incoming": "deny",
        "outgoing": "allow",
        "routed": "reject",
        "logging": "medium",
        "ipv6": "no",
        "enabled": "yes",
    }
    assert parse_settings(set_ipv6(default, "yes"), "")["ipv6"] == "yes"
    assert set_ipv6("X=1\n", "yes") == "X=1\nIPV6=yes\n"
