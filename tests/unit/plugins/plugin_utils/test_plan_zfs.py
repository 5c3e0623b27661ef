"""Pools, datasets, snapshots and keys that follow from the node's pools."""

from __future__ import annotations

from typing import Any

COMMON = {"atime": "off", "xattr": "sa", "acltype": "posixacl", "compression": "lz4"}


def zfs(sample: Any) -> dict[str, Any]:
    result = sample.plan()
    assert [problem.text() for problem in result.problems.found] == []
    found: dict[str, Any] = result.plan["nodes"]["pve"]["zfs"]
    return found


def dataset(sample: Any, name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(one for one in zfs(sample)["datasets"] if one["name"] == name)["properties"]
    return found


def pool(sample: Any, name: str) -> dict[str, Any]:
    found: dict[str, Any] = sample.hosts["pve"]["node"]["pools"][name]
    return found


def test_only_a_pool_with_devices_is_made(sample: Any) -> None:
    assert zfs(sample)["pools"] == [
        {
            "name": "hdd",
            "vdevs": [{"type": "mirror", "devices": ["/dev/disk/by-id/ata-A", "/dev/disk/by-id/ata-B"]}],
            "special": [],
            "log": [],
            "cache": [],
            "spares": [],
            "properties": {"ashift": 12, "autotrim": True},
            "filesystem_properties": COMMON,
            "mountpoint": "/hdd",
            "scrub": "monthly",
        }
    ]


def test_a_pool_is_mounted_where_the_inventory_says(sample: Any) -> None:
    pool(sample, "hdd")["path"] = "/srv/hdd"
    assert zfs(sample)["pools"][0]["mountpoint"] == "/srv/hdd"


def test_properties_follow_from_the_purpose(sample: Any) -> None:
    assert dataset(sample, "hdd/media") == {**COMMON, "recordsize": "1M", "quota": "100G"}
    pool(sample, "hdd")["datasets"]["pictures"] = {"purpose": "photos", "compression": "zstd", "atime": True}
    assert dataset(sample, "hdd/pictures") == {**COMMON, "recordsize": "1M", "compression": "zstd", "atime": True}
    pool(sample, "hdd")["datasets"]["logs"] = "10G"
    assert dataset(sample, "hdd/logs") == {**COMMON, "compression": "zstd", "quota": "10G"}


def test_a_pool_made_by_hand_keeps_its_ways(sample: Any) -> None:
    assert dataset(sample, "ssd/appdata") == {"quota": "30G"}
    pool(sample, "ssd")["datasets"]["appdata"] = {"quota": "30G", "purpose": "appdata"}
    assert dataset(sample, "ssd/appdata") == {**COMMON, "recordsize": "64K", "quota": "30G"}


def test_a_dataset_of_disks_has_no_quota(sample: Any) -> None:
    pool(sample, "hdd")["datasets"]["db"] = "20G"
    sample.site["site_storage"]["database"]["source"] = "hdd/db"
    assert dataset(sample, "hdd/db") == COMMON
    node = sample.plan().plan["nodes"]["pve"]
    assert {"id": "hdd-db", "type": "zfspool", "pool": "hdd/db"} in node["storages"]


def test_own_properties_pass_through(sample: Any) -> None:
    pool(sample, "hdd")["datasets"]["media"] = {
        "properties": {"dedup": False, "com.sun:auto-snapshot": False, "copies": 2}
    }
    found = dataset(sample, "hdd/media")
    assert (found["dedup"], found["com.sun:auto-snapshot"], found["copies"]) == (False, False, 2)


def test_parents_come_first(sample: Any) -> None:
    pool(sample, "hdd")["datasets"] = {"a/b/c": {}, "a/b": {}, "a": {}, "media": {}}
    names = [one["name"] for one in zfs(sample)["datasets"] if one["name"].startswith("hdd/a")]
    assert names == ["hdd/a", "hdd/a/b", "hdd/a/b/c"]


def test_a_childs_quota_is_not_counted_twice(sample: Any) -> None:
    pool(sample, "hdd")["datasets"] = {"media": "400G", "media/films": "300G"}
    assert zfs(sample)["datasets"]


def test_an_encrypted_dataset_has_a_generated_key(sample: Any) -> None:
    pool(sample, "hdd")["datasets"]["media"] = {"encryption": True}
    found = next(one for one in zfs(sample)["datasets"] if one["name"] == "hdd/media")
    assert found["encryption"] == {"key_file": "/etc/zfs/keys/hdd-media.key", "key_format": "hex"}
    plan = sample.plan().plan
    name = "zfs_key.pve-hdd-media"
    assert {"name": name, "length": 64, "kind": "hex"} in plan["secrets"]
    assert plan["nodes"]["pve"]["zfs"]["keys"] == [{"path": "/etc/zfs/keys/hdd-media.key", "secret": name}]


def test_snapshots_are_asked_for(sample: Any) -> None:
    assert zfs(sample)["snapshots"] == {
        "templates": {},
        "datasets": [{"name": "hdd/media", "template": "brief", "recursive": "no"}],
        "replications": [],
    }


def test_a_pools_policy_is_for_all_but_who_says_otherwise(sample: Any) -> None:
    sample.hosts["pve"]["node"]["snapshot_policies"] = {"mine": {"daily": 3}}
    pool(sample, "hdd").update(snapshots="mine", datasets={"media": {"snapshots": "none"}, "db": {"purpose": "disks"}})
    counts = dict.fromkeys(("frequently", "hourly", "weekly", "monthly", "yearly"), 0)
    assert zfs(sample)["snapshots"] == {
        "templates": {"mine": {**counts, "daily": 3}},
        "datasets": [
            {"name": "hdd/media", "template": "none", "recursive": "no"},
            {"name": "hdd/db", "template": "mine", "recursive": "yes"},
        ],
        "replications": [],
    }


def test_a_directory_is_no_business_of_zfs(sample: Any) -> None:
    for name in ("ssd", "hdd", "old"):
        pool(sample, name).update(kind="directory", vdevs=[], datasets={**pool(sample, name)["datasets"]})
    pool(sample, "hdd")["datasets"]["media"] = "100G"
    snapshots = {"templates": {}, "datasets": [], "replications": []}
    assert zfs(sample) == {"pools": [], "datasets": [], "snapshots": snapshots, "keys": []}


def test_one_special_device_is_a_warning(sample: Any) -> None:
    pool(sample, "hdd")["special"] = [{"devices": ["/dev/disk/by-id/nvme-C"]}]
    assert "special-without-mirror" in [one["name"] for one in sample.plan().plan["warnings"]]
