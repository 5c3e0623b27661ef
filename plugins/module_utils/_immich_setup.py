# Copyright (c) 2026 The homelab.mediaserver authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt)
"""First administrator, welcome pages and API key of Immich: what is there, what to do, how."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ansible_collections.homelab.mediaserver.plugins.module_utils._http import HttpFailure, strong
from ansible_collections.homelab.mediaserver.plugins.module_utils._immich import PERMISSIONS, QUEUES, Immich
from ansible_collections.homelab.mediaserver.plugins.module_utils._reconcile import Failure, Plan, Step


@dataclass(frozen=True)
class State:
    initialized: bool
    onboarded: bool = False  # the server's welcome pages
    user_onboarded: bool = False  # the administrator's own
    key: dict[str, Any] | None = None  # the stored key, if it still works
    others: tuple[str, ...] = ()  # ids of further keys of that name: the caller has not their secrets


class Setup:
    """The writes. ``result`` collects what only a write can tell."""

    def __init__(self, immich: Immich, params: dict[str, Any], version: tuple[int, int, int]) -> None:
        self.immich = immich
        self.email: str = params["email"].lower()  # as Immich stores it
        self.password: str = strong(params["password"], "Immich")
        self.name: str = params["name"]
        self.key_name: str | None = params["key_name"]
        self.delete_lost: bool = params["delete_lost_keys"]
        queue = "queue.read" if version >= QUEUES else "job.read"
        self.permissions: list[str] = sorted(set(params["key_permissions"] or [*PERMISSIONS, queue]))
        self.result: dict[str, Any] = {}
        self.user_id = ""

    def login(self) -> bool:
        answer = self.immich.login(self.email, self.password)
        if not answer.get("isAdmin"):
            raise Failure(f"Unable to set up Immich: {self.email} is not an administrator")
        self.user_id = str(answer.get("userId", ""))
        return bool(answer.get("isOnboarded"))

    def sign_up(self) -> None:
        body = {"email": self.email, "password": self.password, "name": self.name}
        self.immich.call("POST", "/auth/admin-sign-up", f"create administrator {self.email}", body)
        self.login()

    def onboard(self) -> None:
        self.immich.call(
            "POST", "/system-metadata/admin-onboarding", "mark the welcome pages as seen", {"isOnboarded": True}
        )

    def onboard_user(self) -> None:
        self.immich.call("PUT", "/users/me/onboarding", "mark the user's welcome pages as seen", {"isOnboarded": True})

    def create_key(self) -> None:
        to = f"create API key {self.key_name}"
        body = {"name": self.key_name, "permissions": self.permissions}
        answer = self.immich.call("POST", "/api-keys", to, body)
        if not isinstance(answer, dict) or not answer.get("secret"):
            raise Failure(f"Unable to {to}: no key came back")
        self.result["secret"] = answer["secret"]

    def update_key(self, number: str) -> None:
        body = {"name": self.key_name, "permissions": self.permissions}
        self.immich.call("PUT", f"/api-keys/{number}", f"update API key {self.key_name}", body)

    def deletion(self, number: str) -> Step:
        to = f"delete lost API key {number}"
        return Step(to, lambda: self.immich.delete(f"/api-keys/{number}", to))


def identify(immich: Immich, key: str | None) -> str | None:
    """Id of the key, or None if it is no longer valid. Asked without the session, which would win over the key."""
    if key is None:
        return None
    session = immich.headers.pop("Authorization")
    immich.headers["x-api-key"] = key
    try:
        return str(immich.object("/api-keys/me", "check the stored API key").get("id"))
    except HttpFailure as failure:
        if failure.status == 401:
            return None
        raise
    finally:
        del immich.headers["x-api-key"]
        immich.headers["Authorization"] = session


def read_state(setup: Setup, config: dict[str, Any]) -> State:
    if not config["isInitialized"]:
        return State(initialized=False)
    user_onboarded = setup.login()
    onboarded = bool(config.get("isOnboarded"))
    if setup.key_name is None:
        return State(True, onboarded, user_onboarded)
    keys = setup.immich.listed("/api-keys", "list API keys", ("id", "name"))
    number = identify(setup.immich, setup.immich.stored_key())
    # a key that is not in the list belongs to somebody else
    current = next((key for key in keys if key["id"] == number), None)
    others = tuple(str(key["id"]) for key in keys if key["name"] == setup.key_name and key["id"] != number)
    return State(True, onboarded, user_onboarded, current, others)


def plan(state: State, setup: Setup) -> Plan:
    """Pure: from the state to the steps; ``setup`` gives the names and the writes."""
    after: dict[str, Any] = {"administrator": setup.email, "welcome": "seen"}
    before: dict[str, Any] = {
        "administrator": setup.email if state.initialized else None,
        "welcome": "seen" if state.onboarded and state.user_onboarded else "open",
    }
    steps: list[Step] = []
    if not state.initialized:
        steps.append(Step(f"create administrator {setup.email}", setup.sign_up))
    if not state.onboarded:
        steps.append(Step("mark the welcome pages as seen", setup.onboard))
    if not state.user_onboarded:
        steps.append(Step("mark the administrator's welcome pages as seen", setup.onboard_user))
    if setup.key_name is not None:
        after["key"] = {"name": setup.key_name, "permissions": setup.permissions}
        before["key"] = None
        if state.key is None:
            steps.append(Step(f"create API key {setup.key_name}", setup.create_key))
        else:
            number = str(state.key["id"])
            before["key"] = {"name": state.key["name"], "permissions": sorted(set(state.key.get("permissions") or []))}
            if before["key"] != after["key"]:
                steps.append(Step(f"update API key {setup.key_name}", lambda: setup.update_key(number)))
        steps += [setup.deletion(number) for number in state.others] if setup.delete_lost else []
    result = {"other_keys": [] if setup.delete_lost else list(state.others)} if setup.key_name is not None else {}
    return Plan(before=before, after=after, steps=tuple(steps), result=result)
