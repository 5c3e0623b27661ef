# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Proxmox VE's API through proxmoxer: connection options, error texts, tasks polled to their exit status."""

from __future__ import annotations

import re
import time
import traceback
from collections.abc import Callable
from typing import Any

from ansible.module_utils.basic import env_fallback, missing_required_lib
from ansible_collections.homelab.mediaserver.plugins.module_utils._reconcile import Failure

try:
    import requests
    from proxmoxer import ProxmoxAPI
    from proxmoxer.core import AuthenticationError, ResourceException

    IMPORT_ERROR: str | None = None
except ImportError:
    IMPORT_ERROR = traceback.format_exc()


def _env(kind: str, name: str, **more: Any) -> dict[str, Any]:
    return {"type": kind, "fallback": (env_fallback, [name]), **more}


CONNECTION: dict[str, Any] = {
    "api_host": _env("str", "PROXMOX_HOST", required=True),
    "api_port": _env("int", "PROXMOX_PORT", default=8006),
    "api_user": _env("str", "PROXMOX_USER", required=True),
    "api_password": _env("str", "PROXMOX_PASSWORD", no_log=True),
    "api_token_id": _env("str", "PROXMOX_TOKEN_ID", no_log=False),
    "api_token_secret": _env("str", "PROXMOX_TOKEN_SECRET", no_log=True),
    "ca_path": {"type": "path"},
    "validate_certs": {"type": "bool", "default": True},
    "api_timeout": {"type": "int", "default": 30},
    "task_timeout": {"type": "int", "default": 900},
}
ROOT_ONLY = re.compile(r"only root can (set|modify|delete)|Only root (can pass|may use)|only allowed for root@pam")
ROOT_ONLY_HINT = (
    "Proxmox VE lets only root@pam with a password do this, no API token and no other user: use a mapping where there "
    "is one, or log in with api_password"
)
FIRST_POLL, SLOWEST_POLL = 0.05, 2.0


class ApiFailure(Failure):
    """The API refused: HTTP status, its text, and the parameters it complains about."""

    def __init__(self, to: str, text: str, *, status: int | None = None, errors: dict[str, str] | None = None) -> None:
        self.status = status
        self.text = text
        self.errors = errors or {}
        shown = text
        if self.errors:
            shown += " " + "; ".join(f"{key}: {str(value).strip()}" for key, value in sorted(self.errors.items()))
        if ROOT_ONLY.search(shown):
            shown += f" ({ROOT_ONLY_HINT})"
        super().__init__(f"Unable to {to}: {shown}", status=status, errors=self.errors, text=text)

    def is_missing_vm(self, vmid: int) -> bool:
        """Does the answer say that this VM or container does not exist? The API has no 404 for it."""
        pattern = rf"Configuration file 'nodes/[^/']+/(qemu-server|lxc)/{vmid}\.conf' does not exist"
        return self.status == 500 and re.fullmatch(pattern, self.text.strip()) is not None


class TaskFailure(Failure):
    """A task of the node ended with something else than OK."""


class Pve:
    """The API, logged in."""

    def __init__(self, params: dict[str, Any], sleep: Callable[[float], None] = time.sleep) -> None:
        if IMPORT_ERROR is not None:
            raise Failure(missing_required_lib("proxmoxer and requests"), exception=IMPORT_ERROR)
        self.task_timeout = int(params["task_timeout"])
        self.host = f"{params['api_host']}:{params['api_port']}"
        self.warnings: list[str] = []
        self._sleep = sleep
        to = f"log in to Proxmox VE at {self.host} as {params['api_user']}"
        self._api = self._guard(to, lambda: _connect(params))

    def _guard(self, to: str, ask: Callable[[], Any]) -> Any:
        """Turn whatever goes wrong into a Failure with the API's text."""
        try:
            return ask()
        except ResourceException as error:
            errors = error.errors if isinstance(error.errors, dict) else {}
            text = str(error.content or error.status_message).strip()
            raise ApiFailure(to, text, status=error.status_code, errors=errors) from error
        except AuthenticationError as error:
            raise ApiFailure(to, "user or password is wrong", status=401) from error
        except requests.exceptions.SSLError as error:
            text = f"the certificate of {self.host} is not trusted ({error}); give ca_path"
            raise ApiFailure(to, text) from error
        except requests.exceptions.Timeout as error:
            raise ApiFailure(to, f"no answer from {self.host} in time") from error
        except requests.exceptions.RequestException as error:
            raise ApiFailure(to, f"{self.host} is not reached: {error}") from error
        except (KeyError, ValueError, TypeError) as error:
            text = f"the answer of {self.host} is none of Proxmox VE's API ({type(error).__name__})"
            raise ApiFailure(to, text) from error

    def call(self, method: str, path: str, to: str, /, **data: Any) -> Any:
        """``method`` is get, post, put or delete; ``to`` completes "Unable to …"."""
        cleaned = {key: int(value) if isinstance(value, bool) else value for key, value in data.items()}

        def ask() -> Any:
            answer = getattr(self._api(path.strip("/")), method)(**cleaned)
            if isinstance(answer, dict) and isinstance(answer.get("errors"), bytes):
                raise ValueError("no JSON")
            return answer

        return self._guard(to, ask)

    def get_list(self, path: str, to: str, **data: Any) -> list[dict[str, Any]]:
        answer = self.call("get", path, to, **data)
        if not isinstance(answer, list) or not all(isinstance(item, dict) for item in answer):
            raise ApiFailure(to, "the answer is no list of objects")
        return answer

    def get_dict(self, path: str, to: str, **data: Any) -> dict[str, Any]:
        answer = self.call("get", path, to, **data)
        if not isinstance(answer, dict):
            raise ApiFailure(to, "the answer is no object")
        return answer

    def understand(self, to: str, ask: Callable[[], Any]) -> Any:
        """Make sense of answers; what lacks a field, or has another kind of thing there, is no answer of the API."""
        return self._guard(to, ask)

    def digest(self, path: str, to: str, same: Callable[[list[dict[str, Any]]], bool]) -> dict[str, str]:
        """The digest of a list that still is what the plan was made for; every write changes it."""
        rows = self.get_list(path, to)
        if not self.understand(to, lambda: same(rows)):
            raise Failure(f"Unable to {to}: somebody else changed it in between; run again")
        return {"digest": str(rows[0]["digest"])} if rows and rows[0].get("digest") else {}

    def task(self, method: str, path: str, to: str, **data: Any) -> str | None:
        """A call that answers with a task; wait for its end. Its warnings are kept in ``warnings``."""
        upid = self.call(method, path, to, **data)
        if not isinstance(upid, str) or not upid.startswith("UPID:"):
            return None
        self.wait(upid, to)
        return upid

    def wait(self, upid: str, to: str) -> None:
        node = upid.split(":")[1]
        path = f"nodes/{node}/tasks/{upid}"
        deadline, pause = time.monotonic() + self.task_timeout, FIRST_POLL
        while True:
            state = self.get_dict(f"{path}/status", to)
            if state.get("status") == "stopped":
                break
            if time.monotonic() > deadline:
                raise TaskFailure(f"Unable to {to}: the task still runs after {self.task_timeout} seconds", upid=upid)
            self._sleep(pause)
            pause = min(pause * 1.5, SLOWEST_POLL)
        exitstatus = str(state.get("exitstatus", "no exit status"))
        if exitstatus == "OK":
            return
        log = [str(line.get("t", "")) for line in self.get_list(f"{path}/log", to, limit=200)]
        if exitstatus.startswith("WARNINGS"):
            self.warnings += [line for line in log if line.startswith("WARN")] or [f"{to}: {exitstatus}"]
            return
        raise TaskFailure(f"Unable to {to}: {exitstatus.strip()}", upid=upid, exitstatus=exitstatus, log=log[-10:])


def _connect(params: dict[str, Any]) -> Any:
    verify: bool | str = params["validate_certs"]
    if verify and params["ca_path"]:
        verify = params["ca_path"]
    user, token = params["api_user"], params["api_token_id"]
    credentials: dict[str, Any]
    if token:
        if "!" in token:
            user, _mark, token = token.partition("!")
        credentials = {"token_name": token, "token_value": params["api_token_secret"] or ""}
    elif params["api_password"]:
        credentials = {"password": params["api_password"]}
    else:
        raise Failure("Unable to log in to Proxmox VE: give api_password, or api_token_id and api_token_secret")
    return ProxmoxAPI(
        params["api_host"], port=params["api_port"], user=user, verify_ssl=verify, timeout=params["api_timeout"],
        **credentials,
    )  # fmt: skip
