# SPDX-License-Identifier: MIT
"""Storage classes in the plan: mounts by rclone and NFS, who binds to what, what each host is given."""
# ruff: noqa: E501

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.homelab.mediaserver.plugins.plugin_utils import mounts


def planned(sample: Any) -> Any:
    result = sample.plan()
    assert [problem.text() for problem in result.problems.found] == []
    return result.plan


@pytest.fixture
def cloudy(sample: Any) -> Any:
    """Films keep their media in a cloud, in an encrypted folder; photos write into it too."""
    sample.site["site_rclone"] = {
        "azure": {"type": "azureblob", "options": {"account": "family"}, "secrets": ["key"]},
        "vault": {"type": "crypt", "options": {"remote": "azure:media"}, "secrets": ["password"]},
        "unused": {"type": "webdav", "options": {"url": "https://example.org"}, "secrets": ["pass"]},
    }
    sample.site["site_storage"]["media"] = {
        "source": "vault:films", "as": "rclone", "mount": "/mnt/cloud-media", "cache": "5G", "options": "--dir-cache-time=1h",
    }  # fmt: skip
    sample.site["site_secrets"] |= {"rclone.azure_key": True, "rclone.vault_password": True}
    return sample


def unit_of(plan: Any, service: str) -> dict[str, list[str]]:
    path = f"/etc/systemd/system/mediaserver-{service}.service"
    text = next(one["content"] for one in plan["hosts"]["back"]["files"] if one["path"] == path)
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        key, equals, value = line.partition("=")
        if equals:
            found.setdefault(key, []).extend(value.split())
    return found


def test_a_host_gets_the_remotes_it_needs_and_what_they_stand_on(cloudy: Any) -> None:
    plan = planned(cloudy)
    assert plan["hosts"]["back"]["rclone"]["remotes"] == [
        {"name": "azure", "type": "azureblob", "options": {"account": "family"}, "secrets": {"key": "rclone.azure_key"}},
        {"name": "vault", "type": "crypt", "options": {"remote": "azure:media"},
         "secrets": {"password": "rclone.vault_password"}},
    ]  # fmt: skip
    assert plan["hosts"]["front"]["rclone"] == {"remotes": [], "mounts": []}
    asked = [one["name"] for one in plan["secrets"] if one["name"].startswith("rclone.")]
    assert asked == ["rclone.azure_key", "rclone.vault_password"], "a remote that nobody uses asks for nothing"


def test_a_mount_by_rclone_has_its_limits_and_the_owner_who_writes(cloudy: Any) -> None:
    mount = planned(cloudy)["hosts"]["back"]["rclone"]["mounts"][0]
    assert mount == {
        "remote": "vault:films", "path": "/mnt/cloud-media", "read_only": False, "owner": "0:0", "cache": "5G",
        "cache_age": "24h", "cache_mode": "writes", "cache_path": "/var/cache/rclone", "options": ["--dir-cache-time=1h"],
    }  # fmt: skip
    cloudy.catalog["films"]["containers"]["films"]["volumes"]["media"] = "/media"
    host = planned(cloudy)["hosts"]["back"]
    assert host["rclone"]["mounts"][0]["owner"] == "1000:1000"
    folder = next(one for one in host["directories"] if one["path"] == "/mnt/cloud-media/library")
    assert (folder["owner"], folder["group"], folder["mode"]) == (1000, 1000, "0755"), "as rclone shows it"


def test_a_folder_in_a_bucket_holds_a_file_without_which_it_would_vanish(cloudy: Any) -> None:
    def keepers() -> list[tuple[str, int, str]]:
        files = planned(cloudy)["hosts"]["back"]["files"]
        return [(one["path"], one["owner"], one["mode"]) for one in files if one["path"].endswith("/.mediaserver")]

    cloudy.catalog["films"]["containers"]["films"]["volumes"]["media"] = "/media"
    cloudy.catalog["films"]["volumes"]["media"]["folder"] = "films/library"
    assert keepers() == [("/mnt/cloud-media/films/library/.mediaserver", 1000, "0644")], (
        "as rclone shows it, in leaves only"
    )
    cloudy.site["site_rclone"]["azure"]["type"] = "webdav"
    assert keepers() == []


def test_a_service_is_bound_to_rclone_and_comes_back_with_the_mount(cloudy: Any) -> None:
    plan = planned(cloudy)
    unit, name = unit_of(plan, "films"), r"mnt-cloud\x2dmedia"
    assert unit["BindsTo"] == ["mnt-appdata.mount", f"rclone-{name}.service"]
    assert {"mnt-appdata.mount", f"rclone-{name}.service"} <= set(unit["After"])
    # wanted by rclone's service it would shorten rclone's pause between two tries to nothing
    assert unit["WantedBy"] == ["multi-user.target", "mnt-appdata.mount", f"{name}.mount"]
    listed = {one["class"]: one["unit"] for one in plan["hosts"]["back"]["mounts"]}
    assert listed["media"] == f"rclone-{name}.service"
    assert listed["database"] == "mnt-database.mount"


@pytest.mark.parametrize(
    ("body", "unit"),
    [
        ({"as": "local", "source": "", "mount": "/srv/data"}, ""),
        ({"as": "local", "source": "/srv/data/", "mount": "/srv/data"}, ""),
        ({"as": "local", "source": "/data", "mount": "/srv/data"}, "srv-data.mount"),
        ({"as": "nfs", "source": "/data", "mount": "/srv/data/"}, "srv-data.mount"),
        ({"as": "rclone", "source": "a:", "mount": "/srv/data"}, "rclone-srv-data.service"),
    ],
)
def test_which_unit_mounts_a_class(body: dict[str, str], unit: str) -> None:
    assert mounts.owner_unit(body) == unit


def test_a_remote_goes_where_clouds_are_fetched_and_repositories_lie(cloudy: Any) -> None:
    cloudy.site["site_storage"]["media"] = {"source": "hdd/media", "as": "virtiofs", "mount": "/mnt/media"}
    del cloudy.site["site_secrets"]["rclone.vault_password"]
    cloudy.site["site_backup"] = {"repositories": {"away": {"url": "rclone:azure:backups"}}}
    plan = planned(cloudy)
    assert [[one["name"] for one in plan["hosts"][name]["rclone"]["remotes"]] for name in ("front", "back")] == [
        ["azure"]
    ] * 2


def test_a_missing_secret_of_a_remote_is_asked_for(cloudy: Any) -> None:
    del cloudy.site["site_secrets"]["rclone.azure_key"]
    problem = next(one for one in cloudy.plan().problems.found if one.kind == "secret-missing")
    assert "site_secrets: {rclone: {azure_key: ...}}" in problem.text()


def test_the_node_exports_to_named_hosts_squashed_and_makes_the_folders(sample: Any) -> None:
    sample.site["site_storage"]["media"] |= {"as": "nfs", "read_only": False}
    sample.catalog["films"]["containers"]["films"]["volumes"]["media"] = "/media"
    sample.hosts["back"]["address6"] = "fd00:1::101"
    plan = planned(sample)
    nfs = plan["nodes"]["pve"]["nfs"]
    rules = "(rw,sync,root_squash,no_subtree_check,sec=sys)"
    assert nfs["exports"] == f'"/hdd/media" 192.168.1.101{rules} fd00:1::101{rules}\n'
    assert nfs["paths"] == ["/hdd/media"]
    assert nfs["directories"] == [{"path": "/hdd/media/library", "owner": 1000, "group": 1000, "mode": "0750"}]
    node = plan["nodes"]["pve"]["firewall"]["node"]["rules"]
    assert [rule["source"] for rule in node if rule["dport"] == "2049"] == ["192.168.1.101/32", "fd00:1::101/128"]
    assert plan["hosts"]["front"]["nfs"] == {"exports": "", "paths": [], "directories": []}


def test_another_host_may_serve(sample: Any) -> None:
    sample.site["site_storage"]["media"] = {
        "as": "nfs", "source": "/srv/films", "server": "front", "mount": "/mnt/media", "read_only": True,
    }  # fmt: skip
    plan = planned(sample)
    assert plan["hosts"]["front"]["nfs"]["exports"].startswith('"/srv/films" 192.168.1.101(ro,sync,root_squash')
    assert [one["from"] for one in plan["hosts"]["front"]["firewall"]["host"] if one["port"] == 2049] == [
        "192.168.1.101/32"
    ]
    mount = next(one for one in plan["hosts"]["back"]["mounts"] if one["class"] == "media")
    assert mount["source"] == "192.168.1.111:/srv/films"
    assert plan["nodes"]["pve"]["nfs"]["exports"] == ""


def test_a_nas_is_served_by_nobody_of_ours(sample: Any) -> None:
    sample.site["site_storage"]["media"] = {"as": "nfs", "source": "/films", "server": "nas.lan", "mount": "/mnt/media"}
    plan = planned(sample)
    assert next(one for one in plan["hosts"]["back"]["mounts"] if one["class"] == "media")["source"] == "nas.lan:/films"
    assert all(not host["nfs"]["paths"] for host in [*plan["hosts"].values(), *plan["nodes"].values()])


def test_sqlite_in_a_cloud_is_a_warning_once_accepted(cloudy: Any) -> None:
    body = {"kind": "sqlite", "volume": "media", "file": "a.db", "schedule": "daily"}
    cloudy.catalog["films"]["backup"]["databases"] = {"own": body}
    assert "database-on-network-storage" in {one.kind for one in cloudy.plan().problems.found}
    cloudy.site["site_accept"].append("database-on-network-storage")
    assert any("SQLite" in one["message"] for one in planned(cloudy)["warnings"])


def test_a_machine_of_its_own_may_have_a_disk(sample: Any) -> None:
    sample.hosts["box"] = {"ansible_host": "192.168.1.120"}
    sample.site["site_storage"]["usb"] = {"as": "disk", "source": "/dev/disk/by-id/usb-ssd", "mount": "/mnt/ssd"}
    sample.site["site_services"]["films"] = {
        "hosts": ["box"], "volumes": {"config": {"class": "usb"}, "media": {"class": "usb"}},
    }  # fmt: skip
    mount = planned(sample)["hosts"]["box"]["mounts"][0]
    assert (mount["source"], mount["unit"]) == ("/dev/disk/by-id/usb-ssd", "mnt-ssd.mount")


def test_a_plain_directory_needs_nothing_mounted(sample: Any) -> None:
    """On it config_tree, backups and ingest would wait for a mount that never comes."""
    sample.site["site_storage"]["appdata"] = {"as": "local", "mount": "/srv/appdata"}
    host = planned(sample)["hosts"]["back"]
    folder = next(one for one in host["directories"] if one["path"] == "/srv/appdata/films/config")
    assert "below" not in folder
    job = next(one for one in host["backups"]["jobs"] if one["name"] == "films-config")
    assert job["paths"] == [{"path": "/srv/appdata/films/config", "mount": None}]
    assert next(one for one in host["mounts"] if one["class"] == "appdata")["unit"] is None
    sample.site["site_storage"]["appdata"]["source"] = "/data"
    host = planned(sample)["hosts"]["back"]
    assert (
        next(one for one in host["directories"] if one["path"] == "/srv/appdata/films/config")["below"]
        == "/srv/appdata"
    )


def test_a_backup_over_nfs_is_warned_of_where_only_the_owner_may_read(sample: Any) -> None:
    sample.site["site_storage"]["media"]["as"] = "nfs"
    names = [one["name"] for one in planned(sample)["warnings"]]
    assert "nfs-backup-as-nobody" not in names, "films only read it: its folders are open to all"
    sample.catalog["films"]["containers"]["films"]["volumes"]["media"] = "/media"
    assert "nfs-backup-as-nobody" in [one["name"] for one in planned(sample)["warnings"]]
