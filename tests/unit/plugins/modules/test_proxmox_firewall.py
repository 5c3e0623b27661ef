# SPDX-License-Identifier: MIT
from __future__ import annotations

import pytest
from ansible_collections.homelab.mediaserver.plugins.modules import proxmox_firewall
from ansible_collections.homelab.mediaserver.tests.unit.fake_pve import harness


@pytest.fixture(scope="module")
def cert(tmp_path_factory):
    return harness.certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture(params=["8.4", "9.1"])
def lab(request, tmp_path, cert):
    with harness.lab(tmp_path, request.param, cert) as made:
        yield made


SSH = {"action": "ACCEPT", "proto": "tcp", "dport": "22", "source": "192.168.1.0/24", "comment": "ssh"}
WEB = {"action": "ACCEPT", "proto": "tcp", "dport": "8006", "source": "192.168.1.0/24", "comment": "web interface"}
DNS = {"action": "ACCEPT", "proto": "udp", "dport": "53"}


def ports(lab, scope="cluster"):
    return [rule["dport"] for rule in lab.world.data["firewall"][scope]["rules"]]


def test_check_create_again_reorder_remove(lab):
    options = {"enable": True, "policy_in": "DROP"}
    done = lab.order(proxmox_firewall, level="datacenter", options=options, rules=[SSH, WEB])
    assert done["steps"][-1] == "set enable, policy_in of the firewall of the datacenter", "switched on last"
    assert ports(lab) == ["22", "8006"]
    lab.order(proxmox_firewall, level="datacenter", rules=[DNS, WEB, SSH])
    assert ports(lab) == ["53", "8006", "22"]
    done = lab.order(proxmox_firewall, level="datacenter", options={"enable": False}, rules=[])
    assert done["steps"][0].startswith("set enable"), "switched off first"
    assert ports(lab) == []


def test_options_not_named_and_rules_not_given_stay(lab):
    lab.run(proxmox_firewall, level="node", node="pve", options={"enable": True, "ndp": True}, rules=[SSH])
    lab.order(proxmox_firewall, level="node", node="pve", options={"ndp": None})
    assert lab.world.data["firewall"]["node/pve"]["options"] == {"enable": 1}
    assert ports(lab, "node/pve") == ["22"]


def test_rule_of_the_guest_and_missing_guest(lab):
    result = lab.run(proxmox_firewall, level="guest", node="pve", vmid=101, rules=[SSH])
    assert "qemu-server/101.conf' does not exist" in result["msg"]
    lab.world.data["vms"]["101"] = {"conf": {}, "pending": {}, "delete": [], "started": 0}
    lab.order(proxmox_firewall, level="guest", node="pve", vmid=101, options={"enable": True}, rules=[SSH])


def test_port_without_protocol_is_told_before_anything_is_written(lab):
    result = lab.run(proxmox_firewall, level="datacenter", rules=[{"action": "ACCEPT", "dport": "22"}])
    assert "dport needs proto" in result["msg"]
    assert not [call for call in lab.service.requests if call[0] != "GET"]


def test_unknown_option_is_the_api_s_word(lab):
    result = lab.run(proxmox_firewall, level="datacenter", options={"bogus": 1})
    assert "bogus: property is not defined in schema" in result["msg"]


@pytest.mark.parametrize("seed", range(20))
def test_whatever_was_there_no_rule_of_both_lists_is_ever_missing(seed):
    import random

    from ansible_collections.homelab.mediaserver.plugins.module_utils import _pve_firewall as fw

    chance = random.Random(seed)
    old, new = ([fw.rule_from_user({**DNS, "dport": str(chance.randrange(6))}) for _ in range(chance.randrange(7))]
                for _ in range(2))  # fmt: skip
    rules = list(old)
    kept = [rule for rule in old if rule in new]
    for write in fw.writes(old, new):
        if write.rule is None:
            del rules[write.pos]
        else:
            rules.insert(write.pos, write.rule)
        assert all(rule in rules for rule in kept)
    assert rules == new
