# SPDX-License-Identifier: MIT
"""renovate.json finds every image of the catalog with name, version and digest, and keeps together what belongs so."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
CONFIG: dict[str, Any] = json.loads((ROOT / "renovate.json").read_text())
MANAGER: dict[str, Any] = CONFIG["customManagers"][0]
# JavaScript writes a named group (?<name>, Python (?P<name>; nothing else in these patterns differs
PATTERNS = [re.compile(re.sub(r"\(\?<(?=[a-zA-Z])", "(?P<", text)) for text in MANAGER["matchStrings"]]
CATALOG = sorted((ROOT / "roles/services/catalog").glob("*/service.yml"))
DIGEST = "sha256:" + "0a" * 32


def found(text: str) -> list[tuple[str, str, str | None]]:
    matches = [match for pattern in PATTERNS for match in pattern.finditer(text)]
    return [(one["depName"], one["currentValue"], one["currentDigest"]) for one in matches]


def test_every_file_of_the_catalog_is_looked_at() -> None:
    patterns = [re.compile(text.strip("/")) for text in MANAGER["managerFilePatterns"]]
    names = [str(path.relative_to(ROOT)) for path in CATALOG] + ["inventories/homelab/catalog/own/service.yml"]
    assert [name for name in names if not any(pattern.search(name) for pattern in patterns)] == []


@pytest.mark.parametrize("path", CATALOG, ids=lambda path: path.parent.name)
def test_every_image_is_found_and_nothing_else(path: Path) -> None:
    containers = (yaml.safe_load(path.read_text()).get("containers") or {}).values()
    wanted = []
    for body in containers:
        name, _at, digest = body["image"].partition("@")
        repository, _colon, tag = name.rpartition(":")
        wanted.append((repository, tag, digest or None))
    assert found(path.read_text()) == wanted


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        (f"docker.io/a/b:1.2@{DIGEST}", ("docker.io/a/b", "1.2", DIGEST)),
        ("10.77.1.5:5000/a/b:v3", ("10.77.1.5:5000/a/b", "v3", None)),
        ('"ghcr.io/a/b:14-x0.4"', ("ghcr.io/a/b", "14-x0.4", None)),
    ],
)
def test_forms_of_an_image(line: str, wanted: tuple[str, str, str | None]) -> None:
    assert found(f"containers:\n  app:\n    image: {line}\n    health: {{image: true}}\n") == [wanted]


def test_majors_are_not_automatic_and_immich_is_one_group() -> None:
    rules = CONFIG["packageRules"]
    majors = [rule for rule in rules if rule.get("matchUpdateTypes") == ["major"]]
    assert majors and all(rule["automerge"] is False for rule in majors)
    assert not any(rule.get("automerge") for rule in rules)
    grouped = {name for rule in rules if rule.get("groupName") == "immich" for name in rule["matchPackageNames"]}
    images = yaml.safe_load((ROOT / "roles/services/catalog/immich/service.yml").read_text())["containers"].values()
    own = {body["image"].rpartition(":")[0] for body in images if "/immich-app/" in body["image"]}
    assert grouped == own


def test_postgresqls_major_never_changes_by_a_vector_update() -> None:
    (rule,) = [rule for rule in CONFIG["packageRules"] if "versioning" in rule]
    pattern = re.compile(re.sub(r"\(\?<(?=[a-zA-Z])", "(?P<", rule["versioning"].removeprefix("regex:")))
    match = pattern.match("14-vectorchord0.4.3-pgvectors0.2.0")
    assert match
    assert match.groupdict() == {"compatibility": "14", "major": "0", "minor": "4", "patch": "3"}
