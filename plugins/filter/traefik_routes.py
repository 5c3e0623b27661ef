# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From the plan's routes to Traefik 3's routers, services and middlewares."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleFilterError

ISSUERS = ("own_ca", "letsencrypt")
PRIVATE = "/run/traefik/private"
RESOLVER = "letsencrypt"


def traefik_routes(routes: list[dict[str, Any]], issuer: str, hsts: bool | None = None) -> dict[str, Any]:
    """Routers, services and middlewares of the routes. A name that no route has is answered with 404."""
    check_issuer(issuer)
    routers: dict[str, Any] = {}
    services: dict[str, Any] = {}
    middlewares: dict[str, Any] = {}
    remember = issuer == "letsencrypt" if hsts is None else hsts
    for route in routes:
        name = route["service"]
        own = guards(route, remember)
        middlewares.update(own)
        routers[name] = {
            "rule": rule(route),
            "entryPoints": ["websecure"],
            "service": name,
            "tls": {"certResolver": RESOLVER} if issuer == "letsencrypt" else {},
            **({"middlewares": list(own)} if own else {}),
        }
        services[name] = {"loadBalancer": balancer(route["upstream"])}
    tls: dict[str, Any] = {"options": {"default": {"minVersion": "VersionTLS12"}}}
    if issuer == "own_ca":
        files = {"certFile": f"{PRIVATE}/site.pem", "keyFile": f"{PRIVATE}/site.key"}
        tls["stores"] = {"default": {"defaultCertificate": files}}
    http: dict[str, Any] = {"routers": routers, "services": services, "middlewares": middlewares}
    if any(route["upstream"]["scheme"] == "https" for route in routes):
        # an upstream at home has a certificate that nobody signed
        http["serversTransports"] = {"unsigned": {"insecureSkipVerify": True}}
    # Traefik refuses an empty table
    return {key: value for key, value in (("http", {k: v for k, v in http.items() if v}), ("tls", tls)) if value}


def rule(route: dict[str, Any]) -> str:
    """Which requests are the route's: its names, without the paths that nobody outside is to see. Applications may not
    tell small letters from capitals."""
    names = " || ".join(f"Host(`{domain}`)" for domain in route["domains"])
    hidden = "|".join(re.escape(path) for path in route.get("hidden", []))
    return f"({names}) && !PathRegexp(`(?i)^/*({hidden})(/|$)`)" if hidden else names


def guards(route: dict[str, Any], hsts: bool) -> dict[str, Any]:
    """A route's middlewares in the order in which they act: addresses first, then the login."""
    name = route["service"]
    found: dict[str, Any] = {}
    if route["allow"] != "any":
        if not route["allow"] and route["login"] != "proxy":
            raise AnsibleFilterError(f"Route {route['domains'][0]} is allowed to nobody")
        if route["allow"]:
            found[f"{name}-addresses"] = {"ipAllowList": {"sourceRange": list(route["allow"])}}
    if route["login"] == "proxy":
        found[f"{name}-login"] = {
            "basicAuth": {"usersFile": f"{PRIVATE}/users", "removeHeader": True, "realm": route["domains"][0]}
        }
    if hsts:
        found[f"{name}-hsts"] = {"headers": {"stsSeconds": 31536000}}
    return found


def balancer(upstream: dict[str, Any]) -> dict[str, Any]:
    address = f"[{upstream['address']}]" if ":" in upstream["address"] else upstream["address"]
    found: dict[str, Any] = {"servers": [{"url": f"{upstream['scheme']}://{address}:{upstream['port']}"}]}
    return {**found, "serversTransport": "unsigned"} if upstream["scheme"] == "https" else found


def check_issuer(issuer: str) -> None:
    if issuer not in ISSUERS:
        raise AnsibleFilterError(f"Unknown issuer {issuer!r}: expected one of {', '.join(ISSUERS)}")


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"traefik_routes": traefik_routes}
