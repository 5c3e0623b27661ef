# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  url:
    description: Address of the administration interface, without C(/api).
    type: str
    default: http://127.0.0.1:81
  email:
    description: E-mail address of the administrator to log in as.
    type: str
    required: true
  password:
    description: Password of that administrator.
    type: str
    required: true
notes:
  - An application that does not answer or is not set up yet is taken for a fresh one. In check mode all is then
    reported as still to be done (the result has C(reachable=false)); otherwise the module fails.
"""
