#!/usr/bin/python
# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: immich_config
short_description: Manage Immich's system configuration
version_added: 0.1.0
description:
  - Lays the given keys over Immich's system configuration and leaves all others as they are.
  - Lists are replaced as a whole.
  - A key that Immich does not know is an error that names similar ones. Immich itself would drop it without a word.
  - Immich refuses changes where it takes its configuration from a file (C(IMMICH_CONFIG_FILE)), and changes of
    C(logging) where C(IMMICH_LOG_LEVEL) is set. The former is seen before, the latter only when it is written.
  - Needs the permissions C(systemConfig.read) and C(systemConfig.update).
extends_documentation_fragment:
  - homelab.mediaserver.immich
  - homelab.mediaserver.application
  - homelab.mediaserver.attributes
options:
  config:
    description:
      - Keys of the system configuration, as in Immich's own configuration file.
      - Values of keys named like passwords and secrets are not shown, but Ansible may log them; better give those in
        O(secret_config).
    type: dict
    default: {}
  secret_config:
    description: Like O(config), for keys whose values nobody may see. Laid over O(config).
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: Look for new photographs every night, without machine learning
  homelab.mediaserver.immich_config:
    api_key_file: /etc/mediaserver/immich-api-key
    config:
      library:
        scan: {enabled: true, cronExpression: "0 3 * * *"}
      machineLearning: {enabled: false}
    secret_config:
      notifications: {smtp: {transport: {password: "{{ smtp_password }}"}}}
"""

RETURN = r"""
steps:
  description: What was done, or would be done.
  returned: always
  type: list
  elements: str
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.homelab.mediaserver.plugins.module_utils import _reconcile
from ansible_collections.homelab.mediaserver.plugins.module_utils._http import (
    NotReady,
    later,
    merge,
    only_wanted,
    unknown_keys,
)
from ansible_collections.homelab.mediaserver.plugins.module_utils._immich import CONNECTION, Immich
from ansible_collections.homelab.mediaserver.plugins.module_utils._reconcile import Failure, Plan, Step

ARGUMENTS = {
    **CONNECTION,
    "config": {"type": "dict", "default": {}},
    "secret_config": {"type": "dict", "default": {}, "no_log": True},
}
PATH = "/system-config"
SECRET = ("password", "secret")
NOTHING = object()


def masked(value: Any, hidden: Any, key: str = "") -> Any:
    """``value`` without secrets and what ``hidden`` has too. That one differs is said by the step, not by the diff."""
    if isinstance(value, dict):
        inside = hidden if isinstance(hidden, dict) else {}
        return {name: masked(inner, inside.get(name, NOTHING), name) for name, inner in value.items()}
    secret = hidden is not NOTHING or any(part in key.lower() for part in SECRET)
    return "(hidden)" if value and secret else value


def secrets(value: Any, key: str = "") -> list[str]:
    """All texts that :func:`masked` hides."""
    if isinstance(value, dict):
        return [text for name, inner in value.items() for text in secrets(inner, name)]
    return [str(value)] if value and any(part in key.lower() for part in SECRET) else []


def changed_sections(current: dict[str, Any], wanted: dict[str, Any]) -> list[str]:
    return sorted(section for section in wanted if merge(current.get(section), wanted[section]) != current.get(section))


def plan(current: dict[str, Any], wanted: dict[str, Any], hidden: dict[str, Any], config_file: bool, put: Any) -> Plan:
    """Pure: one PUT of the whole document if anything in it differs. What is in ``hidden`` is in no diff."""
    unknown = unknown_keys(current, wanted)
    if unknown:
        raise Failure(f"Unable to configure Immich: {'; '.join(unknown)}")
    sections = changed_sections(current, wanted)
    if sections and config_file:
        raise Failure(
            f"Unable to configure Immich ({', '.join(sections)}): it takes its configuration from a file "
            "(IMMICH_CONFIG_FILE); change it there"
        )
    new = merge(current, wanted)
    steps = (Step(f"set {', '.join(sections)}", lambda: put(new)),) if sections else ()
    before, after = (masked(only_wanted(state, wanted), hidden) for state in (current, new))
    return Plan(before=before, after=after, steps=steps)


def work(module: AnsibleModule) -> dict[str, Any]:
    immich = Immich(module.params)
    module.no_log_values.update(secrets(module.params["config"]))
    hidden = module.params["secret_config"]
    wanted = merge(module.params["config"], hidden)
    try:
        immich.open()
    except NotReady as failure:
        return _reconcile.run(module, later(failure, "configure Immich", masked(wanted, hidden)))
    current = immich.object(PATH, "read the system configuration")
    config_file = bool(immich.object("/server/features", "read the features").get("configFile"))

    def put(new: dict[str, Any]) -> None:
        immich.call("PUT", PATH, "set the system configuration", new)

    return _reconcile.run(module, plan(current, wanted, hidden, config_file, put))


def main() -> None:
    _reconcile.main(AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True), work)


if __name__ == "__main__":
    main()
