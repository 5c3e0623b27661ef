# SPDX-License-Identifier: MIT
"""What runs on the Proxmox node: the fake API with the driver that boots containers, and the watch for reboots."""

from __future__ import annotations

import hashlib
import json
import ssl
import time
import urllib.request
from pathlib import Path

from .layout import API_STATE, LAB_DIR, NODE, NODE_FOLDERS, STATE
from .shell import LabError, docker, put_files, run

TOKEN = "automation@pve!mediaserver"
PROGRAMS = "/opt/mediaserver-lab"
TOKEN_FILE = "/etc/mediaserver-lab/access.json"
MARKER = "/run/mediaserver-lab-programs"
UNIT = """[Unit]
Description={description}
After=network.target

[Service]
Environment=PYTHONPATH={programs} PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
Environment=DOCKER_HOST=unix:///.lab/docker.sock MEDIASERVER_LAB_STATE={state}
ExecStart=/usr/bin/python3 -m {command}
Restart=always
RestartSec=1

[Install]
WantedBy=multi-user.target
"""


def services(release: str) -> dict[str, tuple[str, str]]:
    """Unit -> description, arguments of python3 -m."""
    api = (
        f"fake_pve --release {release} --state {API_STATE} --node {NODE.name} --address :: --port 8006"
        " --tls-cert /etc/pve/local/pve-ssl.pem --tls-key /etc/pve/local/pve-ssl.key"
        f" --token-file {TOKEN_FILE} --driver mediaserver_lab.driver:ContainerDriver"
    )
    return {
        "pveproxy.service": (f"Fake Proxmox VE {release} API of the lab", api),
        "mediaserver-lab-reboots.service": ("Starts lab machines again that reboot", "mediaserver_lab.reboots"),
    }


def programs(token: str, release: str) -> dict[str, tuple[bytes, int]]:
    """Every file of the node's programs and of their services."""
    access = {"tokens": {TOKEN: {"value": token}}, "passwords": {}}
    found = {TOKEN_FILE: (json.dumps(access).encode(), 0o600)}
    for unit, (text, command) in services(release).items():
        content = UNIT.format(description=text, programs=PROGRAMS, state=STATE, command=command)
        found[f"/etc/systemd/system/{unit}"] = (content.encode(), 0o644)
    for package in ("fake_pve", "mediaserver_lab"):
        for path in sorted((LAB_DIR / package).rglob("*.py")):
            found[f"{PROGRAMS}/{path.relative_to(LAB_DIR).as_posix()}"] = (path.read_bytes(), 0o644)
    return found


def install(token: str, authority: Path, release: str) -> None:
    """Make the node's folders, copy its programs and start those that do not run from these files."""
    name = NODE.container
    docker("exec", name, "mkdir", "-p", *NODE_FOLDERS)
    wanted = programs(token, release)
    digest = hashlib.sha256(repr(sorted(wanted.items())).encode()).hexdigest()
    if run(["docker", "exec", name, "cat", MARKER], check=False).stdout.strip() != digest:
        docker("exec", name, "rm", "-rf", PROGRAMS)
        put_files(name, wanted)
        units = list(services(release))
        docker("exec", name, "systemctl", "daemon-reload")
        docker("exec", name, "systemctl", "enable", "--quiet", *units)
        docker("exec", name, "systemctl", "restart", *units)
        docker("exec", name, "sh", "-c", f"echo {digest} >{MARKER}")
    wait_for_api(token, authority)


def wait_for_api(token: str, authority: Path, seconds: float = 20) -> None:
    """Wait until the API answers this token over the certificate that the lab's authority signed."""
    request = urllib.request.Request(
        f"https://{NODE.addresses[0]}:8006/api2/json/version", headers={"Authorization": f"PVEAPIToken={TOKEN}={token}"}
    )
    context = ssl.create_default_context(cafile=str(authority))
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
    end = time.monotonic() + seconds
    while True:
        try:
            opener.open(request, timeout=5).close()
            return
        except OSError as exc:
            if time.monotonic() > end:
                log = docker("exec", NODE.container, "journalctl", "-n", "15", "-o", "cat", "-u", "pveproxy.service")
                raise LabError(f"The fake Proxmox VE API does not answer: {exc}\n{log}") from exc
            time.sleep(0.3)
