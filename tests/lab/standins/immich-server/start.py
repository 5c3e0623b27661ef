# SPDX-License-Identifier: MIT
"""Stand-in for ghcr.io/immich-app/immich-server:v3.1.0: environment, folders, database, Redis, then the API on 2283."""

from __future__ import annotations

import http.server
import json
import os
import threading
import time
import urllib.parse
from pathlib import Path
from typing import Any

import api
import assets
import jobs
import libraries
import people
import redis
import system
from config_document import check, defaults, merge, unknown
from database import NAME
from standin import fatal, log, mounted, real_path, require_writable

FOLDERS = ["encoded-video", "library", "upload", "profile", "thumbs", "backups"]


def setting(variable: str, default: str | None = None) -> str | None:
    """A file wins over the variable, as in the image's start script."""
    file = os.environ.get(variable + "_FILE")
    try:
        return Path(file).read_text().rstrip("\r\n") if file else os.environ.get(variable) or default
    except OSError as error:
        fatal(NAME, f"{variable}_FILE: cannot read {file} as uid {os.getuid()}: {error.strerror}")


def database_settings() -> dict[str, Any]:
    if url := setting("DB_URL"):
        parts = urllib.parse.urlsplit(url)
        return {
            "host": parts.hostname or "database", "port": parts.port or 5432, "database": parts.path.lstrip("/"),
            "user": urllib.parse.unquote(parts.username or ""), "password": urllib.parse.unquote(parts.password or ""),
        }  # fmt: skip
    return {
        "host": setting("DB_HOSTNAME", "database"), "port": int(setting("DB_PORT", "5432") or 0),
        "user": setting("DB_USERNAME", "postgres"), "password": setting("DB_PASSWORD", "postgres"),
        "database": setting("DB_DATABASE_NAME", "immich"),
    }  # fmt: skip


def find_media_folder() -> str:
    given = os.environ.get("IMMICH_MEDIA_LOCATION")
    for path in [given] if given else ["/data", "/usr/src/app/upload"]:
        if mounted(path):
            return path
    return fatal(NAME, f"{given or '/data'} is not mounted: everything uploaded would be lost with the container")


def check_folders(folder: str) -> None:
    """Each folder carries a marker; once written, a folder without it means a missing mount or a partial restore."""
    require_writable(NAME, folder)
    flags = system.metadata("system-flags").get("mountChecks", {})
    ignore = os.environ.get("IMMICH_IGNORE_MOUNT_CHECK_ERRORS") == "true"
    for name in FOLDERS:
        marker = real_path(f"{folder}/{name}/.immich")
        try:
            if flags.get(name) and not marker.exists():
                raise FileNotFoundError(2, "No such file or directory")
            marker.parent.mkdir(exist_ok=True)
            marker.write_text(str(int(time.time() * 1000)))
        except OSError as error:
            verb = "read" if flags.get(name) else "write"
            text = f'Failed to {verb} "<UPLOAD_LOCATION>/{name}/.immich": {error.strerror}'
            if not ignore:
                fatal(NAME, f"Failed to validate folder mount: {text}")
            log(NAME, text)
        flags[name] = True
    system.set_metadata("system-flags", {"mountChecks": flags})


def read_config_file() -> None:
    name = os.environ.get("IMMICH_CONFIG_FILE")
    if not name:
        return
    try:
        text = Path(name).read_text()
    except OSError as error:
        fatal(NAME, f"Unable to load configuration file: {name}: {error.strerror}")
    try:
        given = json.loads(text)
    except ValueError:
        import yaml

        given = yaml.safe_load(text)
    for key in unknown(given, defaults()):
        log(NAME, f"Unknown keys found: {key}")
    system.from_file = given
    for problem in check(merge(defaults(), given), defaults())[1]:
        log(NAME, f"Invalid configuration in {name}: {'.'.join(problem['path'])}: {problem['message']}: worker stopped")
        jobs.state["working"] = False


def wait_for_redis() -> None:
    redis.settings.update(
        host=setting("REDIS_HOSTNAME", "redis"), port=int(setting("REDIS_PORT", "6379") or 0),
        username=setting("REDIS_USERNAME"), password=setting("REDIS_PASSWORD"),
    )  # fmt: skip
    for left in range(10, -1, -1):
        try:
            redis.ping()
            return
        except redis.Unreachable as error:
            if not left:
                fatal(NAME, f"Redis: {error}")
            log(NAME, f"waiting for Redis: {error}")
            time.sleep(1)


class Metrics(http.server.BaseHTTPRequestHandler):
    """What the real server tells Prometheus on ports of its own, in a few words."""

    def do_GET(self) -> None:
        body = b"# TYPE immich_users_total gauge\nimmich_users_total 1\n" if self.path == "/metrics" else b""
        self.send_response(200 if body else 404)
        self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: object) -> None:
        return


def serve_metrics() -> None:
    """One port for the API, one for the jobs, and none unless asked for."""
    if not os.environ.get("IMMICH_TELEMETRY_INCLUDE"):
        return
    for variable, port in (("IMMICH_API_METRICS_PORT", "8081"), ("IMMICH_MICROSERVICES_METRICS_PORT", "8082")):
        server = http.server.ThreadingHTTPServer(("", int(os.environ.get(variable, port))), Metrics)
        threading.Thread(target=server.serve_forever, daemon=True).start()


def main() -> None:
    folder = find_media_folder()
    assets.media_folder = jobs.media_folder = libraries.media_folder = system.media_folder = folder
    api.database.settings = database_settings()
    api.database.bootstrap()
    wait_for_redis()
    check_folders(folder)
    read_config_file()
    people.allow_setup = os.environ.get("IMMICH_ALLOW_SETUP", "true").lower() != "false"
    system.log_level = os.environ.get("IMMICH_LOG_LEVEL", "")
    system.note_version()
    threading.Thread(target=jobs.run, daemon=True).start()
    serve_metrics()
    log(NAME, f"media in {folder}, runs as uid {os.getuid()}")
    api.app.serve(int(os.environ.get("IMMICH_PORT", "2283")), "ghcr.io/immich-app/immich-server:v3.1.0")


if __name__ == "__main__":
    main()
