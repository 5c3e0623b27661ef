# SPDX-License-Identifier: MIT
"""The fake's jobs, high availability and firewall lists answer as Proxmox VE's published source says they do."""

from __future__ import annotations

import pytest
from ansible_collections.homelab.mediaserver.tests.unit.fake_pve import harness
from proxmoxer import ProxmoxAPI
from proxmoxer.core import ResourceException


@pytest.fixture
def lab(lab):
    lab.world.data["other_nodes"] = ["pve2"]
    for vmid in ("101", "102"):
        lab.world.data["vms"][vmid] = {"conf": {}, "pending": {}, "delete": [], "started": 0}
    return lab


@pytest.fixture
def api(lab):
    return ProxmoxAPI("127.0.0.1", port=lab.port, user="root@pam", password=harness.ROOT_PASSWORD,
                      verify_ssl=str(lab.cert[0])).cluster  # fmt: skip


def refused(call, status, text, **errors):
    with pytest.raises(ResourceException) as caught:
        call()
    assert (caught.value.status_code, caught.value.content) == (status, text)
    for key, value in errors.items():
        assert caught.value.errors[key] == value


CHANGED = "detected modified configuration - file changed by other user? Try again."
REFUSED = "Parameter verification failed."


def test_aliases(api):
    aliases = api.firewall.aliases
    aliases.post(name="Lan", cidr="10.1.2.3/8", comment=" x ")
    row = aliases.get()[0]
    assert {**row, "digest": ""} == {"name": "Lan", "cidr": "10.0.0.0/8", "comment": "x", "ipversion": 4, "digest": ""}
    refused(lambda: aliases.post(name="lan", cidr="10.0.0.1"), 400, REFUSED, name="alias 'lan' already exists")
    aliases("lan").put(cidr="10.0.0.1/32", digest=row["digest"])
    refused(lambda: aliases("lan").put(cidr="10.0.0.1", digest=row["digest"]), 500, CHANGED)
    assert "comment" not in aliases.get()[0], "what a PUT does not name is gone"


def test_ipsets(api):
    api.firewall.ipset.post(name="Admins", comment="x")
    assert api.firewall.ipset.get()[0]["name"] == "admins"
    members = api.firewall.ipset("admins")
    for cidr in ("192.168.1.9/24", "10.0.0.1/32"):
        members.post(cidr=cidr)
    assert [row["cidr"] for row in members.get()] == ["10.0.0.1", "192.168.1.0/24"]
    members("192.168.1.0/24").put(nomatch=1, comment="y")
    assert members.get()[1]["nomatch"] == 1
    refused(lambda: members.post(cidr="10.0.0.1"), 400, REFUSED, cidr="address '10.0.0.1' already exists")
    refused(lambda: members.post(cidr="nobody"), 500, "no such alias 'nobody'")
    refused(members.delete, 500, "IPSet 'admins' is not empty")
    members.delete(force=1)
    refused(members.get, 500, "no such IPSet 'admins'")


def test_security_groups(api):
    api.firewall.groups.post(group="Web")
    rules = api.firewall.groups("web")
    rules.post(type="in", action="ACCEPT", macro="https", enable=1)
    rules.post(type="in", action="ACCEPT", macro="ssh")
    assert [(rule["macro"], rule["enable"]) for rule in rules.get()] == [("SSH", 0), ("HTTPS", 1)]
    text = "security groups not allowed"
    refused(lambda: rules.post(type="group", action="web"), 400, REFUSED, type=text)
    refused(rules.delete, 500, "Security group 'web' is not empty")
    digest = rules.get()[0]["digest"]
    rules("0").put(moveto=2, digest=digest)
    refused(lambda: rules("0").delete(digest=digest), 500, CHANGED)
    assert [rule["macro"] for rule in rules.get()] == ["HTTPS", "SSH"]


def test_a_rule_names_only_what_is_there(api):
    post = api.firewall.rules.post
    refused(lambda: post(type="in", action="ACCEPT", source="+no"), 400, REFUSED, source="no such ipset 'no'")
    refused(lambda: post(type="in", action="ACCEPT", dest="no"), 400, REFUSED, dest="no such alias 'no'")
    refused(lambda: post(type="in", action="ACCEPT", macro="no"), 400, REFUSED, macro="unknown macro 'no'")


def test_backup_jobs(api):
    jobs = api.backup
    jobs.post(id="a1", schedule="1:00", all=1, exclude="101", **{"prune-backups": "keep-last=3"})
    row = jobs.get()[0]
    assert row["prune-backups"] == {"keep-last": "3"}
    assert (row["enabled"], row["all"], row["exclude"], row["type"]) == (1, 1, "101", "vzdump")
    jobs("a1").put(vmid="101,102")
    assert not {"all", "exclude"} & set(jobs("a1").get())
    refused(lambda: jobs.post(id="a1", schedule="1:00", all=1), 500, "Job 'a1' already exists")
    refused(lambda: jobs.post(id="b1", schedule="1:00"), 400, REFUSED, vmid="property is missing")
    refused(lambda: jobs("a1").put(delete="nonsense"), 400, REFUSED, delete="unknown option 'nonsense'")
    refused(lambda: jobs("b1").put(enabled=0), 500, "no such vzdump job")
    refused(jobs("b1").get, 400, REFUSED, id="No such job 'b1'")


def test_ha_of_each_release(lab, api):
    api.ha.resources.post(sid="vm:101", state="started")
    if lab.release == "8.4":
        api.ha.groups.post(group="g1", nodes="pve,pve2:2", restricted=1)
        api.ha.resources("vm:101").put(group="g1")
        refused(api.ha.groups("g1").delete, 500, "delete ha group failed: ha group is used by service 'vm:101'")
        refused(api.ha.rules.get, 501, "Method 'GET /cluster/ha/rules' not implemented")
        return
    migrated = "ha groups have been migrated to rules"
    refused(api.ha.groups.get, 500, f"cannot index groups: {migrated}")
    refused(lambda: api.ha.resources("vm:101").put(group="g1"), 500, f"invalid parameter 'group': {migrated}")
    rule = {"type": "node-affinity", "resources": "vm:101", "nodes": "pve2:2,pve"}
    api.ha.rules.post(rule="r1", **rule)
    assert api.ha.rules.get()[0]["nodes"] == "pve,pve2:2"
    refused(lambda: api.ha.rules("r1").put(strict=1), 400, REFUSED, type="property is missing and it is not optional")
    twice = "resource 'vm:101' is already used in another node affinity rule"
    refused(lambda: api.ha.rules.post(rule="r2", **rule), 400, "Rule 'r2' is invalid.", resources=twice)
    text = "cannot use unmanaged resource(s) vm:102."
    refused(lambda: api.ha.rules.post(rule="r2", **{**rule, "resources": "vm:102"}), 500, text)
    api.ha.resources("vm:101").delete()
    assert api.ha.rules.get() == [], "purged"


def test_replication(lab, api):
    api.replication.post(id="101-0", type="local", target="pve2", rate=5)
    row = api.replication("101-0").get()
    assert (row["guest"], row["jobnum"], row["source"], row["rate"]) == (101, 0, "pve", "5")
    text = "replication job for guest '101' to target 'local/pve2' already exists"
    refused(lambda: api.replication.post(id="101-1", type="local", target="pve2"), 500, text)
    text = "conflicts with parameter 'force'"
    refused(lambda: api.replication("101-0").delete(keep=1, force=1), 400, REFUSED, keep=text)
    api.replication("101-0").delete()
    assert api.replication("101-0").get()["remove_job"] == "full"
    api.replication("101-0").delete(force=1)
    refused(api.replication("101-0").get, 500, "no such replication job '101-0'")
