# SPDX-License-Identifier: MIT
"""Stand-in for jellyfin/jellyfin:10.11.11. It behaves as the recorded facts say and plays nothing.

Longer than the soft size: one file a service keeps a stand-in readable beside the facts it was written from.
Choices where the facts are silent: a path that does not exist is 400 on creating a library and 404 on adding a path;
EnableMetrics counts from the next (re)start on, as endpoints are mapped once; while starting only /health answers.
"""

from __future__ import annotations

import copy
import hashlib
import os
import re
import secrets
import time
import urllib.parse
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import xmlconfig
from defaults import ACCELERATIONS, COLLECTIONS, DOCUMENTS, LIBRARY_OPTIONS
from standin import App, Reply, Request, Stop, Store, log, real_path, require_mount, require_writable

VERSION = "10.11.11"
ERROR = "Error processing request."
app = App("jellyfin", ignore_case=True)
app.missing = lambda request: Reply(404)
app.failure = lambda request, error: Reply(400 if isinstance(error, ValueError) else 500, ERROR)


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f0Z")


def digest(password: str, salt: str) -> str:
    return hashlib.pbkdf2_hmac("sha512", password.encode(), salt.encode(), 10000).hex()


class State:
    def __init__(self) -> None:
        self.config_folder = real_path("/config/config")
        (real_path("/config") / "data").mkdir(exist_ok=True)
        empty: dict[str, Any] = {"id": uuid.uuid4().hex, "users": {}, "tokens": {}, "keys": [], "folders": {}}
        self.store = Store(real_path("/config") / "data" / "stand-in.json", empty)
        self.documents = {
            key: xmlconfig.read(self.config_folder / f"{key}.xml", default) for key, (_, default) in DOCUMENTS.items()
        }
        self.metrics = False
        self.ready_at = 0.0
        self.start()

    def start(self) -> None:
        self.metrics = self.documents["system"]["EnableMetrics"]
        self.ready_at = time.monotonic() + float(os.environ.get("LAB_TEST_BOOT", "1"))

    @property
    def data(self) -> dict[str, Any]:
        return self.store.data

    def write(self, key: str) -> None:
        xmlconfig.write(self.config_folder / f"{key}.xml", DOCUMENTS[key][0], self.documents[key])


state: State


# --- who asks --------------------------------------------------------------------------------------------------------


def credentials(request: Request) -> dict[str, str]:
    """Authorization: MediaBrowser Client="..", Device="..", DeviceId="..", Version="..", Token=".."."""
    header = request.headers.get("Authorization", "")
    if not header.lower().startswith("mediabrowser "):
        return {}
    pairs = re.findall(r'(\w+)=(?:"([^"]*)"|([^,\s]*))', header[13:])
    return {key.lower(): urllib.parse.unquote(quoted or plain) for key, quoted, plain in pairs}


def caller(request: Request) -> dict[str, Any] | None:
    token = credentials(request).get("token") or request.query("ApiKey")
    if not token and state.documents["system"]["EnableLegacyAuthorization"]:
        token = request.headers.get("X-Emby-Token") or request.headers.get("X-MediaBrowser-Token") or ""
    if not token:
        return None
    if any(key["AccessToken"] == token for key in state.data["keys"]):
        return {"Name": "api key", "admin": True, "Id": ""}
    return state.data["users"].get(state.data["tokens"].get(token, ""))


def signed_in(request: Request) -> dict[str, Any]:
    user = caller(request)
    if not user:
        raise Stop(401)
    return user


def admin(request: Request) -> dict[str, Any]:
    user = signed_in(request)
    if not user["admin"]:
        raise Stop(403)
    return user


def setup_or_admin(request: Request) -> None:
    if state.documents["system"]["IsStartupWizardCompleted"]:
        admin(request)


def still_starting(request: Request) -> None:
    if time.monotonic() < state.ready_at and request.path.lower() != "/health":
        raise Stop(503, "Jellyfin Server still starting. Please wait.", {"Retry-After": "5"})


app.before = still_starting


# --- system ----------------------------------------------------------------------------------------------------------


@app.route("GET", "/health", locked=False)
def health(request: Request) -> Any:
    return "Healthy"


@app.route("GET", "/")
def root(request: Request) -> Any:
    return Reply(302, None, {"Location": "web/"})


@app.route("GET", "/web(/index.html)?")
def web(request: Request) -> Any:
    return Reply(200, "<html><title>Jellyfin (stand-in)</title></html>", {"Content-Type": "text/html"})


@app.route("GET", "/System/Info/Public")
def public_info(request: Request) -> Any:
    return {
        "LocalAddress": f"http://{request.headers.get('Host', 'localhost:8096')}",
        "ServerName": state.documents["system"]["ServerName"] or os.uname().nodename,
        "Version": VERSION,
        "ProductName": "Jellyfin Server",
        "OperatingSystem": "",
        "Id": state.data["id"],
        "StartupWizardCompleted": state.documents["system"]["IsStartupWizardCompleted"],
    }


@app.route("GET", "/System/Info")
def info(request: Request) -> Any:
    setup_or_admin(request)
    more = {"HasPendingRestart": False, "IsShuttingDown": False, "ProgramDataPath": "/config", "CachePath": "/cache"}
    return public_info(request) | more


@app.route("GET", "/System/Ping")
@app.route("POST", "/System/Ping")
def ping(request: Request) -> Any:
    return "Jellyfin Server"


@app.route("POST", "/System/Restart")
def restart(request: Request) -> Any:
    admin(request)
    state.start()
    return Reply(204)


@app.route("GET", "/metrics")
def metrics(request: Request) -> Any:
    if not state.metrics:
        raise Stop(404)
    lines = ["# TYPE standin_info gauge", 'standin_info{service="jellyfin"} 1', "# TYPE jellyfin_users gauge"]
    text = "\n".join([*lines, f"jellyfin_users {len(state.data['users'])}", ""])
    return Reply(200, text, {"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})


@app.route("GET", "/System/Configuration")
def get_system(request: Request) -> Any:
    setup_or_admin(request)
    return state.documents["system"]


@app.route("POST", "/System/Configuration")
def set_system(request: Request) -> Any:
    setup_or_admin(request)
    return _replace("system", request.json())


@app.route("GET", "/System/Configuration/{key}")
def get_document(request: Request) -> Any:
    setup_or_admin(request)
    key = request.params["key"].lower()
    if key not in state.documents or key == "system":
        raise Stop(404, ERROR)
    return state.documents[key]


@app.route("POST", "/System/Configuration/{key}")
def set_document(request: Request) -> Any:
    setup_or_admin(request)
    key = request.params["key"].lower()
    if key not in state.documents or key == "system":
        raise Stop(404, ERROR)
    return _replace(key, request.json())


def _replace(key: str, body: Any) -> Reply:
    """The whole object: what is left out falls back to its default, unknown keys are dropped, wrong types refused."""
    default = DOCUMENTS[key][1]
    if not isinstance(body, dict):
        raise Stop(400, ERROR)
    values = copy.deepcopy(default)
    for name, value in body.items():
        if name not in default:
            continue
        number = isinstance(default[name], (int, float)) and not isinstance(default[name], bool)
        fits = isinstance(value, (int, float)) if number else isinstance(value, type(default[name]))
        if (not fits and value is not None) or (number and isinstance(value, bool)):
            problem = {f"$.{name}": ["The JSON value could not be converted."]}
            title = "One or more validation errors occurred."
            raise Stop(400, {"title": title, "status": 400, "errors": problem})
        values[name] = default[name] if value is None else value
    if key == "encoding" and values["HardwareAccelerationType"] not in ACCELERATIONS:
        raise Stop(400, {"title": "One or more validation errors occurred.", "status": 400})
    if key == "encoding":
        values["EncoderAppPathDisplay"] = default["EncoderAppPathDisplay"]
    state.documents[key] = values
    state.write(key)
    return Reply(204)


# --- the wizard ------------------------------------------------------------------------------------------------------


@app.route("GET", "/Startup/Configuration")
def get_startup(request: Request) -> Any:
    setup_or_admin(request)
    keys = ("ServerName", "UICulture", "MetadataCountryCode", "PreferredMetadataLanguage")
    return {key: state.documents["system"][key] for key in keys}


@app.route("POST", "/Startup/Configuration")
def set_startup(request: Request) -> Any:
    setup_or_admin(request)
    body = request.json() or {}
    for key in ("ServerName", "UICulture", "MetadataCountryCode", "PreferredMetadataLanguage"):
        state.documents["system"][key] = body.get(key) or ""
    state.write("system")
    return Reply(204)


@app.route("GET", "/Startup/(User|FirstUser)")
def first_user(request: Request) -> Any:
    """Reading creates the user: without this call there is none to name."""
    setup_or_admin(request)
    if not state.data["users"]:
        _new_user("root", "", True)
    return {"Name": next(iter(state.data["users"].values()))["Name"], "Password": None}


@app.route("POST", "/Startup/User")
def set_first_user(request: Request) -> Any:
    setup_or_admin(request)
    if not state.data["users"]:
        raise Stop(404, ERROR)
    body = request.json() or {}
    if not body.get("Password"):
        raise Stop(400, "Password must not be empty")
    user = next(iter(state.data["users"].values()))
    user["Name"] = body.get("Name") or user["Name"]
    user["hash"] = digest(body["Password"], user["salt"])
    state.store.save()
    return Reply(204)


@app.route("POST", "/Startup/RemoteAccess")
def remote_access(request: Request) -> Any:
    setup_or_admin(request)
    body = request.json()
    if not isinstance(body, dict) or "EnableRemoteAccess" not in body:
        raise Stop(400, {"title": "One or more validation errors occurred.", "status": 400})
    state.documents["network"]["EnableRemoteAccess"] = bool(body["EnableRemoteAccess"])
    state.write("network")
    return Reply(204)


@app.route("POST", "/Startup/Complete")
def complete(request: Request) -> Any:
    setup_or_admin(request)
    state.documents["system"]["IsStartupWizardCompleted"] = True
    state.write("system")
    return Reply(204)


# --- users and keys --------------------------------------------------------------------------------------------------


def _new_user(name: str, password: str, is_admin: bool) -> dict[str, Any]:
    salt, number = secrets.token_hex(8), uuid.uuid4().hex
    user = {"Name": name, "Id": number, "admin": is_admin, "salt": salt, "hash": digest(password, salt), "Policy": {}}
    state.data["users"][number] = user
    state.store.save()
    return user


def _shown(user: dict[str, Any]) -> dict[str, Any]:
    policy = {"IsAdministrator": user["admin"], "IsDisabled": False, "EnableAllFolders": True} | user["Policy"]
    return {
        "Name": user["Name"], "ServerId": state.data["id"], "Id": user["Id"], "HasPassword": True,
        "HasConfiguredPassword": True, "EnableAutoLogin": False, "Configuration": {}, "Policy": policy,
    }  # fmt: skip


def _user(number: str) -> dict[str, Any]:
    user = state.data["users"].get(number.replace("-", "").lower())
    if not user:
        raise Stop(404, ERROR)
    return user


@app.route("POST", "/Users/AuthenticateByName")
def authenticate(request: Request) -> Any:
    client = credentials(request)
    body = request.json() or {}
    if not all(client.get(key) for key in ("client", "device", "deviceid", "version")):
        raise Stop(400, ERROR)
    name = str(body.get("Username") or "")
    for user in state.data["users"].values():
        if user["Name"].lower() == name.lower() and user["hash"] == digest(str(body.get("Pw") or ""), user["salt"]):
            token = secrets.token_hex(16)
            state.data["tokens"][token] = user["Id"]
            state.store.save()
            return {"User": _shown(user), "AccessToken": token, "ServerId": state.data["id"],
                    "SessionInfo": {"Client": client["client"], "DeviceId": client["deviceid"]}}  # fmt: skip
    raise Stop(401, ERROR)


@app.route("POST", "/Sessions/Logout")
def logout(request: Request) -> Any:
    signed_in(request)
    state.data["tokens"].pop(credentials(request).get("token", ""), None)
    state.store.save()
    return Reply(204)


@app.route("GET", "/Users/Public")
def public_users(request: Request) -> Any:
    return []


@app.route("GET", "/Users")
def users(request: Request) -> Any:
    signed_in(request)
    return [_shown(user) for user in state.data["users"].values()]


@app.route("POST", "/Users/New")
def new_user(request: Request) -> Any:
    admin(request)
    body = request.json() or {}
    name = str(body.get("Name") or "")
    if not name or any(user["Name"].lower() == name.lower() for user in state.data["users"].values()):
        raise Stop(400, ERROR)
    return _shown(_new_user(name, str(body.get("Password") or ""), False))


@app.route("GET", "/Users/Me")
def me(request: Request) -> Any:
    user = signed_in(request)
    if not user["Id"]:
        raise Stop(400, ERROR)
    return _shown(user)


@app.route("POST", "/Users/Password")
def set_password(request: Request) -> Any:
    asking = signed_in(request)
    user = _user(request.query("userId") or asking["Id"])
    body = request.json() or {}
    if not asking["admin"] and user["hash"] != digest(str(body.get("CurrentPw") or ""), user["salt"]):
        raise Stop(403, "Invalid user or password entered.")
    user["hash"] = digest(str(body.get("NewPw") or ""), user["salt"])
    state.store.save()
    return Reply(204)


@app.route("GET", "/Users/{id}")
def user(request: Request) -> Any:
    signed_in(request)
    return _shown(_user(request.params["id"]))


@app.route("DELETE", "/Users/{id}")
def delete_user(request: Request) -> Any:
    admin(request)
    number = _user(request.params["id"])["Id"]
    del state.data["users"][number]
    state.data["tokens"] = {token: owner for token, owner in state.data["tokens"].items() if owner != number}
    state.store.save()
    return Reply(204)


@app.route("POST", "/Users/{id}/Policy")
def set_policy(request: Request) -> Any:
    admin(request)
    target, body = _user(request.params["id"]), request.json() or {}
    admins = [each for each in state.data["users"].values() if each["admin"]]
    if target in admins and len(admins) == 1 and not body.get("IsAdministrator"):
        raise Stop(403, "There must be at least one user in the system with administrative access.")
    target["Policy"], target["admin"] = body, bool(body.get("IsAdministrator"))
    state.store.save()
    return Reply(204)


@app.route("GET", "/Auth/Keys")
def keys(request: Request) -> Any:
    admin(request)
    return {"Items": state.data["keys"], "TotalRecordCount": len(state.data["keys"]), "StartIndex": 0}


@app.route("POST", "/Auth/Keys")
def new_key(request: Request) -> Any:
    admin(request)
    if not request.query("app"):
        raise Stop(400, {"title": "One or more validation errors occurred.", "status": 400})
    state.data["keys"].append({
        "Id": len(state.data["keys"]) + 1, "AccessToken": secrets.token_hex(16), "AppName": request.query("app"),
        "DateCreated": now(), "IsActive": True,
    })  # fmt: skip
    state.store.save()
    return Reply(204)


@app.route("DELETE", "/Auth/Keys/{key}")
def delete_key(request: Request) -> Any:
    admin(request)
    state.data["keys"] = [key for key in state.data["keys"] if key["AccessToken"] != request.params["key"]]
    state.store.save()
    return Reply(204)


# --- libraries -------------------------------------------------------------------------------------------------------


def _folder(name: str) -> dict[str, Any]:
    if name not in state.data["folders"]:
        raise Stop(404, "The media folder does not exist")
    return state.data["folders"][name]


def _exists(path: str) -> bool:
    return path.startswith("/") and real_path(path).is_dir()


@app.route("GET", "/Library/VirtualFolders")
def folders(request: Request) -> Any:
    setup_or_admin(request)
    return [
        {
            "Name": name,
            "Locations": [each["Path"] for each in folder["options"]["PathInfos"]],
            "CollectionType": folder["type"],
            "LibraryOptions": folder["options"],
            "ItemId": folder["id"],
            "PrimaryImageItemId": folder["id"],
            "RefreshStatus": "Idle",
        }
        for name, folder in state.data["folders"].items()
    ]


@app.route("POST", "/Library/VirtualFolders")
def new_folder(request: Request) -> Any:
    setup_or_admin(request)
    name, kind = request.query("name").strip(), request.query("collectionType").lower()
    if not name or (kind and kind not in COLLECTIONS):
        raise Stop(400, {"title": "One or more validation errors occurred.", "status": 400})
    options = _options((request.json() or {}).get("LibraryOptions") or {})
    paths = [path for value in request.queries.get("paths", []) for path in value.split(",") if path]
    if paths:
        options["PathInfos"] = [{"Path": path} for path in paths]
    for each in options["PathInfos"]:
        if not _exists(each["Path"]):
            raise Stop(400, ERROR)
    # a second library of the same name is not refused: it gets a number
    number, free = 1, name
    while free in state.data["folders"]:
        number += 1
        free = f"{name}{number}"
    state.data["folders"][free] = {"id": uuid.uuid4().hex, "type": kind or None, "options": options}
    state.store.save()
    return Reply(204)


def _options(given: dict[str, Any]) -> dict[str, Any]:
    known = {key: value for key, value in given.items() if key in LIBRARY_OPTIONS}
    return copy.deepcopy(LIBRARY_OPTIONS) | known


@app.route("DELETE", "/Library/VirtualFolders")
def delete_folder(request: Request) -> Any:
    setup_or_admin(request)
    _folder(request.query("name"))
    del state.data["folders"][request.query("name")]
    state.store.save()
    return Reply(204)


@app.route("POST", "/Library/VirtualFolders/Name")
def rename_folder(request: Request) -> Any:
    setup_or_admin(request)
    old, new = request.query("name"), request.query("newName")
    if not old or not new:
        raise Stop(400, ERROR)
    folder = _folder(old)
    if new in state.data["folders"]:
        raise Stop(409, f"The media library already exists at {new}.")
    del state.data["folders"][old]
    state.data["folders"][new] = folder
    state.store.save()
    return Reply(204)


@app.route("POST", "/Library/VirtualFolders/LibraryOptions")
def set_options(request: Request) -> Any:
    setup_or_admin(request)
    body = request.json() or {}
    for folder in state.data["folders"].values():
        if folder["id"] == str(body.get("Id", "")).replace("-", ""):
            folder["options"] = _options(body.get("LibraryOptions") or {})
            state.store.save()
            return Reply(204)
    raise Stop(404, ERROR)


@app.route("POST", "/Library/VirtualFolders/Paths")
def add_path(request: Request) -> Any:
    setup_or_admin(request)
    body = request.json() or {}
    path = (body.get("PathInfo") or {}).get("Path") or body.get("Path") or ""
    folder = _folder(str(body.get("Name") or ""))
    if not _exists(path):
        raise Stop(404, "The path does not exist.")
    if path not in [each["Path"] for each in folder["options"]["PathInfos"]]:
        folder["options"]["PathInfos"].append({"Path": path})
    state.store.save()
    return Reply(204)


@app.route("DELETE", "/Library/VirtualFolders/Paths")
def remove_path(request: Request) -> Any:
    setup_or_admin(request)
    folder = _folder(request.query("name"))
    infos = folder["options"]["PathInfos"]
    folder["options"]["PathInfos"] = [each for each in infos if each["Path"] != request.query("path")]
    state.store.save()
    return Reply(204)


@app.route("POST", "/Library/Refresh")
def refresh(request: Request) -> Any:
    admin(request)
    counts: dict[str, int] = {}
    for folder in state.data["folders"].values():
        for each in folder["options"]["PathInfos"]:
            files = [path for path in real_path(each["Path"]).rglob("*") if _is_media(path)]
            counts[folder["type"] or "mixed"] = counts.get(folder["type"] or "mixed", 0) + len(files)
    state.data["counts"] = counts
    state.store.save()
    return Reply(204)


def _is_media(path: Path) -> bool:
    return path.suffix.lower() in (".mkv", ".mp4", ".avi", ".mp3", ".flac", ".epub", ".jpg") and path.is_file()


@app.route("GET", "/Items/Counts")
def counts(request: Request) -> Any:
    signed_in(request)
    found = state.data.get("counts", {})
    return {
        "MovieCount": found.get("movies", 0),
        "EpisodeCount": found.get("tvshows", 0),
        "SongCount": found.get("music", 0),
        "BookCount": found.get("books", 0),
        "ItemCount": sum(found.values()),
    }


@app.route("GET", "/ScheduledTasks")
def tasks(request: Request) -> Any:
    admin(request)
    number = hashlib.md5(b"RefreshLibrary").hexdigest()
    return [{"Name": "Scan Media Library", "State": "Idle", "Id": number, "Key": "RefreshLibrary", "Triggers": [],
             "Category": "Library", "IsHidden": False}]  # fmt: skip


@app.route("POST", "/ScheduledTasks/Running/{id}")
def run_task(request: Request) -> Any:
    admin(request)
    if request.params["id"] != tasks(request)[0]["Id"]:
        raise Stop(404)
    return refresh(request)


def main() -> None:
    global state
    for path in ("/config", "/cache"):
        require_mount("jellyfin", path)
        require_writable("jellyfin", path)
    state = State()
    log(
        "jellyfin",
        f"runs as uid {os.getuid()}, wizard completed: {state.documents['system']['IsStartupWizardCompleted']}",
    )
    app.serve(state.documents["network"]["InternalHttpPort"], "jellyfin/jellyfin:" + VERSION)


if __name__ == "__main__":
    main()
