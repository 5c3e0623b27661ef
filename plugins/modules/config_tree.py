#!/usr/bin/python
# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: config_tree
short_description: All configuration files of a host, in one go
version_added: 0.1.0
author:
  - The homelab.mediaserver authors (@homelab)
description:
  - Renders all files of a tree on the controller, sends a list of digests, then one archive of only what differs.
  - A run without changes starts exactly one module on the host, however many files the tree has.
  - Files are written beside their place and renamed, so that none is ever half written.
  - Remembers in C(/var/lib/mediaserver/trees) what it wrote, and removes what is no longer wanted.
  - Locks the tree on the host; a run whose controller was killed is waited for.
options:
  name:
    description: Name of the tree. Files of one tree are managed by one task only.
    type: str
    required: true
  files:
    description:
      - The files, each with exactly one of O(files[].content), O(files[].yaml), O(files[].template), O(files[].copy)
        and O(files[].secret_ref).
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: Absolute path on the host.
        type: path
        required: true
      service:
        description: The service to which the file belongs; decides with O(only) and for the digest of a project.
        type: str
        default: ""
      mode:
        description: Permissions, as an octal string.
        type: str
        default: "0644"
      owner:
        description: User, by number or name.
        type: str
        default: "0"
      group:
        description: Group, by number or name.
        type: str
        default: "0"
      secret:
        description: Never show the content. Implied by O(files[].secret_ref); needed wherever a secret is used.
        type: bool
        default: false
      content:
        description: The content to the letter.
        type: str
      yaml:
        description:
          - Data written as YAML, or as JSON when the path ends in C(.json).
          - 'C({"$late": name}) stands for a value of O(late), C({"$secret": name}) for one of O(secrets).'
        type: raw
      template:
        description: Jinja2 template, an absolute path on the controller.
        type: str
      copy:
        description: File on the controller that is copied to the letter, an absolute path.
        type: str
      secret_ref:
        description: Name of the secret that is the content.
        type: str
      variables:
        description: More variables for the template of this file.
        type: dict
      digest:
        description: Set by the action plugin.
        type: str
  directories:
    description: The directories. Missing parents are made with mode V(0755).
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: Absolute path on the host.
        type: path
        required: true
      service:
        description: The service to which the directory belongs.
        type: str
        default: ""
      mode:
        description: Permissions, as an octal string.
        type: str
        default: "0755"
      owner:
        description: User, by number or name.
        type: str
        default: "0"
      group:
        description: Group, by number or name.
        type: str
        default: "0"
      below:
        description:
          - Mount point that must be mounted, or nothing is written at all.
          - Such directories hold data and are never removed.
        type: str
      keep:
        description: Whether a directory that exists already stays as it is. Mode and owner are for a new one only.
        type: bool
        default: false
  projects:
    description:
      - Compose projects, service name to directory.
      - Each gets a C(.env) with the digest of its service's files, see M(homelab.mediaserver.compose_projects).
    type: dict
    default: {}
  late:
    description: Values that only the host knows, see M(homelab.mediaserver.host_values). An empty one drops its key.
    type: dict
    default: {}
  secrets:
    description: Secrets by name. Templates of files that are O(files[].secret) see them as C(secrets).
    type: dict
    default: {}
  variables:
    description: Variables for templates; C(service) is always the name of the file's service.
    type: dict
    default: {}
  only:
    description: Services to look at; nothing of others is changed or removed. Empty means all.
    type: list
    elements: str
    default: []
  key:
    description: Set by the action plugin.
    type: str
  archive:
    description: Set by the action plugin.
    type: path
attributes:
  check_mode:
    description: Says exactly what would change, on a host without the users and folders of later steps too.
    support: full
  diff_mode:
    description: Shows changed files; of secret ones only that they change.
    support: full
"""

EXAMPLES = r"""
- name: Write the host's files
  homelab.mediaserver.config_tree:
    name: services
    files:
      - path: /opt/mediaserver/services/web/compose.yaml
        service: web
        yaml: {services: {web: {image: "docker.io/library/nginx:1.29.1", group_add: [{"$late": render_gid}]}}}
      - path: /opt/mediaserver/services/web/secrets/web/password
        service: web
        secret_ref: web.password
        mode: "0400"
        owner: "101"
    directories:
      - {path: /mnt/appdata/web, service: web, owner: "101", below: /mnt/appdata}
    projects: {web: /opt/mediaserver/services/web}
    late: {render_gid: "104"}
    secrets: "{{ secrets.secrets }}"
"""

RETURN = r"""
digests:
  description: Digest of each project's files, as it stands in C(.env).
  type: dict
  returned: success
steps:
  description: What was done, or would be done.
  type: list
  elements: str
  returned: success
stale:
  description: Projects of which a file was put back that was changed on the host, so that they must be started anew.
  type: list
  elements: str
  returned: success
services:
  description: Services of which something changed.
  type: list
  elements: str
  returned: success
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.homelab.mediaserver.plugins.module_utils import _reconcile
from ansible_collections.homelab.mediaserver.plugins.module_utils._tree_run import work

ATTRIBUTES: dict[str, Any] = {
    "path": {"type": "path", "required": True},
    "service": {"type": "str", "default": ""},
    "owner": {"type": "str", "default": "0"},
    "group": {"type": "str", "default": "0"},
}
FILE: dict[str, Any] = {
    **ATTRIBUTES,
    "mode": {"type": "str", "default": "0644"},
    "secret": {"type": "bool", "default": False, "no_log": False},
    "content": {"type": "str"},
    "yaml": {"type": "raw"},
    "template": {"type": "str"},
    "copy": {"type": "str"},
    "secret_ref": {"type": "str", "no_log": False},
    "variables": {"type": "dict"},
    "digest": {"type": "str"},
}
SPEC: dict[str, Any] = {
    "name": {"type": "str", "required": True},
    "files": {"type": "list", "elements": "dict", "default": [], "options": FILE},
    "directories": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            **ATTRIBUTES,
            "mode": {"type": "str", "default": "0755"},
            "below": {"type": "str"},
            "keep": {"type": "bool", "default": False},
        },
    },
    "projects": {"type": "dict", "default": {}},
    "late": {"type": "dict", "default": {}},
    "secrets": {"type": "dict", "default": {}, "no_log": True},
    "variables": {"type": "dict", "default": {}},
    "only": {"type": "list", "elements": "str", "default": []},
    "key": {"type": "str", "no_log": True},
    "archive": {"type": "path"},
}


def main() -> None:
    module = AnsibleModule(argument_spec=SPEC, supports_check_mode=True)
    _reconcile.main(module, work)


if __name__ == "__main__":
    main()
