# SPDX-License-Identifier: MIT
"""Provisioning files as Grafana reads them: a bad data source stops the start, a bad dashboard is missing."""

from __future__ import annotations

import hashlib
import json
import os
import re
from pathlib import Path
from typing import Any

import yaml

BUILT_IN = ["prometheus", "loki", "alertmanager", "grafana-postgresql-datasource", "postgres", "mysql", "influxdb",
            "elasticsearch", "tempo", "jaeger", "zipkin", "graphite", "mssql", "opentsdb", "cloudwatch",
            "grafana-testdata-datasource", "testdata", "grafana-pyroscope-datasource", "parca", "stackdriver",
            "grafana-azure-monitor-datasource"]  # fmt: skip
SPECIAL = ("-- Grafana --", "-- Mixed --", "-- Dashboard --", "grafana", "__expr__", "-100")


class Fatal(Exception):
    """What makes Grafana refuse to start."""


def interpolate(value: Any) -> Any:
    """$NAME and ${NAME} in values; $$ is a dollar sign."""
    if isinstance(value, dict):
        return {key: interpolate(each) for key, each in value.items()}
    if isinstance(value, list):
        return [interpolate(each) for each in value]
    if not isinstance(value, str):
        return value
    names = re.compile(r"\$\$|\$\{(\w+)\}|\$(\w+)")
    return names.sub(lambda m: "$" if m[0] == "$$" else os.environ.get(m[1] or m[2], ""), value)


def documents(folder: Path, problems: list[str]) -> list[tuple[Path, dict[str, Any]]]:
    try:
        files = sorted(file for file in folder.iterdir() if file.suffix in (".yaml", ".yml"))
    except OSError as error:
        problems.append(f"can't read provisioning files from directory {folder}: {error.strerror}")
        return []
    found = []
    for file in files:
        try:
            found.append((file, interpolate(yaml.safe_load(file.read_text()) or {})))
        except (yaml.YAMLError, OSError) as error:
            raise Fatal(f"{file.name}: {error}") from error
        if not isinstance(found[-1][1], dict):
            raise Fatal(f"{file.name}: yaml: cannot unmarshal into the configuration")
    return found


def datasources(folder: Path, problems: list[str]) -> dict[str, dict[str, Any]]:
    """By uid."""
    found: dict[str, dict[str, Any]] = {}
    for file, document in documents(folder, problems):
        for each in document.get("datasources") or []:
            name = each.get("name")
            if not name or not each.get("type"):
                raise Fatal(f"Datasource provisioning error: {file.name}: name and type of a data source are required")
            uid = each.get("uid") or "P" + hashlib.sha256(name.encode()).hexdigest()[:16].upper()
            if not re.fullmatch(r"[a-zA-Z0-9_-]{1,40}", str(uid)):
                raise Fatal(f"Datasource provisioning error: {file.name}: invalid uid {uid!r}")
            if each.get("access", "proxy") not in ("proxy", "direct"):
                problems.append(f"{file.name}: data source {name}: unknown access {each['access']!r}, using proxy")
            if uid in found:
                raise Fatal(f"Datasource provisioning error: data source with the same uid already exists: {uid}")
            if any(other["name"] == name for other in found.values()):
                raise Fatal(f"Datasource provisioning error: data source with the same name already exists: {name}")
            if each["type"] not in BUILT_IN:
                problems.append(f"data source {name}: plugin {each['type']} not found")
            found[uid] = {
                "id": len(found) + 1, "uid": uid, "orgId": each.get("orgId", 1), "name": name, "type": each["type"],
                "access": each.get("access", "proxy"), "url": each.get("url", ""), "user": each.get("user", ""),
                "database": each.get("database", ""), "basicAuth": bool(each.get("basicAuth")),
                "isDefault": bool(each.get("isDefault")), "jsonData": each.get("jsonData") or {},
                "readOnly": not each.get("editable", False),
            }  # fmt: skip
    if sum(each["isDefault"] for each in found.values()) > 1:
        raise Fatal("Datasource provisioning error: datasource.yaml config is invalid. "
                    "Only one datasource per organization can be marked as default")  # fmt: skip
    return found


def providers(folder: Path, problems: list[str]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for file, document in documents(folder, problems):
        for each in document.get("providers") or []:
            options = each.get("options") or {}
            if not each.get("name"):
                raise Fatal(f"Dashboard provisioning error: {file.name}: a provider needs a name")
            if each.get("type", "file") != "file":
                raise Fatal(f"Dashboard provisioning error: type {each['type']} is not supported")
            if not options.get("path"):
                raise Fatal("Dashboard provisioning error: Failed to load dashboards, path param is not a string")
            if any(each["name"] == other["name"] for other in found):
                raise Fatal(f"Dashboard provisioning error: dashboards provider name {each['name']!r} is not unique")
            found.append(each)
    return found


def dashboards(
    folder: Path, sources: dict[str, dict[str, Any]], problems: list[str], prefix: str = ""
) -> dict[str, dict[str, Any]]:
    """By uid. A file that cannot be read, has no title, or shares its uid or title is missing, with a line why."""
    read: list[dict[str, Any]] = []
    for provider in providers(folder, problems):
        root = Path(prefix + provider["options"]["path"])
        if not root.is_dir():
            problems.append(f"Cannot read directory {provider['options']['path']}: no such file or directory")
            continue
        for file in sorted(root.rglob("*.json")):
            if not any(part.startswith(".") for part in file.relative_to(root).parts):
                read += _dashboard(file, root, provider, problems)
    for key in ("uid", "place"):
        for value in sorted({each[key] for each in read if sum(other[key] == each[key] for other in read) > 1}):
            files = ", ".join(each["file"] for each in read if each[key] == value)
            problems.append(f"the same {'UID' if key == 'uid' else 'title in a folder'} is used more than once: "
                            f"{value}: not saving {files}")  # fmt: skip
            read = [each for each in read if each[key] != value]
    for each in read:
        for reference in sorted(references(each["dashboard"])):
            if reference not in sources and not any(reference == source["name"] for source in sources.values()):
                problems.append(f"dashboard {each['uid']}: Datasource {reference} was not found")
    return {each["uid"]: each for each in read}


def _dashboard(file: Path, root: Path, provider: dict[str, Any], problems: list[str]) -> list[dict[str, Any]]:
    try:
        content = json.loads(file.read_text())
    except (ValueError, OSError) as error:
        problems.append(f"failed to load dashboard from {file}: {error}")
        return []
    title = str(content.get("title", "")).strip() if isinstance(content, dict) else ""
    if not title:
        problems.append(f"failed to load dashboard from {file}: Dashboard title cannot be empty")
        return []
    uid = content.get("uid") or hashlib.sha256(str(file).encode()).hexdigest()[:14]
    if not re.fullmatch(r"[a-zA-Z0-9_-]{1,40}", str(uid)):
        problems.append(f"failed to save dashboard from {file}: uid contains illegal characters or is too long")
        return []
    folder = provider.get("folder") or ""
    if (provider["options"].get("foldersFromFilesStructure")) and file.parent != root:
        folder = file.parent.name
    content = content | {"uid": uid, "id": None, "version": content.get("version", 1)}
    return [{"uid": uid, "title": title, "folder": folder, "file": str(file), "dashboard": content,
             "place": f"{folder}/{title}", "provider": provider["name"]}]  # fmt: skip


def references(node: Any, variables: set[str] | None = None) -> set[str]:
    """Every data source a dashboard names, but for template variables of its own."""
    if variables is None:
        listed = (node.get("templating") or {}).get("list") or []
        variables = {each.get("name", "") for each in listed if each.get("type") == "datasource"}
    found: set[str] = set()
    if isinstance(node, list):
        return set().union(*(references(each, variables) for each in node)) if node else found
    if not isinstance(node, dict):
        return found
    for key, value in node.items():
        if key == "datasource" and value:
            uid = value.get("uid") if isinstance(value, dict) else value
            variable = re.fullmatch(r"\$\{?(\w+)\}?", str(uid or ""))
            if uid and uid not in SPECIAL and not (variable and variable[1] in variables):
                found.add(str(uid))
        else:
            found |= references(value, variables)
    return found
