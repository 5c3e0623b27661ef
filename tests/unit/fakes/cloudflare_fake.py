# SPDX-License-Identifier: MIT
"""A stand-in for Cloudflare's API v4, written from its public documentation; never compared with the real one.

Envelope, pages, error codes, permissions of the token, DNS batches (deletes, patches, posts; all or nothing), tunnels,
Access with reusable policies. What the documentation does not say is strict: unknown keys of a body are refused.
"""

from __future__ import annotations

import copy
import json
import re
import uuid
from collections.abc import Callable
from typing import Any

from ansible_collections.homelab.mediaserver.plugins.module_utils._http import Request, Response
from ansible_collections.homelab.mediaserver.tests.unit.fakes.http_fake import Answer, HttpFake

ACCOUNT, ZONE = "a" * 32, "b" * 32
TOKEN = "cf-token-of-the-site"
SECRET = "cfast_" + "S" * 48  # beginning of every client secret
NEEDS = [  # path pattern -> permission, for reading and writing
    (r"/zones", "zone"),
    (r"/zones/\w+/dns_records.*", "dns"),
    (r"/accounts", "account"),
    (r"/accounts/\w+/cfd_tunnel.*", "tunnel"),
    (r"/accounts/\w+/access/service_tokens.*", "service_tokens"),
    (r"/accounts/\w+/access/.*", "access"),
]
POLICY_KEYS = {"name", "decision", "include", "exclude", "require", "session_duration", "approval_required"}
APPLICATION_KEYS = {
    "name", "type", "domain", "destinations", "policies", "session_duration", "tags", "app_launcher_visible",
    "auto_redirect_to_identity", "allowed_idps", "service_auth_401_redirect", "logo_url", "http_only_cookie_attribute",
}  # fmt: skip
RECORD_KEYS = {"name", "type", "content", "proxied", "ttl", "comment"}


class CloudflareFake(HttpFake):
    prefix = "/client/v4"

    def __init__(self) -> None:
        super().__init__()
        self.permissions = {"zone", "dns", "tunnel", "access", "service_tokens", "account"}
        self.page_size: int | None = None  # pages smaller than asked for, as some lists have
        self.fault: Callable[[str, str], Any] | None = None  # (method, path) -> exception or (status, body, headers)
        self.lost = 0  # number of the write whose answer is lost, counted from 1
        self.zones = [{"id": ZONE, "name": "example.org", "account": {"id": ACCOUNT, "name": "Home"}}]
        self.records: dict[str, dict[str, Any]] = {}
        self.tunnels: dict[str, dict[str, Any]] = {}
        self.configurations: dict[str, Any] = {}
        self.policies: dict[str, dict[str, Any]] = {}
        self.apps: dict[str, dict[str, Any]] = {}
        self.tokens: dict[str, dict[str, Any]] = {}
        self.count = 0
        tunnel, access = f"/accounts/{ACCOUNT}/cfd_tunnel", f"/accounts/{ACCOUNT}/access"
        one = r"/([\w-]+)"
        self.routes = [
            ("GET", "/zones", self.list_zones),
            ("GET", "/accounts", self.list_accounts),
            ("GET", f"/zones/{ZONE}/dns_records", lambda query, **_: self.page(self.records.values(), query)),
            ("POST", f"/zones/{ZONE}/dns_records/batch", self.batch),
            ("GET", tunnel, self.list_tunnels),
            ("POST", tunnel, self.create_tunnel),
            ("DELETE", tunnel + one, self.delete_tunnel),
            ("GET", tunnel + one + "/token", self.tunnel_token),
            ("GET", tunnel + one + "/configurations", self.get_configuration),
            ("PUT", tunnel + one + "/configurations", self.put_configuration),
            ("GET", access + "/policies", lambda query, **_: self.page(self.shown_policies(), query)),
            ("POST", access + "/policies", self.create_policy),
            ("PUT", access + "/policies" + one, self.update_policy),
            ("DELETE", access + "/policies" + one, self.delete_policy),
            ("GET", access + "/apps", lambda query, **_: self.page(self.shown_apps(), query)),
            ("POST", access + "/apps", self.create_app),
            ("PUT", access + "/apps" + one, self.update_app),
            ("DELETE", access + "/apps" + one, lambda number, **_: self.delete(self.apps, number)),
            ("GET", access + "/service_tokens", lambda query, **_: self.page(self.shown_tokens(), query)),
            ("POST", access + "/service_tokens", self.create_token),
            ("POST", access + "/service_tokens" + one + "/rotate", self.rotate_token),
            ("POST", access + "/service_tokens" + one + "/refresh", self.refresh_token),
            ("DELETE", access + "/service_tokens" + one, self.delete_token),
        ]

    # the envelope

    def error(self, status: int, text: str) -> Any:
        code = {401: 1000, 403: 10000, 404: 7003, 429: 971}.get(status, 1003)
        return {"success": False, "errors": [{"code": code, "message": text}], "messages": [], "result": None}

    def refuse(self, status: int, code: int, text: str, chain: list[dict[str, Any]] | None = None) -> Answer:
        one: dict[str, Any] = {"code": code, "message": text, **({"error_chain": chain} if chain else {})}
        return Answer(status, {"success": False, "errors": [one], "messages": [], "result": None})

    def wrap(self, result: Any, info: dict[str, Any] | None = None) -> dict[str, Any]:
        envelope = {"success": True, "errors": [], "messages": [], "result": copy.deepcopy(result)}
        return {**envelope, **({"result_info": info} if info else {})}

    def page(self, rows: Any, query: dict[str, str]) -> Any:
        rows = list(rows)
        size = min(int(query["per_page"]), self.page_size or 10**6)
        number, pages = int(query["page"]), max(-(-len(rows) // size), 1)
        part = rows[(number - 1) * size : number * size]
        info = {"page": number, "per_page": size, "count": len(part), "total_count": len(rows), "total_pages": pages}
        return self.wrap(part, info)

    def __call__(self, request: Request) -> Response:
        planned = self.fault and self.fault(request.method, self.path(request))
        if planned is None:
            answer = super().__call__(request)
            if request.method != "GET" and len(self.writes) == self.lost:
                raise TimeoutError
            return answer
        self.requests.append(f"{request.method} {self.path(request)}")
        if isinstance(planned, BaseException):
            raise planned
        status, body, *headers = planned
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return Response(status, data, headers[0] if headers else {})

    def path(self, request: Request) -> str:
        return re.sub(r"^https?://[^/]+" + self.prefix, "", request.url).partition("?")[0]

    def before(self, method: str, path: str) -> None:
        if self.headers.get("authorization") != f"Bearer {TOKEN}":
            raise self.refuse(401, 1000, "Invalid API Token")
        if self.headers.get("content-type") not in (None, "application/json"):
            raise self.refuse(415, 6002, "Invalid content type")
        needed = next((name for pattern, name in NEEDS if re.fullmatch(pattern, path)), None)
        if needed not in self.permissions and needed not in ("zone", "account"):
            raise self.refuse(403, 10000, "Authentication error")

    def new_id(self) -> str:
        self.count += 1
        return str(uuid.UUID(int=self.count))

    def known(self, things: dict[str, Any], number: str, code: int = 1003) -> dict[str, Any]:
        if number not in things:
            raise self.refuse(404, code, "access.api.error.not_found" if code == 11021 else "Not found")
        return things[number]

    def keys(self, body: dict[str, Any], allowed: set[str], required: set[str]) -> None:
        if set(body) - allowed or required - set(body):
            wrong = sorted((set(body) - allowed) | (required - set(body)))
            raise self.refuse(400, 12130, f"access.api.error.invalid_request: {', '.join(wrong)}")

    def delete(self, things: dict[str, dict[str, Any]], number: str) -> Any:
        self.known(things, number, 11021)
        del things[number]
        return 202, self.wrap({"id": number})

    # zones and records

    def list_zones(self, *, query: dict[str, str], **_: Any) -> Any:
        """A token that may not see a zone gets an empty list."""
        seen = [zone for zone in self.zones if zone["name"] == query.get("name")] if "zone" in self.permissions else []
        return self.page(seen, query)

    def list_accounts(self, *, query: dict[str, str], **_: Any) -> Any:
        accounts = {zone["account"]["id"]: zone["account"] for zone in self.zones}.values()
        return self.page(accounts if "account" in self.permissions else [], query)

    def add_record(self, **values: Any) -> dict[str, Any]:
        """A record made by hand."""
        record = {"id": self.new_id(), "proxied": False, "ttl": 1, "comment": None, "tags": [], **values}
        self.records[record["id"]] = record
        return record

    def batch(self, *, body: dict[str, Any], **_: Any) -> Any:
        if set(body) - {"deletes", "patches", "puts", "posts"} or not body:
            raise self.refuse(400, 9207, "Request body is invalid")
        if sum(len(rows) for rows in body.values()) > 200:
            raise self.refuse(400, 81059, "Batch too large")
        before = copy.deepcopy(self.records)
        try:
            for one in body.get("deletes", []):
                self.known(self.records, one["id"], 81044)
                del self.records[one["id"]]
            for one in body.get("patches", []):
                self.known(self.records, one["id"], 81044).update(self.checked(one, one["id"]))
            for one in body.get("posts", []):
                self.add_record(**self.checked(one, None))
        except Answer:
            self.records = before
            raise
        return self.wrap({"deletes": body.get("deletes", []), "patches": body.get("patches", []), "posts": []})

    def checked(self, one: dict[str, Any], number: str | None) -> dict[str, Any]:
        body = {key: value for key, value in one.items() if key != "id"}
        if set(body) - RECORD_KEYS:
            chain = [{"code": 9300, "message": "DNS record has 1 tags, exceeding the quota of 0."}]
            raise self.refuse(400, 1004, "DNS Validation Error", chain)
        whole = {**self.records.get(number or "", {}), **body}
        others = [row for key, row in self.records.items() if key != number and row["name"] == whole["name"]]
        if any((row["type"], row["content"]) == (whole["type"], whole["content"]) for row in others):
            raise self.refuse(400, 81058, "An identical record already exists.")
        addresses = ("A", "AAAA", "CNAME")
        if any("CNAME" in (row["type"], whole["type"]) and row["type"] in addresses for row in others):
            raise self.refuse(400, 81053, "An A, AAAA, or CNAME record with that host already exists.")
        return {**body, "ttl": 1 if whole.get("proxied") else whole.get("ttl", 1)}

    # tunnels

    def add_tunnel(self, name: str, **values: Any) -> dict[str, Any]:
        number = self.new_id()
        self.tunnels[number] = {
            "id": number, "account_tag": ACCOUNT, "name": name, "deleted_at": None, "connections": [],
            "status": "inactive", "config_src": "cloudflare", "remote_config": True, **values,
        }  # fmt: skip
        return self.tunnels[number]

    def list_tunnels(self, *, query: dict[str, str], **_: Any) -> Any:
        rows = [
            row for row in self.tunnels.values()
            if row["name"] == query.get("name", row["name"])
            and not (query.get("is_deleted") == "false" and row["deleted_at"])
        ]  # fmt: skip
        return self.page(rows, query)

    def create_tunnel(self, *, body: dict[str, Any], **_: Any) -> Any:
        if any(row["name"] == body["name"] and not row["deleted_at"] for row in self.tunnels.values()):
            raise self.refuse(409, 1013, "You already have a tunnel with this name")
        tunnel = self.add_tunnel(body["name"], config_src=body.get("config_src", "local"))
        return self.wrap({**tunnel, "token": self.token_text(tunnel["id"])})

    def live(self, number: str) -> dict[str, Any]:
        tunnel = self.known(self.tunnels, number, 1003)
        if tunnel["deleted_at"]:
            raise self.refuse(404, 1003, "Tunnel not found")
        return tunnel

    def delete_tunnel(self, number: str, **_: Any) -> Any:
        if self.live(number)["connections"]:
            raise self.refuse(400, 1022, "Cannot delete tunnel because it has active connections")
        self.tunnels[number]["deleted_at"] = "2026-11-26T00:00:00Z"
        return self.wrap(self.tunnels[number])

    @staticmethod
    def token_text(number: str) -> str:
        return f"eyJhIjoi{number}"

    def tunnel_token(self, number: str, **_: Any) -> Any:
        return self.wrap(self.token_text(self.live(number)["id"]))

    def get_configuration(self, number: str, **_: Any) -> Any:
        self.live(number)
        config = self.configurations.get(number)
        return self.wrap({"tunnel_id": number, "version": 1, "source": "cloudflare", "config": config})

    def put_configuration(self, number: str, *, body: dict[str, Any], **_: Any) -> Any:
        self.live(number)
        ingress = body["config"]["ingress"]
        if not ingress or ingress[-1].get("hostname") or ingress[-1].get("path"):
            raise self.refuse(400, 1056, "Bad Configuration: The last ingress rule must match all URLs")
        self.configurations[number] = body["config"]
        return self.get_configuration(number)

    # Access

    def shown_policies(self) -> list[dict[str, Any]]:
        return [{**row, "reusable": True, "app_count": self.users(row["id"])} for row in self.policies.values()]

    def users(self, number: str) -> int:
        return sum(any(one["id"] == number for one in app["policies"]) for app in self.apps.values())

    def check_policy(self, body: dict[str, Any]) -> None:
        self.keys(body, POLICY_KEYS, {"name", "decision", "include"})
        if not body["include"]:
            raise self.refuse(400, 12130, "access.api.error.invalid_request: include is empty")
        for rule in body["include"]:
            number = rule.get("service_token", {}).get("token_id")
            if number and number not in self.tokens:
                raise self.refuse(400, 12130, "access.api.error.invalid_request: unknown service token")

    def create_policy(self, *, body: dict[str, Any], **_: Any) -> Any:
        self.check_policy(body)
        number = self.new_id()
        self.policies[number] = {"exclude": [], "require": [], **body, "id": number, "created_at": "2026-11-26"}
        return 201, self.wrap(self.policies[number])

    def update_policy(self, number: str, *, body: dict[str, Any], **_: Any) -> Any:
        self.known(self.policies, number, 11021)
        self.check_policy(body)
        self.policies[number] = {"exclude": [], "require": [], **body, "id": number, "created_at": "2026-11-26"}
        return self.wrap(self.policies[number])

    def delete_policy(self, number: str, **_: Any) -> Any:
        if self.users(number):
            raise self.refuse(400, 12132, "access.api.error.policy_in_use")
        return self.delete(self.policies, number)

    def shown_apps(self) -> list[dict[str, Any]]:
        """As the API shows them: whole policies in place of their ids."""
        return [
            {**app, "policies": [{**self.policies.get(one["id"], {}), **one} for one in app["policies"]]}
            for app in self.apps.values()
        ]

    def check_app(self, body: dict[str, Any]) -> dict[str, Any]:
        self.keys(body, APPLICATION_KEYS, {"type", "domain"})
        for number, one in enumerate(body.get("policies", []), start=1):
            if set(one) - {"id", "precedence"} or one["id"] not in self.policies:
                raise self.refuse(400, 12130, f"access.api.error.invalid_request: policy {number}")
        uris = [one["uri"] for one in body.get("destinations", [])] or [body["domain"]]
        destinations = [{"type": "public", "uri": uri} for uri in uris]
        defaults = {"session_duration": "24h", "app_launcher_visible": True, "tags": []}
        return {**defaults, **body, "self_hosted_domains": uris, "destinations": destinations}

    def add_app(self, **values: Any) -> dict[str, Any]:
        number = self.new_id()
        self.apps[number] = {**self.check_app({"policies": [], **values}), "id": number, "aud": "x", "uid": number,
                             "created_at": "2026-11-26", "updated_at": "2026-11-26"}  # fmt: skip
        return self.apps[number]

    def create_app(self, *, body: dict[str, Any], **_: Any) -> Any:
        return 201, self.wrap(self.add_app(**body))

    def update_app(self, number: str, *, body: dict[str, Any], **_: Any) -> Any:
        old = self.known(self.apps, number, 11021)
        self.apps[number] = {**self.check_app(body), **{key: old[key] for key in ("id", "aud", "uid", "created_at")}}
        return self.wrap(self.apps[number])

    def shown_tokens(self) -> list[dict[str, Any]]:
        return [{key: value for key, value in row.items() if key != "client_secret"} for row in self.tokens.values()]

    def create_token(self, *, body: dict[str, Any], **_: Any) -> Any:
        self.keys(body, {"name", "duration"}, {"name"})
        number = self.new_id()
        self.tokens[number] = {
            "id": number, "name": body["name"], "client_id": f"{number[-12:]}.access", "duration": body["duration"],
            "client_secret": f"{SECRET}{self.count}", "expires_at": "2999-01-01T00:00:00Z", "last_seen_at": None,
        }  # fmt: skip
        return 201, self.wrap(self.tokens[number])

    def rotate_token(self, number: str, **_: Any) -> Any:
        self.count += 1
        self.known(self.tokens, number, 11021)["client_secret"] = f"{SECRET}{self.count}"
        return self.wrap(self.tokens[number])

    def refresh_token(self, number: str, **_: Any) -> Any:
        token = self.known(self.tokens, number, 11021)
        token["expires_at"] = "2999-01-01T00:00:00Z"
        return self.wrap({key: value for key, value in token.items() if key != "client_secret"})

    def delete_token(self, number: str, **_: Any) -> Any:
        if any(number in json.dumps(policy["include"]) for policy in self.policies.values()):
            raise self.refuse(400, 12132, "access.api.error.service_token_in_use")
        return self.delete(self.tokens, number)

    def state(self) -> Any:
        """Everything, without ids and secrets, to compare two courses."""
        names = {row["id"]: row["name"] for things in (self.policies, self.tokens) for row in things.values()}
        text = json.dumps([
            sorted(json.dumps({**row, "id": ""}, sort_keys=True) for row in self.records.values()),
            {row["name"]: self.configurations.get(key) for key, row in self.tunnels.items() if not row["deleted_at"]},
            {row["name"]: {**row, "id": ""} for row in self.policies.values()},
            {row["name"]: {**row, "id": "", "uid": "", "updated_at": ""} for row in self.apps.values()},
            sorted(row["name"] for row in self.tokens.values()),
        ], sort_keys=True)  # fmt: skip
        for number, name in names.items():
            text = text.replace(number, name)
        return json.loads(text)
