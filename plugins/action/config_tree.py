# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Controller side of config_tree: renders, asks what differs, sends only that."""

from __future__ import annotations

import io
import os
import secrets
import tarfile
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible import constants as C
from ansible.errors import AnsibleActionFail, AnsibleError
from ansible.plugins.action import ActionBase
from ansible.template import trust_as_template
from ansible_collections.homelab.mediaserver.plugins.module_utils import _tree
from ansible_collections.homelab.mediaserver.plugins.plugin_utils import tree_render
from ansible_collections.homelab.mediaserver.plugins.plugin_utils.tree_render import Context, Entry, RenderError

OPTIONS = {"name", "files", "directories", "projects", "late", "secrets", "variables", "only"}
MODULE = "homelab.mediaserver.config_tree"
HIDDEN = "(secret, not shown)\n"


class ActionModule(ActionBase):
    """Renders a host's files on the controller and has the module write what differs."""

    TRANSFERS_FILES = True
    _requires_connection = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        try:
            result.update(self._work(self._arguments(), task_vars or {}))
        except RenderError as error:
            raise AnsibleActionFail("\n".join(error.problems)) from None
        finally:
            self._remove_tmp_path(self._connection._shell.tmpdir)
        return result

    def _arguments(self) -> dict[str, Any]:
        """The task's arguments, those of services outside ``only`` left out."""
        unknown = sorted(set(self._task.args) - OPTIONS)
        if unknown:
            raise AnsibleActionFail(f"Unsupported parameters for config_tree: {', '.join(unknown)}")
        args: dict[str, Any] = {name: self._task.args.get(name) or {} for name in OPTIONS - {"name"}}
        args["name"] = str(self._task.args.get("name") or "")
        if not args["name"].replace("-", "").replace("_", "").isalnum():
            raise AnsibleActionFail("config_tree needs a name of letters, digits, - and _")
        args["only"] = [str(name) for name in args["only"]]
        for kind in ("files", "directories"):
            args[kind] = [item for item in args[kind] if self._chosen(str(item.get("service") or ""), args["only"])]
        projects = {str(name): str(directory) for name, directory in args["projects"].items()}
        args["projects"] = {name: where for name, where in projects.items() if self._chosen(name, args["only"])}
        return args

    @staticmethod
    def _chosen(service: str, only: list[str]) -> bool:
        return not only or service in only

    def _template(self, path: str, variables: dict[str, Any]) -> str:
        """Render a template file with ``variables`` only."""
        try:
            text = trust_as_template(self._loader.get_text_file_contents(path))
            templar = self._templar.copy_with_new_env(
                searchpath=[str(Path(path).parent)], available_variables=variables
            )
            rendered = templar.template(text, escape_backslashes=False, overrides={"trim_blocks": True})
        except AnsibleError as error:
            raise tree_render.Problem(f"template {path}: {error}") from error
        return "" if rendered is None else str(rendered)

    def _work(self, args: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        context = Context(self._template, args["late"], args["secrets"], args["variables"])
        entries, digests = tree_render.render(args["files"], args["projects"], context)
        key = secrets.token_hex(16)
        request = {
            "name": args["name"],
            "only": args["only"],
            "key": key,
            "projects": args["projects"],
            "files": [self._announce(entry, key) for entry in entries],
            "directories": [self._directory(item) for item in args["directories"]],
        }
        report = self._call(request, task_vars)
        if report.get("failed"):
            return report
        result = {
            "changed": bool(report["steps"]),
            "steps": report["steps"],
            "services": report["services"],
            "stale": report["stale"],
            "digests": digests,
        }
        if self._task.diff:
            result["diff"] = self._diff(entries, report)
        if report["unmounted"]:
            text = f"Unable to write below {', '.join(report['unmounted'])}: not mounted"
            if not self._task.check_mode:
                raise AnsibleActionFail(f"{text}. Nothing was written. Look at `systemctl status` of the mount.")
            result["warnings"] = [f"{text} yet; a real run would stop here unless an earlier step mounts it"]
        if result["changed"] and not self._task.check_mode:
            written = self._write(request, {entry.path: entry for entry in entries}, report["needs"], task_vars)
            if written.get("failed"):
                return written
        return result

    @staticmethod
    def _announce(entry: Entry, key: str) -> dict[str, Any]:
        return {
            "path": entry.path,
            "mode": entry.mode,
            "owner": entry.owner,
            "group": entry.group,
            "service": entry.service,
            "secret": entry.secret,
            "digest": _tree.fingerprint(entry.data, key),
        }

    @staticmethod
    def _directory(item: Mapping[str, Any]) -> dict[str, Any]:
        try:
            mode = tree_render.mode(item.get("mode"), "0755")
        except tree_render.Problem as problem:
            raise AnsibleActionFail(f"Unable to make {item.get('path')}: {problem}") from None
        names = ("path", "service", "owner", "group", "below")
        given = {name: str(item[name]) for name in names if item.get(name) is not None}
        return {"mode": mode, **given, **({"keep": item["keep"]} if "keep" in item else {})}

    def _call(self, request: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        answer = self._execute_module(module_name=MODULE, module_args=dict(request), task_vars=task_vars)
        answer.pop("invocation", None)
        return answer

    def _write(
        self, request: dict[str, Any], entries: dict[str, Entry], needs: list[str], task_vars: dict[str, Any]
    ) -> dict[str, Any]:
        """Send the contents that differ and have them written."""
        shell = self._connection._shell
        if shell.tmpdir is None:
            self._make_tmp_path()
        remote = shell.join_path(shell.tmpdir, "tree.tar.gz")
        descriptor, local = tempfile.mkstemp(dir=C.DEFAULT_LOCAL_TMP)  # 0600
        try:
            with (
                os.fdopen(descriptor, "wb") as stream,
                tarfile.open(fileobj=stream, mode="w:gz", compresslevel=1) as tar,
            ):
                for number, path in enumerate(needs):
                    member = tarfile.TarInfo(str(number))
                    member.size = len(entries[path].data)
                    tar.addfile(member, io.BytesIO(entries[path].data))
            self._transfer_file(local, remote)
        finally:
            Path(local).unlink()
        self._fixup_perms2([shell.tmpdir, remote], execute=False)
        self._remote_chmod([remote], "u=rw,g=,o=")
        return self._call({**request, "archive": remote}, task_vars)

    @staticmethod
    def _diff(entries: list[Entry], report: dict[str, Any]) -> list[dict[str, Any]]:
        """One diff per changed file, and one of states for all the rest."""
        wanted = {entry.path: entry for entry in entries}
        present = {path: item["state"] for path, item in report["before"].items()}
        diffs: list[dict[str, Any]] = [{"before": report["before"], "after": report["after"]}]
        for path in report["needs"]:
            entry = wanted[path]
            before = report["texts"].get(path, "" if present.get(path) == "absent" else HIDDEN)
            after = HIDDEN if entry.secret or before == HIDDEN else _text(entry.data)
            if entry.secret:
                before = "" if present.get(path) == "absent" else "(secret, differs)\n"
            diffs.append({"before": before, "after": after, "before_header": path, "after_header": path})
        return diffs if report["steps"] else []


def _text(data: bytes) -> str:
    try:
        return data.decode() if len(data) <= _tree.TEXT_LIMIT else f"({len(data)} bytes)\n"
    except UnicodeDecodeError:
        return f"({len(data)} bytes, not text)\n"
