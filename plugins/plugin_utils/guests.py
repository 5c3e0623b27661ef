# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Guests as arguments of proxmox_vm, and what their nodes need for them."""

from __future__ import annotations

from . import backup, ingest, sizes, storage
from .model import Host, Site, Tree
from .problems import suggest


def build(site: Site) -> list[Tree]:
    """In start order."""
    found = []
    vmids: dict[int, str] = {}
    for host in site.hosts.values():
        if host.guest is None:
            continue
        node = find_node(site, host)
        vmid = host.guest["vmid"]
        if vmid in vmids:
            site.problems.add(
                "vmid-twice",
                host.where.at("guest", "vmid"),
                f"{vmid} is the number of {vmids[vmid]} too",
                "Give each guest its own number",
            )
        vmids[vmid] = host.name
        if node is not None:
            check_image(site, host, node)
            check_gpu(site, host, node)
            found.append(arguments(site, host, node))
    check_shared_gpu(site)
    return sorted(found, key=lambda one: (one["startup"]["order"], one["vmid"]))


def find_node(site: Site, host: Host) -> Host | None:
    name = (host.guest or {})["node"]
    node = site.hosts.get(name)
    if node is None or node.node is None:
        nodes = [one.name for one in site.hosts.values() if one.node is not None]
        site.problems.add(
            "unknown-node",
            host.where.at("guest", "node"),
            f"{name!r} is no Proxmox node of the inventory",
            suggest(name, nodes, "Add a host with `node: {...}`"),
        )
        return None
    return node


def image_of(host: Host, node: Host) -> Tree | None:
    images: Tree = (node.node or {})["images"]
    return images.get((host.guest or {})["image"])


def check_image(site: Site, host: Host, node: Host) -> None:
    name, images = (host.guest or {})["image"], (node.node or {})["images"]
    if name not in images:
        site.problems.add(
            "unknown-image",
            host.where.at("guest", "image"),
            f"node {node.name} has no image {name!r}",
            suggest(name, images, "Add it to the node's images"),
        )


def full_kernel(name: str, image: Tree) -> bool:
    return name.endswith("-full") if image["full_kernel"] is None else bool(image["full_kernel"])


def check_gpu(site: Site, host: Host, node: Host) -> None:
    guest, image = host.guest or {}, image_of(host, node)
    if not guest["gpu"]:
        needing = [
            service.name
            for service in site.on(host.name)
            for body in service.containers.values()
            if body["gpu"] == "required"
        ]
        if needing:
            site.problems.add(
                "gpu-missing",
                host.where.at("guest", "gpu"),
                f"{needing[0]} needs a GPU, but {host.name} has none",
                "Set gpu: true, or place it elsewhere",
            )
        return
    if (node.node or {})["gpu"] is None:
        site.problems.add(
            "node-without-gpu",
            host.where.at("guest", "gpu"),
            f"node {node.name} has no `gpu`",
            "Describe it: node: {gpu: {address: '0000:00:02.0'}}, or remove gpu here",
        )
    if image is not None and not full_kernel(guest["image"], image):
        full = [name for name, body in (node.node or {})["images"].items() if full_kernel(name, body)]
        site.problems.add(
            "gpu-with-cloud-kernel",
            host.where.at("guest", "image"),
            f"the kernel of {guest['image']} has no GPU drivers",
            f"Use {full[0]}" if full else "Use an image with a full kernel and mark it full_kernel: true",
        )


def check_shared_gpu(site: Site) -> None:
    owners: dict[str, str] = {}
    for host in site.hosts.values():
        if host.guest is None or not host.guest["gpu"]:
            continue
        node = host.guest["node"]
        if node in owners:
            site.problems.add(
                "gpu-twice",
                host.where.at("guest", "gpu"),
                f"the GPU of {node} goes to {owners[node]} already; only one guest can have it",
                "Give it to one of them",
            )
        owners[node] = host.name


def classes(site: Site, host: Host) -> list[str]:
    return storage.classes_on(site, host, [*backup.classes(site, host), *ingest.classes(site, host)])


def arguments(site: Site, host: Host, node: Host) -> Tree:
    """Exactly what proxmox_vm takes, but for the API's own options."""
    guest, machine = host.guest or {}, node.node or {}
    gpu = bool(guest["gpu"] and machine["gpu"])
    found: Tree = {
        "vmid": guest["vmid"],
        "node": machine["name"],
        "name": host.name,
        "state": "started",
        "cores": guest["cores"],
        "memory": sizes.mebibytes(guest["memory"]),
        "cpu": "host",
        "scsihw": "virtio-scsi-single",
        "disks": disks(site, host, node),
        "networks": {"net0": {"model": "virtio", "bridge": machine["bridge"], "firewall": True}},
        "cloud_init": cloud_init(site, host, machine),
        "agent": True,
        "onboot": True,
        "startup": {"order": guest["start_order"], "up": guest["start_wait"]},
        "protection": guest["protection"],
        "tags": sorted({"mediaserver", *guest["tags"]}),
        "description": description(site, host),
    }
    virtiofs = virtiofs_of(site, host)
    if virtiofs:
        found["virtiofs"] = virtiofs
    if gpu:
        found |= {
            "machine": "q35",
            "bios": "ovmf",
            "efidisk": {"storage": machine["disk_storage"]},
            "pci": {"hostpci0": {"mapping": machine["gpu"]["mapping"], "pcie": True}},
        }
    return found


def cloud_init(site: Site, host: Host, machine: Tree) -> Tree:
    network = site.values["site_network"]
    ip = {"ip": f"{host.address}/{network['prefix']}", "gateway": network["gateway"]}
    if host.address6:
        ip["ip6"] = f"{host.address6}/{network['prefix6']}"
        if network["gateway6"]:
            ip["gateway6"] = network["gateway6"]
    return {
        "storage": machine["disk_storage"],
        "user": site.values["site_admin"]["user"],
        "ssh_keys": list(site.public_keys),
        "ipconfig": [ip],
        "nameservers": list(network["nameservers"]),
        "vendor_snippet": f"{machine['snippet_storage']}:snippets/{host.name}-vendor.yml",
    }


def disks(site: Site, host: Host, node: Host) -> Tree:
    guest, machine, image = host.guest or {}, node.node or {}, image_of(host, node)
    flags = {"discard": True, "ssd": True, "iothread": True}
    source = f"{machine['image_storage']}:import/{image['file']}" if image else None
    found: Tree = {"scsi0": {"storage": machine["disk_storage"], "import_from": source, "size": guest["disk"], **flags}}
    for name in classes(site, host):
        body = site.storage(name) or {}
        if body["as"] == "disk":
            found[f"scsi{len(found)}"] = {
                "storage": storage_id(body["source"]),
                "size": body["size"],
                "serial": name[:20],
                **flags,
            }
    return found


def storage_id(source: str) -> str:
    """Name of the Proxmox storage: `pool/dataset` is storage `pool-dataset`, as names have no slash."""
    return source.replace("/", "-")


def virtiofs_of(site: Site, host: Host) -> Tree:
    found = [mapping for mapping, _path in shares(site, host)]
    return {f"virtiofs{index}": {"mapping": mapping, "cache": "auto"} for index, mapping in enumerate(found)}


def shares(site: Site, host: Host) -> list[tuple[str, str]]:
    """Directory mappings of a guest, each with its `pool/dataset/folder`."""
    found = []
    for name in classes(site, host):
        body = site.storage(name) or {}
        if body["as"] == "virtiofs":
            below = f"/{host.name}" if body["per_host"] else ""
            found.append((storage.share_of(name, body, host), f"{body['source']}{below}"))
    return found


def description(site: Site, host: Host) -> str:
    names = ", ".join(service.name for service in site.on(host.name)) or "nothing yet"
    return f"{host.name} of {site.values['site_name']}: {names}. Managed by homelab.mediaserver."


def check_storage(site: Site) -> None:
    """A guest's classes must come from its own node; a machine that is no guest has none of a guest's kinds."""
    for host in site.hosts.values():
        node = site.hosts.get(str((host.guest or {}).get("node")))
        if node is not None and node.node is not None:
            for name in classes(site, host):
                check_source(site, node, name, site.storage(name) or {})
    for host in site.managed():
        for name in classes(site, host):
            body = site.storage(name) or {}
            kind = "device" if body["as"] == "disk" and storage.is_device(body) else body["as"]
            if host.guest is None and kind in ("virtiofs", "disk"):
                site.problems.add(
                    "guest-storage-on-machine",
                    site.where("site_storage", name, "as"),
                    f"{host.name} is no guest and cannot get {name} as {kind}",
                    "Use as: local or nfs, or as: disk with its /dev/disk/by-id/... as source, or move the service to "
                    "a guest",
                )


def check_source(site: Site, node: Host, name: str, body: Tree) -> None:
    """The pool and dataset of one class."""
    machine, where = node.node or {}, site.where("site_storage", name, "source")
    pools, (pool, _slash, dataset) = machine["pools"], str(body["source"]).partition("/")
    if body["as"] not in ("virtiofs", "disk") or (body["as"] == "disk" and pool == machine["disk_storage"]):
        return
    if pool not in pools:
        remedy = suggest(pool, pools, "Add it to the node's pools")
        site.problems.add("unknown-pool", where, f"node {node.name} has no pool {pool!r}", remedy)
    elif dataset and dataset.split("/")[0] not in pools[pool]["datasets"]:
        remedy = suggest(dataset, pools[pool]["datasets"], f"Add it: pools.{pool}.datasets")
        site.problems.add("unknown-dataset", where, f"pool {pool} has no dataset {dataset!r}", remedy)
    if body["as"] == "disk" and len(name) > 20:
        reason = f"the class's name is the disk's serial and longer than 20 letters: {name}"
        site.problems.add("serial-too-long", where, reason, "Choose a shorter name")
