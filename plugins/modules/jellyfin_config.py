#!/usr/bin/python
# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: jellyfin_config
short_description: Manage Jellyfin's configuration
version_added: 0.1.0
description:
  - Lays the given keys over Jellyfin's configuration and leaves all others as they are. Lists are replaced as a whole.
  - A key that Jellyfin does not know is an error that names similar ones. Jellyfin itself would drop it without a word.
extends_documentation_fragment:
  - homelab.mediaserver.jellyfin
  - homelab.mediaserver.application
  - homelab.mediaserver.attributes
options:
  system:
    description: Keys of the server's configuration, for example C(EnableMetrics).
    type: dict
    default: {}
  encoding:
    description: Keys of the transcoding configuration, for example C(HardwareAccelerationType).
    type: dict
    default: {}
  network:
    description: Keys of the network configuration, for example C(KnownProxies).
    type: dict
    default: {}
  restart:
    description:
      - Whether Jellyfin may be restarted where that is needed, which ends running streams.
      - It is needed when Jellyfin says so, and when C(EnableMetrics) is wanted but V(/metrics) is not served.
    type: str
    choices: [never, if_needed]
    default: never
"""

EXAMPLES = r"""
- name: Transcode on the graphics chip and give Prometheus its figures
  homelab.mediaserver.jellyfin_config:
    username: admin
    password: "{{ jellyfin_admin_password }}"
    system: {EnableMetrics: true}
    encoding:
      HardwareAccelerationType: vaapi
      VaapiDevice: /dev/dri/renderD128
    restart: if_needed
    wait: 60
"""

RETURN = r"""
restart_needed:
  description: Whether Jellyfin must be restarted for its configuration to count.
  returned: when Jellyfin answers
  type: bool
steps:
  description: What was done, or would be done.
  returned: always
  type: list
  elements: str
"""

from collections.abc import Callable
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.homelab.mediaserver.plugins.module_utils import _reconcile
from ansible_collections.homelab.mediaserver.plugins.module_utils._http import (
    HttpFailure,
    NotReady,
    later,
    merge,
    only_wanted,
    unknown_keys,
    wait_for,
)
from ansible_collections.homelab.mediaserver.plugins.module_utils._jellyfin import CONNECTION, Jellyfin
from ansible_collections.homelab.mediaserver.plugins.module_utils._reconcile import Failure, Plan, Step

SECTIONS = {
    "system": "/System/Configuration",
    "encoding": "/System/Configuration/encoding",
    "network": "/System/Configuration/network",
}
ARGUMENTS = {
    **CONNECTION,
    **{section: {"type": "dict", "default": {}} for section in SECTIONS},
    "restart": {"type": "str", "choices": ["never", "if_needed"], "default": "never"},
}


def differences(wanted: dict[str, Any], current: dict[str, Any]) -> dict[str, Any]:
    """Pure: the whole new object of each section that changes; unknown keys are one error."""
    unknown = [
        message for section, keys in wanted.items() for message in unknown_keys(current[section], keys, f"{section}.")
    ]
    if unknown:
        raise Failure(f"Unable to configure Jellyfin: {'; '.join(unknown)}")
    merged = {section: merge(current[section], keys) for section, keys in wanted.items()}
    return {section: new for section, new in merged.items() if new != current[section]}


def restart_needed(jellyfin: Jellyfin, system: dict[str, Any]) -> bool:
    if jellyfin.object("/System/Info", "ask Jellyfin whether it needs a restart").get("HasPendingRestart"):
        return True
    return (
        bool(system.get("EnableMetrics")) and jellyfin.send("GET", "/metrics", "read Jellyfin's metrics").status != 200
    )


def settled(asks: Callable[[], bool]) -> None:
    """For :func:`wait_for`: raise NotReady until Jellyfin is back and does not ask for a restart any more."""
    try:
        still = asks()
    except HttpFailure as failure:  # it answers, but is still starting
        raise NotReady(failure.message) from failure
    if still:
        raise NotReady("Unable to restart Jellyfin: it still asks for a restart")


def restart_step(jellyfin: Jellyfin, asks: Callable[[], bool], seconds: int) -> Step:
    def restart() -> None:
        if asks():  # asked again: what was just written may need it, or not
            jellyfin.call("POST", "/System/Restart", "restart Jellyfin")
            wait_for(lambda: settled(asks), seconds)

    return Step("restart Jellyfin if it needs it", restart)


def work(module: AnsibleModule) -> dict[str, Any]:
    params = module.params
    wanted = {section: params[section] for section in SECTIONS if params[section]}
    jellyfin = Jellyfin(params)
    try:
        jellyfin.open()
    except NotReady as failure:
        return _reconcile.run(module, later(failure, "configure Jellyfin", wanted))
    current = {
        section: jellyfin.object(SECTIONS[section], f"read Jellyfin's {section} configuration") for section in wanted
    }
    changed = differences(wanted, current)
    pending = restart_needed(jellyfin, wanted.get("system", {}))

    def write(section: str) -> Step:
        to = f"set Jellyfin's {section} configuration"
        return Step(to, lambda: jellyfin.call("POST", SECTIONS[section], to, changed[section]))

    def asks() -> bool:
        return restart_needed(jellyfin, wanted.get("system", {}))

    steps = [write(section) for section in changed]
    warnings: tuple[str, ...] = ()
    if params["restart"] == "if_needed" and (pending or changed):
        steps.append(restart_step(jellyfin, asks, max(params["wait"], 60)))
    elif pending:
        warnings = ("Jellyfin must be restarted for its configuration to count",)

    def read_back() -> dict[str, Any]:
        return {"restart_needed": asks() if steps else pending}

    plan = Plan(
        before={section: only_wanted(current[section], keys) for section, keys in wanted.items()},
        after=merge({section: only_wanted(current[section], keys) for section, keys in wanted.items()}, wanted),
        steps=tuple(steps),
        warnings=warnings,
    )
    return _reconcile.run(module, plan, read_back)


def main() -> None:
    _reconcile.main(AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True), work)


if __name__ == "__main__":
    main()
