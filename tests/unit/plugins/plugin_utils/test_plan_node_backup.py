"""Copies that a node makes: whole guests by vzdump, datasets by syncoid."""

from __future__ import annotations

from typing import Any

from ansible_collections.homelab.mediaserver.plugins.plugin_utils import plan_text

SERVER = {"host": "192.168.1.9", "datastore": "home", "fingerprint": ":".join(["ab"] * 32)}


def node(sample: Any) -> dict[str, Any]:
    made = sample.plan()
    assert not made.problems.found, [one.text() for one in made.problems.found]
    sample.text = "\n".join(plan_text.lines(made.plan))
    sample.secrets = {one["name"] for one in made.plan["secrets"]}
    found: dict[str, Any] = made.plan["nodes"]["pve"]
    return found


def test_without_a_word_there_is_none(sample: Any) -> None:
    assert node(sample)["backup"] is None
    assert node(sample)["zfs"]["snapshots"]["replications"] == []


def test_guests_go_to_a_backup_server(sample: Any) -> None:
    sample.hosts["pve"]["node"]["backup"] = {
        "storage": "pbs", "server": SERVER, "keep": {"daily": 3}, "exclude": ["front"], "bandwidth": "50M",
    }  # fmt: skip
    sample.site["site_secrets"]["pve.backup_server_password"] = True
    found = node(sample)
    job = found["backup"]["job"]
    assert (job["id"], job["vmids"], job["storage"], job["bwlimit"]) == ("mediaserver", [101], "pbs", 51200)
    assert job["prune_backups"] == {"keep_daily": 3, "keep_weekly": 4}
    assert found["backup"]["storage"] == {
        "storage": "pbs", "type": "pbs", "server": "192.168.1.9", "datastore": "home", "username": "root@pam",
        "fingerprint": SERVER["fingerprint"],
    }  # fmt: skip
    assert "pve.backup_server_password" in sample.secrets
    assert {"path": "/storage", "role": "MediaserverDefine", "user": "automation@pve"} in found["access"]["acl"]
    assert "whole guests 101 -> pbs (keeps 3 daily, 4 weekly)" in sample.text


def test_the_job_has_one_name_with_and_without_backups(sample: Any) -> None:
    """So that the job of a node whose `backup` was removed is found."""
    before = node(sample)["backup_job"]
    sample.hosts["pve"]["node"]["backup"] = {"storage": "local"}
    assert node(sample)["backup"]["job"]["id"] == before == "mediaserver"


def test_a_storage_that_is_there_is_only_used(sample: Any) -> None:
    sample.hosts["pve"]["node"]["backup"] = {"storage": "local"}
    found = node(sample)["backup"]
    assert (found["storage"], found["secret"], found["job"]["vmids"]) == (None, None, [100, 101])


def test_a_dataset_is_copied_to_another_machine(sample: Any) -> None:
    sample.hosts["pve"]["node"]["replications"] = {
        "away": {"source": "hdd/media", "target": "root@192.168.1.9:tank/media", "ssh_key": "/root/.ssh/id_ed25519"}
    }
    (one,) = node(sample)["zfs"]["snapshots"]["replications"]
    assert one == {
        "name": "away", "source": "hdd/media", "target": "root@192.168.1.9:tank/media", "recursive": True,
        "schedule": "*-*-* 03:30:00", "ssh_key": "/root/.ssh/id_ed25519",
    }  # fmt: skip
    assert "dataset hdd/media -> root@192.168.1.9:tank/media" in sample.text
