# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What systemd and cron run beside the containers of a hand-made set-up, compared with the plan. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from .adopt_model import CHANGES, OWNER, STAYS, Found, Side, Tree


def machine(result: Found, found: Tree, side: Side, taking: bool) -> None:
    """It is compared; `make site` replaces it, the take-over of containers does not.

    ``taking``: there are containers to take over. Else secrets are read only where the vault has none.
    """
    placed = {one["service"]: one for one in side.host["system"]}
    for one in found["units"]:
        state = f"{'enabled' if one['enabled'] else 'disabled'}, {'active' if one['active'] else 'inactive'}"
        note = "starts the old set-up: it is disabled" if one["directory"] else "it is left alone"
        result.add("-", f"unit {one['name']}", state, "", CHANGES if one["directory"] else STAYS, note)
    for one in found["cron"]:
        result.add("-", one["file"], one["line"], "", STAYS, "remove it when the plan's backups have run once")
    restic(result, found.get("restic") or {}, side, placed, taking or "restic.password" not in side.stored)
    if found.get("ddclient") and "ddclient" in placed:
        ddclient(result, found["ddclient"], placed, taking or "ddclient.password" not in side.stored)
    for one in found.get("openvpn") or []:
        if "openvpn" in placed and one["file"] != "/etc/openvpn/server/server.conf":
            openvpn(result, one, placed["openvpn"])
    if found.get("fail2ban") and "fail2ban" in placed:
        note = "the plan brings its own jails for SSH and the proxy; yours stay beside them"
        result.add("fail2ban", "jails", ", ".join(found["fail2ban"]), "", STAYS, note)
    ufw(result, found.get("ufw") or [], side)


def restic(result: Found, old: Tree, side: Side, placed: Mapping[str, Tree], wanted: bool) -> None:
    if not old or "restic" not in placed:
        return
    if old.get("password_file") and wanted:
        result.reveal.append({"secret": "restic.password", "file": old["password_file"]})
        note = "goes into the vault: one password opens the old repository and the new ones"
        result.add("restic", "secret restic.password", old["password_file"], "vault", CHANGES, note)
    if old.get("repository"):
        note = "its snapshots stay and are opened with the same password; the plan's repositories are new, beside it"
        result.add("restic", "repository", old["repository"], "", STAYS, note)
        for new in side.host["backups"]["repositories"]:
            if f"{new['path']}/".startswith(f"{old['repository'].rstrip('/')}/"):
                note = "a repository inside the old one: give it another folder before `make site`"
                key = f"site_backup.repositories.{new['name']}.folder"
                result.add("restic", key, old["repository"], new["path"], OWNER, note)


def ufw(result: Found, rules: list[str], side: Side) -> None:
    """The owner's rules whose port the plan does not open."""
    firewall = side.host["firewall"]
    planned = {str(one["port"]) for one in [*firewall["host"], *firewall["containers"]] if one.get("port")}
    for rule in rules:
        words = rule.split()
        if len(words) > 2 and words[0] == "allow" and words[2] not in (*planned, "any"):
            note = "`make site` closes it; a port that must stay open belongs to a service of yours"
            result.add("-", f"UFW allows {words[2]}/{words[1]}", rule, "closed", OWNER, note)


def ddclient(result: Found, old: Tree, placed: Mapping[str, Tree], wanted: bool) -> None:
    if wanted:
        result.reveal.append({"secret": "ddclient.password", "file": "/etc/ddclient.conf", "key": "password"})
        row = ("secret ddclient.password", "/etc/ddclient.conf", "vault", CHANGES, "goes into the vault")
        result.add("ddclient", *row)
    login, planned = str(old.get("login", "")), str(placed["ddclient"]["settings"].get("login", ""))
    if login != planned:
        entry = result.inventory.setdefault("site_services", {}).setdefault("ddclient", {})
        entry.setdefault("settings", {})["login"] = login
        result.add("ddclient", "login", login, planned, OWNER, "the lines below set it")


def openvpn(result: Found, old: Tree, placed: Tree) -> None:
    port, tunnel = " ".join(old.get("port", ["1194"])), " ".join(old.get("server", ["?"]))
    name = old["file"].rpartition("/")[2].removesuffix(".conf")
    unit = f"openvpn-server@{name}" if "/server/" in old["file"] else f"openvpn@{name}"
    note = (
        "its certificates are not taken over: devices get new profiles (make vpn-profiles). Before `make site`: "
        f"systemctl disable --now {unit}. The old files stay"
    )
    now = f"{old['file']}, port {port}, tunnel {tunnel}"
    result.add("openvpn", "server", now, str(placed["settings"].get("tunnel", "")), OWNER, note)
