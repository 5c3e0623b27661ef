# SPDX-License-Identifier: MIT
"""What the plan makes of a Windows machine and the Debian inside it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.homelab.mediaserver.plugins.plugin_utils import (
    drives,
    plan_map,
    plan_page,
    plan_text,
    recovery_page,
)

PHONE = {"remote": "drive", "paths": ["Camera"], "class": "library", "folder": "phone"}


@pytest.fixture
def home(sample: Any) -> Any:
    """One Windows machine with its Debian; films and photos on D:, backups on C:."""
    sample.hosts = {
        "minipc": {
            "ansible_host": "192.168.1.50",
            "windows": {"shares": {"films": {"class": "media", "folder": "library", "users": ["family"]}}},
        },
        "debian": {"ansible_host": "192.168.1.50", "wsl": "minipc", "memory": "12G"},
    }
    sample.groups = {"minipc": ["windows"], "debian": ["single"]}
    sample.site |= {
        "site_admin": {"user": "ops", "ssh_keys": ["ssh-ed25519 AAAA ops"], "ssh_port": 2222},
        "site_services": {
            "proxy": {"hosts": ["debian"]},
            "films": {"hosts": ["debian"]},
            "photos": {"hosts": ["debian"], "settings": {"albums": [{"name": "Cloud", "storage": "library/phone"}]}},
            "saver": {"hosts": ["minipc", "debian"]},
            "fetcher": {"hosts": ["minipc"], "settings": {"jobs": {"phone": PHONE}}},
        },
        "site_storage": {
            "appdata": {"as": "local", "source": "", "mount": "/srv/appdata"},
            "database": {"as": "local", "source": "", "mount": "/srv/database"},
            "media": {"source": "/mnt/d/Films", "as": "local", "mount": "/mnt/media"},
            "library": {"source": "/mnt/d/Photos", "as": "local", "mount": "/mnt/library"},
            "backups": {"source": "/mnt/c/Backups", "as": "local", "mount": "/mnt/backups"},
        },
        "site_secrets": {},
        "site_accept": ["backup-without-off-site", "gpu-optional-missing", "no-backup"],
    }
    return sample


def planned(home: Any) -> dict[str, Any]:
    result = home.plan()
    assert [problem.text() for problem in result.problems.found] == []
    return dict(result.plan)


def test_a_drive_is_a_folder_of_debian(home: Any) -> None:
    site = type("S", (), {"values": home.site})()
    for path, wanted in (
        ("/mnt/media/library/a", "D:/Films/library/a"),
        ("/mnt/media", "D:/Films"),
        ("/mnt/mediathek", ""),
        ("/srv/appdata/x", ""),
        ("/var/lib/mediaserver/ingest/manifest", "C:/ProgramData/mediaserver/ingest/manifest"),
    ):
        assert drives.path_on_windows(site, path) == wanted
    assert drives.native("D:/Films/a") == "D:\\Films\\a"
    assert not drives.on_drive({"as": "local", "source": "/mnt/disk/a"})
    assert not drives.on_drive({"as": "virtiofs", "source": "/mnt/d/a"})


def test_windows_is_no_linux_host(home: Any) -> None:
    plan = planned(home)
    assert list(plan["hosts"]) == ["debian"] and list(plan["windows"]) == ["minipc"]
    assert plan["windows"]["minipc"]["inside"] == ["debian"]
    assert plan["windows"]["minipc"]["services"] == ["saver", "fetcher"]
    assert plan["hosts"]["debian"]["services"] == ["proxy", "films", "photos", "saver"]


def test_who_saves_what(home: Any) -> None:
    plan = planned(home)
    inside = {job["name"] for job in plan["hosts"]["debian"]["backups"]["jobs"]}
    outside = {job["name"]: job for job in plan["windows"]["minipc"]["backups"]["jobs"]}
    assert inside == {"films-config", "photos-main"}
    assert set(outside) == {"films-media", "photos-albums-cloud"}
    assert outside["films-media"]["paths"] == [{"path": "D:/Films/library", "mount": None}]
    assert outside["films-media"]["unit"] is None
    places = plan["windows"]["minipc"]["backups"]["repositories"]
    assert [one["path"] for one in places] == ["C:/Backups/restic-repo/minipc"]
    assert plan["hosts"]["debian"]["backups"]["repositories"][0]["path"] == "/mnt/backups/restic-repo/debian"
    text = "\n".join(plan_text.lines(plan))
    assert "D:/Films/library -> C:/Backups/restic-repo/minipc" in text and "minipc (192.168.1.50, Windows" in text


def test_without_restic_on_windows_debian_saves_all(home: Any) -> None:
    home.site["site_services"]["saver"] = {"hosts": ["debian"]}
    home.site["site_services"]["fetcher"] = {"hosts": ["debian"], "settings": {"jobs": {"phone": PHONE}}}
    plan = planned(home)
    assert plan["windows"]["minipc"]["backups"] is None and plan["windows"]["minipc"]["ingest"] is None
    assert {"films-media", "photos-albums-cloud"} < {job["name"] for job in plan["hosts"]["debian"]["backups"]["jobs"]}


def test_a_drive_protects_another_and_debian_is_a_file_on_c(home: Any) -> None:
    def told() -> list[str]:
        return [one["message"] for one in planned(home)["warnings"] if one["name"] == "backup-on-protected-disk"]

    (message,) = told()
    assert "lies on drive C:, like appdata, which" in message
    home.site["site_storage"]["backups"]["source"] = "/mnt/d/Backups"
    (message,) = told()
    assert "lies on drive D:, like library, media," in message
    home.site["site_storage"]["backups"]["source"] = "/mnt/e/Backups"
    assert told() == []


def test_ingest_fetches_to_the_drive(home: Any) -> None:
    ingest = planned(home)["windows"]["minipc"]["ingest"]
    (job,) = ingest["jobs"]
    assert job["target"] == "D:/Photos/phone" and job["mount"] is None and job["move"] == ["videos"]
    assert "owner" not in job and ingest["time"] == "05:00"


def test_folders_shares_users_and_their_passwords(home: Any) -> None:
    plan = planned(home)
    found = plan["windows"]["minipc"]
    assert found["folders"] == [
        "C:\\Backups", "C:\\Backups\\restic-repo\\minipc", "D:\\Films", "D:\\Films\\library", "D:\\Photos",
        "D:\\Photos\\phone",
    ]  # fmt: skip
    assert found["shares"] == [
        {
            "name": "films",
            "path": "D:\\Films\\library",
            "users": [{"name": "family", "secret": "windows.minipc_family"}],
        }
    ]
    names = {one["name"] for one in plan["secrets"]}
    assert {"windows.minipc_family", "windows.minipc_mediaserver"} <= names


def test_windows_opens_what_debian_opens_and_no_more(home: Any) -> None:
    plan = planned(home)
    firewall = plan["windows"]["minipc"]["firewall"]
    assert [(one["port"], one["name"]) for one in firewall["windows"]] == [
        (22, "mediaserver management 22/tcp"), (445, "mediaserver share films 445/tcp"),
    ]  # fmt: skip
    assert all(one["from"] == ["192.168.1.0/24", "fd00:1::/64"] for one in firewall["windows"])
    debian = plan["hosts"]["debian"]["firewall"]
    wanted = {(one["from"], one["port"]) for one in [*debian["host"], *debian["containers"]]}
    assert {(source, one["port"]) for one in firewall["debian"] for source in one["from"]} == wanted and wanted
    probes = {one["port"] for one in plan["probes"] if one["host"] == "minipc"}
    assert probes == {22, 445}
    assert [one["name"] for one in plan["targets"] if one["address"] == "192.168.1.50"] == ["debian"]


def test_the_tunnel_may_be_a_service_of_windows(home: Any) -> None:
    home.catalog["tunnel"] = {
        "summary": "Publishes", "provides": "tunnel", "secrets": {"tunnel_token": {"later": True}},
        "containers": {"tunnel": {"image": "docker.io/example/tunnel:1", "memory": "64M"}},
    }  # fmt: skip
    home.site["site_services"]["tunnel"] = {"hosts": ["minipc"]}
    del home.site["site_services"]["proxy"]
    home.site["site_cloudflare"] = {"allow": ["mum@example.org"]}
    home.site["site_secrets"] = {"cloudflare.api_token": True}
    plan = planned(home)
    assert plan["windows"]["minipc"]["tunnel"] == {"secret": "tunnel.tunnel_token"}
    assert plan["edge"] == [] and plan["cloudflare"]["tunnel"]["host"] == "minipc"
    assert plan["cloudflare"]["ingress"][0]["service"] == "http://127.0.0.1:8096"


MISTAKES: dict[str, tuple[Callable[[Any], Any], str, str]] = {
    "a container on Windows": (
        lambda home: home.site["site_services"]["films"].update(hosts=["minipc"]),
        "windows-runs-not", "inside: debian",
    ),
    "a Debian of nobody": (
        lambda home: home.hosts["debian"].update(wsl="mimipc"), "unknown-windows", "Did you mean minipc",
    ),
    "both on port 22": (
        lambda home: home.site["site_admin"].update(ssh_port=22), "windows-port-taken", "ssh_port: 2222",
    ),
    "a database on D:": (
        lambda home: home.site["site_storage"]["appdata"].update(source="/mnt/d/appdata"),
        "database-on-drive", "inside Debian",
    ),
    "a target inside Debian": (
        lambda home: home.site["site_storage"]["library"].update(source="/srv/photos"),
        "class-not-on-windows", "source: /mnt/d/Folder",
    ),
    "active for too long": (
        lambda home: home.hosts["minipc"]["windows"].update(active_hours={"start": 1, "end": 23}),
        "active-hours", "1 to 18",
    ),
    "a share of the logged-on user": (
        lambda home: home.hosts["minipc"]["windows"]["shares"]["films"].update(users=["MediaServer"]),
        "share-of-system-user", "another user",
    ),
    "a time that tasks do not know": (
        lambda home: home.site.update(
            site_backup={"repositories": {"local": {"class": "backups"}}, "times": {"daily": "Mon *-*-* 02:30:00"}}
        ),
        "windows-time", "*-*-* 02:30:00",
    ),
    "no Debian": (lambda home: home.hosts["debian"].pop("wsl"), "windows-without-debian", "wsl: minipc"),
    "Google Photos": (
        lambda home: home.site["site_services"]["fetcher"]["settings"].update(remotes={"drive": "google photos"}),
        "ingest-google-photos", "immich-go",
    ),
    "moves without a backup": (
        lambda home: home.site["site_services"]["saver"].update(hosts=["debian"]),
        "ingest-move-without-backup", "Place restic on minipc",
    ),
    "SFTP": (
        lambda home: home.site.update(
            site_backup={"repositories": {"away": {"url": "sftp:u@h:/r", "known_host": "ssh-ed25519 AAAA"}}}
        ),
        "repository-not-on-windows", "REST server",
    ),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_name_their_place_and_a_way_out(home: Any, mistake: str) -> None:
    change, kind, words = MISTAKES[mistake]
    change(home)
    found = [problem for problem in home.plan().problems.found if problem.kind == kind]
    assert found, mistake
    assert words in found[0].text(), found[0].text()
    assert found[0].where.file and found[0].where.key


def test_who_runs_the_containers(home: Any) -> None:
    assert planned(home)["hosts"]["debian"]["docker"] == {"engine": True, "settings": {"userland-proxy": False}}
    home.hosts["minipc"]["windows"]["docker"] = "desktop"
    plan = planned(home)
    assert plan["hosts"]["debian"]["docker"]["engine"] is False and plan["windows"]["minipc"]["docker"] == "desktop"


def test_other_hosts_have_docker_as_ever(sample: Any) -> None:
    hosts = sample.plan().plan["hosts"]
    assert {str(host["docker"]) for host in hosts.values()} == {"{'engine': True, 'settings': {}}"}


def test_map_page_and_kit_show_it(home: Any) -> None:
    plan = planned(home)
    assert "lan may reach share films on minipc: 445" in plan_map.svg(plan)
    page = plan_page.page(plan)
    assert page.count("minipc") >= 6 and "photos-albums-cloud" in page
    assert ("minipc", "192.168.1.50", "saver, fetcher") in recovery_page.machines(plan)
    assert ("minipc", "local", "C:/Backups/restic-repo/minipc") in recovery_page.repositories(plan)


def test_debians_host_key_is_known_before_it_exists(home: Any) -> None:
    plan = planned(home)
    assert plan["known_hosts"] == [
        {"host": "debian", "addresses": ["192.168.1.50"], "port": 2222, "secret": "ssh_host_key.debian"}
    ]
    assert {"name": "ssh_host_key.debian", "kind": "ssh_ed25519"} in plan["secrets"]
    assert plan["windows"]["minipc"]["host_key"] == "ssh_host_key.debian"
