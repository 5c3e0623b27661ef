"""Small parts of the plan, by tables; and other kinds of houses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.homelab.mediaserver.plugins.plugin_utils import (
    addresses,
    compose,
    firewall,
    mounts,
    schema,
    sizes,
)
from ansible_collections.homelab.mediaserver.plugins.plugin_utils.problems import Problems, Where, suggest
from ansible_collections.homelab.mediaserver.plugins.plugin_utils.sources import Sources


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("1K", 1024),
        ("10G", 10 * 1024**3),
        ("1.5g", 1536 * 1024**2),
        ("2GiB", 2 * 1024**3),
        ("10", None),
        ("G", None),
        (None, None),
    ],
)
def test_size(text: Any, count: int | None) -> None:
    assert sizes.parse(text) == count


@pytest.mark.parametrize(
    ("count", "text"), [(1024**3, "1G"), (1536 * 1024**2, "1.5G"), (512, "512 bytes"), (-(2**30), "-1G")]
)
def test_size_shown(count: int, text: str) -> None:
    assert sizes.show(count) == text


@pytest.mark.parametrize(
    ("outer", "inner", "inside"),
    [
        ("any", "10.0.0.1", True),
        ("192.168.1.0/24", "192.168.1.7", True),
        ("192.168.1.0/24", "192.168.2.7", False),
        ("fd00::/64", "fd00::7", True),
        ("0.0.0.0/0", "fd00::7", False),
        ("nonsense", "10.0.0.1", False),
    ],
)
def test_contains(outer: str, inner: str, inside: bool) -> None:
    assert addresses.contains(outer, inner) is inside


def test_narrower_rules_are_left_out() -> None:
    wide, narrow = firewall.rule("192.168.1.0/24", 80, "tcp", "a"), firewall.rule("192.168.1.9/32", 80, "tcp", "b")
    other = firewall.rule("192.168.1.9/32", 80, "udp", "c")
    assert firewall.unique([narrow, wide, other]) == [wide, other]
    closed = firewall.rule("192.168.1.9/32", 80, "tcp", "b", "s", "/marker")
    assert firewall.unique([wide, closed]) == [wide, closed], "a rule that waits for its marker is another rule"


@pytest.mark.parametrize(
    ("path", "unit"),
    [
        ("/mnt/media", "mnt-media"),
        ("/mnt/my-data", r"mnt-my\x2ddata"),
        ("/srv/.x", r"srv-.x"),
        ("/", "-"),
        ("/a b", r"a\x20b"),
    ],
)
def test_mount_unit_name(path: str, unit: str) -> None:
    assert mounts.escape_path(path) == unit


def test_dollars_are_meant_literally() -> None:
    assert compose.escape({"a": ["x$y", 1], "b": "${C}"}) == {"a": ["x$$y", 1], "b": "$${C}"}


def test_privileged_container_keeps_its_privileges() -> None:
    merged = compose.merge_options({"security_opt": ["no-new-privileges:true"]}, {"privileged": True})
    assert merged == {"security_opt": [], "privileged": True}


def test_suggestion() -> None:
    assert suggest("jelyfin", ["jellyfin", "immich"]) == "Did you mean jellyfin"
    assert suggest("x", ["a", "b"]) == "Use a or b"
    assert suggest("x", []) == "Remove it"


def test_schema_fills_in_defaults_that_are_not_shared() -> None:
    table = schema.Table({"names": schema.Items(schema.Text()), "map": schema.Named(schema.Text())})
    one, two = (table.clean({}, Where("f"), Problems()) for _ in range(2))
    one["names"].append("x")
    one["map"]["x"] = "y"
    assert two == {"names": [], "map": {}}


def test_sources_name_the_file(tmp_path: Path) -> None:
    (tmp_path / "group_vars/all").mkdir(parents=True)
    (tmp_path / "host_vars/back").mkdir(parents=True)
    (tmp_path / "group_vars/all/more.yml").write_text("site_name: x\n", encoding="utf-8")
    (tmp_path / "host_vars/back/guest.yml").write_text("guest: {}\n", encoding="utf-8")
    sources = Sources(tmp_path)
    assert sources.of_variable("site_name") == "group_vars/all/more.yml"
    assert sources.of_variable("site_domain") == "group_vars/all/site.yml"
    assert sources.of_host("back") == "host_vars/back/guest.yml"
    assert sources.of_host("front") == "hosts.yml"


def without_late(value: Any) -> Any:
    if isinstance(value, dict):
        return "late" if set(value) == {"$late"} else {key: without_late(item) for key, item in value.items()}
    return [without_late(item) for item in value] if isinstance(value, list) else value


def test_compose_files_are_what_compose_takes(sample: Any) -> None:
    jsonschema, check_jsonschema = pytest.importorskip("jsonschema"), pytest.importorskip("check_jsonschema")
    folder = Path(check_jsonschema.__file__).parent / "builtin_schemas/vendor"
    specification = json.loads((folder / "compose-spec.json").read_text(encoding="utf-8"))
    checked = 0
    for host in sample.plan().plan["hosts"].values():
        for one in host["files"]:
            if one["path"].endswith("compose.yaml"):
                jsonschema.validate(without_late(one["yaml"]), specification)
                checked += 1
    assert checked == 8


def one_machine(sample: Any) -> dict[str, Any]:
    """The plan's slice of a host that has everything."""
    sample.hosts = {"box": {"ansible_host": "192.168.1.10", "memory": "16G", "gpu": True}}
    for name in sample.site["site_services"]:
        sample.site["site_services"][name] = {**sample.site["site_services"][name], "hosts": ["box"]}
    for name in sample.site["site_storage"]:
        sample.site["site_storage"][name] = {"as": "local", "mount": f"/srv/{name}"}
    sample.site["site_accept"] += ["backup-on-protected-disk"]
    del sample.site["site_secrets"]["pve.api_token_secret"]
    result = sample.plan()
    assert [problem.text() for problem in result.problems.found] == []
    return dict(result.plan)


def test_a_house_of_one_machine_without_proxmox(sample: Any) -> None:
    plan = one_machine(sample)
    assert (plan["guests"], plan["nodes"]) == ([], {})
    assert {one["kind"] for one in plan["hosts"]["box"]["mounts"]} == {"local"}
    assert plan["hosts"]["box"]["late"] == ["render_gid", "gpu_devices"]
    assert [route["upstream"]["address"] for route in plan["routes"]] == ["films", "photos-server"]
    unit = next(one for one in plan["hosts"]["box"]["files"] if one["path"].endswith("mediaserver-films.service"))
    assert "BindsTo" not in unit["content"]
    rules = plan["hosts"]["box"]["firewall"]["containers"]
    assert not [rule for rule in rules if rule["from"] == "192.168.1.10/32"]


def test_no_zone_but_the_declared_ones_reaches_anything(sample: Any) -> None:
    """Every open port of the plan is declared: nothing opens by accident of derivation."""
    plan = sample.plan().plan
    declared = {(flow["host"], flow["port"]) for flow in plan["flows"]}
    for name, host in plan["hosts"].items():
        for rule in [*host["firewall"]["host"], *host["firewall"]["containers"]]:
            if rule["from"] == "172.20.0.0/24":  # Prometheus' own containers on this host
                assert (name, rule["port"]) == ("back", 9100)
                continue
            assert (name, rule["port"]) in declared
            if rule["from"] == "any":
                assert rule["port"] in (443, 1194)


def compose_of(plan: dict[str, Any], service: str, container: str) -> dict[str, Any]:
    file = next(one for one in plan["hosts"]["box"]["files"] if one["path"].endswith(f"/{service}/compose.yaml"))
    return dict(file["yaml"]["services"][container])


def test_prometheus_is_asked_by_its_own_host_where_nobody_else_reaches_it(sample: Any) -> None:
    plan = one_machine(sample)
    assert plan["hosts"]["box"]["prometheus_url"] == "http://127.0.0.1:9090"
    ports = compose_of(plan, "watch", "watch")["ports"]
    assert [(one["host_ip"], one["published"]) for one in ports] == [("127.0.0.1", "9090")]


def test_a_service_may_be_measured_in_several_places(sample: Any) -> None:
    sample.catalog["photos"]["containers"]["server"]["ports"] |= {"jobs": {"port": 8082, "reach": []}}
    sample.catalog["photos"]["containers"]["learning"]["ports"] = {"thoughts": {"port": 3003, "reach": []}}
    sample.catalog["photos"]["metrics"] = [{"port": "jobs"}, {"port": "web", "path": "/m"}, {"port": "thoughts"}]
    plan = one_machine(sample)
    found = [one for one in plan["hosts"]["box"]["scrape"] if one["job"] == "photos"]
    # the container that is left out is not asked
    assert [(one["targets"], one["path"]) for one in found] == [
        (["photos-server:8082"], "/metrics"),
        (["photos-server:2283"], "/m"),
    ]
    files = [one for one in plan["hosts"]["box"]["files"] if one["path"].endswith("/targets/photos.json")]
    assert [len(one["yaml"]) for one in files] == [2]
    assert "monitoring" in compose_of(plan, "photos", "server")["networks"]
    assert "8082" not in str(compose_of(plan, "photos", "server").get("ports"))


@pytest.mark.parametrize(("reach", "hidden"), [([], ["/metrics"]), (["edge"], ["/metrics"]), (["lan"], [])])
def test_metrics_on_everybodys_port_are_asked_only_behind_the_proxy(
    sample: Any, reach: list[str], hidden: list[str]
) -> None:
    sample.catalog["films"]["metrics"] = {"port": "web", "hidden": True}
    sample.site["site_services"]["films"]["ports"] = {"web": {"reach": reach}}
    plan = one_machine(sample)
    assert next(route for route in plan["routes"] if route["service"] == "films")["hidden"] == hidden
    assert bool([one for one in plan["hosts"]["box"]["scrape"] if one["job"] == "films"]) is bool(hidden)
    application = next(one for one in plan["hosts"]["box"]["applications"] if one["service"] == "films")
    assert application["measured"] is bool(hidden)


def test_the_catalog_may_name_the_usual_zones_of_a_home_that_lacks_them(sample: Any) -> None:
    sample.catalog["films"]["reach"] = ["lan", "vpn", "edge"]
    sample.site["site_zones"].pop("vpn", None)
    assert [problem.kind for problem in sample.plan().problems.found if problem.kind == "unknown-zone"] == []
    sample.site["site_services"]["films"]["ports"] = {"web": {"reach": ["vpn"]}}
    found = [problem for problem in sample.plan().problems.found if problem.kind == "unknown-zone"]
    assert [problem.where.key for problem in found] == ["site_services.films.ports.web.reach"]


def test_a_profile_that_is_left_out_is_as_if_nobody_had_placed_its_services(sample: Any) -> None:
    whole = sample.plan().plan
    sample.site["site_profiles"] = {"measuring": ["watch", "gauge", "meter"], "cinema": ["films"]}
    assert json.dumps(sample.plan().plan) == json.dumps(whole)
    sample.site["site_leave_out"] = ["measuring"]
    without = sample.plan()
    assert [problem.text() for problem in without.problems.found] == []
    for name in ("watch", "gauge", "meter"):
        del sample.site["site_services"][name]
    sample.site["site_profiles"], sample.site["site_leave_out"] = {}, []
    assert json.dumps(without.plan) == json.dumps(sample.plan().plan)


def test_the_inventory_says_how_often_a_volume_is_backed_up(sample: Any) -> None:
    sample.site["site_services"]["films"]["backup"] = {"media": "weekly", "config": "never"}
    plan = sample.plan().plan
    found = {job["name"]: job["schedule"] for job in plan["hosts"]["back"]["backups"]["jobs"]}
    assert (found["films-media"], found.get("films-config")) == ("weekly", None)
