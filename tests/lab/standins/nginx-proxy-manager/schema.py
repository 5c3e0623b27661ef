# SPDX-License-Identifier: MIT
"""What the manager's API accepts: types are coerced ("8096" is a number), unknown fields are refused."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from typing import Any

Field = Callable[[Any, str], Any]


class Invalid(ValueError):
    pass


def text(low: int = 0, high: int = 100000) -> Field:
    def check(value: Any, where: str) -> str:
        if isinstance(value, (dict, list)) or value is None:
            raise Invalid(f"{where} must be string")
        value = str(value)
        if not low <= len(value) <= high:
            raise Invalid(f"{where} must NOT have fewer than {low} or more than {high} characters")
        return value

    return check


def number(low: int, high: int = 2**31) -> Field:
    def check(value: Any, where: str) -> int:
        if isinstance(value, str) and re.fullmatch(r"-?\d+", value):
            value = int(value)
        if isinstance(value, bool):
            value = int(value)
        if not isinstance(value, int):
            raise Invalid(f"{where} must be integer")
        if not low <= value <= high:
            raise Invalid(f"{where} must be >= {low} and <= {high}")
        return value

    return check


def boolean(value: Any, where: str) -> bool:
    if value in (True, False, "true", "false", 1, 0):
        return value in (True, "true", 1)
    raise Invalid(f"{where} must be boolean")


def choice(*values: str) -> Field:
    def check(value: Any, where: str) -> str:
        if value not in values:
            raise Invalid(f"{where} must be equal to one of the allowed values")
        return value

    return check


def plain_object(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Invalid(f"{where} must be object")
    return value


def domains(value: Any, where: str) -> list[str]:
    if not isinstance(value, list) or not value:
        raise Invalid(f"{where} must NOT have fewer than 1 items")
    if len(set(value)) != len(value) or len(value) > 100:
        raise Invalid(f"{where} must NOT have duplicate items")
    for name in value:
        if not isinstance(name, str) or not re.fullmatch(r"[^&| @!#%^();:/\\}{=+?<>,~`'\"]+", name):
            raise Invalid(f"{where} must match pattern")
    return value


def optional_domains(value: Any, where: str) -> list[str]:
    return [] if value == [] else domains(value, where)


def certificate(value: Any, where: str) -> Any:
    return value if value == "new" else number(0)(value, where)


def address(value: Any, where: str) -> str:
    if value != "all":
        try:
            ipaddress.ip_network(str(value), strict=False)
        except ValueError as error:
            raise Invalid(f"{where} must match exactly one schema in oneOf") from error
    return str(value)


def items(fields: dict[str, Field], required: list[str]) -> Field:
    def check(value: Any, where: str) -> list[dict[str, Any]]:
        if not isinstance(value, list):
            raise Invalid(f"{where} must be array")
        return [validate(each, fields, required, f"{where}/{index}") for index, each in enumerate(value)]

    return check


def validate(body: Any, fields: dict[str, Field], required: list[str], where: str = "data") -> dict[str, Any]:
    """The body with coerced values; only what was given."""
    if not isinstance(body, dict):
        raise Invalid(f"{where} must be object")
    for key in required:
        if key not in body:
            raise Invalid(f"{where} must have required property '{key}'")
    if set(body) - set(fields):
        raise Invalid(f"{where} must NOT have additional properties")
    return {key: fields[key](value, f"{where}/{key}") for key, value in body.items()}


LOCATION = {
    "id": number(0), "path": text(1), "forward_scheme": choice("http", "https"), "forward_host": text(1),
    "forward_port": number(1, 65535), "forward_path": text(), "advanced_config": text(),
}  # fmt: skip
PROXY_HOST: dict[str, Field] = {
    "domain_names": domains, "forward_scheme": choice("http", "https"), "forward_host": text(1, 255),
    "forward_port": number(1, 65535), "certificate_id": certificate, "ssl_forced": boolean, "hsts_enabled": boolean,
    "hsts_subdomains": boolean, "http2_support": boolean, "block_exploits": boolean, "caching_enabled": boolean,
    "allow_websocket_upgrade": boolean, "access_list_id": number(0), "advanced_config": text(), "enabled": boolean,
    "meta": plain_object,
    "locations": items(LOCATION, ["path", "forward_scheme", "forward_host", "forward_port"]),
}  # fmt: skip
CERTIFICATE: dict[str, Field] = {
    "provider": choice("other", "letsencrypt"), "nice_name": text(), "domain_names": optional_domains,
    "meta": plain_object,
}  # fmt: skip
ACCESS_LIST: dict[str, Field] = {
    "name": text(1), "satisfy_any": boolean, "pass_auth": boolean, "meta": plain_object,
    "items": items({"username": text(1), "password": text()}, ["username"]),
    "clients": items({"address": address, "directive": choice("allow", "deny")}, ["address", "directive"]),
}  # fmt: skip
USER: dict[str, Field] = {
    "name": text(1, 50), "nickname": text(1, 50), "email": text(3), "roles": lambda value, where: list(value),
    "is_disabled": boolean, "auth": plain_object,
}  # fmt: skip
