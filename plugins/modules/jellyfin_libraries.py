#!/usr/bin/python
# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: jellyfin_libraries
short_description: Manage Jellyfin's libraries
version_added: 0.1.0
description:
  - Makes the whole list of libraries so, in one call. A library is found by its name.
  - Libraries that are not listed stay, unless O(purge=true).
extends_documentation_fragment:
  - homelab.mediaserver.jellyfin
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
        description: Name shown to everybody.
        type: str
        required: true
      type:
        description: Kind of media. Jellyfin cannot change it later.
        type: str
        choices: [movies, tvshows, music, musicvideos, homevideos, boxsets, books, mixed]
        required: true
      paths:
        description: Folders, as Jellyfin sees them. Their order does not matter.
        type: list
        elements: str
        required: true
      options:
        description:
          - Further options, named as in Jellyfin's C(LibraryOptions), for example C(EnableRealtimeMonitor) or
            C(PreferredMetadataLanguage). What is not given is not managed.
        type: dict
        default: {}
  purge:
    description: Whether libraries that are not listed are removed. Media files stay in any case.
    type: bool
    default: false
  refresh:
    description: Whether Jellyfin looks for media at once where folders were added.
    type: bool
    default: true
"""

EXAMPLES = r"""
- name: Have films and series
  homelab.mediaserver.jellyfin_libraries:
    username: admin
    password: "{{ jellyfin_admin_password }}"
    libraries:
      - name: Films
        type: movies
        paths: [/media/films]
        options: {EnableRealtimeMonitor: true}
      - name: Series
        type: tvshows
        paths: [/media/series]
"""

RETURN = r"""
libraries:
  description: Folders of all libraries by name.
  returned: when not in check mode, or nothing changes
  type: dict
  sample: {Films: [/media/films]}
steps:
  description: What was done, or would be done.
  returned: always
  type: list
  elements: str
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.homelab.mediaserver.plugins.module_utils import _reconcile
from ansible_collections.homelab.mediaserver.plugins.module_utils._http import NotReady, later, unknown_keys
from ansible_collections.homelab.mediaserver.plugins.module_utils._jellyfin import CONNECTION, Jellyfin
from ansible_collections.homelab.mediaserver.plugins.module_utils._jellyfin_libraries import (
    Change,
    paths_of,
    plan_libraries,
)
from ansible_collections.homelab.mediaserver.plugins.module_utils._reconcile import Failure, Plan, Step

TYPES = ["movies", "tvshows", "music", "musicvideos", "homevideos", "boxsets", "books", "mixed"]
ENTRY = {
    "name": {"type": "str", "required": True},
    "type": {"type": "str", "choices": TYPES, "required": True},
    "paths": {"type": "list", "elements": "str", "required": True},
    "options": {"type": "dict", "default": {}},
}
ARGUMENTS = {
    **CONNECTION,
    "libraries": {"type": "list", "elements": "dict", "required": True, "options": ENTRY},
    "purge": {"type": "bool", "default": False},
    "refresh": {"type": "bool", "default": True},
}
PATH = "/Library/VirtualFolders"


def step(jellyfin: Jellyfin, change: Change, refresh: bool) -> Step:
    name = change.library
    flag = {"refreshLibrary": "true" if refresh else "false"}

    def apply() -> None:
        to = change.title
        if change.kind == "create":
            query = {"name": name, **({"collectionType": change.type} if change.type else {}), **flag}
            jellyfin.call("POST", PATH, to, {"LibraryOptions": change.options}, query=query)
        elif change.kind == "add path":
            body = {"Name": name, "PathInfo": {"Path": change.path}}
            jellyfin.call("POST", f"{PATH}/Paths", to, body, query=flag)
        elif change.kind == "remove path":
            jellyfin.call("DELETE", f"{PATH}/Paths", to, query={"name": name, "path": change.path, **flag})
        elif change.kind == "remove":
            jellyfin.call("DELETE", PATH, to, query={"name": name, **flag})
        else:
            body = {"Id": change.item, "LibraryOptions": change.options}
            jellyfin.call("POST", f"{PATH}/LibraryOptions", to, body)

    return Step(change.title, apply)


def check_options(options: list[dict[str, Any]], libraries: list[dict[str, Any]]) -> None:
    """Jellyfin drops unknown options of a new library without a word: look whether all are there."""
    stored = {library["Name"]: library.get("LibraryOptions") or {} for library in libraries}
    for option in options:
        if option["name"] not in stored:
            raise Failure(f"Unable to create library {option['name']}: it is not there afterwards")
        unknown = unknown_keys(stored[option["name"]], option["options"])
        if unknown:
            raise Failure(f"Unable to set options of library {option['name']}: {'; '.join(unknown)}")


def work(module: AnsibleModule) -> dict[str, Any]:
    params = module.params
    jellyfin = Jellyfin(params)
    try:
        jellyfin.open()
    except NotReady as failure:
        names = [option["name"] for option in params["libraries"]]
        return _reconcile.run(module, later(failure, "create the libraries", names))
    existing = jellyfin.objects(PATH, "list libraries")
    changes, before, after = plan_libraries(params["libraries"], existing, params["purge"])
    steps = tuple(step(jellyfin, change, params["refresh"]) for change in changes)

    def read_back() -> dict[str, Any]:
        libraries = jellyfin.objects(PATH, "list libraries") if steps else existing
        check_options(params["libraries"], libraries)
        return {"libraries": {library["Name"]: paths_of(library) for library in libraries}}

    return _reconcile.run(module, Plan(before=before, after=after, steps=steps), read_back)


def main() -> None:
    _reconcile.main(AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True), work)


if __name__ == "__main__":
    main()
