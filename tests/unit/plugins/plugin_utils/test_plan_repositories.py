"""Remote repositories: what the plan says of them, and that their secrets are named only."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.homelab.mediaserver.plugins.filter import restic_repositories as filters

S3 = {"url": "s3:https://s3.example.org/bucket/home/"}
HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA"


def backups(sample: Any, body: dict[str, Any], *given: str) -> dict[str, Any]:
    sample.site["site_backup"] = {"repositories": {"local": {"class": "backups"}, "offsite": body}}
    sample.site["site_secrets"] |= dict.fromkeys(given, True)
    made = sample.plan()
    assert not made.problems.found, [one.text() for one in made.problems.found]
    sample.made = made.plan
    found: dict[str, Any] = made.plan["hosts"]["back"]["backups"]
    return found


@pytest.mark.parametrize(
    ("url", "path", "secrets"),
    [
        (S3["url"], "s3:https://s3.example.org/bucket/home/back", ["aws_access_key_id", "aws_secret_access_key"]),
        ("azure:box:/", "azure:box:/back", ["azure_account_name", "azure_account_key"]),
        ("b2:my-bucket:home", "b2:my-bucket:home/back", ["b2_account_id", "b2_account_key"]),
        ("rest:https://h:8000/me/", "rest:https://h:8000/me/back", ["restic_rest_username", "restic_rest_password"]),
        ("rclone:drive:backups", "rclone:drive:backups/back", []),
    ],
)
def test_each_kind_wants_its_credentials(sample: Any, url: str, path: str, secrets: list[str]) -> None:
    names = [f"offsite.{one}" for one in secrets]
    local, offsite = backups(sample, {"url": url}, *names)["repositories"]
    assert local == {"name": "local", "path": "/mnt/backups/restic-repo/back", "mount": "/mnt/backups"}
    assert (offsite["path"], list(offsite["credentials"].values())) == (path, names)
    assert {one["name"] for one in sample.made["secrets"] if one.get("ask")} >= set(names)
    assert "backup-without-off-site" not in {one["name"] for one in sample.made["warnings"]}


def test_rclone_finds_the_remotes_of_the_host(sample: Any) -> None:
    _local, offsite = backups(sample, {"url": "rclone:drive:backups"})["repositories"]
    assert offsite["environment"] == {"RCLONE_CONFIG": "/etc/rclone/rclone.conf"}
    own = {"url": "rclone:drive:backups", "environment": {"RCLONE_CONFIG": "/root/mine.conf"}}
    assert backups(sample, own)["repositories"][1]["environment"] == {"RCLONE_CONFIG": "/root/mine.conf"}


def test_sftp_has_a_key_of_its_own_and_knows_its_server(sample: Any) -> None:
    body = {"url": "sftp://me@box.example.org:2222//srv/home", "known_host": HOST_KEY, "upload_limit": "2M"}
    _local, offsite = backups(sample, body)["repositories"]
    assert offsite["ssh"] == {"key": "offsite.ssh_key", "known_host": f"[box.example.org]:2222 {HOST_KEY}"}
    assert {"name": "offsite.ssh_key", "kind": "ssh_ed25519"} in sample.made["secrets"]
    (told,) = filters.restic_repositories([offsite], "/etc/restic/ssh")
    limit, ssh = told["options"]
    assert limit == "--limit-upload=2048"
    assert ssh.startswith(
        "--option=sftp.args=-i /etc/restic/ssh/offsite -o UserKnownHostsFile=/etc/restic/ssh/offsite."
    )
    secrets = {"offsite.ssh_key": "PRIVATE", "offsite.ssh_key.public": "ssh-ed25519 AAAA"}
    written = filters.restic_ssh_files([offsite], secrets, "/s")
    assert [(one["path"], one.get("secret", False)) for one in written] == [
        ("/s/offsite", True),
        ("/s/offsite.known_hosts", False),
        ("/s/offsite.pub", False),
    ]


def test_who_may_prune_is_no_host(sample: Any) -> None:
    own = {"AWS_ACCESS_KEY_ID": "cleaner.id", "AWS_SECRET_ACCESS_KEY": "cleaner.key"}
    given = ["cleaner.id", "cleaner.key", "offsite.aws_access_key_id", "offsite.aws_secret_access_key"]
    found = backups(sample, {**S3, "append_only": True, "prune": {"credentials": own}}, *given)
    assert found["repositories"][1]["append_only"] is True
    assert [one["credentials"] for one in found["pruned"]] == [own]
    told = filters.restic_environments(found["repositories"], {name: f"value of {name}" for name in given})
    assert told == {
        "offsite": {
            "AWS_ACCESS_KEY_ID": "value of offsite.aws_access_key_id",
            "AWS_SECRET_ACCESS_KEY": "value of offsite.aws_secret_access_key",
        }
    }
    assert "cleaner" not in json.dumps(filters.restic_repositories(found["repositories"], "/s"))


def test_a_shorter_rpo_has_the_backup_made_more_often(sample: Any) -> None:
    before = {job["name"]: job for job in sample.plan().plan["hosts"]["back"]["backups"]["jobs"]}
    assert (before["films-media"]["schedule"], before["films-media"]["rpo"]) == ("monthly", 45 * 86400)
    sample.site["site_backup"] = {
        "objectives": {"rto": "2h", "services": {"films": {"rpo": "8d"}, "photos": {"rpo": "1h", "rto": "30m"}}}
    }
    found = sample.plan().plan["hosts"]["back"]["backups"]
    jobs = {job["name"]: (job["schedule"], job["rpo"]) for job in found["jobs"]}
    assert jobs["films-media"] == ("weekly", 8 * 86400)
    assert jobs["films-config"] == ("daily", 8 * 86400), "more often than asked for is kept"
    assert jobs["photos-main"] == ("hourly", 3600)
    assert (found["rto"]["films"], found["rto"]["photos"]) == (7200, 1800)


def test_hosts_are_told_of_what_is_unwise_until_it_is_accepted_or_a_copy_is_elsewhere(sample: Any) -> None:
    sample.site["site_storage"]["backups"]["source"] = "hdd/backups"
    sample.hosts["pve"]["node"]["pools"]["hdd"]["datasets"]["backups"] = "280G"
    sample.site["site_accept"] = ["storage-shared-with-edge"]

    def told() -> set[str]:
        return {one["name"] for one in sample.plan().plan["hosts"]["back"]["backups"]["warnings"]}

    assert told() == {"backup-on-protected-disk", "backup-without-off-site"}
    sample.site["site_accept"].append("backup-on-protected-disk")
    assert told() == {"backup-without-off-site"}
    backups(sample, {"url": "rclone:drive:backups"})
    assert told() == set()


def test_a_whole_cluster_is_dumped_into_a_folder(sample: Any) -> None:
    dump = {"service": "photos", "class": "media", "folder": "backup", "keep": 7}
    sample.site["site_backup"] = {"dumps": {"all": dump}}
    made = sample.plan()
    assert not made.problems.found
    back = made.plan["hosts"]["back"]
    assert back["backups"]["dumps"] == [
        {
            "name": "dumpall-all", "service": "photos", "container": "database", "user": "postgres",
            "folder": "/mnt/media/backup", "mount": "/mnt/media", "schedule": "daily", "keep": 7,
        }
    ]  # fmt: skip
    assert made.plan["hosts"]["front"]["backups"]["dumps"] == []
    folder = next(one for one in back["directories"] if one["path"] == "/mnt/media/backup")
    assert (folder["mode"], folder["below"]) == ("0700", "/mnt/media")


def test_what_something_else_holds_is_left_out(sample: Any) -> None:
    sample.catalog["films"]["backup"]["exclude"] = {"config": ["dumps/*.gz"]}
    jobs = {job["name"]: job for job in sample.plan().plan["hosts"]["back"]["backups"]["jobs"]}
    assert jobs["films-config"]["exclude"] == ["/mnt/appdata/films/config/dumps/*.gz"]


def test_a_site_without_backups_needs_no_place_for_them(sample: Any) -> None:
    del sample.site["site_services"]["saver"], sample.site["site_storage"]["backups"]
    sample.site["site_accept"].append("backup-without-restic")
    assert sample.plan().problems.found == []
