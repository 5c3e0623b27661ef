# Copyright (c) 2026 The homelab.mediaserver authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt)
"""Jellyfin's API: connection options, login, error texts."""

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
    "url": {"type": "str", "default": "http://127.0.0.1:8096"},
    "username": {"type": "str"},
    "password": {"type": "str", "no_log": True},
    "api_key": {"type": "str", "no_log": True},
    "timeout": {"type": "int", "default": 60},
    "validate_certs": {"type": "bool", "default": True},
    "wait": {"type": "int", "default": 0},
}
IDENTITY = 'MediaBrowser Client="homelab.mediaserver", Device="Ansible", DeviceId="homelab.mediaserver", Version="1"'


def error_text(body: bytes) -> str:
    """Plain text, or a problem document with `title` and `errors`."""
    try:
        problem = json.loads(body)
    except ValueError:
        return plain_error(body)
    if isinstance(problem, str):
        return problem[:300]
    if not isinstance(problem, dict) or "title" not in problem:
        return plain_error(body)
    errors = problem.get("errors")
    details = [f"{key}: {' '.join(map(str, text))}" for key, text in errors.items()] if isinstance(errors, dict) else []
    return "; ".join([str(problem["title"]), *details])


class Jellyfin(Client):
    def __init__(self, params: dict[str, Any]) -> None:
        super().__init__(
            params["url"], timeout=params["timeout"], validate_certs=params["validate_certs"], error_text=error_text
        )
        self.params = params
        self.headers["Authorization"] = IDENTITY

    def public_info(self) -> dict[str, Any]:
        """Version and whether the wizard was completed; while it starts, Jellyfin answers 503."""

        def ask() -> dict[str, Any]:
            try:
                answer = self.object("/System/Info/Public", "ask Jellyfin for its state")
            except HttpFailure as failure:
                if failure.status in (502, 503, 504):
                    raise NotReady(f"Unable to use Jellyfin: it is still starting ({failure.text})") from failure
                raise
            if not isinstance(answer.get("StartupWizardCompleted"), bool):
                raise NotReady("Unable to use Jellyfin: it is still starting (no state of the wizard)")
            return answer

        return dict(wait_for(ask, self.params["wait"]))

    def login(self) -> None:
        """Use the API key, or get a token with user name and password."""
        token = self.params["api_key"]
        if not token:
            user = self.params["username"]
            if not user or not self.params["password"]:
                raise Failure("Unable to log in to Jellyfin: give username and password, or api_key")
            to = f"log in to Jellyfin as {user}"
            try:
                body = {"Username": user, "Pw": self.params["password"]}
                answer = self.call("POST", "/Users/AuthenticateByName", to, body)
            except HttpFailure as failure:
                if failure.status != 401:
                    raise
                raise HttpFailure(to, 401, "wrong user name or password") from failure
            token = answer.get("AccessToken") if isinstance(answer, dict) else None
            if not token:
                raise Failure(f"Unable to {to}: no token came back")
        self.headers["Authorization"] = f'{IDENTITY}, Token="{token}"'

    def open(self) -> None:
        """Wait for the API, see that it is set up, log in."""
        if not self.public_info()["StartupWizardCompleted"]:
            raise NotReady("Unable to log in to Jellyfin: it is not set up yet (run jellyfin_setup)")
        self.login()
