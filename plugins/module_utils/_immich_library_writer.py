# Copyright (c) 2026 The homelab.mediaserver authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt)
"""Writes Immich's external libraries, so that none ever has a folder that Immich does not see.

Immich looks at folders when they are changed, but not when a library is created. It can be asked before, by a route
that wants a key with all permissions. A lesser key is refused there; then a library is created without folders and gets
them by a change, which does look.
"""

from __future__ import annotations

from contextlib import suppress

from ansible_collections.homelab.mediaserver.plugins.module_utils._http import HttpFailure
from ansible_collections.homelab.mediaserver.plugins.module_utils._immich import Immich
from ansible_collections.homelab.mediaserver.plugins.module_utils._immich_libraries import Change
from ansible_collections.homelab.mediaserver.plugins.module_utils._reconcile import Failure, Step

PATH = "/libraries"
ANY = "00000000-0000-4000-8000-000000000000"  # the route wants an id and looks at none
MOST = 128  # folders per request


def refuse_unseen(immich: Immich, changes: list[Change]) -> bool:
    """Fail for folders that Immich does not see; False: this key may not ask."""
    wanted = {path: change.title for change in changes for path in change.body.get("importPaths", [])}
    paths, bad = sorted(wanted), []
    for start in range(0, len(paths), MOST):
        body = {"importPaths": paths[start : start + MOST]}
        try:
            answer = immich.call("POST", f"{PATH}/{ANY}/validate", "check folders", body)
        except HttpFailure as failure:
            if failure.status in (403, 404):
                return False
            raise
        found = answer.get("importPaths") if isinstance(answer, dict) else None
        if not isinstance(found, list) or not all(isinstance(one, dict) and "importPath" in one for one in found):
            raise Failure("Unable to check folders: the answer does not say which are good")
        bad += [(one["importPath"], one.get("message") or "not usable") for one in found if not one.get("isValid")]
    if bad:
        texts = "; ".join(f"{path}: {why}" for path, why in bad)
        raise Failure(
            f"Unable to {wanted.get(bad[0][0], 'use folders')}: {texts}", folders=[path for path, _why in bad]
        )
    return True


class Writer:
    """Applies changes. ``numbers`` are the libraries' ids by name and owner, new ones included."""

    def __init__(self, immich: Immich, numbers: dict[tuple[str, str], str], checked: bool) -> None:
        self.immich, self.numbers, self.checked = immich, numbers, checked

    def step(self, change: Change) -> Step:
        return Step(change.title, lambda: self.apply(change))

    def apply(self, change: Change) -> None:
        if change.kind == "create":
            self.numbers[change.name, change.owner.lower()] = self.create(change)
        elif change.kind == "update":
            self.immich.call("PUT", f"{PATH}/{change.number}", change.title, change.body)
        else:
            self.immich.delete(f"{PATH}/{change.number}", change.title)

    def create(self, change: Change) -> str:
        if self.checked or not change.body.get("importPaths"):
            return self.immich.create(PATH, change.title, change.body)
        rest = {key: value for key, value in change.body.items() if key != "importPaths"}
        number = self.immich.create(PATH, change.title, rest)
        try:
            paths = {"importPaths": change.body["importPaths"]}
            self.immich.call("PUT", f"{PATH}/{number}", change.title, paths)
        except HttpFailure:
            with suppress(Failure):  # what the change said counts
                self.immich.delete(f"{PATH}/{number}", change.title)
            raise
        return number
