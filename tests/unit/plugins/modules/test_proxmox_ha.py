# SPDX-License-Identifier: MIT
"""One declaration for groups (8.4) and rules (9.1)."""

from __future__ import annotations

import itertools

import pytest
from ansible_collections.homelab.mediaserver.plugins.modules import proxmox_ha
from ansible_collections.homelab.mediaserver.tests.unit.fake_pve import harness


def filled(lab):
    lab.world.data["other_nodes"] = ["pve2", "pve3"]
    for vmid in ("101", "102", "103", "104"):
        lab.world.data["vms"][vmid] = {"conf": {}, "pending": {}, "delete": [], "started": 0}
    lab.world.data["cts"] = {"210": {"conf": {}, "pending": {}, "delete": [], "running": False, "started": 0}}
    return lab


@pytest.fixture
def lab(lab):
    return filled(lab)


@pytest.fixture
def lab8(tmp_path, cert):
    with harness.lab(tmp_path, "8.4", cert) as made:
        yield filled(made)


@pytest.fixture
def lab9(tmp_path, cert):
    with harness.lab(tmp_path, "9.1", cert) as made:
        yield filled(made)


RESOURCES = [{"sid": "vm:101", "state": "started", "max_restart": 2, "max_relocate": 0, "comment": "intranet"},
             {"sid": "vm:102"}, {"sid": "ct:210", "state": "stopped"}]  # fmt: skip
GRAPHICS = {"name": "graphics", "resources": ["vm:101", "vm:102"], "nodes": ["pve2:1", "pve:2"], "failback": False,
            "comment": "needs a card"}  # fmt: skip
WHOLE = {"resources": RESOURCES, "node_affinity": [GRAPHICS]}


def ha(lab, part):
    return lab.world.data["ha"].get(part, {})


def placed(lab):
    """Which resources the API has where, whatever the release."""
    if lab.release == "8.4":
        members = {}
        for sid, entry in ha(lab, "resources").items():
            if entry.get("group"):
                members.setdefault(entry["group"], set()).add(sid)
        return members
    return {name: set(rule["resources"]) for name, rule in ha(lab, "rules").items()}


def test_check_create_again_changed_absent_again(lab):
    lab.order(proxmox_ha, **WHOLE)
    assert placed(lab) == {"graphics": {"vm:101", "vm:102"}}
    assert ha(lab, "resources")["vm:101"]["max_restart"] == 2
    done = lab.order(
        proxmox_ha,
        resources=[{"sid": "vm:101", "state": "disabled", "comment": ""}],
        node_affinity=[{"name": "graphics", "strict": True, "failback": True, "nodes": ["pve3:0"], "comment": ""}],
    )
    assert "comment" not in ha(lab, "resources")["vm:101"]
    assert done["diff"]["after"]["node_affinity"]["graphics"] == {
        "resources": ["vm:101", "vm:102"], "nodes": ["pve3"], "strict": True, "failback": True, "enabled": True,
    }  # fmt: skip
    done = lab.order(proxmox_ha, node_affinity=[{"name": "graphics", "strict": False}])
    lab.order(proxmox_ha, node_affinity=[{"name": "graphics", "state": "absent"}],
              resources=[{"sid": "vm:101", "state": "absent"}])  # fmt: skip
    assert placed(lab) == {}
    assert set(ha(lab, "resources")) == {"vm:102", "ct:210"}, "what is not listed stays"


def test_the_releases_own_words(lab):
    lab.run(proxmox_ha, **WHOLE)
    if lab.release == "8.4":
        assert ha(lab, "groups") == {"graphics": {"nodes": "pve2:1,pve:2", "nofailback": 1, "comment": "needs a card"}}
        assert ha(lab, "resources")["vm:102"] == {"state": "started", "group": "graphics"}
    else:
        assert ha(lab, "rules") == {"graphics": {"type": "node-affinity", "resources": ["vm:101", "vm:102"],
                                                 "nodes": ["pve2:1", "pve:2"], "comment": "needs a card"}}  # fmt: skip
        assert ha(lab, "resources")["vm:102"] == {"state": "started", "failback": 0}


def test_a_resource_moves_from_one_to_the_other(lab):
    lab.run(proxmox_ha, **WHOLE)
    other = {"name": "other", "resources": ["vm:102", "ct:210"], "nodes": ["pve2"]}
    lab.order(proxmox_ha, node_affinity=[other])
    assert placed(lab) == {"graphics": {"vm:101"}, "other": {"vm:102", "ct:210"}}
    swapped = [{"name": "graphics", "resources": ["ct:210"]}, {"name": "other", "resources": ["vm:101"]}]
    lab.order(proxmox_ha, node_affinity=swapped)
    assert placed(lab) == {"graphics": {"ct:210"}, "other": {"vm:101"}}
    lab.order(proxmox_ha, node_affinity=[{"name": "graphics", "resources": ["ct:210", "vm:101", "vm:102"]}])
    assert placed(lab) == {"graphics": {"ct:210", "vm:101", "vm:102"}}


def test_a_resource_that_leaves_takes_itself_out(lab):
    lab.run(proxmox_ha, **WHOLE)
    gone = [{"sid": "vm:102", "state": "absent"}]
    done = lab.order(proxmox_ha, resources=gone)
    assert done["diff"]["after"]["node_affinity"]["graphics"]["resources"] == ["vm:101"]
    assert placed(lab) == {"graphics": {"vm:101"}}
    lab.order(proxmox_ha, resources=[{"sid": "vm:101", "state": "absent"}])
    assert placed(lab) == {}
    assert ("graphics" in ha(lab, "groups")) == (lab.release == "8.4"), "a group may be empty, a rule not"


@pytest.mark.parametrize(("arguments", "word"), [
    ({"resources": [{"sid": "101"}]}, "write it as vm:101 or ct:101"),
    ({"node_affinity": [GRAPHICS]}, "vm:101, vm:102 is no HA resource; name it under resources"),
    ({"resources": [{"sid": "vm:101"}], "node_affinity": [{"name": "x1", "resources": ["vm:101"]}]},
     "it needs resources and nodes"),
    ({"resources": RESOURCES, "node_affinity": [GRAPHICS, {**GRAPHICS, "name": "x1"}]}, "vm:101 is in graphics al"),
])  # fmt: skip
def test_mistakes_are_told_before_anything_is_written(lab, arguments, word):
    assert word in lab.run(proxmox_ha, check=True, **arguments)["msg"]


def test_the_api_s_word(lab):
    result = lab.run(proxmox_ha, resources=[{"sid": "vm:999"}])
    assert result["msg"] == "Unable to create HA resource vm:999: resource 'vm:999' does not exists in cluster"


def test_what_release_8_has_no_word_for(lab8):
    pair = [{"name": "apart", "resources": ["vm:101", "vm:102"], "affinity": "negative"}]
    result = lab8.run(proxmox_ha, check=True, resources=RESOURCES, resource_affinity=pair)
    assert result["msg"] == "Unable to keep resource affinity: Proxmox VE 8 has no such rules, only 9"
    result = lab8.run(proxmox_ha, check=True, resources=RESOURCES, node_affinity=[{**GRAPHICS, "enabled": False}])
    assert "a group of Proxmox VE 8 always counts" in result["msg"]


def test_resource_affinity(lab9):
    apart = {"name": "apart", "resources": ["vm:101", "ct:210"], "affinity": "negative", "comment": "two of a kind"}
    lab9.order(proxmox_ha, **WHOLE, resource_affinity=[apart])
    lab9.order(proxmox_ha, resource_affinity=[{"name": "apart", "affinity": "positive", "enabled": False}])
    assert ha(lab9, "rules")["apart"]["disable"] == 1
    lab9.order(proxmox_ha, resource_affinity=[{"name": "apart", "enabled": True, "comment": ""}])
    assert ha(lab9, "rules")["apart"] == {"type": "resource-affinity", "resources": ["ct:210", "vm:101"],
                                          "affinity": "positive"}  # fmt: skip
    result = lab9.run(proxmox_ha, check=True, node_affinity=[{**GRAPHICS, "name": "apart"}])
    assert "there is a rule of the other kind with this name" in result["msg"]
    done = lab9.order(proxmox_ha, resources=[{"sid": "ct:210", "state": "absent"}])
    assert done["steps"] == ["remove HA rule apart", "remove HA resource ct:210"]
    result = lab9.run(proxmox_ha, resource_affinity=[{"name": "x1", "resources": ["vm:101"], "affinity": "negative"}])
    assert "it needs affinity and two resources" in result["msg"]


def test_what_others_left_behind_stays(lab9):
    """A rule of a guest that is no more in high availability is not declared, so it is not touched."""
    stale = {"type": "node-affinity", "resources": ["vm:104"], "nodes": ["pve"]}
    lab9.world.data["ha"] = {"resources": {}, "rules": {"stale": dict(stale)}}
    lab9.order(proxmox_ha, **WHOLE)
    assert ha(lab9, "rules")["stale"] == stale
    result = lab9.run(proxmox_ha, check=True, node_affinity=[{"name": "stale", "strict": True}])
    assert "vm:104 is no HA resource; name it under resources" in result["msg"]


def test_changed_by_somebody_else_in_between(lab):
    lab.run(proxmox_ha, **WHOLE)
    reads = itertools.count()

    def fault(method, path):
        if method == "GET" and path == "/cluster/ha/resources" and next(reads) == 1:
            ha(lab, "resources")["vm:101"]["comment"] = "somebody's"

    lab.service.fault = fault
    result = lab.run(proxmox_ha, resources=[{"sid": "vm:101", "max_restart": 5}])
    assert result["msg"].endswith("somebody else changed it in between; run again")


def test_states_made_by_hand_are_understood(lab):
    lab.world.data["ha"] = {"resources": {"vm:101": {"state": "enabled"}, "vm:102": {}}}
    same = [{"sid": "vm:101", "state": "started"}, {"sid": "vm:102", "state": "started"}]
    assert not lab.run(proxmox_ha, resources=same)["changed"]
