# SPDX-License-Identifier: MIT
from __future__ import annotations

import shlex

import pytest
from ansible_collections.homelab.mediaserver.plugins.modules import ufw_rules
from ansible_collections.homelab.mediaserver.tests.unit.fakes.host_fake import (
    Commands,
    deadman_in,
    files_below,
    run_module,
)

SSH = {"from": "192.168.1.0/24", "port": "22", "protocol": "tcp", "comment": "ssh"}
WEB = {"from": "any", "port": "443", "protocol": "tcp", "comment": "web"}


class Ufw(Commands):
    """ufw as recorded: short forms for rules without a source, comments replaced by adding again."""

    def __init__(self, root) -> None:
        super().__init__()
        self.rules: dict[str, str] = {}
        self.root, self.loaded, self.reloads = root, False, 0
        (root / "ufw.conf").write_text("ENABLED=no\nLOGLEVEL=low\n")
        (root / "default").write_text(
            'IPV6=yes\nDEFAULT_INPUT_POLICY="DROP"\nDEFAULT_OUTPUT_POLICY="ACCEPT"\nDEFAULT_FORWARD_POLICY="DROP"\n'
        )

    def call(self, argv):
        if argv[0] != "ufw":
            return None
        words = [word for word in argv[1:] if word != "--force"]
        if words == ["status", "verbose"]:
            self.read(*argv)
            policies = "Default: deny (incoming), allow (outgoing), deny (routed)"
            return f"Status: active\nLogging: on (low)\n{policies}\n" if self.loaded else "Status: inactive\n"
        if words == ["show", "added"]:
            self.read(*argv)
            shown = [
                f"ufw {rule}" + (f" comment '{comment}'" if comment else "") for rule, comment in self.rules.items()
            ]
            return "Added user rules (see 'ufw status' for running firewall):\n" + "\n".join(shown or ["(None)"]) + "\n"
        self.write(*argv)
        if words[0] == "delete":
            del self.rules[" ".join(words[1:])]
        elif words[0] == "allow":
            comment = words[words.index("comment") + 1] if "comment" in words else ""
            self.rules[self.shown(words)] = comment
        elif words == ["enable"]:
            self.loaded = True
            (self.root / "ufw.conf").write_text("ENABLED=yes\nLOGLEVEL=low\n")
        elif words == ["reload"]:
            self.reloads += 1
        elif words[0] not in ("default", "logging"):
            return None
        return 0

    def shown(self, words: list[str]) -> str:
        if "comment" in words:
            words = words[: words.index("comment")]
        if words[1:5] == ["from", "any", "to", "any"]:
            return f"allow {words[6]}/{words[8]}" if "proto" in words else f"allow {words[6]}"
        return shlex.join(words)


@pytest.fixture
def ufw(tmp_path, monkeypatch):
    fake = Ufw(tmp_path)
    monkeypatch.setattr(ufw_rules, "DEFAULTS", str(tmp_path / "default"))
    monkeypatch.setattr(ufw_rules, "CONF", str(tmp_path / "ufw.conf"))
    monkeypatch.setattr(
        ufw_rules, "SAVED", (str(tmp_path / "default"), str(tmp_path / "ufw.conf"), str(tmp_path / "none"))
    )
    deadman_in(tmp_path, ufw_rules, monkeypatch=monkeypatch)
    return fake


@pytest.fixture
def run(ufw, monkeypatch):
    return lambda check=False, **args: run_module(ufw_rules, ufw, args, monkeypatch, check)


def test_missing_arguments(run):
    assert run(rules=[{"port": "22"}]).failed
    assert run(rules=[SSH], incoming="maybe").failed


def test_check_create_again_update_absent(run, ufw, tmp_path):
    before = files_below(tmp_path)
    checked = run(check=True, rules=[SSH, WEB])
    assert checked["changed"]
    assert checked["revert"] is None
    assert files_below(tmp_path) == before

    created = run(rules=[SSH, WEB])
    assert created["steps"] == checked["steps"]
    assert created["diff"] == checked["diff"]
    assert ufw.rules == {
        "allow from 192.168.1.0/24 to any port 22 proto tcp": "mediaserver: ssh",
        "allow 443/tcp": "mediaserver: web",
    }
    assert ufw.loaded and "ufw.service" in ufw.enabled
    assert created["revert"]["name"] == "ufw"
    confirm(tmp_path)

    for check in (True, False):
        again = run(check=check, rules=[WEB, SSH])
        assert not again["changed"]
        assert again["diff"]["before"] == again["diff"]["after"]
        assert len(ufw.reads) == 3 and not ufw.writes

    changed = run(rules=[{**SSH, "comment": "admin"}])
    assert [line for line in ufw.writes if line.startswith("ufw")] == [
        "ufw allow from 192.168.1.0/24 to any port 22 proto tcp comment mediaserver: admin",
        "ufw --force delete allow 443/tcp",
    ], "additions come before deletions"
    assert changed["changed"]
    confirm(tmp_path)

    run(rules=[])
    assert ufw.rules == {}


def confirm(root):
    (root / "revert/ufw/armed").rename(root / "revert/ufw/confirmed")


def test_arms_before_it_writes(run, ufw, tmp_path):
    run(rules=[SSH], revert_after=33)
    first = next(number for number, line in enumerate(ufw.writes) if line.startswith("ufw"))
    assert ufw.writes[first - 1] == "systemctl restart mediaserver-revert-ufw.timer"
    assert "OnActiveSec=33" in (tmp_path / "units/mediaserver-revert-ufw.timer").read_text()
    script = (tmp_path / "revert/ufw/revert").read_text()
    assert "ufw --force disable" in script and "ufw --force enable" not in script, "it was off before"
    assert f"rm -f {tmp_path}/none" in script, "what was not there goes away again"


def test_change_that_was_never_confirmed_is_loaded_whole(run, ufw, tmp_path):
    first = run(rules=[SSH])
    saved = files_below(tmp_path / "revert/ufw/files")
    second = run(rules=[SSH])
    assert second["changed"]
    assert ufw.reloads == 1
    assert second["revert"]["id"] != first["revert"]["id"]
    assert files_below(tmp_path / "revert/ufw/files") == saved, "the copies are of the last confirmed state"


def test_foreign_rules_stay_or_go(run, ufw):
    ufw.rules = {"deny 80/tcp": "", "allow 22/tcp": "mine"}
    stayed = run(check=True, rules=[SSH])
    assert stayed["foreign"] == ["ufw deny 80/tcp", "ufw allow 22/tcp # mine"]
    assert "ufw deny 80/tcp" in stayed["diff"]["after"]["rules"]
    gone = run(rules=[SSH], purge=True)
    assert gone["foreign"] == []
    assert "ufw deny 80/tcp" in gone["diff"]["before"]["rules"]
    assert list(ufw.rules) == ["allow from 192.168.1.0/24 to any port 22 proto tcp"]


def test_own_rule_without_our_comment_is_adopted(run, ufw):
    ufw.rules = {"allow 443/tcp": ""}
    run(rules=[WEB])
    assert ufw.rules == {"allow 443/tcp": "mediaserver: web"}


def test_ipv6_is_switched_on(run, ufw, tmp_path):
    (tmp_path / "default").write_text("IPV6=no\n")
    run(rules=[])
    assert "IPV6=yes" in (tmp_path / "default").read_text()


def test_without_ufw_a_dry_run_says_what_it_would_do(run, tmp_path):
    (tmp_path / "ufw.conf").unlink()
    result = run(check=True, rules=[SSH])
    assert not result.failed
    assert result["diff"]["before"]["active"] == "absent"


def test_failure_of_ufw_names_the_step(run, ufw):
    ufw.fail["ufw allow"] = "ERROR: Bad port"
    result = run(rules=[SSH])
    assert result["msg"].startswith("Unable to change the firewall by ufw allow from 192.168.1.0/24")
    assert "Bad port" in result["msg"]
    assert result["failure"]["step"].startswith("allow:")


def test_failure_to_read_is_no_empty_firewall(run, ufw):
    ufw.fail["ufw show"] = "ERROR: problem running"
    assert "Unable to read the rules of ufw" in run(rules=[SSH])["msg"]
