#!/usr/bin/python
# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: proxmox_image
short_description: Have a Proxmox VE node download an image
version_added: 0.1.0
description:
  - Has the node download a cloud image, an ISO image or a container template into one of its storages.
  - The checksum is verified by the node before the file appears under its name.
  - A file of that name that is there already is taken for the right one, as the API tells no checksum of it. Put the
    version into O(file), or give its O(size), which is compared.
extends_documentation_fragment:
  - homelab.mediaserver.proxmox
  - homelab.mediaserver.attributes
options:
  node:
    description: Name of the node.
    type: str
    required: true
  storage:
    description: Storage. It must be configured for this O(content).
    type: str
    required: true
  file:
    description:
      - Name of the file. Characters other than letters, digits and C(_.-) become C(_), as Proxmox VE writes it.
      - Disk images must end in C(.qcow2), C(.raw), C(.vmdk) or C(.ova), container templates in C(.tar.gz),
        C(.tar.xz), C(.tar.zst) or C(.tar.bz2), ISO images in C(.iso) or C(.img).
    type: str
    required: true
  content:
    description: Kind of file; V(import) is a disk image, V(vztmpl) a container template.
    type: str
    choices: [import, iso, vztmpl]
    default: import
  url:
    description: Where the node gets it. Required unless O(state=absent).
    type: str
  checksum:
    description: Its checksum as C(algorithm:value), such as V(sha512:0123abcd). Verified during the download only.
    type: str
  size:
    description: Its size in bytes. A file of that name with another size is an error, unless O(replace=true).
    type: int
  replace:
    description:
      - Whether a file of another O(size) is deleted and downloaded anew. The API cannot rename, so when the download
        fails there is none until the next run; guests that were made from it do not need it.
    type: bool
    default: false
  verify_certificates:
    description: Whether the node verifies the certificate of an C(https) O(url).
    type: bool
    default: true
  state:
    description: Whether the file is there.
    type: str
    choices: [present, absent]
    default: present
"""

EXAMPLES = r"""
- name: Debian 13 with the full kernel
  homelab.mediaserver.proxmox_image:
    node: pve
    storage: local
    file: debian-13-generic-amd64-20261006.qcow2
    url: https://cloud.debian.org/images/cloud/trixie/20261006-2257/debian-13-generic-amd64-20261006-2257.qcow2
    checksum: "sha512:{{ debian_13_checksum }}"
"""

RETURN = r"""
steps:
  description: What was done, or would be done.
  returned: always
  type: list
  elements: str
volid:
  description: Name of the volume, for C(import_from).
  returned: always
  type: str
  sample: local:import/debian-13-generic-amd64-20261006.qcow2
size:
  description: Bytes of the file that was there before, 0 if there was none.
  returned: always
  type: int
"""

import functools
import re
from typing import Any
from urllib.parse import quote

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.homelab.mediaserver.plugins.module_utils import _reconcile
from ansible_collections.homelab.mediaserver.plugins.module_utils._pve import CONNECTION, Pve

ARGUMENTS: dict[str, Any] = {
    **CONNECTION,
    "node": {"type": "str", "required": True},
    "storage": {"type": "str", "required": True},
    "file": {"type": "str", "required": True},
    "content": {"type": "str", "choices": ["import", "iso", "vztmpl"], "default": "import"},
    "url": {"type": "str"},
    "checksum": {"type": "str"},
    "size": {"type": "int"},
    "replace": {"type": "bool", "default": False},
    "verify_certificates": {"type": "bool", "default": True},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
}


def download_data(params: dict[str, Any]) -> dict[str, Any]:
    """What the API wants for a download (pure)."""
    data = {"url": params["url"], "filename": params["file"], "content": params["content"]}
    if params["checksum"]:
        match = re.fullmatch(r"(md5|sha1|sha224|sha256|sha384|sha512):([0-9a-fA-F]+)", params["checksum"])
        if match is None:
            raise _reconcile.Failure(
                f"Unable to download {params['file']}: the checksum must be written as sha512:0123abcd…"
            )
        data |= {"checksum-algorithm": match[1], "checksum": match[2].lower()}
    if not params["verify_certificates"]:
        data["verify-certificates"] = 0
    return data


def stored_name(file: str) -> str:
    """The name under which Proxmox VE stores a download (pure)."""
    return re.sub(r"[^a-zA-Z0-9_.-]", "_", file)


def is_other(params: dict[str, Any], volid: str, size: int | None) -> bool:
    """Is what has the name another file? Raises Failure unless it may be replaced (pure)."""
    if size is None or params["size"] in (None, size):
        return False
    if not params["replace"]:
        raise _reconcile.Failure(
            f"Unable to use {volid}: it has {size} bytes, {params['size']} are wanted: it is another file of that name "
            "(replace: true downloads it anew)"
        )
    return True


def work(module: AnsibleModule) -> dict[str, Any]:
    params = {**module.params, "file": stored_name(module.params["file"])}
    pve = Pve(params)
    storage = f"nodes/{params['node']}/storage/{params['storage']}"
    volid = f"{params['storage']}:{params['content']}/{params['file']}"
    content = pve.get_list(f"{storage}/content", f"list storage {params['storage']}", content=params["content"])
    size = next((int(row.get("size", 0)) for row in content if row.get("volid") == volid), None)
    wanted = params["state"] == "present"
    data, steps = download_data(params), []
    other = wanted and is_other(params, volid, size)
    if size is not None and (other or not wanted):
        to, path = f"delete {volid}", f"{storage}/content/{quote(volid, safe='')}"
        steps.append(_reconcile.Step(to, functools.partial(pve.task, "delete", path, to)))
    if wanted and (size is None or other):
        to = f"download {params['file']} to storage {params['storage']}"
        steps.append(_reconcile.Step(to, functools.partial(pve.task, "post", f"{storage}/download-url", to, **data)))
    before, after = (
        {"volid": volid, "state": "present" if there else "absent"} for there in (size is not None, wanted)
    )
    if wanted and params["size"] is not None:
        before |= {"size": size} if size is not None else {}
        after |= {"size": params["size"]}
    result = {"volid": volid, "size": size or 0}
    return _reconcile.run(module, _reconcile.Plan(before, after, tuple(steps), (), result))


def main() -> None:
    module = AnsibleModule(ARGUMENTS, supports_check_mode=True, required_if=[("state", "present", ("url",))])
    _reconcile.main(module, work)


if __name__ == "__main__":
    main()
