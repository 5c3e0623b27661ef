# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a Proxmox node needs before its guests: API, images, mappings, snippets, pools."""

from __future__ import annotations

from . import access, guests, node_backup, sizes, storage, zfs
from .model import Host, Site, Tree


def snippets(site: Site, node: Host) -> list[Tree]:
    """Cloud-init vendor data: the SSH host key that the controller already knows."""
    found = []
    for host in site.hosts.values():
        if host.guest is not None and host.guest["node"] == node.name:
            key = f"ssh_host_key.{host.name}"
            data = {
                "ssh_deletekeys": True,
                "ssh_keys": {"ed25519_private": {"$secret": key}, "ed25519_public": {"$secret": f"{key}.public"}},
            }
            path = f"{(node.node or {})['snippet_path'].rstrip('/')}/{host.name}-vendor.yml"
            found.append(
                {
                    "file": f"{host.name}-vendor.yml",
                    "path": path,
                    "host": host.name,
                    "secret": key,
                    "header": "#cloud-config",
                    "yaml": data,
                }
            )
    return found


def api(body: Tree) -> Tree:
    """Connection options of the proxmox modules, without the token's secret."""
    found = {
        "api_host": body["host"],
        "api_port": body["port"],
        "api_user": body["user"],
        "api_token_id": body["token_id"],
        "ca_path": body["ca_path"],
        "validate_certs": body["validate_certs"],
    }
    return {key: value for key, value in found.items() if value is not None}


def node_plan(site: Site, node: Host, firewall: Tree) -> Tree:
    """What a node needs before its guests: API, images, mappings, snippets, pools."""
    body = node.node or {}
    hosts = [host for host in site.hosts.values() if host.guest is not None and host.guest["node"] == node.name]
    images = {(host.guest or {})["image"]: guests.image_of(host, node) for host in hosts}
    dirs = {name: storage.node_path(node, source) for host in hosts for name, source in guests.shares(site, host)}
    copies = node_backup.guest_backup(site, node)
    defined = [one["id"] for one in storages(site, node, hosts)]
    gpu = body["gpu"] if any((host.guest or {})["gpu"] for host in hosts) else None
    return {
        "name": body["name"],
        "host": node.name,
        "address": node.address,
        "api": api(body["api"]),
        "api_secret": f"{node.name}.api_token_secret",
        "access": access.node_access(site, node, hosts, [*defined, *([copies["job"]["storage"]] if copies else [])]),
        "bridge": body["bridge"],
        "arc_max": sizes.parse(body["arc_max"]) or 0,
        "images": [
            {"name": name, "storage": body["image_storage"], **{key: image[key] for key in ("file", "url", "checksum")}}
            for name, image in images.items()
            if image
        ],
        "pci_mappings": [{"id": gpu["mapping"], "path": gpu["address"]}] if gpu else [],
        "dir_mappings": [{"id": name, "path": path} for name, path in dirs.items()],
        "snippet_storage": body["snippet_storage"],
        "snippets": snippets(site, node),
        "pools": {name: pool_view(pool) for name, pool in body["pools"].items()},
        "zfs": zfs.node_plan(site, node),
        "backup": copies,
        "backup_job": node_backup.job_id(site, node),
        "prepare": body["prepare"],
        "repositories": body["repositories"],
        "reboot": body["reboot"],
        "storages": storages(site, node, hosts),
        "firewall": firewall,
    }


def pool_view(pool: Tree) -> Tree:
    """What shows whether a directory for guests is a mounted dataset."""
    return {
        "kind": pool["kind"],
        "path": pool["path"],
        "size": pool["size"],
        "datasets": {name: options["quota"] for name, options in pool["datasets"].items()},
    }


def storages(site: Site, node: Host, hosts: list[Host]) -> list[Tree]:
    """Proxmox storages that must exist for the disks of storage classes, and what they stand on."""
    found: dict[str, Tree] = {}
    pools = (node.node or {})["pools"]
    for host in hosts:
        for name in guests.classes(site, host):
            body = site.storage(name) or {}
            source = str(body["source"])
            pool = pools.get(source.partition("/")[0])
            if body["as"] == "disk" and pool is not None:
                kind = "zfspool" if pool["kind"] == "zfs" else "dir"
                where = {"pool": source} if kind == "zfspool" else {"path": storage.node_path(node, source)}
                found[guests.storage_id(source)] = {"id": guests.storage_id(source), "type": kind, **where}
    return list(found.values())
