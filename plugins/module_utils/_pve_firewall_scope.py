# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One level of Proxmox VE's firewall: where it is, what stands in it, and the order of the writes."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

from ansible_collections.homelab.mediaserver.plugins.module_utils import _pve_firewall as fw
from ansible_collections.homelab.mediaserver.plugins.module_utils import _pve_firewall_lists as lists
from ansible_collections.homelab.mediaserver.plugins.module_utils import _pve_firewall_steps as steps
from ansible_collections.homelab.mediaserver.plugins.module_utils._pve import Pve
from ansible_collections.homelab.mediaserver.plugins.module_utils._reconcile import Failure, Plan, Step

GROUPS = "cluster/firewall/groups"
State = dict[str, Any]


@dataclass(frozen=True)
class Scope:
    """``exists`` is false for a guest that is not there yet: the API would keep a firewall for it all the same."""

    level: str
    base: str
    what: str
    exists: bool = True


def refuse_lists_of_other_levels(params: dict[str, Any]) -> None:
    if params["groups"] is not None and params["level"] != "datacenter":
        raise Failure("Unable to keep security groups: only the datacenter has them")
    for key in ("aliases", "ipsets"):
        if params[key] is not None and params["level"] == "node":
            raise Failure(f"Unable to keep {key} of a node: only the datacenter and guests have them")


def find(pve: Pve, level: str, node: str | None, vmid: int | None) -> Scope:
    """A guest is asked for by its number alone: it may be a VM or a container, and may have moved to another node."""
    if level != "guest":
        return Scope(level, *fw.base_path(level, node, None))
    for row in pve.get_list("cluster/resources", f"find guest {vmid}", type="vm"):
        if str(row.get("vmid")) == str(vmid):
            return Scope(level, *fw.base_path(level, str(row["node"]), vmid, str(row["type"])))
    return Scope(level, fw.base_path(level, node, vmid)[0], f"guest {vmid}", exists=False)


def ipsets(pve: Pve, base: str, to: str) -> lists.Entries:
    found = {}
    for row in pve.get_list(f"{base}/ipset", to):
        name = str(row["name"])
        members = lists.members_now(pve.get_list(f"{base}/ipset/{name}", to))
        found[name.lower()] = lists.with_comment({"members": members}, row.get("comment"))
    return found


def groups(pve: Pve, to: str) -> lists.Entries:
    found = {}
    for row in pve.get_list(GROUPS, to):
        name = str(row["group"])
        rules = fw.current_rules(pve.get_list(f"{GROUPS}/{name}", to))
        found[name.lower()] = lists.with_comment({"rules": rules}, row.get("comment"))
    return found


def read(pve: Pve, scope: Scope, params: dict[str, Any]) -> State:
    """What is managed, and the rules in any case."""
    if not scope.exists:
        return {"options": {}, "rules": [], "aliases": {}, "ipsets": {}}
    to = f"read the firewall of {scope.what}"
    state: State = {"options": pve.get_dict(f"{scope.base}/options", to) if params["options"] else {}}
    state["rules"] = fw.current_rules(pve.get_list(f"{scope.base}/rules", to))
    if params["aliases"] is not None:
        state["aliases"] = lists.aliases_now(pve.get_list(f"{scope.base}/aliases", to))
    if params["ipsets"] is not None:
        state["ipsets"] = ipsets(pve, scope.base, to)
    if params["groups"] is not None:
        state["groups"] = groups(pve, to)
    return state


def macros(pve: Pve, params: dict[str, Any]) -> dict[str, str]:
    """The names of the macros by their names in small letters; not asked for if no rule uses one."""
    given = [params["rules"] or [], *(group["rules"] or [] for group in params["groups"] or [])]
    if not any(rule.get("macro") for rules in given for rule in rules):
        return {}
    rows = pve.get_list("cluster/firewall/macros", "list the macros of the firewall")
    return {str(row["macro"]).lower(): str(row["macro"]) for row in rows}


def all_of(pve: Pve, params: dict[str, Any]) -> tuple[Scope, State, dict[str, str]]:
    scope = find(pve, params["level"], params["node"], params["vmid"])
    return scope, read(pve, scope, params), macros(pve, params)


def wanted(params: dict[str, Any], now: State, known: dict[str, str]) -> State:
    """What stands there in the end, without the options."""

    def rule(given: dict[str, Any]) -> fw.Rule:
        return fw.rule_from_user(given, known)

    after: State = {"rules": now["rules"] if params["rules"] is None else [rule(each) for each in params["rules"]]}
    if params["aliases"] is not None:
        after["aliases"] = lists.aliases_wanted(params["aliases"], now["aliases"])
    if params["ipsets"] is not None:
        after["ipsets"] = lists.ipsets_wanted(params["ipsets"], now["ipsets"])
    if params["groups"] is not None:
        after["groups"] = lists.groups_wanted(params["groups"], now["groups"], rule)
    return after


def refuse_if_used(pve: Pve, scope: Scope, now: State, after: State) -> None:
    """The API removes what is in use without a word, and the rules that name it then do nothing."""
    removed = lists.gone(now, after)
    if not removed:
        return
    to = f"see who uses {', '.join(sorted(name for _kind, name in removed))}"
    sets = after.get("ipsets") if "ipsets" in after else ipsets(pve, scope.base, to)
    own = lists.uses(after["rules"], sets or {}, scope.what)
    if scope.level == "guest":
        lists.refuse_if_used(removed, own, ("", "guest"))
        return
    for name, group in (after["groups"] if "groups" in after else groups(pve, to)).items():
        own += lists.uses(group["rules"], {}, f"security group {name}")
    for row in pve.get_list("nodes", to):
        rules = fw.current_rules(pve.get_list(f"nodes/{row['node']}/firewall/rules", to))
        own += lists.uses(rules, {}, f"node {row['node']}")
    lists.refuse_if_used(removed, own, ("", "dc"))
    for row in pve.get_list("cluster/resources", to, type="vm"):
        _refuse_if_guest_uses(pve, row, removed, to)


def _refuse_if_guest_uses(pve: Pve, row: dict[str, Any], removed: set[tuple[str, str]], to: str) -> None:
    """A guest's own alias or IP set of that name comes before the datacenter's."""
    base, what = fw.base_path("guest", str(row["node"]), int(row["vmid"]), str(row["type"]))
    sets = ipsets(pve, base, to)
    mine = {("ipset", name) for name in sets}
    mine |= {("alias", name) for name in lists.aliases_now(pve.get_list(f"{base}/aliases", to))}
    used = lists.uses(fw.current_rules(pve.get_list(f"{base}/rules", to)), sets, what)
    lists.refuse_if_used(removed, used, ("dc",))
    lists.refuse_if_used(removed - mine, used, ("",))


def plan(pve: Pve, scope: Scope, params: dict[str, Any], now: State, after: State) -> Plan:
    """Nothing is named before it is there, nothing goes while it is named; rules are in place before the firewall
    becomes stricter, and it becomes looser before they go."""
    names = {item["name"].lower(): item["name"] for item in params["aliases"] or []}
    parts = [
        steps.aliases(pve, scope.base, scope.what, now.get("aliases", {}), after.get("aliases", {}), names),
        steps.ipsets(pve, scope.base, scope.what, now.get("ipsets", {}), after.get("ipsets", {})),
        steps.groups(pve, now.get("groups", {}), after.get("groups", {})),
        steps.Rules(pve, f"{scope.base}/rules", scope.what, now["rules"]).steps(after["rules"]),
    ]
    ordered = [step for adds, _removes in parts for step in adds]
    ordered += [step for _adds, removes in reversed(parts) for step in removes]
    sets, gone = fw.options_change(now["options"], params["options"])
    first, last = fw.loosening(sets, gone)
    write = functools.partial(steps.options, pve, scope.base, scope.what, now["options"])
    ordered = [*(write(*part) for part in first), *ordered, *(write(*part) for part in last)]
    have = {key: fw.option(key, now["options"][key]) for key in params["options"] if key in now["options"]}
    options: dict[str, str] = {**{key: value for key, value in have.items() if key not in gone}, **sets}
    shown = [key for key in ("aliases", "ipsets", "groups") if key in after]
    before: State = {"options": have, "rules": now["rules"], **{key: now[key] for key in shown}}
    ordered = ordered if scope.exists else [Step(step.describe, _missing(scope)) for step in ordered]
    return Plan(before, {"options": options, **after}, tuple(ordered))


def _missing(scope: Scope) -> Any:
    def refuse() -> None:
        reason = "there is no such VM or container, or no right VM.Audit on it"
        raise Failure(f"Unable to write the firewall of {scope.what}: {reason}")

    return refuse
