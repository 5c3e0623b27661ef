# SPDX-License-Identifier: MIT
"""The small stand-ins, the wrappers of real programs, and what every folder must hold."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.homelab.mediaserver.tests.unit.fakes import program

STANDINS = Path(__file__).parents[2] / "lab" / "standins"
FOLDERS = sorted(file.parent.name for file in STANDINS.glob("*/Dockerfile"))
IMAGES = {
    "cadvisor": "ghcr.io/google/cadvisor:0.60.5",
    "cloudflared": "docker.io/cloudflare/cloudflared:2026.8.2",
    "common": "mediaserver-lab/standin-base",
    "grafana": "docker.io/grafana/grafana:12.2.0",
    "immich-machine-learning": "ghcr.io/immich-app/immich-machine-learning:v3.1.0",
    "immich-postgres": "ghcr.io/immich-app/postgres:14-vectorchord0.4.3-pgvectors0.2.0",
    "immich-server": "ghcr.io/immich-app/immich-server:v3.1.0",
    "jellyfin": "docker.io/jellyfin/jellyfin:10.11.11",
    "nginx-proxy-manager": "docker.io/jc21/nginx-proxy-manager:2.15.1",
    "node-exporter": "docker.io/prom/node-exporter:v1.12.1",
    "postgres-exporter": "quay.io/prometheuscommunity/postgres-exporter:v0.17.1",
    "prometheus": "docker.io/prom/prometheus:v3.14.0",
    "traefik": "docker.io/library/traefik:v3.7.9",
    "valkey": "docker.io/valkey/valkey:9",
}


def test_every_image_has_its_folder() -> None:
    assert sorted(IMAGES) == FOLDERS


@pytest.mark.parametrize("name", FOLDERS)
def test_folder(name: str) -> None:
    about = json.loads((STANDINS / name / "standin.json").read_text())
    assert set(about) - {"program"} == {"image", "base", "real", "note"}
    assert about["image"] == IMAGES[name] and about["note"].endswith(".")
    first = next(line for line in (STANDINS / name / "Dockerfile").read_text().splitlines() if line.startswith("FROM"))
    assert first == f"FROM {about['base']}"
    assert f"`{name}`" in (STANDINS / "README.md").read_text()


# --- cloudflared: no tunnel without a token


def test_cloudflared_wants_a_token(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    program = load("cloudflared/cloudflared.py")
    assert program.options(["tunnel", "--no-autoupdate", "--metrics", "0.0.0.0:2000", "run"]) == ("run", "0.0.0.0:2000")
    monkeypatch.setenv("TUNNEL_TOKEN", "eyJhIjoiYSJ9")
    program.require_token()
    for words, said in ((["access"], "only `tunnel`"), (["tunnel", "list"], "only `run` and `ready`")):
        with pytest.raises(SystemExit):
            program.options(words)
        assert said in capsys.readouterr().err
    monkeypatch.setenv("TUNNEL_TOKEN", "none")
    with pytest.raises(SystemExit):
        program.require_token()
    assert "token is not valid" in capsys.readouterr().err


# --- Prometheus: what version 3 refuses although Debian's 2.53 would take it


def load(path: str) -> Any:
    sys.path.insert(0, str(STANDINS / "common"))
    try:
        return program.load(STANDINS / path)
    finally:
        sys.path.remove(str(STANDINS / "common"))


def test_prometheus_flags(capsys: pytest.CaptureFixture[str]) -> None:
    wrapper = load("prometheus/entrypoint.py")
    kept = ["--config.file=/x.yml", "--storage.tsdb.retention.time", "30d", "--no-storage.tsdb.wal-compression"]
    assert wrapper.arguments(kept) == kept
    assert wrapper.arguments(["--web.enable-otlp-receiver", "--auto-gomemlimit.ratio", "0.8", "--log.level=warn"]) == [
        "--log.level=warn"
    ]
    for removed in (
        "--storage.tsdb.retention=3d",
        "--alertmanager.timeout=3s",
        "--storage.tsdb.allow-overlapping-blocks",
    ):
        with pytest.raises(SystemExit):
            wrapper.arguments([removed])
        assert "unknown long flag" in capsys.readouterr().err


def test_prometheus_configuration() -> None:
    wrapper = load("prometheus/entrypoint.py")
    assert wrapper.refused_by_version_3("alerting:\n  alertmanagers:\n  - api_version: v2\n") == []
    assert wrapper.refused_by_version_3("alerting:\n  alertmanagers:\n  - api_version: v1\n")
    assert wrapper.refused_by_version_3("scrape_configs:\n- job_name: x\n  scrape_classic_histograms: true\n")


# --- Immich machine learning


def test_machine_learning(standin: Any) -> None:
    server = standin("immich-machine-learning/learning.py", ["/cache"]).start()
    answer = server.call("GET", "/ping")
    assert answer.text == "pong" and answer.headers["Server"] == "immich-machine-learning-stand-in"
    assert server.call("POST", "/predict", {}).status == 422
    assert server.call("GET", "/api/ping").status == 404


def test_machine_learning_needs_its_cache(standin: Any) -> None:
    assert "/cache is not mounted" in standin("immich-machine-learning/learning.py", []).refuses_to_start()


# --- cAdvisor


def test_cadvisor(standin: Any) -> None:
    server = standin("cadvisor/cadvisor.py", [])
    run_as_root = subprocess.run(["id", "-u"], capture_output=True, text=True, check=True).stdout.strip() == "0"
    if not run_as_root:
        assert "must run as root" in server.refuses_to_start()
        return
    server.start()
    assert server.call("GET", "/healthz").text == "ok"
    answer = server.call("GET", "/metrics")
    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert "machine_cpu_cores" in answer.text and 'container_last_seen{id="/"' in answer.text
    assert "Registration of the docker container factory failed" in server.log.read_text()


def test_cadvisor_refuses_unknown_flags(standin: Any) -> None:
    server = standin("cadvisor/cadvisor.py", [])
    server.command.append("--colour=red")
    assert "flag provided but not defined: -colour" in server.refuses_to_start()
