# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The two turns of the module config_tree: compare and report, then write what the archive brings."""

from __future__ import annotations

import contextlib
from functools import partial
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.homelab.mediaserver.plugins.module_utils import _tree
from ansible_collections.homelab.mediaserver.plugins.module_utils._lock import lock
from ansible_collections.homelab.mediaserver.plugins.module_utils._reconcile import Failure, Plan, Step, run
from ansible_collections.homelab.mediaserver.plugins.module_utils._tree_write import Writer

WORDS = {
    "directory": "make directory",
    "content": "write",
    "attributes": "set mode and owner of",
    "remove": "remove",
    "rmdir": "remove directory",
    "leftover": "remove what a killed run left:",
    "stale": "mark for a restart:",
}


def wanted(params: dict[str, Any]) -> list[_tree.Wanted]:
    """The module's parameters as a list of wanted files and directories."""

    def common(item: dict[str, Any]) -> dict[str, Any]:
        return {key: item[key] for key in ("path", "mode", "owner", "group", "service")}

    folders = [
        _tree.Wanted(**common(item), below=item["below"] or "", keep=item["keep"]) for item in params["directories"]
    ]
    files = [_tree.Wanted(**common(item), secret=item["secret"], digest=item["digest"]) for item in params["files"]]
    return folders + files


def stale(actions: list[_tree.Action], projects: dict[str, str], tree: _tree.Tree) -> list[_tree.Action]:
    """Marks for projects whose files were changed behind our back.

    Their digest stays the same, so compose_projects would not see that what runs was started from something else.
    """
    marks = []
    for name, directory in projects.items():
        changed = {a.path for a in actions if a.wanted and a.wanted.service == name and a.wanted.kind == "file"}
        environment = f"{directory}/.env"
        if changed and environment not in changed and environment in tree.states:
            marks.append(_tree.Action("stale", f"{directory}/.stale"))
    return marks


def texts(actions: list[_tree.Action], tree: _tree.Tree) -> dict[str, str]:
    """The present text of files that change, for the diff: nothing that is or was secret, is big or no text."""
    found = {}
    for action in actions:
        entry = action.wanted
        if (
            action.verb != "content"
            or entry is None
            or entry.secret
            or tree.manifest.get(action.path, {}).get("secret")
        ):
            continue
        with contextlib.suppress(OSError, UnicodeDecodeError), Path(action.path).open("rb") as stream:
            data = stream.read(_tree.TEXT_LIMIT + 1)
            if len(data) <= _tree.TEXT_LIMIT:
                found[action.path] = data.decode()
    return found


def _states(actions: list[_tree.Action], tree: _tree.Tree) -> tuple[dict[str, Any], dict[str, Any]]:
    before = {a.path: _tree.view(tree.states.get(a.path)) for a in actions}
    after: dict[str, Any] = {}
    for action in actions:
        entry = action.wanted
        if entry is None:
            after[action.path] = {"state": "file" if action.verb == "stale" else "absent"}
            continue
        uid, gid = _tree.user_id(entry.owner), _tree.group_id(entry.group)
        after[action.path] = {
            "state": entry.kind,
            "mode": f"{int(entry.mode, 8):04o}",
            "owner": entry.owner if uid is None else str(uid),
            "group": entry.group if gid is None else str(gid),
        }
    return before, after


def build(params: dict[str, Any], writer: Writer) -> tuple[Plan, _tree.Tree, list[_tree.Action]]:
    """Read, compare, and say what to do."""
    entries = wanted(params)
    only = params["only"]
    tree = _tree.read(params["name"], entries, params["key"])
    actions = _tree.plan(entries, tree, only)
    actions = stale(actions, params["projects"], tree) + actions
    steps = [Step(f"{WORDS[a.verb]} {a.path}", partial(writer.apply, a)) for a in actions]
    final = _tree.manifest_after(entries, tree, actions, only)
    present: dict[str, dict[str, Any]] = {"files": dict(tree.manifest), "directories": dict(tree.made)}
    both = {key: {**present[key], **final[key]} for key in final}
    if both != present:
        steps.insert(0, Step("record what is written", partial(writer.record, both)))
    if final != both:
        steps.append(Step("record what was removed", partial(writer.record, final)))
    before, after = _states(actions, tree)
    return Plan(before, after, tuple(steps)), tree, actions


def work(module: AnsibleModule) -> dict[str, Any]:
    """Without an archive report what differs; with one write it."""
    params = module.params
    archive = params["archive"]
    try:
        writer = Writer(params["name"], archive or "", params["key"])
    finally:
        if archive:
            Path(archive).unlink(missing_ok=True)
    with lock(f"tree-{params['name']}"):
        plan, tree, actions = build(params, writer)
        away = _tree.unmounted(wanted(params), tree)
        marked = [
            name for name, where in params["projects"].items() if any(a.path == f"{where}/.stale" for a in actions)
        ]
        services = sorted({a.wanted.service for a in actions if a.wanted and a.wanted.service})
        if archive is None:
            return {
                "changed": False,
                "steps": [step.describe for step in plan.steps],
                "services": services,
                "stale": marked,
                "before": plan.before,
                "after": plan.after,
                "needs": [a.path for a in actions if a.verb == "content"],
                "unmounted": away,
                "texts": texts(actions, tree) if module._diff else {},
            }
        if away:
            raise Failure(f"Unable to write below {', '.join(away)}: not mounted", unmounted=away)
        missing = writer.missing(actions)
        if missing:
            raise Failure(f"Unable to write {', '.join(missing)}: changed on the host during the run, run again")
        return run(module, plan, lambda: {"services": services})
