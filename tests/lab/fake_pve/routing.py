# SPDX-License-Identifier: MIT
"""Which function answers which path."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from .errors import ApiError, invalid
from .world import World

Handler = Callable[..., Any]
_ROUTES: list[tuple[str, re.Pattern[str], Handler]] = []


@dataclass
class Call:
    """One request: who asks, and with which parameters."""

    world: World
    user: str
    params: dict[str, Any]
    token: bool = False
    denied: frozenset[str] = field(default_factory=frozenset)

    @property
    def root(self) -> bool:
        """Is it root@pam by password? A token of root@pam is not."""
        return self.user == "root@pam"

    def may(self, privilege: str) -> bool:
        return privilege not in self.denied

    def need(self, privilege: str, path: str) -> None:
        if not self.may(privilege):
            raise ApiError(403, f"Permission check failed ({path}, {privilege})")

    def require(self, *names: str) -> dict[str, Any]:
        missing = {name: "property is missing and it is not optional" for name in names if name not in self.params}
        if missing:
            raise invalid(missing)
        return self.params

    def list_param(self, name: str) -> list[str]:
        """An array parameter: sent once or repeated."""
        value = self.params.get(name, [])
        return [str(item) for item in value] if isinstance(value, list) else [str(value)]


def route(method: str, path: str) -> Callable[[Handler], Handler]:
    """``{name}`` matches one part of the path, percent-decoded; ``{volume}`` and ``{cidr}`` match all that is left."""
    pattern = re.sub(r"\{(\w+)\}", lambda m: f"(?P<{m[1]}>{'.+' if m[1] in ('volume', 'cidr') else '[^/]+'})", path)

    def register(handler: Handler) -> Handler:
        _ROUTES.append((method, re.compile(pattern), handler))
        return handler

    return register


def find(method: str, path: str) -> tuple[Handler, dict[str, str]]:
    for wanted, pattern, handler in _ROUTES:
        match = pattern.fullmatch(path) if wanted == method else None
        if match:
            return handler, {name: unquote(value) for name, value in match.groupdict().items()}
    raise ApiError(501, f"Method '{method} {path}' not implemented")
