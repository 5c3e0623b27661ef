# SPDX-License-Identifier: MIT
"""Folders that the inventory names in a service's settings become volumes, binds, backups and what the role is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.homelab.mediaserver.plugins.plugin_utils import folders

ROOT = Path(__file__).parents[4]
FAMILY = {
    "name": "Family & friends",
    "storage": "media/albums/family",
    "owner": "Mum@example.org",
    "exclude": ["**/Trash/**"],
}
USERS = [{"email": "mum@example.org", "password": "pw"}]


@pytest.fixture
def planned(sample: Any) -> Any:
    def plan(*entries: Any, **settings: Any) -> Any:
        service = sample.site["site_services"]["photos"]
        service["settings"] = {"albums": list(entries), "users": USERS, **settings}
        # the sample's service says nothing of its application's role
        sample.catalog["photos"]["configure"] = "homelab.mediaserver.immich"
        result = sample.plan()
        assert result.problems.found == [], [problem.text() for problem in result.problems.found]
        return result.plan["hosts"]["back"]

    return plan


def compose(host: Any) -> Any:
    return next(one["yaml"] for one in host["files"] if one["path"].endswith("/services/photos/compose.yaml"))


def one(host: Any, path: str) -> Any:
    return next(entry for entry in host["directories"] if entry["path"] == path)


def test_folder_is_bound_read_only(planned: Any) -> None:
    host = planned(FAMILY)
    assert compose(host)["services"]["server"]["volumes"][0] == {
        "type": "bind",
        "source": "/mnt/media/albums/family",
        "target": "/mnt/albums/family-friends",
        "read_only": True,
        "bind": {"create_host_path": False},
    }
    assert "media" in [mount["class"] for mount in host["mounts"]]


def test_owner_and_mode_of_the_folder_stay_whose_it_is(planned: Any) -> None:
    host = planned(FAMILY)
    for path in ("/mnt/media/albums/family", "/mnt/media/albums"):
        made = {"path": path, "owner": 0, "group": 0, "mode": "0755", "below": "/mnt/media", "service": "photos"}
        assert one(host, path) == {**made, "keep": True}
    assert "keep" not in one(host, "/mnt/media/library"), "of no other directory"
    host = planned({**FAMILY, "read_only": False})
    made = one(host, "/mnt/media/albums/family")
    assert (made["owner"], made["mode"], "keep" in made) == (1000, "0750", False), (
        "what the service may write is its own"
    )
    assert "read_only" not in compose(host)["services"]["server"]["volumes"][0]


def test_role_is_told_the_path_inside(planned: Any) -> None:
    application = next(
        entry for entry in planned(FAMILY, {"name": "Plain", "storage": "media/x", "scan": "never"})["applications"]
        if entry["service"] == "photos"
    )  # fmt: skip
    assert application["folders"] == {
        "albums": [
            {
                "name": "Family & friends",
                "path": "/mnt/albums/family-friends",
                "read_only": True,
                "owner": "Mum@example.org",
                "exclude": ["**/Trash/**"],
            },
            {"name": "Plain", "path": "/mnt/albums/plain", "read_only": True, "scan": "never"},
        ]
    }
    assert application["volumes"]["albums-plain"] == {"host": "/mnt/media/x", "container": "/mnt/albums/plain"}


def test_backups_cover_folders(planned: Any) -> None:
    jobs = planned(
        FAMILY, {"name": "Often", "storage": "media/often", "backup": "daily"},
        {"name": "Never", "storage": "media/never", "backup": "never"},
    )["backups"]["jobs"]  # fmt: skip
    found = {job["name"]: (job["schedule"], job["paths"]) for job in jobs if job["name"].startswith("photos-albums")}
    assert found == {
        "photos-albums-family-friends": ("weekly", [{"path": "/mnt/media/albums/family", "mount": "/mnt/media"}]),
        "photos-albums-often": ("daily", [{"path": "/mnt/media/often", "mount": "/mnt/media"}]),
    }


def test_backups_of_folders_alone(sample: Any) -> None:
    """A service that declares no backup of its own has its folders kept all the same, and its host a repository."""
    del sample.catalog["photos"]["backup"]
    sample.site["site_services"]["photos"]["settings"] = {"albums": [{"name": "A", "storage": "media/a"}]}
    backups = sample.plan().plan["hosts"]["back"]["backups"]
    assert "photos-albums-a" in [job["name"] for job in backups["jobs"]]
    assert backups["repositories"]


def test_project_waits_for_the_mount(planned: Any) -> None:
    host = planned(FAMILY)
    unit = next(entry for entry in host["files"] if entry["path"].endswith("mediaserver-photos.service"))
    assert "mnt-media.mount" in unit["content"]


def test_administrator_may_own_and_references_are_replaced(planned: Any) -> None:
    planned({**FAMILY, "owner": "${email}"})
    planned({**FAMILY, "owner": "boss@example.org"}, admin_email="Boss@example.org")


def test_nothing_named_changes_nothing(sample: Any) -> None:
    before = sample.plan().plan["hosts"]["back"]
    assert compose(before)["services"]["server"].get("volumes", [])[0]["target"] == "/run/secrets"
    assert not [job for job in before["backups"]["jobs"] if "albums" in job["name"]]


@pytest.mark.parametrize(
    ("name", "folder"),
    [("Family", "family"), ("Été 2024", "ete-2024"), ("  a  b  ", "a-b"), ("日本", ""), ("A/../B", "a-b")],
)
def test_file_names(name: str, folder: str) -> None:
    assert folders.file_name(name) == folder


@pytest.mark.parametrize("value", [None, 7, "x", [None], {"a": None}], ids=str)
@pytest.mark.parametrize("key", ["name", "storage", "owner", "exclude", "scan", "backup", "read_only", ""])
def test_wrong_values_are_no_traceback(sample: Any, key: str, value: Any) -> None:
    entry = {**FAMILY, "scan": "never", "backup": "daily", "read_only": True, key: value} if key else value
    sample.site["site_services"]["photos"]["settings"] = {"albums": [entry], "users": value}
    sample.plan()


def test_immich_of_the_catalog() -> None:
    entry = yaml.safe_load((ROOT / "roles/services/catalog/immich/service.yml").read_text(encoding="utf-8"))
    assert entry["folders"]["photographs"]["container"] == "server"
    assert entry["settings"]["photographs"], "there is one to begin with"
    role = (ROOT / "roles/immich/defaults/main.yml").read_text(encoding="utf-8")
    assert ".photographs" in role, "the role reads what the catalog declares"
