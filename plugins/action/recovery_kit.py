# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action recovery_kit: packs an inventory with its secrets into one encrypted file, beside it a page to print."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import time
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.homelab.mediaserver.plugins.plugin_utils import recovery_kit, recovery_page, vault
from ansible_collections.homelab.mediaserver.plugins.plugin_utils.recovery_kit import File, KitError

OPTIONS = {"directory", "plan", "passphrase", "to", "version", "source", "commit"}


class ActionModule(ActionBase):
    """Runs on the controller; nothing is sent anywhere."""

    TRANSFERS_FILES = False
    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        given = self._task.args
        if set(given) - OPTIONS or not all(given.get(name) for name in ("directory", "plan", "passphrase")):
            raise AnsibleActionFail(
                "recovery_kit needs directory, plan and passphrase, and knows to, version, source and commit"
            )
        try:
            result.update(self._work(Path(str(given["directory"])), str(given["passphrase"])))
        except (vault.VaultError, KitError) as error:
            raise AnsibleActionFail(str(error)) from None
        except OSError as error:
            raise AnsibleActionFail(f"Unable to use {error.filename}: {error.strerror}") from None
        return result

    def _work(self, secrets: Path, passphrase: str) -> dict[str, Any]:
        inventory, plan = secrets.parent, self._task.args["plan"]
        files = recovery_kit.collect(inventory)
        digest = recovery_kit.digest(files)
        about = {"site": plan["site"]["name"], **self._about()}
        archive = recovery_kit.pack({**files, **self._key(secrets)}, about)
        folder = inventory / recovery_kit.FOLDER
        name = f"{plan['site']['name']}.kit"
        sealed, made = present(folder, name, archive, passphrase)
        kit = {"name": name, "sha256": hashlib.sha256(sealed).hexdigest(), "made": made}
        wanted = {
            name: sealed,
            f"{plan['site']['name']}.html": recovery_page.page(plan, kit, about).encode(),
        }
        record = json.dumps({"digest": digest, **kit}, indent=2) + "\n"
        places = {folder / file: data for file, data in wanted.items()}
        if self._task.args.get("to"):
            copy = Path(str(self._task.args["to"])).expanduser()
            places |= {copy / file: data for file, data in wanted.items()}
        places[folder / recovery_kit.RECORD] = record.encode()  # last: what it says is true
        changed = [path for path, data in places.items() if differs(path, data, path.parent == folder)]
        for path in [] if self._task.check_mode else changed:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            vault.write_private(path, places[path])
        return {
            "changed": bool(changed),
            "files": [str(path) for path in places if path.name != recovery_kit.RECORD],
            "holds": sorted(files),
            **kit,
        }

    def _key(self, secrets: Path) -> dict[str, File]:
        """The vault's key, where Ansible was told it from elsewhere: a kit without it would be worth nothing."""
        known = getattr(getattr(self._loader, "_vault", None), "secrets", None) or []
        store = vault.Store(secrets, tuple(secret for _name, secret in known))
        store.load()
        if store.key.exists() or store.used is None:
            return {}
        return {f"{recovery_kit.SECRETS}/{vault.KEY}": File(bytes(store.used.bytes) + b"\n", 0o600)}

    def _about(self) -> dict[str, str]:
        """The collection's version and where it came from, without anything that lets one in there."""
        about = {name: str(self._task.args.get(name) or "") for name in ("version", "source", "commit")}
        return {**about, "source": re.sub(r"//[^/@]*@", "//", about["source"])}


def present(folder: Path, name: str, archive: bytes, passphrase: str) -> tuple[bytes, str]:
    """The kit that is there, if it holds exactly this, else a new one; and when it was made."""
    with contextlib.suppress(OSError, ValueError, KeyError, KitError):
        sealed = (folder / name).read_bytes()
        record = json.loads((folder / recovery_kit.RECORD).read_text(encoding="utf-8"))
        if recovery_kit.unseal(sealed, passphrase) == archive:
            return sealed, str(record["made"])
    return recovery_kit.seal(archive, passphrase), time.strftime("%Y-%m-%d %H:%M")


def differs(path: Path, data: bytes, ours: bool) -> bool:
    """Whether the file is another, or others may read it; a USB stick's file system may know no modes."""
    with contextlib.suppress(OSError):
        return path.read_bytes() != data or (ours and path.stat().st_mode & 0o077 != 0)
    return True
