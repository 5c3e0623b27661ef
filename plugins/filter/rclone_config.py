# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The text of rclone.conf for hosts on which Python modules do not run (Windows), by the code of rclone_remotes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible.utils.display import Display
from ansible_collections.homelab.mediaserver.plugins.module_utils._rclone_backends import (
    from_providers,
    without_providers,
)
from ansible_collections.homelab.mediaserver.plugins.module_utils._rclone_crypt import (
    CryptError,
    decrypt_file,
    encrypt_file,
    is_encrypted,
)
from ansible_collections.homelab.mediaserver.plugins.module_utils._rclone_file import Document, FormatError
from ansible_collections.homelab.mediaserver.plugins.module_utils._rclone_plan import Policy, clean, edit
from ansible_collections.homelab.mediaserver.plugins.module_utils._reconcile import Failure


def rclone_config(
    remotes: list[dict[str, Any]],
    current: str = "",
    providers: str | list[dict[str, Any]] | None = None,
    purge: bool = False,
    replace: bool = False,
    update_token: str = "on_create",
    config_password: str | None = None,
) -> str:
    """``current`` edited so that it holds the remotes; the very same text when it does already."""
    if update_token not in ("on_create", "always"):
        raise AnsibleFilterError("rclone_config: update_token is on_create or always")
    if providers is None:
        Display().warning("rclone_config: without `providers` types and options of the remotes are not checked")
    try:
        backends = without_providers() if providers is None else from_providers(providers)
        wanted = clean(remotes, backends)
        encrypted = is_encrypted(current)
        document = Document.parse(decrypt_file(current, config_password) if encrypted else current)
        changes = edit(document, wanted, backends, Policy(purge, replace, update_token))
        if not changes and (encrypted or config_password is None):
            return current
        text = document.render()
        return text if config_password is None else encrypt_file(text, config_password)
    except Failure as failure:
        raise AnsibleFilterError(failure.message) from None
    except (CryptError, FormatError) as error:
        raise AnsibleFilterError(f"Unable to read the current rclone.conf: {error}") from None
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        # from malformed remotes or providers; the error's own text could show a value
        raise AnsibleFilterError(
            f"rclone_config: remotes or providers are malformed ({type(error).__name__})"
        ) from None


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"rclone_config": rclone_config}
