#!/usr/bin/python
# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: service_images
short_description: The images that a host's services run, as its compose files say
version_added: 0.1.0
author:
  - The homelab.mediaserver authors (@homelab)
description:
  - Reads the C(compose.yaml) of each service as M(homelab.mediaserver.config_tree) wrote it. What stands there is what
    was started last and what a reboot would start, also where no container is left.
  - Changes nothing, and asks neither Docker nor a registry.
extends_documentation_fragment:
  - homelab.mediaserver.attributes.info
options:
  root:
    description: Folder below which all projects lie.
    type: path
    default: /opt/mediaserver/services
"""

EXAMPLES = r"""
- name: Read which images the services run
  homelab.mediaserver.service_images:
  register: images
"""

RETURN = r"""
images:
  description: Per service the image of each container.
  type: dict
  returned: success
  sample: {jellyfin: {jellyfin: "docker.io/jellyfin/jellyfin:10.11.11"}}
"""

import re
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.homelab.mediaserver.plugins.module_utils import _reconcile


def images(text: str) -> dict[str, str]:
    """Container to image in a compose file in the block style of PyYAML, two spaces a level; a host may lack PyYAML."""
    found: dict[str, str] = {}
    section = container = ""
    for line in text.splitlines():
        if match := re.match(r"(\S[^:]*):", line):
            section = match.group(1)
        elif section == "services" and (match := re.match(r"  (\S[^:]*):\s*$", line)):
            container = match.group(1).strip("'\"")
        elif section == "services" and (match := re.match(r"    image: (.+?)\s*$", line)):
            found[container] = match.group(1).strip("'\"")
    return found


def work(module: AnsibleModule) -> dict[str, Any]:
    files = sorted(Path(module.params["root"]).glob("[!.]*/compose.yaml"))
    return {"changed": False, "images": {file.parent.name: images(file.read_text(encoding="utf-8")) for file in files}}


def main() -> None:
    spec: dict[str, Any] = {"root": {"type": "path", "default": "/opt/mediaserver/services"}}
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True)
    _reconcile.main(module, work)


if __name__ == "__main__":
    main()
