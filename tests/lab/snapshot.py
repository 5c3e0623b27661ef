# SPDX-License-Identifier: MIT
"""The state of the lab's guests, file by file and container by container, to compare two builds."""

from __future__ import annotations

import json
from typing import Any

from runs import GUESTS, guest_python

# Runs on the guest as root. What differs between any two builds by nature is left out and named here:
# OpenVPN's PKI and tls keys (made on the host), package managers' caches, logs, applications' own data, and Debian's
# apt-listchanges.timer, which runs at the next full hour and then disables itself.
COLLECT = r"""
import hashlib, json, os, subprocess
ROOTS = [
    "/etc/docker", "/etc/fail2ban", "/etc/mediaserver", "/etc/openvpn/server", "/etc/restic", "/etc/ssh",
    "/etc/sudoers.d", "/etc/systemd/system", "/etc/ufw", "/etc/ddclient.conf", "/opt/mediaserver", "/usr/local",
    "/var/lib/mediaserver/trees", "/etc/apt/apt.conf.d", "/etc/systemd/journald.conf.d", "/etc/sysctl.d",
    "/etc/localtime",
]
CONTAINER = '{{.Names}} {{.Image}} {{.State}} {{.Label "mediaserver.digest"}}'
TIMERS = "systemctl list-timers --all --no-legend --plain | grep -o 'mediaserver-revert[^ ]*' || true"
SKIP = ("/pki/", "/easy-rsa/", "ipp.txt", "/keys/", ".crt", ".key", "/clients/", "crl.pem",
        "apt-listchanges.timer")
files = {}
def note(path):
    if any(part in path for part in SKIP):
        return
    info = os.lstat(path)
    if os.path.islink(path):
        content = "-> " + os.readlink(path)
    else:
        content = hashlib.sha256(open(path, "rb").read()).hexdigest()
    files[path] = [content, oct(info.st_mode & 0o7777), info.st_uid, info.st_gid]
for root in ROOTS:
    if os.path.isfile(root) or os.path.islink(root):
        note(root)
    for folder, _folders, names in os.walk(root):
        for name in names:
            note(os.path.join(folder, name))
def lines(*argv):
    return sorted(subprocess.run(argv, check=True, capture_output=True, text=True).stdout.splitlines())
state = {
    "files": files,
    "containers": lines("docker", "ps", "-a", "--format", CONTAINER),
    "networks": lines("docker", "network", "ls", "--format", "{{.Name}} {{.Driver}}"),
    "enabled": [
        line
        for line in lines("systemctl", "list-unit-files", "--state=enabled", "--no-legend", "--plain")
        if not line.startswith(SKIP)
    ],
    "container rules": lines("nft", "-s", "list", "table", "inet", "mediaserver"),
    "mounts": [
        line
        for line in lines("findmnt", "--real", "--noheadings", "--list", "--output", "TARGET")
        if line.startswith("/mnt")
    ],
    "timers left behind": lines("sh", "-c", TIMERS),
}
print(json.dumps(state))
"""


def take() -> dict[str, Any]:
    """Return {guest: {files, containers, networks, …}}."""
    return {name: json.loads(guest_python(name, COLLECT)) for name in GUESTS}


def differences(reference: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """One line per file, container or rule that is not the same in both."""
    found: list[str] = []
    for name, wanted in reference.items():
        for topic, before in wanted.items():
            after = other[name][topic]
            if isinstance(before, dict):
                for path in sorted(set(before) | set(after)):
                    if before.get(path) != after.get(path):
                        found.append(f"{name}: {topic}: {path}: {before.get(path)} != {after.get(path)}")
            else:
                found += [f"{name}: {topic}: missing: {line}" for line in before if line not in after]
                found += [f"{name}: {topic}: too many: {line}" for line in after if line not in before]
    return found
