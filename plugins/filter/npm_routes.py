# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From the plan's routes to what Nginx Proxy Manager shall have."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleFilterError

PREFIX = "mediaserver: "  # names of access lists that belong to this collection
CERTIFICATE = "mediaserver"  # name of the site's own certificate
ISSUERS = ("own_ca", "letsencrypt", "none")


def certificate_name(route: dict[str, Any], issuer: str) -> str:
    if issuer == "none":
        return ""
    return CERTIFICATE if issuer == "own_ca" else ", ".join(route["domains"])


def access_list(route: dict[str, Any], users: list[dict[str, str]]) -> dict[str, Any] | None:
    """Who may come and who must log in; None for a route that everybody may use."""
    by_proxy = route.get("login") == "proxy"
    if route["allow"] == "any" and not by_proxy:
        return None
    if by_proxy and not any(user.get("password") for user in users):
        raise AnsibleFilterError(f"Route {route['domains'][0]} wants a login by the proxy, but nobody may log in")
    allowed = [] if route["allow"] == "any" else route["allow"]
    if not allowed and not by_proxy:
        raise AnsibleFilterError(f"Route {route['domains'][0]} is allowed to nobody")
    return {
        "name": PREFIX + route["service"],
        "clients": [{"address": network, "directive": "allow"} for network in allowed],
        "users": users if by_proxy else [],
    }


def proxy_host(
    route: dict[str, Any], issuer: str, advanced: dict[str, str], hsts: bool, guarded: bool
) -> dict[str, Any]:
    upstream = route["upstream"]
    secure = issuer != "none"
    return {
        "service": route["service"],
        "domains": route["domains"],
        "forward_scheme": upstream["scheme"],
        "forward_host": upstream["address"],
        "forward_port": upstream["port"],
        "certificate": certificate_name(route, issuer),
        "ssl_forced": secure,
        "http2": secure,
        "hsts": secure and hsts,
        "hsts_subdomains": False,
        "websockets": route.get("websockets", True),
        "block_exploits": True,
        "access_list": PREFIX + route["service"] if guarded else "",
        "advanced_config": hidden(route) + advanced.get(route["service"], ""),
        "enabled": True,
    }


def hidden(route: dict[str, Any]) -> str:
    """nginx text for the paths that nobody outside is to see."""
    return "".join(f"location ~* ^{re.escape(path)}(/|$) {{ return 404; }}\n" for path in route.get("hidden", []))


def npm_routes(
    routes: list[dict[str, Any]],
    issuer: str,
    certificate: str = "",
    key: str = "",
    users: list[dict[str, str]] | None = None,
    advanced: dict[str, str] | None = None,
    hsts: bool = False,
    only: list[str] | None = None,
) -> dict[str, list[dict[str, Any]]]:
    """Certificates, access lists and proxy hosts for the routes, as the modules npm_* take them.

    With ``only``, certificates and access lists of other services are left out; the list of hosts is always whole.
    """
    if issuer not in ISSUERS:
        raise AnsibleFilterError(f"Unknown issuer {issuer!r}: expected one of {', '.join(ISSUERS)}")
    lists = {route["service"]: access_list(route, users or []) for route in routes}
    certificates: list[dict[str, Any]] = []
    if issuer == "own_ca":
        certificates = [{"name": CERTIFICATE, "certificate": certificate, "key": key}]
    elif issuer == "letsencrypt":
        certificates = [{"domains": route["domains"]} for route in routes if not only or route["service"] in only]
    return {
        "certificates": certificates,
        "lists": [entry for service, entry in lists.items() if entry and (not only or service in only)],
        "hosts": [
            proxy_host(route, issuer, advanced or {}, hsts, lists[route["service"]] is not None) for route in routes
        ],
    }


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"npm_routes": npm_routes}
