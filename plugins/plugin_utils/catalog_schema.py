# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a ``service.yml`` may say."""

from __future__ import annotations

from .schema import Anything, Flag, Items, Named, Number, Size, Table, Text

NAME = r"[a-z][a-z0-9]*([-_][a-z0-9]+)*"
NAME_TEXT = "a name of small letters, digits, - and _"
SCHEDULES = ("hourly", "daily", "weekly", "monthly")
ZONE = Text("A zone: one of the inventory's, or internet, edge, monitoring, node", pattern=f"^{NAME}$", wanted="a zone")
REACH = Items(ZONE, "Zones that may reach the ports", default=None)
USER = Text("uid:gid of the process", default="0:0", pattern=r"^[0-9]+:[0-9]+$", wanted='two numbers as "1000:1000"')
FOLDER = r"^(?!/)(?!.*(^|/)\.\.(/|$)).+$"

PORT = Table(
    {
        "port": Number("Port number inside the container and on the host", least=1, most=65535, wanted="a port"),
        "protocol": Text("tcp or udp", default="tcp", choices=("tcp", "udp")),
        "reach": REACH,
        "silent": Flag("Does not answer strangers, as VPN servers do; default: UDP ports named vpn", default=None),
    },
    "A port: number, or port, protocol and reach",
    required=("port",),
    short="port",
)

HEALTH = Table(
    {
        "http": Text("Path that answers 200", pattern="^/", wanted="a path that begins with /"),
        "port": Text("Name of the port"),
        "command": Items(Text(numbers=True), "Command run in the container", default=None),
        "image": Flag("The image has its own health check"),
    },
    "How to see that it works: {http, port}, {command} or {image: true}",
)

VOLUME_USE = Table(
    {
        "at": Text("Folder in the container", pattern="^/", wanted="an absolute path"),
        "read_only": Flag("Mounted read-only"),
    },
    "Folder in the container, or {at, read_only}",
    required=("at",),
    short="at",
)

CONTAINER = Table(
    {
        "image": Text("registry/repository:tag, optionally with @sha256:digest"),
        "platforms": Items(
            Text(choices=("amd64", "arm64")),
            "Processors that the image is known to be published for; without it nobody looked",
            default=None,
        ),
        "user": USER,
        "fixed_user": Flag("The image picks its user itself: write no user into the compose file"),
        "command": Items(Text(numbers=True), "Arguments", default=None),
        "environment": Named(Text(numbers=True, wanted="text (quote true, false and dates)"), "Environment variables"),
        "ports": Named(PORT, "Ports by name", pattern=NAME),
        "volumes": Named(VOLUME_USE, "Volumes by name", pattern=NAME),
        "files": Named(Text(pattern="^/", wanted="an absolute path"), "Folder under templates/ to container folder"),
        "secrets": Items(Text(), "Secrets shown as /run/secrets/<name>"),
        "gpu": Text("Whether it uses a GPU", choices=("optional", "required")),
        "health": HEALTH,
        "after": Items(Text(), "Containers that must be healthy first"),
        "memory": Size("Memory limit"),
        "host_network": Flag("Shares the host's network"),
        "options": Named(Anything(), "Further compose keys, merged last"),
        "optional": Flag("Left out unless the inventory names it in `with`"),
    },
    "A container",
    required=("image",),
)

VOLUME = Table(
    {
        "class": Text("Storage class", pattern=f"^{NAME}$", wanted="a storage class"),
        "folder": Text("Folder below the class's mount", pattern=FOLDER, wanted="a relative path"),
        "optional": Flag("Only where the inventory says where it lies; else it is part of another volume"),
    },
    "Where a volume lies",
    required=("class",),
    short="class",
)

FOLDERS = Table(
    {
        "container": Text("Container that sees them"),
        "at": Text("Folder in the container below which each has its own", pattern="^/", wanted="an absolute path"),
        "backup": Text("How often each is backed up, unless it says otherwise", choices=(*SCHEDULES, "never")),
        "keys": Named(
            Text(choices=("text", "texts", "flag", "user"), wanted="a kind"),
            "What each may say for the service's role; user: the e-mail address of one of its users",
            pattern=NAME,
        ),
        "choices": Named(Items(Text(), least=1), "The same, with the words that are allowed", pattern=NAME),
    },
    "Folders that the inventory names in a list of the settings: {name, storage: <class>/<folder>, read_only, backup}",
    required=("container", "at"),
)

SECRET = Table(
    {
        "length": Number("Length of the generated value", default=32, least=8, most=512),
        "ask": Flag("The owner must give it"),
        "later": Flag("A step of the run brings it, as the token of a tunnel that the run makes"),
        "help": Text("Where the owner finds it", default=""),
        "kind": Text("password, hex or ssh_ed25519", default="password", choices=("password", "hex", "ssh_ed25519")),
    },
    "A secret, made once",
)

ROUTE = Table(
    {
        "name": Text(
            "Name before the site's domain; @ is the domain itself",
            pattern=r"^(@|[a-z0-9]([a-z0-9.-]*[a-z0-9])?)$",
            wanted="a DNS name",
        ),
        "port": Text("Name of the port"),
        "login": Text("Who asks for the password", default="application", choices=("application", "proxy", "none")),
        "allow": Items(ZONE, "Zones that may use the name", default=("lan",)),
        "websockets": Flag("Upgrade to websockets", default=True),
        "scheme": Text("How the proxy speaks to it", default="http", choices=("http", "https")),
        "path": Text("Path a probe asks for", default="/", pattern="^/", wanted="a path that begins with /"),
    },
    "Public name through the proxy",
    required=("name", "port"),
)

DATABASE = Table(
    {
        "container": Text("Container of the database server"),
        "kind": Text("Kind of server", choices=("postgresql", "mariadb", "sqlite", "valkey")),
        "name": Text("Database"),
        "user": Text("User who may dump it"),
        "volume": Text("Volume of the file (sqlite)"),
        "file": Text("File in that volume (sqlite)", pattern=FOLDER, wanted="a relative path"),
        "schedule": Text("How often", default="daily", choices=SCHEDULES),
    },
    "A database dump",
    required=("kind",),
)

SCHEDULE = Text("How often", choices=SCHEDULES)
BACKUP = Table(
    {
        "volumes": Named(SCHEDULE, "Volumes and how often"),
        "exclude": Named(
            Items(Text(pattern=FOLDER, wanted="a relative path")),
            "Volume -> patterns that something else holds already",
        ),
        "databases": Named(DATABASE, "Dumps by name", pattern=NAME),
        "paths": Named(
            Table(
                {"path": Text("Folder on the host", pattern="^/", wanted="an absolute path"), "schedule": SCHEDULE},
                required=("path", "schedule"),
            ),
            "Folders of the host (services that systemd runs)",
            pattern=NAME,
        ),
    },
    "What is backed up, and how often",
)

UPGRADE = Table(
    {
        "leave": Items(Text(), "Volumes of which no copy is kept: caches, and what is too big"),
        "majors": Items(Text(), "Containers whose major version may go up one at a time only"),
        "same": Items(Text(), "Containers that carry the same version"),
        "needs": Items(
            Table(
                {
                    "container": Text("Container that demands something"),
                    "from": Text("From this version on", numbers=True),
                    "with": Text("The other container"),
                    "matches": Text("What the other's image must match, now and then (regular expression)"),
                    "remedy": Text("What to do otherwise"),
                },
                required=("container", "from", "with", "matches", "remedy"),
            ),
            "What a version demands of another container's image",
        ),
    },
    "How its versions follow each other; without it, versions may not go back and its own data are kept",
)

SYSTEM = Table(
    {
        "role": Text(
            "Role that sets it up",
            pattern=r"^[a-z0-9_]+\.[a-z0-9_]+\.[a-z0-9_]+$",
            wanted="a role as namespace.name.role",
        ),
        "unit": Text("Unit that runs it", pattern=r"\.(service|socket|target|timer)$", wanted="a systemd unit"),
        "ports": Named(PORT, "Ports of the host", pattern=NAME),
    },
    "A service that systemd runs",
    required=("role",),
)

METRICS = Table(
    {
        "port": Text("Name of the port"),
        "path": Text(default="/metrics", pattern="^/", wanted="a path"),
        "hidden": Flag(
            "Lies without a login on a port that people use: asked only where the proxy alone reaches that port, "
            "and the proxy answers 404 to this path"
        ),
    },
    required=("port",),
)

SERVICE = Table(
    {
        "summary": Text("One line: what it is for", pattern=r"^[^\n]+$", wanted="one line"),
        "provides": Text(
            "What others rely on", choices=("proxy", "tunnel", "monitoring", "backup", "vpn", "tailnet", "ingest")
        ),
        "containers": Named(CONTAINER, "Containers of one compose project", pattern=NAME, wanted=NAME_TEXT),
        "volumes": Named(VOLUME, "Where volumes lie", pattern=NAME, wanted=NAME_TEXT),
        "folders": Named(FOLDERS, "Settings that name folders", pattern=NAME, wanted=NAME_TEXT),
        "secrets": Named(SECRET, "Secrets by name", pattern=NAME, wanted=NAME_TEXT, nullable=True),
        "settings": Named(Anything(), "Defaults of free-form settings"),
        "route": ROUTE,
        "reach": Items(ZONE, "Zones that may reach the ports"),
        "backup": BACKUP,
        "upgrade": UPGRADE,
        "configure": Text(
            "Role that speaks the application's API",
            pattern=r"^[a-z0-9_]+\.[a-z0-9_]+\.[a-z0-9_]+$",
            wanted="a role as namespace.name.role",
        ),
        "setup_marker": Text(
            "<volume>/<file> written once a first administrator exists", pattern=r"^[^/]+/.+", wanted="<volume>/<file>"
        ),
        "metrics": Items(METRICS, "Where Prometheus asks: one place, or a list", lone=True),
        "tile": Table(
            {
                "group": Text("Heading", default="Services"),
                "icon": Text("Icon", default=""),
                "title": Text("Title", default=""),
            },
            "Tile on the start page",
        ),
        "system": SYSTEM,
    },
    "A service of the catalog",
    required=("summary",),
)
