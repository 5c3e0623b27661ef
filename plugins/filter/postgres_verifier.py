# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A generated password as PostgreSQL keeps it."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleFilterError

ROUNDS = 4096
"""PostgreSQL's own number."""


def postgres_verifier(password: str, role: str) -> str:
    """What pg_authid.rolpassword says of it (RFC 5803), the same each time, so that it can be compared.

    The salt follows from role and password: for generated passwords only.
    """
    if len(password) < 20:
        raise AnsibleFilterError("A password for a PostgreSQL role must have 20 characters or more: let it be made")
    return verifier(password, hmac.digest(password.encode(), role.encode(), "sha256")[:16])


def verifier(password: str, salt: bytes) -> str:
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, ROUNDS)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")
    told = [base64.b64encode(part).decode() for part in (salt, stored, server)]
    return f"SCRAM-SHA-256${ROUNDS}:{told[0]}${told[1]}:{told[2]}"


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"postgres_verifier": postgres_verifier}
