# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the modules of users, tokens, roles, ACLs and pools share: texts, names in paths, narrow "absent"."""

from __future__ import annotations

import functools
import re
from typing import Any
from urllib.parse import quote, unquote

from ansible_collections.homelab.mediaserver.plugins.module_utils._pve import ApiFailure, Pve
from ansible_collections.homelab.mediaserver.plugins.module_utils._reconcile import Failure, Step

NO_USER = re.compile(r"no such user \('.*'\)")


def text(value: Any) -> str:
    """A name or comment as it comes back: /etc/pve/user.cfg loses spaces at the ends and decodes percent-escapes."""
    found = unquote(str(value or "").strip(" "))
    return "" if found == "0" else found


def names(value: Any) -> list[str]:
    """A set of names, however it is written (the API has lists, and texts with commas)."""
    items = value if isinstance(value, list) else re.split(r"[,;\s]+", str(value or ""))
    return sorted({str(item).strip() for item in items if str(item).strip()})


def path(*parts: str) -> str:
    """A path with names in it, as ``access/users/a@pve/token/b``."""
    return "/".join(quote(part, safe="@!") for part in parts)


def step(pve: Pve, describe: str, method: str, where: str, /, **data: Any) -> Step:
    return Step(describe, functools.partial(pve.call, method, where, describe, **data))


def user_id(value: str) -> str:
    """``value``, if it looks like one: a user without a realm would be looked for in vain."""
    if not re.fullmatch(r"[^\s:/!]+@[A-Za-z][A-Za-z0-9._-]+", value):
        raise Failure(f"Unable to understand the user {value!r}: write it with its realm, as in automation@pve")
    return value


def read_user(pve: Pve, userid: str) -> dict[str, Any] | None:
    try:
        return pve.get_dict(path("access", "users", userid), f"read user {userid}")
    except ApiFailure as failure:
        if failure.status == 500 and NO_USER.fullmatch(failure.text.strip()):
            return None
        raise


def read_tokens(pve: Pve, userid: str) -> dict[str, dict[str, Any]] | None:
    """The tokens of a user by name; None without the user."""
    try:
        rows = pve.get_list(path("access", "users", userid, "token"), f"read the tokens of user {userid}")
    except ApiFailure as failure:
        if failure.status == 500 and NO_USER.fullmatch(failure.text.strip()):
            return None
        raise
    return {str(row.get("tokenid")): row for row in rows}


def read_acl(pve: Pve) -> list[dict[str, Any]]:
    return pve.get_list("access/acl", "read the access control list")
