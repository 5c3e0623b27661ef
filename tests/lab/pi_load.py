# SPDX-License-Identifier: MIT
"""Runs on the Pi: a phone that uploads and never gives up. Upload by upload a line in the ledger, once Immich said 201.

pi_load.py URL EMAIL SEED, the password on the standard input; ends when /run/pi-load.stop is there
"""

from __future__ import annotations

import hashlib
import json
import random
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

LEDGER, STOP = Path("/srv/ledger"), Path("/run/pi-load.stop")
BOUNDARY = "----load"


def ask(url: str, data: bytes, headers: dict[str, str]) -> dict[str, str]:
    request = urllib.request.Request(url, data, headers)
    with urllib.request.urlopen(request, timeout=20) as answer:
        found: dict[str, str] = json.load(answer)
        return found


def body(content: bytes) -> bytes:
    now = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime())
    parts = [f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{now}\r\n'.encode()
             for name in ("fileCreatedAt", "fileModifiedAt")]  # fmt: skip
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="assetData"; filename="phone.jpg"\r\n\r\n'
    return b"".join([*parts, head.encode(), content, f"\r\n--{BOUNDARY}--\r\n".encode()])


def main() -> None:
    url, email, seed = sys.argv[1:]
    password, dice, token = sys.stdin.readline().strip(), random.Random(int(seed)), ""
    content = b""
    while not STOP.exists():
        content = content or dice.randbytes(dice.randrange(1_000, 60_000))
        try:
            if not token:
                login = json.dumps({"email": email, "password": password}).encode()
                token = ask(f"{url}/auth/login", login, {"Content-Type": "application/json"})["accessToken"]
            kind = f"multipart/form-data; boundary={BOUNDARY}"
            ask(f"{url}/assets", body(content), {"Content-Type": kind, "Authorization": f"Bearer {token}"})
        except (OSError, ValueError, urllib.error.URLError):
            token = ""
            time.sleep(0.5)
            continue
        with LEDGER.open("a") as file:
            file.write(hashlib.sha256(content).hexdigest() + "\n")
        content = b""
        time.sleep(0.1)


if __name__ == "__main__":
    main()
