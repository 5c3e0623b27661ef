#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Starts Debian's real Valkey 8.1 in the place of valkey/valkey:9: root steps down to uid 999, as the image does."""

from __future__ import annotations

import os
import sys

from standin import fatal, log, require_writable

UID = 999


def main() -> None:
    command = sys.argv[1:] or ["valkey-server"]
    if command[0].startswith("-") or command[0].endswith(".conf"):
        command = ["valkey-server", *command]
    if command[0] in ("valkey-server", "redis-server"):
        if os.getuid() == 0:
            for folder, _, files in os.walk("."):
                for path in [folder, *(f"{folder}/{file}" for file in files)]:
                    try:
                        os.chown(path, UID, UID)
                    except OSError as error:
                        fatal("valkey", f"chown {path}: {error.strerror}")
            os.setgroups([])
            os.setgid(UID)
            os.setuid(UID)
        require_writable("valkey", "/data")
        # as the image: without a password it still answers other containers
        command += ["--protected-mode", "no"]
        log("valkey", f"this is Debian's Valkey 8.1 as uid {os.getuid()}, standing in for valkey/valkey:9")
    os.execvp(command[0], command)


if __name__ == "__main__":
    main()
