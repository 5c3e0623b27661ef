# SPDX-License-Identifier: MIT
"""A fake of Jellyfin 10.11's API (and of what 12.0 does otherwise), written from its source and documentation."""

from __future__ import annotations

import copy
from typing import Any

from ansible_collections.homelab.mediaserver.tests.unit.fakes.http_fake import Answer, HttpFake

LIBRARY_OPTIONS: dict[str, Any] = {
    "Enabled": True, "EnablePhotos": True, "EnableRealtimeMonitor": False, "PathInfos": [], "SaveLocalMetadata": False,
    "PreferredMetadataLanguage": "", "MetadataCountryCode": "", "AutomaticRefreshIntervalDays": 0,
    "SubtitleDownloadLanguages": None, "TypeOptions": [],
}  # fmt: skip
CONFIGURATION: dict[str, dict[str, Any]] = {
    "system": {"EnableMetrics": False, "ServerName": "", "UICulture": "en-US", "QuickConnectAvailable": True},
    "encoding": {"HardwareAccelerationType": "none", "VaapiDevice": "/dev/dri/renderD128", "QsvDevice": "",
                 "EnableTonemapping": False, "HardwareDecodingCodecs": ["h264", "vc1"], "EncodingThreadCount": -1},
    "network": {"BaseUrl": "", "KnownProxies": [], "EnableRemoteAccess": True, "LocalNetworkSubnets": []},
}  # fmt: skip


class JellyfinFake(HttpFake):
    harmless = frozenset({("POST", "/Users/AuthenticateByName")})

    def __init__(self, admin: tuple[str, str] | None = ("admin", "correct horse")) -> None:
        super().__init__()
        self.completed = admin is not None
        self.starting = False
        self.version_12 = False
        self.user: list[str] | None = list(admin) if admin else None
        self.keys: dict[str, str] = {}
        self.libraries: dict[str, dict[str, Any]] = {}
        self.configuration = copy.deepcopy(CONFIGURATION)
        self.metrics_served = False
        self.restarts = 0
        self.refreshes: list[str] = []
        self.startup_order: list[str] = []
        self.routes = [
            ("GET", "/System/Info/Public", self.public_info),
            ("POST", "/Startup/Configuration", self.languages),
            ("GET", "/Startup/User", self.first_user),
            ("POST", "/Startup/User", self.set_user),
            ("POST", "/Startup/RemoteAccess", lambda **_: self.page("RemoteAccess")),
            ("POST", "/Startup/Complete", self.complete),
            ("POST", "/Users/AuthenticateByName", self.login),
            (
                "GET",
                "/Auth/Keys",
                lambda **_: {"Items": [{"AppName": n, "AccessToken": t} for n, t in self.keys.items()]},
            ),
            ("POST", "/Auth/Keys", self.create_key),
            ("GET", "/Library/VirtualFolders", lambda **_: list(self.libraries.values())),
            ("POST", "/Library/VirtualFolders", self.create_library),
            ("DELETE", "/Library/VirtualFolders", self.remove_library),
            ("POST", "/Library/VirtualFolders/Paths", self.add_path),
            ("DELETE", "/Library/VirtualFolders/Paths", self.remove_path),
            ("POST", "/Library/VirtualFolders/LibraryOptions", self.set_options),
            ("GET", "/System/Configuration(?:/([a-z]+))?", self.get_configuration),
            ("POST", "/System/Configuration(?:/([a-z]+))?", self.set_configuration),
            ("GET", "/System/Info", lambda **_: {"HasPendingRestart": False}),
            ("POST", "/System/Restart", self.restart),
            ("GET", "/metrics", self.metrics),
        ]

    def error(self, status: int, text: str) -> Any:
        return {"type": "https://tools.ietf.org/html/rfc9110", "title": text, "status": status}

    def refuse(self, status: int, text: str) -> Answer:
        return Answer(status, self.error(status, text))

    def before(self, method: str, path: str) -> None:
        if self.starting:
            raise Answer(503, b"The server is currently starting up")
        if path in ("/System/Info/Public", "/Users/AuthenticateByName", "/metrics"):
            return
        if path.startswith("/Startup") and not self.completed:
            return
        if not any(
            f'Token="{token}"' in self.headers.get("authorization", "") for token in ("t0ken", *self.keys.values())
        ):
            raise Answer(401, b"")

    def page(self, name: str) -> Any:
        self.startup_order.append(name)
        return 204, None

    def public_info(self, **_: Any) -> Any:
        return {"Version": "10.11.11", "ServerName": "", "StartupWizardCompleted": self.completed}

    def languages(self, *, body: Any, **_: Any) -> Any:
        self.configuration["system"]["UICulture"] = body["UICulture"]
        return self.page("Configuration")

    def first_user(self, **_: Any) -> Any:
        self.user = self.user or ["root", ""]
        return {"Name": self.user[0], "Password": None}

    def set_user(self, *, body: Any, **_: Any) -> Any:
        if self.user is None:
            raise self.refuse(404, "Not Found")
        if not body.get("Password"):
            raise self.refuse(400, "Bad Request")
        if self.version_12 and self.user[1]:
            raise self.refuse(403, "Forbidden")
        self.user = [body["Name"], body["Password"]]
        return self.page("User")

    def complete(self, **_: Any) -> Any:
        self.completed = True
        return self.page("Complete")

    def login(self, *, body: Any, **_: Any) -> Any:
        if not self.headers.get("authorization", "").startswith("MediaBrowser Client="):
            raise Answer(400, b"Error processing request.")
        if [body["Username"], body["Pw"]] != self.user:
            raise Answer(401, b"Error processing request.")
        return {"AccessToken": "t0ken", "User": {"Name": body["Username"]}}

    def create_key(self, *, query: dict[str, str], **_: Any) -> Any:
        self.keys[query["app"]] = f"key-of-{query['app']}"
        return 204, None

    def create_library(self, *, body: Any, query: dict[str, str], **_: Any) -> Any:
        if query["name"] in self.libraries:
            raise self.refuse(400, "A media library with this name already exists")
        sent = {key: value for key, value in body["LibraryOptions"].items() if key in LIBRARY_OPTIONS}
        options = {**copy.deepcopy(LIBRARY_OPTIONS), **sent}
        self.libraries[query["name"]] = {
            "Name": query["name"],
            "ItemId": f"id-{len(self.libraries)}",
            "Locations": [entry["Path"] for entry in options["PathInfos"]],
            "LibraryOptions": options,
            **({"CollectionType": query["collectionType"]} if "collectionType" in query else {}),
        }
        self.refreshes += [query["name"]] if query.get("refreshLibrary") == "true" else []
        return 204, None

    def find(self, name: str) -> dict[str, Any]:
        if name not in self.libraries:
            raise self.refuse(404, "The media collection does not exist.")
        return self.libraries[name]

    def remove_library(self, *, query: dict[str, str], **_: Any) -> Any:
        self.find(query["name"])
        del self.libraries[query["name"]]
        return 204, None

    def add_path(self, *, body: Any, query: dict[str, str], **_: Any) -> Any:
        library = self.find(body["Name"])
        path = body["PathInfo"]["Path"]
        if path.startswith("/missing"):
            raise Answer(404, b"Error processing request.")
        library["Locations"].append(path)
        library["LibraryOptions"]["PathInfos"].append({"Path": path})
        self.refreshes += [body["Name"]] if query.get("refreshLibrary") == "true" else []
        return 204, None

    def remove_path(self, *, query: dict[str, str], **_: Any) -> Any:
        library = self.find(query["name"])
        library["Locations"].remove(query["path"])
        infos = library["LibraryOptions"]["PathInfos"]
        library["LibraryOptions"]["PathInfos"] = [entry for entry in infos if entry["Path"] != query["path"]]
        return 204, None

    def set_options(self, *, body: Any, **_: Any) -> Any:
        for library in self.libraries.values():
            if library["ItemId"] == body["Id"]:
                sent = {key: value for key, value in body["LibraryOptions"].items() if key in LIBRARY_OPTIONS}
                library["LibraryOptions"] = {**copy.deepcopy(LIBRARY_OPTIONS), **sent}  # what is not sent is reset
                library["Locations"] = [entry["Path"] for entry in library["LibraryOptions"]["PathInfos"]]
                return 204, None
        raise self.refuse(404, "Not Found")

    def get_configuration(self, name: str | None, **_: Any) -> Any:
        if (name or "system") not in self.configuration:
            raise self.refuse(404, "Not Found")
        return self.configuration[name or "system"]

    def set_configuration(self, name: str | None, *, body: Any, **_: Any) -> Any:
        former = CONFIGURATION[name or "system"]
        if isinstance(body.get("EncodingThreadCount", 0), str):
            raise Answer(
                400,
                {
                    "title": "One or more validation errors occurred.",
                    "errors": {"$.EncodingThreadCount": ["not a number"]},
                },
            )
        self.configuration[name or "system"] = {key: body.get(key) for key in former}  # not sent = reset
        return 204, None

    def restart(self, **_: Any) -> Any:
        self.restarts += 1
        self.metrics_served = self.configuration["system"]["EnableMetrics"]
        return 204, None

    def metrics(self, **_: Any) -> Any:
        if not self.metrics_served:
            raise Answer(404, b"")
        return b"# HELP process_cpu_seconds_total\n"
