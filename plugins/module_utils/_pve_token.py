# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An API token: what it is, what changes it, and its secret, which exists in this process only."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ansible_collections.homelab.mediaserver.plugins.module_utils import _pve_access as access
from ansible_collections.homelab.mediaserver.plugins.module_utils._pve import ApiFailure, Pve
from ansible_collections.homelab.mediaserver.plugins.module_utils._pve_format import flag
from ansible_collections.homelab.mediaserver.plugins.module_utils._reconcile import Failure, Plan, Step

FIELDS = ("privsep", "expire", "comment")


def canonical(field: str, value: Any) -> Any:
    if field == "privsep":
        return flag(value) == "1"
    return int(value or 0) if field == "expire" else access.text(value)


def view(token: dict[str, Any] | None, fields: Iterable[str] = FIELDS) -> dict[str, Any]:
    if token is None:
        return {"state": "absent"}
    given = {"privsep": 1, **token}
    return {"state": "present", **{field: canonical(field, given.get(field)) for field in fields}}


class Token:
    """One token of one user; ``secret`` is there once it was made or regenerated."""

    def __init__(self, pve: Pve, userid: str, tokenid: str) -> None:
        self.pve = pve
        self.name = f"{userid}!{tokenid}"
        self.path = access.path("access", "users", userid, "token", tokenid)
        self.secret: str | None = None

    def create(self, to: str, fields: dict[str, Any]) -> None:
        self._keep(self.pve.call("post", self.path, to, **fields), to)

    def update(self, to: str, fields: dict[str, Any]) -> None:
        """An empty comment is ignored by the API; a space is taken, and lost when the file is read again."""
        sent = {**fields, "comment": fields["comment"] or " "} if "comment" in fields else fields
        self.pve.call("put", self.path, to, **sent)

    def delete(self, to: str) -> None:
        self.pve.call("delete", self.path, to)

    def regenerate(self, to: str, fields: dict[str, Any]) -> None:
        """In place where the release can, else by deleting and making it again with its own ACL entries."""
        try:
            self._keep(self.pve.call("put", self.path, to, regenerate=1), to)
        except ApiFailure as failure:
            if failure.status != 400 or "regenerate" not in failure.errors:
                raise
        else:
            return
        acl = [row for row in access.read_acl(self.pve) if (row.get("type"), row.get("ugid")) == ("token", self.name)]
        self.delete(to)
        self.create(to, {field: value for field, value in fields.items() if value != ""})
        for row in acl:
            self.pve.call("put", "access/acl", to, path=row["path"], roles=row["roleid"], tokens=self.name,
                          propagate=int(row.get("propagate", 1)))  # fmt: skip

    def _keep(self, answer: Any, to: str) -> None:
        secret = answer.get("value") if isinstance(answer, dict) else None
        if not secret:
            raise Failure(f"Unable to {to}: the answer has no secret")
        self.secret = str(secret)


def _not_own(token: Token, params: dict[str, Any]) -> None:
    """The token that asks would be locked out before it could read the answer."""
    own = params["api_token_id"] or ""
    if token.name == (own if "!" in own else f"{params['api_user']}!{own}"):
        verb = "delete" if params["state"] == "absent" else "regenerate"
        raise Failure(
            f"Unable to {verb} token {token.name}: it is the one that asks; log in with another or a password"
        )


def plan(token: Token, params: dict[str, Any], tokens: dict[str, dict[str, Any]] | None) -> Plan:
    """``tokens`` are all tokens of the user, None if the user does not exist."""
    current = (tokens or {}).get(params["tokenid"])
    result = {"full_tokenid": token.name}

    def step(describe: str, apply: Any, *arguments: Any) -> Step:
        return Step(describe, lambda: apply(describe, *arguments))

    if params["regenerate"] or params["state"] == "absent":
        _not_own(token, params)
    if params["state"] == "absent":
        steps = (step(f"delete token {token.name}", token.delete),) if current is not None else ()
        return Plan(view(current, ()), {"state": "absent"}, steps, result=result)
    wanted = {field: canonical(field, params[field]) for field in FIELDS if params[field] is not None}
    before, after = view(current, wanted), {"state": "present", **wanted}
    if current is None:
        data = {field: value for field, value in wanted.items() if value != ""}
        note = f"user {params['userid']} does not exist yet" if tokens is None else ""
        made = step(f"create token {token.name}", token.create, data)
        return Plan(before, after, (made,), (note,) if note else (), result)
    changed = {field: value for field, value in wanted.items() if before[field] != value}
    found = []
    if changed:
        found.append(step(f"set {', '.join(changed)} of token {token.name}", token.update, changed))
    if params["regenerate"]:
        fields = {field: view({**current, **wanted})[field] for field in FIELDS}
        found.append(step(f"regenerate the secret of token {token.name}", token.regenerate, fields))
    return Plan(before, after, tuple(found), result=result)
