# SPDX-License-Identifier: MIT
"""Reference system 1 as it was made by hand, beside the reference inventory's plan with the real catalog."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.homelab.mediaserver.plugins.plugin_utils import adopt, adopt_path, adopt_text, build, catalog
from ansible_collections.homelab.mediaserver.plugins.plugin_utils.adopt_model import Found, Side
from ansible_collections.homelab.mediaserver.plugins.plugin_utils.problems import Problems

ROOT = Path(__file__).resolve().parents[4]
CATALOGS = [(ROOT / "roles/services/catalog", False)]
MIGRATING = "tensorchord/pgvecto-rs:pg14-v0.2.0"


def plan(change: dict[str, Any] | None = None) -> tuple[dict[str, Any], dict[str, Any]]:
    """The plan of the reference inventory, and its site.yml, with changes to site_services."""
    site = yaml.safe_load((ROOT / "inventories/homelab/group_vars/all/site.yml").read_text())
    for name, body in (change or {}).items():
        site["site_services"][name] = {**site["site_services"][name], **body}
    children = yaml.safe_load((ROOT / "inventories/homelab/hosts.yml").read_text())["all"]["children"]
    hosts = {
        name: {"file": "hosts.yml", "groups": [group], "vars": body}
        for group in ("proxmox", "extranet", "intranet")
        for name, body in children[group]["hosts"].items()
    }
    return build.build(build.Inputs(values=site, hosts=hosts, catalogs=CATALOGS)).plan, site


def side(host: str = "vm-intranet", change: dict[str, Any] | None = None, given: tuple[str, ...] = ()) -> Side:
    made, site = plan(change)
    entries = catalog.load(CATALOGS, Problems())
    return Side(
        name=host,
        host=made["hosts"][host],
        catalog={name: entry.spec for name, entry in entries.items()},
        given=given,
        storage=site["site_storage"],
    )


def container(name: str, image: str, mounts: dict[str, str] | None = None, **more: Any) -> dict[str, Any]:
    return {
        "id": f"{name}-id",
        "name": name,
        "project": "intranet",
        "service": name,
        "directory": "/opt/intranet",
        "image": image,
        "digests": [],
        "version": "",
        "state": "running",
        "ports": [],
        "environment": {},
        "microservices": False,
        "ours": False,
        "mounts": [
            {
                "type": "bind",
                "source": source,
                "at": at,
                "read_only": False,
                "volume": "",
                "owner": "0:0",
                "folder": True,
            }
            for at, source in (mounts or {}).items()
        ],
        **more,
    }


def port(published: int, inside: int) -> dict[str, Any]:
    return {"address": "0.0.0.0", "published": published, "inside": inside, "protocol": "tcp"}


def immich(
    version: str = "1.118.0", database: str = MIGRATING, extensions: dict[str, str] | None = None
) -> list[dict[str, Any]]:
    server = {"DB_PASSWORD": "********", "DB_USERNAME": "postgres"}
    postgres = container(
        "postgres",
        database,
        {"/var/lib/postgresql/data": "/mnt/postgres"},
        version="14.10",
        ports=[port(5432, 5432)],
        environment={"POSTGRES_PASSWORD": "********", "POSTGRES_USER": "postgres"},
        database={"user": "postgres", "name": "immich", "extensions": extensions or {"vectors": "0.2.0"}},
    )
    postgres["mounts"][0]["postgresql"] = "14"
    return [
        container(
            "immich-server",
            "ghcr.io/immich-app/immich-server:release",
            {"/usr/src/app/upload": "/mnt/photos", "/etc/localtime": "/etc/localtime"},
            version=version,
            ports=[port(2283, 3001)],
            environment=server,
        ),
        container("immich-microservices", "ghcr.io/immich-app/immich-server:release", microservices=True),
        container("redis", "redis:6.2-alpine"),
        postgres,
    ]


def system_one() -> dict[str, Any]:
    """The intranet machine."""
    return {
        "docker": "",
        "containers": [
            container(
                "jellyfin",
                "jellyfin/jellyfin:latest",
                {
                    "/config": "/mnt/appdata/jellyfin/config",
                    "/cache": "/mnt/appdata/jellyfin/cache",
                    "/media": "/mnt/media",
                },
                version="10.8.13",
                ports=[port(8096, 8096)],
            ),
            *immich(),
            container("prometheus", "prom/prometheus:latest", {"/prometheus": "/mnt/appdata/prometheus"}),
            container(
                "grafana",
                "grafana/grafana:latest",
                {"/var/lib/grafana": "/mnt/appdata/grafana"},
                environment={"GF_SECURITY_ADMIN_PASSWORD": "********"},
            ),
            container("portainer", "portainer/portainer-ce:latest", {"/data": "/opt/portainer"}, project="other"),
        ],
        "projects": [{"name": "intranet", "directory": "/opt/intranet", "services": [], "files": [], "declared": {}}],
        "units": [
            {"name": "intranet.service", "directory": "/opt/intranet", "enabled": True, "active": True, "restic": {}}
        ],
        "takeovers": [],
        "restic": {"repository": "/mnt/backups/restic-repo", "password_file": "/etc/restic/passwd", "used_by": ["x"]},
        "cron": [{"file": "/etc/crontab", "line": "0 2 * * * root restic backup"}],
        "openvpn": [],
        "ddclient": {},
        "fail2ban": ["sshd"],
        "ufw": ["allow tcp 8096 0.0.0.0/0 any 192.168.1.0/24 in", "allow tcp 9999 0.0.0.0/0 any 0.0.0.0/0 in"],
    }


def compared(found: dict[str, Any] | None = None, **more: Any) -> Found:
    return adopt.compare(found or system_one(), side(**more))


def verdict(found: Found, service: str, what: str) -> str:
    rows = [row for row in found.rows if row.service == service and row.what == what]
    assert len(rows) == 1, [f"{row.service}: {row.what}" for row in found.rows]
    return rows[0].verdict


IN_PLACE = {
    "immich": {
        "hosts": ["vm-intranet"],
        "volumes": {"database": {"class": "database", "folder": "."}, "upload": {"class": "photos", "folder": "."}},
        "settings": {"photographs": []},
    },
    "jellyfin": {"hosts": ["vm-intranet"], "volumes": {"media": {"class": "media", "folder": "."}}},
}


def test_reference_system_one_gets_the_lines_that_use_its_places():
    found = compared()
    assert found.inventory["site_services"] == {
        "jellyfin": {"volumes": {"media": {"class": "media", "folder": "."}}},
        "immich": {
            "volumes": {"upload": {"class": "photos", "folder": "."}, "database": {"class": "database", "folder": "."}},
            "settings": {"photographs": []},
        },
    }
    assert found.refused and all("lines below" in one for one in found.refused)


def test_with_these_lines_nothing_hinders_it():
    found = compared(change=IN_PLACE)
    assert found.refused == [] and found.inventory == {}
    assert found.services == ["jellyfin", "immich", "prometheus", "grafana"]
    assert {one["name"] for one in found.request["old"]} == {
        "jellyfin", "immich-server", "immich-microservices", "redis", "postgres", "prometheus", "grafana",
    }  # fmt: skip
    assert found.request["units"] == ["intranet.service"]


def test_bulk_is_not_copied_and_owners_follow_the_new_users():
    data = {one["path"]: (one["copy"], one["owner"]) for one in compared(change=IN_PLACE).request["data"]}
    assert data == {
        "/mnt/appdata/jellyfin/config": (True, "1000:1000"),
        "/mnt/appdata/jellyfin/cache": (True, "1000:1000"),
        "/mnt/photos": (False, "1000:1000"),
        "/mnt/postgres": (True, ""),
        "/mnt/appdata/prometheus": (True, "65534:65534"),
        "/mnt/appdata/grafana": (True, "472:472"),
    }


def test_a_repository_of_the_plan_inside_the_old_one_is_told():
    what = "site_backup.repositories.local.folder"
    (row,) = [row for row in compared(change=IN_PLACE).rows if row.what == what]
    assert (row.now, row.plan, row.verdict) == (
        "/mnt/backups/restic-repo", "/mnt/backups/restic-repo/vm-intranet", "you",
    )  # fmt: skip
    beside = {**system_one(), "restic": {"repository": "/mnt/backups/restic"}}
    assert not [row for row in compared(beside, change=IN_PLACE).rows if row.what == what]


def test_secrets_are_found_where_they_stand_and_shown_nowhere():
    found = compared(change=IN_PLACE)
    wanted = {"immich.db_password", "grafana.admin_password", "restic.password"}
    assert {one["secret"] for one in found.reveal} == wanted
    assert found.reveal[0] == {
        "secret": "immich.db_password",
        "container": "immich-server-id",
        "variable": "DB_PASSWORD",
    }
    assert verdict(found, "jellyfin", "secret jellyfin.admin_password") == "you"
    known = compared(change=IN_PLACE, given=("jellyfin.admin_password",))
    assert verdict(known, "jellyfin", "secret jellyfin.admin_password") == "same"


def test_the_obsolete_immich_goes_by_its_stepping_stones():
    found = compared(change=IN_PLACE)
    assert [one["name"] for one in found.request["stones"]] == ["immich-1.132.3", "immich-2.7.5"]
    first, second = found.request["stones"]
    assert first["images"] == {"server": "ghcr.io/immich-app/immich-server:v1.132.3"}
    assert first["volumes"] == {"server": {"/usr/src/app/upload": "/mnt/photos"}} and second["volumes"] == {}
    assert verdict(found, "immich", "port 5432/tcp") == "changes"
    assert verdict(found, "immich", "container immich-microservices") == "changes"


def test_what_has_no_counterpart_is_left_alone():
    found = compared(change=IN_PLACE)
    assert verdict(found, "-", "container portainer") == "stays"
    assert verdict(found, "-", "unit intranet.service") == "changes"
    assert verdict(found, "-", "UFW allows 9999/tcp") == "you"
    assert not [row for row in found.rows if row.what == "UFW allows 8096/tcp"]


def test_a_service_that_the_plan_has_elsewhere_stays():
    found = system_one()
    found["containers"].append(container("npm", "jc21/nginx-proxy-manager:latest", project="extranet"))
    result = compared(found, change=IN_PLACE)
    assert verdict(result, "nginx-proxy-manager", "container npm") == "stays"
    assert "npm" not in {one["name"] for one in result.request["old"]}


def changed(what: str) -> dict[str, Any]:
    """System 1 with one thing that hinders a take-over."""
    found = system_one()
    by_name = {one["name"]: one for one in found["containers"]}
    if what == "newer":
        by_name["jellyfin"]["version"] = "99.0.0"
    elif what == "inside":
        by_name["grafana"]["mounts"] = []
    elif what == "name":
        for one in found["containers"]:
            one["project"] = "immich"
    elif what == "port":
        by_name["portainer"]["ports"] = [port(8096, 9000)]
    elif what == "too old":
        by_name["immich-server"]["version"] = "1.100.0"
    elif what == "unknown":
        by_name["immich-server"]["version"] = ""
    elif what == "major":
        by_name["postgres"]["mounts"][0]["postgresql"] = "16"
    elif what == "vectors":
        by_name["postgres"]["database"]["extensions"] = {"vectors": "0.3.0"}
    elif what == "role":
        by_name["postgres"]["database"]["user"] = "immich"
    elif what == "stopped":
        by_name["postgres"]["state"] = "exited"
    elif what == "no server":
        found["containers"].remove(by_name["immich-server"])
    return found


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("newer", "jellyfin: image of jellyfin: jellyfin 99.0.0 is newer than the 10.11.11 of the catalog"),
        ("inside", "keeps /var/lib/grafana inside"),
        ("name", "Compose would take the old project immich for the new one"),
        ("port", "portainer, which is not taken over, holds it"),
        ("too old", "1.100.0 is older than 1.107.2"),
        ("unknown", "its version is unknown"),
        ("major", "the files are PostgreSQL 16's, the catalog's image is PostgreSQL 14"),
        ("vectors", "the vectors are in pgvecto.rs 0.3.0"),
        ("role", "CREATE ROLE postgres"),
        ("stopped", "the database does not run"),
        ("no server", "its server does not run"),
    ],
)
def test_what_hinders_it_is_said_with_the_way_out(what, said):
    refused = compared(changed(what), change=IN_PLACE).refused
    assert len(refused) == 1 and said in refused[0], refused


def test_an_open_take_over_keeps_its_services_and_a_finished_one_asks_for_nothing():
    found = system_one()
    names = [one["id"] for one in found["containers"] if one["name"] != "portainer"]
    found["takeovers"] = [{"phase": "switching", "containers": names, "projects": ["jellyfin", "immich"]}]
    under_way = compared(found, change=IN_PLACE)
    assert under_way.services == ["jellyfin", "immich"] and under_way.request["old"] == []
    found["takeovers"][0]["phase"] = "done"
    done = compared(found, change=IN_PLACE)
    assert done.services == [] and done.request["old"] == [] and done.refused == []


def test_data_outside_every_class_get_a_class_of_their_own():
    found = system_one()
    grafana = next(one for one in found["containers"] if one["name"] == "grafana")
    grafana["mounts"][0]["source"] = "/srv/graphs/data"
    result = compared(found, change=IN_PLACE)
    assert result.inventory == {
        "site_storage": {"grafana-data": {"as": "local", "mount": "/srv/graphs"}},
        "site_services": {"grafana": {"volumes": {"data": {"class": "grafana-data", "folder": "data"}}}},
    }


def test_the_extranet_machine():
    found = {**system_one(), "containers": [], "units": [], "restic": {}, "cron": []}
    found["containers"] = [
        container(
            "npm",
            "jc21/nginx-proxy-manager:latest",
            {"/data": "/mnt/appdata/npm/data", "/etc/letsencrypt": "/mnt/appdata/npm/letsencrypt"},
            ports=[port(80, 80), port(443, 443), port(81, 81)],
        )
    ]
    found["openvpn"] = [{"file": "/etc/openvpn/server.conf", "port": ["1194"], "server": ["10.8.0.0 255.255.255.0"]}]
    found["ddclient"] = {"login": "example.org-old"}
    result = adopt.compare(found, side("vm-extranet"))
    assert result.refused == [] and result.services == ["nginx-proxy-manager"]
    assert result.inventory["site_services"]["ddclient"] == {"settings": {"login": "example.org-old"}}
    assert {"secret": "ddclient.password", "file": "/etc/ddclient.conf", "key": "password"} in result.reveal
    assert "systemctl disable --now openvpn@server" in next(r.note for r in result.rows if r.service == "openvpn")
    assert result.request["smoke"] == [{"service": "nginx-proxy-manager", "url": "http://127.0.0.1:81/"}]


def test_the_table_is_text_for_people():
    text = "\n".join(adopt_text.lines("vm-intranet", compared()))
    for piece in (
        "inventory folder upload",
        "/mnt/photos -> /mnt/photos/immich",
        "database: {class: database, folder: .}",
    ):
        assert piece in text
    assert "Not yet: see above." in text
    assert "CONFIRM=yes takes over: jellyfin" in "\n".join(adopt_text.lines("x", compared(change=IN_PLACE)))
    empty = {**system_one(), "containers": [], "units": [], "restic": {}, "cron": [], "fail2ban": [], "ufw": []}
    assert "nothing was found" in "\n".join(adopt_text.lines("x", compared(empty)))


@pytest.mark.parametrize(
    ("version", "vectors", "stones"),
    [
        ("1.107.2", True, ["1.132.3", "2.7.5"]),
        ("1.131.3", True, ["1.132.3", "2.7.5"]),
        ("1.132.0", True, ["2.7.5"]),
        ("1.140.1", False, ["2.7.5"]),
        ("2.7.5", True, ["2.7.5"]),
        ("2.7.5", False, []),
        ("2.9.0", True, ["2.9.0"]),
        ("3.0.0", False, []),
        ("3.1.0", False, []),
    ],
)
def test_immich_path(version, vectors, stones):
    way = adopt_path.immich(adopt_path.number(version), (3, 1, 0), vectors)
    assert [adopt_path.show(one) for one in way.stones] == stones and way.refused == ""


@pytest.mark.parametrize(
    ("version", "vectors", "said"),
    [("", False, "unknown"), ("1.90.0", True, "v1.107.2"), ("3.2.0", False, "newer"), ("3.0.1", True, "VectorChord")],
)
def test_immich_path_refused(version, vectors, said):
    way = adopt_path.immich(adopt_path.number(version), (3, 1, 0), vectors)
    assert said in way.refused and way.stones == []


PINNED = "ghcr.io/immich-app/postgres:14-vectorchord0.4.3-pgvectors0.2.0"


@pytest.mark.parametrize(
    ("major", "extensions", "said"),
    [
        ("14", {"vectors": "0.2.0"}, ""),
        ("14", {"vchord": "0.4.3", "vector": "0.8.0"}, ""),
        ("", {}, ""),
        ("15", {}, "PostgreSQL 15"),
        ("14", {"vectors": "0.3.0"}, "pgvectors0.3.0"),
        ("14", {"vchord": "0.5.3"}, "VectorChord 0.5.3 is newer than the 0.4.3"),
    ],
)
def test_database_image(major, extensions, said):
    why = adopt_path.database(PINNED, major, extensions)
    assert (said in why) if said else why == ""


@pytest.mark.parametrize(
    ("image", "repository"),
    [
        ("jellyfin/jellyfin", "jellyfin/jellyfin"),
        ("docker.io/library/redis:6.2-alpine@sha256:abc", "redis"),
        ("10.77.1.5:5000/ghcr.io/immich-app/immich-server:v3", "immich-app/immich-server"),
        ("localhost/box:1", "box"),
    ],
)
def test_repository(image, repository):
    assert adopt_path.repository(image) == repository


def test_a_volume_may_be_the_mount_of_its_class():
    made, _site = plan(copy.deepcopy(IN_PLACE))
    compose = Side("vm-intranet", made["hosts"]["vm-intranet"], {}).compose("immich")
    assert compose["services"]["server"]["volumes"][0]["source"] == "/mnt/photos"
    assert compose["services"]["database"]["volumes"][0]["source"] == "/mnt/postgres"
