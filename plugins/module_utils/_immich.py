# Copyright (c) 2026 The homelab.mediaserver authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt)
"""Immich's API, versions 1.144 to 3: connection options, session or key, error texts."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
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
    "url": {"type": "str", "default": "http://127.0.0.1:2283"},
    "api_key": {"type": "str", "no_log": True},
    "api_key_file": {"type": "path", "no_log": False},
    "timeout": {"type": "int", "default": 60},
    "validate_certs": {"type": "bool", "default": True},
    "wait": {"type": "int", "default": 0},
}
# what the modules of this collection need; `all` is never asked for
PERMISSIONS = (
    "library.read", "library.create", "library.update", "library.delete", "library.statistics",
    "adminUser.read", "adminUser.create", "adminUser.update", "adminUser.delete",
    "systemConfig.read", "systemConfig.update",
)  # fmt: skip
QUEUES = (2, 4, 0)  # since this version queues have routes and a permission of their own


def error_text(body: bytes) -> str:
    """`message` is a text or a list of texts up to version 2; version 3 lists what is wrong in `errors`."""
    try:
        answer = json.loads(body)
        message = answer["message"]
    except (ValueError, KeyError, TypeError):
        return plain_error(body)
    text = "; ".join(map(str, message)) if isinstance(message, list) else str(message)
    errors = answer.get("errors")
    if isinstance(errors, list):
        details = [
            f"{'.'.join(map(str, error.get('path') or []))}: {error.get('message')}"
            for error in errors
            if isinstance(error, dict)
        ]
        text = "; ".join([text, *details])
    return text


class Immich(Client):
    def __init__(self, params: dict[str, Any]) -> None:
        super().__init__(
            params["url"].rstrip("/") + "/api",
            timeout=params["timeout"],
            validate_certs=params["validate_certs"],
            error_text=error_text,
        )
        self.params = params

    def config(self, maintenance: bool = False) -> dict[str, Any]:
        """The public state: whether there is an administrator, and more. ``maintenance``: that mode is fine, too."""

        def ask() -> dict[str, Any]:
            try:
                answer = self.object("/server/config", "ask Immich for its state")
            except HttpFailure as failure:
                if failure.status in (502, 503, 504):
                    raise NotReady(f"Unable to use Immich: it is still starting ({failure.text})") from failure
                raise
            if answer.get("maintenanceMode") and not maintenance:
                raise Failure("Unable to use Immich: it is in maintenance mode")
            if not isinstance(answer.get("isInitialized"), bool):
                raise Failure("Unable to use Immich: its state does not say whether it is set up; is it an Immich?")
            return answer

        return dict(wait_for(ask, self.params["wait"]))

    def version(self) -> tuple[int, int, int]:
        answer = self.object("/server/version", "ask Immich for its version")
        try:
            return int(answer["major"]), int(answer["minor"]), int(answer["patch"])
        except (KeyError, TypeError, ValueError) as error:
            raise Failure(f"Unable to ask Immich for its version: {answer!r} is none") from error

    def stored_key(self) -> str | None:
        """The API key given, or the content of the file that holds it (None: no such file)."""
        if self.params["api_key"]:
            return str(self.params["api_key"])
        path = self.params["api_key_file"]
        if not path:
            return None
        try:
            return Path(path).read_text(encoding="utf-8").strip() or None
        except FileNotFoundError:
            return None
        except OSError as error:
            raise Failure(f"Unable to read API key file {path}: {error.strerror}") from error

    def login(self, email: str, password: str) -> dict[str, Any]:
        """Open a session for the requests that follow."""
        to = f"log in to Immich as {email}"
        answer = self.call("POST", "/auth/login", to, {"email": email, "password": password})
        if not isinstance(answer, dict) or not answer.get("accessToken"):
            raise Failure(f"Unable to {to}: no token came back")
        self.headers["Authorization"] = f"Bearer {answer['accessToken']}"
        return answer

    def logout(self) -> None:
        """End the session, so that a run leaves none behind; a failure here is no reason to fail."""
        if "Authorization" in self.headers:
            with suppress(Failure):
                self.send("POST", "/auth/logout", "log out of Immich", {})
            del self.headers["Authorization"]

    def open(self) -> None:
        """Wait for the API, see that it is set up, use the API key."""
        if not self.config()["isInitialized"]:
            raise NotReady("Unable to use Immich: it has no administrator yet (run immich_setup)")
        key = self.stored_key()
        if key is None:
            if self.params["api_key_file"]:
                raise NotReady(f"Unable to use Immich: no API key in {self.params['api_key_file']} (run immich_setup)")
            raise Failure("Unable to use Immich: give api_key or api_key_file")
        self.headers["x-api-key"] = key

    def listed(self, path: str, to: str, keys: tuple[str, ...], **more: Any) -> list[dict[str, Any]]:
        """GET a list of objects that have ``keys``; anything else fails."""
        found = self.objects(path, to, **more)
        if not all(key in entry for entry in found for key in keys):
            raise Failure(f"Unable to {to}: an entry of the answer lacks one of {', '.join(keys)}")
        return found

    def libraries(self) -> list[dict[str, Any]]:
        return self.listed("/libraries", "list libraries", ("id", "name", "ownerId"))

    def users(self, deleted: bool = False) -> list[dict[str, Any]]:
        query = {"withDeleted": "true"} if deleted else None
        return self.listed("/admin/users", "list users", ("id", "email"), query=query)

    def user_ids(self) -> dict[str, str]:
        """Ids of all users by e-mail address."""
        return {str(user["email"]).lower(): str(user["id"]) for user in self.users()}

    def create(self, path: str, to: str, body: dict[str, Any]) -> str:
        """POST a new object; its id."""
        answer = self.call("POST", path, to, body)
        if not isinstance(answer, dict) or not answer.get("id"):
            raise Failure(f"Unable to {to}: no id came back")
        return str(answer["id"])

    def delete(self, path: str, to: str, body: Any = None) -> None:
        """DELETE; that somebody else was faster is fine. Immich says 400, not 404, of what it does not know."""
        try:
            self.call("DELETE", path, to, body)
        except HttpFailure as failure:
            if failure.status != 400 or not failure.text.endswith(" not found"):
                raise
