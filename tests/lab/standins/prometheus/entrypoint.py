#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Starts Debian's real Prometheus 2.53 in the place of prom/prometheus:v3.14.0 and refuses what version 3 refuses.

Not covered: version 3 fails a scrape whose answer has no usable Content-Type, 2.53 takes it as text.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

from standin import fatal, log, require_mount

NAME = "prometheus"
# the flags of version 3 (its command-line page), and its hidden ones that 2.53 knows too
FLAGS = [
    "help",
    "h",
    "version",
    "config.file",
    "web.listen-address",
    "web.config.file",
    "web.read-timeout",
    "web.max-connections",
    "web.external-url",
    "web.route-prefix",
    "web.user-assets",
    "web.enable-lifecycle",
    "web.enable-admin-api",
    "web.enable-remote-write-receiver",
    "web.remote-write-receiver.accepted-protobuf-messages",
    "web.console.templates",
    "web.console.libraries",
    "web.page-title",
    "web.cors.origin",
    "storage.tsdb.path",
    "storage.tsdb.retention.time",
    "storage.tsdb.retention.size",
    "storage.tsdb.no-lockfile",
    "storage.tsdb.head-chunks-write-queue-size",
    "storage.tsdb.min-block-duration",
    "storage.tsdb.max-block-duration",
    "storage.tsdb.wal-compression",
    "storage.tsdb.wal-segment-size",
    "storage.agent.path",
    "storage.agent.wal-compression",
    "storage.agent.retention.min-time",
    "storage.agent.retention.max-time",
    "storage.agent.no-lockfile",
    "storage.remote.flush-deadline",
    "storage.remote.read-sample-limit",
    "storage.remote.read-concurrent-limit",
    "storage.remote.read-max-bytes-in-frame",
    "rules.alert.for-outage-tolerance",
    "rules.alert.for-grace-period",
    "rules.alert.resend-delay",
    "rules.max-concurrent-evals",
    "alertmanager.notification-queue-capacity",
    "alertmanager.drain-notification-queue-on-shutdown",
    "query.lookback-delta",
    "query.timeout",
    "query.max-concurrency",
    "query.max-samples",
    "enable-feature",
    "log.level",
    "log.format",
]
# version 3 knows them, 2.53 does not: dropped, with a line in the log
ONLY_V3 = ["auto-gomemlimit", "auto-gomemlimit.ratio", "auto-gomaxprocs", "web.enable-otlp-receiver",
           "scrape.name-escaping-scheme", "agent"]  # fmt: skip


def arguments(given: list[str]) -> list[str]:
    """What is handed to 2.53; SystemExit on a flag that version 3 does not know."""
    kept: list[str] = []
    dropping = False
    for argument in given:
        if not argument.startswith("-"):
            if not dropping:
                kept.append(argument)
            dropping = False
            continue
        flag = argument.lstrip("-").split("=")[0]
        base = flag.removeprefix("no-") if flag.removeprefix("no-") in FLAGS + ONLY_V3 else flag
        if base in ONLY_V3:
            log(NAME, f"--{flag}: known to version 3 only, ignored here")
            dropping = "=" not in argument and base in ("auto-gomemlimit.ratio", "scrape.name-escaping-scheme")
        elif base in FLAGS:
            kept.append(argument)
            dropping = False
        else:
            fatal(NAME, f"Error parsing command line arguments: unknown long flag '--{flag}'", 2)
    return kept


def value(given: list[str], flag: str, default: str) -> str:
    for index, argument in enumerate(given):
        if argument.startswith(f"--{flag}="):
            return argument.split("=", 1)[1]
        if argument == f"--{flag}" and index + 1 < len(given):
            return given[index + 1]
    return default


def refused_by_version_3(text: str) -> list[str]:
    found = []
    if re.search(r"^[\s-]*api_version:\s*[\"']?v1\b", text, re.M):
        found.append("expected Alertmanager api version to be one of [v2] but got v1")
    if re.search(r"^[\s-]*scrape_classic_histograms:", text, re.M):
        found.append("field scrape_classic_histograms not found (renamed to always_scrape_classic_histograms)")
    return found


def main() -> None:
    given = arguments(sys.argv[1:])
    if not {"--version", "--help", "-h"} & set(given):
        config = Path(value(given, "config.file", "prometheus.yml"))
        if config.is_file() and os.access(config, os.R_OK):
            for problem in refused_by_version_3(config.read_text()):
                fatal(NAME, f"Error loading config (--config.file={config}): {problem}", 2)
        require_mount(NAME, "/prometheus")
        # Debian changed these defaults
        given = [f"--config.file={config}", f"--storage.tsdb.path={value(given, 'storage.tsdb.path', 'data/')}"] + [
            a for i, a in enumerate(given)
            if not re.match(r"--(config\.file|storage\.tsdb\.path)(=|$)", a)
            and not (i and given[i - 1] in ("--config.file", "--storage.tsdb.path"))
        ]  # fmt: skip
    log(NAME, "this is Debian's Prometheus 2.53, standing in for prom/prometheus:v3.14.0")
    os.execv("/usr/lib/standin/prometheus", ["prometheus", *given])


if __name__ == "__main__":
    main()
