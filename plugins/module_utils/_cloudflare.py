# Copyright (c) 2026 The homelab.mediaserver authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt)
"""Cloudflare's API: connection options, the envelope of its answers, pages, the rate limit, ids looked up by name."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import env_fallback
from ansible_collections.homelab.mediaserver.plugins.module_utils import _deadman
from ansible_collections.homelab.mediaserver.plugins.module_utils._http import (
    Client,
    HttpFailure,
    Response,
    plain_error,
)
from ansible_collections.homelab.mediaserver.plugins.module_utils._reconcile import Failure

CONNECTION: dict[str, Any] = {
    "api_token": {"type": "str", "no_log": True, "fallback": (env_fallback, ["CLOUDFLARE_API_TOKEN"])},
    "api_token_file": {"type": "path", "no_log": False},
    "account": {"type": "str"},
    "zone": {"type": "str"},
    "api_url": {"type": "str", "default": "https://api.cloudflare.com/client/v4"},
    "timeout": {"type": "int", "default": 30},
    "rate_limit_wait": {"type": "int", "default": 310},
}
PER_PAGE = 50  # the most that every list of the API takes
MOST_PAGES = 200
ID = re.compile(r"[0-9a-f]{32}")
NEEDS = {
    "zone": "Zone: Zone: Read",
    "dns": "Zone: DNS: Edit",
    "tunnel": "Account: Cloudflare Tunnel: Edit",
    "access": "Account: Access: Apps and Policies: Edit",
    "service_tokens": "Account: Access: Service Tokens: Edit",
    "account": "Account: Account Settings: Read",
}


def error_text(body: bytes) -> str:
    """All messages of the envelope's `errors` with their codes and what lies below them."""
    try:
        errors = json.loads(body)["errors"]
        texts = [_one_error(one) for one in errors]
    except (ValueError, KeyError, TypeError):
        return plain_error(body)
    return "; ".join(texts) or plain_error(body)


def _one_error(error: Mapping[str, Any]) -> str:
    below = "; ".join(_one_error(one) for one in error.get("error_chain") or [])
    return f"{error['message']} (code {error['code']}){': ' + below if below else ''}"


def token_of(params: Mapping[str, Any]) -> str:
    """The API token, from the option or the file."""
    if params["api_token"]:
        return str(params["api_token"]).strip()
    if not params["api_token_file"]:
        raise Failure("Unable to log in to Cloudflare: give api_token, api_token_file or CLOUDFLARE_API_TOKEN")
    return read_secret(params["api_token_file"], "read Cloudflare's API token") or _empty(params["api_token_file"])


def _empty(path: str) -> str:
    raise Failure(f"Unable to read Cloudflare's API token: {path} is missing or empty")


def read_secret(path: str, to: str) -> str:
    """The text of a file, empty when there is none."""
    try:
        return (_deadman.read_file(path) or "").strip()
    except (OSError, ValueError) as error:
        raise Failure(f"Unable to {to}: {path}: {error}") from error


def private(path: str) -> bool:
    """Whether nobody but the owner may read it."""
    return Path(path).stat().st_mode & 0o777 == 0o600


def write_secret(path: str, text: str, to: str) -> None:
    """Write a file that only its owner may read."""
    try:
        Path(path).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _deadman.write_file(path, text.rstrip("\n") + "\n", 0o600)
    except OSError as error:
        raise Failure(f"Unable to {to}: {path}: {error}") from error


class Cloudflare(Client):
    """The API with its token. ``needs`` in every call is a key of NEEDS: what the token must be allowed."""

    def __init__(self, params: Mapping[str, Any]) -> None:
        super().__init__(params["api_url"], timeout=params["timeout"], error_text=error_text)
        self.token = token_of(params)
        if not re.fullmatch(r"[\x21-\x7e]+", self.token):
            raise Failure("Unable to log in to Cloudflare: the API token holds spaces or other odd characters")
        self.headers["Authorization"] = f"Bearer {self.token}"
        self.patience = float(params["rate_limit_wait"])

    def ask(self, method: str, path: str, to: str, needs: str, body: Any = None, **more: Any) -> dict[str, Any]:
        """One request; its envelope, when it says success. A request that the rate limit refused is sent again."""
        while True:
            response = self.send(method, path, to, body, **more)
            if response.status != 429 or not self._wait(response):
                break
        if not 200 <= response.status < 300:
            raise self._refused(to, needs, response)
        try:
            envelope = json.loads(response.body)
        except ValueError:
            raise Failure(f"Unable to {to}: the answer is not JSON") from None  # not shown: it may hold a secret
        if not isinstance(envelope, dict) or envelope.get("success") is not True or "result" not in envelope:
            raise Failure(f"Unable to {to}: the answer has no success and result")
        return envelope

    def _wait(self, response: Response) -> bool:
        """Sleep as long as the answer says; false when that is longer than the patience that is left."""
        headers = {name.lower(): value for name, value in response.headers.items()}
        text = headers.get("retry-after", "")
        seconds = float(text) if text.isdigit() else 60.0
        if seconds > self.patience:
            return False
        self.patience -= max(seconds, 1.0)
        time.sleep(seconds)
        return True

    def _refused(self, to: str, needs: str, response: Response) -> HttpFailure:
        text = error_text(response.body)
        if response.status == 401 or "(code 6003)" in text:  # 6003: the header with the token is malformed
            text += "; is the API token right and not expired?"
        elif response.status == 403:
            text += f"; does the API token have {NEEDS[needs]}, for this account and zone?"
        elif response.status == 429:
            text += "; Cloudflare's rate limit: wait five minutes"
        return HttpFailure(to, response.status, text)

    def result(self, method: str, path: str, to: str, needs: str, body: Any = None, **more: Any) -> dict[str, Any]:
        """The object that comes back."""
        found = self.ask(method, path, to, needs, body, **more)["result"]
        if not isinstance(found, dict):
            raise Failure(f"Unable to {to}: expected an object, got {type(found).__name__}")
        return found

    def all(
        self, path: str, to: str, needs: str, keys: tuple[str, ...], query: Mapping[str, Any] | None = None,
        per_page: int = PER_PAGE,
    ) -> list[dict[str, Any]]:  # fmt: skip
        """All pages of a list of objects, each with text under ``keys``."""
        found: list[dict[str, Any]] = []
        for page in range(1, MOST_PAGES + 1):
            asked = {**(query or {}), "per_page": per_page, "page": page}
            envelope = self.ask("GET", path, to, needs, query=asked)
            rows = envelope["result"]
            if not isinstance(rows, list) or not all(_has(row, keys) for row in rows):
                raise Failure(f"Unable to {to}: expected a list of objects with {', '.join(keys)}")
            found += rows
            if page >= _pages(envelope.get("result_info"), to):
                return found
        raise Failure(f"Unable to {to}: the list does not end after {MOST_PAGES} pages")

    def find_zone(self, name: str, account: str | None) -> dict[str, Any]:
        """The zone of that name, with its account."""
        to = f"find zone {name} at Cloudflare"
        zones = self.all("/zones", to, "zone", ("id", "name"), {"name": name})
        zones = [zone for zone in zones if zone["name"] == name and _has(zone.get("account"), ("id",))]
        if account:
            zones = [zone for zone in zones if account in (zone["account"]["id"], zone["account"].get("name"))]
        if len(zones) != 1:
            owner = f" in account {account}" if account else ""
            count = f"there are {len(zones)}: name the account" if zones else f"the API token sees none{owner}"
            raise Failure(f"Unable to {to}: {count}. It needs {NEEDS['zone']} for that zone")
        return zones[0]

    def find_account(self, params: Mapping[str, Any]) -> str:
        """The account's id: given, that of the zone, or looked up by its name."""
        account, zone = params["account"], params["zone"]
        if account and ID.fullmatch(account):
            return str(account)
        if zone:
            return str(self.find_zone(zone, account)["account"]["id"])
        if not account:
            raise Failure("Unable to choose an account of Cloudflare: give zone or account")
        to = f"find account {account} at Cloudflare"
        accounts = [
            one for one in self.all("/accounts", to, "account", ("id", "name"), {"name": account})
            if one["name"] == account
        ]  # fmt: skip
        if len(accounts) != 1:
            raise Failure(f"Unable to {to}: the API token sees {len(accounts)} of that name; give its id, or zone")
        return str(accounts[0]["id"])


def _has(row: Any, keys: tuple[str, ...]) -> bool:
    return isinstance(row, dict) and all(isinstance(row.get(key), str) and row[key] for key in keys)


def _pages(info: Any, to: str) -> int:
    """How many pages there are; a list without page numbers is one."""
    pages = info.get("total_pages", 1) if isinstance(info, dict) else 1
    if not isinstance(pages, int) or isinstance(pages, bool):
        raise Failure(f"Unable to {to}: the number of pages is {pages!r}")
    return pages
