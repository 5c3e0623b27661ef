# Copyright (c) 2026 The homelab.mediaserver authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt)
"""What to do with a zone's DNS records: pure comparison, no requests.

A record is ours when its comment is the mark (the free plan has no tags). Others are never touched: where one stands in
the way, that is said.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ansible_collections.homelab.mediaserver.plugins.module_utils._reconcile import Failure

ADDRESSES = ("A", "AAAA", "CNAME")  # names that lead somewhere: one owner each
KEPT = ("content", "proxied", "ttl")
AUTOMATIC = 1  # ttl


@dataclass(frozen=True)
class Record:
    type: str
    name: str
    content: str
    proxied: bool
    ttl: int

    @property
    def shown(self) -> dict[str, Any]:
        return {"name": self.name, "type": self.type, "content": self.content, "proxied": self.proxied, "ttl": self.ttl}

    @property
    def label(self) -> str:
        return f"{self.type} {self.name}"


@dataclass
class Batch:
    """What one request shall do, in Cloudflare's order: deletes, patches, posts; and how a person says it."""

    deletes: list[dict[str, Any]] = field(default_factory=list)
    patches: list[dict[str, Any]] = field(default_factory=list)
    posts: list[dict[str, Any]] = field(default_factory=list)
    said: list[str] = field(default_factory=list)

    @property
    def size(self) -> int:
        return len(self.deletes) + len(self.patches) + len(self.posts)

    def body(self) -> dict[str, Any]:
        parts = {"deletes": self.deletes, "patches": self.patches, "posts": self.posts}
        return {name: rows for name, rows in parts.items() if rows}


def wanted(option: dict[str, Any], zone: str) -> Record:
    """A record of the user's, in Cloudflare's form: whole names, automatic ttl where it is proxied."""
    name = option["name"].rstrip(".").lower()
    name = zone if name == "@" else name
    if not name.isascii():
        raise Failure(f"Unable to manage record {name}: write the name in its ASCII form (xn--…)")
    if name != zone and not name.endswith(f".{zone}"):
        raise Failure(f"Unable to manage record {name}: it is not in zone {zone}")
    kind, proxied = option["type"], bool(option["proxied"])
    if proxied and kind not in ADDRESSES:
        raise Failure(f"Unable to manage record {kind} {name}: only {', '.join(ADDRESSES)} can be proxied")
    content = option["content"] if kind == "TXT" else option["content"].rstrip(".").lower()
    return Record(kind, name, content, proxied, AUTOMATIC if proxied else option["ttl"])


def stored(row: dict[str, Any]) -> Record:
    kind = row["type"]
    content = str(row.get("content") or "")
    if kind == "TXT":
        content = content[1:-1] if len(content) > 1 and content[0] == content[-1] == '"' else content
    else:
        content = content.rstrip(".").lower()
    return Record(kind, row["name"].lower(), content, bool(row.get("proxied")), int(row.get("ttl") or AUTOMATIC))


def ours(row: dict[str, Any], mark: str) -> bool:
    return row.get("comment") == mark


def refuse_foreign(record: Record, foreign: list[Record], mark: str) -> None:
    """What somebody else made for the same name is not written over."""
    for other in foreign:
        if other.name != record.name:
            continue
        if (record.type in ADDRESSES and other.type in ADDRESSES) or (other.type, other.content) == (
            record.type,
            record.content,
        ):
            raise Failure(
                f"Unable to make record {record.label}: {other.label} -> {other.content} is there and not ours. "
                f"Remove it, or hand it over by setting its comment to {mark!r}"
            )


def plan_records(
    options: list[dict[str, Any]], rows: list[dict[str, Any]], zone: str, mark: str
) -> tuple[Batch, list[Any], list[Any]]:
    """The batch, and our records before and after."""
    records = [wanted(option, zone) for option in options]
    check_list(records)
    mine = [row for row in rows if ours(row, mark)]
    foreign = [stored(row) for row in rows if not ours(row, mark)]
    batch = Batch()
    left = list(mine)
    todo = []
    for record in records:
        refuse_foreign(record, foreign, mark)
        same = next((row for row in left if stored(row) == record), None)
        if same is not None:
            left.remove(same)
        else:
            todo.append(record)
    for record in todo:
        old = next((row for row in left if (row["type"], row["name"].lower()) == (record.type, record.name)), None)
        if old is None:
            batch.posts.append({**record.shown, "comment": mark})
            batch.said.append(f"create {record.label} -> {record.content}")
            continue
        left.remove(old)
        changed = {key: record.shown[key] for key in KEPT if record.shown[key] != stored(old).shown[key]}
        batch.patches.append({"id": old["id"], **changed})
        batch.said.append(f"change {record.label}: {', '.join(changed)}")
    batch.deletes = [{"id": row["id"]} for row in left]
    batch.said = [f"delete {stored(row).label}" for row in left] + batch.said
    return batch, _sorted(stored(row) for row in mine), _sorted(records)


def check_list(records: list[Record]) -> None:
    """A name has one CNAME and then no address; nothing is listed twice."""
    for record in records:
        same = [other for other in records if other.name == record.name and other.type in ADDRESSES]
        twice = sum((other.type, other.name, other.content) == (record.type, record.name, record.content)
                    for other in records) > 1  # fmt: skip
        if twice or (record.type == "CNAME" and len(same) > 1):
            raise Failure(f"Unable to manage record {record.label}: its name is listed twice")


def _sorted(records: Any) -> list[Any]:
    return sorted((record.shown for record in records), key=lambda one: (one["name"], one["type"], one["content"]))
