# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  url:
    description: Address of Immich, without C(/api).
    type: str
    default: http://127.0.0.1:2283
  api_key:
    description:
      - API key of an administrator. M(homelab.mediaserver.immich_setup) makes one with just the permissions needed.
    type: str
  api_key_file:
    description: File, on the machine the module runs on, that holds the API key. Used where O(api_key) is not given.
    type: path
notes:
  - Works with Immich 1.144, 2 and 3.
  - An application that does not answer, is not set up yet, or whose O(api_key_file) does not exist yet is taken for a
    fresh one. In check mode all is then reported as still to be done (the result has C(reachable=false)); otherwise the
    module fails.
"""
