# Copyright (c) 2026 The homelab.mediaserver authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt)
"""JSON over HTTP with Ansible's own URL code, for the modules that talk to an application's API.

One :class:`Client` per module run. :func:`transport` is the only function that touches the network; unit tests
replace it by a stateful fake of the application.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote, urlencode, urlsplit

from ansible.module_utils.urls import ConnectionError as AnsibleConnectionError
from ansible.module_utils.urls import SSLValidationError, open_url
from ansible_collections.homelab.mediaserver.plugins.module_utils._reconcile import Failure, Plan, Step

LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True)
class Request:
    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    data: bytes | None = None
    timeout: float = 30
    validate_certs: bool = True


@dataclass(frozen=True)
class Response:
    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


class HttpFailure(Failure):
    """The server answered, but not with success. ``status`` and ``text`` say what it said."""

    def __init__(self, to: str, status: int, text: str) -> None:
        super().__init__(f"Unable to {to}: {text} (HTTP {status})", status=status)
        self.status = status
        self.text = text


class NotReady(Failure):
    """Nobody is there to ask yet: connection refused, still starting, or not set up."""


def transport(request: Request) -> Response:
    """Send one request. A status other than success is an answer like any other; no answer raises OSError."""
    try:
        with open_url(
            request.url,
            data=request.data,
            headers=dict(request.headers),
            method=request.method,
            timeout=request.timeout,
            validate_certs=request.validate_certs,
            follow_redirects="none",
            use_proxy=urlsplit(request.url).hostname not in LOOPBACK,
            http_agent="homelab.mediaserver",
        ) as answer:
            return Response(answer.status, answer.read(), dict(answer.headers))
    except HTTPError as error:
        return Response(error.code, error.read() if error.fp else b"", dict(error.headers or {}))


def refused(error: BaseException) -> bool:
    """Whether nothing listens there (as opposed to a server that is slow, or a certificate that is wrong)."""
    reason = getattr(error, "reason", error)
    return isinstance(reason, ConnectionRefusedError | ConnectionResetError)


def plain_error(body: bytes) -> str:
    """The text of an error body: its JSON `message`, or the body itself, shortened."""
    text = body.decode("utf-8", "replace").strip()
    try:
        parsed = json.loads(text)
    except ValueError:
        return text[:300] or "empty answer"
    if isinstance(parsed, dict) and isinstance(parsed.get("message"), str):
        return str(parsed["message"])
    return text[:300]


class Client:
    """Requests to one server. ``to`` in every call completes the sentence "Unable to ..."."""

    def __init__(
        self,
        base: str,
        *,
        timeout: float = 30,
        validate_certs: bool = True,
        error_text: Callable[[bytes], str] = plain_error,
    ) -> None:
        self.base = base.rstrip("/")
        self.headers: dict[str, str] = {"Accept": "application/json"}
        self.timeout = timeout
        self.validate_certs = validate_certs
        self.error_text = error_text
        self.requests = 0

    def send(
        self,
        method: str,
        path: str,
        to: str,
        body: Any = None,
        *,
        query: Mapping[str, Any] | None = None,
        files: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> Response:
        """Send and return the answer whatever its status; raise :class:`NotReady` or :class:`Failure` without one."""
        url = self.base + path + (f"?{urlencode(query, quote_via=quote)}" if query else "")
        sent = {**self.headers, **(headers or {})}
        data = None
        if files is not None:
            boundary = uuid.uuid4().hex
            data = multipart(files, boundary)
            sent["Content-Type"] = f"multipart/form-data; boundary={boundary}"
        elif body is not None:
            data = json.dumps(body).encode()
            sent["Content-Type"] = "application/json"
        self.requests += 1
        try:
            return transport(Request(method, url, sent, data, timeout or self.timeout, self.validate_certs))
        except TimeoutError:
            raise Failure(f"Unable to {to}: no answer within {timeout or self.timeout:g} s from {self.base}") from None
        except (OSError, HTTPException, ValueError, AnsibleConnectionError, SSLValidationError) as error:
            reason = getattr(error, "reason", error)
            if isinstance(reason, TimeoutError):
                raise Failure(f"Unable to {to}: no answer within {timeout or self.timeout:g} s") from None
            kind = NotReady if refused(error) else Failure
            raise kind(f"Unable to {to}: {self.base}: {reason or type(error).__name__}") from error

    def call(self, method: str, path: str, to: str, body: Any = None, **more: Any) -> Any:
        """Send and return the parsed JSON of a successful answer (None for an empty one); raise for all others."""
        response = self.send(method, path, to, body, **more)
        if not 200 <= response.status < 300:
            raise HttpFailure(to, response.status, self.error_text(response.body))
        if not response.body.strip():
            return None
        try:
            return json.loads(response.body)
        except ValueError:
            text = response.body[:80].decode("utf-8", "replace")
            raise Failure(f"Unable to {to}: the answer is not JSON: {text!r}") from None

    def objects(self, path: str, to: str, **more: Any) -> list[dict[str, Any]]:
        """GET a list of objects; anything else fails."""
        answer = self.call("GET", path, to, **more)
        if not isinstance(answer, list) or not all(isinstance(entry, dict) for entry in answer):
            raise Failure(f"Unable to {to}: expected a list of objects, got {type(answer).__name__}")
        return answer

    def object(self, path: str, to: str, **more: Any) -> dict[str, Any]:
        """GET one object; anything else fails."""
        answer = self.call("GET", path, to, **more)
        if not isinstance(answer, dict):
            raise Failure(f"Unable to {to}: expected an object, got {type(answer).__name__}")
        return answer


def multipart(files: Mapping[str, str], boundary: str) -> bytes:
    """Body of multipart/form-data with one text file per entry."""
    lines: list[str] = []
    for name, content in files.items():
        lines += [
            f"--{boundary}",
            f'Content-Disposition: form-data; name="{name}"; filename="{name}.pem"',
            "Content-Type: application/x-pem-file",
            "",
            content,
        ]
    return "\r\n".join([*lines, f"--{boundary}--", ""]).encode()


def wait_for(ask: Callable[[], Any], seconds: float, pause: float = 1.0) -> Any:
    """Call ``ask`` until it does not raise :class:`NotReady`, at least once; then its last complaint counts."""
    end = time.monotonic() + seconds
    while True:
        try:
            return ask()
        except NotReady:
            if time.monotonic() + pause > end:
                raise
        time.sleep(pause)


def later(failure: NotReady, what: str, after: Any) -> Plan:
    """The plan for an application that is not there yet: all is still to be done, by a run that finds it.

    A dry run of a fresh machine thus says what would happen, and a real run fails with the reason.
    """

    def complain() -> None:
        raise failure

    note = f"{failure.message}; a run that finds it will {what}"
    return Plan(before=None, after=after, steps=(Step(what, complain),), warnings=(note,), result={"reachable": False})


def merge(current: Any, wanted: Any) -> Any:
    """``current`` with ``wanted`` laid over it: objects key by key, anything else is replaced."""
    if isinstance(current, dict) and isinstance(wanted, dict):
        return {**current, **{key: merge(current.get(key), value) for key, value in wanted.items()}}
    return wanted


def unknown_keys(current: Any, wanted: Any, at: str = "") -> list[str]:
    """A message for each key of ``wanted`` that ``current`` does not have, with near matches.

    Below an empty object anything goes: servers use those for free-form maps.
    """
    if not isinstance(wanted, dict) or not isinstance(current, dict) or (at and not current):
        return []
    messages: list[str] = []
    for key, value in wanted.items():
        if key in current:
            messages += unknown_keys(current[key], value, f"{at}{key}.")
            continue
        near = get_close_matches(key, current, 3)
        messages.append(f"unknown key {at}{key}" + (f" (did you mean {', '.join(near)}?)" if near else ""))
    return messages


def only_wanted(current: Any, wanted: Any) -> Any:
    """The part of ``current`` that ``wanted`` speaks of, so that a diff shows nothing else."""
    if isinstance(current, dict) and isinstance(wanted, dict):
        return {key: only_wanted(current.get(key), value) for key, value in wanted.items()}
    return current


def strong(password: str, of: str) -> str:
    """``password``, unless it is empty: some applications accept that."""
    if not password:
        raise Failure(f"Unable to set up {of}: the password is empty")
    return password
