#!/usr/bin/python
# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: proxmox_role
short_description: A role of Proxmox VE, a named set of privileges
version_added: 0.1.0
description:
  - Creates, changes or removes a role. The set of privileges is exactly the one given.
  - The roles that Proxmox VE brings cannot be changed.
extends_documentation_fragment:
  - homelab.mediaserver.proxmox
  - homelab.mediaserver.attributes
options:
  roleid:
    description: Name of the role. Names that begin with V(PVE) belong to Proxmox VE.
    type: str
    required: true
  privileges:
    description:
      - All privileges of the role, such as V(VM.Audit). An empty list is a role without any.
      - Which privileges exist depends on the release, see O(unknown_privileges).
    type: list
    elements: str
  unknown_privileges:
    description:
      - What to do with privileges that this release of Proxmox VE does not know.
      - V(fail) refuses them and names similar ones.
      - V(drop) leaves them out with a warning, so that one list serves several releases. C(VM.Monitor) is gone in
        Proxmox VE 9, C(VM.GuestAgent.*) and C(VM.Replicate) are new there.
    type: str
    choices: [fail, drop]
    default: fail
  state:
    description:
      - V(absent) removes the role. Who has rights only by it loses them, as entries of the access control list with it
        are removed too.
    type: str
    choices: [present, absent]
    default: present
seealso:
  - module: homelab.mediaserver.proxmox_acl
"""

EXAMPLES = r"""
- name: Who may look after guests, with one list for Proxmox VE 8 and 9
  homelab.mediaserver.proxmox_role:
    roleid: GuestOperator
    privileges: [VM.Audit, VM.PowerMgmt, VM.Monitor, VM.GuestAgent.Audit]
    unknown_privileges: drop
"""

RETURN = r"""
steps:
  description: What was done, or would be done.
  returned: always
  type: list
  elements: str
dropped:
  description: Privileges left out because this release does not know them.
  returned: always
  type: list
  elements: str
privileges:
  description: Privileges of the role now. Empty if it does not exist.
  returned: unless changes were only predicted
  type: list
  elements: str
"""

from difflib import get_close_matches
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.homelab.mediaserver.plugins.module_utils import _pve_access as access
from ansible_collections.homelab.mediaserver.plugins.module_utils import _reconcile
from ansible_collections.homelab.mediaserver.plugins.module_utils._pve import CONNECTION, Pve
from ansible_collections.homelab.mediaserver.plugins.module_utils._pve_format import flag
from ansible_collections.homelab.mediaserver.plugins.module_utils._reconcile import Failure, Plan

# what stands in another release for a privilege, because no likeness of names leads there
KIN = {
    "VM.Monitor": ("VM.GuestAgent.Audit", "VM.GuestAgent.FileRead", "VM.GuestAgent.Unrestricted"),
    "VM.GuestAgent.Audit": ("VM.Monitor",),
    "VM.GuestAgent.FileRead": ("VM.Monitor",),
    "VM.GuestAgent.FileWrite": ("VM.Monitor",),
    "VM.GuestAgent.FileSystemMgmt": ("VM.Monitor",),
    "VM.GuestAgent.Unrestricted": ("VM.Monitor",),
    "VM.Replicate": ("Datastore.Allocate",),
}
ARGUMENTS: dict[str, Any] = {
    **CONNECTION,
    "roleid": {"type": "str", "required": True},
    "privileges": {"type": "list", "elements": "str"},
    "unknown_privileges": {"type": "str", "choices": ["fail", "drop"], "default": "fail"},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
}


def unknown(wanted: list[str], known: set[str]) -> dict[str, str]:
    """A message for each privilege that the release does not have (pure)."""
    found = {}
    for name in wanted:
        if name not in known:
            folded = {item.casefold(): item for item in sorted(known)}
            close = get_close_matches(name.casefold(), folded, 3)
            near = [item for item in KIN.get(name, ()) if item in known] or [folded[item] for item in close]
            found[name] = name + (f" (did you mean {', '.join(near)}?)" if near else "")
    return found


def plan(pve: Pve, params: dict[str, Any], roles: dict[str, dict[str, Any]]) -> Plan:
    """``roles`` are all roles; Administrator holds every privilege that the release knows."""
    roleid = params["roleid"]
    current = roles.get(roleid)
    where = access.path("access", "roles", roleid)
    have = access.names(current.get("privs")) if current is not None else []
    before: dict[str, Any] = {"state": "absent"} if current is None else {"state": "present", "privileges": have}
    verb = "delete" if params["state"] == "absent" else "create" if current is None else "update"
    if params["state"] == "absent":
        _not_special(current, "delete", roleid)
        steps = (access.step(pve, f"delete role {roleid}", "delete", where),) if current is not None else ()
        return Plan(before, {"state": "absent"}, steps, result={"dropped": []})
    wanted, dropped, warnings = _wanted(params, roles, verb, have)
    after = {"state": "present", "privileges": wanted}
    steps = ()
    if before != after:
        _not_special(current, verb, roleid)
        data = {"roleid": roleid} if current is None else {}
        method, to = ("post", "access/roles") if current is None else ("put", where)
        steps = (access.step(pve, f"{verb} role {roleid}", method, to, privs=",".join(wanted), **data),)
    return Plan(before, after, steps, warnings, {"dropped": dropped})


def _wanted(
    params: dict[str, Any], roles: dict[str, dict[str, Any]], verb: str, have: list[str]
) -> tuple[list[str], list[str], tuple[str, ...]]:
    """(privileges, those left out, warnings)."""
    if params["privileges"] is None:
        return have, [], ()
    asked, known = access.names(params["privileges"]), set(access.names(roles["Administrator"].get("privs")))
    missing = unknown(asked, known)
    if missing and params["unknown_privileges"] == "fail":
        text = "; ".join(missing.values())
        raise Failure(f"Unable to {verb} role {params['roleid']}: this release of Proxmox VE has no privilege {text}",
                      unknown=sorted(missing))  # fmt: skip
    warnings = tuple(
        f"role {params['roleid']}: this release of Proxmox VE has no privilege {message}: left out"
        for message in missing.values()
    )
    return [name for name in asked if name in known], sorted(missing), warnings


def _not_special(current: dict[str, Any] | None, verb: str, roleid: str) -> None:
    if current is not None and flag(current.get("special") or 0) == "1":
        raise Failure(
            f"Unable to {verb} role {roleid}: Proxmox VE brings it, it cannot be changed; make one of your own"
        )


def read(pve: Pve) -> dict[str, dict[str, Any]]:
    roles = {str(row.get("roleid")): row for row in pve.get_list("access/roles", "read the roles")}
    if "Administrator" not in roles:
        raise Failure("Unable to read the roles: the answer has no role Administrator")
    return roles


def work(module: AnsibleModule) -> dict[str, Any]:
    pve = Pve(module.params)

    def read_back() -> dict[str, Any]:
        return {"privileges": access.names(read(pve).get(module.params["roleid"], {}).get("privs"))}

    return _reconcile.run(module, plan(pve, module.params, read(pve)), read_back)


def main() -> None:
    _reconcile.main(AnsibleModule(ARGUMENTS, supports_check_mode=True), work)


if __name__ == "__main__":
    main()
