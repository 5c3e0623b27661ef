# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Replication jobs of a Proxmox VE cluster. One that is removed stays, marked, until its node has done it."""

from __future__ import annotations

import functools
from typing import Any

from ansible_collections.homelab.mediaserver.plugins.module_utils import _pve_format as fmt
from ansible_collections.homelab.mediaserver.plugins.module_utils._pve import ApiFailure, Pve
from ansible_collections.homelab.mediaserver.plugins.module_utils._reconcile import Failure, Plan, Step

Job = dict[str, Any]
PATH = "cluster/replication"
KEYS = ("target", "schedule", "rate", "comment", "disable")


def canonical(key: str, value: Any) -> str:
    if key == "disable":
        return fmt.flag(value)
    if key == "rate":
        return f"{float(value):g}"
    return str(value).strip()


def find(pve: Pve, ident: str) -> Job | None:
    """Asked for by name: the list leaves out, without a word, what the user has no right to see."""
    to = f"read replication job {ident}"
    try:
        job = pve.get_dict(f"{PATH}/{ident}", to)
        pve.understand(to, lambda: (job["target"], view(job)))
        return job
    except ApiFailure as failure:
        if failure.status == 500 and failure.text.strip() == f"no such replication job '{ident}'":
            return None
        raise


def view(job: Job | None) -> dict[str, str]:
    if job is None:
        return {"state": "absent"}
    if job.get("remove_job"):
        return {"state": "being removed"}
    found = {key: canonical(key, job[key]) for key in KEYS if job.get(key) not in (None, "")}
    return {"state": "present", **{key: value for key, value in found.items() if (key, value) != ("disable", "0")}}


def given(params: dict[str, Any]) -> dict[str, str]:
    """A rate of 0 and an empty text take a setting away."""
    wanted = {key: canonical(key, params[key]) for key in KEYS if params.get(key) is not None}
    return {key: "" if (key, value) in (("rate", "0"), ("disable", "0")) else value for key, value in wanted.items()}


def removal(pve: Pve, ident: str, job: Job | None, keep: bool, force: bool) -> Plan:
    """Without ``force`` the job's node removes it, and until then the API lists it as one to be removed."""
    before = view(job)
    if job is None or (job.get("remove_job") and not force):
        return Plan(before, before)
    to = f"remove replication job {ident}"
    flags = {name: 1 for name, value in (("keep", keep), ("force", force)) if value}
    step = Step(to, functools.partial(pve.call, "delete", f"{PATH}/{ident}", to, **flags))
    return Plan(before, {"state": "absent" if force else "being removed"}, (step,))


def plan(pve: Pve, ident: str, job: Job | None, wanted: dict[str, str]) -> Plan:
    before = view(job)
    if job is None:
        if not wanted.get("target"):
            raise Failure(f"Unable to create replication job {ident}: it needs a target")
        after = {key: value for key, value in wanted.items() if value}
        to = f"create replication job {ident} to {wanted['target']}"
        step = Step(to, functools.partial(pve.call, "post", PATH, to, id=ident, type="local", **after))
        return Plan(before, {"state": "present", **after}, (step,))
    if job.get("remove_job"):
        raise Failure(f"Unable to keep replication job {ident}: its node has yet to remove it; run again then")
    if wanted.get("target", before["target"]) != before["target"]:
        reason = f"it replicates to {before['target']}, and that cannot be changed; remove it first"
        raise Failure(f"Unable to update replication job {ident}: {reason}")
    sets = {key: value for key, value in wanted.items() if value and before.get(key) != value}
    gone = sorted(key for key, value in wanted.items() if not value and key in before)
    if not sets and not gone:
        return Plan(before, before)
    to = f"update replication job {ident}: {', '.join(sorted([*sets, *gone]))}"
    data = {**sets, **({"delete": ",".join(gone)} if gone else {}), "digest": job.get("digest")}
    after = {key: value for key, value in {**before, **sets}.items() if key not in gone}
    return Plan(before, after, (Step(to, functools.partial(pve.call, "put", f"{PATH}/{ident}", to, **data)),))
