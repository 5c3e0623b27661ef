# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    # What modules for an application's own API share.
    DOCUMENTATION = r"""
options:
  timeout:
    description: Seconds to wait for one answer.
    type: int
    default: 60
  validate_certs:
    description: Whether the certificate of an C(https) O(url) must be valid.
    type: bool
    default: true
  wait:
    description: Seconds to wait for the application to come up before giving up.
    type: int
    default: 0
notes:
  - Runs on the machine where the application runs, or wherever O(url) is reached.
author:
  - The homelab.mediaserver authors (@homelab)
"""
