# SPDX-License-Identifier: MIT
from __future__ import annotations

import subprocess

import pytest
from ansible_collections.homelab.mediaserver.plugins.modules import proxmox_firewall_guard as guard
from ansible_collections.homelab.mediaserver.tests.unit.fakes.host_fake import Commands, deadman_in, run_module

LAN = [
    {"action": "ACCEPT", "proto": "tcp", "dport": "22", "source": "192.168.1.0/24"},
    {"action": "ACCEPT", "proto": "tcp", "dport": "8006", "source": "192.168.1.0/24"},
]


@pytest.fixture
def run(tmp_path, monkeypatch):
    deadman_in(tmp_path, guard, monkeypatch=monkeypatch)

    def go(*rules, check=False, connection="192.168.1.50 40000 192.168.1.100 22", fake=None, **args):
        monkeypatch.setenv("SSH_CONNECTION", connection)
        monkeypatch.setattr(guard, "PROC", tmp_path / "proc")
        return run_module(guard, fake or Commands(), {"node": "pve", "rules": list(rules), **args}, monkeypatch, check)

    return go


def test_check_then_arm(run, tmp_path):
    checked = run(*LAN, check=True)
    assert (checked["changed"], checked["revert"], checked["controller"]) == (True, None, "192.168.1.50")
    assert not (tmp_path / "revert").exists()
    fake = Commands()
    done = run(*LAN, fake=fake)
    assert done["revert"] == {
        "name": "pve-firewall",
        "id": (tmp_path / "revert/pve-firewall/armed").read_text().strip(),
    }
    assert "systemctl restart mediaserver-revert-pve-firewall.timer" in fake.writes
    assert "OnActiveSec=90\n" in (tmp_path / "units/mediaserver-revert-pve-firewall.timer").read_text()


def test_armed_again_by_a_run_after_a_killed_one(run, tmp_path):
    first = run(*LAN)
    again = run(*LAN)
    assert again["diff"]["before"] == {"armed": True}
    assert again["revert"]["id"] != first["revert"]["id"]


@pytest.mark.parametrize(
    ("rules", "words"),
    [
        ([], "22 (SSH) and 8006 (API)"),
        (LAN[:1], "at port 8006 (API)"),
        ([{**rule, "source": "10.0.0.0/8"} for rule in LAN], "do not let in 192.168.1.50"),
        ([{"action": "DROP", "source": "192.168.1.50"}, *LAN], "22 (SSH) and 8006 (API)"),
        ([{**rule, "enable": False} for rule in LAN], "22 (SSH)"),
        ([{**rule, "source": "+friends"} for rule in LAN], "22 (SSH)"),
        ([{**LAN[0], "proto": "udp"}, LAN[1]], "at port 22 (SSH)"),
        ([{**LAN[0], "iface": "vmbr1"}, LAN[1]], "at port 22 (SSH)"),
    ],
)
def test_who_would_be_locked_out_is_told_before(run, tmp_path, rules, words):
    done = run(*rules)
    assert done.failed and words in done["msg"] and "`reach`" in done["msg"]
    assert not (tmp_path / "revert").exists()


@pytest.mark.parametrize(
    "rules",
    [
        LAN,
        [{"action": "ACCEPT"}],
        [{"action": "ACCEPT", "proto": "tcp", "dport": "22,8000:8010", "source": "192.168.1.40-192.168.1.60"}],
        [{"action": "ACCEPT", "macro": "SSH"}, LAN[1]],
        [{"action": "ACCEPT", "macro": "DNS", "source": "192.168.1.50"}, *LAN],
        [{"action": "DROP", "source": "192.168.2.0/24"}, *LAN],
        [{**rule, "source": "10.8.0.0/24,192.168.1.50"} for rule in LAN],
    ],
)
def test_who_gets_in_is_let_in(run, rules):
    assert run(*rules)["revert"]


def test_another_ssh_port_and_ipv6(run):
    rules = [
        {"action": "ACCEPT", "proto": "tcp", "dport": "2222", "source": "fd00::/64"},
        {**LAN[1], "source": "fd00::/64"},
    ]
    assert run(*rules, connection="fd00::5%eth0 40000 fd00::1 2222")["controller"] == "fd00::5"
    assert run(*LAN, connection="::ffff:192.168.1.50 40000 ::ffff:192.168.1.100 22")["controller"] == "192.168.1.50"


def test_without_ssh_the_rules_cannot_be_judged(run):
    assert run(*LAN, connection="")["controller"] == ""


def test_the_connection_is_found_above_sudo(tmp_path):
    for pid, parent, environment in (
        (30, 20, b"SUDO_USER=ops"),
        (20, 10, b"A=1\0SSH_CONNECTION=10.0.0.9 1 10.0.0.1 22"),
    ):
        folder = tmp_path / str(pid)
        folder.mkdir()
        (folder / "environ").write_bytes(environment + b"\0")
        (folder / "status").write_text(f"Name:\tx\nPPid:\t{parent}\n")
    assert guard.connection(tmp_path, 30) == "10.0.0.9 1 10.0.0.1 22"
    assert guard.controller_of(guard.connection(tmp_path, 30)) == ("10.0.0.9", 22)
    assert guard.connection(tmp_path, 99) == ""


def test_a_strange_name_is_refused(run):
    assert "no name of a node" in run(*LAN, node="pve; reboot")["msg"]


def test_systemd_that_fails_is_told(run):
    fake = Commands()
    fake.fail["systemctl restart"] = "no such unit"
    assert "Unable to arm the revert of pve-firewall" in run(*LAN, fake=fake)["msg"]


@pytest.mark.parametrize(("after", "off"), [("old", False), ("new", True), (None, True)])
def test_what_did_not_come_back_switches_the_firewall_off(tmp_path, after, off):
    """The last command of the revert, run by a real shell."""
    live = tmp_path / "cluster.fw"
    saved = tmp_path / f"files{guard.CLUSTER}"
    saved.parent.mkdir(parents=True)
    saved.write_text("old")
    if after:
        live.write_text(after)
    argv = guard.fallback("pve")[0]
    script = argv[2].replace(f" {guard.CLUSTER};", f" {live};").replace("pvesh set", "echo set")
    done = subprocess.run([*argv[:2], script], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert (done.stdout == "set /cluster/firewall/options --enable 0\n") is off
