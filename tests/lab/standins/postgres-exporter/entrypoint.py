#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Starts Debian's real exporter (0.17.1, the pinned version) in the place of the project's own build."""

from __future__ import annotations

import os
import sys

from standin import log

log("postgres-exporter", "this is Debian's build of the same version of prometheuscommunity/postgres-exporter")
os.execv("/usr/bin/prometheus-postgres-exporter", ["postgres_exporter", *sys.argv[1:]])
