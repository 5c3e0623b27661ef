# SPDX-License-Identifier: MIT
"""Put the data of a service that is no longer wanted into an archive: moved, never deleted.

    mediaserver-retire < REQUEST.json

Its backup jobs run once more, while the host still knows them. Databases are dumped, containers stopped, and each
folder is renamed to <mount>/retired/<service>-TIME on its own file system, beside a manifest of every file with its
hash, which is compared again after the move. Nothing is done where the service is not, unless the request says that it
is an `orphan`, which no host has any more. A killed call is finished by the next one. Containers, unit, files, rules,
route and scrape targets go by the site's next run, as for everything that the inventory does not name.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import mediaserver_disk
from mediaserver_dumps import dump_command
from mediaserver_jobs import CONFIG
from mediaserver_restic import Problem, assert_mounted, last_words
from mediaserver_upgrade import alone
from mediaserver_upgrade_docker import Project, service_of

Manifest = dict[str, list[Any]]


def manifest(folder: Path) -> Manifest:
    """Every path below a folder: mode, owner, and of a file its size and SHA-256, of a link where it leads."""
    found: Manifest = {}
    for path in sorted(folder.rglob("*")):
        info = path.lstat()
        what: list[Any] = [f"{info.st_mode:o}", info.st_uid, info.st_gid]
        if path.is_symlink():
            what.append(str(path.readlink()))
        elif path.is_file():
            with path.open("rb") as file:
                what += [info.st_size, hashlib.file_digest(file, "sha256").hexdigest()]
        found[str(path.relative_to(folder))] = what
    return found


def volumes(request: dict[str, Any], project: Project) -> tuple[list[dict[str, str]], list[str]]:
    """The folders to move, with their mounts, and those that stay where they are."""
    planned = {one["path"]: one["mount"] for one in request["volumes"]}
    binds = [one for container in project.containers() for one in container["Mounts"] if one["Type"] == "bind"]
    seen = {one["Source"] for one in binds if one["RW"] and not one["Source"].startswith(f"{project.directory}/")}
    stay = []
    for path in sorted(seen - set(planned)):
        mount = next((one for one in request["below"] if path.startswith(f"{one}/")), None)
        if mount is None or overlaps(path, request["taken"]):
            stay.append(path)
        else:
            planned[path] = mount
    return [{"path": path, "mount": mount} for path, mount in sorted(planned.items()) if Path(path).is_dir()], stay


def overlaps(path: str, others: list[str]) -> bool:
    return any(f"{path}/".startswith(f"{other}/") or f"{other}/".startswith(f"{path}/") for other in others)


def last_backup(service: str) -> list[str]:
    """Run its jobs once more; the names of those that ran."""
    if not CONFIG.exists():
        return []
    jobs = [one["name"] for one in json.loads(CONFIG.read_text())["jobs"] if one["service"] == service]
    if jobs:
        done = subprocess.run(["mediaserver-backup", "run", *jobs], text=True, capture_output=True, check=False)
        if done.returncode:
            raise Problem(f"Unable to back up {service} a last time: {last_words(done.stderr)}. Nothing was moved."
                          f" If it does not run: systemctl start mediaserver-{service}")  # fmt: skip
    return jobs


def dump(project: Project, request: dict[str, Any], folder: Path) -> list[str]:
    """Databases whose server runs; of the others the files themselves are what is kept."""
    running = {service_of(one) for one in project.containers() if one["State"]["Status"] == "running"}
    names = []
    for one in request["databases"]:
        if one["container"] not in running:
            continue
        target, growing = folder / f"{one['name']}.sql", folder / f".{one['name']}.sql"
        job = {"name": one["name"], "service": project.name, "database": {**one, "kind": "postgresql"}}
        with growing.open("wb") as output:
            done = subprocess.run(dump_command(job), stdout=output, stderr=subprocess.PIPE, check=False)
        if done.returncode:
            raise Problem(f"Unable to dump {one['name']}: {last_words(done.stderr.decode(errors='replace'))}")
        growing.rename(target)
        names.append(target.name)
    return names


def place(service: str, mount: str) -> Path:
    """Where an archive of this service grows; it gets its time when it is whole."""
    folder = Path(mount) / "retired" / f"{service}.partial"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def move(path: Path, folder: Path, mount: str) -> None:
    """One folder, with its manifest beside it. Moved by an earlier call already: only compared."""
    name = str(path.relative_to(mount)).replace("/", "_")
    listed, target = folder / f"{name}.manifest.json", folder / name
    if not target.exists():
        mediaserver_disk.write_durably(listed, json.dumps(manifest(path), indent=1) + "\n")
        path.rename(target)
    if (wanted := json.loads(listed.read_text())) != json.loads(json.dumps(manifest(target))):
        raise Problem(f"Unable to prove {target}: it is not what {listed} says ({len(wanted)} paths)")


def growing_archives(request: dict[str, Any]) -> list[Path]:
    """What a killed call left."""
    places = [Path(mount) / "retired" / f"{request['service']}.partial" for mount in request["below"]]
    return [folder for folder in places if folder.is_dir()]


def check(request: dict[str, Any], found: list[dict[str, str]]) -> None:
    """Before anything is touched."""
    for one in found:
        assert_mounted(one["path"], one["mount"] if one["mount"] in request["mounted"] else None)
        if os.path.ismount(one["path"]):
            raise Problem(f"Unable to move {one['path']}: it is a mount itself")


def retire(request: dict[str, Any], project: Project, found: list[dict[str, str]]) -> dict[str, Any]:
    service = request["service"]
    folders = {one["mount"]: place(service, one["mount"]) for one in found}
    dumps = dump(project, request, next(iter(folders.values()))) if folders else []
    project.stop()
    for one in found:
        move(Path(one["path"]), folders[one["mount"]], one["mount"])
    compose, stamp, archives = Path(project.directory) / "compose.yaml", time.strftime("%Y%m%d-%H%M%S"), []
    for folder in growing_archives(request):
        if compose.exists():
            shutil.copy2(compose, folder / "compose.yaml")
        target = folder.with_name(f"{service}-{stamp}")
        folder.rename(target)
        archives.append(str(target))
    os.sync()
    return {"archives": archives, "dumps": dumps}


def work(request: dict[str, Any]) -> dict[str, Any]:
    project = Project(request)
    told: dict[str, Any] = {"service": request["service"], "archives": [], "left": []}
    # hosts may share folders: what lies here may be in use on another one
    if not (request.get("orphan") or Path(project.directory).is_dir() or project.containers()):
        return told
    found, stay = volumes(request, project)
    check(request, found)
    told["left"] = stay
    if not found and not growing_archives(request):
        return told
    told["backups"] = last_backup(request["service"])  # takes the backups' lock itself
    with alone():
        return told | retire(request, project, found)


def main() -> int:
    os.umask(0o077)
    try:
        print(json.dumps(work(json.load(sys.stdin))))
    except (Problem, OSError) as problem:
        print(problem, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
