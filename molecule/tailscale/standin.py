#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Stand-in for tailscale and tailscaled: joins nothing, keeps settings in a file, takes the flags that the real one
takes and fails as its source says. Notes every command line."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

STATE = Path("/var/lib/tailscale/stand-in.json")
FRESH = {"NetfilterMode": 2, "CorpDNS": True, "RouteAll": False, "RunSSH": False, "ShieldsUp": False,
         "AdvertiseRoutes": None, "AdvertiseTags": None, "Hostname": "", "WantRunning": False, "key": ""}  # fmt: skip
NAMES = {"netfilter-mode": "NetfilterMode", "accept-dns": "CorpDNS", "accept-routes": "RouteAll", "ssh": "RunSSH",
         "shields-up": "ShieldsUp", "advertise-routes": "AdvertiseRoutes", "hostname": "Hostname"}  # fmt: skip
MODES = {"off": 0, "nodivert": 1, "on": 2}


def fail(text: str) -> None:
    sys.exit(f"{text}")


def value(name: str, text: str) -> object:
    if name == "netfilter-mode":
        return MODES[text] if text in MODES else fail(f"invalid value --netfilter-mode={text!r}")
    if name == "advertise-routes":
        return text.split(",") if text else None
    return text if name == "hostname" else text == "true"


def apply(state: dict[str, object], arguments: list[str], up: bool) -> None:
    for argument in arguments:
        name, _equals, text = argument.removeprefix("--").partition("=")
        if name in NAMES:
            state[NAMES[name]] = value(name, text)
        elif name == "advertise-tags" and up:
            if not all(tag.startswith("tag:") for tag in text.split(",")):
                fail(f"tag: {text!r}: tags must start with 'tag:'")
            state["AdvertiseTags"] = text.split(",")
        elif name == "auth-key" and up:
            state["key"] = Path(text.removeprefix("file:")).read_text().strip() if text.startswith("file:") else text
        elif name not in ("advertise-exit-node", *(("reset", "timeout", "login-server") if up else ())):
            fail(f"flag provided but not defined: -{name}")


def daemon() -> None:
    STATE.parent.mkdir(parents=True, exist_ok=True)
    if not STATE.exists():
        STATE.write_text(json.dumps(FRESH))
    signal.sigwait({signal.SIGTERM, signal.SIGINT})


def main() -> None:
    if Path(sys.argv[0]).name == "tailscaled":
        return daemon()
    with Path("/var/log/stand-in-tailscale.log").open("a") as log:
        log.write(" ".join(sys.argv[1:]) + "\n")
    if subprocess.run(["systemctl", "is-active", "--quiet", "tailscaled"], check=False).returncode:
        fail("failed to connect to local tailscaled; it doesn't appear to be running")
    state = json.loads(STATE.read_text())
    verb, rest = sys.argv[1], sys.argv[2:]
    if verb == "status" and rest == ["--json"]:
        known = {"KeyExpiry": "2027-05-25T12:00:00Z"} if not state["AdvertiseTags"] else {}
        print(json.dumps({"BackendState": "Running" if state["WantRunning"] else "NeedsLogin", "Self": known}))
    elif verb == "debug" and rest == ["prefs"]:
        print(json.dumps({key: one for key, one in state.items() if key != "key"}))
    elif verb in ("up", "set"):
        apply(state, rest, verb == "up")
        if verb == "up":
            if not state["key"].startswith("tskey-"):
                fail("invalid key: unable to validate API key")
            state["WantRunning"] = True
        STATE.write_text(json.dumps(state))
    else:
        fail(f"unknown command {sys.argv[1:]}")
    return None


main()
