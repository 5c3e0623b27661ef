# Copyright (c) 2026 The homelab.mediaserver authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt)
"""Cloudflare Access of one account: reads what it has, lists the steps to what it shall have.

Ids of what an earlier step makes are known only when that step is done, so bodies are made when they are sent.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Any

from ansible_collections.homelab.mediaserver.plugins.module_utils import _cloudflare_access as access
from ansible_collections.homelab.mediaserver.plugins.module_utils._cloudflare import (
    Cloudflare,
    read_secret,
    write_secret,
)
from ansible_collections.homelab.mediaserver.plugins.module_utils._http import only_wanted
from ansible_collections.homelab.mediaserver.plugins.module_utils._reconcile import Failure, Step

KINDS = {"application": "apps", "policy": "policies", "service token": "service_tokens"}
NEW = "(new)"


class Guard:
    """Access of one account: what it has, and the steps to what it shall have."""

    def __init__(self, api: Cloudflare, account: str, params: dict[str, Any]) -> None:
        self.api, self.params, self.mark = api, params, params["mark"]
        self.base = f"/accounts/{account}/access"
        self.steps: list[Step] = []
        self.before: dict[str, Any] = {}
        self.after: dict[str, Any] = {}
        self.ids: dict[str, dict[str, str]] = {kind: {} for kind in KINDS}  # filled by the steps as well

    def rows(self, kind: str) -> list[dict[str, Any]]:
        to = f"list {KINDS[kind]} of Cloudflare Access"
        keys = ("id",) if kind == "application" else ("id", "name")  # Cloudflare's own applications may lack a name
        return self.api.all(f"{self.base}/{KINDS[kind]}", to, self.needs(kind), keys)

    @staticmethod
    def needs(kind: str) -> str:
        return "service_tokens" if kind == "service token" else "access"

    def read(self) -> None:
        # without service tokens in the list and without purge, the token needs no permission for them
        tokens = self.rows("service token") if self.params["service_tokens"] or self.params["purge"] else []
        self.found = access.Found(
            access.own(self.mark, tokens, "service token"),
            access.own(self.mark, self.rows("policy"), "policy"),
            self.rows("application"),
        )

    def write(self, kind: str, name: str, body: dict[str, Any], current: dict[str, Any] | None) -> dict[str, Any]:
        """Create or replace an object; its id is known afterwards."""
        to = f"{'create' if current is None else 'update'} {kind} {name}"
        method, end = ("POST", "") if current is None else ("PUT", f"/{current['id']}")
        answer = self.api.result(method, f"{self.base}/{KINDS[kind]}{end}", to, self.needs(kind), body)
        if not isinstance(answer.get("id"), str):
            raise Failure(f"Unable to {to}: the answer has no id")
        self.ids[kind][name] = answer["id"]
        return answer

    def remove(self, kind: str, name: str, row: dict[str, Any]) -> None:
        to = f"delete {kind} {name}"
        self.api.ask("DELETE", f"{self.base}/{KINDS[kind]}/{row['id']}", to, self.needs(kind))

    def id_of(self, kind: str, name: str) -> str:
        return self.ids[kind].get(name, NEW)

    # tokens

    def plan_tokens(self, now: datetime) -> None:
        for option in self.params["service_tokens"]:
            name, current = option["name"], self.found.tokens.get(option["name"])
            if current is not None:
                self.ids["service token"][name] = current["id"]
            written = read_secret(option["file"], f"compare service token {name}")
            task = access.token_task(option, current, written, now)
            before = None if current is None else {"task": task} if task else {}
            self.note("service token", name, before, {})
            if task:
                self.steps.append(Step(f"{task} service token {name}", self.token_step(task, option, current)))

    def token_step(self, task: str, option: dict[str, Any], current: dict[str, Any] | None) -> Callable[[], None]:
        name = option["name"]

        def work() -> None:
            if current is None:
                body = {"name": f"{self.mark}: {name}", "duration": option["duration"]}
                answer = self.write("service token", name, body, None)
            else:
                end = {"rotate": "rotate", "renew": "refresh"}[task]
                path = f"{self.base}/service_tokens/{current['id']}/{end}"
                answer = self.api.result("POST", path, f"{task} service token {name}", "service_tokens")
            if task != "renew":
                if not isinstance(answer.get("client_secret"), str) or not isinstance(answer.get("client_id"), str):
                    raise Failure(f"Unable to {task} service token {name}: the answer has no client_id and secret")
                write_secret(option["file"], access.shown(answer), f"write service token {name}")

        return work

    # policies and applications

    def plan_policies(self) -> None:
        for option in self.params["policies"]:
            name, current = option["name"], self.found.policies.get(option["name"])
            if current is not None:
                self.ids["policy"][name] = current["id"]

            def body(option: dict[str, Any] = option, current: dict[str, Any] | None = current) -> dict[str, Any]:
                ids = {one: self.id_of("service token", one) for one in option["service_tokens"]}
                return access.policy_body(self.mark, option, ids, current)

            self.put("policy", name, body, current, access.same_policy(body(), current))
            wanted = access.rules(option, {one: one for one in option["service_tokens"]})
            self.note("policy", name, current and self.shown(current), {
                "decision": option["decision"], "include": access.canonical_rules(wanted),
            })  # fmt: skip

    def shown(self, policy: dict[str, Any]) -> dict[str, Any]:
        """A policy for the diff, with the names of our service tokens in place of their ids."""
        names = {row["id"].lower(): name for name, row in self.found.tokens.items()}
        include = access.canonical_rules(policy.get("include"))
        for number, name in names.items():
            include = [rule.replace(number, name) for rule in include]
        return {"decision": policy.get("decision"), "include": sorted(include)}

    def plan_applications(self) -> None:
        for option in self.params["applications"]:
            name = option["domain"]
            current = access.find_application(self.mark, name, self.found.applications)
            if current is not None:
                self.ids["application"][name] = current["id"]

            def body(option: dict[str, Any] = option, current: dict[str, Any] | None = current) -> dict[str, Any]:
                ids = {one: self.id_of("policy", one) for one in option["policies"]}
                return access.application_body(self.mark, option, ids, current)

            self.put("application", name, body, current, access.same_application(option, body(), current))
            shown = {**(option["settings"] or {}), "session_duration": option["session_duration"]}
            after = {**{key: value for key, value in shown.items() if value is not None}, "names": [name]}
            before = current and {
                **only_wanted(current, {key: after[key] for key in after if key != "names"}),
                "names": access.names_of(current),
                "policies": [self.policy_name(one) for one in access.policy_ids_of(current)],
            }
            self.note("application", name, before, {**after, "policies": option["policies"]})

    def policy_name(self, number: str) -> str:
        found = {row["id"]: name for name, row in self.found.policies.items()}
        return found.get(number, number)

    def put(
        self, kind: str, name: str, body: Callable[[], dict[str, Any]], current: dict[str, Any] | None, same: bool
    ) -> None:
        """``body`` is a function: ids of what an earlier step makes are known only then."""
        if not same:
            label = f"{'create' if current is None else 'update'} {kind} {name}"
            self.steps.append(Step(label, lambda: self.write(kind, name, body(), current)))

    def note(self, kind: str, name: str, before: Any, after: Any) -> None:
        if before is not None:
            self.before[f"{kind} {name}"] = before
        if after is not None:
            self.after[f"{kind} {name}"] = after

    # removal, in the order opposite to making

    def plan_purge(self) -> list[str]:
        ours = access.own(self.mark, self.found.applications, "application")
        gone = {name: row for name, row in ours.items() if name not in self.ids["application"]}
        self.purge("application", gone)
        kept_apps = [row for row in self.found.applications if row not in gone.values()]
        used = {number for row in kept_apps if row not in ours.values() for number in access.policy_ids_of(row)}
        policies = {name: row for name, row in self.found.policies.items() if name not in self.ids["policy"]}
        foreign = sorted(name for name, row in policies.items() if row["id"] in used)
        self.purge("policy", {name: row for name, row in policies.items() if name not in foreign})
        tokens = {n: row for n, row in self.found.tokens.items() if n not in self.ids["service token"]}
        self.purge("service token", tokens)
        return [f"Policy {name} stays: applications that are not ours use it" for name in foreign]

    def purge(self, kind: str, rows: dict[str, dict[str, Any]]) -> None:
        for name, row in rows.items():
            self.note(kind, name, {"id": row["id"]}, None)
            self.steps.append(Step(f"delete {kind} {name}", partial(self.remove, kind, name, row)))
