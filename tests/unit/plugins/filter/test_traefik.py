# SPDX-License-Identifier: MIT
"""Traefik's files from the plan: what is refused, and Let's Encrypt. The real Traefik runs in tests/integration."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.homelab.mediaserver.plugins.filter.htpasswd import htpasswd
from ansible_collections.homelab.mediaserver.plugins.filter.traefik_routes import traefik_routes
from ansible_collections.homelab.mediaserver.plugins.filter.traefik_static import traefik_static


def route(**more: Any) -> dict[str, Any]:
    upstream = {"address": "fd00::7", "port": 8096, "scheme": "http"}
    base = {"service": "films", "domains": ["films.example.org"], "upstream": upstream}
    return {**base, "allow": "any", "login": "application", **more}


def test_lets_encrypt_signs_each_route_and_is_told_an_address() -> None:
    static = traefik_static({}, "letsencrypt", "admin@example.org")
    assert static["certificatesResolvers"]["letsencrypt"]["acme"]["email"] == "admin@example.org"
    made = traefik_routes([route()], "letsencrypt")
    assert made["http"]["routers"]["films"]["tls"] == {"certResolver": "letsencrypt"}
    assert made["http"]["middlewares"]["films-hsts"]["headers"]["stsSeconds"] > 0
    assert "stores" not in made["tls"]
    with pytest.raises(AnsibleFilterError, match="site_email"):
        traefik_static({}, "letsencrypt")


def test_an_own_authority_is_not_remembered_by_browsers_unless_asked() -> None:
    assert "middlewares" not in traefik_routes([route()], "own_ca")["http"]
    assert "films-hsts" in traefik_routes([route()], "own_ca", True)["http"]["middlewares"]


def test_an_ipv6_upstream_is_written_with_brackets() -> None:
    servers = traefik_routes([route()], "own_ca")["http"]["services"]["films"]["loadBalancer"]["servers"]
    assert servers == [{"url": "http://[fd00::7]:8096"}]


def test_own_settings_are_laid_over() -> None:
    static = traefik_static({"upload_timeout": "1h", "static": {"log": {"level": "DEBUG"}}}, "own_ca")
    assert static["log"]["level"] == "DEBUG"
    assert static["entryPoints"]["websecure"]["transport"]["respondingTimeouts"]["readTimeout"] == "1h"


def test_what_cannot_work_is_refused() -> None:
    with pytest.raises(AnsibleFilterError, match="allowed to nobody"):
        traefik_routes([route(allow=[])], "own_ca")
    with pytest.raises(AnsibleFilterError, match="Unknown issuer 'none'"):
        traefik_routes([], "none")
    with pytest.raises(AnsibleFilterError, match="20 characters"):
        htpasswd("short")


def test_a_password_is_hashed_as_htpasswd_does() -> None:
    assert htpasswd("a" * 20) == "{SHA}OGZri6UA+qXCQG9FddQqkjeYRMI="
