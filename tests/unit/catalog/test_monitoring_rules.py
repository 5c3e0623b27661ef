"""Dashboards and alert rules: made from their source, only metrics that exist, only queries that Prometheus takes."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
CATALOG = ROOT / "roles/services/catalog"
BOARDS = sorted((CATALOG / "grafana/templates/dashboards").glob("*.json"))
RULES = sorted(CATALOG.glob("*/alerts.yml"))
KNOWN = {line for path in (Path(__file__).parent / "metrics").glob("*.txt") for line in path.read_text().split()} | {
    "ALERTS"
}
WORDS = {
    "sum",
    "avg",
    "min",
    "max",
    "count",
    "by",
    "without",
    "rate",
    "increase",
    "changes",
    "abs",
    "clamp_max",
    "clamp_min",
    "time",
    "vector",
    "label_values",
    "absent",
    "and",
    "or",
    "on",
    "unless",
    "predict_linear",
    "min_over_time",
    "max_over_time",
    "ignoring",
    "group_left",
    "mode",
}


def expressions(board: dict[str, Any]) -> list[str]:
    targets = [target["expr"] for panel in board["panels"] for target in panel.get("targets", [])]
    return targets + [one["query"]["query"] for one in board["templating"]["list"]]


def rules(path: Path) -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(path.read_text())["groups"] for rule in group["rules"]]


def names(expr: str) -> set[str]:
    """Metric names of a PromQL expression: the words that are neither labels, values, functions nor numbers."""
    bare = re.sub(r'"[^"]*"', '""', expr)
    bare = re.sub(r"\{[^{}]*\}", "", bare)
    bare = re.sub(r"\[[^\]]*\]", "", bare)
    bare = re.sub(r"\b(by|without|on|ignoring)\s*\([^)]*\)", "", bare)
    bare = re.sub(r"label_values\(([^,]*),[^)]*\)", r"\1", bare)
    return set(re.findall(r"[A-Za-z_][A-Za-z0-9_]*", bare)) - WORDS


def test_dashboards_are_made_from_their_source() -> None:
    made = subprocess.run(
        [sys.executable, str(ROOT / "tools/dashboards.py"), "--check"], check=False, capture_output=True, text=True
    )
    assert made.returncode == 0, f"run tools/dashboards.py: {made.stdout}"
    assert [path.name for path in BOARDS] == ["containers.json", "host.json", "media-server.json"]


@pytest.mark.parametrize("path", BOARDS, ids=lambda path: path.stem)
def test_dashboard_asks_for_known_metrics_only(path: Path) -> None:
    board = json.loads(path.read_text())
    asked = {name for expr in expressions(board) for name in names(expr)}
    assert asked, "a dashboard asks for something"
    assert asked <= KNOWN, f"nobody exports {sorted(asked - KNOWN)}"


@pytest.mark.parametrize("path", BOARDS, ids=lambda path: path.stem)
def test_dashboard_hangs_together(path: Path) -> None:
    board = json.loads(path.read_text())
    ids = [panel["id"] for panel in board["panels"]]
    assert len(ids) == len(set(ids))
    cells = [
        (x, y)
        for panel in board["panels"]
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(cells) == len(set(cells)), "panels overlap"
    assert max(x for x, _ in cells) < 24
    assert {target["datasource"]["uid"] for panel in board["panels"] for target in panel.get("targets", [])} == {
        "prometheus"
    }
    variables = {one["name"] for one in board["templating"]["list"]}
    used = {name for expr in expressions(board) for name in re.findall(r"\$([a-z]+)\b", expr)}
    assert used <= variables, f"unknown variables {used - variables}"


def test_datasource_of_the_dashboards_is_the_provisioned_one() -> None:
    text = (CATALOG / "grafana/templates/provisioning/datasources/prometheus.yml.j2").read_text()
    assert "uid: prometheus\n" in text


@pytest.mark.parametrize("path", RULES, ids=lambda path: path.parent.name)
def test_rules_ask_for_known_metrics_and_say_what_is_wrong(path: Path) -> None:
    for rule in rules(path):
        assert names(rule["expr"]) <= KNOWN, f"{rule['alert']}: nobody exports {sorted(names(rule['expr']) - KNOWN)}"
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert rule["annotations"]["summary"]


def test_alert_names_are_unique() -> None:
    found = [rule["alert"] for path in RULES for rule in rules(path)]
    assert len(found) >= 25
    assert len(found) == len(set(found))


def test_the_first_needs_have_an_alert() -> None:
    found = {rule["alert"] for path in RULES for rule in rules(path)}
    assert {
        "HostDown",
        "TargetDown",
        "DiskFull",
        "MemoryLow",
        "BackupOverdue",
        "BackupFailed",
        "CertificateEndsSoon",
        "UnitFailed",
        "ContainerGone",
    } <= found


def test_promtool_takes_all_rules(promtool: str) -> None:
    result = subprocess.run([promtool, "check", "rules", *map(str, RULES)], check=False, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr


def test_promtool_takes_all_queries(promtool: str, tmp_path: Path) -> None:
    """Every query of every dashboard as a recording rule, with values for Grafana's variables."""
    found = [
        target["expr"]
        for path in BOARDS
        for panel in json.loads(path.read_text())["panels"]
        for target in panel.get("targets", [])
    ]
    filled = [expr.replace("$__rate_interval", "5m").replace("$host", "x").replace("$project", "y") for expr in found]
    group = {
        "groups": [
            {"name": "boards", "rules": [{"record": f"q:{number}", "expr": expr} for number, expr in enumerate(filled)]}
        ]
    }
    path = tmp_path / "queries.yml"
    path.write_text(yaml.safe_dump(group))
    result = subprocess.run([promtool, "check", "rules", str(path)], check=False, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    assert f"{len(found)} rules found" in result.stdout
