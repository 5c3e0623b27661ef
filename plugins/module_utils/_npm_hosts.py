# Copyright (c) 2026 The homelab.mediaserver authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt)
"""What to do with Nginx Proxy Manager's proxy hosts: pure comparison, no requests.

Three things of the real one shape this. A PUT without a change still rewrites the configuration and reloads nginx, so
only differences are sent. A configuration that nginx refuses is answered by success, and the refusal stands in the
host's `meta` only, so `meta` is read. And it silently drops TLS flags that make no sense together, so they are dropped
here too before comparing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ansible_collections.homelab.mediaserver.plugins.module_utils._reconcile import Failure

MARK = "mediaserver"  # key in `meta` of the hosts that belong to this collection; its value is the service's name

# option -> field of the API, and how to bring both sides into one form
PLAIN_FIELDS = {
    "forward_scheme": ("forward_scheme", str),
    "forward_host": ("forward_host", str),
    "forward_port": ("forward_port", int),
    "ssl_forced": ("ssl_forced", bool),
    "http2": ("http2_support", bool),
    "hsts": ("hsts_enabled", bool),
    "hsts_subdomains": ("hsts_subdomains", bool),
    "websockets": ("allow_websocket_upgrade", bool),
    "block_exploits": ("block_exploits", bool),
    "caching": ("caching_enabled", bool),
    "advanced_config": ("advanced_config", str),
    "enabled": ("enabled", bool),
}
CONVERT = {**dict(PLAIN_FIELDS.values()), "certificate_id": int, "access_list_id": int}
LOCATION_KEYS = ("path", "forward_scheme", "forward_host", "forward_port", "advanced_config")


@dataclass(frozen=True)
class Change:
    """One write: `kind` is create, update or delete; `number` the host's id (0 for a new one)."""

    kind: str
    name: str
    number: int = 0
    body: dict[str, Any] = field(default_factory=dict)


def host_name(host: dict[str, Any]) -> str:
    return str(host["domain_names"][0]) if host.get("domain_names") else f"#{host.get('id')}"


def locations(value: Any) -> list[dict[str, Any]]:
    """Locations in one form: known keys, numbers as numbers, in order of the path."""
    entries = [{key: entry.get(key) for key in LOCATION_KEYS} for entry in value or []]
    for entry in entries:
        entry["forward_port"] = int(entry["forward_port"])
        entry["advanced_config"] = entry["advanced_config"] or ""
    return sorted(entries, key=lambda entry: str(entry["path"]))


def canonical(host: dict[str, Any]) -> dict[str, Any]:
    """The fields of a host of the API that can be compared."""
    same: dict[str, Any] = {key: convert(host[key]) for key, convert in CONVERT.items() if host.get(key) is not None}
    same["domain_names"] = sorted({name.lower() for name in host.get("domain_names", [])})
    if "locations" in host:
        same["locations"] = locations(host["locations"])
    return same


def find_certificate(name: str, certificates: list[dict[str, Any]]) -> int:
    """Id of the certificate of that name. Let's Encrypt's are named by their domains, in whatever order."""
    wanted = {part.strip() for part in name.split(",")}
    found = [c for c in certificates if c["nice_name"] == name]
    found = found or [
        c for c in certificates if set(c.get("domain_names") or []) == wanted and c["provider"] == "letsencrypt"
    ]
    return only_one(found, "certificate", name)


def only_one(found: list[dict[str, Any]], kind: str, name: str) -> int:
    if len(found) == 1:
        return int(found[0]["id"])
    numbers = ", ".join(f"#{entry['id']}" for entry in found)
    raise Failure(
        f"Unable to use {kind} {name}: " + (f"there are several of that name ({numbers})" if found else "not found")
    )


def wanted_body(
    option: dict[str, Any], certificates: list[dict[str, Any]], lists: list[dict[str, Any]]
) -> dict[str, Any]:
    """One host of the module's options as the API's fields; unset options are left out."""
    body: dict[str, Any] = {"domain_names": sorted({name.lower() for name in option["domains"]})}
    for key, (api_name, convert) in PLAIN_FIELDS.items():
        if option.get(key) is not None:
            body[api_name] = convert(option[key])
    if option.get("locations") is not None:
        body["locations"] = locations(option["locations"])
    name = option.get("certificate")
    if name is not None:
        body["certificate_id"] = find_certificate(name, certificates) if name else 0
    name = option.get("access_list")
    if name is not None:
        body["access_list_id"] = only_one([a for a in lists if a["name"] == name], "access list", name) if name else 0
    return body


def drop_impossible(body: dict[str, Any], current: dict[str, Any]) -> None:
    """Drop TLS flags as the real one does: HTTP/2 and redirect need a certificate, HSTS needs the redirect."""
    after = {**current, **body}
    for needed, flags in (
        ("certificate_id", ("ssl_forced", "http2_support")),
        ("ssl_forced", ("hsts_enabled",)),
        ("hsts_enabled", ("hsts_subdomains",)),
    ):
        if not after.get(needed):
            for flag in flags:
                after[flag] = False
                if flag in body:
                    body[flag] = False


def served(host: dict[str, Any]) -> bool:
    """Whether nginx serves it; a disabled host need not be."""
    return not host.get("enabled", True) or (host.get("meta") or {}).get("nginx_online") is True


def owner(host: dict[str, Any]) -> str | None:
    """Name of the service this collection made the host for; None for somebody else's."""
    mark = (host.get("meta") or {}).get(MARK)
    return str(mark) if mark is not None else None


def check_wanted(options: list[dict[str, Any]]) -> None:
    seen: dict[str, str] = {}
    for option in options:
        if not option["domains"]:
            raise Failure("Unable to plan proxy hosts: one of them has no domain")
        for domain in {name.lower() for name in option["domains"]}:
            if domain in seen:
                raise Failure(
                    f"Unable to plan proxy host {option['domains'][0]}: {domain} is also one of {seen[domain]}'s"
                )
            seen[domain] = option["domains"][0]


def choose(domains: list[str], free: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The existing host that shall have ``domains``: the only one with any of them, or the foreign one of several."""
    found = [host for host in free if set(domains) & {name.lower() for name in host["domain_names"]}]
    foreign = [host for host in found if owner(host) is None]
    if len(foreign) > 1:
        numbers = ", ".join(f"#{host['id']} ({host_name(host)})" for host in foreign)
        raise Failure(f"Unable to plan proxy host {domains[0]}: its domains are in several hosts: {numbers}")
    return next(iter(foreign or found), None)


def plan_hosts(
    options: list[dict[str, Any]],
    existing: list[dict[str, Any]],
    certificates: list[dict[str, Any]],
    lists: list[dict[str, Any]],
    only: list[str] | None,
    purge: bool,
) -> tuple[list[Change], dict[str, Any], dict[str, Any]]:
    """The writes, in an order that never has a domain in two hosts, and the states before and after."""
    check_wanted(options)
    free = list(existing)
    changes: list[Change] = []
    before: dict[str, Any] = {}
    after: dict[str, Any] = {}
    for option in options:
        host = choose(sorted({name.lower() for name in option["domains"]}), free)
        if host is not None:
            free.remove(host)
        if only is not None and option["service"] not in only:
            continue
        body = wanted_body(option, certificates, lists)
        change, old, new = compare(option["service"], body, host)
        name = host_name(body)
        if old is not None:
            before[name] = old
        after[name] = new
        changes += [change] if change else []
    for host in free:
        service = owner(host)
        unwanted = purge if service is None else True
        if unwanted and (only is None or service in only):
            before[host_name(host)] = canonical(host)
            changes.append(Change("delete", host_name(host), int(host["id"])))
    order = ("delete", "update", "create")
    return sorted(changes, key=lambda change: order.index(change.kind)), before, after


def compare(
    service: str, body: dict[str, Any], host: dict[str, Any] | None
) -> tuple[Change | None, dict[str, Any] | None, dict[str, Any]]:
    """The write that makes ``host`` (None: not there) into ``body``, if any, with the states before and after."""
    current = canonical(host) if host else {}
    drop_impossible(body, current)
    new = {**current, **body, "service": service}
    if host is None:
        return Change("create", host_name(body), 0, {**body, "meta": {MARK: service}}), None, new
    old = {**current, "service": owner(host)}
    difference = {key: value for key, value in body.items() if current.get(key) != value}
    if owner(host) != service:
        difference["meta"] = {**strip_state(host.get("meta") or {}), MARK: service}
    if not served({**host, **difference, "meta": host.get("meta")}):
        # what nginx does not serve is written whole: a PUT of anything makes it try again
        old["served"], new["served"] = False, True
        difference = {**body, **difference}
    if not difference:
        return None, old, new
    return Change("update", host_name(body), int(host["id"]), difference), old, new


def strip_state(meta: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in meta.items() if not key.startswith("nginx_")}


def unserved(options: list[dict[str, Any]], existing: list[dict[str, Any]], only: list[str] | None) -> dict[str, str]:
    """Wanted hosts that nginx does not serve, with its complaint."""
    names = {
        name.lower() for option in options if only is None or option["service"] in only for name in option["domains"]
    }
    return {
        host_name(host): str((host.get("meta") or {}).get("nginx_err") or "nginx has not loaded it")
        for host in existing
        if names & {name.lower() for name in host["domain_names"]} and not served(host)
    }
