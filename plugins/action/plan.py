# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action plugin: reads inventory and catalog, returns the site's plan or every mistake. Touches no host."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail, AnsibleError
from ansible.plugins.action import ActionBase
from ansible_collections.homelab.mediaserver.plugins.plugin_utils import (
    addresses,
    build,
    catalog,
    recovery_kit,
    tags,
    vault,
)
from ansible_collections.homelab.mediaserver.plugins.plugin_utils.host_schema import HOST
from ansible_collections.homelab.mediaserver.plugins.plugin_utils.site_schema import SITE
from ansible_collections.homelab.mediaserver.plugins.plugin_utils.sources import Sources

OPTIONS = {"requested_tags", "known_secrets", "catalogs", "incomplete"}
OWNERS_PART = ("secret-missing", "no-ssh-key", "device-placeholder")
COLLECTION = Path(__file__).resolve().parents[2]


class ActionModule(ActionBase):
    """Plans the whole site on the controller."""

    TRANSFERS_FILES = False
    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        variables = task_vars or {}
        unknown = sorted(set(self._task.args) - OPTIONS)
        if unknown:
            raise AnsibleActionFail(f"Unsupported parameters for plan: {', '.join(unknown)}")
        if not addresses.available():
            raise AnsibleActionFail("The plan needs the Python library netaddr on the controller. Run: make setup")
        folder = inventory_folder(variables)
        catalogs = [(COLLECTION / "roles/services/catalog", False), (folder / "catalog", True)]
        catalogs += [(Path(str(path)), True) for path in self._task.args.get("catalogs") or []]
        self._check_tags(catalogs)
        made = build.build(self._inputs(variables, folder, catalogs))
        found = made.problems.found
        missing = [problem for problem in found if problem.kind in OWNERS_PART and self._task.args.get("incomplete")]
        found = [problem for problem in found if problem not in missing]
        result.update(changed=False, problems=[problem.plain() for problem in found])
        if found:
            texts = [f"- {problem.text()}" for problem in found]
            count = "1 mistake" if len(texts) == 1 else f"{len(texts)} mistakes"
            result.update(
                failed=True, msg=f"{count} in inventory or catalog. No host was touched.\n" + "\n".join(texts)
            )
            return result
        open_warnings = [one for one in made.plan["warnings"] if not one["accepted"]]
        result["warnings"] = [
            f"{one['message']}. Accept it by name: site_accept: [{one['name']}]" for one in open_warnings
        ] + [f"Before this can be deployed: {problem.text()}" for problem in missing]
        requested = self._task.args.get("requested_tags") or []
        result.update(
            plan=made.plan,
            only=sorted(set(made.plan["catalog"]).intersection(requested)),
            state_directory=str(folder / ".secrets"),
            dry_run=bool(self._task.check_mode),
        )
        return result

    def _check_tags(self, catalogs: list[tuple[Path, bool]]) -> None:
        requested = [str(tag) for tag in self._task.args.get("requested_tags") or []]
        messages = tags.unknown(requested, catalog.names(path for path, _own in catalogs))
        if messages:
            raise AnsibleActionFail("\n".join(messages))

    def _inputs(self, variables: dict[str, Any], folder: Path, catalogs: list[tuple[Path, bool]]) -> build.Inputs:
        hostvars = variables.get("hostvars") or {}
        names = [name for name in hostvars if name not in ("localhost", "127.0.0.1")]
        sources = Sources(folder)
        values: dict[str, Any] = {}
        for name in names[:1] or ["localhost"]:
            values = read(
                hostvars[name],
                lambda key: (
                    key.startswith("site_") and key != "site_secrets" and (key in SITE.fields or not is_result(key))
                ),
            )
        values = {key: value for key, value in values.items() if key not in ("site_plan", "site_vault", "site_secrets")}
        # untemplated: a plan needs the names, and a lookup behind a value may not work before the secrets are made
        given = variables.get("site_secrets")
        values["site_secrets"] = names_only(given) if isinstance(given, Mapping) else given or {}
        hosts = {
            name: {
                "file": sources.of_host(name),
                "groups": [str(group) for group in hostvars[name].get("group_names") or []],
                "vars": read(hostvars[name], lambda key: key in HOST.fields),
            }
            for name in names
        }
        return build.Inputs(
            values=values,
            hosts=hosts,
            catalogs=catalogs,
            places={name: sources.of_variable(name) for name in {*SITE.fields, *values}},
            public_keys=public_keys(values, folder),
            known_secrets=[
                *stored_names(folder, self._loader),
                *(str(name) for name in self._task.args.get("known_secrets") or []),
            ],
            kit=recovery_kit.state(folder),
        )


def inventory_folder(variables: dict[str, Any]) -> Path:
    """Folder of the inventory. An implicit localhost does not know it, but any host of the inventory does."""
    hostvars = variables.get("hostvars") or {}
    for name in hostvars:
        found = hostvars[name].get("inventory_dir")
        if found:
            return Path(str(found))
    return Path(str(variables.get("inventory_dir") or Path.cwd()))


def stored_names(folder: Path, loader: Any) -> list[str]:
    """Names in the site's vault. What is wrong with the vault is said by the task that needs its values."""
    known = getattr(getattr(loader, "_vault", None), "secrets", None) or []
    try:
        return list(vault.Store(folder / ".secrets", tuple(secret for _name, secret in known)).load())
    except vault.VaultError:
        return []


def is_result(name: str) -> bool:
    """Names that site.yml registers."""
    return name in ("site_plan", "site_vault")


def read(variables: Mapping[str, Any], wanted: Any) -> dict[str, Any]:
    """The wanted variables as plain data."""
    found: dict[str, Any] = {}
    for key in list(variables):
        if not wanted(str(key)):
            continue
        try:
            value = variables[key]
            found[str(key)] = plain(value)
        except AnsibleError as error:
            raise AnsibleActionFail(f"Unable to read variable {key}: {error}") from error
    return found


def names_only(value: Mapping[str, Any]) -> dict[str, Any]:
    """Names of given secrets, {service: {name: ...}} joined by dots; the values are never looked at."""
    found: dict[str, Any] = {}
    for name in value:
        inner = None if "." in str(name) else value[name]
        found |= {f"{name}.{key}": True for key in inner} if isinstance(inner, Mapping) else {str(name): True}
    return found


def plain(value: Any) -> Any:
    """Without Ansible's own types, which remember where a value came from."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, str):
        return str(value)
    return int(value) if isinstance(value, int) else float(value) if isinstance(value, float) else str(value)


def public_keys(values: dict[str, Any], folder: Path) -> list[str]:
    """Keys from site_admin.ssh_key_files; a file that is missing is no key."""
    admin = values.get("site_admin")
    files = admin.get("ssh_key_files") if isinstance(admin, dict) else None
    found = []
    for name in files if isinstance(files, list) else []:
        path = Path(str(name)).expanduser()
        path = path if path.is_absolute() else folder / path
        if path.is_file():
            found += [
                line.strip()
                for line in path.read_text(encoding="utf-8").splitlines()
                if re.match(r"(ssh|ecdsa|sk)-", line)
            ]
    return found
