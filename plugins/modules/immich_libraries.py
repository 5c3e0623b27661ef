#!/usr/bin/python
# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: immich_libraries
short_description: Manage Immich's external libraries
version_added: 0.1.0
description:
  - Makes the whole list of external libraries so, in one call. A library is found by its name and its owner.
  - Libraries that are not listed stay, unless O(purge=true). The files of a library are never touched.
  - Needs the permissions C(library.read), C(library.create), C(library.update), C(library.delete), C(adminUser.read)
    and, to wait for a scan, C(queue.read) (before Immich 2.4 C(job.read)).
extends_documentation_fragment:
  - homelab.mediaserver.immich
options:
  libraries:
    description: The libraries.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name of the library.
        type: str
        required: true
      owner:
        description: E-mail address of the user it belongs to. Immich cannot change it later. Default is O(owner).
        type: str
      paths:
        description:
          - Folders, as Immich sees them. Their order does not matter. Unset, they are not managed.
          - A folder that Immich does not see is an error.
        type: list
        elements: str
      exclude:
        description: Patterns of files to leave out. Their order does not matter. Unset, they are not managed.
        type: list
        elements: str
      scan:
        description: As O(scan), for this library.
        type: str
        choices: [never, on_change, always]
      state:
        description: Whether it shall exist.
        type: str
        choices: [present, absent]
        default: present
  owner:
    description: E-mail address of the user to whom libraries belong that do not say it themselves.
    type: str
  scan:
    description:
      - When to look for files. V(on_change) means libraries that this call has created or changed, and those with
        folders that were never scanned, because a former run did not come that far.
      - A scan is an action, thus V(always) always reports a change.
    type: str
    choices: [never, on_change, always]
    default: on_change
  scan_timeout:
    description: Seconds to wait until the files that were found are imported; then a warning is given. 0 does not wait.
    type: int
    default: 600
  purge:
    description: Whether libraries that are not listed are deleted, with all that Immich knows about their files.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: These folders are our photographs
  homelab.mediaserver.immich_libraries:
    api_key_file: /etc/mediaserver/immich-api-key
    libraries:
      - name: Family
        owner: ann@example.org
        paths: [/photos/family]
        exclude: ["**/Trash/**"]
"""

RETURN = r"""
libraries:
  description: Ids of the listed libraries by name and owner.
  returned: when not in check mode, or nothing changes
  type: dict
  sample: {"Family of ann@example.org": 3fa85f64-5717-4562-b3fc-2c963f66afa6}
scan_complete:
  description: Whether all scans came to their end in time.
  returned: when something was scanned
  type: bool
requests:
  description: Number of requests made.
  returned: when Immich answers
  type: int
steps:
  description: What was done, or would be done.
  returned: always
  type: list
  elements: str
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.homelab.mediaserver.plugins.module_utils import _reconcile
from ansible_collections.homelab.mediaserver.plugins.module_utils._http import HttpFailure, NotReady, later
from ansible_collections.homelab.mediaserver.plugins.module_utils._immich import CONNECTION, Immich
from ansible_collections.homelab.mediaserver.plugins.module_utils._immich_libraries import Change, plan_libraries
from ansible_collections.homelab.mediaserver.plugins.module_utils._immich_scan import Scan
from ansible_collections.homelab.mediaserver.plugins.module_utils._reconcile import Failure, Plan, Step

WHEN = ["never", "on_change", "always"]
ENTRY = {
    "name": {"type": "str", "required": True},
    "owner": {"type": "str"},
    "paths": {"type": "list", "elements": "str"},
    "exclude": {"type": "list", "elements": "str"},
    "scan": {"type": "str", "choices": WHEN},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
}
ARGUMENTS = {
    **CONNECTION,
    "libraries": {"type": "list", "elements": "dict", "required": True, "options": ENTRY},
    "owner": {"type": "str"},
    "scan": {"type": "str", "choices": WHEN, "default": "on_change"},
    "scan_timeout": {"type": "int", "default": 600},
    "purge": {"type": "bool", "default": False},
}
PATH = "/libraries"


class Writer:
    """Applies changes; remembers the ids of new libraries in ``numbers``, by name and owner."""

    def __init__(self, immich: Immich) -> None:
        self.immich = immich
        self.numbers: dict[tuple[str, str], str] = {}

    def step(self, change: Change) -> Step:
        return Step(change.title, lambda: self.apply(change))

    def apply(self, change: Change) -> None:
        if change.kind == "create":
            self.create(change)
        elif change.kind == "update":
            self.immich.call("PUT", f"{PATH}/{change.number}", change.title, change.body)
        else:
            self.immich.call("DELETE", f"{PATH}/{change.number}", change.title)

    def create(self, change: Change) -> None:
        """Immich looks at folders when they are changed, not when a library is created: so do both, or neither."""
        paths = {key: value for key, value in change.body.items() if key == "importPaths" and value}
        rest = {key: value for key, value in change.body.items() if key not in paths}
        number = self.immich.call("POST", PATH, change.title, rest)["id"]
        if paths:
            try:
                self.immich.call("PUT", f"{PATH}/{number}", change.title, paths)
            except HttpFailure:
                self.immich.send("DELETE", f"{PATH}/{number}", change.title)
                raise
        self.numbers[change.name, change.owner.lower()] = number


def with_owner(options: list[dict[str, Any]], owner: str | None) -> list[dict[str, Any]]:
    for option in options:
        if not (option["owner"] or owner):
            raise Failure(f"Unable to plan library {option['name']}: it has no owner")
    return [{**option, "owner": option["owner"] or owner} for option in options]


def to_scan(params: dict[str, Any], changes: list[Change], never: set[tuple[str, str]]) -> list[dict[str, Any]]:
    """The libraries to scan: with folders, and as their `scan` says. ``never`` were not scanned yet."""
    changed = never | {(change.name, change.owner.lower()) for change in changes if change.kind != "delete"}
    result = []
    for option in params["libraries"]:
        when = option["scan"] or params["scan"]
        wanted = when == "always" or (when == "on_change" and (option["name"], option["owner"].lower()) in changed)
        if wanted and option["state"] == "present" and option["paths"] != []:
            result.append(option)
    return result


def scan_steps(scan: Scan, writer: Writer, options: list[dict[str, Any]], wait: bool) -> list[Step]:
    def start(name: str, owner: str) -> Step:
        return Step(f"scan library {name} of {owner}", lambda: scan.start(writer.numbers[name, owner.lower()], name))

    steps = [start(option["name"], option["owner"]) for option in options]
    return [*steps, Step("wait for the scan", scan.wait)] if steps and wait else steps


def work(module: AnsibleModule) -> dict[str, Any]:
    params = {**module.params, "libraries": with_owner(module.params["libraries"], module.params["owner"])}
    immich = Immich(params)
    try:
        immich.open()
    except NotReady as failure:
        wanted = [f"{option['name']} of {option['owner']}" for option in params["libraries"]]
        return _reconcile.run(module, later(failure, "create the libraries", wanted))
    existing = immich.objects(PATH, "list libraries")
    users = immich.user_ids()
    changes, before, after = plan_libraries(params["libraries"], existing, users, params["purge"])
    writer = Writer(immich)
    emails = {number: email for email, number in users.items()}
    names = {lib["id"]: (lib["name"], emails.get(lib["ownerId"], "")) for lib in existing}
    writer.numbers = {name: number for number, name in names.items()}
    never = {names[lib["id"]] for lib in existing if lib.get("importPaths") and not lib.get("refreshedAt")}
    scan = Scan(immich, params["scan_timeout"], module.warn)
    scans = to_scan(params, changes, never)
    steps = [writer.step(change) for change in changes]
    steps += scan_steps(scan, writer, scans, params["scan_timeout"] > 0)

    def read_back() -> dict[str, Any]:
        listed = [
            (option["name"], option["owner"].lower()) for option in params["libraries"] if option["state"] == "present"
        ]
        result: dict[str, Any] = {
            "libraries": {f"{name} of {owner}": writer.numbers[name, owner] for name, owner in listed}
        }
        return {**result, "scan_complete": scan.complete} if scans else result

    result = _reconcile.run(module, Plan(before=before, after=after, steps=tuple(steps)), read_back)
    return {**result, "requests": immich.requests}


def main() -> None:
    _reconcile.main(AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True), work)


if __name__ == "__main__":
    main()
