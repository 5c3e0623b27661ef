# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names of all services, as tags."""

from __future__ import annotations

DOCUMENTATION = r"""
name: service_tags
author: The homelab.mediaserver authors (@homelab)
version_added: 0.1.0
short_description: Names of all services, as tags
description:
  - Lists the services of the collection's catalog and of C(catalog/) beside every inventory of the command line.
  - Tags are read before any host and any inventory variable exists, so this reads folders only.
  - Use it with C(lookup()), which gives the list as it is; Ansible does not split a text with commas into tags here.
options:
  _terms:
    description: Further tags to add.
"""

EXAMPLES = r"""
- name: Deploy the services
  ansible.builtin.import_role:
    name: homelab.mediaserver.services
  tags: [services, "{{ lookup('homelab.mediaserver.service_tags') }}"]
"""

RETURN = r"""
_raw:
  description: One element, the list of tags.
  type: list
  elements: list
"""

from functools import lru_cache
from pathlib import Path
from typing import Any

from ansible import constants, context
from ansible.plugins.lookup import LookupBase
from ansible_collections.homelab.mediaserver.plugins.plugin_utils import catalog

COLLECTION = Path(__file__).resolve().parents[2]


def inventories() -> tuple[str, ...]:
    """Sources of the command line, else of the configuration."""
    given = context.CLIARGS.get("inventory") or constants.DEFAULT_HOST_LIST or ()
    return tuple(str(item) for item in ([given] if isinstance(given, str) else given))


@lru_cache(maxsize=8)
def names(sources: tuple[str, ...]) -> tuple[str, ...]:
    """Services of the collection and beside these inventories; asked once per tagged task."""
    folders = [COLLECTION / "roles/services/catalog"]
    for source in sources:
        path = Path(source)
        if "," not in source and path.exists():
            folders.append((path if path.is_dir() else path.parent) / "catalog")
    return tuple(catalog.names(folders))


class LookupModule(LookupBase):
    """Lookup of the collection homelab.mediaserver."""

    def run(self, terms: Any, variables: Any = None, **kwargs: Any) -> list[list[str]]:
        return [[*(str(term) for term in terms), *names(inventories())]]
