# SPDX-License-Identifier: MIT
"""Against the fake API, whose answers are written after Proxmox's sources (tests/lab/fake_pve/apt.py)."""

from __future__ import annotations

import pytest
from ansible_collections.homelab.mediaserver.plugins.modules import proxmox_repositories
from ansible_collections.homelab.mediaserver.tests.lab.fake_pve import apt
from ansible_collections.homelab.mediaserver.tests.unit.fake_pve import harness


def sources(lab):
    """(where, component, on) of everything that is configured."""
    return {
        (one["URIs"][0].partition("//")[2], component): bool(one["Enabled"])
        for file in apt.state(lab.world)["files"]
        for one in file["repositories"]
        for component in one["Components"]
    }


def ceph(lab):
    return "quincy" if lab.world.release == "8.4" else "squid"


def test_no_subscription_and_back(lab):
    done = lab.order(proxmox_repositories, node="pve", channel="no-subscription")
    name = ceph(lab)
    assert sources(lab) == {
        ("deb.debian.org/debian", "main"): True,
        (f"enterprise.proxmox.com/debian/ceph-{name}", "enterprise"): False,
        (f"download.proxmox.com/debian/ceph-{name}", "no-subscription"): True,
        ("enterprise.proxmox.com/debian/pve", "pve-enterprise"): False,
        ("download.proxmox.com/debian/pve", "pve-no-subscription"): True,
    }
    assert done["steps"][0] == "add the repository no-subscription to node pve", "first there, then the other goes"
    assert done["diff"]["before"]["no-subscription"] is False and done["diff"]["after"]["no-subscription"] is True
    apt.state(lab.world)["subscription"] = "active"
    lab.order(proxmox_repositories, node="pve", channel="enterprise")
    assert sources(lab)[("enterprise.proxmox.com/debian/pve", "pve-enterprise")] is True
    assert sources(lab)[("download.proxmox.com/debian/pve", "pve-no-subscription")] is False


def test_what_the_owner_added_stays(lab):
    files = apt.state(lab.world)["files"]
    suite, kind, _ceph = apt.SUITES[lab.world.release]
    mine = {**apt.entry("test", suite, kind), "Enabled": 0}
    both = {**apt.entry("enterprise", suite, kind), "Components": ["pve-enterprise", "pve-test"]}
    files.append({"path": "/etc/apt/sources.list.d/mine.list", "file-type": "list", "repositories": [mine, both]})
    lab.order(proxmox_repositories, node="pve", channel="no-subscription")
    assert [one["repositories"] for one in files if one["path"].endswith("mine.list")] == [[mine, both]]
    assert (mine["Enabled"], both["Enabled"]) == (0, 1)
    done = lab.run(proxmox_repositories, node="pve", channel="no-subscription")
    assert done["warnings"] == ["The repository enterprise of node pve stays on: its line holds something else too"]


def test_without_ceph_nothing_is_said_of_it(lab):
    apt.state(lab.world)["files"].pop(1)
    done = lab.run(proxmox_repositories, node="pve", channel="no-subscription")
    assert done["repositories"] == {"no-subscription": True, "enterprise": False}


def test_a_ceph_release_that_is_no_longer_offered_stays(lab):
    suite, kind, _ceph = apt.SUITES[lab.world.release]
    apt.state(lab.world)["files"][1]["repositories"] = [apt.entry("ceph-pacific-enterprise", suite, kind)]
    done = lab.run(proxmox_repositories, node="pve", channel="no-subscription")
    assert "offers no repository ceph-pacific-no-subscription" in done["warnings"][0]
    assert sources(lab)[("enterprise.proxmox.com/debian/ceph-pacific", "enterprise")] is True
    again = lab.run(proxmox_repositories, node="pve", channel="no-subscription")
    assert (again["changed"], again["steps"]) == (False, [])
    assert again["diff"]["before"] == again["diff"]["after"]


def test_one_that_is_switched_off_is_switched_on(lab):
    lab.run(proxmox_repositories, node="pve", channel="no-subscription")
    count = len(sources(lab))
    apt.state(lab.world)["subscription"] = "active"
    lab.run(proxmox_repositories, node="pve", channel="enterprise")
    assert len(sources(lab)) == count


@pytest.mark.parametrize("status", ["notfound", "expired", "new"])
def test_enterprise_without_a_subscription_is_refused(lab, status):
    apt.state(lab.world)["subscription"] = status
    before = sources(lab)
    done = lab.run(proxmox_repositories, node="pve", channel="enterprise")
    assert f"its subscription is not active ({status}); use no-subscription" in done["msg"]
    assert sources(lab) == before


@pytest.mark.parametrize("after", range(4))
def test_a_run_killed_between_two_writes_converges(lab, after, monkeypatch):
    original = proxmox_repositories.Pve.call
    left = {"count": after}

    def call(self, method, *given, **data):
        if method != "get":
            if left["count"] == 0:
                raise KeyboardInterrupt
            left["count"] -= 1
        return original(self, method, *given, **data)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(proxmox_repositories.Pve, "call", call)
        lab.run(proxmox_repositories, node="pve", channel="no-subscription")
    lab.order(proxmox_repositories, node="pve", channel="no-subscription")
    assert sources(lab)[("download.proxmox.com/debian/pve", "pve-no-subscription")] is True
    assert sources(lab)[("enterprise.proxmox.com/debian/pve", "pve-enterprise")] is False


def test_missing_right_and_wrong_token(lab):
    lab.service.tokens[harness.TOKEN]["deny"] = ["Sys.Modify"]
    done = lab.run(proxmox_repositories, node="pve", channel="no-subscription")
    assert "Permission check failed (/nodes/pve, Sys.Modify)" in done["msg"]
    assert "Unable to add the repository no-subscription" in done["msg"]
    done = lab.run(proxmox_repositories, node="pve", channel="no-subscription", api_token_secret="wrong")
    assert done["failed"] and "Unable to" in done["msg"]


def test_a_malformed_answer_is_told(lab, monkeypatch):
    monkeypatch.setattr(proxmox_repositories.Pve, "get_dict", lambda *_given, **_data: {"files": None})
    done = lab.run(proxmox_repositories, node="pve", channel="no-subscription")
    assert "names no files of repositories" in done["msg"]


def test_a_file_changed_meanwhile_is_not_written(lab, monkeypatch):
    original = proxmox_repositories.switch

    def switch(*given):
        suite, kind, _ceph = apt.SUITES[lab.world.release]
        for file in apt.state(lab.world)["files"]:
            file["repositories"].insert(0, apt.entry("test", suite, kind))
        return original(*given)

    monkeypatch.setattr(proxmox_repositories, "switch", switch)
    done = lab.run(proxmox_repositories, node="pve", channel="no-subscription")
    assert "changed by somebody else; run again" in done["msg"]


@pytest.mark.parametrize(
    ("uri", "components", "handle"),
    [
        ("https://enterprise.proxmox.com/debian/pve", ["pve-enterprise"], "enterprise"),
        ("http://download.proxmox.com/debian/pve/", ["pve-no-subscription"], "no-subscription"),
        ("http://download.proxmox.com/debian/ceph-squid", ["no-subscription"], "ceph-squid-no-subscription"),
        ("http://download.proxmox.com/debian/pve", ["pve-no-subscription", "pve-test"], None),
        ("http://download.proxmox.com/debian/pbs", ["pbs-no-subscription"], None),
        ("http://mirror.example.org/debian/pve", ["pve-no-subscription"], None),
    ],
)
def test_who_a_line_is(uri, components, handle):
    assert proxmox_repositories.handle_of({"URIs": [uri], "Components": components}) == handle
