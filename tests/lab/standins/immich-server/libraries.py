# SPDX-License-Identifier: MIT
"""External libraries: every recorded trap, and a real crawl of the import paths (jobs.py runs it)."""

from __future__ import annotations

import fnmatch
import functools
import hashlib
import os
import re
import uuid
from pathlib import Path
from typing import Any

import api
import jobs
import release
from api import Caller, body, field, identifier, invalid, now, refuse, route
from standin import Reply, Request, real_path

EXCLUDED = ["**/@eaDir/**", "**/._*", "**/#recycle/**", "**/#snapshot/**"]
EXCLUDED_SINCE_2 = [*EXCLUDED, "**/.stversions/**", "**/.stfolder/**"]
IMAGES = {
    ".jpg",
    ".jpeg",
    ".png",
    ".heic",
    ".heif",
    ".webp",
    ".gif",
    ".avif",
    ".tif",
    ".tiff",
    ".dng",
    ".cr2",
    ".nef",
    ".arw",
}
VIDEOS = {".mp4", ".mov", ".mkv", ".avi", ".webm", ".m4v", ".3gp", ".mts"}
FIELDS = ("id", "ownerId", "name", "createdAt", "updatedAt", "refreshedAt", "importPaths", "exclusionPatterns")
media_folder = "/data"


def default_exclusions() -> list[str]:
    return list(EXCLUDED_SINCE_2 if release.at_least(2) else EXCLUDED)


def shown(library: dict[str, Any]) -> dict[str, Any]:
    return {key: library[key] for key in FIELDS} | {"assetCount": 0}


def save(library: dict[str, Any]) -> None:
    library["updatedAt"] = now()
    api.database.put("library", library["id"], library, ownerId=library["ownerId"])


def living() -> list[dict[str, Any]]:
    return [library for library in api.database.all("library") if not library["deletedAt"]]


def _library(request: Request) -> dict[str, Any]:
    library = api.database.get("library", identifier(request.params["id"]))
    if not library or library["deletedAt"]:
        raise refuse(400, "Library not found")
    return library


def _list(given: dict[str, Any], name: str) -> list[str] | None:
    value = field(given, name, list)
    if value is None:
        return None
    if len(value) > 128:
        raise invalid((name, "Too big: expected array to have <=128 items"))
    if len({str(each) for each in value}) != len(value):
        raise invalid((name, "Array must have unique items"))
    if any(not isinstance(each, str) or not (each.strip() if release.at_least(3) else each) for each in value):
        raise invalid((name, "Invalid input: expected non-empty string"))
    return value


def _name(given: dict[str, Any]) -> str | None:
    name = field(given, "name", str)
    if name == "":
        raise invalid(("name", "Too small: expected string to have >=1 characters"))
    return name


def problem(path: str) -> str | None:
    """What the server says against an import path, as it sees it from inside the container."""
    if not path.startswith("/"):
        return f"Import path must be absolute, try {os.path.abspath('/' + path)}"  # noqa: PTH100
    if path.rstrip("/") == media_folder or path.startswith(media_folder + "/"):
        return "Cannot use media upload folder for external libraries"
    where = real_path(path)
    if not where.exists():
        return "Path does not exist (ENOENT)"
    if not where.is_dir():
        return "Not a directory"
    if not os.access(where, os.R_OK):
        return "Lacking read permission for folder"
    return None


@route("GET", "/libraries", "library.read", admin=True)
def list_libraries(request: Request, caller: Caller) -> Any:
    return [shown(library) for library in living()]


@route("POST", "/libraries", "library.create", admin=True)
def create(request: Request, caller: Caller) -> Any:
    given = body(request)
    owner = identifier(given.get("ownerId"), "ownerId")
    name, paths, patterns = _name(given), _list(given, "importPaths"), _list(given, "exclusionPatterns")
    if not api.database.get("user", owner):
        raise refuse(500, "Failed to create library")
    library = {
        "id": str(uuid.uuid4()), "ownerId": owner, "name": name or "New External Library", "importPaths": paths or [],
        "exclusionPatterns": default_exclusions() if patterns is None else patterns, "createdAt": now(),
        "refreshedAt": None, "deletedAt": None,
    }  # fmt: skip
    save(library)
    return Reply(201, shown(library))


@route("GET", "/libraries/{id}", "library.read", admin=True)
def get(request: Request, caller: Caller) -> Any:
    return shown(_library(request))


def update(request: Request, caller: Caller) -> Any:
    library, given = _library(request), body(request)
    changes = {"name": _name(given), "importPaths": _list(given, "importPaths"),
               "exclusionPatterns": _list(given, "exclusionPatterns")}  # fmt: skip
    changes = {key: value for key, value in changes.items() if value is not None}
    if not changes:
        raise refuse(500, "Failed to update library")
    for path in changes.get("importPaths") or []:
        if why := problem(path):
            raise refuse(400, f"Invalid import path: {why}")
    library |= changes
    save(library)
    return shown(library)


route("PUT", "/libraries/{id}", "library.update", admin=True)(update)
route("PATCH", "/libraries/{id}", "library.update", admin=True, since=(3,))(update)


@route("DELETE", "/libraries/{id}", "library.delete", admin=True)
def delete(request: Request, caller: Caller) -> Any:
    library = _library(request)
    library["deletedAt"] = now()
    save(library)
    jobs.enqueue("library", lambda: _forget(library["id"]), seconds=0.4)
    return Reply(204)


def _forget(number: str) -> None:
    for asset in api.database.all("asset", libraryId=number):
        api.database.delete("asset", asset["id"])


@route("POST", "/libraries/{id}/validate", "all", admin=True)
def validate(request: Request, caller: Caller) -> Any:
    identifier(request.params["id"])
    answers = []
    for path in _list(body(request), "importPaths") or []:
        why = problem(path)
        answers.append({"importPath": path, "isValid": why is None} | ({"message": why} if why else {}))
    return {"importPaths": answers}


@route("GET", "/libraries/{id}/statistics", "library.statistics", admin=True)
def statistics(request: Request, caller: Caller) -> Any:
    """Trashed and offline assets count; usage grows once metadata is read. A deleted library answers zeros."""
    library = api.database.get("library", identifier(request.params["id"]))
    if not library:
        raise refuse(400, "Library not found")
    assets = [] if library["deletedAt"] else api.database.all("asset", libraryId=library["id"])
    photos = sum(asset["type"] == "IMAGE" for asset in assets)
    usage = sum(asset["size"] or 0 for asset in assets)
    return {"photos": photos, "videos": len(assets) - photos, "total": len(assets), "usage": usage}


@route("POST", "/libraries/{id}/scan", "library.update", admin=True)
def scan(request: Request, caller: Caller) -> Any:
    number = _library(request)["id"]
    jobs.enqueue("library", lambda: crawl(number), seconds=0.4)
    return Reply(204)


def scan_all() -> None:
    for library in living():
        jobs.enqueue("library", functools.partial(crawl, library["id"]), seconds=0.4)


jobs.starters["library"] = scan_all


# --- the crawl


def excluded(path: str, patterns: list[str]) -> bool:
    return any(re.match(_expression(pattern), path) for pattern in patterns)


def _expression(pattern: str) -> str:
    text = fnmatch.translate(pattern.replace("**/", "\x00").replace("/**", "\x01"))
    return text.replace("\x00", "(?:.*/)?").replace("\x01", "/.*")


def crawl(number: str) -> None:
    """Find the files, then queue the import: `refreshedAt` says no more than that."""
    library = api.database.get("library", number)
    if not library or library["deletedAt"]:
        return
    good = [path for path in library["importPaths"] if problem(path) is None]
    if not good:
        return
    found = {}
    for root in good:
        for file in sorted(real_path(root).rglob("*")):
            path = root.rstrip("/") + "/" + str(file.relative_to(real_path(root)))
            kind = {**dict.fromkeys(IMAGES, "IMAGE"), **dict.fromkeys(VIDEOS, "VIDEO")}.get(file.suffix.lower())
            if kind and file.is_file() and not excluded(path, library["exclusionPatterns"]):
                found[path] = kind
    library["refreshedAt"] = now()
    save(library)
    jobs.enqueue("library", lambda: _import(library, found), seconds=0.3, delay=0.2)


def _import(library: dict[str, Any], found: dict[str, str]) -> None:
    known = {asset["originalPath"]: asset for asset in api.database.all("asset", libraryId=library["id"])}
    for path, asset in known.items():
        gone = path not in found
        if gone != asset["isOffline"]:
            asset |= {"isOffline": gone, "isTrashed": gone, "deletedAt": now() if gone else None}
            save_asset(asset)
    fresh = []
    for path, kind in found.items():
        if path not in known:
            checksum = hashlib.sha1(b"path:" + path.encode()).digest()
            fresh.append(new_asset(library["ownerId"], library["id"], path, kind, checksum))
    jobs.enqueue("sidecar", lambda: None, seconds=0.1)
    jobs.enqueue("metadataExtraction", lambda: _extract(fresh), seconds=0.3)


def _extract(assets: list[dict[str, Any]]) -> None:
    for asset in assets:
        file = real_path(asset["originalPath"])
        if file.exists():
            asset["size"] = file.stat().st_size
            save_asset(asset)
    jobs.enqueue("thumbnailGeneration", lambda: None, seconds=0.3)


def new_asset(owner: str, library: str | None, path: str, kind: str, checksum: bytes) -> dict[str, Any]:
    stamp = now()
    asset = {
        "id": str(uuid.uuid4()), "ownerId": owner, "libraryId": library, "type": kind, "originalPath": path,
        "originalFileName": Path(path).name, "checksum": checksum.hex(), "size": None, "isOffline": False,
        "isTrashed": False, "isFavorite": False, "isArchived": False, "visibility": "timeline", "createdAt": stamp,
        "updatedAt": stamp, "deletedAt": None, "fileCreatedAt": stamp, "fileModifiedAt": stamp, "localDateTime": stamp,
    }  # fmt: skip
    save_asset(asset)
    return asset


def save_asset(asset: dict[str, Any]) -> None:
    columns = {key: asset[key] for key in ("ownerId", "libraryId", "originalPath", "checksum")}
    api.database.put("asset", asset["id"], asset, **columns)
