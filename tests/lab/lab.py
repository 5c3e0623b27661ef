#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The lab: a home's machines in local Docker containers. Needs Python 3.11, Docker, mmdebstrap, openssl, ssh-keygen."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from mediaserver_lab.cli import main

if __name__ == "__main__":
    sys.exit(main())
