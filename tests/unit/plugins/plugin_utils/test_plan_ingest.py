"""What the plan hands to role ingest."""

from __future__ import annotations

from typing import Any

PHONE = {"remote": "drive", "paths": ["Camera"], "class": "media", "folder": "library/phone", "quota": "100G"}


def placed(sample: Any, **jobs: Any) -> dict[str, Any]:
    sample.site["site_services"]["fetcher"] = {"hosts": ["back"], "settings": {"jobs": jobs}}
    result = sample.plan()
    assert [problem.text() for problem in result.problems.found] == []
    return dict(result.plan["hosts"]["back"])


def test_jobs_get_their_place_and_their_defaults(sample: Any) -> None:
    host = placed(sample, phone=PHONE)
    entry = next(one for one in host["system"] if one["service"] == "fetcher")
    (job,) = entry["settings"]["jobs"]
    assert (job["name"], job["target"], job["mount"]) == ("phone", "/mnt/media/library/phone", "/mnt/media")
    assert (job["copy"], job["move"], job["min_age"], job["min_free"]) == (["photos"], ["videos"], "1h", "5G")
    assert "class" not in job and "owner" not in job


def test_the_folder_is_made_below_its_mount(sample: Any) -> None:
    host = placed(sample, phone={**PHONE, "owner": "1000:1000"})
    made = {one["path"]: one for one in host["directories"]}
    folder = made["/mnt/media/library/phone"]
    assert (folder["owner"], folder["group"], folder["below"]) == (1000, 1000, "/mnt/media")


def test_the_class_is_mounted_for_ingest_alone(sample: Any) -> None:
    sample.site["site_storage"]["scans"] = {"source": "old/scans", "as": "virtiofs", "mount": "/mnt/scans"}
    sample.hosts["pve"]["node"]["pools"]["old"]["datasets"]["scans"] = "1G"
    host = placed(sample, paper={**PHONE, "class": "scans", "move": [], "copy": ["other"]})
    assert "scans" in [mount["class"] for mount in host["mounts"]]


def test_a_copy_needs_no_backup(sample: Any) -> None:
    sample.site["site_services"]["saver"]["hosts"] = ["front"]
    sample.site["site_accept"].append("backup-without-restic")
    assert placed(sample, phone={**PHONE, "move": []})["backups"]["jobs"] == []
