# SPDX-License-Identifier: MIT
"""Which changes of images are let pass, what the host is told for an upgrade, and the catalog's own rules."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.homelab.mediaserver.plugins.filter.upgrade_verdict import FilterModule
from ansible_collections.homelab.mediaserver.plugins.plugin_utils import catalog, plan_text, upgrade
from ansible_collections.homelab.mediaserver.plugins.plugin_utils.problems import Problems

ROOT = Path(__file__).resolve().parents[4]
SERVER, POSTGRES = "ghcr.io/immich-app/immich-server", "ghcr.io/immich-app/postgres"
VECTORCHORD, PGVECTO = f"{POSTGRES}:14-vectorchord0.4.3-pgvectors0.2.0", "docker.io/tensorchord/pgvecto-rs:pg14-v0.2.0"

UNASKED: dict[str, Any] = {"volumes": [], "uncopied": []}


@pytest.fixture(scope="module")
def immich() -> dict[str, Any]:
    """The catalog's own rules for Immich."""
    problems = Problems()
    entries = catalog.load([(ROOT / "roles/services/catalog", False)], problems)
    assert not problems.found
    rules = entries["immich"].spec["upgrade"]
    return {"service": "immich", "guarded": True, "majors": rules["majors"], "needs": rules["needs"], **UNASKED}


def judged(rules: dict[str, Any], running: dict[str, str], wanted: dict[str, str]) -> dict[str, Any]:
    return upgrade.judge({**rules, "images": wanted}, running)


def server(tag: str, database: str = VECTORCHORD) -> dict[str, str]:
    return {"server": f"{SERVER}:{tag}", "database": database}


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("v3.1.0", "v3.1.0", None),
        ("v3.1.0", "v3.2.0", ""),
        ("v2.7.5", "v3.1.0", ""),
        ("v1.144.1", "v2.7.5", ""),
        ("v1.144.1", "v3.1.0", "skips version 2.*images: {server: ghcr.io/immich-app/immich-server:v2.*make upgrade"),
        ("v3.1.0", "v3.0.9", "a step back.*images: {server: ghcr.io/immich-app/immich-server:v3.1.0}"),
        ("v3.1.0", "v2.7.5", "a step back"),
        ("release", "v3.1.0", ""),
        ("v3.1.0", "release", "names no version"),
    ],
)
def test_immich_goes_one_major_at_a_time_and_never_back(
    immich: dict[str, Any], old: str, new: str, words: str | None
) -> None:
    found = judged(immich, server(old), server(new))
    assert bool(found["changes"]) == (words is not None)
    if words:
        (text,) = found["refused"]
        assert re.search(words, text), text
    else:
        assert found["refused"] == []


@pytest.mark.parametrize(
    ("now", "then", "refused"),
    [
        (VECTORCHORD, VECTORCHORD, False),
        (VECTORCHORD, f"{POSTGRES}:17-vectorchord1.0.0", False),
        (f"10.77.1.5:5000/{VECTORCHORD}", VECTORCHORD, False),
        (PGVECTO, VECTORCHORD, True),
        (VECTORCHORD, PGVECTO, True),
        (VECTORCHORD, f"{POSTGRES}:14-vectorchord0.2.0", True),
        (VECTORCHORD, "docker.io/library/postgres:17", True),
    ],
)
def test_immich_3_wants_a_database_with_vectorchord_before_and_after(
    immich: dict[str, Any], now: str, then: str, refused: bool
) -> None:
    found = judged(immich, server("v2.7.5", now), server("v3.1.0", then))
    assert bool(found["refused"]) == refused
    assert judged(immich, server("v2.7.5", now), server("v2.7.5", then))["refused"] == [], "version 2 takes both"


def test_a_mirror_is_no_change_and_a_digest_is_one(immich: dict[str, Any]) -> None:
    running, immich = {"server": f"10.77.1.5:5000/{SERVER}:v3.1.0"}, {**immich, "needs": []}
    assert judged(immich, running, {"server": f"{SERVER}:v3.1.0"})["changes"] == []
    pinned = judged(immich, running, {"server": f"{SERVER}:v3.1.0@sha256:{'0' * 64}"})
    assert pinned["changes"] and not pinned["refused"]


def test_what_holds_no_data_may_go_back() -> None:
    free = {"service": "gauge", "guarded": False, "majors": [], "needs": [], **UNASKED}
    found = judged(free, {"gauge": "docker.io/prom/node-exporter:v2.0"}, {"gauge": "docker.io/prom/node-exporter:v1.0"})
    assert found["changes"] and not found["refused"]


def test_another_program_is_not_older_by_its_number(immich: dict[str, Any]) -> None:
    rules = {**immich, "needs": []}
    found = judged(rules, {"cache": "docker.io/library/redis:9"}, {"cache": "docker.io/valkey/valkey:8"})
    assert found["changes"] and not found["refused"]


@pytest.mark.parametrize(
    ("image", "version"),
    [
        ("a/b:v3.1.0", (3, 1, 0)),
        ("r:5000/a/b:14-vectorchord0.4.3", (14,)),
        ("a/b:10.11.11@sha256:00", (10, 11, 11)),
        ("a/b:release", None),
    ],
)
def test_version_of_a_tag(image: str, version: tuple[int, ...] | None) -> None:
    assert upgrade.version(image) == version


def test_verdict_of_a_host(immich: dict[str, Any]) -> None:
    wanted = [
        {**immich, "images": server("v3.1.0")},
        {**immich, "service": "new", "images": {"app": "a/b:1"}},
        {"service": "gauge", "guarded": False, "majors": [], "needs": [], "images": {"gauge": "a/gauge:2"}},
    ]
    running = {"immich": server("v2.7.5"), "gauge": {"gauge": "a/gauge:1"}}
    verdict = FilterModule().filters()["upgrade_verdict"]
    found = verdict(wanted, running)
    assert [one["service"] for one in found["todo"]] == ["immich", "gauge"], "what never ran is no upgrade"
    assert found["held"] == ["immich (server v2.7.5 -> v3.1.0)"]
    assert verdict(wanted, running, ["gauge"])["held"] == []


def test_the_host_learns_what_to_keep_and_what_to_ask(sample: Any) -> None:
    sample.catalog["films"]["upgrade"] = {"leave": []}
    plan = sample.plan()
    assert not plan.problems.found
    films, photos = (
        next(one for one in plan.plan["hosts"]["back"]["upgrades"] if one["service"] == name)
        for name in ("films", "photos")
    )
    assert films["volumes"] == [{"path": "/mnt/appdata/films/config", "mount": "/mnt/appdata"}], (
        "no media, no read-only"
    )
    assert films["smoke"] == {"container": "films", "port": 8096, "path": "/health", "strict": True}
    assert films["marker"] == "/mnt/appdata/films/config/.ready"
    assert [one["path"] for one in photos["volumes"]] == ["/mnt/database/photos/database"]
    sample.catalog["films"]["containers"]["films"]["volumes"] = {
        "config": {"at": "/config", "read_only": True},
        "media": "/media",
    }
    films = next(one for one in sample.plan().plan["hosts"]["back"]["upgrades"] if one["service"] == "films")
    assert films["volumes"] == [], "what it only reads, and films that it may write, are not copied"
    assert films["uncopied"] == [{"path": "/mnt/media/library", "backup": "monthly"}]
    assert upgrade.promise(films) == (
        "films: a failed upgrade gives back nothing but its containers. Not copied: /mnt/media/library "
        "(monthly backup); "
        "what a new version ruins there, only make restore brings back"
    )
    assert upgrade.promise({**films, "uncopied": [{"path": "/x", "backup": None}]}).count("/x (NO backup)") == 1
    assert f"  {upgrade.promise(films)}" in plan_text.lines(sample.plan().plan)
    sample.catalog["films"]["containers"]["films"]["volumes"] = {"config": "/config"}
    sample.catalog["films"]["upgrade"] = {"leave": ["config"]}
    films = next(one for one in sample.plan().plan["hosts"]["back"]["upgrades"] if one["service"] == "films")
    assert films["volumes"] == []


def test_postgresql_is_found_with_its_place_and_version(sample: Any) -> None:
    sample.catalog["photos"]["backup"] = {
        "databases": {"main": {"container": "database", "kind": "postgresql", "name": "photos", "user": "postgres"}}
    }
    photos = next(one for one in sample.plan().plan["hosts"]["back"]["upgrades"] if one["service"] == "photos")
    assert photos["guarded"]
    (database,) = photos["databases"]
    assert (database["path"], database["major"]) == ("/mnt/database/photos/database", 14)


def test_images_of_the_inventory_win(sample: Any) -> None:
    sample.site["site_services"]["photos"]["images"] = {"server": "ghcr.io/example/photos:v2.9"}
    plan = sample.plan().plan
    files = {one["path"]: one for one in plan["hosts"]["back"]["files"]}
    compose = files["/opt/mediaserver/services/photos/compose.yaml"]["yaml"]
    assert compose["services"]["server"]["image"] == "ghcr.io/example/photos:v2.9"


def test_new_files_wait_beside_those_that_run(sample: Any) -> None:
    host = sample.plan().plan["hosts"]["back"]
    todo = [{"service": "films", "changes": [{"container": "films", "from": "a", "to": "b"}]}]
    found = {
        one["path"]: one for one in FilterModule().filters()["upgrade_files"](host["files"], host["upgrades"], todo)
    }
    root = "/opt/mediaserver/services/.next"
    assert f"{root}/films/compose.yaml" in found
    assert all(path.startswith(f"{root}/films") for path in found), "no unit, nothing of others"
    request = found[f"{root}/films.json"]["yaml"]
    assert (request["service"], request["directory"]) == ("films", "/opt/mediaserver/services/films")
    assert yaml.safe_dump(request)


def test_what_is_not_placed_can_be_archived_but_not_what_others_use(sample: Any) -> None:
    del sample.site["site_services"]["films"]
    plan = sample.plan().plan
    assert set(plan["retirable"]) == {"films"}
    assert plan["retirable"]["films"]["volumes"] == [{"path": "/mnt/appdata/films/config", "mount": "/mnt/appdata"}]
    sample.site["site_services"]["photos"]["volumes"] = {"database": {"class": "appdata", "folder": "films"}}
    assert sample.plan().plan["retirable"]["films"]["volumes"] == []
