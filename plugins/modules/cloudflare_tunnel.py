#!/usr/bin/python
# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: cloudflare_tunnel
short_description: Manage a remotely managed Cloudflare Tunnel
version_added: 0.1.0
description:
  - Makes a tunnel of this name, or takes over the one that is there, sets what it publishes, and writes the token with
    which C(cloudflared) runs it to a file.
  - The list of what is published is one ordered whole, closed by a rule for everything else.
  - A locally managed tunnel is refused, as its configuration lies on its machine.
extends_documentation_fragment:
  - homelab.mediaserver.cloudflare
  - homelab.mediaserver.attributes
options:
  name:
    description: Name of the tunnel.
    type: str
    required: true
  state:
    description: Whether it shall exist. Cloudflare refuses to delete a tunnel that is connected.
    type: str
    choices: [present, absent]
    default: present
  ingress:
    description:
      - What is published, in order; the first rule that fits counts. Not given, nothing about it is changed; an empty
        list publishes nothing.
    type: list
    elements: dict
    suboptions:
      hostname:
        description: Public name.
        type: str
        required: true
      service:
        description: Where C(cloudflared) finds it, such as V(http://192.168.1.101:8096).
        type: str
        required: true
      path:
        description: Regular expression for the path.
        type: str
      origin_request:
        description: Cloudflare's own settings of the connection to the service, such as C(noTLSVerify).
        type: dict
  otherwise:
    description: What becomes of requests that no rule fits.
    type: str
    default: http_status:404
  token_file:
    description: File for the tunnel's token, mode 0600. The token never appears in the result.
    type: path
"""

EXAMPLES = r"""
- name: Have a tunnel and its token, publish nothing yet
  homelab.mediaserver.cloudflare_tunnel:
    api_token_file: ~/.config/cloudflare.token
    zone: example.org
    name: homelab
    token_file: "{{ inventory_dir }}/.secrets/cloudflared.token"
  delegate_to: localhost

- name: Publish photographs and films
  homelab.mediaserver.cloudflare_tunnel:
    api_token_file: ~/.config/cloudflare.token
    zone: example.org
    name: homelab
    ingress:
      - hostname: photos.example.org
        service: http://immich:2283
      - hostname: media.example.org
        service: http://192.168.1.101:8096
"""

RETURN = r"""
id:
  description: Id of the tunnel.
  returned: when the tunnel exists
  type: str
  sample: c1744f8b-faa1-48a4-9e5c-02ac921467fa
target:
  description: What CNAME records of its names must point to. For a tunnel that is still to be made, a placeholder.
  returned: O(state=present)
  type: str
  sample: c1744f8b-faa1-48a4-9e5c-02ac921467fa.cfargotunnel.com
steps:
  description: What was done, or would be done.
  returned: always
  type: list
  elements: str
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.homelab.mediaserver.plugins.module_utils import _reconcile
from ansible_collections.homelab.mediaserver.plugins.module_utils._cloudflare import (
    CONNECTION,
    Cloudflare,
    private,
    read_secret,
    write_secret,
)
from ansible_collections.homelab.mediaserver.plugins.module_utils._reconcile import Failure, Plan, Step

RULE = {
    "hostname": {"type": "str", "required": True},
    "service": {"type": "str", "required": True},
    "path": {"type": "str"},
    "origin_request": {"type": "dict"},
}
ARGUMENTS = {
    **CONNECTION,
    "name": {"type": "str", "required": True},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "ingress": {"type": "list", "elements": "dict", "options": RULE},
    "otherwise": {"type": "str", "default": "http_status:404"},
    "token_file": {"type": "path", "no_log": False},
}
NEW = "00000000-0000-0000-0000-000000000000"
NEEDS = "tunnel"


def rules(options: list[dict[str, Any]], otherwise: str) -> list[dict[str, Any]]:
    """The API's ingress list. Two rules for the same name and path are a mistake: the second would never count."""
    found = []
    seen: set[tuple[str, str]] = set()
    for option in options:
        key = (option["hostname"].lower(), option["path"] or "")
        if key in seen:
            raise Failure(f"Unable to publish {option['hostname']}: it is listed twice")
        seen.add(key)
        rule = {"hostname": key[0], "path": option["path"], "service": option["service"],
                "originRequest": option["origin_request"]}  # fmt: skip
        found.append({name: value for name, value in rule.items() if value})
    return [*found, {"service": otherwise}]


def canonical(ingress: Any) -> list[dict[str, Any]]:
    """Stored rules without what is empty, which the API adds."""
    if ingress is None:
        return []
    if not isinstance(ingress, list) or not all(isinstance(rule, dict) for rule in ingress):
        raise Failure("Unable to read the tunnel's configuration: ingress is no list of rules")
    return [{key: value for key, value in rule.items() if value and key != "id"} for rule in ingress]


class Tunnel:
    """One tunnel by name: what was read of it, and the writes."""

    def __init__(self, api: Cloudflare, account: str, params: dict[str, Any]) -> None:
        self.api, self.params = api, params
        self.name: str = params["name"]
        self.base = f"/accounts/{account}/cfd_tunnel"
        self.id = ""
        self.config: dict[str, Any] = {}
        self.token = ""

    def read(self) -> None:
        to = f"find tunnel {self.name}"
        query = {"name": self.name, "is_deleted": "false"}
        rows = self.api.all(self.base, to, NEEDS, ("id", "name"), query)
        found = [one for one in rows if one["name"] == self.name]
        if len(found) > 1:
            raise Failure(f"Unable to {to}: there are {len(found)} of that name")
        if not found:
            return
        if found[0].get("config_src", "cloudflare") != "cloudflare" or found[0].get("remote_config") is False:
            raise Failure(
                f"Unable to manage tunnel {self.name}: it is locally managed, by a file on its machine. "
                "Choose another name, or migrate it in Cloudflare's dashboard"
            )
        self.id = found[0]["id"]
        if self.params["state"] == "absent":
            return
        if self.params["ingress"] is not None:
            to = f"read the configuration of tunnel {self.name}"
            answer = self.api.result("GET", f"{self.base}/{self.id}/configurations", to, NEEDS)
            config = answer.get("config", answer)  # null until it is first set; an answer without it is malformed
            if config is not None and (config is answer or not isinstance(config, dict)):
                raise Failure(f"Unable to {to}: the answer has no config")
            self.config = config or {}
        if self.params["token_file"]:
            self.token = self.read_token()

    def read_token(self) -> str:
        to = f"get the token of tunnel {self.name}"
        token = self.api.ask("GET", f"{self.base}/{self.id}/token", to, NEEDS)["result"]
        if not isinstance(token, str) or not token:
            raise Failure(f"Unable to {to}: expected a text, got {type(token).__name__}")
        return token

    def create(self) -> None:
        to = f"create tunnel {self.name}"
        body = {"name": self.name, "config_src": "cloudflare"}
        answer = self.api.result("POST", self.base, to, NEEDS, body)
        if not isinstance(answer.get("id"), str):
            raise Failure(f"Unable to {to}: the answer has no id")
        self.id = answer["id"]

    def publish(self, ingress: list[dict[str, Any]]) -> None:
        to = f"publish through tunnel {self.name}"
        body = {"config": {**self.config, "ingress": ingress}}
        self.api.ask("PUT", f"{self.base}/{self.id}/configurations", to, NEEDS, body)

    def write_token(self) -> None:
        path = self.params["token_file"]
        write_secret(path, self.token or self.read_token(), f"write the token of tunnel {self.name}")

    def token_is_written(self) -> bool:
        path = self.params["token_file"]
        kept = read_secret(path, f"compare the token of tunnel {self.name}")
        return bool(self.token) and kept == self.token and private(path)

    def delete(self) -> None:
        self.api.ask("DELETE", f"{self.base}/{self.id}", f"delete tunnel {self.name}", NEEDS)


def plan(tunnel: Tunnel, params: dict[str, Any]) -> Plan:
    """What to do about a tunnel that was read."""
    name, exists = tunnel.name, bool(tunnel.id)
    before: dict[str, Any] | None = {"name": name} if exists else None
    if params["state"] == "absent":
        steps = (Step(f"delete tunnel {name}", tunnel.delete),) if exists else ()
        return Plan(before, None, steps)
    todo = [] if exists else [Step(f"create tunnel {name}", tunnel.create)]
    after: dict[str, Any] = {"name": name}
    if params["ingress"] is not None:
        wanted = rules(params["ingress"], params["otherwise"])
        current = canonical(tunnel.config.get("ingress"))
        after["ingress"] = wanted
        if before is not None:
            before["ingress"] = current
        if current != wanted:
            names = ", ".join(rule["hostname"] for rule in wanted[:-1]) or "nothing"
            todo.append(Step(f"publish {names} through tunnel {name}", lambda: tunnel.publish(wanted)))
    if params["token_file"]:
        written = tunnel.token_is_written()
        after["token_file"] = "the tunnel's token"
        if before is not None:
            before["token_file"] = "the tunnel's token" if written else "something else"
        if not written:
            todo.append(Step(f"write the token of tunnel {name} to {params['token_file']}", tunnel.write_token))
    return Plan(before, after, tuple(todo))


def work(module: AnsibleModule) -> dict[str, Any]:
    params = module.params
    api = Cloudflare(params)
    tunnel = Tunnel(api, api.find_account(params), params)
    tunnel.read()
    result = _reconcile.run(module, plan(tunnel, params))
    if params["state"] == "present":
        result["target"] = f"{tunnel.id or NEW}.cfargotunnel.com"
        if tunnel.id:
            result["id"] = tunnel.id
    return result


def main() -> None:
    _reconcile.main(AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True), work)


if __name__ == "__main__":
    main()
