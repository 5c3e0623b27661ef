#!/usr/bin/python
# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: rclone_remotes
short_description: The remotes of rclone's configuration file
version_added: 0.1.0
description:
  - Takes the whole list and makes the file so in one write. Options and remotes that are not named stay as they are,
    and so do comments, their order, and what rclone wrote itself.
  - Passwords are given in clear. The module obscures them as C(rclone obscure) does, compares them by what they reveal
    to, and hands them to no command line. A secret of 22 and more letters and digits, which rclone itself may take for
    an already obscured one, is kept right.
  - Backends, options and their values are checked against C(rclone config providers) of the host, as rclone itself
    takes whatever it is given.
  - Starts rclone twice, however many remotes there are, to ask for its backends and to have it read the result.
  - Tested with rclone 1.60.1 (Debian 12 and 13) and 1.75.2.
author: The homelab.mediaserver authors (@homelab)
requirements:
  - rclone on the host. In check mode it may be missing; types and options are not checked then.
attributes:
  check_mode:
    support: full
    description: Reads only and says what it would do.
  diff_mode:
    support: full
    description: The file's attributes and the listed remotes before and after, secrets as V((secret)).
options:
  remotes:
    description: The remotes.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Its name, without the colon.
        type: str
        required: true
      type:
        description: Its backend, for example V(webdav), V(onedrive), V(azureblob) or V(crypt). Required unless absent.
        type: str
      options:
        description:
          - The backend's options by their names in rclone.conf. An option that is not named is not managed. One
            without a value (empty or null) is removed.
          - Booleans become V(true) and V(false), lists one text as rclone separates them, dictionaries JSON.
          - C(token) is what C(rclone authorize) prints. rclone renews it, see O(update_token).
          - Values that this rclone calls passwords, or whose names say that they are secret, are kept out of results,
            diffs and logs.
        type: dict
        default: {}
      state:
        description: V(absent) removes the remote.
        type: str
        choices: [present, absent]
        default: present
      strict:
        description:
          - Whether an unknown backend, an unknown or wrong option and a missing required one are errors.
          - V(false) is for what some backends keep without listing it, and for C(override.) and C(global.) options.
        type: bool
        default: true
  path:
    description:
      - The configuration file. It is made, with its folders, when there is something to put in.
      - If it is missing and an rclone that was killed while saving left its C(.old) file, that is an error.
    type: path
    default: ~/.config/rclone/rclone.conf
  owner:
    description: The file's owner. When unset, it stays; a new file belongs to who runs the module.
    type: str
  group:
    description: The file's group, like O(owner).
    type: str
  mode:
    description: The file's mode.
    type: str
    choices: ["0600", "0640", "0660"]
    default: "0600"
  config_password:
    description:
      - The password of an encrypted file. With it the file is kept encrypted, also one that is not yet.
      - What uses the file then needs the password too, as from C(RCLONE_CONFIG_PASS) or C(--password-command).
      - Must not begin or end with a space, as rclone's versions differ in that.
    type: str
  purge:
    description: Remove remotes that are not listed.
    type: bool
    default: false
  replace:
    description:
      - Allow a remote of another type to be made anew. All its options go, its token too.
      - When false, this is an error.
    type: bool
    default: false
  update_token:
    description:
      - V(on_create) writes the C(token) of a backend with OAuth only where there is none, as rclone renews it.
      - V(always) puts the given one back, even over a newer one.
    type: str
    choices: [on_create, always]
    default: on_create
  executable:
    description: The rclone to ask, by name or path.
    type: str
    default: rclone
notes:
  - rclone takes no lock on its file. The module reads it again just before it writes and edits that text, so a token
    that a running mount renewed is kept; what is written in the last instant before the exchange makes it fail instead.
  - On Windows use the filter P(homelab.mediaserver.rclone_config#filter) with M(ansible.windows.win_copy).
"""

EXAMPLES = r"""
- name: A cloud, an encrypted folder in it, and a disk in the house
  homelab.mediaserver.rclone_remotes:
    remotes:
      - name: onedrive
        type: onedrive
        options:
          drive_id: b!example
          drive_type: personal
          token: "{{ onedrive_token }}"
      - name: secret
        type: crypt
        options:
          remote: onedrive:backups
          password: "{{ crypt_password }}"
      - name: nas
        type: webdav
        options: {url: "https://nas.home.arpa/dav", vendor: other, user: media, pass: "{{ nas_password }}"}

- name: Azure's blobs for a service of its own, and nothing else in that file
  homelab.mediaserver.rclone_remotes:
    path: /etc/rclone/photos.conf
    owner: media
    group: media
    purge: true
    remotes:
      - name: photos
        type: azureblob
        options: {account: example, key: "{{ azure_key }}"}
"""

RETURN = r"""
steps:
  description: What was done, or would be done.
  returned: always
  type: list
  elements: str
created:
  description: New remotes.
  returned: always
  type: list
  elements: str
updated:
  description: Remotes with changed options.
  returned: always
  type: list
  elements: str
removed:
  description: Remotes that are gone.
  returned: always
  type: list
  elements: str
remotes:
  description: All remotes, as rclone reads them.
  returned: unless changes were only predicted
  type: list
  elements: str
"""

import os
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.homelab.mediaserver.plugins.module_utils import _command, _reconcile
from ansible_collections.homelab.mediaserver.plugins.module_utils._rclone_backends import without_providers
from ansible_collections.homelab.mediaserver.plugins.module_utils._rclone_host import Host
from ansible_collections.homelab.mediaserver.plugins.module_utils._rclone_plan import Policy, clean
from ansible_collections.homelab.mediaserver.plugins.module_utils._rclone_run import Work, secrets

REMOTE = {
    "name": {"type": "str", "required": True},
    "type": {"type": "str"},
    "options": {"type": "dict", "default": {}, "no_log": True},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "strict": {"type": "bool", "default": True},
}
SPEC: dict[str, Any] = {
    "remotes": {"type": "list", "elements": "dict", "required": True, "options": REMOTE},
    "path": {"type": "path", "default": "~/.config/rclone/rclone.conf"},
    "owner": {"type": "str"},
    "group": {"type": "str"},
    "mode": {"type": "str", "choices": ["0600", "0640", "0660"], "default": "0600"},
    "config_password": {"type": "str", "no_log": True},
    "purge": {"type": "bool", "default": False},
    "replace": {"type": "bool", "default": False},
    "update_token": {"type": "str", "choices": ["on_create", "always"], "default": "on_create", "no_log": False},
    "executable": {"type": "str", "default": "rclone"},
}


def work(module: AnsibleModule) -> dict[str, Any]:
    params = module.params
    # such variables would change what rclone reads, remotes included
    for name in [name for name in os.environ if name.startswith("RCLONE_")]:
        del os.environ[name]

    def execute(argv: list[str], environment: Any) -> tuple[int, str, str]:
        return _command.run(argv, **environment)

    host = Host(
        execute,
        Path(params["path"]),
        module.get_bin_path(params["executable"]),
        params["config_password"],
        params["owner"],
        params["group"],
        int(params["mode"], 8),
    )
    backends = host.backends() if host.program else without_providers()
    # until here every option counts as secret; now rclone has told which are, and the diff may show the others
    hidden, plain = secrets(params["remotes"], backends)
    kept = {params["config_password"], *hidden} - {None}
    module.no_log_values = (module.no_log_values - plain) | kept
    policy = Policy(params["purge"], params["replace"], params["update_token"])
    job = Work(host, clean(params["remotes"], backends), backends, policy)
    return _reconcile.run(module, job.plan(), job.read_back)


def main() -> None:
    _reconcile.main(AnsibleModule(SPEC, supports_check_mode=True), work)


if __name__ == "__main__":
    main()
