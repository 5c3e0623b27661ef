# SPDX-License-Identifier: MIT
from __future__ import annotations

import pytest
from ansible_collections.homelab.mediaserver.plugins.modules import proxmox_firewall

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


def test_looser_first_and_stricter_last(lab):
    """Between two writes, what both ends allow is allowed: a policy is not strict while its rules are not there."""
    lab.run(proxmox_firewall, level="datacenter", options={"enable": True, "policy_in": "DROP"}, rules=[SSH])
    options = {"policy_in": "ACCEPT", "policy_out": "DROP"}
    done = lab.order(proxmox_firewall, level="datacenter", options=options, rules=[WEB])
    assert [step.split(" to the")[0].split(" of the")[0] for step in done["steps"]] == [
        "set policy_in", "add rule", "remove rule 1", "set policy_out"]  # fmt: skip
    done = lab.order(proxmox_firewall, level="datacenter", options={"policy_in": "", "policy_out": ""}, rules=[SSH])
    assert done["steps"][0].startswith("set policy_out") and done["steps"][-1].startswith("set policy_in")


def test_options_not_named_and_rules_not_given_stay(lab):
    lab.run(proxmox_firewall, level="node", node="pve", options={"enable": True, "ndp": True}, rules=[SSH])
    lab.order(proxmox_firewall, level="node", node="pve", options={"ndp": None})
    assert lab.world.data["firewall"]["node/pve"]["options"] == {"enable": 1}
    assert ports(lab, "node/pve") == ["22"]


def make(lab, vmid, kind="vms"):
    guest = {"conf": {}, "pending": {}, "delete": [], "running": False, "started": 0}
    lab.world.data.setdefault(kind, {})[str(vmid)] = guest


def test_guest_that_is_not_there_yet(lab):
    """The API would keep a firewall for any number; a dry run of a fresh node says what would be."""
    guest = {"level": "guest", "node": "pve", "vmid": 101, "rules": [SSH], "options": {"enable": True}}
    assert lab.run(proxmox_firewall, check=True, **guest)["changed"]
    result = lab.run(proxmox_firewall, **guest)
    assert result["msg"].startswith("Unable to write the firewall of guest 101: there is no such VM or container")
    assert "vm/101" not in lab.world.data["firewall"]
    make(lab, 101)
    lab.order(proxmox_firewall, **guest)


@pytest.mark.parametrize(("kind", "word"), [("vms", "VM 210"), ("cts", "container 210")])
def test_guest_is_found_by_its_number(lab, kind, word):
    make(lab, 210, kind)
    lists = {
        "aliases": [{"name": "router", "cidr": "192.168.1.1", "comment": "box"}],
        "ipsets": [{"name": "lan", "members": [{"cidr": "192.168.1.0/24"}, {"cidr": "router", "nomatch": True}]}],
        "rules": [{**SSH, "source": "+lan"}, {"action": "ACCEPT", "macro": "https", "source": "router"}],
    }
    done = lab.order(proxmox_firewall, level="guest", vmid=210, options={"enable": True, "policy_in": "drop"}, **lists)
    assert f"create alias router of {word}: 192.168.1.1" in done["steps"]
    used = {path.split("/")[3] for method, path in lab.service.requests if "/firewall" in path and "nodes" in path}
    assert used == {"lxc" if kind == "cts" else "qemu"}
    file = lab.world.data["firewall"]["vm/210"]
    assert file["rules"][1]["macro"] == "HTTPS"
    assert file["options"] == {"enable": 1, "policy_in": "DROP"}


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
    rules = list(old)  # what the writes make of it
    kept = [rule for rule in old if rule in new]
    for write in fw.writes(old, new):
        if write.rule is None:
            del rules[write.pos]
        else:
            rules.insert(write.pos, write.rule)
        assert all(rule in rules for rule in kept)
    assert rules == new


LISTS = {
    "aliases": [{"name": "Lan", "cidr": "192.168.1.0/24", "comment": "home"},
                {"name": "nas", "cidr": "192.168.1.5/32"}],
    "ipsets": [
        {"name": "Admins", "comment": "may all", "members": [
            {"cidr": "192.168.1.9/24"}, {"cidr": "10.0.0.1/32", "nomatch": True, "comment": "guest"}, {"cidr": "Lan"},
            {"cidr": "2001:DB8:0::/32"}]},
        {"name": "empty", "members": []},
    ],
    "groups": [{"name": "Web", "comment": "pages", "rules": [
        {"action": "accept", "macro": "http", "source": "+Admins"}, {"action": "ACCEPT", "macro": "HTTPS"},
        {"action": "drop", "log": "nolog"}]}],
    "rules": [{"type": "group", "action": "Web"}, {**SSH, "source": "+Admins"},
              {**WEB, "source": "192.168.1.5/32, 192.168.1.0/24", "dport": "8006, 3128", "proto": "TCP"}],
}  # fmt: skip


def test_all_lists_in_one_call_then_changed_then_removed(lab):
    done = lab.order(proxmox_firewall, level="datacenter", options={"enable": True}, **LISTS)
    verbs = [step.split(" of ")[0] for step in done["steps"]]
    assert verbs[:3] == ["create alias lan", "create alias nas", "create IP set admins"]
    assert verbs[-1] == "set enable"
    file = lab.world.data["firewall"]["cluster"]
    assert [alias["name"] for alias in file["aliases"].values()] == ["Lan", "nas"]
    assert [member["cidr"] for member in file["ipset"]["admins"]] == ["10.0.0.1", "192.168.1.0/24", "2001:db8::/32",
                                                                      "lan"]  # fmt: skip
    assert [rule["action"] for rule in file["groups"]["web"]] == ["ACCEPT", "ACCEPT", "DROP"]
    assert all(rule["enable"] == 1 for rule in [*file["rules"], *file["groups"]["web"]])
    changed = {
        "aliases": [{"name": "lan", "cidr": "192.168.2.0/24"}],  # its comment stays
        "ipsets": [{"name": "admins", "comment": "", "members": [{"cidr": "10.0.0.1"}, {"cidr": "lan"}]}],
        "groups": [{"name": "web", "rules": [{"action": "ACCEPT", "macro": macro} for macro in ("HTTPS", "SSH")]},
                   {"name": "new"}],
        "rules": [{"type": "group", "action": "web", "enable": False}],
    }  # fmt: skip
    lab.order(proxmox_firewall, level="datacenter", **changed)
    assert file["aliases"]["lan"] == {"name": "lan", "cidr": "192.168.2.0/24", "comment": "home", "ipversion": 4}
    assert [rule["macro"] for rule in file["groups"]["web"]] == ["HTTPS", "SSH"]
    assert list(file["ipset"]) == ["admins"]
    done = lab.order(proxmox_firewall, level="datacenter", aliases=[], ipsets=[], groups=[], rules=[])
    last = [step.split(" of ")[0] for step in done["steps"][-3:]]
    assert last == ["remove security group web", "remove IP set admins", "remove alias lan"]
    assert not file["aliases"] and not file["ipset"] and not file["groups"] and not file["rules"]


def test_lists_not_given_are_not_managed_and_not_read(lab):
    lab.run(proxmox_firewall, level="datacenter", **LISTS)
    assert not lab.run(proxmox_firewall, level="datacenter", ipsets=[{"name": "admins"}, {"name": "empty"}])["changed"]
    assert not lab.run(proxmox_firewall, level="datacenter", groups=[{"name": "web"}])["changed"]
    lab.run(proxmox_firewall, level="datacenter", rules=LISTS["rules"])
    assert {path for _method, path in lab.service.requests} == {"/cluster/firewall/rules"}


@pytest.mark.parametrize(("where", "rule", "who"), [
    ("cluster", {"source": "+admins"}, "rule 0 of the datacenter"),
    ("node/pve", {"source": "+dc/admins"}, "rule 0 of node pve"),
    ("vm/101", {"dest": "+admins"}, "rule 0 of VM 101"),
    ("vm/102", {"source": "+dc/admins"}, "rule 0 of container 102"),
])  # fmt: skip
def test_what_is_in_use_is_not_removed(lab, where, rule, who):
    make(lab, 101)
    make(lab, 102, "cts")
    lab.run(proxmox_firewall, level="datacenter", ipsets=[{"name": "admins", "members": [{"cidr": "10.0.0.1"}]}])
    file = lab.world.data["firewall"].setdefault(where, {})
    file["rules"] = [{"type": "in", "action": "ACCEPT", "enable": 1, **rule}]
    for check in (True, False):
        result = lab.run(proxmox_firewall, check=check, level="datacenter", ipsets=[])
        assert result["msg"] == f"Unable to remove IP set admins: {who} refers to it"
    assert "admins" in lab.world.data["firewall"]["cluster"]["ipset"]


def test_a_guest_s_own_set_hides_the_datacenter_s(lab):
    make(lab, 101)
    sets = [{"name": "admins", "members": [{"cidr": "10.0.0.1"}]}]
    lab.run(proxmox_firewall, level="datacenter", ipsets=sets)
    lab.run(proxmox_firewall, level="guest", vmid=101, ipsets=sets, rules=[{**SSH, "source": "+admins"}])
    lab.order(proxmox_firewall, level="datacenter", ipsets=[])
    result = lab.run(proxmox_firewall, level="guest", vmid=101, ipsets=[])
    assert result["msg"] == "Unable to remove IP set admins: rule 0 of VM 101 refers to it"
    lab.order(proxmox_firewall, level="guest", vmid=101, ipsets=[], rules=[])


def test_alias_used_by_a_member_is_not_removed(lab):
    lists = {
        "aliases": [{"name": "lan", "cidr": "10.0.0.0/8"}],
        "ipsets": [{"name": "s1", "members": [{"cidr": "lan"}]}],
    }
    lab.order(proxmox_firewall, level="datacenter", **lists)
    result = lab.run(proxmox_firewall, level="datacenter", aliases=[])
    assert result["msg"] == "Unable to remove alias lan: IP set s1 of the datacenter refers to it"


@pytest.mark.parametrize(("arguments", "word"), [
    ({"rules": [{"type": "group", "action": "web", "source": "10.0.0.1"}]}, "keeps no source in a rule that names"),
    ({"rules": [{"action": "ACCEPT", "macro": "nonsense"}]}, "Proxmox VE has no macro nonsense"),
    ({"rules": [{"action": "ACCEPT", "comment": "two\nlines"}]}, "Proxmox VE keeps one line"),
    ({"aliases": [{"name": "a1", "cidr": "10.0.0.1"}, {"name": "A1", "cidr": "10.0.0.2"}]}, "alias a1 stands in it"),
    ({"ipsets": [{"name": "s1", "members": [{"cidr": "10.0.0.1"}, {"cidr": "10.0.0.1/32"}]}]}, "member 10.0.0.1 st"),
])  # fmt: skip
def test_mistakes_are_told_before_anything_is_written(lab, arguments, word):
    result = lab.run(proxmox_firewall, check=True, level="datacenter", **arguments)
    assert word in result["msg"]


def test_levels_have_only_their_own_lists(lab):
    assert "only the datacenter has" in lab.run(proxmox_firewall, level="guest", vmid=1, groups=[])["msg"]
    assert "of a node: only" in lab.run(proxmox_firewall, level="node", node="pve", aliases=[])["msg"]


@pytest.mark.parametrize("path", ["/rules/1", "/aliases/nas", "/ipset/admins/10.0.0.1", "/groups"])
def test_changed_by_somebody_else_in_between(lab, path):
    """Nothing is written to a list that is no more what the plan was made for, and the wrong rule never goes."""
    lab.run(proxmox_firewall, level="datacenter", **LISTS)
    file = lab.world.data["firewall"]["cluster"]
    wanted = {**LISTS, "rules": LISTS["rules"][:1] + LISTS["rules"][2:], "aliases": LISTS["aliases"][:1],
              "ipsets": [{**LISTS["ipsets"][0], "members": [{"cidr": "lan"}]}, LISTS["ipsets"][1]],
              "groups": [{**LISTS["groups"][0], "comment": "other"}]}  # fmt: skip
    reads = []

    def fault(method, requested):
        here = f"/cluster/firewall{path}".rsplit("/10.", 1)[0].removesuffix("/1").removesuffix("/nas")
        reads.append((method, requested))
        if reads.count(("GET", here)) == (3 if "ipset" in path else 2) and method == "GET" and requested == here:
            file["rules"].insert(0, {"type": "in", "action": "DROP", "enable": 1})
            file["aliases"].get("nas", {})["comment"] = "other"
            file["ipset"]["admins"][0]["comment"] = "other"
            file["group_comments"]["web"] = "somebody's"

    lab.service.fault = fault
    result = lab.run(proxmox_firewall, level="datacenter", **wanted)
    assert result["msg"].endswith("somebody else changed it in between; run again"), result
    lab.service.fault = None
    assert lab.run(proxmox_firewall, level="datacenter", **wanted)["changed"]


def test_a_rule_counts_only_where_it_belongs(lab):
    """A rule that drops all may be inserted last; it must not be the first for a moment, whoever is interrupted."""
    lab.run(proxmox_firewall, level="datacenter", rules=[SSH, WEB])
    file = lab.world.data["firewall"]["cluster"]
    firsts = []

    def fault(method, _path):
        firsts.append((file["rules"][0]["action"], file["rules"][0]["enable"]))

    lab.service.fault = fault
    lab.run(proxmox_firewall, level="datacenter", rules=[SSH, WEB, {"action": "DROP"}])
    assert ("DROP", 0) in firsts and ("DROP", 1) not in firsts
    assert [rule["action"] for rule in file["rules"]] == ["ACCEPT", "ACCEPT", "DROP"]
    assert file["rules"][2]["enable"] == 1


@pytest.mark.parametrize(("given", "kept"), [
    ("192.168.1.5/24", "192.168.1.0/24"), ("192.168.1.5/32", "192.168.1.5"), ("2001:DB8:0:0::1/128", "2001:db8::1"),
    ("10.0.0.1-10.0.0.9", "10.0.0.1-10.0.0.9"), ("DC/Lan", "dc/lan"), ("+Admins", "+admins"), ("my-lan", "my-lan"),
    ("nonsense!", "nonsense!"),
])  # fmt: skip
def test_addresses_as_proxmox_takes_them(given, kept):
    from ansible_collections.homelab.mediaserver.plugins.module_utils import _pve_firewall as fw

    assert fw.cidr(given) == kept
    assert fw.cidr(kept) == kept
