# SPDX-License-Identifier: MIT
from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

PROGRAM, MOUNTS = "grafana/grafana.py", ["/var/lib/grafana"]
PROVIDER = "apiVersion: 1\nproviders:\n- {name: all, type: file, folder: Hosts, options: {path: /dashboards}}\n"


def basic(password: str, user: str = "admin") -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


@pytest.fixture
def prometheus() -> Iterator[str]:
    class Fake(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            result = [{"metric": {"job": "node"}, "value": [1.5, "2"]}]
            answer = {"status": "success", "data": {"resultType": "vector", "result": result}}
            content = json.dumps(answer).encode()
            self.send_response(200 if self.path.startswith("/api/v1/query?") else 404)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Fake)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def prepare(server: Any, sources: str, dashboards: dict[str, Any]) -> Any:
    provisioning = server.root / "etc/grafana/provisioning"
    (provisioning / "datasources").mkdir(parents=True)
    (provisioning / "dashboards").mkdir()
    (server.root / "dashboards").mkdir()
    (provisioning / "datasources/all.yaml").write_text(sources)
    (provisioning / "dashboards/all.yaml").write_text(PROVIDER)
    for name, content in dashboards.items():
        text = content if isinstance(content, str) else json.dumps(content)
        (server.root / "dashboards" / name).write_text(text)
    return server


def source(name: str = "Prometheus", **more: Any) -> str:
    each = {"name": name, "type": "prometheus", "uid": "prom", "url": "http://127.0.0.1:1", "isDefault": True} | more
    return json.dumps({"apiVersion": 1, "datasources": [each]})


def panel(uid: str) -> dict[str, Any]:
    return {"title": "p", "datasource": {"type": "prometheus", "uid": uid}, "targets": [{"expr": "up"}]}


def test_health_and_login(standin: Any, tmp_path: Path) -> None:
    secret = tmp_path / "pw"
    secret.write_text("from a file\n")
    server = prepare(standin(PROGRAM, MOUNTS, GF_SECURITY_ADMIN_PASSWORD__FILE=str(secret)), source(), {}).start()
    answer = server.call("GET", "/api/health")
    assert answer.json["database"] == "ok" and answer.headers["Server"] == "grafana-stand-in"
    assert server.call("GET", "/api/search").status == 401
    assert server.call("GET", "/api/search", headers=basic("admin")).status == 401
    assert server.call("GET", "/api/search", headers=basic("from a file")).json == []
    # a new password in the environment changes nothing once there is a database
    secret.write_text("another")
    server.restart()
    assert server.call("GET", "/api/search", headers=basic("another")).status == 401
    assert server.call("GET", "/api/search", headers=basic("from a file")).status == 200


@pytest.mark.parametrize(
    ("mounts", "environment", "message"),
    [
        ([], {}, "/var/lib/grafana is not mounted"),
        (MOUNTS, {"GF_SECURITY_ADMIN_PASSWORD__FILE": "/nowhere"}, "cannot read /nowhere"),
        (MOUNTS, {"GF_SECURITY_ADMIN_PASSWORD__FILE": "/x", "GF_SECURITY_ADMIN_PASSWORD": "y"}, "are exclusive"),
    ],
)
def test_refuses_to_start(standin: Any, mounts: list[str], environment: dict[str, str], message: str) -> None:
    assert message in standin(PROGRAM, mounts, **environment).refuses_to_start()


@pytest.mark.parametrize(
    ("sources", "message"),
    [
        ("datasources: [", "all.yaml"),
        (source(name=""), "name and type of a data source are required"),
        (source(uid="not valid"), "invalid uid"),
        ('{"datasources": [{"name": "a", "type": "loki", "uid": "u"}, {"name": "b", "type": "loki", "uid": "u"}]}',
         "same uid already exists"),
        ('{"datasources": [{"name": "a", "type": "loki", "isDefault": true}, '
         '{"name": "b", "type": "loki", "isDefault": true}]}', "Only one datasource"),
    ],
)  # fmt: skip
def test_bad_data_source_stops_the_start(standin: Any, sources: str, message: str) -> None:
    assert message in prepare(standin(PROGRAM, MOUNTS), sources, {}).refuses_to_start()


def test_dashboards(standin: Any) -> None:
    dashboards = {
        "good.json": {"uid": "good", "title": "Good", "tags": ["host"],
                      "panels": [panel("prom"), panel("-- Mixed --")]},
        "lost.json": {"uid": "lost", "title": "Lost", "panels": [panel("${DS_PROMETHEUS}")]},
        "variable.json": {"uid": "var", "title": "Variable", "panels": [panel("${ds}")],
                          "templating": {"list": [{"type": "datasource", "name": "ds"}]}},
        "one.json": {"uid": "twice", "title": "One"},
        "two.json": {"uid": "twice", "title": "Two"},
        "broken.json": "{",
        "untitled.json": {"uid": "untitled"},
    }  # fmt: skip
    server = prepare(standin(PROGRAM, MOUNTS), source(), dashboards).start()
    headers = basic("admin")
    found = server.call("GET", "/api/search?type=dash-db", headers=headers).json
    assert [each["uid"] for each in found] == ["good", "lost", "var"]
    assert {each["folderTitle"] for each in found} == {"Hosts"}
    one = server.call("GET", "/api/dashboards/uid/good", headers=headers).json
    assert one["meta"]["provisioned"] is True and one["dashboard"]["title"] == "Good"
    for missing in ("twice", "untitled"):
        assert server.call("GET", f"/api/dashboards/uid/{missing}", headers=headers).status == 404
    said = server.call("GET", "/api/stand-in/problems", headers=headers).json
    assert len(said) == 4
    assert any("broken.json" in each for each in said)
    assert any("title cannot be empty" in each for each in said)
    assert any("the same UID is used more than once: twice" in each for each in said)
    assert any(each == "dashboard lost: Datasource ${DS_PROMETHEUS} was not found" for each in said)
    assert "level=error" in server.log.read_text()


def test_data_sources_are_really_asked(standin: Any, prometheus: str) -> None:
    server = prepare(standin(PROGRAM, MOUNTS, PROM=prometheus), source(url="$PROM"), {}).start()
    headers = basic("admin")
    assert server.call("GET", "/api/datasources/uid/prom", headers=headers).json["url"] == prometheus
    assert server.call("GET", "/api/datasources/uid/prom/health", headers=headers).json["status"] == "OK"
    path = "/api/datasources/proxy/uid/prom/api/v1/query?query=up"
    assert server.call("GET", path, headers=headers).json["status"] == "success"
    body = {"queries": [{"refId": "A", "datasource": {"uid": "prom"}, "expr": "up"}]}
    frames = server.call("POST", "/api/ds/query", body, headers).json["results"]["A"]["frames"]
    assert frames[0]["data"]["values"] == [[1500], [2.0]]
    assert server.call("DELETE", "/api/datasources/uid/prom", headers=headers).status == 403
    assert server.call("GET", "/api/datasources/uid/none/health", headers=headers).status == 404


def test_dead_data_source(standin: Any) -> None:
    server = prepare(standin(PROGRAM, MOUNTS), source(), {}).start()
    answer = server.call("GET", "/api/datasources/uid/prom/health", headers=basic("admin"))
    assert answer.status == 400 and answer.json["status"] == "ERROR"


def test_uid_is_made_of_the_name(standin: Any) -> None:
    server = prepare(standin(PROGRAM, MOUNTS), source(uid=None), {}).start()
    found = server.call("GET", "/api/datasources", headers=basic("admin")).json
    assert found[0]["uid"].startswith("P") and len(found[0]["uid"]) == 17
