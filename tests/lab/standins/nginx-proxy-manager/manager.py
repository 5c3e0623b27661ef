# SPDX-License-Identifier: MIT
"""Stand-in for jc21/nginx-proxy-manager:2.15.1: its API on port 81, a real nginx on 80 and 443.

Longer than the soft size: one file holds the whole API beside the facts it was written from.
Choices where the facts are silent: no token is 403, a bad token 400; a failed Let's Encrypt request is 500 and leaves
no row.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import re
import secrets
import shutil
import time
from datetime import UTC, datetime
from typing import Any

import schema
from certificates import NotValid, check_key, describe, password_hash
from engine import NAME, Engine
from standin import App, Reply, Request, Stop, Store, fatal, log, real_path, require_mount, require_writable

DAY = 86400
app = App(NAME)
app.missing = lambda request: error(404, "Not Found")
app.failure = lambda request, problem: _problem(problem)
store: Store
engine: Engine
HOST_DEFAULTS: dict[str, Any] = {
    "forward_scheme": "http", "certificate_id": 0, "ssl_forced": False, "hsts_enabled": False, "hsts_subdomains": False,
    "http2_support": False, "block_exploits": False, "caching_enabled": False, "allow_websocket_upgrade": False,
    "access_list_id": 0, "advanced_config": "", "enabled": True, "meta": {}, "locations": [],
}  # fmt: skip


def error(status: int, message: str) -> Reply:
    return Reply(status, {"error": {"code": status, "message": message}})


def refuse(status: int, message: str) -> Stop:
    return Stop(status, {"error": {"code": status, "message": message}})


def _problem(problem: Exception) -> Reply:
    if isinstance(problem, (schema.Invalid, NotValid, json.JSONDecodeError)):
        return error(400, str(problem))
    return error(500, "Internal Error")


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S")


def table(name: str) -> list[dict[str, Any]]:
    return store.data[name]


def new_row(name: str, owner: int, values: dict[str, Any]) -> dict[str, Any]:
    store.data["last"][name] = store.data["last"].get(name, 0) + 1
    row = {"id": store.data["last"][name], "created_on": now(), "modified_on": now(), "owner_user_id": owner} | values
    table(name).append(row)
    store.save()
    return row


def find(name: str, request: Request) -> dict[str, Any]:
    for row in table(name):
        if str(row["id"]) == request.params["id"]:
            return row
    raise refuse(404, f"Not Found - {request.params['id']}")


# --- users and tokens ------------------------------------------------------------------------------------------------


def sign(user: int) -> dict[str, str]:
    end = int(time.time()) + DAY
    payload = base64.urlsafe_b64encode(json.dumps({"id": user, "exp": end}).encode()).decode()
    mark = hmac.new(store.data["key"].encode(), payload.encode(), hashlib.sha256).hexdigest()
    stamp = datetime.fromtimestamp(end, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
    return {"token": f"{payload}.{mark}", "expires": stamp}


def signed_in(request: Request) -> dict[str, Any]:
    header = request.headers.get("Authorization", "")
    if not header.startswith("Bearer "):
        raise refuse(403, "Permission Denied")
    payload, _, mark = header[7:].partition(".")
    good = hmac.new(store.data["key"].encode(), payload.encode(), hashlib.sha256).hexdigest()
    if not hmac.compare_digest(good, mark):
        raise refuse(400, "Invalid token")
    content = json.loads(base64.urlsafe_b64decode(payload))
    if content["exp"] < time.time():
        raise refuse(400, "Token has expired")
    for user in table("users"):
        if user["id"] == content["id"] and not user["is_disabled"]:
            return user
    raise refuse(403, "Permission Denied")


def scramble(password: str, salt: str) -> str:
    return hashlib.pbkdf2_hmac("sha256", password.encode(), salt.encode(), 5000).hex()


def add_user(body: dict[str, Any], first: bool) -> dict[str, Any]:
    given = schema.validate(body, schema.USER, ["name", "nickname", "email"])
    auth = given.pop("auth", None)
    if first and not (auth and auth.get("secret")):
        raise refuse(400, "data must have required property 'auth'")
    if auth and (auth.get("type") != "password" or len(str(auth.get("secret", ""))) < 8):
        raise refuse(400, "data/auth/secret must NOT have fewer than 8 characters")
    if any(user["email"].lower() == given["email"].lower() for user in table("users")):
        raise refuse(400, f"Email address already in use - {given['email']}")
    salt = secrets.token_hex(8)
    roles = ["admin"] if first else given.get("roles", [])
    values = {"is_disabled": False, "avatar": ""} | given | {"roles": roles, "email": given["email"].lower()}
    row = new_row("users", 0, values | {"salt": salt, "hash": scramble(auth["secret"], salt) if auth else ""})
    return shown_user(row)


def shown_user(user: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in user.items() if key not in ("salt", "hash", "owner_user_id")}


@app.route("GET", "/api", locked=False)
def health(request: Request) -> Any:
    version = {"major": 2, "minor": 15, "revision": 1}
    return {"status": "OK", "setup": bool(table("users")), "version": version}


@app.route("GET", "/")
def page(request: Request) -> Any:
    return Reply(200, "<html><title>Nginx Proxy Manager (stand-in)</title></html>", {"Content-Type": "text/html"})


@app.route("POST", "/api/users")
def create_user(request: Request) -> Any:
    if not table("users"):
        return Reply(201, add_user(request.json(), True))
    if not request.headers.get("Authorization"):
        raise refuse(404, "Not Found")
    if "admin" not in signed_in(request)["roles"]:
        raise refuse(403, "Permission Denied")
    return Reply(201, add_user(request.json(), False))


@app.route("GET", "/api/users")
def users(request: Request) -> Any:
    signed_in(request)
    return [shown_user(user) for user in table("users")]


@app.route("GET", "/api/users/me")
def me(request: Request) -> Any:
    return shown_user(signed_in(request))


@app.route("PUT", "/api/users/{id}/auth")
def set_password(request: Request) -> Any:
    asking = signed_in(request)
    body = request.json() or {}
    user = asking if request.params["id"] == "me" else find("users", request)
    own = user["id"] == asking["id"]
    if own and user["hash"] != scramble(str(body.get("current", "")), user["salt"]):
        raise refuse(400, "Current password is not valid")
    if len(str(body.get("secret", ""))) < 8:
        raise refuse(400, "data/secret must NOT have fewer than 8 characters")
    user["hash"] = scramble(body["secret"], user["salt"])
    store.save()
    return True


@app.route("DELETE", "/api/users/{id}")
def delete_user(request: Request) -> Any:
    asking, user = signed_in(request), find("users", request)
    if user["id"] == asking["id"]:
        raise refuse(403, "You cannot delete yourself.")
    table("users").remove(user)
    store.save()
    return True


@app.route("POST", "/api/tokens")
def login(request: Request) -> Any:
    body = request.json()
    if not isinstance(body, dict) or not body.get("identity") or not body.get("secret"):
        raise refuse(400, "data must have required property 'identity'")
    for user in table("users"):
        right = user["hash"] == scramble(str(body["secret"]), user["salt"])
        if user["email"] == str(body["identity"]).lower() and right and not user["is_disabled"]:
            return sign(user["id"])
    answer = {"code": 400, "message": "Invalid email or password", "message_i18n": "error.invalid-auth"}
    raise Stop(400, {"error": answer})


@app.route("GET", "/api/tokens")
def renew(request: Request) -> Any:
    return sign(signed_in(request)["id"])


# --- proxy hosts -----------------------------------------------------------------------------------------------------


def shown_host(host: dict[str, Any], request: Request) -> dict[str, Any]:
    wanted = [each for each in request.query("expand").split(",") if each]
    more: dict[str, Any] = {}
    if "owner" in wanted:
        more["owner"] = next((shown_user(user) for user in table("users") if user["id"] == host["owner_user_id"]), None)
    if "certificate" in wanted:
        found = [row for row in table("certificates") if row["id"] == host["certificate_id"]]
        more["certificate"] = shown_certificate(found[0]) if found else None
    if "access_list" in wanted:
        found = [row for row in table("access_lists") if row["id"] == host["access_list_id"]]
        more["access_list"] = shown_list(found[0], []) if found else None
    return host | more


def load(host: dict[str, Any]) -> None:
    """Into nginx; `meta` says how it went. Broken (500) leaves the row as it is."""
    access = next((row for row in table("access_lists") if row["id"] == host["access_list_id"]), None)
    certificate = next((row for row in table("certificates") if row["id"] == host["certificate_id"]), None)
    host["meta"] = engine.configure(host, access, certificate["provider"] if certificate else "other")
    store.save()


def clean(host: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """What depends on what: no certificate, no forced TLS; no forced TLS, no HSTS."""
    merged = host | given
    merged["domain_names"] = sorted(merged["domain_names"])
    if merged["certificate_id"] == "new":
        owner = host.get("owner_user_id", 1)
        merged["certificate_id"] = request_certificate(owner, {"domain_names": merged["domain_names"]})["id"]
    if not merged["certificate_id"]:
        merged["ssl_forced"] = merged["http2_support"] = False
    if not merged["ssl_forced"]:
        merged["hsts_enabled"] = False
    if not merged["hsts_enabled"]:
        merged["hsts_subdomains"] = False
    return merged


def names_are_free(names: list[str], except_id: int | None) -> None:
    taken = {name.lower() for row in table("proxy_hosts") if row["id"] != except_id for name in row["domain_names"]}
    for name in names:
        if name.lower() in taken:
            raise refuse(400, f"{name} is already in use")


@app.route("GET", "/api/nginx/proxy-hosts")
def hosts(request: Request) -> Any:
    signed_in(request)
    rows = sorted(table("proxy_hosts"), key=lambda row: row["domain_names"])
    query = request.query("query").lower()
    return [shown_host(row, request) for row in rows if any(query in name.lower() for name in row["domain_names"])]


@app.route("POST", "/api/nginx/proxy-hosts")
def create_host(request: Request) -> Any:
    owner = signed_in(request)["id"]
    required = ["domain_names", "forward_scheme", "forward_host", "forward_port"]
    given = schema.validate(request.json(), schema.PROXY_HOST, required)
    names_are_free(given["domain_names"], None)
    row = new_row(
        "proxy_hosts", owner, clean({**HOST_DEFAULTS, "owner_user_id": owner}, given) | {"owner_user_id": owner}
    )
    before = json.loads(json.dumps(shown_host(row, request)))
    load(row)
    return Reply(201, before)


@app.route("GET", "/api/nginx/proxy-hosts/{id}")
def host(request: Request) -> Any:
    signed_in(request)
    return shown_host(find("proxy_hosts", request), request)


@app.route("PUT", "/api/nginx/proxy-hosts/{id}")
def update_host(request: Request) -> Any:
    signed_in(request)
    row = find("proxy_hosts", request)
    given = schema.validate(request.json(), schema.PROXY_HOST, [])
    if "domain_names" in given:
        names_are_free(given["domain_names"], row["id"])
    row.update(clean(row, given) | {"modified_on": now()})
    store.save()
    load(row)
    return shown_host(row, request)


@app.route("DELETE", "/api/nginx/proxy-hosts/{id}")
def delete_host(request: Request) -> Any:
    signed_in(request)
    row = find("proxy_hosts", request)
    table("proxy_hosts").remove(row)
    store.save()
    engine.remove(row)
    return True


@app.route("POST", "/api/nginx/proxy-hosts/{id}/(?P<verb>enable|disable)")
def switch_host(request: Request) -> Any:
    signed_in(request)
    row, wanted = find("proxy_hosts", request), request.params["verb"] == "enable"
    if row["enabled"] == wanted:
        raise refuse(400, f"Host is already {request.params['verb']}d")
    row.update(enabled=wanted, modified_on=now())
    store.save()
    if wanted:
        load(row)
    else:
        engine.remove(row)
    return True


@app.route("GET", "/api/nginx/(redirection-hosts|dead-hosts|streams)")
def nothing(request: Request) -> Any:
    signed_in(request)
    return []


@app.route("GET", "/api/reports/hosts")
def report(request: Request) -> Any:
    signed_in(request)
    return {"proxy": len(table("proxy_hosts")), "redirection": 0, "stream": 0, "dead": 0}


# --- certificates ----------------------------------------------------------------------------------------------------


def shown_certificate(row: dict[str, Any]) -> dict[str, Any]:
    hidden = ("certificate", "certificate_key", "intermediate_certificate")
    return row | {"meta": {key: value for key, value in row["meta"].items() if key not in hidden}}


def request_certificate(owner: int, given: dict[str, Any]) -> dict[str, Any]:
    """Let's Encrypt cannot be reached from the lab: certbot fails, the row goes away again."""
    if not given.get("domain_names"):
        raise refuse(400, "data/domain_names must NOT have fewer than 1 items")
    time.sleep(float(os.environ.get("LAB_TEST_CERTBOT", "2")))
    log(NAME, f"certbot for {', '.join(given['domain_names'])}: Some challenges have failed (stand-in: always)")
    raise Stop(500, {
        "error": {"code": 500, "message": "Internal Error"},
        "debug": {"stack": ["CommandError: Saving debug log to /tmp/letsencrypt-log/letsencrypt.log",
                            "An unexpected error occurred: Failed to resolve 'acme-v02.api.letsencrypt.org'"],
                  "previous": None},
    })  # fmt: skip


@app.route("GET", "/api/nginx/certificates")
def certificates(request: Request) -> Any:
    signed_in(request)
    return [shown_certificate(row) for row in sorted(table("certificates"), key=lambda row: row["nice_name"])]


@app.route("POST", "/api/nginx/certificates")
def create_certificate(request: Request) -> Any:
    owner = signed_in(request)["id"]
    given = schema.validate(request.json(), schema.CERTIFICATE, ["provider"])
    if given["provider"] == "letsencrypt":
        return Reply(201, request_certificate(owner, given))
    if not given.get("nice_name"):
        raise refuse(400, "data must have required property 'nice_name'")
    values = {"provider": "other", "nice_name": given["nice_name"], "domain_names": given.get("domain_names", [])}
    row = new_row("certificates", owner, values | {"expires_on": now(), "meta": given.get("meta", {})})
    return Reply(201, shown_certificate(row))


@app.route("GET", "/api/nginx/certificates/{id}")
def certificate(request: Request) -> Any:
    signed_in(request)
    return shown_certificate(find("certificates", request))


@app.route("DELETE", "/api/nginx/certificates/{id}")
def delete_certificate(request: Request) -> Any:
    signed_in(request)
    row = find("certificates", request)
    table("certificates").remove(row)
    store.save()
    shutil.rmtree(engine.data / "custom_ssl" / f"npm-{row['id']}", ignore_errors=True)
    return True


def uploaded(request: Request) -> tuple[dict[str, bytes], list[str], datetime]:
    try:
        parts = {name: content for name, (_, content) in request.parts().items()}
    except ValueError as problem:
        raise refuse(400, "No files were uploaded") from problem
    if not parts.get("certificate") or not parts.get("certificate_key"):
        raise refuse(400, "certificate and certificate_key are required")
    names, end, public = describe(parts["certificate"])
    if check_key(parts["certificate_key"]) != public:
        raise refuse(400, "Certificate Key does not belong to the certificate")
    return parts, names, end


@app.route("POST", "/api/nginx/certificates/validate")
def validate_certificate(request: Request) -> Any:
    signed_in(request)
    _, names, end = uploaded(request)
    dates = {"from": 0, "to": int(end.replace(tzinfo=UTC).timestamp())}
    return {"certificate": {"cn": names[0] if names else "", "dates": dates}, "certificate_key": True}


@app.route("POST", "/api/nginx/certificates/{id}/upload")
def upload_certificate(request: Request) -> Any:
    signed_in(request)
    row = find("certificates", request)
    if row["provider"] != "other":
        raise refuse(400, "Cannot upload certificates for this type of provider")
    parts, names, end = uploaded(request)
    folder = engine.data / "custom_ssl" / f"npm-{row['id']}"
    folder.mkdir(parents=True, exist_ok=True)
    chain = parts["certificate"].rstrip() + b"\n" + parts.get("intermediate_certificate", b"")
    (folder / "fullchain.pem").write_bytes(chain)
    (folder / "privkey.pem").touch(mode=0o600)
    (folder / "privkey.pem").write_bytes(parts["certificate_key"])
    row.update(domain_names=names, expires_on=end.strftime("%Y-%m-%d %H:%M:%S"), modified_on=now())
    store.save()
    if any(host["certificate_id"] == row["id"] for host in table("proxy_hosts")):
        engine.reload()
    return {name: content.decode() for name, content in parts.items() if name != "certificate_key"}


# --- access lists ----------------------------------------------------------------------------------------------------


def shown_list(row: dict[str, Any], expand: list[str]) -> dict[str, Any]:
    answer = {key: value for key, value in row.items() if key not in ("items", "clients")}
    answer["proxy_host_count"] = sum(host["access_list_id"] == row["id"] for host in table("proxy_hosts"))
    if "items" in expand:
        keep = ("id", "username", "password", "hint", "meta")
        answer["items"] = [{key: each[key] for key in keep} for each in row["items"]]
    if "clients" in expand:
        answer["clients"] = row["clients"]
    return answer


def store_list(row: dict[str, Any], given: dict[str, Any]) -> None:
    """Passwords are kept only as hashes; an empty one keeps what there was."""
    if "items" in given:
        before = {each["username"]: each for each in row["items"]}
        row["items"] = []
        for index, each in enumerate(given["items"], 1):
            password = each.get("password", "")
            old = before.get(each["username"])
            if not password and not old:
                raise refuse(400, f"data/items/{index - 1}/password must NOT have fewer than 1 characters")
            new = (
                {"hint": password[:1] + "*" * (len(password) - 1), "hash": password_hash(password)} if password else old
            )
            assert new
            row["items"].append({"id": index, "username": each["username"], "password": "", "meta": {},
                                 "hint": new["hint"], "hash": new["hash"]})  # fmt: skip
    if "clients" in given:
        row["clients"] = [{"id": index, "meta": {}} | each for index, each in enumerate(given["clients"], 1)]
    row.update({key: value for key, value in given.items() if key not in ("items", "clients")})
    file = engine.data / "access" / str(row["id"])
    file.write_text("".join(f"{each['username']}:{each['hash']}\n" for each in row["items"]))
    store.save()
    for host in table("proxy_hosts"):
        if host["access_list_id"] == row["id"] and host["enabled"]:
            load(host)


@app.route("GET", "/api/nginx/access-lists")
def access_lists(request: Request) -> Any:
    signed_in(request)
    return [shown_list(row, request.query("expand").split(",")) for row in table("access_lists")]


@app.route("POST", "/api/nginx/access-lists")
def create_access_list(request: Request) -> Any:
    owner = signed_in(request)["id"]
    given = schema.validate(request.json(), schema.ACCESS_LIST, ["name"])
    values = {"name": given["name"], "satisfy_any": False, "pass_auth": False, "meta": {}, "items": [], "clients": []}
    row = new_row("access_lists", owner, values)
    store_list(row, given)
    return Reply(201, shown_list(row, ["items", "clients"]))


@app.route("GET", "/api/nginx/access-lists/{id}")
def access_list(request: Request) -> Any:
    signed_in(request)
    return shown_list(find("access_lists", request), request.query("expand").split(","))


@app.route("PUT", "/api/nginx/access-lists/{id}")
def update_access_list(request: Request) -> Any:
    signed_in(request)
    row = find("access_lists", request)
    store_list(row, schema.validate(request.json(), schema.ACCESS_LIST, []) | {"modified_on": now()})
    return shown_list(row, ["items", "clients"])


@app.route("DELETE", "/api/nginx/access-lists/{id}")
def delete_access_list(request: Request) -> Any:
    signed_in(request)
    row = find("access_lists", request)
    table("access_lists").remove(row)
    for host in table("proxy_hosts"):
        if host["access_list_id"] == row["id"]:
            host["access_list_id"] = 0
            load(host)
    store.save()
    return True


# --- settings --------------------------------------------------------------------------------------------------------


@app.route("GET", "/api/settings")
def settings(request: Request) -> Any:
    signed_in(request)
    return [store.data["default_site"]]


@app.route("GET", "/api/settings/{id}")
def setting(request: Request) -> Any:
    signed_in(request)
    if request.params["id"] != "default-site":
        raise refuse(404, f"Not Found - {request.params['id']}")
    return store.data["default_site"]


@app.route("PUT", "/api/settings/{id}")
def set_setting(request: Request) -> Any:
    current = setting(request)
    values = schema.choice("congratulations", "404", "444", "redirect", "html")
    given = schema.validate(request.json(), {"value": values, "meta": schema.plain_object}, ["value"])
    current.update(given)
    engine.default_site(current["value"], current["meta"])
    engine.reload()
    store.save()
    return current


def main() -> None:
    global store, engine
    if os.getuid() != 0 and not os.environ.get("LAB_TEST_ROOT"):
        fatal(NAME, "This docker container must be run as root, do not specify a user. "
                    "You can specify PUID and PGID env vars to run processes as that user and group.")  # fmt: skip
    for path in ("/data", "/etc/letsencrypt"):
        require_mount(NAME, path)
        require_writable(NAME, path)
    site = {"id": "default-site", "name": "Default Site", "description": "", "value": "congratulations", "meta": {}}
    empty: dict[str, Any] = {"users": [], "proxy_hosts": [], "certificates": [], "access_lists": [], "last": {},
                             "default_site": site, "key": secrets.token_hex(32)}  # fmt: skip
    store = Store(real_path("/data/stand-in.json"), empty)
    store.save()
    engine = Engine()
    engine.default_site(store.data["default_site"]["value"], store.data["default_site"]["meta"])
    email, password = os.environ.get("INITIAL_ADMIN_EMAIL"), os.environ.get("INITIAL_ADMIN_PASSWORD")
    if email and password and not table("users"):
        # so does the image: who can read the log is admin
        log(NAME, f"Creating a new user: {email} with password: {password}")
        name = re.sub(r"@.*", "", email)
        auth = {"type": "password", "secret": password}
        add_user({"name": name, "nickname": name, "email": email, "auth": auth}, True)
    engine.start()
    app.serve(81, "jc21/nginx-proxy-manager:2.15.1 (nginx itself is Debian's)")
    engine.stop()


if __name__ == "__main__":
    main()
