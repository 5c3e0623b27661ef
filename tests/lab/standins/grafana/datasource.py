# SPDX-License-Identifier: MIT
"""Data sources are really asked: health, the proxy, instant Prometheus queries."""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

PATHS = {"prometheus": "/api/v1/query?query=1%2B1", "loki": "/ready", "alertmanager": "/-/ready"}


def ask(source: dict[str, Any], path: str, method: str = "GET", body: bytes | None = None) -> tuple[int, bytes, str]:
    """Status, content and type; OSError when nobody answers."""
    request = urllib.request.Request(source["url"].rstrip("/") + path, data=body, method=method)
    if body:
        request.add_header("Content-Type", "application/x-www-form-urlencoded")
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return answer.status, answer.read(), answer.headers.get("Content-Type", "")
    except urllib.error.HTTPError as error:
        return error.code, error.read(), error.headers.get("Content-Type", "")


def health(source: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    if source["type"] not in PATHS:
        return 404, {"message": "Plugin not found or without a health check (stand-in)"}
    try:
        status, content, _ = ask(source, PATHS[source["type"]])
    except (OSError, ValueError) as error:
        text = getattr(error, "reason", error)
        return 400, {"status": "ERROR", "message": f"Failed to query {source['url']}: {text}"}
    if status != 200:
        return 400, {"status": "ERROR", "message": f"{status} from {source['url']}: {content[:100]!r}"}
    if source["type"] == "prometheus":
        try:
            good = json.loads(content)["status"] == "success"
        except (ValueError, KeyError, TypeError):
            good = False
        if not good:
            return 400, {"status": "ERROR", "message": f"{source['url']} is not a Prometheus API"}
    name = source["type"].capitalize()
    return 200, {"status": "OK", "message": f"Successfully queried the {name} API."}


def query(source: dict[str, Any], expression: str) -> dict[str, Any]:
    """One instant query as Grafana's data frames."""
    try:
        status, content, _ = ask(source, "/api/v1/query?" + urllib.parse.urlencode({"query": expression}))
        answer = json.loads(content)
    except (OSError, ValueError) as error:
        return {"status": 500, "error": str(error), "frames": []}
    if status != 200 or answer.get("status") != "success":
        return {"status": 400, "error": answer.get("error", str(status)), "frames": []}
    result = answer["data"]["result"]
    if answer["data"]["resultType"] == "scalar":
        result = [{"metric": {}, "value": result}]
    frames = [
        {
            "schema": {"fields": [{"name": "Time", "type": "time"},
                                  {"name": "Value", "type": "number", "labels": each["metric"]}]},
            "data": {"values": [[int(each["value"][0] * 1000)], [float(each["value"][1])]]},
        }
        for each in result
    ]  # fmt: skip
    return {"status": 200, "frames": frames}
