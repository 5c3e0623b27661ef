# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Secrets by name: what must exist before anything is deployed. Never a value."""

from __future__ import annotations

from . import node_backup, rclone, repositories, windows, zfs
from .model import Host, Site, Tree
from .problems import suggest

TOKEN_HELP = "the secret of the API token: make proxmox-access ENV=… makes and keeps it"
CLOUDFLARE_HELP = "an API token: docs/guides/cloudflare.md says which permissions it needs"


def build(site: Site) -> list[Tree]:
    found: list[Tree] = []
    for service in site.services.values():
        for name, body in service.spec["secrets"].items():
            full = f"{service.name}.{name}"
            if body["later"]:
                found.append({"name": full, "later": True})
            elif body["ask"]:
                found.append(asked(site, service.name, full, body["help"]))
            else:
                found.append({"name": full, "length": body["length"], "kind": body["kind"]})
    if site.values["site_cloudflare"]:
        found.append(asked(site, "Cloudflare", "cloudflare.api_token", CLOUDFLARE_HELP))
    for host in site.hosts.values():
        if host.node is not None:
            found.append(asked(site, f"the node {host.name}", f"{host.name}.api_token_secret", TOKEN_HELP))
            found += zfs.secrets(host)
            found += [
                asked(site, f"the node {host.name}", one["name"], one["help"]) for one in node_backup.secrets(host)
            ]
    found += windows.secrets(site)
    for one in repositories.secrets(site):
        found.append(asked(site, "the backup", one["name"], one["help"]) if one.get("ask") else one)
    found += [asked(site, "rclone", name, help_text) for name, help_text in rclone.secrets(site)]
    found += [{"name": host_key(host), "kind": "ssh_ed25519"} for host in site.hosts.values() if gets_key(host)]
    known = {one["name"] for one in found}
    for name in site.values["site_secrets"]:
        if name not in known:
            site.problems.add(
                "unknown-secret",
                site.where("site_secrets", name),
                "no placed service has a secret of that name",
                suggest(name, known),
            )
    return found


def asked(site: Site, who: str, name: str, help_text: str) -> Tree:
    """A secret that cannot be made up."""
    if name not in site.given_secrets:
        hint = f" ({help_text})" if help_text else ""
        first, _dot, second = name.partition(".")
        site.problems.add(
            "secret-missing",
            site.where("site_secrets", name),
            f"{who} needs a secret that only the owner has{hint}",
            f"Add it, encrypted by ansible-vault: site_secrets: {{{first}: {{{second}: ...}}}}",
        )
    return {"name": name, "ask": True, "help": help_text}


def known_hosts(site: Site) -> list[Tree]:
    """Host keys that are known before the guest, or the Debian inside a Windows machine, exists."""
    port = site.values["site_admin"]["ssh_port"]
    return [
        {"host": host.name, "addresses": host.addresses, "port": port, "secret": host_key(host)}
        for host in site.hosts.values()
        if gets_key(host)
    ]


def host_key(host: Host) -> str:
    return f"ssh_host_key.{host.name}"


def gets_key(host: Host) -> bool:
    """Whether its SSH host key is made here, so that nobody has to accept it."""
    return host.guest is not None or bool(host.wsl)
