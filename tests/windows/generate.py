# SPDX-License-Identifier: MIT
"""Make the simulated Windows: collections whose win_* modules check their arguments and keep state in a file.

For each module that role windows uses, an action of the same name, which runs where Ansible does. What it accepts is
read from the DOCUMENTATION of the real one (bundle `ansible` of PyPI, which tools/setup installs): an unknown option, a
wrong type, a missing or impossible value fails as it would there. What it does is simulated.py's: a
stand-in, no Windows.
"""

from __future__ import annotations

import ast
import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import ansible
import yaml

ROOT = Path(__file__).resolve().parents[2]
BUNDLE = Path(ansible.__file__).resolve().parents[1] / "ansible_collections"
COLLECTIONS = ("ansible.windows", "community.windows", "chocolatey.chocolatey")
ROLES = ("windows",)
ACTION = """# made by tests/windows/generate.py
import json
from ansible_collections.ansible.windows.plugins.plugin_utils.simulated import Simulated
class ActionModule(Simulated):
    NAME = {name!r}
    SPEC = json.loads({spec!r})
"""


def used(roles: tuple[str, ...] = ROLES) -> list[str]:
    """Full names of the Windows modules in the roles' tasks."""
    names = "|".join(map(re.escape, COLLECTIONS))
    texts = [path.read_text() for role in roles for path in (ROOT / "roles" / role).glob("*/*.yml")]
    return sorted({found for text in texts for found in re.findall(rf"^\s+((?:{names})\.\w+):", text, re.M)})


def documentation(name: str) -> dict[str, Any]:
    """The options of a module."""
    namespace, collection, module = name.split(".")
    path = BUNDLE / namespace / collection / "plugins/modules" / f"{module}.py"
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "DOCUMENTATION":
            found: dict[str, Any] = yaml.safe_load(ast.literal_eval(node.value))
            return found
    raise LookupError(f"{path} has no DOCUMENTATION")


def spec(options: dict[str, Any]) -> dict[str, Any]:
    """An argument specification from documented options."""
    found = {}
    for name, option in options.items():
        inner = option.get("suboptions")
        kind = option.get("type") or ("dict" if inner else "str")
        one: dict[str, Any] = {"type": {"sid": "str", "path": "str"}.get(kind, kind)}
        for key in ("required", "default", "choices", "elements", "aliases"):
            if option.get(key) is not None:
                one[key] = option[key]
        if inner:
            one["options"] = spec(inner)
        found[name] = one
    return found


def make(folder: Path) -> list[str]:
    """The collections below ``folder``; names of their modules."""
    names = used()
    for name in names:
        namespace, collection, module = name.split(".")
        place = folder / "ansible_collections" / namespace / collection / "plugins/action"
        place.mkdir(parents=True, exist_ok=True)
        text = json.dumps(spec(documentation(name)["options"]))
        (place / f"{module}.py").write_text(ACTION.format(name=module, spec=text))
    shared = folder / "ansible_collections/ansible/windows/plugins/plugin_utils"
    shared.mkdir(parents=True, exist_ok=True)
    shutil.copy(Path(__file__).with_name("simulated.py"), shared)
    return names


if __name__ == "__main__":
    print("\n".join(make(Path(sys.argv[1]))))
