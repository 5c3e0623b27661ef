"""The catalog's entries: readable by the loader, whole, and free of what the facts forbid."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import jinja2
import pytest
import yaml
from ansible_collections.homelab.mediaserver.plugins.plugin_utils import catalog
from ansible_collections.homelab.mediaserver.plugins.plugin_utils.problems import Problems

ROOT = Path(__file__).resolve().parents[3]
CATALOG = ROOT / "roles/services/catalog"
ENTRIES = {path.parent.name: yaml.safe_load(path.read_text()) for path in sorted(CATALOG.glob("*/service.yml"))}
CONTAINERS = [
    (name, short, body) for name, entry in ENTRIES.items() for short, body in (entry.get("containers") or {}).items()
]
SYSTEM_ONE = {
    "nginx-proxy-manager",
    "jellyfin",
    "immich",
    "prometheus",
    "grafana",
    "node-exporter",
    "cadvisor",
    "openvpn",
    "ddclient",
    "fail2ban",
    "restic",
}


def one(label: str) -> Any:
    return pytest.mark.parametrize("name", ENTRIES, ids=label.format)


def test_reference_system_one_is_whole() -> None:
    assert set(ENTRIES) >= SYSTEM_ONE


def test_the_loader_takes_every_entry() -> None:
    problems = Problems()
    loaded = catalog.load([(CATALOG, False)], problems)
    assert not problems.found, [str(problem) for problem in problems.found]
    assert set(loaded) == set(ENTRIES)


@pytest.mark.parametrize(
    ("name", "short", "body"), CONTAINERS, ids=[f"{name}/{short}" for name, short, _ in CONTAINERS]
)
def test_container_is_pinned_and_its_names_are_declared(name: str, short: str, body: dict[str, Any]) -> None:
    entry = ENTRIES[name]
    registry, _, rest = body["image"].partition("/")
    tag = rest.rpartition(":")[2]
    assert "." in registry, "say the registry"
    assert any(letter.isdigit() for letter in tag), f"{tag} is no version"
    assert tag != "latest"
    assert set(body.get("volumes") or {}) <= set(entry.get("volumes") or {})
    assert set(body.get("secrets") or []) <= set(entry.get("secrets") or {})
    assert set(body.get("after") or []) <= set(entry["containers"])
    for folder in body.get("files") or {}:
        assert any((CATALOG / name / "templates" / folder).rglob("*.*")), f"templates/{folder} is empty"
    assert "health" in body, "nobody could wait for it"
    assert "memory" in body


@one("{}")
def test_roles_exist(name: str) -> None:
    entry = ENTRIES[name]
    role = (entry.get("system") or {}).get("role") or entry.get("configure")
    if role is None:
        assert entry["containers"], "a service has containers, or a role that sets it up"
    else:
        assert (ROOT / "roles" / role.rpartition(".")[2] / "tasks/main.yml").exists()


def test_what_the_facts_forbid_is_not_there() -> None:
    proxy = ENTRIES["nginx-proxy-manager"]["containers"]["nginx-proxy-manager"]
    assert proxy["fixed_user"] is True
    assert not any(key.startswith("INITIAL_ADMIN") for key in proxy["environment"]), "the image logs that password"
    immich = ENTRIES["immich"]["containers"]
    assert not {"database", "cache"} & {short for short, body in immich.items() if body.get("ports")}, "never published"
    assert immich["server"]["environment"]["DB_PASSWORD_FILE"] == "/run/secrets/db_password"
    assert ENTRIES["jellyfin"]["containers"]["jellyfin"]["volumes"]["media"]["read_only"] is True
    for name, short, body in CONTAINERS:
        assert not any(
            "PASSWORD" in key and not key.rstrip("_").endswith("FILE") for key in body.get("environment") or {}
        ), f"{name}/{short}"


def test_ports_before_a_first_admin_are_guarded() -> None:
    for name, entry in ENTRIES.items():
        if entry.get("configure"):
            volume = entry["setup_marker"].partition("/")[0]
            assert volume in entry["volumes"], name
    assert ENTRIES["immich"]["setup_marker"].startswith("database/"), "the admin lies in the database"


def render(path: Path, **variables: Any) -> str:
    environment = jinja2.Environment(trim_blocks=True, undefined=jinja2.StrictUndefined, keep_trailing_newline=True)
    environment.filters.update(
        to_json=lambda value: yaml.safe_dump(value, default_flow_style=True, width=10**6).split("\n...")[0].strip(),
        from_yaml=yaml.safe_load,
    )
    environment.globals["lookup"] = lambda _plugin, name: Path(name).read_text()
    return environment.from_string(path.read_text()).render(**variables)


def prometheus_files(folder: Path) -> Path:
    alerts = [{"service": path.parent.name, "file": str(path)} for path in sorted(CATALOG.glob("*/alerts.yml"))]
    variables = {
        "plan": {"site": {"name": "test"}, "alerts": alerts},
        "settings": {"scrape_interval": "30s", "scrape": [{"job_name": "more", "static_configs": []}]},
    }
    source = CATALOG / "prometheus/templates/config"
    rules = folder / "rules.yml"
    rules.write_text(render(source / "rules.yml.j2", **variables))
    (folder / "prometheus.yml").write_text(
        render(source / "prometheus.yml.j2", **variables).replace("/etc/prometheus/rules.yml", str(rules))
    )
    return folder / "prometheus.yml"


def test_prometheus_gets_targets_and_all_rules(tmp_path: Path) -> None:
    config = yaml.safe_load(prometheus_files(tmp_path).read_text())
    assert config["scrape_configs"][0]["file_sd_configs"] == [{"files": ["/etc/prometheus/targets/*.json"]}]
    assert config["scrape_configs"][1]["job_name"] == "more"
    groups = yaml.safe_load((tmp_path / "rules.yml").read_text())["groups"]
    expected = [
        group for path in sorted(CATALOG.glob("*/alerts.yml")) for group in yaml.safe_load(path.read_text())["groups"]
    ]
    assert groups == expected


def test_promtool_takes_the_whole_configuration(promtool: str, tmp_path: Path) -> None:
    result = subprocess.run(
        [promtool, "check", "config", str(prometheus_files(tmp_path))], check=False, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stdout + result.stderr


def test_without_alerts_there_is_still_a_list(tmp_path: Path) -> None:
    text = render(CATALOG / "prometheus/templates/config/rules.yml.j2", plan={"alerts": []})
    assert yaml.safe_load(text) == {"groups": []}
