# SPDX-License-Identifier: MIT
"""Sign-up, login, users and API keys, with the traps of the real server."""

from __future__ import annotations

import hashlib
import re
import secrets
import uuid
from typing import Any

import api
import release
from api import Caller, app, body, digest, field, identifier, invalid, now, refuse, route
from standin import Reply, Request

allow_setup = True  # start.py looks at IMMICH_ALLOW_SETUP
COLORS = ["primary", "pink", "red", "yellow", "blue", "green", "purple", "orange", "gray", "amber"]


def scramble(password: str, salt: str) -> str:
    return hashlib.pbkdf2_hmac("sha256", password.encode(), salt.encode(), 5000).hex()


def users(deleted: bool = False) -> list[dict[str, Any]]:
    return [user for user in api.database.all("user") if deleted or not user["deletedAt"]]


def save(user: dict[str, Any]) -> None:
    api.database.put("user", user["id"], user | {"updatedAt": now()}, email=user["email"])


def shown(user: dict[str, Any]) -> dict[str, Any]:
    hidden = ("salt", "hash", "isOnboarded")
    usage = sum(
        asset.get("size") or 0 for asset in api.database.all("asset", ownerId=user["id"]) if not asset["libraryId"]
    )
    return {key: value for key, value in user.items() if key not in hidden} | {"quotaUsageInBytes": usage}


def short(user: dict[str, Any]) -> dict[str, Any]:
    return {key: user[key] for key in ("id", "name", "email", "profileImagePath", "avatarColor", "profileChangedAt")}


def make(email: str, password: str, name: str, **more: Any) -> dict[str, Any]:
    salt, stamp = secrets.token_hex(8), now()
    user = {
        "id": str(uuid.uuid4()), "email": email.lower(), "name": name, "avatarColor": COLORS[len(users(True)) % 10],
        "profileImagePath": "", "profileChangedAt": stamp, "storageLabel": None, "shouldChangePassword": True,
        "isAdmin": False, "createdAt": stamp, "updatedAt": stamp, "deletedAt": None, "oauthId": "",
        "quotaSizeInBytes": None, "status": "active", "license": None, "isOnboarded": False, "salt": salt,
        "hash": scramble(password, salt),
    } | more  # fmt: skip
    api.database.put("user", user["id"], user, email=user["email"])
    return user


def email_of(given: dict[str, Any], required: bool = True) -> str | None:
    email = field(given, "email", str, required)
    if email is not None and not re.fullmatch(r"[^@\s]+@[^@\s]+", email):
        raise invalid(("email", "Invalid input: expected email"))
    return email.lower() if email else None


# --- sign-up and login


@app.route("POST", "/api/auth/admin-sign-up")
def sign_up(request: Request) -> Any:
    given = body(request)
    email, password, name = email_of(given), field(given, "password", str, True), field(given, "name", str, True)
    if not allow_setup:
        raise refuse(400, "Admin setup is disabled")
    if any(user["isAdmin"] for user in users(True)):
        raise refuse(400, "The server already has an admin")
    return Reply(201, shown(make(email or "", password, name, isAdmin=True, storageLabel="admin")))


@app.route("POST", "/api/auth/login")
def login(request: Request) -> Any:
    given = body(request)
    email, password = email_of(given), field(given, "password", str, True)
    user = next((user for user in users() if user["email"] == email), None)
    if not user or user["hash"] != scramble(password, user["salt"]):
        raise refuse(401, "Incorrect email or password")
    token, number = secrets.token_urlsafe(32), str(uuid.uuid4())
    session = {"id": number, "userId": user["id"], "createdAt": now()}
    api.database.put("session", number, session, token=digest(token))
    return Reply(201, {
        "accessToken": token, "userId": user["id"], "userEmail": user["email"], "name": user["name"],
        "isAdmin": user["isAdmin"], "profileImagePath": "", "shouldChangePassword": user["shouldChangePassword"],
        "isOnboarded": user["isOnboarded"],
    })  # fmt: skip


@route("POST", "/auth/validateToken", None)
def validate_token(request: Request, caller: Caller) -> Any:
    return {"authStatus": True}


@route("POST", "/auth/logout", None)
def logout(request: Request, caller: Caller) -> Any:
    if caller.session:
        api.database.delete("session", caller.session)
    return {"successful": True, "redirectUri": "/auth/login?autoLaunch=0"}


@route("POST", "/auth/change-password", "auth.changePassword")
def change_password(request: Request, caller: Caller) -> Any:
    given = body(request)
    user = caller.user
    if user["hash"] != scramble(field(given, "password", str, True), user["salt"]):
        raise refuse(400, "Wrong password")
    user["hash"] = scramble(field(given, "newPassword", str, True), user["salt"])
    save(user | {"shouldChangePassword": False})
    return shown(user)


# --- oneself


@route("GET", "/users/me", "user.read")
def me(request: Request, caller: Caller) -> Any:
    return shown(caller.user)


@route("PUT", "/users/me", "user.update")
def update_me(request: Request, caller: Caller) -> Any:
    given = body(request)
    name, email = field(given, "name", str), email_of(given, False)
    user = caller.user | ({"name": name} if name else {}) | ({"email": email} if email else {})
    save(user)
    return shown(user)


@route("GET", "/users/me/onboarding", "userOnboarding.read")
def my_onboarding(request: Request, caller: Caller) -> Any:
    return {"isOnboarded": caller.user["isOnboarded"]}


@route("PUT", "/users/me/onboarding", "userOnboarding.update")
def set_my_onboarding(request: Request, caller: Caller) -> Any:
    value = field(body(request), "isOnboarded", bool, True)
    save(caller.user | {"isOnboarded": value})
    return {"isOnboarded": value}


@route("GET", "/users", "user.read")
def everybody(request: Request, caller: Caller) -> Any:
    return [short(user) for user in users()]


# --- the admin's view


def _user(request: Request) -> dict[str, Any]:
    user = api.database.get("user", identifier(request.params["id"]))
    if not user:
        raise refuse(400, "User not found")
    return user


def _label(given: dict[str, Any]) -> dict[str, Any]:
    """As the real server stores it: no dots, else as the npm package sanitize-filename; empty is null."""
    if "storageLabel" not in given:
        return {}
    label = (field(given, "storageLabel", str, null=True) or "").replace(".", "")
    label = re.sub(r"[/\\?<>:*|\"\x00-\x1f\x80-\x9f]", "", label)
    label = re.sub(r"^(con|prn|aux|nul|com[0-9]|lpt[0-9])$", "", label, flags=re.IGNORECASE)
    return {"storageLabel": label.rstrip(" ").encode()[:255].decode(errors="ignore") or None}


def _quota(given: dict[str, Any]) -> dict[str, Any]:
    if "quotaSizeInBytes" not in given:
        return {}
    quota = field(given, "quotaSizeInBytes", int, null=True)
    if quota is not None and quota < 0:
        raise invalid(("quotaSizeInBytes", "Too small: expected number to be >=0"))
    return {"quotaSizeInBytes": quota}


def _plain(given: dict[str, Any]) -> dict[str, Any]:
    kinds = {"name": str, "isAdmin": bool, "shouldChangePassword": bool, "avatarColor": str}
    found = {key: field(given, key, kind, null=key == "avatarColor") for key, kind in kinds.items() if key in given}
    if found.get("avatarColor") not in (None, *COLORS):
        raise invalid(("avatarColor", "Invalid option"))
    return found


@route("GET", "/admin/users", "adminUser.read", admin=True)
def list_users(request: Request, caller: Caller) -> Any:
    number = request.query("id")
    found = users(request.query("withDeleted") == "true")
    return [shown(user) for user in reversed(found) if not number or user["id"] == number]


@route("POST", "/admin/users", "adminUser.create", admin=True)
def create_user(request: Request, caller: Caller) -> Any:
    given = body(request)
    email, password, name = email_of(given), field(given, "password", str, True), field(given, "name", str, True)
    more = _plain(given) | _label(given) | _quota(given)
    more.pop("name", None)
    for user in users(True):
        if user["email"] == email:
            # a soft-deleted user still holds the address: the database refuses, not the service
            if user["deletedAt"]:
                raise refuse(500, "Failed to create user")
            raise refuse(400, "Email is not available" if release.at_least(3) else "User exists")
        if more.get("storageLabel") and user["storageLabel"] == more["storageLabel"]:
            raise refuse(500, "Failed to create user")
    return Reply(201, shown(make(email or "", password, name, **more)))


@route("GET", "/admin/users/{id}", "adminUser.read", admin=True)
def get_user(request: Request, caller: Caller) -> Any:
    return shown(_user(request))


@route("PUT", "/admin/users/{id}", "adminUser.update", admin=True)
@route("PATCH", "/admin/users/{id}", "adminUser.update", admin=True, since=(3,))
def update_user(request: Request, caller: Caller) -> Any:
    user, given = _user(request), body(request)
    if user["deletedAt"]:
        raise refuse(400, "User not found")
    email = email_of(given, False)
    changes = _plain(given) | _label(given) | _quota(given) | ({"email": email} if email else {})
    if user["id"] == caller.id and "isAdmin" in changes and changes["isAdmin"] != user["isAdmin"]:
        raise refuse(400, "Admin status can only be changed by another admin")
    for other in users(True):
        if other["id"] == user["id"]:
            continue
        if email and other["email"] == email:
            raise refuse(400, "Email already in use by another account")
        if changes.get("storageLabel") and other["storageLabel"] == changes["storageLabel"]:
            raise refuse(400, "Storage label already in use by another account")
    password = field(given, "password", str)
    user |= changes
    if password:
        user["hash"] = scramble(password, user["salt"])
    save(user)
    return shown(user)


@route("DELETE", "/admin/users/{id}", "adminUser.delete", admin=True)
def delete_user(request: Request, caller: Caller) -> Any:
    given = body(request) if request.body or release.at_least(3) else {}
    user = _user(request)
    if user["deletedAt"]:
        raise refuse(400, "User not found")
    if user["id"] == caller.id:
        raise refuse(403, "Cannot delete your own account")
    user |= {"deletedAt": now(), "status": "removing" if field(given, "force", bool) else "deleted"}
    save(user)
    return shown(user)


@route("POST", "/admin/users/{id}/restore", "adminUser.delete", admin=True)
def restore_user(request: Request, caller: Caller) -> Any:
    user = _user(request) | {"deletedAt": None, "status": "active"}
    save(user)
    return shown(user)


# --- API keys


def _permissions(given: dict[str, Any], required: bool) -> list[str] | None:
    found = field(given, "permissions", list, required)
    if found is not None and (not found or any(each not in api.permissions() for each in found)):
        raise invalid(("permissions", "Invalid option"))
    return found


def _grantable(caller: Caller, wanted: list[str] | None) -> None:
    held = caller.key["permissions"] if caller.key else ["all"]
    if wanted and "all" not in held and not set(wanted) <= set(held):
        raise refuse(400, "Cannot grant permissions you do not have")


def _key(request: Request, caller: Caller) -> dict[str, Any]:
    key = api.database.get("api_key", identifier(request.params["id"]))
    if not key or key["userId"] != caller.id:
        raise refuse(400, "API Key not found")
    return key


def _shown_key(key: dict[str, Any]) -> dict[str, Any]:
    return {name: key[name] for name in ("id", "name", "createdAt", "updatedAt", "permissions")}


@route("POST", "/api-keys", "apiKey.create")
def create_key(request: Request, caller: Caller) -> Any:
    given = body(request)
    wanted = _permissions(given, True)
    _grantable(caller, wanted)
    secret, number, stamp = re.sub(r"[-_]", "a", secrets.token_urlsafe(32)), str(uuid.uuid4()), now()
    key = {"id": number, "name": field(given, "name", str) or "API Key", "createdAt": stamp, "updatedAt": stamp,
           "permissions": wanted, "userId": caller.id, "key": digest(secret)}  # fmt: skip
    api.database.put("api_key", number, key, key=key["key"], userId=caller.id)
    return Reply(201, {"secret": secret, "apiKey": _shown_key(key)})


@route("GET", "/api-keys", "apiKey.read")
def list_keys(request: Request, caller: Caller) -> Any:
    return [_shown_key(key) for key in reversed(api.database.all("api_key", userId=caller.id))]


@route("GET", "/api-keys/me", None)
def my_key(request: Request, caller: Caller) -> Any:
    if not caller.key:
        raise refuse(403, "Not authenticated with an API Key")
    return _shown_key(caller.key)


@route("GET", "/api-keys/{id}", "apiKey.read")
def get_key(request: Request, caller: Caller) -> Any:
    return _shown_key(_key(request, caller))


@route("PUT", "/api-keys/{id}", "apiKey.update")
@route("PATCH", "/api-keys/{id}", "apiKey.update", since=(3,))
def update_key(request: Request, caller: Caller) -> Any:
    key, given = _key(request, caller), body(request)
    wanted, name = _permissions(given, False), field(given, "name", str)
    _grantable(caller, wanted)
    key |= ({"permissions": wanted} if wanted else {}) | ({"name": name} if name else {}) | {"updatedAt": now()}
    api.database.put("api_key", key["id"], key, key=key["key"], userId=key["userId"])
    return _shown_key(key)


@route("DELETE", "/api-keys/{id}", "apiKey.delete")
def delete_key(request: Request, caller: Caller) -> Any:
    api.database.delete("api_key", _key(request, caller)["id"])
    return Reply(204)
