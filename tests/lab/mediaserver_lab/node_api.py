# SPDX-License-Identifier: MIT
"""Starts the fake Proxmox VE API on the node with the driver that boots containers."""

from __future__ import annotations

import sys
from pathlib import Path

from fake_pve.server import serve

from .driver import ContainerDriver

CERTIFICATE = Path("/etc/pve/local/pve-ssl.pem")
