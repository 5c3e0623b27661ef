# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A hand-made set-up beside the plan of its host: what is what, what differs, what a take-over would do. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping

from . import adopt_immich, adopt_machine, adopt_path
from .adopt_model import CHANGES, LINES, OWNER, REFUSED, SAME, STAYS, Found, Match, Side, Tree
from .adopt_path import number, repository, tag

ALIASES = {
    "altran1502/immich-server": ("immich", "server"),
    "altran1502/immich-machine-learning": ("immich", "machine-learning"),
    "tensorchord/pgvecto-rs": ("immich", "database"),
}
"""Images of former times, by what took their place."""
BESIDE_IMMICH = {"redis": "cache", "valkey/valkey": "cache", "bitnami/redis": "cache", "postgres": "database"}
"""Images that anybody may use, known for Immich's where an Immich server is in the same project."""
OLD_PLACES = {("immich", "server"): {adopt_path.OLD_FOLDER: "upload"}}
ANONYMOUS = re.compile(r"/volumes/[0-9a-f]{64}/")
"""Where Docker keeps a volume that nobody named."""
TRIVIAL = ("/etc/localtime", "/etc/timezone", "/var/run/docker.sock")
KEPT = "taken over and kept; make adopt OLD=remove CONFIRM=yes removes it"
BULK = ("weekly", "monthly")
"""How often what is too much to be copied is backed up."""


def compare(found: Tree, side: Side) -> Found:
    """The whole comparison."""
    result = Found()
    taken = {one for takeover in found["takeovers"] if takeover["phase"] == "done" for one in takeover["containers"]}
    under_way = {
        one
        for takeover in found["takeovers"]
        if takeover["phase"] in ("begun", "switching", "returning")
        for one in takeover["containers"]
    }
    if found["docker"]:
        result.add("-", "Docker", found["docker"], "", STAYS, "nothing is known of containers")
    matched: list[Match] = []
    for old in found["containers"]:
        if old["ours"]:
            continue
        if old["id"] in taken:
            result.add(
                "-", f"container {old['name']}", old["state"], "", SAME, "taken over, kept: OLD=remove removes it"
            )
        elif old["id"] in under_way:
            result.add("-", f"container {old['name']}", old["state"], "", CHANGES, "its take-over is under way")
        else:
            hit = recognise(old, found["containers"], side.catalog)
            if hit is not None and hit[0] in side.host["services"]:
                matched.append((old, *hit))
            else:
                unknown(result, old, hit, side)
    for takeover in found["takeovers"]:
        if takeover["phase"] in ("begun", "switching"):
            result.services += [name for name in takeover["projects"] if name not in result.services]
    result.services += [name for name in side.host["services"] if name in {m[1] for m in matched}]
    data: dict[str, Tree] = {}
    for old, service, name in matched:
        one_container(result, side, old, service, name, data)
    for service in {one[1] for one in matched}:
        whole_service(result, side, service, [one for one in matched if one[1] == service])
    check_projects(result, found, side, matched)
    check_ports(result, side, matched, [c for c in found["containers"] if c["id"] not in taken | under_way])
    adopt_machine.machine(result, found, side, bool(matched))
    result.request = {
        "old": [
            {"id": old["id"], "name": old["name"], "database": database_of(old)} for old, _service, _name in matched
        ],
        "data": list(data.values()),
        "units": sorted(one["name"] for one in found["units"] if one["directory"] and one["enabled"]),
        "smoke": [one for service in result.services for one in smoke(side, service)],
        "stones": [stone for service in result.services for stone in adopt_immich.stones(side, service, matched)],
        "directories": [one for one in side.host["directories"] if one["service"] in result.services],
    }
    result.rows.sort(key=lambda row: (row.service == "-", row.service))
    return result


def recognise(old: Tree, containers: list[Tree], catalog: Mapping[str, Tree]) -> tuple[str, str] | None:
    """Service and container of the catalog; None where it has no counterpart."""
    name = repository(old["image"])
    for service, spec in catalog.items():
        for container, body in spec["containers"].items():
            if repository(body["image"]) == name and name not in BESIDE_IMMICH:
                return service, container
    if name in ALIASES:
        return ALIASES[name]
    if name in BESIDE_IMMICH and "immich" in catalog:
        project = [one for one in containers if one["project"] == old["project"] and old["project"]]
        if any(recognise(one, [], catalog) == ("immich", "server") for one in project):
            return "immich", BESIDE_IMMICH[name]
    return None


def unknown(result: Found, old: Tree, hit: tuple[str, str] | None, side: Side) -> None:
    """It stays as it is and goes on running."""
    ports = ", ".join(str(one["published"]) for one in old["ports"])
    now = f"{old['image']}, {old['state']}" + (f", port {ports}" if ports else "")
    if hit is None:
        result.add("-", f"container {old['name']}", now, "no counterpart", STAYS, "it is left alone")
        return
    line = f"site_services: {{{hit[0]}: {{hosts: [{side.name}]}}}}"
    result.add(hit[0], f"container {old['name']}", now, "not on this host", STAYS, f"to take it over: {line}")


def one_container(result: Found, side: Side, old: Tree, service: str, name: str, data: dict[str, Tree]) -> None:
    """Image, version, folders and secrets of one container."""
    planned = side.container(service, name)
    if old["microservices"] or not planned:
        why = "is part of the server now" if old["microservices"] else "is not in the plan (`with:` adds it)"
        result.add(service, f"container {old['name']}", old["image"], "none", CHANGES, f"{why}; it is stopped")
        return
    pin = str(planned["image"])
    now = f"{repository(old['image'])}:{tag(old['image']) or 'latest'}"
    version = number(old["version"])
    note = f"it is {old['version']}" if old["version"] else "its version is unknown"
    digest = next((one.rpartition("@")[2][:19] for one in old["digests"]), "")
    note += f", {digest}" if digest else ""
    verdict = SAME if version and version == number(tag(pin))[: len(version)] else CHANGES
    if adopt_path.newer(version, number(tag(pin))) and name not in ("database", "cache") and service != "immich":
        verdict, note = REFUSED, adopt_path.downgrade(service, version, number(tag(pin)))
    result.add(service, f"image of {name}", now, tag(pin), verdict, note)
    for mount in old["mounts"]:
        one_mount(result, side, mount, service, name, data)
    lost(result, side, old, service, name)
    secrets(result, side, old, service, name)


def volume_at(side: Side, service: str, name: str, at: str) -> str:
    """The catalog's volume that a container of old times has at ``at``."""
    uses = side.catalog[service]["containers"][name]["volumes"]
    named = [volume for volume, use in uses.items() if use["at"] == at]
    return named[0] if named else OLD_PLACES.get((service, name), {}).get(at, "")


def one_mount(result: Found, side: Side, mount: Tree, service: str, name: str, data: dict[str, Tree]) -> None:
    if mount["at"] in TRIVIAL:
        return
    volume = volume_at(side, service, name, mount["at"])
    source = mount["source"].rstrip("/")
    if not volume:
        other_mount(result, side, mount, service, name)
        return
    use = side.catalog[service]["containers"][name]["volumes"][volume]
    planned = side.source(service, name, use["at"])
    if source != planned and disposable(side, service, volume) and ANONYMOUS.search(source):
        result.add(service, f"folder {volume}", "an unnamed volume", planned, CHANGES, "begins empty")
        return
    if source != planned:
        override(result, side, service, volume, source, planned)
        return
    user = str(side.catalog[service]["containers"][name]["user"])
    fixed = side.catalog[service]["containers"][name]["fixed_user"]
    note = "" if use["read_only"] or fixed or mount.get("owner") in (user, None) else f"is given to {user}"
    if use["read_only"]:
        result.add(service, f"folder {volume}", source, "the same", SAME, "only read")
        return
    schedule = ((side.catalog[service]["backup"] or {}).get("volumes") or {}).get(volume)
    copied = schedule not in BULK
    note = "; ".join(filter(None, (note, "is copied first" if copied else "is not copied, for its size")))
    result.add(service, f"folder {volume}", source, "the same", SAME, note)
    data[source] = {"path": source, "copy": copied, "owner": "" if fixed else user}


def disposable(side: Side, service: str, volume: str) -> bool:
    """Whether a service can do without what lies in a volume: it is in no backup and no database's."""
    spec = side.catalog[service]
    backup = spec["backup"] or {}
    kept = {*(backup.get("volumes") or {}), *(b.get("volume") for b in (backup.get("databases") or {}).values())}
    return volume not in kept and spec["volumes"].get(volume, {}).get("class") != "database"


def other_mount(result: Found, side: Side, mount: Tree, service: str, name: str) -> None:
    """What the plan knows no volume for: a folder to show, or a file that the plan writes itself."""
    place = side.place(mount["source"])
    if "photographs" in side.catalog[service].get("folders", {}) and place and mount.get("folder", True):
        entry = f"{{name: ..., storage: {place[0]}/{place[1]}}}"
        note = f"show it with settings.photographs: [{entry}]. Inside it is then /mnt/photographs/<name>: an external "
        note += "library of the old path finds its files again by its import path, set in Immich"
        result.add(service, f"folder at {mount['at']}", mount["source"], "none", OWNER, note)
        return
    note = "the plan writes this configuration itself; what you changed by hand belongs into settings"
    result.add(service, f"{mount['at']} of {name}", mount["source"], "none", OWNER, note)


def override(result: Found, side: Side, service: str, volume: str, source: str, planned: str) -> None:
    """Lines that make the plan use the place where the data lie."""
    place = side.place(source)
    if place is None:
        parent, _slash, folder = source.rpartition("/")
        storage = f"{service}-{volume}"
        result.inventory.setdefault("site_storage", {})[storage] = {"as": "local", "mount": parent}
        place = (storage, folder)
    services = result.inventory.setdefault("site_services", {})
    entry = services.setdefault(service, {})
    entry.setdefault("volumes", {})[volume] = {"class": place[0], "folder": place[1]}
    if place[1] == "." and "photographs" in side.catalog[service].get("folders", {}):
        entry.setdefault("settings", {})["photographs"] = []  # the default one would lie inside
    note = "the lines below make the plan use the place where the data lie"
    result.add(service, f"folder {volume}", source, planned or "none", LINES, note)


def lost(result: Found, side: Side, old: Tree, service: str, name: str) -> None:
    """Folders that the old container keeps inside itself."""
    spec = side.catalog[service]
    mounted = {volume_at(side, service, name, mount["at"]) for mount in old["mounts"]}
    for volume, use in spec["containers"][name]["volumes"].items():
        if volume in mounted or use["read_only"]:
            continue
        if not disposable(side, service, volume):
            note = f"the container keeps {use['at']} inside. Copy it out (docker cp), mount it there, start it anew"
            result.add(service, f"folder {volume}", "inside the container", "a folder", REFUSED, note)
        else:
            result.add(
                service, f"folder {volume}", "none", side.source(service, name, use["at"]), CHANGES, "begins empty"
            )


def secrets(result: Found, side: Side, old: Tree, service: str, name: str) -> None:
    """Secrets that the plan gives a container as a file for a variable, which the old one has in its environment."""
    for variable, value in (side.container(service, name).get("environment") or {}).items():
        short = variable.removesuffix("_FILE").rstrip("_") if variable.endswith("_FILE") else ""
        if not short or not str(value).startswith("/run/secrets/"):
            continue
        secret = f"{service}.{str(value).rpartition('/')[2]}"
        if any(one in old["environment"] for one in (short, f"{short}_FILE", f"{short}__FILE")):
            if secret not in [one["secret"] for one in result.reveal]:
                result.add(
                    service, f"secret {secret}", f"{short} of {old['name']}", "vault", CHANGES, "goes into the vault"
                )
            entry = {"secret": secret, "container": old["id"], "variable": short}
            # the server's word counts: it is the one that gets in
            result.reveal.insert(0, entry) if name == "server" else result.reveal.append(entry)


def database_of(old: Tree) -> Tree:
    """What is dumped of it before it is stopped."""
    return {key: old["database"][key] for key in ("user", "name")} if old.get("database") else {}


def whole_service(result: Found, side: Side, service: str, matched: list[Match]) -> None:
    """What concerns a service as a whole: logins that only the owner knows, Immich's way to the plan's version."""
    importable = {one["secret"] for one in result.reveal}
    for secret, body in side.catalog[service]["secrets"].items():
        full = f"{service}.{secret}"
        if full in importable or body["ask"]:
            continue
        if full in side.given:
            result.add(service, f"secret {full}", "in your inventory", "the same", SAME)
        elif any(name == "database" for _old, _service, name in matched) and secret == "db_password":
            note = "no container's environment has it. Set it in site_secrets, encrypted by ansible-vault"
            result.add(service, f"secret {full}", "not found", "needed", REFUSED, note)
        else:
            first = f"site_secrets: {{{service}: {{{secret}: ...}}}}"
            note = f"only you know the login of the present administrator. Before `make site`: {first}, encrypted"
            result.add(service, f"secret {full}", "only a hash of it is stored", "needed", OWNER, note)
    if service == "immich":
        adopt_immich.immich(result, side, matched)


def smoke(side: Side, service: str) -> list[Tree]:
    """A request to each published TCP port that speaks HTTP: the one that is routed or checked."""
    spec, found = side.catalog[service], []
    wanted: dict[str, str] = {}
    for body in spec["containers"].values():
        health = body["health"] or {}
        if health.get("http") and health.get("port"):
            wanted[health["port"]] = health["http"]
    if spec["route"]:
        wanted.setdefault(spec["route"]["port"], spec["route"].get("path") or "/")
    if not wanted and spec["configure"]:
        wanted = {port: "/" for body in spec["containers"].values() for port in list(body["ports"])[-1:]}
    for name, container in side.compose(service).get("services", {}).items():
        for port, path in wanted.items():
            inside = (spec["containers"][name]["ports"].get(port) or {}).get("port")
            for one in container.get("ports") or []:
                if one["target"] == inside and one["protocol"] == "tcp":
                    found.append({"service": service, "url": f"http://127.0.0.1:{one['published']}{path}"})
    return found


def check_projects(result: Found, found: Tree, side: Side, matched: list[Match]) -> None:
    """Compose knows projects by their names only."""
    planned = {one["name"] for one in side.host["projects"]}
    for name in sorted({old["project"] for old, _service, _name in matched} & planned):
        note = (
            f"Compose would take the old project {name} for the new one. In its folder: `docker compose stop`, then "
            f"`docker compose -p old-{name} up -d` (named volumes: set `name:` to the present ones first), and again"
        )
        result.add(name, "project", name, name, REFUSED, note)
    for one in found["projects"]:
        runs = {c["service"]: c["image"] for c in found["containers"] if c["project"] == one["name"]}
        for service, image in sorted(one["declared"].items()):
            if service in runs and runs[service] != image:
                note = "the file was changed since it was started; what runs is taken over"
                result.add("-", f"{one['directory']}: {service}", runs[service], image, STAYS, note)


def check_ports(result: Found, side: Side, matched: list[Match], present: list[Tree]) -> None:
    """Published ports: what closes, what moves, and what another container holds."""
    planned: dict[tuple[int, str], str] = {}
    for project in side.host["projects"]:
        if project["service"] in result.services:
            for body in side.compose(project["service"]).get("services", {}).values():
                for one in body.get("ports") or []:
                    planned[int(one["published"]), one["protocol"]] = project["service"]
    moved = {old["id"] for old, _service, _name in matched}
    for old, service, _name in matched:
        opened = sorted(number for (number, _protocol), holder in planned.items() if holder == service)
        for one in old["ports"]:
            if (one["published"], one["protocol"]) in planned:
                continue
            note = f"the plan's: {', '.join(map(str, opened))}" if opened else "is published no more"
            result.add(service, f"port {one['published']}/{one['protocol']}", old["name"], "closed", CHANGES, note)
    for old in present:
        for one in old["ports"] if old["id"] not in moved and not old["ours"] and old["state"] == "running" else []:
            holder = planned.get((one["published"], one["protocol"]))
            if holder:
                note = f"{old['name']}, which is not taken over, holds it. Stop it, or give {holder} another port"
                result.add(holder, f"port {one['published']}", old["name"], holder, REFUSED, note)
