# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where backups go: the kinds of repositories restic knows, and the credentials each wants. Never a value of them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from . import sizes
from .model import Host, Site, Tree, is_mounted
from .problems import Where, all_of, one_of, suggest

RCLONE_CONFIG = "/etc/rclone/rclone.conf"
"""Where role rclone keeps a host's remotes."""
# What may be told to restic as environment: its backends', nothing that changes which program runs or what it opens.
VARIABLE = r"(AWS|AZURE|B2|RCLONE|RESTIC_REST)_[A-Z0-9_]+"
SECRET = r"^[a-z][a-z0-9_-]*(\.[a-z0-9_-]+)+$"


@dataclass(frozen=True)
class Kind:
    """``needs``: environment variables, each group wants one of its own; the first is the default."""

    title: str
    pattern: str
    example: str
    needs: tuple[tuple[str, ...], ...] = ()


KINDS = {
    "s3": Kind(
        "S3",
        r"s3:(https?://)?[^/\s:]+(:\d+)?/[^/\s]+.*",
        "s3:https://s3.eu-central-1.amazonaws.com/bucket/folder",
        (("AWS_ACCESS_KEY_ID",), ("AWS_SECRET_ACCESS_KEY",)),
    ),
    "azure": Kind(
        "Azure Blob Storage",
        r"azure:[a-z0-9-]{3,63}:/.*",
        "azure:container:/folder",
        (("AZURE_ACCOUNT_NAME",), ("AZURE_ACCOUNT_KEY", "AZURE_ACCOUNT_SAS")),
    ),
    "b2": Kind("Backblaze B2", r"b2:[A-Za-z0-9-]+:.+", "b2:bucket:folder", (("B2_ACCOUNT_ID",), ("B2_ACCOUNT_KEY",))),
    "sftp": Kind("SFTP", r"sftp:([^@\s/]+@[^:\s/]+:.+|//[^@\s/]+@[^:\s/]+(:\d+)?/.+)", "sftp:user@host:/folder"),
    "rest": Kind(
        "REST server",
        r"rest:https?://[^\s/]+/.*",
        "rest:https://host:8000/user/",
        (("RESTIC_REST_USERNAME",), ("RESTIC_REST_PASSWORD",)),
    ),
    "rclone": Kind("rclone", r"rclone:[^:\s]+:.*", "rclone:remote:folder"),
}
OPTIONAL = ("rest",)  # may be asked without credentials: `credentials: {}`


def kind_of(url: str) -> str:
    return url.partition(":")[0].lower()


def all_remote(site: Site) -> Iterator[tuple[str, Tree, Where]]:
    """Repositories with an address: name, declaration and place."""
    for name, body in site.values["site_backup"]["repositories"].items():
        if body["url"]:
            yield name, body, site.where("site_backup", "repositories", name)


def credentials(name: str, body: Tree, given: Mapping[str, str] | None) -> Tree:
    """Environment variable -> name of its secret. Without a word: what the kind needs, named after the repository."""
    if given is not None:
        return dict(given)
    kind = KINDS.get(kind_of(body["url"]))
    return {group[0]: f"{name}.{group[0].lower()}" for group in (kind.needs if kind else ())}


def ssh_key(name: str) -> str:
    return f"{name}.ssh_key"


def secrets(site: Site) -> list[Tree]:
    """What the owner must give, and the SSH keys that are made."""
    found: dict[str, Tree] = {}
    for name, body, _where in all_remote(site) if site.provider("backup") else ():
        kind = KINDS.get(kind_of(body["url"]))
        title = kind.title if kind else "a repository"
        for variable, secret in credentials(name, body, body["credentials"]).items():
            found[secret] = {"name": secret, "ask": True, "help": f"{variable} of {title} for repository {name}"}
        if body["prune"]:
            for variable, secret in (body["prune"]["credentials"] or {}).items():
                what = f"{variable} of {title}, by which alone repository {name} may be pruned"
                found[secret] = {"name": secret, "ask": True, "help": what}
        if kind_of(body["url"]) == "sftp":
            found[ssh_key(name)] = {"name": ssh_key(name), "kind": "ssh_ed25519"}
    return list(found.values())


def of_host(site: Site, host: Host) -> list[Tree]:
    """One repository per host in each place, so that no host can read or delete another's."""
    found: list[Tree] = []
    for name, body in site.values["site_backup"]["repositories"].items():
        if body["url"]:
            entry = {"name": name, "path": below(body["url"], host.name), "mount": None, **remote(name, body)}
            if kind_of(body["url"]) == "rclone":  # restic starts it, and it looks in its user's home otherwise
                entry["environment"] = {"RCLONE_CONFIG": RCLONE_CONFIG, **entry.get("environment", {})}
            found.append(entry)
        elif storage := site.storage(str(body["class"])):
            mount = storage["mount"].rstrip("/")
            path = f"{mount}/{body['folder'].strip('/')}/{host.name}"
            guard = mount if is_mounted(storage) else None
            found.append({"name": name, "path": path, "mount": guard, **limits(body)})
    return found


def below(url: str, host: str) -> str:
    return f"{url.rstrip('/')}/{host}"


def remote(name: str, body: Tree) -> Tree:
    """What a remote repository has beside its place; only what is said or needed."""
    found: Tree = {"credentials": credentials(name, body, body["credentials"]), **limits(body)}
    if body["environment"]:
        found["environment"] = dict(body["environment"])
    if body["append_only"]:
        found["append_only"] = True
    if kind_of(body["url"]) == "sftp":
        found["ssh"] = {"key": ssh_key(name), "known_host": f"{server(body['url'])} {body['known_host']}"}
    return found


def server(url: str) -> str:
    """The server of an SFTP address as known_hosts writes it."""
    rest = url.partition(":")[2]
    if rest.startswith("//"):
        name, _colon, port = rest[2:].partition("/")[0].rpartition("@")[2].partition(":")
        return f"[{name}]:{port}" if port not in ("", "22") else name
    return rest.rpartition("@")[2].partition(":")[0]


def limits(body: Tree) -> Tree:
    """KiB a second, as restic counts."""
    return {
        key: max(1, (sizes.parse(body[key]) or 0) // sizes.UNITS["K"])
        for key in ("upload_limit", "download_limit")
        if body[key]
    }


def pruned(site: Site, host: Host) -> list[Tree]:
    """What `make prune` needs to free space where the host itself may only add: on the controller, nowhere else."""
    return [
        {
            "name": name,
            "path": below(body["prune"]["url"] or body["url"], host.name),
            "mount": None,
            **{key: value for key, value in remote(name, body).items() if key == "environment"},
            "credentials": dict(body["prune"]["credentials"] or {}),
        }
        for name, body, _where in all_remote(site)
        if body["prune"]
    ]


def check(site: Site) -> None:
    for name, body in site.values["site_backup"]["repositories"].items():
        where = site.where("site_backup", "repositories", name)
        if body["url"]:
            check_remote(site, name, body, where)
        else:
            check_local(site, body, where)


def check_local(site: Site, body: Tree, where: Where) -> None:
    # without a backup service nothing asks for the default repository's class
    if site.provider("backup") and site.storage(str(body["class"])) is None:
        known = site.values["site_storage"]
        remedy = suggest(str(body["class"]), known, "Say class or url")
        site.problems.add("repository-class", where.at("class"), f"no storage class {body['class']!r}", remedy)
    for key in ("credentials", "environment", "known_host", "append_only", "prune"):
        if body[key]:
            remedy = "Remove it, or say url instead of class"
            site.problems.add("repository-key", where.at(key), "only a repository with a url has this", remedy)


def check_remote(site: Site, name: str, body: Tree, where: Where) -> None:
    check_url(site, body["url"], where.at("url"))
    kind = kind_of(body["url"])
    if kind in KINDS:
        check_credentials(site, kind, credentials(name, body, body["credentials"]), where.at("credentials"))
    if kind == "sftp" and not body["known_host"]:
        site.problems.add(
            "repository-known-host",
            where.at("known_host"),
            "the server's host key is not known, so anybody could take its place",
            f"Write what `ssh-keyscan -t ed25519 {server(body['url'])}` says behind the name (the port as -p)",
        )
    if kind == "sftp" and body["append_only"]:
        remedy = "Use a REST server with --append-only, or leave append_only out"
        site.problems.add("repository-append-only", where.at("append_only"), "SFTP lets whoever adds delete", remedy)
    if not body["prune"]:
        return
    if not body["append_only"]:
        remedy = "Say append_only: true, or remove prune"
        site.problems.add("repository-prune", where.at("prune"), "the hosts prune this repository themselves", remedy)
    if body["prune"]["url"]:
        check_url(site, body["prune"]["url"], where.at("prune", "url"))
    shared = set(credentials(name, body, body["credentials"]).values())
    if kind in KINDS and KINDS[kind].needs and kind not in OPTIONAL:
        given = body["prune"]["credentials"] or {}
        check_credentials(site, kind, given, where.at("prune", "credentials"))
        if given and set(given.values()) <= shared:
            site.problems.add(
                "repository-prune",
                where.at("prune", "credentials"),
                "these are the credentials that the hosts have",
                "Make others at the provider, that may delete, and name them here",
            )


def check_url(site: Site, url: str, where: Where) -> None:
    kind = KINDS.get(kind_of(url))
    if kind is None or ":" not in url:
        known = one_of([f"{one}:" for one in KINDS])
        remedy = "Say class and folder for a place on a disk" if url.startswith("/") else f"Begin it with {known}"
        site.problems.add("repository-url", where, f"{shown(url)} is no address of a repository", remedy)
    elif re.search(r"//[^/@\s]*:[^/@\s]*@", url):
        remedy = f"Leave user and password out, as in {kind.example}; they come from the secrets (credentials)"
        site.problems.add("repository-url-secret", where, "the address holds a password", remedy)
    elif not re.fullmatch(kind.pattern, url):
        remedy = f"Write it as {kind.example}"
        site.problems.add("repository-url", where, f"{shown(url)} is no address of {kind.title}", remedy)


def shown(url: str) -> str:
    """An address in a message, without what may be a password."""
    return repr(re.sub(r"//[^/@\s]*@", "//", url))


def check_credentials(site: Site, kind: str, given: Mapping[str, Any], where: Where) -> None:
    missing = [one_of(group) for group in KINDS[kind].needs if not set(group) & set(given)]
    if missing and not (kind in OPTIONAL and not given):
        example = f"{where.key.split('.')[2]}.{missing[0].split(' ', maxsplit=1)[0].lower()}"
        site.problems.add(
            "repository-credentials",
            where,
            f"{KINDS[kind].title} wants {all_of(missing)}",
            f"Name the secret of each, as {{{missing[0].split(' ', maxsplit=1)[0]}: {example}}}",
        )
