# SPDX-License-Identifier: MIT
from __future__ import annotations

import pytest
from ansible_collections.homelab.mediaserver.plugins.modules import proxmox_pool


@pytest.fixture
def lab(lab):
    for vmid in ("100", "101", "102"):
        lab.world.data["vms"][vmid] = {"conf": {}, "pending": {}, "delete": [], "started": 0}
    return lab


def test_check_create_again_changed_absent_again(lab):
    done = lab.order(proxmox_pool, poolid="media", comment="Media", guests=[101, 100, 101], storages=["local"])
    assert done["steps"] == [
        "create pool media",
        "add guests 100,101 to pool media",
        "add storages local to pool media",
    ]
    assert (done["guests"], done["storages"]) == ([100, 101], ["local"])
    done = lab.order(proxmox_pool, poolid="media", comment="", guests=[102, 100], storages=["local-lvm"])
    assert done["steps"] == [
        "set comment of pool media", "add guests 102 to pool media", "remove guests 101 from pool media",
        "add storages local-lvm to pool media", "remove storages local from pool media",
    ]  # fmt: skip
    assert lab.world.data["pools"] == {"media": [100, 102]}
    lab.order(proxmox_pool, poolid="media", guests=[], storages=[])
    lab.order(proxmox_pool, poolid="media", state="absent")
    assert lab.world.data["pools"] == {}


def test_bare_pool_and_what_is_not_given_stays(lab):
    lab.order(proxmox_pool, poolid="a/b")
    lab.run(proxmox_pool, poolid="a/b", guests=[100])
    lab.order(proxmox_pool, poolid="a/b", comment="x")
    assert lab.world.data["pools"] == {"a/b": [100]}


def test_guests_are_taken_out_of_another_pool_only_if_allowed(lab):
    lab.run(proxmox_pool, poolid="one", guests=[100])
    result = lab.run(proxmox_pool, poolid="two", guests=[100])
    assert "VM 100 belongs already to pool 'one'" in result["msg"]
    assert result["failure"]["done"] == ["create pool two"]
    lab.order(proxmox_pool, poolid="two", guests=[100], move_guests=True)
    assert lab.world.data["pools"] == {"one": [], "two": [100]}


def test_a_pool_with_members_is_not_removed(lab):
    lab.run(proxmox_pool, poolid="one", guests=[100], storages=["local"])
    for check in (True, False):
        result = lab.run(proxmox_pool, check=check, poolid="one", state="absent")
        assert result["msg"] == (
            "Unable to delete pool one: it holds 100, local; take them out first (guests, storages)"
        )


def test_members_that_are_no_list(lab):
    lab.service.fault = lambda method, path: b'{"data": [{"poolid": "one", "members": 3}]}'
    assert lab.run(proxmox_pool, poolid="one")["msg"] == "Unable to read pool one: the answer is no pool"
