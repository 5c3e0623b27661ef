# SPDX-License-Identifier: MIT
"""Raspberry Pis in the plan; what is refused stands in test_plan_mistakes.py."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.fixture
def berry(sample: Any) -> Any:
    """The Pi is all there is."""
    sample.hosts = {"back": {"ansible_host": "192.168.1.120"}}
    del sample.site["site_services"]["proxy"], sample.site["site_services"]["tunnel"], sample.site["site_secrets"]
    for body in sample.site["site_services"].values():
        body["hosts"] = ["back"]
    sample.groups["back"] = ["raspberrypi"]
    for name in ("appdata", "database", "media", "backups"):
        source = f"/dev/disk/by-id/usb-{name}"
        sample.site["site_storage"][name] = {"source": source, "as": "disk", "mount": f"/mnt/{name}"}
    for body in sample.catalog.values():
        body.pop("route", None)  # there is no proxy
        for container in body.get("containers", {}).values():
            container["platforms"] = ["amd64", "arm64"]
    return sample


def told(sample: Any) -> tuple[list[str], list[str]]:
    """Mistakes by their text, and names of warnings with their places."""
    result = sample.plan()
    platforms = [one.where.key for one in result.problems.warnings if one.name == "platform-unknown"]
    return [problem.text() for problem in result.problems.found], platforms


def test_a_pi_is_arm64_and_other_hosts_are_not(berry: Any) -> None:
    assert told(berry) == ([], [])
    assert berry.plan().plan["hosts"]["back"]["architecture"] == "arm64"
    berry.hosts["back"]["architecture"] = "amd64"
    assert berry.plan().plan["hosts"]["back"]["architecture"] == "amd64"


def test_an_image_that_nobody_looked_for_is_told_and_not_refused(berry: Any) -> None:
    del berry.catalog["films"]["containers"]["films"]["platforms"]
    assert told(berry) == ([], ["containers.films.platforms"])
    berry.hosts["back"]["architecture"] = "amd64"
    assert told(berry) == ([], [])


def test_a_pi_that_starts_from_an_ssd_may_keep_data_there(berry: Any) -> None:
    berry.site["site_storage"]["appdata"] = {"as": "local", "mount": "/mnt/appdata"}
    assert [text for text in told(berry)[0] if "SD card" in text]
    berry.hosts["back"]["root_disk"] = "ssd"
    assert told(berry) == ([], [])


def test_what_is_only_read_may_lie_on_the_card(berry: Any) -> None:
    berry.site["site_storage"]["media"] = {"as": "local", "mount": "/srv/media"}
    assert told(berry) == ([], [])


def test_the_cache_of_a_mount_must_lie_on_a_disk_that_the_host_has(berry: Any) -> None:
    berry.catalog["films"]["containers"]["films"]["volumes"]["media"] = "/media"
    berry.site["site_rclone"] = {"azure": {"type": "azureblob"}}
    cloud = {"source": "azure:films", "as": "rclone", "mount": "/mnt/media", "cache_path": "/mnt/appdata/cache"}
    berry.site["site_storage"]["media"] = cloud
    berry.site["site_storage"]["other"] = {"source": "/dev/disk/by-id/usb-other", "as": "disk", "mount": "/mnt/other"}
    assert told(berry) == ([], [])
    cloud["cache_path"] = "/mnt/other/cache"  # nobody on this host uses that disk, so it is not mounted
    assert ["SD card" in text for text in told(berry)[0]] == [True]
    berry.site["site_storage"]["media"]["read_only"] = True
    berry.catalog["films"]["containers"]["films"]["volumes"]["media"] = {"at": "/media", "read_only": True}
    assert told(berry) == ([], [])


def test_a_volume_that_is_optional_is_there_where_the_inventory_places_it(sample: Any) -> None:
    films = sample.catalog["films"]
    films["containers"]["films"]["volumes"]["thumbs"] = "/config/thumbs"
    films["volumes"]["thumbs"] = {"class": "appdata", "optional": True}

    def binds() -> list[tuple[str, str]]:
        files = sample.plan().plan["hosts"]["back"]["files"]
        compose = next(one["yaml"] for one in files if one["path"].endswith("/films/compose.yaml"))
        return [(one["source"], one["target"]) for one in compose["services"]["films"]["volumes"]]

    assert "/config/thumbs" not in [target for _source, target in binds()]
    sample.site["site_services"]["films"]["volumes"] = {"thumbs": {"folder": "films/thumbs"}}
    assert ("/mnt/appdata/films/thumbs", "/config/thumbs") in binds()


def test_the_inventory_says_how_often_a_volume_is_backed_up_or_that_it_is_not(sample: Any) -> None:
    sample.site["site_services"]["films"]["backup"] = {"media": "never", "config": "weekly"}
    result = sample.plan()
    jobs = {job["name"]: job["schedule"] for job in result.plan["hosts"]["back"]["backups"]["jobs"]}
    assert jobs["films-config"] == "weekly" and "films-media" not in jobs
    assert "films's volume media is in no backup" in [one["message"] for one in result.plan["warnings"]]
