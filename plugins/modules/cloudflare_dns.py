#!/usr/bin/python
# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: cloudflare_dns
short_description: Make a list of DNS records at Cloudflare so, and remove what is no longer in it
version_added: 0.1.0
description:
  - Takes the whole list of records that one site wants in a zone. Records of ours that are not in the list are removed.
  - A record is ours when its comment is O(mark). Others are never changed nor removed. Where one of them leads the same
    name somewhere else, the module fails and says how it can be handed over.
  - All changes go in one request, which Cloudflare executes whole or not at all (at most 200 changes).
  - M(community.general.cloudflare_dns) manages single records, and does not know which ones are nobody's any more.
extends_documentation_fragment:
  - homelab.mediaserver.cloudflare
  - homelab.mediaserver.attributes
options:
  names:
    description: Names that lead to O(target) and are proxied, such as those of a tunnel. Short for so many O(records).
    type: list
    elements: str
    default: []
  target:
    description: Where O(names) lead.
    type: str
  records:
    description: The other records. O(names) and O(records) together are all that there shall be.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Whole name; V(@) is the zone itself.
        type: str
        required: true
      type:
        description: Type.
        type: str
        choices: [A, AAAA, CNAME, TXT]
        default: CNAME
      content:
        description: Address, name or text.
        type: str
        required: true
      proxied:
        description: Whether requests go through Cloudflare. A tunnel's names must.
        type: bool
        default: false
      ttl:
        description: Seconds that resolvers may keep it. V(1) is automatic, as it always is where it is proxied.
        type: int
        default: 1
  mark:
    description: Comment of the records that belong to this list. Give each site its own.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Lead two names into the tunnel
  homelab.mediaserver.cloudflare_dns:
    api_token_file: ~/.config/cloudflare.token
    zone: example.org
    mark: mediaserver homelab
    target: c1744f8b-faa1-48a4-9e5c-02ac921467fa.cfargotunnel.com
    names: [photos.example.org, media.example.org]
    records:
      - name: office.example.org
        type: A
        content: 198.51.100.7
"""

RETURN = r"""
records:
  description: The records of this list as they are.
  returned: when not in check mode, or nothing changes
  type: list
  elements: dict
  sample: [{name: photos.example.org, type: CNAME, content: a.cfargotunnel.com, proxied: true, ttl: 1}]
steps:
  description: What was done, or would be done.
  returned: always
  type: list
  elements: str
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.homelab.mediaserver.plugins.module_utils import _reconcile
from ansible_collections.homelab.mediaserver.plugins.module_utils._cloudflare import CONNECTION, Cloudflare
from ansible_collections.homelab.mediaserver.plugins.module_utils._cloudflare_records import (
    ours,
    plan_records,
    stored,
)
from ansible_collections.homelab.mediaserver.plugins.module_utils._reconcile import Failure, Plan, Step

RECORD = {
    "name": {"type": "str", "required": True},
    "type": {"type": "str", "choices": ["A", "AAAA", "CNAME", "TXT"], "default": "CNAME"},
    "content": {"type": "str", "required": True},
    "proxied": {"type": "bool", "default": False},
    "ttl": {"type": "int", "default": 1},
}
ARGUMENTS = {
    **CONNECTION,
    "names": {"type": "list", "elements": "str", "default": []},
    "target": {"type": "str"},
    "records": {"type": "list", "elements": "dict", "default": [], "options": RECORD},
    "mark": {"type": "str", "required": True},
}
MOST = 200  # changes in one batch on the free plan
PER_PAGE = 500


def work(module: AnsibleModule) -> dict[str, Any]:
    params = module.params
    if not params["zone"]:
        raise Failure("Unable to choose a zone of Cloudflare: give zone")
    if not params["mark"].strip():
        raise Failure("Unable to tell our records from others: the mark is empty")
    if params["names"] and not params["target"]:
        raise Failure(f"Unable to lead {', '.join(params['names'])} anywhere: give target")
    into = {"type": "CNAME", "content": params["target"], "proxied": True, "ttl": 1}
    options = [{"name": name, **into} for name in params["names"]] + params["records"]
    api = Cloudflare(params)
    zone = api.find_zone(params["zone"], params["account"])
    path = f"/zones/{zone['id']}/dns_records"

    def read() -> list[dict[str, Any]]:
        to = f"list the records of {zone['name']}"
        return api.all(path, to, "dns", ("id", "name", "type"), per_page=PER_PAGE)

    rows = read()
    batch, before, after = plan_records(options, rows, zone["name"], params["mark"])
    if batch.size > MOST:
        raise Failure(f"Unable to change {batch.size} records of {zone['name']} at once: Cloudflare takes {MOST}")
    to = f"change the records of {zone['name']}"

    def write() -> None:
        api.ask("POST", f"{path}/batch", to, "dns", batch.body())

    steps = (Step(to, write),) if batch.size else ()

    def read_back() -> dict[str, Any]:
        current = read() if steps else rows
        return {"records": [stored(row).shown for row in current if ours(row, params["mark"])]}

    return _reconcile.run(module, Plan(before, after, steps, result={"steps": batch.said}), read_back)


def main() -> None:
    _reconcile.main(AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True), work)


if __name__ == "__main__":
    main()
