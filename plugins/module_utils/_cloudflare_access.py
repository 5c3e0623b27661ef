# Copyright (c) 2026 The homelab.mediaserver authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt)
"""What Cloudflare Access shall have, in the API's words, compared with what it has: no requests.

Everything of ours bears a name that begins with the mark. An application is found by the name that it guards, so that
another name means another application: the old one keeps its guard until nothing leads there any more.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from ansible_collections.homelab.mediaserver.plugins.module_utils._http import merge, only_wanted
from ansible_collections.homelab.mediaserver.plugins.module_utils._reconcile import Failure

Tree = dict[str, Any]
READ_ONLY = ("id", "uid", "aud", "created_at", "updated_at", "app_count", "reusable", "self_hosted_domains")
RENEW = timedelta(days=30)


@dataclass(frozen=True)
class Found:
    """What the account has: ours by name without the mark, and all applications."""

    tokens: dict[str, Tree]
    policies: dict[str, Tree]
    applications: list[Tree]


def is_ours(mark: str, row: Tree) -> bool:
    return str(row.get("name") or "").startswith(f"{mark}: ")


def own(mark: str, rows: Iterable[Tree], what: str) -> dict[str, Tree]:
    """Ours, by their names without the mark. Two of a name cannot be told apart."""
    found: dict[str, Tree] = {}
    for row in rows:
        if not is_ours(mark, row):
            continue
        name = row["name"].removeprefix(f"{mark}: ")
        if name in found:
            raise Failure(f"Unable to manage {what} {row['name']}: there are several of that name")
        found[name] = row
    return found


# what is wanted, in the API's words


def rules(option: Mapping[str, Any], token_ids: Mapping[str, str]) -> list[Tree]:
    """The include rules of a policy: who it is about."""
    found: list[Tree] = [{"email": {"email": address.lower()}} for address in option["emails"]]
    found += [{"email_domain": {"domain": domain.lower().lstrip("@")}} for domain in option["email_domains"]]
    found += [{"service_token": {"token_id": token_ids[name]}} for name in option["service_tokens"]]
    return found


def canonical_rules(value: Any) -> list[str]:
    """Rules as a set that can be compared: their order means nothing, nor do capitals of an address."""
    rows = value if isinstance(value, list) else []
    return sorted({json.dumps(row, sort_keys=True).lower() for row in rows})


def check_options(params: Mapping[str, Any]) -> None:
    """Names that are listed twice, policies about nobody, and references to what is not listed."""
    for key, label in (("service_tokens", "name"), ("policies", "name"), ("applications", "domain")):
        names = [option[label] for option in params[key]]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise Failure(f"Unable to plan {key}: {', '.join(twice)} is listed twice")
    tokens = {option["name"] for option in params["service_tokens"]}
    policies = {option["name"] for option in params["policies"]}
    for option in params["policies"]:
        if not rules({**option, "service_tokens": []}, {}) and not option["service_tokens"]:
            raise Failure(f"Unable to plan policy {option['name']}: it is about nobody")
        if option["service_tokens"] and option["decision"] != "non_identity":
            raise Failure(f"Unable to plan policy {option['name']}: service tokens want decision non_identity")
        _listed("service token", set(option["service_tokens"]) - tokens, f"policy {option['name']}")
    for option in params["applications"]:
        if not option["policies"]:
            raise Failure(f"Unable to plan application {option['domain']}: it has no policy, so nobody could log in")
        _listed("policy", set(option["policies"]) - policies, f"application {option['domain']}")


def _listed(what: str, missing: set[str], user: str) -> None:
    if missing:
        raise Failure(f"Unable to plan {user}: no {what} {', '.join(sorted(missing))} is listed")


def policy_body(mark: str, option: Mapping[str, Any], token_ids: Mapping[str, str], current: Tree | None) -> Tree:
    """The whole policy: what somebody added besides (exclude, require, ...) stays."""
    wanted = {
        "name": f"{mark}: {option['name']}",
        "decision": option["decision"],
        "include": rules(option, token_ids),
    }
    return {"exclude": [], "require": [], **writable(current), **wanted}


def same_policy(body: Tree, current: Tree | None) -> bool:
    if current is None:
        return False
    return body["decision"] == current.get("decision") and canonical_rules(body["include"]) == canonical_rules(
        current.get("include")
    )


def application_body(mark: str, option: Mapping[str, Any], policy_ids: Mapping[str, str], current: Tree | None) -> Tree:
    """The whole application: one name, guarded by these policies in their order."""
    domain = option["domain"]
    wanted: Tree = {
        "name": f"{mark}: {domain}",
        "type": "self_hosted",
        "domain": domain,
        "destinations": [{"type": "public", "uri": domain}],
        "policies": [
            {"id": policy_ids[name], "precedence": number} for number, name in enumerate(option["policies"], start=1)
        ],
    }
    if option["session_duration"]:
        wanted["session_duration"] = option["session_duration"]
    settings = option["settings"] or {}
    clash = sorted(set(settings) & {*wanted, *READ_ONLY})
    if clash:
        raise Failure(f"Unable to plan application {domain}: settings must not hold {', '.join(clash)}")
    return {**merge(writable(current), settings), **wanted}


def same_application(option: Mapping[str, Any], body: Tree, current: Tree | None) -> bool:
    if current is None:
        return False
    keys = {"name", "type", "domain", *(option["settings"] or {})}
    keys |= {"session_duration"} if option["session_duration"] else set()
    plain = {key: body[key] for key in keys}
    return (
        only_wanted({key: current.get(key) for key in keys}, plain) == plain
        and names_of(current) == [option["domain"]]
        and policy_ids_of(current) == [one["id"] for one in body["policies"]]
    )


def writable(current: Tree | None) -> Tree:
    """What the API said, without what it does not take back."""
    return {key: value for key, value in (current or {}).items() if key not in READ_ONLY and value is not None}


def names_of(application: Tree) -> list[str]:
    """All names that it guards."""
    destinations = application.get("destinations") or []
    public = [one.get("uri") for one in destinations if isinstance(one, dict)]
    return list(public or application.get("self_hosted_domains") or [application.get("domain")])


def policy_ids_of(application: Tree) -> list[str]:
    rows = [one for one in application.get("policies") or [] if isinstance(one, dict)]
    return [str(one.get("id")) for one in sorted(rows, key=lambda one: one.get("precedence") or 0)]


def find_application(mark: str, domain: str, rows: list[Tree]) -> Tree | None:
    """Ours for that name. One that somebody made by hand is not taken over."""
    found = [row for row in rows if row.get("name") == f"{mark}: {domain}"]
    if len(found) > 1:
        raise Failure(f"Unable to manage application {mark}: {domain}: there are several of that name")
    for row in rows:
        if not is_ours(mark, row) and domain in names_of(row):
            raise Failure(
                f"Unable to guard {domain}: the application {row.get('name')!r}, which is not ours, does so already. "
                f"Remove it, or hand it over by renaming it to '{mark}: {domain}'"
            )
    return found[0] if found else None


def moment(text: Any) -> datetime | None:
    """A time of the API, None where there is none."""
    try:
        return datetime.fromisoformat(str(text).replace("Z", "+00:00"))
    except ValueError:
        return None


def token_task(option: Mapping[str, Any], current: Tree | None, written: str, now: datetime) -> str:
    """create, rotate, renew or nothing. ``written`` is what the token's file holds.

    A secret is told once. A token whose file is missing is rotated when it was never used: then nobody holds its
    secret. One that is in use is not: its phones would be locked out.
    """
    if current is None:
        return "create"
    if not written or str(current.get("client_id")) not in written:
        if current.get("last_seen_at") and not option["rotate"]:
            raise Failure(
                f"Unable to write service token {option['name']}: its secret was told once, is in use, and is not in "
                f"{option['file']}. Put that file back, or say rotate: true, and give all its users the new secret"
            )
        return "rotate"
    expires = moment(current.get("expires_at"))
    return "renew" if expires is not None and expires - now < RENEW else ""


def shown(token: Tree) -> str:
    """The two headers, as the phone's app wants them."""
    return f"CF-Access-Client-Id: {token['client_id']}\nCF-Access-Client-Secret: {token['client_secret']}\n"
