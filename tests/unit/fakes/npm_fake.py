# SPDX-License-Identifier: MIT
"""A fake of Nginx Proxy Manager 2.15's API, written from what the real one was seen to do."""

from __future__ import annotations

from typing import Any

from ansible_collections.homelab.mediaserver.tests.unit.fakes.http_fake import Answer, HttpFake

HOST_KEYS = {
    "domain_names", "forward_scheme", "forward_host", "forward_port", "certificate_id", "ssl_forced", "hsts_enabled",
    "hsts_subdomains", "http2_support", "block_exploits", "caching_enabled", "allow_websocket_upgrade",
    "access_list_id", "advanced_config", "enabled", "meta", "locations",
}  # fmt: skip
HOST_DEFAULTS: dict[str, Any] = {
    "certificate_id": 0, "ssl_forced": False, "hsts_enabled": False, "hsts_subdomains": False, "http2_support": False,
    "block_exploits": False, "caching_enabled": False, "allow_websocket_upgrade": False, "access_list_id": 0,
    "advanced_config": "", "enabled": True, "meta": {}, "locations": [],
}  # fmt: skip


class NpmFake(HttpFake):
    prefix = "/api"
    harmless = frozenset({("POST", "/tokens")})

    def __init__(self, admin: tuple[str, str] | None = ("admin@example.org", "correct horse")) -> None:
        super().__init__()
        self.users = dict([admin]) if admin else {}
        self.two_factor = False
        self.hosts: dict[int, dict[str, Any]] = {}
        self.lists: dict[int, dict[str, Any]] = {}
        self.certificates: dict[int, dict[str, Any]] = {}
        self.settings: dict[str, dict[str, Any]] = {
            "default-site": {"id": "default-site", "value": "congratulations", "meta": {}}
        }
        self.nginx_broken = False
        self.shows_certificates = True
        self.next_id = 1
        self.clock = 0
        number = r"/(\d+)"
        self.routes = [
            ("GET", "/", self.status),
            ("POST", "/users", self.create_user),
            ("POST", "/tokens", self.token),
            ("GET", "/nginx/proxy-hosts", lambda **_: list(self.hosts.values())),
            ("POST", "/nginx/proxy-hosts", self.create_host),
            ("PUT", "/nginx/proxy-hosts" + number, self.update_host),
            ("DELETE", "/nginx/proxy-hosts" + number, lambda number, **_: self.delete(self.hosts, number)),
            ("GET", "/nginx/access-lists", self.show_lists),
            ("POST", "/nginx/access-lists", self.create_list),
            ("PUT", "/nginx/access-lists" + number, self.update_list),
            ("DELETE", "/nginx/access-lists" + number, self.delete_list),
            ("GET", "/nginx/certificates", self.show_certificates),
            ("POST", "/nginx/certificates", self.create_certificate),
            ("POST", "/nginx/certificates" + number + "/upload", self.upload),
            ("DELETE", "/nginx/certificates" + number, lambda number, **_: self.delete(self.certificates, number)),
            ("GET", "/settings/([a-z-]+)", lambda name, **_: self.settings[name]),
            ("PUT", "/settings/([a-z-]+)", self.set_setting),
        ]

    def error(self, status: int, text: str) -> Any:
        return {"error": {"code": status, "message": text}}

    def refuse(self, status: int, text: str) -> Answer:
        return Answer(status, self.error(status, text))

    def before(self, method: str, path: str) -> None:
        if path in ("/", "/tokens") or (path == "/users" and not self.users):
            return
        if self.headers.get("authorization") != "Bearer token-of-admin":
            raise self.refuse(404 if path == "/users" else 403, "Permission Denied")

    def status(self, **_: Any) -> Any:
        return {"status": "OK", "setup": bool(self.users), "version": {"major": 2, "minor": 15, "revision": 1}}

    def create_user(self, *, body: Any, **_: Any) -> Any:
        if self.users:
            raise self.refuse(404, "Not found")
        if set(body) != {"name", "nickname", "email", "roles", "is_disabled", "auth"} or body["roles"] != ["admin"]:
            raise self.refuse(400, "data must NOT have additional properties")
        self.users[body["email"]] = body["auth"]["secret"]
        return 201, {"id": 1, "email": body["email"]}

    def token(self, *, body: Any, **_: Any) -> Any:
        if self.users.get(body["identity"]) != body["secret"]:
            raise self.refuse(400, "Invalid email or password")
        if self.two_factor:
            return {"requires_2fa": True, "challenge_token": "c"}
        return {"token": "token-of-admin", "expires": "2026-11-22T00:00:00.000Z"}

    def new_id(self) -> int:
        self.next_id += 1
        return self.next_id - 1

    def stamp(self) -> str:
        self.clock += 1
        return f"2026-11-21T00:00:{self.clock:02}.000Z"

    def add_host(self, **values: Any) -> dict[str, Any]:
        """A host that somebody made by hand."""
        host = {**HOST_DEFAULTS, "id": self.new_id(), "modified_on": self.stamp(), **values}
        host["meta"] = {"nginx_online": True, "nginx_err": None, **values.get("meta", {})}
        self.hosts[host["id"]] = host
        return host

    def check_host(self, body: dict[str, Any], own: int | None) -> None:
        if set(body) - HOST_KEYS:
            raise self.refuse(400, "data must NOT have additional properties")
        if "forward_port" in body:
            body["forward_port"] = int(body["forward_port"])
        for domain in body.get("domain_names", []):
            if any(domain in host["domain_names"] for number, host in self.hosts.items() if number != own):
                raise self.refuse(400, f"{domain} is already in use")

    @staticmethod
    def clean(host: dict[str, Any]) -> None:
        if not host["certificate_id"]:
            host["ssl_forced"] = host["http2_support"] = False
        if not host["ssl_forced"]:
            host["hsts_enabled"] = False
        if not host["hsts_enabled"]:
            host["hsts_subdomains"] = False

    def configure(self, host: dict[str, Any]) -> None:
        """Write the host's nginx configuration: a broken one is taken back and noted in `meta`."""
        if self.nginx_broken:
            raise self.refuse(500, "nginx: configuration file /etc/nginx/nginx.conf test failed")
        bad = "broken" in host["advanced_config"]
        host["meta"] = {
            **host["meta"],
            "nginx_online": not bad,
            "nginx_err": f'unknown directive "broken" in /data/nginx/proxy_host/{host["id"]}.conf:7' if bad else None,
        }

    def create_host(self, *, body: Any, **_: Any) -> Any:
        self.check_host(body, None)
        host = {**HOST_DEFAULTS, **body, "id": self.new_id(), "modified_on": self.stamp()}
        self.clean(host)
        self.hosts[host["id"]] = host
        before = {**host, "meta": dict(host["meta"])}
        self.configure(host)
        return 201, before

    def update_host(self, number: str, *, body: Any, **_: Any) -> Any:
        if int(number) not in self.hosts:
            raise self.refuse(404, f"Not Found - {number}")
        self.check_host(body, int(number))
        host = self.hosts[int(number)]
        host.update(body, modified_on=self.stamp())
        self.clean(host)
        if host["enabled"]:
            self.configure(host)
        return host

    def delete(self, things: dict[int, dict[str, Any]], number: str) -> Any:
        if things.pop(int(number), None) is None:
            raise self.refuse(404, f"Not Found - {number}")
        return True

    def show_lists(self, *, query: dict[str, str], **_: Any) -> Any:
        shown = []
        for entry in self.lists.values():
            count = sum(host["access_list_id"] == entry["id"] for host in self.hosts.values())
            item = {key: value for key, value in entry.items() if key not in ("items", "clients")}
            item["proxy_host_count"] = count
            if "items" in query.get("expand", ""):
                item["items"] = [
                    {"username": user["username"], "password": "", "hint": user["password"][0] + "*"}
                    for user in entry["items"]
                ]
            if "clients" in query.get("expand", ""):
                item["clients"] = entry["clients"]
            shown.append(item)
        return shown

    def check_list(self, body: dict[str, Any]) -> None:
        if set(body) - {"name", "satisfy_any", "pass_auth", "items", "clients"}:
            raise self.refuse(400, "data must NOT have additional properties")
        for client in body.get("clients", []):
            if set(client) != {"address", "directive"}:
                raise self.refuse(400, "data/clients must NOT have additional properties")

    def create_list(self, *, body: Any, **_: Any) -> Any:
        self.check_list(body)
        if "items" not in body:  # the real one maps over it without looking
            raise self.refuse(500, "Cannot read properties of undefined (reading 'map')")
        entry = {"satisfy_any": False, "pass_auth": False, "clients": [], **body, "id": self.new_id()}
        self.lists[entry["id"]] = entry
        return 201, entry

    def update_list(self, number: str, *, body: Any, **_: Any) -> Any:
        self.check_list(body)
        entry = self.lists[int(number)]
        if "items" in body:
            former = {user["username"]: user["password"] for user in entry["items"]}
            body = {**body, "items": [{**u, "password": u["password"] or former[u["username"]]} for u in body["items"]]}
        entry.update(body)
        return entry

    def delete_list(self, number: str, **_: Any) -> Any:
        for host in self.hosts.values():
            if host["access_list_id"] == int(number):
                host["access_list_id"] = 0
        return self.delete(self.lists, number)

    def show_certificates(self, **_: Any) -> Any:
        if self.shows_certificates:
            return list(self.certificates.values())
        return [{**c, "meta": dict.fromkeys(c["meta"], True)} for c in self.certificates.values()]

    def create_certificate(self, *, body: Any, **_: Any) -> Any:
        if set(body) - {"provider", "nice_name", "domain_names", "meta"}:
            raise self.refuse(400, "data must NOT have additional properties")
        entry = {"domain_names": [], "expires_on": "2026-11-21 00:00:00", "meta": {}, **body, "id": self.new_id()}
        if body["provider"] == "letsencrypt":
            if any(name.endswith(".invalid") for name in body["domain_names"]):
                stack = {"stack": ["CommandError: Some challenges have failed.", "Ask for help"], "previous": None}
                raise Answer(500, {**self.error(500, "Internal Error"), "debug": stack})
            entry["nice_name"] = ", ".join(body["domain_names"])
            entry["expires_on"] = "2099-01-01 00:00:00"
        self.certificates[entry["id"]] = entry
        return 201, entry

    def upload(self, number: str, *, body: Any, **_: Any) -> Any:
        if "PRIVATE KEY" not in body["certificate_key"]:
            raise self.refuse(400, "Certificate Key is not valid")
        entry = self.certificates[int(number)]
        entry["meta"] = {**entry["meta"], **body}
        entry["domain_names"] = ["example.org"]
        entry["expires_on"] = "2036-11-18 08:00:00"
        return body

    def set_setting(self, name: str, *, body: Any, **_: Any) -> Any:
        if body.get("value") not in ("congratulations", "404", "444", "redirect", "html"):
            raise self.refuse(400, "data/value must be equal to one of the allowed values")
        self.settings[name].update(body)
        return self.settings[name]
