#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Stand-in for cloudflare/cloudflared:2026.8.2: `tunnel run` with a token of a remotely managed tunnel, and `ready`.

It reads the token as the real one does, answers /ready and /metrics, and connects to nobody.
"""

from __future__ import annotations

import os
import sys
import urllib.request
from pathlib import Path
from typing import Any

from standin import App, Reply, Request, fatal, log, real_path

NAME = "cloudflared"
app = App(NAME)


def require_token() -> None:
    """From TUNNEL_TOKEN or the file that TUNNEL_TOKEN_FILE names: base64 of a mapping that begins with the account."""
    text, file = os.environ.get("TUNNEL_TOKEN", ""), os.environ.get("TUNNEL_TOKEN_FILE", "")
    if file:
        try:
            text = Path(real_path(file)).read_text().strip()
        except OSError as error:
            fatal(NAME, f"Failed to read token file: {error.strerror}")
    if not text.startswith("eyJhIjoi"):
        fatal(NAME, "Provided Tunnel token is not valid.")


@app.route("GET", "/ready")
def ready(request: Request) -> Any:
    return {"status": 200, "readyConnections": 4, "connectorId": "00000000-0000-4000-8000-000000000000"}


@app.route("GET", "/metrics")
def metrics(request: Request) -> Any:
    return Reply(200, "cloudflared_tunnel_ha_connections 4\n")


def options(words: list[str]) -> tuple[str, str]:
    """The command below `tunnel`, and the address of the metrics server."""
    words = [word for word in words if word != "--no-autoupdate"]
    if words[:1] != ["tunnel"]:
        fatal(NAME, f"only `tunnel` is stood in for, not {' '.join(words)}")
    words, address = words[1:], "127.0.0.1:2000"
    if words[:1] == ["--metrics"]:
        address, words = words[1], words[2:]
    if words not in (["run"], ["ready"]):
        fatal(NAME, f"only `run` and `ready` are stood in for, not {' '.join(words)}")
    return words[0], address


def main() -> None:
    command, address = options(sys.argv[1:])
    port = int(address.rpartition(":")[2])
    if command == "ready":
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/ready", timeout=5) as answer:
            raise SystemExit(0 if answer.status == 200 else 1)
    require_token()
    log(NAME, f"runs as uid {os.getuid()}, connects to nobody")
    app.serve(port, "docker.io/cloudflare/cloudflared:2026.8.2")


if __name__ == "__main__":
    main()
