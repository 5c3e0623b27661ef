# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The writes to Proxmox VE's firewall. Each looks again at the list that it changes and gives its digest, because every
write changes the digest, and rules have no names, only positions: the wrong one must never go.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from ansible_collections.homelab.mediaserver.plugins.module_utils import _pve_firewall as fw
from ansible_collections.homelab.mediaserver.plugins.module_utils import _pve_firewall_lists as lists
from ansible_collections.homelab.mediaserver.plugins.module_utils._pve import Pve
from ansible_collections.homelab.mediaserver.plugins.module_utils._reconcile import Failure, Step

Rows = list[dict[str, Any]]
Steps = tuple[list[Step], list[Step]]  # what adds or changes, what removes


def entry_digest(
    pve: Pve, path: str, to: str, parse: Callable[[Rows], lists.Entries], key: str, entry: lists.Entry | None
) -> dict[str, str]:
    return pve.digest(path, to, lambda rows: parse(rows).get(key) == entry)


class Rules:
    """One ordered list of rules."""

    def __init__(self, pve: Pve, path: str, what: str, now: list[fw.Rule]) -> None:
        self.pve, self.path, self.what = pve, path, what
        self.now = list(now)  # as this run left it

    def steps(self, wanted: list[fw.Rule]) -> Steps:
        adds, removes = [], []
        for write in fw.writes(self.now, wanted):
            if write.rule is not None:
                to = f"add rule to {self.what}: {fw.name(write.rule)}"
                adds.append(Step(to, functools.partial(self._insert, to, write.pos, write.rule)))
            else:
                to = f"remove rule {write.pos} of {self.what}"
                removes.append(Step(to, functools.partial(self._delete, to, write.pos)))
        return adds, removes

    def _digest(self, to: str) -> dict[str, str]:
        return self.pve.digest(self.path, to, lambda rows: fw.current_rules(rows) == self.now)

    def _insert(self, to: str, pos: int, rule: fw.Rule) -> None:
        """The API puts a new rule first, whatever position is asked for. It counts only once it is where it belongs:
        what drops everything may be the last rule, but not for a moment the first."""
        sleeping = {**rule, "enable": "0"} if pos else rule
        self.pve.call("post", self.path, to, **sleeping, **self._digest(to))
        self.now.insert(0, sleeping)
        if not pos:
            return
        self.pve.call("put", f"{self.path}/0", to, moveto=pos + 1, **self._digest(to))
        self.now.insert(pos, self.now.pop(0))
        if rule != sleeping:
            self.pve.call("put", f"{self.path}/{pos}", to, enable=1, **self._digest(to))
            self.now[pos] = rule

    def _delete(self, to: str, pos: int) -> None:
        self.pve.call("delete", f"{self.path}/{pos}", to, **self._digest(to))
        del self.now[pos]


def aliases(pve: Pve, base: str, what: str, now: lists.Entries, after: lists.Entries, names: dict[str, str]) -> Steps:
    """``names`` has the names as the user writes them."""
    path = f"{base}/aliases"

    def change(method: str, to: str, key: str, **data: Any) -> None:
        digest = entry_digest(pve, path, to, lists.aliases_now, key, now[key])
        pve.call(method, f"{path}/{key}", to, **data, **digest)

    adds, removes = [], []
    for key, entry in after.items():
        if key not in now:
            to = f"create alias {key} of {what}: {entry['cidr']}"
            adds.append(Step(to, functools.partial(pve.call, "post", path, to, name=names.get(key, key), **entry)))
        elif now[key] != entry:
            to = f"update alias {key} of {what}: {entry['cidr']}"
            adds.append(Step(to, functools.partial(change, "put", to, key, **entry)))
    for key in sorted(set(now) - set(after)):
        to = f"remove alias {key} of {what}"
        removes.append(Step(to, functools.partial(change, "delete", to, key)))
    return adds, removes


def ipsets(pve: Pve, base: str, what: str, now: lists.Entries, after: lists.Entries) -> Steps:
    path = f"{base}/ipset"
    adds, removes = [], []
    for key, entry in after.items():
        title, old = f"IP set {key} of {what}", now.get(key)
        adds += _named(pve, path, "name", title, key, old, entry)
        more, less = _members(pve, f"{path}/{key}", title, (old or {}).get("members", {}), entry["members"])
        adds += more
        removes += less
    for key in sorted(set(now) - set(after)):
        to = f"remove IP set {key} of {what}"
        removes.append(Step(to, functools.partial(_remove_ipset, pve, f"{path}/{key}", to, now[key]["members"])))
    return adds, removes


def _remove_ipset(pve: Pve, path: str, to: str, members: lists.Entries) -> None:
    """With all its members in one write; the API takes no digest for it."""
    pve.digest(path, to, lambda rows: lists.members_now(rows) == members)
    pve.call("delete", path, to, force=1)


def _members(pve: Pve, path: str, what: str, now: lists.Entries, after: lists.Entries) -> Steps:
    def change(method: str, to: str, key: str, **data: Any) -> None:
        rows = pve.get_list(path, to)
        raw = next((str(row["cidr"]) for row in rows if fw.cidr(row.get("cidr")) == key), key)  # as the path wants it
        digest = entry_digest(pve, path, to, lists.members_now, key, now[key])
        pve.call(method, f"{path}/{raw}", to, **data, **digest)

    adds, removes = [], []
    for key, member in after.items():
        if key not in now:
            to = f"add {key} to {what}"
            adds.append(Step(to, functools.partial(pve.call, "post", path, to, cidr=key, **member)))
        elif now[key] != member:
            to = f"update {key} of {what}"
            adds.append(Step(to, functools.partial(change, "put", to, key, **{"nomatch": 0, **member})))
    for key in sorted(set(now) - set(after)):
        to = f"remove {key} from {what}"
        removes.append(Step(to, functools.partial(change, "delete", to, key)))
    return adds, removes


def _named(
    pve: Pve, path: str, field: str, what: str, key: str, now: lists.Entry | None, entry: lists.Entry
) -> list[Step]:
    """Create an IP set or security group, or give it another comment: a rename to the same name."""
    comment = entry.get("comment", "")
    if now is None:
        to = f"create {what}"
        data = {field: key, **({"comment": comment} if comment else {})}
        return [Step(to, functools.partial(pve.call, "post", path, to, **data))]
    if now.get("comment", "") == comment:
        return []
    to = f"set the comment of {what}"

    def change() -> None:
        def same(rows: Rows) -> bool:
            return any(str(row[field]) == key and (row.get("comment") or "") == now.get("comment", "") for row in rows)

        pve.call("post", path, to, **{field: key, "rename": key, "comment": comment}, **pve.digest(path, to, same))

    return [Step(to, change)]


def groups(pve: Pve, now: lists.Entries, after: lists.Entries) -> Steps:
    path = "cluster/firewall/groups"
    adds, removes = [], []
    for key in [*after, *sorted(set(now) - set(after))]:
        old, entry, what = now.get(key), after.get(key), f"security group {key}"
        if entry is not None:
            adds += _named(pve, path, "group", what, key, old, entry)
        rules = Rules(pve, f"{path}/{key}", what, (old or {}).get("rules", []))
        more, less = rules.steps((entry or {}).get("rules", []))
        adds += more
        removes += less
        if entry is None:
            to = f"remove {what}"
            removes.append(Step(to, functools.partial(pve.call, "delete", f"{path}/{key}", to)))
    return adds, removes


def options(pve: Pve, base: str, what: str, now: dict[str, Any], sets: dict[str, str], gone: list[str]) -> Step:
    """``now`` is how the options of this write stand before it."""
    to = f"set {', '.join([*sorted(sets), *gone])} of the firewall of {what}"

    def change() -> None:
        found = pve.get_dict(f"{base}/options", to)
        if any(fw.option(key, found.get(key, "")) != fw.option(key, now.get(key, "")) for key in [*sets, *gone]):
            raise Failure(f"Unable to {to}: somebody else changed it in between; run again")
        data = {**sets, **({"delete": ",".join(gone)} if gone else {}), "digest": found.get("digest")}
        pve.call("put", f"{base}/options", to, **data)

    return Step(to, change)
