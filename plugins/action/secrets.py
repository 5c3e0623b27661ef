# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action secrets: makes sure that every secret the plan needs exists, and hands them out."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.homelab.mediaserver.plugins.module_utils._lock import lock
from ansible_collections.homelab.mediaserver.plugins.module_utils._reconcile import Failure
from ansible_collections.homelab.mediaserver.plugins.plugin_utils import vault, vault_generate
from ansible_collections.homelab.mediaserver.plugins.plugin_utils.vault import Store, VaultError

OPTIONS = {"directory", "required", "given", "keep", "known_hosts"}


class ActionModule(ActionBase):
    """Runs on the controller; nothing is sent anywhere."""

    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        unknown = sorted(set(self._task.args) - OPTIONS)
        if unknown or not self._task.args.get("directory"):
            raise AnsibleActionFail(f"secrets needs directory and knows {', '.join(sorted(OPTIONS))}, not {unknown}")
        folder = Path(str(self._task.args["directory"]))
        try:
            if self._task.check_mode:
                result.update(self._work(folder))
            else:
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                with lock("secrets", timeout=60, folder=folder):
                    result.update(self._work(folder))
        except VaultError as error:
            raise AnsibleActionFail(str(error)) from None
        except Failure as failure:
            raise AnsibleActionFail(failure.message) from None
        except OSError as error:
            raise AnsibleActionFail(f"Unable to use {error.filename or folder}: {error.strerror}") from None
        return result

    def _work(self, folder: Path) -> dict[str, Any]:
        requirements = [dict(item) for item in self._task.args.get("required") or []]
        given = vault.flatten(self._task.args.get("given") or {})
        known = getattr(getattr(self._loader, "_vault", None), "secrets", None) or []
        store = Store(folder, tuple(secret for _name, secret in known))
        stored = store.load()
        told = vault.flatten(self._task.args.get("keep") or {})
        kept = {name: value for name, value in told.items() if stored.get(name) != value}
        stored = {**stored, **kept}
        made = complete(requirements, {**stored, **given}, folder)
        if (made or kept) and not self._task.check_mode:
            store.save({**stored, **made})
        values = choose(requirements, {**stored, **made, **given}, given)
        hosts = self._known_hosts(folder, values)
        return {
            "changed": bool(made or kept) or hosts,
            "generated": sorted(made),
            "kept": sorted(kept),
            "names": sorted({**stored, **made, **given}),
            "secrets": values,
            "_ansible_no_log": True,
        }

    def _known_hosts(self, folder: Path, values: Mapping[str, str]) -> bool:
        """Pin the host keys; true when the file changes."""
        hosts = self._task.args.get("known_hosts") or []
        keyless = [str(item["secret"]) for item in hosts if f"{item['secret']}.public" not in values]
        if keyless:
            raise VaultError(f"Unable to pin host keys: {', '.join(keyless)} is no required secret of kind ssh_ed25519")
        wanted = [(vault.host_names(item), values[f"{item['secret']}.public"].strip()) for item in hosts]
        path = folder / vault.KNOWN_HOSTS
        present = ""
        with contextlib.suppress(FileNotFoundError):
            present = path.read_text()
        text = vault.known_hosts(present, wanted)
        if text == present:
            return False
        if not self._task.check_mode:
            vault.write_private(path, text.encode(), 0o644)
        return True


def complete(requirements: Iterable[Mapping[str, Any]], present: Mapping[str, str], folder: Path) -> dict[str, str]:
    """New secrets for all that is missing; everything that cannot be made is said at once."""
    made: dict[str, str] = {}
    problems = []
    for item in requirements:
        name = str(item["name"])
        if name in present or name in made or item.get("later"):
            continue
        if item.get("ask"):
            problems.append(_ask(name, str(item.get("help") or "").strip(), folder))
            continue
        try:
            made.update({f"{name}{suffix}": value for suffix, value in vault_generate.generate(item).items()})
        except vault_generate.KindError as error:
            problems.append(f"Unable to make secret {name}: {error}")
    if problems:
        raise VaultError("\n".join(problems))
    return made


def _ask(name: str, text: str, folder: Path) -> str:
    service, _dot, key = name.partition(".")
    where = f"site_secrets: {{{service}: {{{key}: ...}}}}" if key else f"site_secrets: {{{name}: ...}}"
    command = f"ansible-vault edit --vault-password-file {folder / vault.KEY} {folder / vault.VAULT}"
    if not (folder / vault.VAULT).exists():
        command = "ansible-vault encrypt_string"
    reason = f" {text.rstrip('.')}." if text else ""
    return (
        f"Secret {name} must be given by you.{reason} Set {where} in the inventory (`ansible-vault encrypt_string`), "
        + (f"or add the line `{name}: ...` with `{command}`." if "edit" in command else "as it cannot be made up.")
    )


def choose(
    requirements: Iterable[Mapping[str, Any]], values: Mapping[str, str], given: Mapping[str, str]
) -> dict[str, str]:
    """The secrets that are needed or were given, with their public halves."""
    chosen = dict(given)
    for item in requirements:
        name = str(item["name"])
        for suffix in ("", ".certificate"):
            if f"{name}{suffix}" in values:
                chosen[f"{name}{suffix}"] = values[f"{name}{suffix}"]
        if item.get("later"):
            continue
        try:
            public = vault_generate.public(str(item.get("kind") or "password"), chosen[name])
        except ValueError:
            raise VaultError(f"Unable to use secret {name}: it is no private key of kind {item['kind']}") from None
        chosen.update({f"{name}{suffix}": text for suffix, text in public.items()})
    return chosen
