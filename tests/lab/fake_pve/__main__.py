# SPDX-License-Identifier: MIT
"""``python3 -m fake_pve --release 9.1 --state DIR --tls-cert FILE --tls-key FILE --port 8006 --token-file FILE``.

The token file is JSON: ``{"tokens": {"automation@pve!mediaserver": {"value": "…", "deny": []}}, "passwords":
{"root@pam": "…"}}``. A stand-in for Proxmox VE's API, not Proxmox VE.
"""

from __future__ import annotations

import argparse
import importlib
import json
import signal
import sys
from pathlib import Path

from .driver import MachineDriver, NullDriver
from .server import Server, Service
from .world import World


def driver_from(text: str | None) -> MachineDriver:
    if not text:
        return NullDriver()
    module, _, name = text.partition(":")
    return getattr(importlib.import_module(module), name)()


def main() -> int:
    parser = argparse.ArgumentParser(prog="fake_pve", description=__doc__)
    parser.add_argument("--release", choices=("8.4", "9.1"), default="9.1")
    parser.add_argument("--state", type=Path, required=True, help="folder of state.json")
    parser.add_argument("--tls-cert", type=Path, required=True)
    parser.add_argument("--tls-key", type=Path, required=True)
    parser.add_argument("--address", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8006)
    parser.add_argument("--token-file", type=Path, required=True)
    parser.add_argument("--node", default="pve")
    parser.add_argument("--node-root", type=Path, default=Path("/"), help="where the node's / is on this machine")
    parser.add_argument("--driver", help="module:Class of the machine driver; without it nothing runs")
    parser.add_argument("--auth-delay", type=float, default=3.0, help="seconds before a refused login is answered")
    parser.add_argument("--no-gpu", action="store_true", help="the node has no graphics device")
    args = parser.parse_args()
    driver = driver_from(args.driver)
    world = World(args.state, release=args.release, node=args.node, root=args.node_root, driver=driver)
    if args.no_gpu:
        world.data["pci"] = [device for device in world.data["pci"] if not device["class"].startswith("0x03")]
    world.save()
    access = json.loads(args.token_file.read_text())
    service = Service(world, access.get("tokens", {}), access.get("passwords", {}), auth_delay=args.auth_delay)
    server = Server(service, (args.address, args.port), args.tls_cert, args.tls_key)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    where = f"{args.address}:{server.server_address[1]}"
    print(f"fake_pve {args.release} (a stand-in for Proxmox VE) on {where}", flush=True)
    server.serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main())
