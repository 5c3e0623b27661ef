#!/usr/bin/python
# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: jellyfin_setup
short_description: Complete Jellyfin's first start and prove the administrator's login
version_added: 0.1.0
description:
  - Goes through the wizard of a fresh Jellyfin by its API, in the order it needs, and proves that the administrator can
    log in. A wizard that was left half-way is completed.
  - Where the wizard was completed already, only the login is proved. Nothing is reset.
extends_documentation_fragment:
  - homelab.mediaserver.jellyfin
  - homelab.mediaserver.application
  - homelab.mediaserver.attributes
options:
  username:
    required: true
  password:
    required: true
  api_key:
    description: Not used by this module, which proves the login itself.
  culture:
    description: Language of the interface.
    type: str
    default: en-US
  metadata_language:
    description: Language in which films and series are described.
    type: str
    default: en
  metadata_country:
    description: Country whose titles and ratings count.
    type: str
    default: US
  remote_access:
    description: Whether Jellyfin answers clients outside its own networks; needed behind a proxy.
    type: bool
    default: true
  key_name:
    description:
      - Name of an API key that shall exist, for other programs. It is returned as RV(token).
      - Without it no key is made and nothing secret is returned.
    type: str
"""

EXAMPLES = r"""
- name: Set up Jellyfin before anybody else can
  homelab.mediaserver.jellyfin_setup:
    username: admin
    password: "{{ jellyfin_admin_password }}"
    culture: fr
    metadata_language: fr
    metadata_country: FR
    wait: 120
"""

RETURN = r"""
version:
  description: Version of Jellyfin.
  returned: when it answers
  type: str
  sample: 10.11.11
token:
  description: The API key. Secret.
  returned: when O(key_name) is given, outside of check mode
  type: str
steps:
  description: What was done, or would be done.
  returned: always
  type: list
  elements: str
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.homelab.mediaserver.plugins.module_utils import _reconcile
from ansible_collections.homelab.mediaserver.plugins.module_utils._http import HttpFailure, NotReady, later, strong
from ansible_collections.homelab.mediaserver.plugins.module_utils._jellyfin import CONNECTION, Jellyfin
from ansible_collections.homelab.mediaserver.plugins.module_utils._reconcile import Plan, Step

ARGUMENTS = {
    **CONNECTION,
    "username": {"type": "str", "required": True},
    "password": {"type": "str", "required": True, "no_log": True},
    "culture": {"type": "str", "default": "en-US"},
    "metadata_language": {"type": "str", "default": "en"},
    "metadata_country": {"type": "str", "default": "US"},
    "remote_access": {"type": "bool", "default": True},
    "key_name": {"type": "str", "no_log": False},
}


class Setup:
    """The wizard's pages, each one write."""

    def __init__(self, jellyfin: Jellyfin, params: dict[str, Any]) -> None:
        self.jellyfin = jellyfin
        self.params = params

    def languages(self) -> None:
        body = {
            "UICulture": self.params["culture"],
            "PreferredMetadataLanguage": self.params["metadata_language"],
            "MetadataCountryCode": self.params["metadata_country"],
        }
        self.jellyfin.call("POST", "/Startup/Configuration", "set Jellyfin's languages", body)

    def administrator(self) -> None:
        to = f"create administrator {self.params['username']}"
        self.jellyfin.call("GET", "/Startup/User", to)  # creates the user that the next request renames
        body = {"Name": self.params["username"], "Password": strong(self.params["password"], "Jellyfin")}
        try:
            self.jellyfin.call("POST", "/Startup/User", to, body)
        except HttpFailure as failure:
            # Jellyfin 12 refuses it once a password is set: a former run was killed here
            if failure.status != 403:
                raise
            self.jellyfin.login()  # do not open the door to an administrator whose password is not ours

    def remote_access(self) -> None:
        body = {"EnableRemoteAccess": self.params["remote_access"], "EnableAutomaticPortMapping": False}
        self.jellyfin.call("POST", "/Startup/RemoteAccess", "set Jellyfin's remote access", body)

    def complete(self) -> None:
        self.jellyfin.call("POST", "/Startup/Complete", "complete Jellyfin's wizard")
        self.jellyfin.login()

    def api_key(self) -> None:
        name = self.params["key_name"]
        self.jellyfin.call("POST", "/Auth/Keys", f"create API key {name}", query={"app": name})


def plan(info: dict[str, Any], params: dict[str, Any], keys: list[str], setup: Setup) -> Plan:
    """Pure: the wizard's pages if it was not completed, and the key if it is wanted and not there."""
    before: dict[str, Any] = {"administrator": params["username"], "wizard": "completed"}
    after = dict(before)
    steps: list[Step] = []
    if not info["StartupWizardCompleted"]:
        before = {"administrator": None, "wizard": "open"}
        steps = [
            Step("set languages", setup.languages),
            Step(f"create administrator {params['username']}", setup.administrator),
            Step("set remote access", setup.remote_access),
            Step("complete the wizard", setup.complete),
        ]
    if params["key_name"]:
        before["keys"] = [params["key_name"]] if params["key_name"] in keys else []
        after["keys"] = [params["key_name"]]
        if not before["keys"]:
            steps.append(Step(f"create API key {params['key_name']}", setup.api_key))
    return Plan(before=before, after=after, steps=tuple(steps))


def read_keys(jellyfin: Jellyfin) -> dict[str, str]:
    """API keys by the name of their program."""
    items = jellyfin.object("/Auth/Keys", "list API keys").get("Items") or []
    return {str(item.get("AppName")): str(item.get("AccessToken")) for item in items}


def work(module: AnsibleModule) -> dict[str, Any]:
    params = module.params
    jellyfin = Jellyfin({**params, "api_key": None})
    try:
        info = jellyfin.public_info()
    except NotReady as failure:
        after = {"administrator": params["username"], "wizard": "completed"}
        return _reconcile.run(module, later(failure, "go through the wizard", after))
    keys: list[str] = []
    if info["StartupWizardCompleted"]:
        jellyfin.login()
        keys = list(read_keys(jellyfin)) if params["key_name"] else []

    def read_back() -> dict[str, Any]:
        result: dict[str, Any] = {"version": info.get("Version", "")}
        if params["key_name"]:
            result["token"] = read_keys(jellyfin).get(params["key_name"])
        return result

    return _reconcile.run(module, plan(info, params, keys, Setup(jellyfin, params)), read_back)


def main() -> None:
    _reconcile.main(AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True), work)


if __name__ == "__main__":
    main()
