# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the inventory may say about a Windows machine, and about the Debian inside it."""

from __future__ import annotations

from .catalog_schema import FOLDER, NAME, ZONE
from .schema import Flag, Items, Named, Number, Size, Table, Text

USER = r"^[A-Za-z][A-Za-z0-9_-]{0,19}$"
WINDOWS_PATH = r"^[A-Za-z]:\\"

SHARE = Table(
    {
        "class": Text("Storage class whose folder it shares", pattern=f"^{NAME}$", wanted="a storage class"),
        "folder": Text("Folder below the class's mount; default all of it", pattern=FOLDER, wanted="a relative path"),
        "users": Items(
            Text("A local user, made for the share", pattern=USER, wanted="a user name of at most 20 letters"),
            "Who may write there; their passwords are generated",
        ),
        "reach": Items(ZONE, "Zones that may use it", default=("lan",)),
    },
    "A share of Windows (SMB)",
    required=("class",),
)
WINDOWS = Table(
    {
        "user": Text(
            "Local user who is logged on by Windows itself and holds Debian open; made, with a generated password",
            default="mediaserver",
            pattern=USER,
            wanted="a user name of at most 20 letters",
        ),
        "distribution": Text("Linux inside, as `wsl --list --online` calls it", default="Debian"),
        "docker": Text(
            "What runs the containers: Docker's engine in Debian, or Docker Desktop",
            default="wsl",
            choices=("wsl", "desktop"),
        ),
        "memory": Size("Memory of Debian and its containers; default: what WSL takes, half of the machine's"),
        "boot_task": Flag("Also start Debian at boot, before anybody is logged on, where this Windows' WSL allows it"),
        "active_hours": Table(
            {
                "start": Number("First hour in which updates never restart the machine", default=7, most=23),
                "end": Number("Hour from which they may again; at most 18 later", default=23, most=23),
            },
            "When updates must not restart the machine",
            default={"start": 7, "end": 23},
        ),
        "reboot": Text(
            "Whether a run restarts Windows when a feature or WSL asks for it",
            default="if_needed",
            choices=("if_needed", "never"),
        ),
        "management_port": Number(
            "Port by which Ansible reaches it: 22 (OpenSSH), 5986 (WinRM and PSRP)", default=22, least=1, most=65535
        ),
        "reach": Items(ZONE, "Zones that may use that port", default=("lan",)),
        "shares": Named(SHARE, "Shares by name", pattern=NAME),
        "folders": Items(
            Text(pattern=WINDOWS_PATH, wanted=r"a path as D:\Folder"), "Folders beside those of the storage classes"
        ),
        "exclusions": Items(
            Text(pattern=WINDOWS_PATH, wanted=r"a path as C:\Folder"),
            "What Defender leaves alone beside Debian's disk and the backups",
        ),
    },
    "A Windows 11 machine",
)
WSL = Table(
    {"host": Text("The Windows machine in the inventory")},
    "This host is the Debian inside a Windows machine",
    required=("host",),
    short="host",
)
