# SPDX-License-Identifier: MIT
from __future__ import annotations

import pytest
from ansible_collections.homelab.mediaserver.plugins.module_utils import _pve_backup
from ansible_collections.homelab.mediaserver.plugins.modules import proxmox_backup_job

NIGHTLY = {"id": "nightly", "schedule": "02:30", "storage": "local", "all": True, "exclude": [900, 101],
           "mode": "snapshot", "compress": "zstd", "prune_backups": {"keep_daily": 7, "keep_weekly": 4},
           "notes_template": "{{guestname}}", "mailto": ["b@example.org", "a@example.org"], "comment": "all of it",
           "notification_mode": "auto", "enabled": True, "bwlimit": 50000, "ionice": 8, "repeat_missed": True,
           "fleecing": {"enabled": True, "storage": "local-lvm"}}  # fmt: skip


def job(lab):
    return lab.world.data["backup_jobs"]["nightly"]


def test_check_create_again_changed_absent_again(lab):
    lab.order(proxmox_backup_job, **NIGHTLY)
    assert job(lab)["prune-backups"] == {"keep-daily": "7", "keep-weekly": "4"}
    assert job(lab)["exclude"] == "101,900"
    done = lab.order(proxmox_backup_job, id="nightly", prune_backups={"keep_all": True}, mailto=[], comment="",
                     fleecing={}, enabled=False)  # fmt: skip
    assert done["steps"] == ["update backup job nightly: comment, enabled, fleecing, mailto, prune-backups"]
    assert job(lab)["prune-backups"] == {"keep-all": "1"}
    assert not {"mailto", "comment", "fleecing"} & set(job(lab))
    assert job(lab)["enabled"] == 0
    assert job(lab)["bwlimit"] == 50000, "what is not given stays"
    lab.order(proxmox_backup_job, id="nightly", state="absent")
    assert lab.world.data["backup_jobs"] == {}


def test_a_new_selection_takes_the_place_of_the_old(lab):
    lab.world.data["pools"]["media"] = []
    lab.order(proxmox_backup_job, **NIGHTLY)
    lab.order(proxmox_backup_job, id="nightly", vmids=[1000, 102, 101])
    assert job(lab)["vmid"] == "101,102,1000"
    assert not {"all", "exclude", "pool"} & set(job(lab))
    lab.order(proxmox_backup_job, id="nightly", pool="media")
    assert "vmid" not in job(lab)
    lab.order(proxmox_backup_job, id="nightly", all=True)
    lab.order(proxmox_backup_job, id="nightly", exclude=[101])
    lab.order(proxmox_backup_job, id="nightly", exclude=[])
    assert {"all", "exclude", "pool", "vmid"} & set(job(lab)) == {"all"}
    assert "must stay" in lab.run(proxmox_backup_job, check=True, id="nightly", all=False)["msg"]
    assert "must stay" in lab.run(proxmox_backup_job, check=True, id="nightly", schedule="")["msg"]
    lab.order(proxmox_backup_job, id="nightly", all=False, pool="", vmids=[101])
    assert {"all", "pool", "vmid"} & set(job(lab)) == {"vmid"}


@pytest.mark.parametrize(("arguments", "word"), [
    ({"schedule": "02:30"}, "Unable to create backup job new: it needs one of vmids, all and pool"),
    ({"all": True}, "it needs a schedule"),
    ({"all": True, "pool": "x", "schedule": "1:00"}, "give only one of vmids, all and pool"),
    ({"vmids": [101], "exclude": [102], "schedule": "1:00"}, "exclude needs all"),
    ({"all": True, "schedule": ""}, "it needs a schedule"),
])  # fmt: skip
def test_mistakes_are_told_before_anything_is_written(lab, arguments, word):
    assert word in lab.run(proxmox_backup_job, check=True, id="new", **arguments)["msg"]


def test_the_api_s_word(lab):
    result = lab.run(proxmox_backup_job, id="new", all=True, schedule="never!", storage="local")
    assert result["msg"].startswith("Unable to create backup job new: Parameter verification failed. schedule: invalid")
    result = lab.run(proxmox_backup_job, id="new", pool="none", schedule="1:00")
    assert result["msg"].endswith("Permission check failed (No such pool 'none')")
    keep = {"keep_all": True, "keep_last": 3}
    result = lab.run(proxmox_backup_job, id="new", all=True, schedule="1:00", prune_backups=keep)
    assert "keep-all cannot be set together with other options" in result["msg"]


def test_job_made_by_hand_is_understood(lab):
    by_hand = {"enabled": 1, "schedule": "02:30", "vmid": "102 101", "all": 0, "prune-backups": "keep-last=3",
               "fleecing": "1,storage=local-lvm", "mailto": "a@x;b@x", "storage": "local"}  # fmt: skip
    lab.world.data["backup_jobs"] = {"nightly": by_hand}
    same = {"vmids": [101, 102], "prune_backups": {"keep_last": 3}, "mailto": ["b@x", "a@x"], "all": False,
            "fleecing": {"enabled": True, "storage": "local-lvm"}}  # fmt: skip
    assert not lab.run(proxmox_backup_job, id="nightly", **same)["changed"]


@pytest.mark.parametrize(("key", "value", "text"), [
    ("prune-backups", {"keep_all": None, "keep_last": 3, "keep_daily": 7}, "keep-daily=7,keep-last=3"),
    ("prune-backups", {"keep-daily": "7", "keep-last": "3"}, "keep-daily=7,keep-last=3"),
    ("prune-backups", "keep-last=3,keep-daily=7", "keep-daily=7,keep-last=3"),
    ("prune-backups", {}, ""), ("fleecing", {"enabled": False, "storage": None}, "enabled=0"),
    ("fleecing", "1,storage=a", "enabled=1,storage=a"), ("vmid", [1000, 999], "999,1000"), ("vmid", "2;1 3", "1,2,3"),
    ("enabled", 1, "1"), ("enabled", "0", "0"), ("bwlimit", 0, "0"), ("comment", " x\n", "x"),
])  # fmt: skip
def test_one_form_for_each_value(key, value, text):
    assert _pve_backup.canonical(key, value) == text
    assert _pve_backup.canonical(key, text) == text or not text
