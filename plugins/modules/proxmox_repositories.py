#!/usr/bin/python
# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: proxmox_repositories
short_description: The package sources of a Proxmox VE node, for subscribers or for all others
version_added: 0.1.0
description:
  - Switches the one repository of Proxmox VE on and the other off, and likewise those of Ceph that are switched on.
    Uses the API that the web interface uses, so that files of either format are changed as Proxmox VE does it.
  - The wanted repository is there before the other goes. Nothing is deleted, and all other sources stay as they are.
  - The package lists are not renewed; APT does that when it is next used.
extends_documentation_fragment:
  - homelab.mediaserver.proxmox
  - homelab.mediaserver.attributes
options:
  node:
    description: Name of the node.
    type: str
    required: true
  channel:
    description:
      - V(enterprise) needs a subscription that is active, which is looked at first.
      - V(no-subscription) is for everybody.
    type: str
    choices: [enterprise, no-subscription]
    required: true
"""

EXAMPLES = r"""
- name: Updates without a subscription
  homelab.mediaserver.proxmox_repositories:
    node: pve
    channel: no-subscription
"""

RETURN = r"""
repositories:
  description: Repositories of Proxmox VE and of Ceph as the module leaves them, by the API's names for them.
  returned: always
  type: dict
  sample: {enterprise: false, no-subscription: true}
steps:
  description: What was done, or would be done.
  returned: always
  type: list
  elements: str
"""

import functools
import re
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.homelab.mediaserver.plugins.module_utils import _reconcile
from ansible_collections.homelab.mediaserver.plugins.module_utils._pve import CONNECTION, ApiFailure, Pve
from ansible_collections.homelab.mediaserver.plugins.module_utils._reconcile import Failure, Plan, Step

CHANNELS = ("enterprise", "no-subscription")
ARGUMENTS: dict[str, Any] = {
    **CONNECTION,
    "node": {"type": "str", "required": True},
    "channel": {"type": "str", "choices": list(CHANNELS), "required": True},
}
PRODUCT = re.compile(r"//(?:enterprise|download)\.proxmox\.com/debian/(pve|ceph-[a-z]+)/?$")


def handles_of(repository: dict[str, Any]) -> list[str]:
    """The API's names of what a line of a file holds: ``enterprise``, ``ceph-squid-no-subscription``."""
    products = [match[1] for uri in repository.get("URIs") or [] if (match := PRODUCT.search(str(uri)))]
    components = [str(one).removeprefix("pve-") for one in repository.get("Components") or []]
    return [one if product == "pve" else f"{product}-{one}" for product in products for one in components]


def handle_of(repository: dict[str, Any]) -> str | None:
    """The one name of a line; None for others and for a line that holds something else besides: it is not ours."""
    whole = len(repository.get("URIs") or []) == 1 and len(repository.get("Components") or []) == 1
    return next(iter(handles_of(repository)), None) if whole else None


def enabled(value: Any) -> bool:
    return str(value).lower() in ("1", "true")


def rows_of(answer: dict[str, Any], to: str) -> list[tuple[str, int, str, bool]]:
    """(path, index, handle, enabled) of all repositories that have a handle."""
    found = []
    files = answer.get("files")
    if not isinstance(files, list) or not isinstance(answer.get("standard-repos"), list):
        raise ApiFailure(to, "the answer names no files of repositories")
    for file in files:
        for index, repository in enumerate(file.get("repositories") or []):
            handle = handle_of(repository)
            if handle:
                found.append((str(file.get("path")), index, handle, enabled(repository.get("Enabled"))))
    return found


def shared(answer: dict[str, Any]) -> set[str]:
    """Handles in enabled lines that hold something else besides."""
    lines = [one for file in answer["files"] for one in file.get("repositories") or [] if enabled(one.get("Enabled"))]
    return {handle for line in lines if handle_of(line) is None for handle in handles_of(line)}


def wanted_states(channel: str, on: set[str]) -> dict[str, bool]:
    """Handle to state: Proxmox VE's own always, Ceph's where one of a release is on (pure)."""
    other = next(one for one in CHANNELS if one != channel)
    found = {channel: True, other: False}
    for handle in sorted(on):
        base = next((handle.removesuffix(one) for one in CHANNELS if handle.endswith(f"-{one}")), "")
        if base.startswith("ceph-"):
            found |= {f"{base}{channel}": True, f"{base}{other}": False}
    return found


def plan(pve: Pve, params: dict[str, Any], answer: dict[str, Any], rows: list[tuple[str, int, str, bool]]) -> Plan:
    node, path = params["node"], f"nodes/{params['node']}/apt/repositories"
    offered = {str(row.get("handle")): enabled(row.get("status")) for row in answer["standard-repos"]}
    on = {handle for _path, _index, handle, state in rows if state} | {name for name, state in offered.items() if state}
    wanted = wanted_states(params["channel"], on)
    steps, warnings = [], []
    for handle, state in wanted.items():
        if state and handle not in on:
            if handle not in offered:
                warnings.append(
                    f"Proxmox VE offers no repository {handle} to node {node}: its sources stay as they are"
                )
                other = handle.removesuffix(params["channel"])
                wanted = {name: keep or name.startswith(other) for name, keep in wanted.items() if name != handle}
                continue
            describe = f"add the repository {handle} to node {node}"
            steps.append(Step(describe, functools.partial(pve.call, "put", path, describe, handle=handle)))
    for file, index, handle, state in rows:
        if state and wanted.get(handle) is False:
            describe = f"switch off the repository {handle} of node {node} in {file}"
            data = {"path": file, "index": index, "enabled": False}
            steps.append(Step(describe, functools.partial(switch, pve, path, describe, data)))
    for handle in [name for name, keep in wanted.items() if not keep and name in shared(answer)]:
        warnings.append(f"The repository {handle} of node {node} stays on: its line holds something else too")
        wanted = {**wanted, handle: True}
    before = {handle: handle in on for handle in wanted}
    return Plan(before, wanted, tuple(steps), tuple(warnings), {"repositories": wanted})


def switch(pve: Pve, path: str, to: str, data: dict[str, Any]) -> None:
    """The position of a line is only good for the file that was read."""
    answer = pve.get_dict(path, to)
    same = [row for row in rows_of(answer, to) if row[:2] == (data["path"], data["index"])]
    if not same or same[0][2] not in to.split():
        raise Failure(f"Unable to {to}: the file was changed by somebody else; run again")
    guard = {"digest": answer["digest"]} if answer.get("digest") else {}
    pve.call("post", path, to, **data, **guard)


def work(module: AnsibleModule) -> dict[str, Any]:
    params = module.params
    pve, node = Pve(params), params["node"]
    to = f"read the package sources of {node}"
    answer = pve.get_dict(f"nodes/{node}/apt/repositories", to)
    rows = rows_of(answer, to)
    if params["channel"] == "enterprise":
        status = str(pve.get_dict(f"nodes/{node}/subscription", f"read the subscription of {node}").get("status"))
        if status.lower() != "active":
            raise Failure(
                f"Unable to use the enterprise repository on {node}: its subscription is not active ({status}); "
                "use no-subscription"
            )
    return _reconcile.run(module, plan(pve, params, answer, rows))


def main() -> None:
    _reconcile.main(AnsibleModule(ARGUMENTS, supports_check_mode=True), work)


if __name__ == "__main__":
    main()
