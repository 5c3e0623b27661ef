# SPDX-License-Identifier: MIT
"""Users, tokens, roles, ACLs and pools, as PVE::API2::{User,Role,ACL,Pool} answer: /etc/pve/user.cfg as data.

What the file's own format does to a value is done here too: spaces at the ends go, percent-escapes are decoded.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import unquote

from .errors import ApiError, invalid
from .routing import Call, route
from .schema import NOT_DEFINED
from .world import World

PRIVILEGES = frozenset(
    f"{group}.{name}"
    for group, names in {
        "Datastore": "Allocate AllocateSpace AllocateTemplate Audit",
        "Group": "Allocate",
        "Mapping": "Audit Modify Use",
        "Permissions": "Modify",
        "Pool": "Allocate Audit",
        "Realm": "Allocate AllocateUser",
        "SDN": "Allocate Audit Use",
        "Sys": "AccessNetwork Audit Console Incoming Modify PowerMgmt Syslog",
        "User": "Modify",
        "VM": "Allocate Audit Backup Clone Config.CDROM Config.CPU Config.Cloudinit Config.Disk Config.HWType "
        "Config.Memory Config.Network Config.Options Console Migrate PowerMgmt Snapshot Snapshot.Rollback",
    }.items()
    for name in names.split()
)
ONLY_8 = frozenset({"VM.Monitor"})
ONLY_9 = frozenset(
    {"VM.GuestAgent.Audit", "VM.GuestAgent.FileRead", "VM.GuestAgent.FileSystemMgmt", "VM.GuestAgent.FileWrite",
     "VM.GuestAgent.Unrestricted", "VM.Replicate"}
)  # fmt: skip
ACL_PATH = re.compile(
    r"/|/access(/(groups|realm)(/[\w.-]+)?)?|/nodes(/[\w.-]+)?|/pool(/[A-Za-z0-9._-]+){0,3}|/storage(/[\w.-]+)?"
    r"|/sdn(/(zones(/[\w.-]+){0,3}|controllers(/[\w-]+)?|dns(/\w+)?|ipams(/\w+)?))?|/vms(/[1-9][0-9]{2,})?"
    r"|/mapping(/[\w.-]+){0,2}"
)
USER = re.compile(r"[^\s:/]+@[A-Za-z][A-Za-z0-9._-]+")
TOKEN_NAME = re.compile(r"[A-Za-z][A-Za-z0-9._-]+")


def privileges(release: str) -> frozenset[str]:
    return PRIVILEGES | (ONLY_8 if release.startswith("8") else ONLY_9)


def builtin_roles(release: str) -> dict[str, frozenset[str]]:
    """The roles that cannot be changed (some of them); Administrator holds all that the release knows."""
    known = privileges(release)
    audits = frozenset(name for name in known if name.endswith(".Audit") and "GuestAgent" not in name)
    return {
        "Administrator": known,
        "NoAccess": frozenset(),
        "PVEAuditor": audits,
        "PVEVMUser": frozenset({"VM.Audit", "VM.Backup", "VM.Config.CDROM", "VM.Config.Cloudinit", "VM.Console",
                                "VM.PowerMgmt"}),
        "PVEDatastoreUser": frozenset({"Datastore.AllocateSpace", "Datastore.Audit"}),
        "PVETemplateUser": frozenset({"VM.Clone", "VM.Audit"}),
    }  # fmt: skip


def state(world: World) -> dict[str, Any]:
    root: dict[str, Any] = {"enable": 1, "expire": 0, "groups": [], "tokens": {}}
    return dict(
        world.data.setdefault(
            "access",
            {"users": {"root@pam": root}, "groups": [], "roles": {}, "acl": {}, "secrets": {}, "passwords": {},
             "pools": {}},
        )
    )  # fmt: skip


def kept(text: Any) -> str:
    """A text as it comes back from the file."""
    text = unquote(str(text).strip(" "))
    return "" if text == "0" else text


# who may do what


def grants(world: World, user: str) -> frozenset[str]:
    """What a user or token made through this API may do anywhere (the fake does not look at the path of each call)."""
    data = state(world)
    owner, mark, token = user.partition("!")
    roles = builtin_roles(world.release) | {name: frozenset(privs) for name, privs in data["roles"].items()}

    def of(kind: str, name: str) -> frozenset[str]:
        entries = [key.split(" ") for key in data["acl"] if key.split(" ")[1:3] == [kind, name]]
        return frozenset().union(*(roles.get(role, frozenset()) for _path, _kind, _name, role in entries))

    mine = of("user", owner).union(*(of("group", group) for group in data["users"][owner]["groups"]))
    if owner == "root@pam":
        mine = privileges(world.release)
    if mark and data["users"][owner]["tokens"][token]["privsep"]:
        return mine & of("token", user)
    return mine


def token_of(world: World, ident: str) -> dict[str, Any] | None:
    """A token made through this API, in the form of ``Service.tokens``."""
    secret = state(world)["secrets"].get(ident)
    if secret is None:
        return None
    return {"value": secret, "deny": sorted(privileges(world.release) - grants(world, ident))}


def password_of(world: World, user: str) -> str | None:
    found = state(world)["passwords"].get(user)
    return None if found is None else str(found)


# parameters


def accept(call: Call, required: str, **kinds: str) -> dict[str, Any]:
    """The parameters, refused as the schema refuses them (400), all at once."""
    errors = {name: NOT_DEFINED for name in call.params if name not in kinds}
    for name in required.split():
        if name not in call.params:
            errors[name] = "property is missing and it is not optional"
    for name, value in call.params.items():
        if name in kinds:
            problem = CHECKS[kinds[name]](str(value))
            if problem:
                errors[name] = problem
    if errors:
        raise invalid(errors)
    return call.params


def each(pattern: str, problem: str) -> Callable[[str], str | None]:
    def check(value: str) -> str | None:
        bad = [item for item in split(value) if not re.fullmatch(pattern, item)]
        return f"invalid format - {problem.format(bad[0])}\n" if bad else None

    return check


def one(pattern: str, problem: str) -> Callable[[str], str | None]:
    return lambda value: None if re.fullmatch(pattern, value) else f"invalid format - {problem.format(value)}\n"


def whole(value: str) -> str | None:
    if not re.fullmatch(r"-?\d+", value):
        return f"type check ('integer') failed - got '{value}'"
    return "value must have a minimum value of 0" if int(value) < 0 else None


def boolean(value: str) -> str | None:
    good = value.lower() in ("0", "1", "on", "off", "yes", "no", "true", "false")
    return None if good else f"type check ('boolean') failed - got '{value}'"


def password(value: str) -> str | None:
    return "value must be at least 8 characters long" if len(value) < 8 else None


def email(value: str) -> str | None:
    good = not value or re.fullmatch(r"[\w+.~-]+@[\w-]+(\.[\w-]+)*", value)
    return None if good else "invalid format - value does not look like a valid email address\n"


NAMES = r"[A-Za-z0-9._-]+"
USER_PROBLEM = "value '{}' does not look like a valid user name"
CHECKS: dict[str, Callable[[str], str | None]] = {
    "text": lambda _value: None,
    "bool": boolean,
    "int": whole,
    "email": email,
    "password": password,
    "group": one(NAMES, "group name '{}' contains invalid characters"),
    "role": one(NAMES, "role name '{}' contains invalid characters"),
    "user": each(USER.pattern, USER_PROBLEM),
    "tokens": each(USER.pattern + "!" + TOKEN_NAME.pattern, "value '{}' does not look like a valid token ID"),
    "groups": each(NAMES, "group name '{}' contains invalid characters"),
    "roles": each(NAMES, "role name '{}' contains invalid characters"),
    "pool": one(rf"{NAMES}(/{NAMES}){{0,2}}", "pool name '{}' contains invalid characters"),
    "vmids": each(r"[1-9]\d{2,}", "value does not look like a valid VM ID"),
    "storages": each(r"[A-Za-z][A-Za-z0-9._-]*[A-Za-z0-9]", "storage ID '{}' contains illegal characters"),
}


def split(value: Any) -> list[str]:
    return [item for item in re.split(r"[,;\s\0]+", str(value)) if item]


def true(value: Any) -> bool:
    return str(value).lower() in ("1", "on", "yes", "true")


# users

PROFILE = {"firstname": "text", "lastname": "text", "email": "email", "comment": "text", "keys": "text"}


def the_user(world: World, userid: str) -> dict[str, Any]:
    users: dict[str, dict[str, Any]] = state(world)["users"]
    if userid not in users:
        raise ApiError(500, f"no such user ('{userid}')")
    return users[userid]


def shown(user: dict[str, Any]) -> dict[str, Any]:
    return {key: user[key] for key in ("enable", "expire", *PROFILE) if key in user}


@route("GET", "/access/users")
def list_users(call: Call) -> Any:
    rows = []
    for userid, user in sorted(state(call.world)["users"].items()):
        row = {"userid": userid, **shown(user), "realm-type": userid.rpartition("@")[2]}
        if true(call.params.get("full", 0)):
            row["groups"] = ",".join(user["groups"])
            row["tokens"] = [{"tokenid": name, **token} for name, token in sorted(user["tokens"].items())]
        rows.append(row)
    return rows


@route("POST", "/access/users")
def create_user(call: Call) -> Any:
    kinds = {"userid": "user", "enable": "bool", "expire": "int", "groups": "groups", "password": "password"}
    params = accept(call, "userid", **kinds, **PROFILE)
    userid, data = str(params["userid"]), state(call.world)
    call.need("Realm.AllocateUser", f"/access/realm/{userid.rpartition('@')[2]}")
    call.need("User.Modify", "/access/groups")
    if userid in data["users"]:
        raise ApiError(500, f"create user failed: user '{userid}' already exists")
    groups = known_groups(data, params.get("groups", ""), "create user failed")
    if "password" in params:
        data["passwords"][userid] = str(params["password"])
    user = {"enable": int(true(params.get("enable", 1))), "expire": int(params.get("expire", 0)), "groups": groups,
            "tokens": {}}  # fmt: skip
    data["users"][userid] = user | {key: kept(params[key]) for key in PROFILE if kept(params.get(key, ""))}


def known_groups(data: dict[str, Any], text: Any, failed: str) -> list[str]:
    groups = split(text)
    for group in groups:
        if group not in data["groups"]:
            raise ApiError(500, f"{failed}: no such group '{group}'")
    return sorted(set(groups))


@route("GET", "/access/users/{userid}")
def read_user(call: Call, userid: str) -> Any:
    user = the_user(call.world, userid)
    if not call.may("User.Modify"):
        call.need("Sys.Audit", "/access/groups")
    return {**shown(user), "groups": user["groups"], **({"tokens": user["tokens"]} if user["tokens"] else {})}


@route("PUT", "/access/users/{userid}")
def update_user(call: Call, userid: str) -> Any:
    params = accept(call, "", enable="bool", expire="int", groups="groups", append="bool", **PROFILE)
    user, data = the_user(call.world, userid), state(call.world)
    call.need("User.Modify", "/access/groups")
    if "groups" in params:
        wanted = known_groups(data, params["groups"], "update user failed")
        user["groups"] = sorted({*wanted, *(user["groups"] if true(params.get("append", 0)) else ())})
    if "enable" in params:
        user["enable"] = int(true(params["enable"]))
    if "expire" in params:
        user["expire"] = int(params["expire"])
    for key in PROFILE:
        if key in params:
            user[key] = kept(params[key])
            if not user[key]:
                del user[key]


@route("DELETE", "/access/users/{userid}")
def delete_user(call: Call, userid: str) -> Any:
    data = state(call.world)
    the_user(call.world, userid)
    call.need("Realm.AllocateUser", f"/access/realm/{userid.rpartition('@')[2]}")
    for name in data["users"].pop(userid)["tokens"]:
        forget_token(data, userid, name)
    data["passwords"].pop(userid, None)
    drop_acl(data, "user", userid)
    if userid == "root@pam":
        data["users"][userid] = {"enable": 1, "expire": 0, "groups": [], "tokens": {}}


@route("PUT", "/access/password")
def change_password(call: Call) -> Any:
    params = accept(call, "userid password", userid="user", password="password", **{"confirmation-password": "text"})
    if call.token:
        raise ApiError(403, "Permission check failed")
    the_user(call.world, str(params["userid"]))
    if call.user != "root@pam":
        if "confirmation-password" not in params:
            raise invalid({"confirmation-password": "password is required to modify user"})
        if params["confirmation-password"] != password_of(call.world, call.user):
            raise ApiError(401, "authentication failure")
    state(call.world)["passwords"][str(params["userid"])] = str(params["password"])


# tokens


def the_token(world: World, userid: str, tokenid: str) -> dict[str, Any]:
    tokens: dict[str, dict[str, Any]] = the_user(world, userid)["tokens"]
    if tokenid not in tokens:
        raise ApiError(500, f"no such token '{tokenid}' for user '{userid}'")
    return tokens[tokenid]


def forget_token(data: dict[str, Any], userid: str, tokenid: str) -> None:
    data["secrets"].pop(f"{userid}!{tokenid}", None)
    drop_acl(data, "token", f"{userid}!{tokenid}")


def may_tokens(call: Call, userid: str) -> None:
    if call.user.partition("!")[0] != userid:
        call.need("User.Modify", "/access/groups")


@route("GET", "/access/users/{userid}/token")
def list_tokens(call: Call, userid: str) -> Any:
    tokens = the_user(call.world, userid)["tokens"]
    may_tokens(call, userid)
    return [{"tokenid": name, **token} for name, token in tokens.items()]


@route("GET", "/access/users/{userid}/token/{tokenid}")
def read_token(call: Call, userid: str, tokenid: str) -> Any:
    may_tokens(call, userid)
    return the_token(call.world, userid, tokenid)


@route("POST", "/access/users/{userid}/token/{tokenid}")
def create_token(call: Call, userid: str, tokenid: str) -> Any:
    params = accept(call, "", expire="int", privsep="bool", comment="text")
    user, data, ident = the_user(call.world, userid), state(call.world), f"{userid}!{tokenid}"
    may_tokens(call, userid)
    if not TOKEN_NAME.fullmatch(tokenid):
        raise invalid({"tokenid": "value does not match the regex pattern"})
    if tokenid in user["tokens"]:
        raise invalid({"tokenid": "Token already exists."})
    token: dict[str, Any] = {"privsep": int(true(params.get("privsep", 1))), "expire": int(params.get("expire", 0))}
    if kept(params.get("comment", "")):
        token["comment"] = kept(params["comment"])
    user["tokens"][tokenid] = token
    data["secrets"][ident] = str(uuid.uuid4())
    return {"info": token, "value": data["secrets"][ident], "full-tokenid": ident}


@route("PUT", "/access/users/{userid}/token/{tokenid}")
def update_token(call: Call, userid: str, tokenid: str) -> Any:
    newer = call.world.data.get("newer_token", {})  # a later 9.x knows regenerate; from which on is not recorded
    params = accept(call, "", expire="int", privsep="bool", comment="text", **newer)
    token = the_token(call.world, userid, tokenid)
    may_tokens(call, userid)
    if "privsep" in params:
        token["privsep"] = int(true(params["privsep"]))
    if "expire" in params:
        token["expire"] = int(params["expire"])
    if params.get("comment"):  # an empty one is no change
        token["comment"] = kept(params["comment"])
        if not token["comment"]:
            del token["comment"]
    if true(params.get("regenerate", 0)):
        ident = f"{userid}!{tokenid}"
        secret = state(call.world)["secrets"][ident] = str(uuid.uuid4())
        return {**token, "value": secret, "full-tokenid": ident}
    return token


@route("DELETE", "/access/users/{userid}/token/{tokenid}")
def delete_token(call: Call, userid: str, tokenid: str) -> Any:
    the_token(call.world, userid, tokenid)
    may_tokens(call, userid)
    del the_user(call.world, userid)["tokens"][tokenid]
    forget_token(state(call.world), userid, tokenid)


# roles


@route("GET", "/access/roles")
def list_roles(call: Call) -> Any:
    roles: dict[str, Any] = builtin_roles(call.world.release) | state(call.world)["roles"]
    special = builtin_roles(call.world.release)
    return [{"roleid": n, "privs": ",".join(sorted(p)), "special": int(n in special)} for n, p in roles.items()]


@route("GET", "/access/roles/{roleid}")
def read_role(call: Call, roleid: str) -> Any:
    roles: dict[str, Any] = builtin_roles(call.world.release) | state(call.world)["roles"]
    if roleid not in roles:
        raise ApiError(500, f"role '{roleid}' does not exist")
    return dict.fromkeys(sorted(roles[roleid]), 1)


def checked_privileges(call: Call) -> list[str]:
    known = privileges(call.world.release)
    found = split(call.params.get("privs", ""))
    for name in found:
        if name not in known:
            raise invalid({"privs": f"invalid format - invalid privilege '{name}'\n"})
    return sorted(set(found))


@route("POST", "/access/roles")
def create_role(call: Call) -> Any:
    roleid = str(accept(call, "roleid", roleid="role", privs="text")["roleid"])
    wanted, roles = checked_privileges(call), state(call.world)["roles"]
    call.need("Sys.Modify", "/access")
    if roleid.lower().startswith("pve"):
        problem = "cannot use role ID starting with the (case-insensitive) 'PVE' namespace"
        raise invalid({"roleid": problem})
    if roleid in roles or roleid in builtin_roles(call.world.release):
        raise ApiError(500, f"create role failed: role '{roleid}' already exists")
    roles[roleid] = wanted


@route("PUT", "/access/roles/{roleid}")
def update_role(call: Call, roleid: str) -> Any:
    params = accept(call, "", privs="text", append="bool")
    wanted, roles = checked_privileges(call), state(call.world)["roles"]
    call.need("Sys.Modify", "/access")
    if roleid in builtin_roles(call.world.release):
        raise ApiError(500, f"auto-generated role '{roleid}' cannot be modified")
    if roleid not in roles:
        raise ApiError(500, f"update role failed: role '{roleid}' does not exist")
    roles[roleid] = sorted({*wanted, *(roles[roleid] if true(params.get("append", 0)) else ())})


@route("DELETE", "/access/roles/{roleid}")
def delete_role(call: Call, roleid: str) -> Any:
    data = state(call.world)
    call.need("Sys.Modify", "/access")
    if roleid in builtin_roles(call.world.release):
        raise ApiError(500, f"auto-generated role '{roleid}' cannot be deleted")
    if roleid not in data["roles"]:
        raise ApiError(500, f"delete role failed: role '{roleid}' does not exist")
    del data["roles"][roleid]
    for key in [key for key in data["acl"] if key.split(" ")[3] == roleid]:  # the file's reader drops them
        del data["acl"][key]


# access control list: "path kind name role" -> propagate


def drop_acl(data: dict[str, Any], kind: str, name: str) -> None:
    for key in [key for key in data["acl"] if key.split(" ")[1:3] == [kind, name]]:
        del data["acl"][key]


@route("GET", "/access/acl")
def read_acl(call: Call) -> Any:
    if not call.may("Sys.Audit") and not call.may("Permissions.Modify"):
        return []
    rows = []
    for key, propagate in state(call.world)["acl"].items():
        path, kind, name, role = key.split(" ")
        rows.append({"path": path, "type": kind, "ugid": name, "roleid": role, "propagate": propagate})
    return rows


@route("PUT", "/access/acl")
def update_acl(call: Call) -> Any:
    params = accept(call, "path roles", path="text", roles="roles", users="user", groups="groups", tokens="tokens",
                    propagate="bool", delete="bool")  # fmt: skip
    if not any(params.get(name) for name in ("users", "groups", "tokens")):
        problem = "either 'users', 'groups' or 'tokens' is required."
        raise invalid(dict.fromkeys(("users", "groups", "tokens"), problem))
    removing = true(params.get("delete", 0))
    path = re.sub("/+", "/", "/" + str(params["path"])).rstrip("/") or "/"
    if not removing and not ACL_PATH.fullmatch(path):
        raise invalid({"path": f"invalid ACL path '{params['path']}'"})
    call.need("Permissions.Modify", path)
    acl = state(call.world)["acl"]
    for role in split(params["roles"]):
        for kind, name in subjects(call.world, params, role):
            key = f"{path} {kind} {name} {role}"
            if removing:
                acl.pop(key, None)
            elif name != "root@pam":  # never written: it is always Administrator
                acl[key] = int(true(params.get("propagate", 1)))


def subjects(world: World, params: dict[str, Any], role: str) -> Iterator[tuple[str, str]]:
    data = state(world)
    if role not in data["roles"] and role not in builtin_roles(world.release):
        raise ApiError(500, f"ACL update failed: role '{role}' does not exist")
    for group in split(params.get("groups", "")):
        if group not in data["groups"]:
            raise ApiError(500, f"ACL update failed: group '{group}' does not exist")
        yield "group", group
    for user in split(params.get("users", "")):
        if user not in data["users"]:
            raise ApiError(500, f"ACL update failed: user '{user}' does not exist")
        yield "user", user
    for token in split(params.get("tokens", "")):
        owner, _mark, name = token.partition("!")
        try:
            the_token(world, owner, name)
        except ApiError as error:
            raise ApiError(500, f"ACL update failed: {error.message}") from None
        yield "token", token
