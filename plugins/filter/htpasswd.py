# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A generated password as a line of a password file wants it."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleFilterError


def htpasswd(password: str) -> str:
    """A password's hash as htpasswd -s writes it. Unsalted, so the same each time: for generated passwords only."""
    if len(password) < 20:
        raise AnsibleFilterError("A password for {SHA} must have 20 characters or more: let it be generated")
    return "{SHA}" + base64.b64encode(hashlib.sha1(password.encode(), usedforsecurity=False).digest()).decode()


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"htpasswd": htpasswd}
