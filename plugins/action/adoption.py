# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action plugin: compares what adopt_info found with the plan of that host. Touches nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.homelab.mediaserver.plugins.action.plan import (
    COLLECTION,
    inventory_folder,
    names_only,
    plain,
    stored_names,
)
from ansible_collections.homelab.mediaserver.plugins.plugin_utils import adopt, adopt_text, catalog
from ansible_collections.homelab.mediaserver.plugins.plugin_utils.adopt_model import Side
from ansible_collections.homelab.mediaserver.plugins.plugin_utils.problems import Problems

OPTIONS = {"found", "plan", "host", "catalogs"}


class ActionModule(ActionBase):
    """Runs on the controller."""

    TRANSFERS_FILES = False
    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        variables = task_vars or {}
        args = {name: plain(value) for name, value in self._task.args.items()}
        if set(args) - OPTIONS or not {"found", "plan"} <= set(args):
            raise AnsibleActionFail(f"adoption needs found and plan and knows {', '.join(sorted(OPTIONS))}")
        name = str(args.get("host") or variables.get("inventory_hostname"))
        if name not in args["plan"]["hosts"]:
            raise AnsibleActionFail(f"{name} is no host of this plan")
        folder = inventory_folder(variables)
        catalogs = [(COLLECTION / "roles/services/catalog", False), (folder / "catalog", True)]
        catalogs += [(Path(str(path)), True) for path in args.get("catalogs") or []]
        entries = catalog.load(catalogs, Problems())
        given = variables.get("site_secrets") or {}
        side = Side(
            name=name,
            host=args["plan"]["hosts"][name],
            catalog={key: entry.spec for key, entry in entries.items()},
            given=list(names_only(given)),
            stored=stored_names(folder, self._loader),
            storage=plain(variables.get("site_storage") or {}),
        )
        found = adopt.compare(args["found"], side)
        result.update(
            changed=False,
            table=adopt_text.lines(name, found),
            rows=[vars(row) for row in found.rows],
            refused=found.refused,
            services=found.services,
            inventory=found.inventory,
            reveal=found.reveal,
            request=found.request,
        )
        return result
