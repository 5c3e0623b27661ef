# SPDX-License-Identifier: MIT
"""Uploads (real files, real SHA-1), downloads and the metadata search, scoped to the caller."""

from __future__ import annotations

import base64
import hashlib
import uuid
from pathlib import Path
from typing import Any

import api
from api import Caller, body, field, identifier, invalid, now, refuse, route
from libraries import IMAGES, VIDEOS, new_asset, save_asset
from standin import Reply, Request, real_path

media_folder = "/data"


def shown(asset: dict[str, Any]) -> dict[str, Any]:
    answer = dict(asset)
    answer["checksum"] = base64.b64encode(bytes.fromhex(asset["checksum"])).decode()
    answer["exifInfo"] = {"fileSizeInByte": answer.pop("size")}
    return answer | {"duration": None, "thumbhash": None, "people": [], "tags": [], "hasMetadata": True}


def _asset(request: Request, caller: Caller) -> dict[str, Any]:
    asset = api.database.get("asset", identifier(request.params["id"]))
    if not asset or asset["ownerId"] != caller.id:
        raise refuse(400, "Not found or no asset.read access")
    return asset


@route("POST", "/assets", "asset.upload")
def upload(request: Request, caller: Caller) -> Any:
    try:
        parts = request.parts()
    except ValueError as error:
        raise refuse(400, "Multipart: Boundary not found") from error
    if "assetData" not in parts or not parts["assetData"][0]:
        raise refuse(400, "No file uploaded")
    missing = [name for name in ("fileCreatedAt", "fileModifiedAt") if name not in parts]
    if missing:
        raise invalid(*((name, "Invalid input: expected date, received undefined") for name in missing))
    file_name, content = parts["assetData"]
    suffix = Path(file_name or "").suffix.lower()
    if suffix not in IMAGES | VIDEOS:
        raise refuse(400, f"Unsupported file type {file_name}")
    quota = caller.user["quotaSizeInBytes"]
    used = sum(asset["size"] or 0 for asset in api.database.all("asset", ownerId=caller.id) if not asset["libraryId"])
    if quota is not None and used + len(content) > quota:
        raise refuse(400, "Quota has been exceeded!")
    checksum = hashlib.sha1(content)
    for asset in api.database.all("asset", ownerId=caller.id, checksum=checksum.hexdigest()):
        if not asset["libraryId"]:
            return {"id": asset["id"], "status": "duplicate"}
    number = str(uuid.uuid4())
    path = f"{media_folder}/upload/{caller.id}/{number[:2]}/{number[2:4]}/{number}{suffix}"
    real_path(path).parent.mkdir(parents=True, exist_ok=True)
    real_path(path).write_bytes(content)
    kind = "IMAGE" if suffix in IMAGES else "VIDEO"
    asset = new_asset(caller.id, None, path, kind, checksum.digest())
    asset |= {"size": len(content), "originalFileName": Path(file_name or "").name}
    asset |= {name: parts[name][1].decode() for name in ("fileCreatedAt", "fileModifiedAt")}
    save_asset(asset)
    return Reply(201, {"id": asset["id"], "status": "created"})


@route("POST", "/assets/bulk-upload-check", "asset.upload")
def bulk_check(request: Request, caller: Caller) -> Any:
    results = []
    for each in field(body(request), "assets", list, True):
        text = str(each.get("checksum", ""))
        checksum = text.lower() if len(text) == 40 else base64.b64decode(text).hex()
        found = api.database.all("asset", ownerId=caller.id, checksum=checksum)
        more = {"reason": "duplicate", "assetId": found[0]["id"], "isTrashed": found[0]["isTrashed"]} if found else {}
        results.append({"id": each.get("id"), "action": "reject" if found else "accept"} | more)
    return {"results": results}


@route("GET", "/assets/statistics", "asset.statistics")
def statistics(request: Request, caller: Caller) -> Any:
    trashed = request.query("isTrashed") == "true"
    found = [asset for asset in api.database.all("asset", ownerId=caller.id) if asset["isTrashed"] == trashed]
    images = sum(asset["type"] == "IMAGE" for asset in found)
    return {"images": images, "videos": len(found) - images, "total": len(found)}


@route("GET", "/assets/{id}", "asset.read")
def get(request: Request, caller: Caller) -> Any:
    return shown(_asset(request, caller))


@route("GET", "/assets/{id}/original", "asset.download")
def original(request: Request, caller: Caller) -> Any:
    file = real_path(_asset(request, caller)["originalPath"])
    if not file.is_file():
        raise refuse(404, "Not Found")
    return file.read_bytes()


@route("DELETE", "/assets", "asset.delete")
def delete(request: Request, caller: Caller) -> Any:
    given = body(request)
    for number in field(given, "ids", list, True):
        asset = api.database.get("asset", identifier(number, "ids"))
        if not asset or asset["ownerId"] != caller.id:
            raise refuse(400, "Not found or no asset.delete access")
        if given.get("force"):
            api.database.delete("asset", asset["id"])
            if not asset["libraryId"]:
                real_path(asset["originalPath"]).unlink(missing_ok=True)
        else:
            save_asset(asset | {"isTrashed": True, "deletedAt": now()})
    return Reply(204)


@route("POST", "/search/metadata", "asset.read")
def search(request: Request, caller: Caller) -> Any:
    given = body(request)
    size, page = field(given, "size", int) or 250, field(given, "page", int) or 1
    if not 1 <= size <= 1000 or page < 1:
        raise invalid(("size", "Too big: expected number to be <=1000"))
    found = api.database.all("asset", ownerId=caller.id)
    if not given.get("withDeleted"):
        found = [asset for asset in found if not asset["deletedAt"]]
    if given.get("checksum"):
        given["checksum"] = base64.b64decode(given["checksum"]).hex()
    for name in ("id", "libraryId", "isOffline", "type", "originalPath", "checksum"):
        if given.get(name) is not None:
            found = [asset for asset in found if asset[name] == given[name]]
    if given.get("originalFileName"):
        found = [asset for asset in found if given["originalFileName"].lower() in asset["originalFileName"].lower()]
    part = found[(page - 1) * size : page * size]
    more = str(page + 1) if len(found) > page * size else None
    nothing = {"total": 0, "count": 0, "items": [], "facets": []}
    items = [shown(asset) for asset in part]
    # `total` is only this page's count, nextPage is a string: so does the real server
    assets = {"total": len(part), "count": len(part), "items": items, "facets": [], "nextPage": more}
    return {"albums": nothing, "assets": assets}
