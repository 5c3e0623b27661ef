# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Upgrades: what a host must know to do one with a way back, and whether a change of images is allowed at all."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from . import compose
from .model import Host, Service, Site, Tree
from .ports import marker

Version = tuple[int, ...]
OWN = ("appdata", "database")
"""Classes whose volumes an application's new version rewrites. What lies in others (films, photographs) it only reads
or adds to, and it is too big to copy."""


def build(site: Site, host: Host) -> list[Tree]:
    """One entry for each compose project of the host."""
    return [entry(site, service) for service in site.on(host.name) if service.containers]


def entry(site: Site, service: Service) -> Tree:
    rules = service.spec["upgrade"] or {"majors": [], "needs": []}
    found = databases(service)
    return {
        "service": service.name,
        "directory": site.directory(service),
        "unit": service.unit,
        "wait": 300,
        "guarded": bool(service.spec["upgrade"] or (service.spec["backup"] or {}).get("databases")),
        "images": {name: compose.image(site, body["image"]) for name, body in service.containers.items()},
        "majors": rules["majors"],
        "needs": [one for one in rules["needs"] if one["container"] in service.containers],
        "volumes": volumes(site, service),
        "uncopied": uncopied(service),
        "databases": found,
        "marker": marker(service) or None,
        "smoke": smoke(service),
    }


def volumes(site: Site, service: Service) -> list[Tree]:
    """Folders that are kept: what the service writes of its own, each once."""
    leave = (service.spec["upgrade"] or {}).get("leave", [])
    found: dict[str, Tree] = {}
    for container in service.containers.values():
        for name, use in container["volumes"].items():
            lies = service.volumes.get(name)
            declared = service.spec["volumes"].get(name, {})
            if lies is None or use["read_only"] or name in leave or declared.get("class") not in OWN:
                continue
            mounted = (site.storage(lies.storage) or {}).get("as") != "local"
            found.setdefault(lies.path, {"path": lies.path, "mount": lies.mount if mounted else None})
    return list(found.values())


def uncopied(service: Service) -> list[Tree]:
    """Folders that the service may write and that no upgrade copies, and how often they are backed up, if they are."""
    found: dict[str, Tree] = {}
    for container in service.containers.values():
        for name, use in container["volumes"].items():
            lies = service.volumes.get(name)
            declared = service.spec["volumes"].get(name, {})
            if lies is not None and not use["read_only"] and declared.get("class") not in OWN:
                found.setdefault(lies.path, {"path": lies.path, "backup": service.kept.get(name)})
    return list(found.values())


def promise(wanted: Mapping[str, Any]) -> str:
    """What comes back by itself when an upgrade fails, and what does not, in words."""
    copied = ", ".join(one["path"] for one in wanted["volumes"]) or "nothing but its containers"
    text = f"{wanted['service']}: a failed upgrade gives back {copied}"
    left = [
        f"{one['path']} ({one['backup'] + ' backup' if one['backup'] else 'NO backup'})" for one in wanted["uncopied"]
    ]
    if not left:
        return text
    return f"{text}. Not copied: {', '.join(left)}; what a new version ruins there, only make restore brings back"


def databases(service: Service) -> list[Tree]:
    """PostgreSQL's databases, where their files lie, and the major version that the image has."""
    found = []
    for body in ((service.spec["backup"] or {}).get("databases") or {}).values():
        container = service.containers.get(str(body["container"]))
        if body["kind"] != "postgresql" or container is None:
            continue
        path = next((service.volumes[name].path for name, use in container["volumes"].items()
                     if name in service.volumes and use["at"].startswith("/var/lib/postgresql")), None)  # fmt: skip
        if path:
            found.append(
                {
                    "container": body["container"],
                    "name": body["name"],
                    "user": body["user"],
                    "path": path,
                    "major": (version(container["image"]) or (None,))[0],
                }
            )
    return found


def smoke(service: Service) -> Tree | None:
    """What is asked when it runs: the health check's path, which must be content, else the public name's."""
    for name, container in service.containers.items():
        health = container["health"]
        if health and health["http"] and health["port"] in container["ports"]:
            port = container["ports"][health["port"]]["port"]
            return {"container": name, "port": port, "path": health["http"], "strict": True}
    port = service.ports.get((service.route or {}).get("port") or "")
    if port is None or not port.container or (service.route or {}).get("scheme") != "http":
        return None
    path = (service.route or {}).get("path") or "/"
    return {"container": port.container, "port": port.inside, "path": path, "strict": False}


def check(site: Site) -> None:
    """Containers of one release must carry one version."""
    for service in site.services.values():
        same = [name for name in (service.spec["upgrade"] or {}).get("same", []) if name in service.containers]
        tags = {name: tag(service.containers[name]["image"]) for name in same}
        if len(set(tags.values())) > 1:
            said = ", ".join(f"{name} {of}" for name, of in tags.items())
            site.problems.add(
                "upgrade-same",
                service.where.at("images"),
                f"{said}: they belong to one release",
                f"Give {' and '.join(same)} the same version",
            )


def tag(image: str) -> str:
    return image.partition("@")[0].rpartition(":")[2]


def version(image: str) -> Version | None:
    """The version that a tag begins with: v3.1.0 -> 3.1.0, 14-vectorchord0.4.3 -> 14; None when it begins otherwise."""
    match = re.match(r"v?(\d+(?:\.\d+)*)", tag(image))
    return tuple(int(part) for part in match.group(1).split(".")) if match else None


def same_image(one: str, other: str) -> bool:
    """Whether two names are one image, perhaps through another mirror."""
    return one == other or one.endswith(f"/{other}") or other.endswith(f"/{one}")


def older(one: Version, other: Version) -> bool:
    """14 is not older than 14.2: what one of them leaves out is not known."""
    shared = min(len(one), len(other))
    return one[:shared] < other[:shared]


def judge(wanted: Mapping[str, Any], running: Mapping[str, str]) -> Tree:
    """What changes for one service of the plan, and why that is refused, if it is."""
    changes = [
        {"container": name, "from": running[name], "to": image}
        for name, image in wanted["images"].items()
        if name in running and not same_image(running[name], image)
    ]
    refused = [text for one in changes for text in (backwards(wanted, one), too_far(wanted, one)) if text]
    refused += [text for one in wanted["needs"] for text in [unmet(wanted, one, running, changes)] if text]
    return {
        "service": wanted["service"], "guarded": wanted["guarded"], "changes": changes, "refused": refused,
        "promise": promise(wanted) if wanted["guarded"] else "",
    }  # fmt: skip


def backwards(wanted: Mapping[str, Any], change: Mapping[str, str]) -> str:
    """A newer version's data cannot be read by an older one."""
    old, new = version(change["from"]), version(change["to"])
    if not wanted["guarded"] or old is None or new is None or not older(new, old) or not kin(change):
        return ""
    return (
        f"{step(wanted, change)}: that is a step back, and an older version cannot read newer data. Keep the version "
        f"({pin(wanted, change, change['from'])}), or restore a backup of its time"
    )


def too_far(wanted: Mapping[str, Any], change: Mapping[str, str]) -> str:
    """Where a new version migrates only the data of the one before it. What an old name does not tell is let pass."""
    if change["container"] not in wanted["majors"]:
        return ""
    old, new = version(change["from"]), version(change["to"])
    if new is None:
        return f"{step(wanted, change)}: that names no version. Pin one: {pin(wanted, change, '...')}"
    if old is None or new[0] - old[0] <= 1:
        return ""
    between = f"{change['to'].partition('@')[0].rpartition(':')[0]}:v{old[0] + 1}..."
    return (
        f"{step(wanted, change)}: that skips version {old[0] + 1}. Go to its last release first: "
        f"{pin(wanted, change, between)}, make upgrade SERVICE={wanted['service']}"
    )


def step(wanted: Mapping[str, Any], change: Mapping[str, str]) -> str:
    return f"{wanted['service']}: {change['container']} from {tag(change['from'])} to {tag(change['to'])}"


def pin(wanted: Mapping[str, Any], change: Mapping[str, str], image: str) -> str:
    return f"site_services.{wanted['service']}.images: {{{change['container']}: {image}}}"


def unmet(
    wanted: Mapping[str, Any], need: Mapping[str, Any], running: Mapping[str, str], changes: Sequence[Mapping[str, str]]
) -> str:
    """What a version demands of another container: of what runs now, and of what will run."""
    least, new = version(f":{need['from']}"), version(wanted["images"][need["container"]])
    if not changes or least is None or new is None or older(new, least):
        return ""
    other, who = need["with"], f"{wanted['service']}: {need['container']} from {need['from']} on"
    for image, when in ((running.get(other), "now"), (wanted["images"].get(other), "then")):
        if image is not None and not re.search(need["matches"], image):
            return f"{who} does not work with the {other} {image} that runs {when}. {need['remedy']}"
    return ""


def kin(change: Mapping[str, str]) -> bool:
    """Whether both are versions of one program, as far as names tell."""
    names = [change[key].partition("@")[0].rpartition(":")[0].rpartition("/")[2] for key in ("from", "to")]
    return names[0] == names[1]


def verdict(wanted: Sequence[Mapping[str, Any]], running: Mapping[str, Mapping[str, str]], only: Sequence[str]) -> Tree:
    """Of a host: services whose images change (``todo``), the guarded ones (``held``), and what is refused."""
    judged = [
        judge(one, running[one["service"]])
        for one in wanted
        if one["service"] in running and (not only or one["service"] in only)
    ]
    changing = [one for one in judged if one["changes"]]
    return {
        "todo": [one for one in changing if not one["refused"]],
        "held": [f"{one['service']} ({said(one['changes'])})" for one in changing if one["guarded"]],
        "refused": [text for one in changing for text in one["refused"]],
    }


def said(changes: Sequence[Mapping[str, str]]) -> str:
    return ", ".join(f"{one['container']} {tag(one['from'])} -> {tag(one['to'])}" for one in changes)


def staged(
    files: Sequence[Mapping[str, Any]], wanted: Sequence[Mapping[str, Any]], todo: Sequence[Mapping[str, Any]]
) -> list[Tree]:
    """The projects' files beside their place, and for each service what the host's program must know."""
    changes = {one["service"]: one["changes"] for one in todo}
    found: list[Tree] = []
    for one in wanted:
        if one["service"] not in changes:
            continue
        home, place = one["directory"], next_to(one["directory"])
        for file in files:
            if file.get("service") == one["service"] and file["path"].startswith(f"{home}/"):
                found.append({**file, "path": f"{place}/{file['path'].removeprefix(f'{home}/')}"})
        keys = ("service", "directory", "unit", "wait", "volumes", "uncopied", "databases", "marker", "smoke")
        request = {**{key: one[key] for key in keys}, "changes": changes[one["service"]]}
        found.append({"path": f"{place}.json", "service": one["service"], "mode": "0600", "yaml": request})
    return found


def next_to(directory: str) -> str:
    """Where a project's new files wait for their turn, on the same file system."""
    root, _slash, name = directory.rpartition("/")
    return f"{root}/.next/{name}"


def retirable(site: Site) -> Tree:
    """For services that are not placed: where their own data would lie, so that it can be archived."""
    taken = sorted({volume.path for service in site.services.values() for volume in service.volumes.values()})
    mounts = {name: str(body["mount"]).rstrip("/") for name, body in site.values["site_storage"].items()}
    below = [mounts[name] for name in OWN if name in mounts]
    found: Tree = {}
    for name, body in site.catalog.items():
        if name in site.services or not body.spec["containers"]:
            continue
        paths = []
        for volume, declared in body.spec["volumes"].items():
            mount = mounts.get(declared["class"])
            if declared["class"] in OWN and mount:
                path = f"{mount}/{(declared['folder'] or f'{name}/{volume}').strip('/')}"
                paths += [] if within(path, taken) else [{"path": path, "mount": mount}]
        listed = ((body.spec["backup"] or {}).get("databases") or {}).values()
        servers = [one for one in listed if one["kind"] == "postgresql"]
        found[name] = {
            "service": name,
            "directory": f"{site.root}/services/{name}",
            "unit": f"mediaserver-{name}.service",
            "volumes": paths,
            "databases": [{key: one[key] for key in ("container", "name", "user")} for one in servers],
            "below": below,
            "mounted": [mounts[one] for one in OWN if one in mounts and (site.storage(one) or {}).get("as") != "local"],
            "taken": taken,
        }
    return found


def within(path: str, others: Sequence[str]) -> bool:
    """Whether one lies in the other, either way."""
    return any(f"{path}/".startswith(f"{other}/") or f"{other}/".startswith(f"{path}/") for other in others)
