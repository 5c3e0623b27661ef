# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names that Cloudflare's tunnel publishes, and their guard: policies, applications, ingress, DNS.

The tunnel publishes what may be asked from the Internet (``internet`` in a route's ``allow``). Each such name gets an
application of Cloudflare Access; the only way to have one without is to name its service in ``site_cloudflare.open``.
"""

from __future__ import annotations

from . import routes
from .model import Service, Site, Tree
from .problems import Where, suggest
from .references import domain_of

PEOPLE = "people"


def settings(site: Site) -> Tree:
    return site.values["site_cloudflare"] or {}


def zone_of(site: Site) -> str:
    return str(settings(site).get("zone") or site.values["site_domain"])


def where(site: Site, *parts: object) -> Where:
    return site.where("site_cloudflare", *parts)


def build(site: Site) -> Tree | None:
    """What Cloudflare shall have, in the words of the modules cloudflare_*; None without a tunnel."""
    tunnel, wanted = site.provider("tunnel"), settings(site)
    check(site, tunnel)
    if tunnel is None or not wanted or not tunnel.hosts:
        return None
    host = tunnel.hosts[0]
    published = routes.through_tunnel(site)
    names = [name for name in (public_name(site, service, host) for service in published) if name is not None]
    guarded = [name for name in names if name["guarded"]]
    return {
        "zone": zone_of(site),
        "account": wanted["account"],
        "api_token": "cloudflare.api_token",
        "mark": f"mediaserver {site.values['site_name']}",
        "tunnel": {
            "name": wanted["tunnel"] or site.values["site_name"],
            "host": host,
            "service": tunnel.name,
            "secret": next(
                (f"{tunnel.name}.{name}" for name, body in tunnel.spec["secrets"].items() if body["later"]), None
            ),
        },
        "names": names,
        "service_tokens": [{"name": name, "file": f"cloudflare-{name}.txt"} for name in wanted["service_tokens"]],
        "policies": policies(wanted) if guarded else [],
        "applications": [
            {
                "domain": name["domain"],
                "policies": [*tokens_for(wanted, name["service"]), *([PEOPLE] if wanted["allow"] else [])],
                "session_duration": wanted["session"],
            }
            for name in guarded
        ],
        "ingress": [ingress(name) for name in names],
        "records": wanted["records"],
    }


def policies(wanted: Tree) -> list[Tree]:
    people = [{"name": PEOPLE, "decision": "allow", "emails": wanted["allow"]}] if wanted["allow"] else []
    return people + [
        {"name": name, "decision": "non_identity", "service_tokens": [name]} for name in wanted["service_tokens"]
    ]


def tokens_for(wanted: Tree, service: str) -> list[str]:
    """Service tokens that open a service; Cloudflare looks at them before it asks a person."""
    return [name for name, services in wanted["service_tokens"].items() if service in services]


def public_name(site: Site, service: Service, host: str) -> Tree | None:
    route = service.route or {}
    upstream = routes.find_upstream(site, service, host, "tunnel")
    if upstream is None:
        return None
    if upstream["host"] in [one.name for one in site.inside(site.hosts[host])]:
        upstream = {**upstream, "address": "127.0.0.1"}  # the address that Windows always reaches Debian by
    return {
        "domain": domain_of(site, str(route["name"])),
        "service": service.name,
        "upstream": upstream,
        "guarded": service.name not in settings(site)["open"],
        "login": route["login"],
    }


def ingress(name: Tree) -> Tree:
    upstream = name["upstream"]
    rule: Tree = {
        "hostname": name["domain"],
        "service": f"{upstream['scheme']}://{upstream['address']}:{upstream['port']}",
    }
    if upstream["scheme"] == "https":  # its certificate is its own, for no name that the tunnel could check
        rule["origin_request"] = {"noTLSVerify": True}
    return rule


def unprobed(plan: Tree | None) -> list[Tree]:
    """Names behind Cloudflare: no prober of ours stands in front of it, so they are said to be open, never proved."""
    if plan is None:
        return []
    reason = "published by Cloudflare's tunnel"
    return [
        {"host": plan["tunnel"]["host"], "service": name["service"], "port": 443, "protocol": "tcp", "reason": reason}
        for name in plan["names"]
    ]


# mistakes


def check(site: Site, tunnel: Service | None) -> None:
    wanted = settings(site)
    if tunnel is not None and not wanted:
        site.problems.add(
            "tunnel-without-cloudflare",
            tunnel.where,
            f"{tunnel.name} publishes names, and nothing says for whom",
            "Add site_cloudflare: {allow: [you@example.org]}",
        )
    if wanted and tunnel is None:
        site.problems.add(
            "cloudflare-without-tunnel",
            where(site),
            "no placed service is a tunnel",
            "Place cloudflared: site_services: {cloudflared: {hosts: [...]}}, or remove site_cloudflare",
        )
    if wanted and tunnel is not None:
        check_domain(site)
        check_guards(site)
        check_records(site)


def check_domain(site: Site) -> None:
    zone, domain = zone_of(site), str(site.values["site_domain"] or "")
    if domain != zone and not domain.endswith(f".{zone}"):
        site.problems.add(
            "domain-outside-zone",
            where(site, "zone"),
            f"the public names end in {domain}, which is not in zone {zone}",
            "Name the zone at Cloudflare that site_domain is in",
        )
        return
    for service in routes.through_tunnel(site):
        name = domain_of(site, str((service.route or {})["name"]))
        if name.removesuffix(zone).count(".") > 1:
            site.problems.warn(
                "name-without-free-certificate",
                service.where.at("route", "name"),
                f"{name} is more than one level below {zone}: Cloudflare's free certificate does not cover it",
            )


def check_guards(site: Site) -> None:
    """Everything published is guarded, or is named as open and asks for a login itself."""
    wanted = settings(site)
    published = {service.name: service for service in routes.through_tunnel(site)}
    for index, name in enumerate(wanted["open"]):
        check_published(site, where(site, "open", index), name, published)
        if name in published and (published[name].route or {})["login"] != "application":
            site.problems.add(
                "open-without-login",
                where(site, "open", index),
                f"{name} asks for no login itself, so anybody could use it",
                "Take it out of `open`: Cloudflare Access then asks",
            )
    for token, services in wanted["service_tokens"].items():
        for index, name in enumerate(services):
            check_published(site, where(site, "service_tokens", token, index), name, published)
            if name in wanted["open"]:
                site.problems.add(
                    "token-for-open",
                    where(site, "service_tokens", token, index),
                    f"{name} is open to everybody already",
                    "Take it out of `open`, or out of the token",
                )
    if not wanted["allow"] and set(published) - set(wanted["open"]):
        site.problems.add(
            "tunnel-for-nobody",
            where(site, "allow"),
            f"nobody may log in, so {', '.join(sorted(set(published) - set(wanted['open'])))} could not be used",
            "Name the e-mail addresses of those who may: allow: [you@example.org]",
        )


def check_published(site: Site, place: Where, name: str, published: dict[str, Service]) -> None:
    if name not in published:
        site.problems.add(
            "not-published",
            place,
            f"the tunnel publishes no service {name!r}",
            suggest(name, published, "Give it a route that allows internet, or remove it"),
        )


def check_records(site: Site) -> None:
    zone = zone_of(site)
    taken = {domain_of(site, str((service.route or {})["name"])) for service in routes.through_tunnel(site)}
    for index, record in enumerate(settings(site)["records"]):
        name = record["name"].lower()
        if name in taken and record["type"] != "TXT":
            site.problems.add(
                "record-of-tunnel",
                where(site, "records", index, "name"),
                f"{name} leads into the tunnel already",
                "Remove the record, or give the service another name",
            )
        if name != zone and not name.endswith(f".{zone}"):
            site.problems.add(
                "record-outside-zone",
                where(site, "records", index, "name"),
                f"{name} is not in zone {zone}",
                f"Write the whole name, as {name.split('.')[0]}.{zone}",
            )
