# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  api_token:
    description:
      - API token. Also taken from the environment variable E(CLOUDFLARE_API_TOKEN). Global API keys are not supported.
    type: str
  api_token_file:
    description: File that holds the API token, used where O(api_token) is not given.
    type: path
  account:
    description: Name or id of the account. Not needed with O(zone), which names one account.
    type: str
  zone:
    description: Name of the zone (domain). Zone and account are looked up by it.
    type: str
  api_url:
    description: Address of the API.
    type: str
    default: https://api.cloudflare.com/client/v4
  timeout:
    description: Seconds to wait for one answer.
    type: int
    default: 30
  rate_limit_wait:
    description:
      - Seconds to wait in all when Cloudflare's rate limit (1200 requests in five minutes) refuses a request. A refused
        request is sent again after the time that Cloudflare names.
    type: int
    default: 310
notes:
  - Runs on the controller, or wherever O(api_url) is reached. Needs no Python library.
  - "The API token needs these permissions, for one account and one zone: Zone, Zone, Read; Zone, DNS, Edit
    (cloudflare_dns); Account, Cloudflare Tunnel, Edit (cloudflare_tunnel); Account, Access: Apps and Policies, Edit
    and, for service tokens, Account, Access: Service Tokens, Edit (cloudflare_access)."
  - Proved against a stand-in that answers as the API's documentation says, not against Cloudflare itself.
author:
  - The homelab.mediaserver authors (@homelab)
"""
