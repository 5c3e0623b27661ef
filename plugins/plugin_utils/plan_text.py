# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan as text for people: what runs where, who can reach what, what is backed up when, warnings."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from . import plan_map, upgrade

Tree = dict[str, Any]


def lines(plan: Tree) -> list[str]:
    """The whole plan."""
    return [
        f"{plan['site']['name']} ({plan['site']['domain']})",
        *section("What runs where", where(plan)),
        *section("Machines", machines(plan)),
        *section("Public names", names(plan)),
        *section("Who can reach what (everything else is closed)", reach(plan)),
        *section("What the router forwards", forwards(plan)),
        *section("What is backed up", backups(plan)),
        *section("What an upgrade that fails brings back", promises(plan)),
        *section("What is watched", watched(plan)),
        *section("Warnings", warnings(plan)),
    ]


def section(title: str, body: Iterable[str]) -> list[str]:
    found = list(body)
    return ["", title, *(f"  {line}" for line in found or ["nothing"])]


def where(plan: Tree) -> list[str]:
    found = []
    for name, host in plan["hosts"].items():
        address = ", ".join(one for one in (host["address"], host["address6"]) if one)
        found.append(f"{name} ({address})")
        found += [f"  {service:<22} {plan['catalog'][service]}" for service in host["services"]]
    for name, host in plan["windows"].items():
        found.append(f"{name} ({host['address'] or 'no address'}, Windows; inside: {', '.join(host['inside'])})")
        found += [f"  {service:<22} {plan['catalog'][service]}" for service in host["services"]]
    return found


def machines(plan: Tree) -> list[str]:
    found = []
    for guest in plan["guests"]:
        disks = ", ".join(f"{disk['size']} on {disk['storage']}" for disk in guest["disks"].values())
        gpu = ", GPU" if guest.get("pci") else ""
        memory = f"{guest['memory'] / 1024:g} GiB"
        found.append(
            f"{guest['name']:<12} VM {guest['vmid']} on {guest['node']}: {guest['cores']} cores, {memory}, {disks}{gpu}"
        )
    for name, node in plan["nodes"].items():
        found += pool_lines(name, node["zfs"])
    for name, host in plan["hosts"].items():
        found += [f"{name:<12} {mount['path']} <- {mount['kind']} {mount['source']}" for mount in host["mounts"]]
    return found


def pool_lines(node: str, zfs: Tree) -> list[str]:
    """Pools that are made, their devices and datasets; datasets of pools that are there already."""
    found = []
    for pool in zfs["pools"]:
        groups = " + ".join(f"{vdev['type']} of {', '.join(vdev['devices'])}" for vdev in pool["vdevs"])
        found.append(f"{node:<12} pool {pool['name']}: {groups}")
    policies = {one["name"]: one["template"] for one in zfs["snapshots"]["datasets"]}
    for dataset in zfs["datasets"]:
        values = [
            f"{key} {dataset['properties'][key]}" for key in ("quota", "recordsize") if key in dataset["properties"]
        ]
        values += ["encrypted"] if dataset.get("encryption") else []
        values += [f"snapshots {policies[dataset['name']]}"] if dataset["name"] in policies else []
        found.append(f"{node:<12} dataset {dataset['name']}{': ' if values else ''}{', '.join(values)}")
    return found


def names(plan: Tree) -> list[str]:
    found = []
    for route in plan["routes"]:
        upstream = route["upstream"]
        target = f"{upstream['host']} {upstream['address']}:{upstream['port']}"
        found.append(
            f"https://{route['domains'][0]:<28} {route['service']} ({target}), for {', '.join(route['zones'])}, "
            f"login: {route['login']}"
        )
    cloudflare = plan["cloudflare"] or {"names": [], "tunnel": {}}
    for name in cloudflare["names"]:
        upstream = name["upstream"]
        guard = "login: Cloudflare Access" if name["guarded"] else "open to everybody, login: application"
        found.append(
            f"https://{name['domain']:<28} {name['service']} ({upstream['host']} {upstream['address']}:"
            f"{upstream['port']}), for internet, through tunnel {cloudflare['tunnel']['name']}, {guard}"
        )
    return found


def reach(plan: Tree) -> list[str]:
    grouped: dict[tuple[str, str], list[str]] = {}
    for flow in plan["flows"]:
        label = f"{flow['service'] or 'ssh'} {flow['port']}/{flow['protocol']}"
        found = grouped.setdefault((flow["zone"], flow["host"]), [])
        if label not in found:
            found.append(label)
    return [f"{zone:<11} -> {host:<10} {', '.join(labels)}" for (zone, host), labels in sorted(grouped.items())]


def forwards(plan: Tree) -> list[str]:
    return [f"{one['port']}/{one['protocol']} -> {one['to']} ({one['service']})" for one in plan["forwards"]]


def backups(plan: Tree) -> list[str]:
    found = []
    for name, host in plan_map.saved(plan).items():
        places = ", ".join(one["path"] for one in host["backups"]["repositories"])
        for job in host["backups"]["jobs"]:
            what = (
                f"dump of {job['database'].get('file') or job['database']['name']}"
                if job.get("database")
                else ", ".join(one["path"] for one in job["paths"])
            )
            # excludes without a * are the files of dumped databases
            if left := [one for one in job.get("exclude", []) if "*" in one]:
                what += f" (without {', '.join(left)})"
            keep = ", ".join(f"{count} {unit}" for unit, count in job["keep"].items())
            found.append(f"{job['schedule']:<8} {name:<10} {what} -> {places} (keeps {keep})")
        for one in host["backups"].get("dumps", []):
            kept = f"keeps {one['keep']} days, and as many files"
            what = f"whole PostgreSQL of {one['service']} -> {one['folder']} ({kept})"
            found.append(f"{one['schedule']:<8} {name:<10} {what}")
    for name, node in plan["nodes"].items():
        found += node_copies(name, node)
    return found


def node_copies(name: str, node: Tree) -> list[str]:
    """Whole guests and datasets."""
    found = []
    if node["backup"]:
        job = node["backup"]["job"]
        keep = ", ".join(f"{count} {unit.removeprefix('keep_')}" for unit, count in job["prune_backups"].items())
        guests = ", ".join(str(vmid) for vmid in job["vmids"])
        found.append(f"{job['schedule']:<8} {name:<10} whole guests {guests} -> {job['storage']} (keeps {keep})")
    for one in node["zfs"]["snapshots"]["replications"]:
        found.append(f"{one['schedule']:<8} {name:<10} dataset {one['source']} -> {one['target']}")
    return found


def promises(plan: Tree) -> list[str]:
    return [upgrade.promise(one) for host in plan["hosts"].values() for one in host["upgrades"] if one["guarded"]]


def watched(plan: Tree) -> list[str]:
    return [
        f"{entry['job']:<22} {', '.join(entry['targets'])}"
        for host in plan["hosts"].values()
        for entry in host["scrape"]
    ]


def warnings(plan: Tree) -> list[str]:
    return [f"{one['name']}{' (accepted)' if one['accepted'] else ''}: {one['message']}" for one in plan["warnings"]]
