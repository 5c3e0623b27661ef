# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The least that the site's API token needs on a Proxmox node: roles, and where they hold.

An entry of the access control list on a path replaces what is inherited from above, it adds nothing: below /vms/100
only MediaserverGuest counts. All privileges here exist in Proxmox VE 8.4 and 9.1.
"""

from __future__ import annotations

from . import guests
from .model import Host, Site, Tree

ROLES: dict[str, tuple[str, ...]] = {
    # the start order of guests and the datacenter's firewall need Sys.Modify on /, downloads Sys.AccessNetwork
    "MediaserverNode": ("Sys.Audit", "Sys.Modify", "Sys.AccessNetwork"),
    "MediaserverGuest": (
        "VM.Allocate",
        "VM.Audit",
        "VM.PowerMgmt",
        "VM.Config.CDROM",
        "VM.Config.CPU",
        "VM.Config.Cloudinit",
        "VM.Config.Disk",
        "VM.Config.HWType",
        "VM.Config.Memory",
        "VM.Config.Network",
        "VM.Config.Options",
    ),
    "MediaserverStore": ("Datastore.Audit", "Datastore.AllocateSpace", "Datastore.AllocateTemplate"),
    # to define the storages that the plan names; what is below /storage and has no entry of its own inherits it
    "MediaserverDefine": ("Datastore.Allocate", "Datastore.Audit", "Datastore.AllocateSpace"),
    "MediaserverMap": ("Mapping.Audit", "Mapping.Modify", "Mapping.Use"),
    "MediaserverNet": ("SDN.Use",),  # a bridge of the node is part of the zone localnetwork
}


def node_access(site: Site, node: Host, hosts: list[Host], defined: list[str]) -> Tree:
    """User, token, roles and entries of the access control list; ``hosts`` are the node's guests,
    ``defined`` the storages that the site defines itself."""
    body = node.node or {}
    user = body["api"]["user"]
    found = [("/", "MediaserverNode")]
    found += [(f"/vms/{(host.guest or {})['vmid']}", "MediaserverGuest") for host in hosts]
    found += [(f"/storage/{name}", "MediaserverStore") for name in stores(site, body, hosts) if name not in defined]
    found += [("/storage", "MediaserverDefine")] if defined else []
    found += [("/mapping", "MediaserverMap"), ("/sdn/zones/localnetwork", "MediaserverNet")]
    held = {role for _path, role in found}
    return {
        "user": user,
        "token_id": body["api"]["token_id"],
        "roles": [
            {"roleid": name, "privileges": list(privileges)} for name, privileges in ROLES.items() if name in held
        ],
        # root@pam may do everything and cannot have entries
        "acl": [{"path": path, "role": role, "user": user} for path, role in found if user != "root@pam"],
    }


def stores(site: Site, body: Tree, hosts: list[Host]) -> list[str]:
    """Storages that hold images, snippets and the guests' disks."""
    found = {body["image_storage"], body["snippet_storage"], body["disk_storage"]}
    for host in hosts:
        classes = [site.storage(name) or {} for name in guests.classes(site, host)]
        found |= {guests.storage_id(str(one["source"])) for one in classes if one["as"] == "disk"}
    return sorted(found)
