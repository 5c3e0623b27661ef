# SPDX-License-Identifier: MIT
"""What the server says of itself, onboarding, and the system configuration document."""

from __future__ import annotations

import shutil
from typing import Any

import api
import people
import release
from api import Caller, app, body, envelope, field, now, refuse, route
from config_document import check, defaults, merge
from libraries import IMAGES, VIDEOS
from standin import Reply, Request, Stop, real_path

media_folder = "/data"
# set by start.py when IMMICH_CONFIG_FILE is in use
from_file: dict[str, Any] | None = None
log_level = ""  # start.py looks at IMMICH_LOG_LEVEL
maintenance = False


def config() -> dict[str, Any]:
    if from_file is not None:
        return merge(defaults(), from_file)
    stored = api.database.get("system_metadata", "system-config") or {}
    return merge(defaults(), stored.get("value", {}))


def metadata(key: str) -> dict[str, Any]:
    return (api.database.get("system_metadata", key) or {}).get("value", {})


def set_metadata(key: str, value: dict[str, Any]) -> None:
    api.database.put("system_metadata", key, {"id": key, "value": value})


# --- no login needed


@app.route("GET", "/api/server/ping", locked=False)
def ping(request: Request) -> Any:
    return {"res": "pong"}


@app.route("GET", "/.well-known/immich", locked=False)
def well_known(request: Request) -> Any:
    return {"api": {"endpoint": "/api"}}


@app.route("GET", "/")
def page(request: Request) -> Any:
    return Reply(200, "<html><title>Immich (stand-in)</title></html>", {"Content-Type": "text/html"})


@app.route("GET", "/api/server/version")
def version(request: Request) -> Any:
    number = dict(zip(("major", "minor", "patch"), release.current, strict=True))
    return number | {"prerelease": None} if release.at_least(3) else number


@app.route("GET", "/api/server/version-history")
def history(request: Request) -> Any:
    return list(reversed(api.database.all("version_history")))


@app.route("GET", "/api/server/config")
def server_config(request: Request) -> Any:
    document = config()
    return {
        "loginPageMessage": document["server"]["loginPageMessage"], "trashDays": document["trash"]["days"],
        "userDeleteDelay": document["user"]["deleteDelay"], "oauthButtonText": document["oauth"]["buttonText"],
        "isInitialized": any(user["isAdmin"] for user in people.users(True)),
        "isOnboarded": bool(metadata("admin-onboarding").get("isOnboarded")),
        "externalDomain": document["server"]["externalDomain"], "publicUsers": document["server"]["publicUsers"],
        "mapDarkStyleUrl": document["map"]["darkStyle"], "mapLightStyleUrl": document["map"]["lightStyle"],
    } | ({"maintenanceMode": maintenance} if release.at_least(2, 3) else {})  # fmt: skip


@app.route("GET", "/api/server/features")
def features(request: Request) -> Any:
    document = config()
    learning = document["machineLearning"]["enabled"]
    return {
        "smartSearch": learning and document["machineLearning"]["clip"]["enabled"], "facialRecognition": learning,
        "duplicateDetection": learning, "map": document["map"]["enabled"],
        "reverseGeocoding": document["reverseGeocoding"]["enabled"], "importFaces": False, "sidecar": True,
        "search": True, "trash": document["trash"]["enabled"], "oauth": document["oauth"]["enabled"],
        "oauthAutoLaunch": document["oauth"]["autoLaunch"], "ocr": learning,
        "passwordLogin": document["passwordLogin"]["enabled"], "configFile": from_file is not None,
        "email": document["notifications"]["smtp"]["enabled"],
    }  # fmt: skip


@app.route("GET", "/api/server/media-types")
def media_types(request: Request) -> Any:
    return {"image": sorted(IMAGES), "video": sorted(VIDEOS), "sidecar": [".xmp"]}


# --- with a login


@route("GET", "/server/about", "server.about")
def about(request: Request, caller: Caller) -> Any:
    return {"version": "v" + release.text(), "versionUrl": "", "licensed": False,
            "build": "stand-in", "nodejs": "none: this is a stand-in"}  # fmt: skip


@route("GET", "/server/storage", "server.storage")
def storage(request: Request, caller: Caller) -> Any:
    disk = shutil.disk_usage(real_path(media_folder))
    percent = round(disk.used / disk.total * 100, 2)
    return {"diskSizeRaw": disk.total, "diskUseRaw": disk.used, "diskAvailableRaw": disk.free,
            "diskUsagePercentage": percent}  # fmt: skip


@route("GET", "/server/statistics", "server.statistics", admin=True)
def statistics(request: Request, caller: Caller) -> Any:
    assets = [asset for asset in api.database.all("asset") if not asset["isTrashed"]]
    photos, usage = sum(asset["type"] == "IMAGE" for asset in assets), sum(asset["size"] or 0 for asset in assets)
    return {"photos": photos, "videos": len(assets) - photos, "usage": usage, "usageByUser": []}


@route("GET", "/system-metadata/admin-onboarding", "systemMetadata.read", admin=True)
def onboarding(request: Request, caller: Caller) -> Any:
    return {"isOnboarded": bool(metadata("admin-onboarding").get("isOnboarded"))}


@route("POST", "/system-metadata/admin-onboarding", "systemMetadata.update", admin=True)
def set_onboarding(request: Request, caller: Caller) -> Any:
    set_metadata("admin-onboarding", {"isOnboarded": field(body(request), "isOnboarded", bool, True)})
    return Reply(204)


# --- the configuration


@route("GET", "/system-config", "systemConfig.read", admin=True)
def get_config(request: Request, caller: Caller) -> Any:
    return config()


@route("GET", "/system-config/defaults", "systemConfig.read", admin=True)
def get_defaults(request: Request, caller: Caller) -> Any:
    return defaults()


@route("PUT", "/system-config", "systemConfig.update", admin=True)
def set_config(request: Request, caller: Caller) -> Any:
    given = body(request)
    kept, problems = check(given, defaults())
    if problems:
        reply = envelope(400, "Validation failed", problems)
        raise Stop(400, reply.body, reply.headers)
    if from_file is not None:
        raise refuse(400, "Cannot update configuration while IMMICH_CONFIG_FILE is in use")
    if log_level and kept["logging"] != config()["logging"]:
        raise refuse(400, "Logging cannot be changed while the environment variable IMMICH_LOG_LEVEL is set.")
    if not release.at_least(3) and kept["oauth"]["enabled"] and not kept["oauth"]["clientId"]:
        raise refuse(400, "oauth.clientId should not be empty")
    set_metadata("system-config", kept)
    return given


def note_version() -> None:
    """As the real server: one row for each version that ran on this database."""
    name = release.text()
    if not api.database.get("version_history", name):
        api.database.put("version_history", name, {"id": name, "createdAt": now(), "version": name})
