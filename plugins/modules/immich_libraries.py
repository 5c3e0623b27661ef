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
    and, to scan, C(queue.read) (before Immich 2.4 C(job.read)).
  - A key with the permission C(all) can ask Immich beforehand whether it sees the folders, thus also in check mode.
    With any lesser key Immich looks at them while the library is written, so only then a wrong folder is found; a new
    library with a wrong folder is removed again.
extends_documentation_fragment:
  - homelab.mediaserver.immich
  - homelab.mediaserver.application
  - homelab.mediaserver.attributes
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
          - A folder that Immich does not see is an error. A slash at the end makes no difference.
        type: list
        elements: str
      exclude:
        description:
          - Patterns of files to leave out. Their order does not matter. Unset, they are not managed, and a new library
            gets those that Immich itself gives.
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
      - When to look for files. V(on_change) means libraries that this call has created or changed, and those that were
        not scanned since they were created or changed, because a former run did not come that far.
      - A scan is an action, thus V(always) always reports a change.
      - While Immich's library queue is paused, a scan fails before anything is written.
    type: str
    choices: [never, on_change, always]
    default: on_change
  scan_timeout:
    description:
      - Seconds to wait until the files that were found are imported; then a warning is given. 0 does not wait.
      - Of a library of which Immich sees no folder (any more) it warns sooner. The next run tries it again.
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
from ansible_collections.homelab.mediaserver.plugins.module_utils._http import NotReady, later
from ansible_collections.homelab.mediaserver.plugins.module_utils._immich import CONNECTION, Immich
from ansible_collections.homelab.mediaserver.plugins.module_utils._immich_libraries import (
    Change,
    plan_libraries,
    unscanned,
)
from ansible_collections.homelab.mediaserver.plugins.module_utils._immich_library_writer import Writer, refuse_unseen
from ansible_collections.homelab.mediaserver.plugins.module_utils._immich_scan import Scan, queue_work
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


def with_owner(options: list[dict[str, Any]], owner: str | None) -> list[dict[str, Any]]:
    for option in options:
        if not (option["owner"] or owner):
            raise Failure(f"Unable to plan library {option['name']}: it has no owner")
    return [{**option, "owner": option["owner"] or owner} for option in options]


def to_scan(
    params: dict[str, Any], changes: list[Change], pending: set[tuple[str, str]], after: dict[str, Any]
) -> list[dict[str, Any]]:
    """The libraries to scan: with folders, and as their `scan` says. ``pending`` have changes that were not scanned."""
    changed = pending | {(change.name, change.owner.lower()) for change in changes if change.kind != "delete"}
    result = []
    for option in params["libraries"]:
        identity, when = (option["name"], option["owner"].lower()), option["scan"] or params["scan"]
        wanted = when == "always" or (when == "on_change" and identity in changed)
        if wanted and option["state"] == "present" and after["{} of {}".format(*identity)].get("paths"):
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
    existing, users = immich.libraries(), immich.user_ids()
    changes, before, after = plan_libraries(params["libraries"], existing, users, params["purge"])
    emails = {number: email for email, number in users.items()}
    names = {lib["id"]: (lib["name"], emails.get(lib["ownerId"], "")) for lib in existing}
    pending = {names[lib["id"]] for lib in existing if unscanned(lib)}
    scans = to_scan(params, changes, pending, after)
    writer = Writer(immich, {name: number for number, name in names.items()}, refuse_unseen(immich, changes))
    if scans:
        queue_work(immich)  # a paused queue
    scan = Scan(immich, params["scan_timeout"], module.warn)
    steps = [writer.step(change) for change in changes]
    steps += scan_steps(scan, writer, scans, params["scan_timeout"] > 0)

    def read_back() -> dict[str, Any]:
        listed = [(one["name"], one["owner"].lower()) for one in params["libraries"] if one["state"] == "present"]
        numbers = {f"{name} of {owner}": writer.numbers[name, owner] for name, owner in listed}
        return {"libraries": numbers, **({"scan_complete": scan.complete} if scans else {})}

    result = _reconcile.run(module, Plan(before=before, after=after, steps=tuple(steps)), read_back)
    return {**result, "requests": immich.requests}


def main() -> None:
    _reconcile.main(AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True), work)


if __name__ == "__main__":
    main()
