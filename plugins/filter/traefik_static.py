# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Traefik 3 starts with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.homelab.mediaserver.plugins.filter.traefik_routes import RESOLVER, check_issuer
from ansible_collections.homelab.mediaserver.plugins.plugin_utils.placement import merge

UPLOADS = "600s"


def traefik_static(settings: dict[str, Any], issuer: str, email: str = "") -> dict[str, Any]:
    """Entry points, certificates' issuer, metrics. The metrics' entry point answers health checks too."""
    check_issuer(issuer)
    timeout = str(settings.get("upload_timeout") or UPLOADS)
    # the default of 60 seconds ends a phone's upload of a long video half way
    patient = {"readTimeout": timeout, "writeTimeout": timeout, "idleTimeout": timeout}
    found: dict[str, Any] = {
        "global": {"checkNewVersion": False, "sendAnonymousUsage": False},
        "log": {"level": "INFO"},
        "accessLog": {"filters": {"statusCodes": ["400-599"]}},
        "entryPoints": {
            "web": {
                "address": ":80",
                "http": {"redirections": {"entryPoint": {"to": "websecure", "scheme": "https", "permanent": True}}},
            },
            "websecure": {"address": ":443", "transport": {"respondingTimeouts": patient}},
            "metrics": {"address": ":8082"},
        },
        "ping": {"entryPoint": "metrics"},
        "metrics": {"prometheus": {"entryPoint": "metrics", "addRoutersLabels": True}},
        "providers": {"file": {"directory": "/run/traefik/routes", "watch": False}},
    }
    if issuer == "letsencrypt":
        if not email:
            raise AnsibleFilterError("Let's Encrypt wants an e-mail address: site_email in group_vars/all/site.yml")
        found["certificatesResolvers"] = {
            RESOLVER: {"acme": {"email": email, "storage": "/var/lib/traefik/acme.json", "tlsChallenge": {}}}
        }
    return merge(found, settings.get("static") or {})


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"traefik_static": traefik_static}
