# SPDX-License-Identifier: MIT
"""Stand-in for grafana/grafana:12.2.0: provisioning, basic authentication, search, dashboards, data sources."""

from __future__ import annotations

import base64
import hashlib
import os
import re
import secrets
import time
from pathlib import Path
from typing import Any

import datasource
import provisioning
from standin import App, Reply, Request, Stop, Store, fatal, log, real_path, require_mount, require_writable

NAME, VERSION = "grafana", "12.2.0"
app = App(NAME)
app.missing = lambda request: Reply(404, {"message": "Not found"})


class State:
    def __init__(self, folder: Path, store: Store) -> None:
        self.folder, self.store = folder, store
        self.read_at = 0.0
        self.problems: list[str] = []
        self.logged: set[str] = set()
        self.sources: dict[str, dict[str, Any]] = provisioning.datasources(folder / "datasources", self.problems)
        self.dashboards: dict[str, dict[str, Any]] = {}
        self.refresh()

    def refresh(self) -> None:
        """Data sources are read at the start only, dashboards again and again."""
        if time.monotonic() - self.read_at < 1 and self.read_at:
            return
        self.read_at = time.monotonic()
        problems: list[str] = []
        provisioning.documents(self.folder / "datasources", problems)
        prefix = os.environ.get("LAB_TEST_ROOT", "")
        self.dashboards = provisioning.dashboards(self.folder / "dashboards", self.sources, problems, prefix)
        unknown = [each for each in self.problems if each not in problems]
        for problem in [*unknown, *problems]:
            if problem not in self.logged:
                log(NAME, f'level=error logger=provisioning msg="{problem}"')
                self.logged.add(problem)
        self.current = [*unknown, *problems]


state: State


def scramble(password: str, salt: str) -> str:
    return hashlib.pbkdf2_hmac("sha256", password.encode(), salt.encode(), 5000).hex()


def signed_in(request: Request, viewer: bool = False) -> None:
    state.refresh()
    header = request.headers.get("Authorization", "")
    if viewer and not header and os.environ.get("GF_AUTH_ANONYMOUS_ENABLED", "").lower() == "true":
        return
    cookie = re.search(r"grafana_session=(\w+)", request.headers.get("Cookie", ""))
    if cookie and cookie[1] in state.store.data["sessions"]:
        return
    if not header.startswith("Basic "):
        raise Stop(401, {"message": "Unauthorized", "messageId": "auth.unauthorized", "statusCode": 401})
    user, _, password = base64.b64decode(header[6:]).decode(errors="replace").partition(":")
    if not right(user, password):
        answer = {"message": "Invalid username or password", "messageId": "password-auth.failed", "statusCode": 401}
        raise Stop(401, answer)


def right(user: str, password: str) -> bool:
    data = state.store.data
    return user == data["user"] and secrets.compare_digest(scramble(password, data["salt"]), data["hash"])


@app.route("GET", "/api/health", locked=False)
def health(request: Request) -> Any:
    return {"database": "ok", "version": VERSION, "commit": "stand-in"}


@app.route("GET", "/metrics", locked=False)
def metrics(request: Request) -> Any:
    text = f"# TYPE grafana_stat_totals_dashboard gauge\ngrafana_stat_totals_dashboard {len(state.dashboards)}\n"
    return Reply(200, text, {"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})


@app.route("GET", "/")
def root(request: Request) -> Any:
    return Reply(302, None, {"Location": "/login"})


@app.route("GET", "/login")
def login_page(request: Request) -> Any:
    return Reply(200, "<html><title>Grafana (stand-in)</title></html>", {"Content-Type": "text/html"})


@app.route("POST", "/login")
def login(request: Request) -> Any:
    body = request.json() or {}
    if not right(str(body.get("user", "")), str(body.get("password", ""))):
        raise Stop(401, {"message": "Invalid username or password", "messageId": "password-auth.failed"})
    token = secrets.token_hex(16)
    state.store.data["sessions"].append(token)
    state.store.save()
    cookie = f"grafana_session={token}; Path=/; HttpOnly; SameSite=Lax"
    return Reply(200, {"message": "Logged in", "redirectUrl": "/"}, {"Set-Cookie": cookie})


@app.route("GET", "/api/user")
def user(request: Request) -> Any:
    signed_in(request)
    return {"id": 1, "login": state.store.data["user"], "isGrafanaAdmin": True, "orgId": 1}


@app.route("PUT", "/api/user/password")
def set_password(request: Request) -> Any:
    signed_in(request)
    body = request.json() or {}
    if not right(state.store.data["user"], str(body.get("oldPassword", ""))):
        raise Stop(401, {"message": "Invalid old password"})
    state.store.data["hash"] = scramble(str(body.get("newPassword", "")), state.store.data["salt"])
    state.store.save()
    return {"message": "User password changed"}


@app.route("GET", "/api/org")
def organisation(request: Request) -> Any:
    signed_in(request, viewer=True)
    return {"id": 1, "name": "Main Org."}


@app.route("GET", "/api/stand-in/problems")
def problems(request: Request) -> Any:
    """Not Grafana's: what provisioning found wrong, for the lab's tests."""
    signed_in(request)
    return state.current


# --- dashboards


def slug(title: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")


def folder_uid(title: str) -> str:
    return hashlib.sha256(title.encode()).hexdigest()[:14] if title else ""


@app.route("GET", "/api/search")
def search(request: Request) -> Any:
    signed_in(request, viewer=True)
    kind, text, tags = request.query("type"), request.query("query").lower(), request.queries.get("tag", [])
    rows: list[dict[str, Any]] = []
    if kind in ("", "dash-folder") and not tags:
        for title in sorted({each["folder"] for each in state.dashboards.values() if each["folder"]}):
            rows.append({"uid": folder_uid(title), "title": title, "type": "dash-folder", "tags": []})
    if kind in ("", "dash-db"):
        for each in sorted(state.dashboards.values(), key=lambda each: each["title"]):
            rows.append({
                "uid": each["uid"], "title": each["title"], "type": "dash-db", "uri": "db/" + slug(each["title"]),
                "url": f"/d/{each['uid']}/{slug(each['title'])}", "tags": each["dashboard"].get("tags") or [],
                "isStarred": False, "folderTitle": each["folder"], "folderUid": folder_uid(each["folder"]),
            })  # fmt: skip
    return [row for row in rows if text in row["title"].lower() and set(tags) <= set(row["tags"])]


@app.route("GET", "/api/dashboards/uid/{uid}")
def dashboard(request: Request) -> Any:
    signed_in(request, viewer=True)
    found = state.dashboards.get(request.params["uid"])
    if not found:
        raise Stop(404, {"message": "Dashboard not found", "messageId": "dashboards.not-found"})
    meta = {"type": "db", "canSave": False, "provisioned": True, "provisionedExternalId": Path(found["file"]).name,
            "slug": slug(found["title"]), "url": f"/d/{found['uid']}/{slug(found['title'])}",
            "folderTitle": found["folder"], "folderUid": folder_uid(found["folder"])}  # fmt: skip
    return {"meta": meta, "dashboard": found["dashboard"]}


@app.route("GET", "/api/folders")
def folders(request: Request) -> Any:
    signed_in(request, viewer=True)
    titles = sorted({each["folder"] for each in state.dashboards.values() if each["folder"]})
    return [{"uid": folder_uid(title), "title": title} for title in titles]


# --- data sources


def source(request: Request) -> dict[str, Any]:
    signed_in(request)
    for each in state.sources.values():
        if request.params.get("uid") == each["uid"] or request.params.get("name") == each["name"]:
            return each
    raise Stop(404, {"message": "Data source not found", "messageId": "datasources.notFound"})


@app.route("GET", "/api/datasources")
def sources(request: Request) -> Any:
    signed_in(request)
    return sorted(state.sources.values(), key=lambda each: each["name"])


@app.route("GET", "/api/datasources/(uid/{uid}|name/{name})")
def get_source(request: Request) -> Any:
    return source(request)


@app.route("PUT", "/api/datasources/uid/{uid}")
@app.route("DELETE", "/api/datasources/uid/{uid}")
def read_only(request: Request) -> Any:
    source(request)
    verb = "update" if request.method == "PUT" else "delete"
    return Reply(403, {"message": f"Cannot {verb} read-only data source"})


@app.route("GET", "/api/datasources/uid/{uid}/health")
def source_health(request: Request) -> Any:
    return Reply(*datasource.health(source(request)))


@app.route("*", "/api/datasources/proxy/uid/{uid}/{rest*}", locked=False)
def proxy(request: Request) -> Any:
    found = source(request)
    path = "/" + request.params["rest"] + ("?" + request.query_string if request.query_string else "")
    try:
        status, content, kind = datasource.ask(found, path, request.method, request.body or None)
    except OSError as error:
        return Reply(502, {"message": f"Bad Gateway: {error}"})
    return Reply(status, content, {"Content-Type": kind or "application/octet-stream"})


@app.route("POST", "/api/ds/query", locked=False)
def query(request: Request) -> Any:
    signed_in(request, viewer=True)
    results = {}
    for each in (request.json() or {}).get("queries", []):
        found = state.sources.get((each.get("datasource") or {}).get("uid", ""))
        if not found:
            raise Stop(404, {"message": "Data source not found"})
        results[each.get("refId", "A")] = datasource.query(found, each.get("expr", ""))
    return Reply(200 if all(each["status"] == 200 for each in results.values()) else 400, {"results": results})


# --- start


def expand_files() -> None:
    """GF_X__FILE, as in the image's start script."""
    for variable in [name for name in os.environ if re.fullmatch(r"GF_\w+__FILE", name)]:
        plain = variable.removesuffix("__FILE")
        if os.environ.get(plain):
            fatal(NAME, f"ERROR: Both {plain} and {variable} are set (but are exclusive)")
        try:
            os.environ[plain] = Path(os.environ[variable]).read_text().rstrip("\r\n")
        except OSError as error:
            fatal(NAME, f"{variable}: cannot read {os.environ[variable]} as uid {os.getuid()}: {error.strerror}")


def main() -> None:
    global state
    expand_files()
    data = os.environ.get("GF_PATHS_DATA", "/var/lib/grafana")
    require_mount(NAME, data)
    require_writable(NAME, data)
    salt = secrets.token_hex(8)
    password = os.environ.get("GF_SECURITY_ADMIN_PASSWORD", "admin")
    first = {"user": os.environ.get("GF_SECURITY_ADMIN_USER", "admin"), "salt": salt, "hash": scramble(password, salt),
             "sessions": []}  # fmt: skip
    store = Store(real_path(data) / "stand-in.json", first)
    if not store.path.exists():
        store.save()
    elif not secrets.compare_digest(scramble(password, store.data["salt"]), store.data["hash"]):
        log(NAME, "the administrator's password is only taken from the environment on the first start: ignored")
    try:
        state = State(real_path(os.environ.get("GF_PATHS_PROVISIONING", "/etc/grafana/provisioning")), store)
    except provisioning.Fatal as error:
        fatal(NAME, str(error))
    log(NAME, f"{len(state.sources)} data sources, {len(state.dashboards)} dashboards provisioned")
    app.serve(int(os.environ.get("GF_SERVER_HTTP_PORT", "3000")), f"grafana/grafana:{VERSION}")


if __name__ == "__main__":
    main()
