# Copyright (c) 2026 The homelab.mediaserver authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt)
"""Nginx Proxy Manager's API: connection options, login, error texts."""

from __future__ import annotations

import json
from typing import Any

from ansible_collections.homelab.mediaserver.plugins.module_utils._http import (
    Client,
    HttpFailure,
    NotReady,
    plain_error,
    wait_for,
)
from ansible_collections.homelab.mediaserver.plugins.module_utils._reconcile import Failure

CONNECTION: dict[str, Any] = {
    "url": {"type": "str", "default": "http://127.0.0.1:81"},
    "email": {"type": "str", "required": True},
    "password": {"type": "str", "required": True, "no_log": True},
    "timeout": {"type": "int", "default": 60},
    "validate_certs": {"type": "bool", "default": True},
    "wait": {"type": "int", "default": 0},
}


def error_text(body: bytes) -> str:
    """`{"error": {"code": 400, "message": "..."}}`; an internal error has its reason in the lines of `debug.stack`."""
    try:
        answer = json.loads(body)
        text = str(answer["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return plain_error(body)
    debug = answer.get("debug")
    stack = debug.get("stack") if isinstance(debug, dict) else None
    return "; ".join([text, *map(str, stack[:5])]) if isinstance(stack, list) else text


class Npm(Client):
    def __init__(self, params: dict[str, Any]) -> None:
        super().__init__(
            params["url"].rstrip("/") + "/api",
            timeout=params["timeout"],
            validate_certs=params["validate_certs"],
            error_text=error_text,
        )
        self.email: str = params["email"]
        self.password: str = params["password"]
        self.wait: int = params["wait"]

    def status(self) -> dict[str, Any]:
        """The state of the API: `setup` tells whether there is a first administrator."""

        def ask() -> dict[str, Any]:
            try:
                answer = self.object("/", "ask Nginx Proxy Manager for its state")
            except HttpFailure as failure:
                if failure.status in (502, 503, 504):  # its nginx is up, its backend not yet
                    raise NotReady(failure.message) from failure
                raise
            if answer.get("status") != "OK":
                raise NotReady(f"Unable to use Nginx Proxy Manager: its state is {answer.get('status')!r}")
            return answer

        return dict(wait_for(ask, self.wait))

    def login(self) -> None:
        """Get a token for the requests that follow. Wrong credentials are answered by 400, not 401."""
        to = f"log in to Nginx Proxy Manager as {self.email}"
        answer = self.call("POST", "/tokens", to, {"identity": self.email, "secret": self.password})
        token = answer.get("token") if isinstance(answer, dict) else None
        if not token:
            raise Failure(f"Unable to {to}: no token came back; an account with two-factor login cannot be used")
        self.headers["Authorization"] = f"Bearer {token}"

    def open(self) -> None:
        """Wait for the API, see that it is set up, log in."""
        if not self.status().get("setup", True):
            raise NotReady("Unable to log in to Nginx Proxy Manager: it has no administrator yet (run npm_setup)")
        self.login()
