# SPDX-License-Identifier: MIT
"""The image's own check, in Python as there: the image has no curl."""

from __future__ import annotations

import os
import sys
import urllib.request

port = os.environ.get("IMMICH_PORT", "3003")
try:
    with urllib.request.urlopen(f"http://localhost:{port}/ping", timeout=2) as answer:
        sys.exit(0 if answer.status == 200 else 1)
except OSError:
    sys.exit(1)
