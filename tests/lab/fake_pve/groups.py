# SPDX-License-Identifier: MIT
"""Groups of users, as PVE::API2::Group answers. Who is in one is written with the users."""

from __future__ import annotations

from typing import Any

from .access import accept, drop_acl, kept, state
from .errors import ApiError
from .routing import Call, route


def comments(call: Call) -> dict[str, str]:
    found: dict[str, str] = call.world.data["access"].setdefault("group_comments", {})
    return found


def shown(call: Call, groupid: str) -> tuple[dict[str, str], list[str]]:
    """(comment if there is one, members)."""
    users = state(call.world)["users"]
    comment = comments(call).get(groupid, "")
    members = [userid for userid, user in sorted(users.items()) if groupid in user["groups"]]
    return ({"comment": comment} if comment else {}), members


def there(call: Call, groupid: str, failed: str = "") -> None:
    if groupid not in state(call.world)["groups"]:
        raise ApiError(500, f"{failed}group '{groupid}' does not exist")


@route("GET", "/access/groups")
def list_groups(call: Call) -> Any:
    rows = [(groupid, *shown(call, groupid)) for groupid in sorted(state(call.world)["groups"])]
    return [{"groupid": groupid, **comment, "users": ",".join(members)} for groupid, comment, members in rows]


@route("POST", "/access/groups")
def create_group(call: Call) -> Any:
    params = accept(call, "groupid", groupid="group", comment="text")
    groupid, groups = str(params["groupid"]), state(call.world)["groups"]
    call.need("Group.Allocate", "/access/groups")
    if groupid in groups:
        raise ApiError(500, f"create group failed: group '{groupid}' already exists")
    groups.append(groupid)
    comments(call)[groupid] = kept(params.get("comment", ""))


@route("GET", "/access/groups/{groupid}")
def read_group(call: Call, groupid: str) -> Any:
    if not call.may("Sys.Audit"):
        call.need("Group.Allocate", "/access/groups")
    there(call, groupid)
    comment, members = shown(call, groupid)
    return {"members": members, **comment}


@route("PUT", "/access/groups/{groupid}")
def update_group(call: Call, groupid: str) -> Any:
    params = accept(call, "", comment="text")
    call.need("Group.Allocate", "/access/groups")
    there(call, groupid, "update group failed: ")
    if "comment" in params:
        comments(call)[groupid] = kept(params["comment"])


@route("DELETE", "/access/groups/{groupid}")
def delete_group(call: Call, groupid: str) -> Any:
    call.need("Group.Allocate", "/access/groups")
    there(call, groupid, "delete group failed: ")
    data = state(call.world)
    data["groups"].remove(groupid)
    comments(call).pop(groupid, None)
    for user in data["users"].values():
        user["groups"] = [name for name in user["groups"] if name != groupid]
    drop_acl(data, "group", groupid)
