#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Starts Debian's real node exporter (1.9.0) in the place of prom/node-exporter:v1.12.1."""

from __future__ import annotations

import os
import sys

from standin import log

log("node-exporter", "this is Debian's node exporter 1.9.0, standing in for prom/node-exporter:v1.12.1")
os.execv("/usr/bin/prometheus-node-exporter", ["node_exporter", *sys.argv[1:]])
