# SPDX-License-Identifier: MIT
"""The house's own rules: nothing without a test, public variables documented, licences named, commands in make help."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
MODULES = sorted(path.stem for path in (ROOT / "plugins/modules").glob("*.py"))
ACTIONS = {path.stem for path in (ROOT / "plugins/action").glob("*.py")}
ROLES = sorted(path.name for path in (ROOT / "roles").iterdir() if path.is_dir())
# Roles that need other machines, guests or applications around them: the lab stage runs them whole (check, converge,
# again, check, verify). All others have a molecule scenario of their own name.
LAB_ROLES = {"extranet", "intranet", "single", "host", "proxmox", "npm", "jellyfin", "immich", "ca"}
# Roles that need OpenZFS in the kernel, which no container has: the stage zfs runs them so in its emulated machine.
ZFS_ROLES = {"zfs", "zfs_snapshots"}

# Roles that run on the controller and speak an API that is nobody's machine: run whole against the API's stand-in.
CONTROLLER_ROLES = {"cloudflare"}
# Roles for Windows, of which there is none here: run whole on a simulated machine.
WINDOWS_ROLES = {"windows"}


@pytest.mark.parametrize("module", MODULES)
def test_every_module_has_a_test(module: str) -> None:
    places = [ROOT / "tests/unit/plugins/modules", *([ROOT / "tests/unit/plugins/action"] if module in ACTIONS else [])]
    assert any(list(place.glob(f"test_{module}*.py")) for place in places), f"no test_{module}*.py"


@pytest.mark.parametrize("role", ROLES)
def test_every_role_has_a_scenario_or_runs_in_the_lab(role: str) -> None:
    if role in LAB_ROLES:
        used = "".join(path.read_text() for path in (ROOT / "playbooks").rglob("*.yml"))
        used += "".join(path.read_text() for path in (ROOT / "roles").glob("*/tasks/*.yml"))
        used += "".join(path.read_text() for path in (ROOT / "roles/services/catalog").glob("*/service.yml"))
        assert f"homelab.mediaserver.{role}" in used, f"role {role} is used by no playbook, role or catalog entry"
    elif role in ZFS_ROLES:
        tasks = yaml.safe_load((ROOT / "tests/zfs/converge.yml").read_text())[0]["tasks"]
        used = [task.get("ansible.builtin.import_role", {}).get("name") for task in tasks]
        assert f"homelab.mediaserver.{role}" in used, f"role {role} is not run by tests/zfs/converge.yml"
    elif role in WINDOWS_ROLES:
        assert (ROOT / f"tests/integration/test_role_{role}.py").exists(), f"no tests/integration/test_role_{role}.py"
    elif role in CONTROLLER_ROLES:
        assert (ROOT / f"tests/long/test_role_{role}.py").exists(), f"no tests/long/test_role_{role}.py"
    else:
        assert (ROOT / "molecule" / role / "molecule.yml").exists(), f"no molecule/{role}/molecule.yml"


@pytest.mark.parametrize("role", ROLES)
def test_public_variables_stand_in_defaults_and_in_the_specification(role: str) -> None:
    folder = ROOT / "roles" / role
    specification = yaml.safe_load((folder / "meta/argument_specs.yml").read_text())
    options = specification["argument_specs"]["main"].get("options") or {}
    defaults_file = folder / "defaults/main.yml"
    defaults = (yaml.safe_load(defaults_file.read_text()) if defaults_file.exists() else None) or {}
    optional = {name for name, option in options.items() if not option.get("required")}
    assert set(defaults) <= set(options), "in defaults, not in meta/argument_specs.yml"
    assert optional <= set(defaults), "optional in meta/argument_specs.yml, without a default"
    for name in options:
        assert name.startswith(f"{role}_"), f"{name} lacks the role's prefix"
    for name, option in options.items():
        if "default" in option:
            assert option["default"] == defaults[name], f"{name}: two different defaults"


@pytest.mark.parametrize("path", sorted((ROOT / "plugins").rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT)))
def test_every_plugin_names_its_licence(path: Path) -> None:
    head = "\n".join(path.read_text().splitlines()[:20])
    assert "SPDX-License-Identifier: GPL-3.0-or-later" in head or not head


@pytest.mark.parametrize("path", sorted((ROOT / "plugins").rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT)))
def test_unused_values_have_a_name(path: Path) -> None:
    """ansible-test refuses the name `_`, a minute later than this."""
    names = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Name) and node.id == "_"]
    assert not names, f"line {names[0].lineno}: say what it is, as in _slash"


def test_every_make_verb_is_explained() -> None:
    text = (ROOT / "Makefile").read_text()
    phony = {name for line in re.findall(r"^\.PHONY: (.*)$", text, re.M) for name in line.split()}
    explained = {name for line in re.findall(r"^([a-z -]+):.*## ", text, re.M) for name in line.split()}
    assert phony <= explained, f"without an explanation: {sorted(phony - explained)}"


def test_action_groups_hold_exactly_the_modules_of_their_api() -> None:
    """The modules that take an API's connection options from its fragment, so that module_defaults reach them all."""
    groups = yaml.safe_load((ROOT / "meta/runtime.yml").read_text())["action_groups"]
    fragments = {path.stem for path in (ROOT / "plugins/doc_fragments").glob("*.py")}
    apis = fragments - {"application", "attributes", "compose"}  # what modules share beside their API
    assert set(groups) == apis
    for api in apis:
        users = [
            module
            for module in MODULES
            if f"  - homelab.mediaserver.{api}\n" in (ROOT / f"plugins/modules/{module}.py").read_text()
        ]
        assert groups[api] == users, api


def test_changelog_names_the_modules_of_each_release() -> None:
    releases = yaml.safe_load((ROOT / "changelogs/changelog.yaml").read_text())["releases"]
    for version, release in releases.items():
        added = f"\nversion_added: {version}\n"
        modules = [name for name in MODULES if added in (ROOT / f"plugins/modules/{name}.py").read_text()]
        named = sorted(module["name"] for module in release.get("modules", []))
        assert named == modules, f"antsibull-changelog release --version {version} --update-existing"


def test_only_one_place_looks_at_check_mode() -> None:
    """Of modules and what they use. Actions run on the controller and hand the task's check mode on."""
    found = [
        str(path.relative_to(ROOT))
        for folder in ("modules", "module_utils", "plugin_utils")
        for path in sorted((ROOT / "plugins" / folder).glob("*.py"))
        if re.search(r"\b(module|self|_task)\.check_mode|_ansible_check_mode", path.read_text())
    ]
    assert found == ["plugins/module_utils/_reconcile.py"], found
