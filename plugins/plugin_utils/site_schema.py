# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the inventory may say: the ``site_*`` variables and the variables of hosts."""

from __future__ import annotations

from .catalog_schema import FOLDER, NAME, NAME_TEXT, SCHEDULES, ZONE
from .repositories import SECRET, VARIABLE
from .schema import Anything, Flag, Items, Named, Number, Size, Table, Text, fresh
from .sizes import DURATION

ADDRESS = Text("IP address", wanted="an IP address")
NETWORK = Text("Network as address/prefix", wanted="a network as 192.168.1.0/24")
ABSOLUTE = Text("Absolute path", pattern="^/", wanted="an absolute path")
HOSTNAME = r"^[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*$"

PLACEMENT = Table(
    {
        "hosts": Items(Text("Host of the inventory"), "Hosts it runs on", least=1),
        "with": Items(Text(), "Optional containers to add"),
        "without": Items(Text(), "Containers to leave out"),
        "settings": Named(Anything(), "Merged over the catalog's settings"),
        "environment": Named(
            Text(numbers=True), "Further environment, for all its containers or as {container: {...}}"
        ),
        "volumes": Named(
            Table({"class": Text("Storage class"), "folder": Text(pattern=FOLDER, wanted="a relative path")}),
            "Volumes that lie elsewhere",
        ),
        "route": Table(
            {
                "name": Text(
                    "Name before the site's domain",
                    pattern=r"^(@|[a-z0-9]([a-z0-9.-]*[a-z0-9])?)$",
                    wanted="a DNS name",
                ),
                "login": Text(choices=("application", "proxy", "none")),
                "allow": Items(ZONE, default=None),
            },
            "What is different about its public name",
        ),
        "ports": Named(
            Table(
                {"port": Number(least=1, most=65535, wanted="a port"), "reach": Items(ZONE, default=None)}, short="port"
            ),
            "Host ports or reach that differ",
        ),
        "backup": Named(Text(choices=(*SCHEDULES, "never")), "Volumes that are backed up more or less often, or never"),
        "memory": Named(Size(), "Memory limits by container"),
        "images": Named(Text(), "Images by container, to stay at another version than the catalog's"),
    },
    "Where a service runs and what is different about it here",
    required=("hosts",),
)

STORAGE = Table(
    {
        "source": Text("pool/dataset, Proxmox storage, export or remote", default=""),
        "as": Text("How a guest gets it", choices=("virtiofs", "disk", "nfs", "local", "rclone")),
        "mount": ABSOLUTE,
        "size": Size("Size of the disk"),
        "fstype": Text("File system of the disk", default="ext4", choices=("ext4", "xfs")),
        "server": Text("NFS server: a host of the inventory or an address; default the guest's Proxmox node"),
        "options": Text("Mount options, separated by commas", default=""),
        "read_only": Flag("Mounted read-only"),
        "per_host": Flag("virtiofs: each guest gets a folder of its own below source, named like the guest"),
        "cache": Size("rclone: what its cache on the host's disk may hold; 10G"),
        "cache_age": Text(
            "rclone: how long the cache keeps what is not used; 24h", pattern=DURATION, wanted="a time as 24h"
        ),
        "cache_mode": Text(
            "rclone: what goes through the cache; writes, or full for what is read over and over",
            choices=("writes", "full"),
        ),
        "cache_path": Text("rclone: where the cache lies; /var/cache/rclone", pattern="^/", wanted="an absolute path"),
    },
    "A storage class",
    required=("as", "mount"),
)

CREDENTIALS = Named(
    Text(pattern=SECRET, wanted="the name of a secret as offsite.key"),
    "Environment variable of restic -> name of its secret; default: those the kind needs, as offsite.aws_access_key_id",
    pattern=VARIABLE,
    wanted="an environment variable of restic's backends, as AWS_ACCESS_KEY_ID",
    default=None,
)
REPOSITORY = Table(
    {
        "class": Text("Storage class it lies on"),
        "folder": Text(default="restic-repo", pattern=FOLDER, wanted="a relative path"),
        "url": Text("Address of a remote one: s3:, azure:, b2:, sftp:, rest: or rclone:, as restic writes them"),
        "credentials": CREDENTIALS,
        "environment": Named(
            Text(numbers=True),
            "Further environment that is not secret, as AWS_DEFAULT_REGION",
            pattern=VARIABLE,
            wanted="an environment variable of restic's backends",
        ),
        "known_host": Text(
            "SFTP: public host key of the server",
            pattern=r"^(ssh|ecdsa)-[a-z0-9-]+ [A-Za-z0-9+/=]+$",
            wanted="a host key as ssh-ed25519 AAAA…",
        ),
        "append_only": Flag("The hosts only add; old snapshots go by `make prune`, with credentials of its own"),
        "prune": Table(
            {"url": Text("Address where deleting is allowed, if it is another"), "credentials": CREDENTIALS},
            "Who may prune an append-only repository",
        ),
        "upload_limit": Size("At most this much a second, as 2M"),
        "download_limit": Size("At most this much a second, as 10M"),
    },
    "A repository",
)

DURATION_TEXT = "a duration as 30m, 4h or 2d"
OBJECTIVE = {
    "rpo": Text(
        "How old the newest backup may get; default: half as long again as its schedule. A shorter one has the backup "
        "made more often",
        pattern=DURATION,
        wanted=DURATION_TEXT,
    ),
    "rto": Text("How long bringing it back may take", pattern=DURATION, wanted=DURATION_TEXT),
}
REMOTES = Named(
    Table(
        {
            "type": Text("Its backend, as rclone names it: azureblob, webdav, onedrive, crypt, ..."),
            "options": Named(Anything(), "Options of the backend that are no secrets"),
            "secrets": Items(
                Text(pattern=r"^[a-z][a-z0-9_]*$", wanted="the name of an option"),
                "Options whose values are secrets; they stand, encrypted, in site_secrets: "
                "{rclone: {<remote>_<option>: ...}}. A token is written once, as rclone renews it",
            ),
        },
        "A remote",
        required=("type",),
    ),
    "Clouds and shares that rclone reaches: remotes of rclone.conf on the hosts that need them",
    pattern=NAME,
    wanted=NAME_TEXT,
)

BACKUP = Table(
    {
        "repositories": Named(
            REPOSITORY,
            "Where backups go",
            pattern=NAME,
            default={"local": {**{key: fresh(kind) for key, kind in REPOSITORY.fields.items()}, "class": "backups"}},
        ),
        "keep": Table(
            {
                "hourly": Number(default=0),
                "daily": Number(default=7),
                "weekly": Number(default=4),
                "monthly": Number(default=6),
            },
            "How many to keep",
            default={"hourly": 0, "daily": 7, "weekly": 4, "monthly": 6},
        ),
        "dumps": Named(
            Table(
                {
                    "service": Text("Service whose PostgreSQL is dumped whole"),
                    "database": Text("Which of its databases names the server; default the first"),
                    "class": Text("Storage class of the files"),
                    "folder": Text("Folder below its mount", pattern=FOLDER, wanted="a relative path"),
                    "schedule": Text("How often", default="daily", choices=("hourly", "daily", "weekly")),
                    "keep": Number("Days that are kept, and files that are kept in any case", default=7, least=1),
                },
                "Dumps of a whole PostgreSQL cluster as compressed files, by pg_dumpall",
                required=("service", "class", "folder"),
            ),
            "Dumps as plain files, beside the backups",
            pattern=NAME,
            wanted=NAME_TEXT,
        ),
        "objectives": Table(
            {**OBJECTIVE, "services": Named(Table(OBJECTIVE), "The same for single services")},
            "What the backups must achieve; measured and alerted",
            default={"rpo": None, "rto": None, "services": {}},
        ),
        "times": Table(
            {
                "hourly": Text(default="*-*-* *:10:00"),
                "daily": Text(default="*-*-* 02:30:00"),
                "drill": Text(default="*-*-05 04:30:00"),
            },
            "When to look for due jobs (hourly where there is an hourly job, else daily) and to prove the backups, as "
            "systemd's OnCalendar",
            default={"hourly": "*-*-* *:10:00", "daily": "*-*-* 02:30:00", "drill": "*-*-05 04:30:00"},
        ),
    },
    "Backups",
    default={},
)

EMAIL = Text("E-mail address", pattern=r"^[^@\s]+@[^@\s]+$", wanted="an e-mail address")

CLOUDFLARE = Table(
    {
        "account": Text("Name or id of the account; needed only where the zone's name is in several"),
        "zone": Text("Domain at Cloudflare; default site_domain", pattern=HOSTNAME, wanted="a domain"),
        "tunnel": Text("Name of the tunnel; default site_name"),
        "allow": Items(EMAIL, "Who may log in from the Internet"),
        "session": Text(
            "How long a login lasts", default="168h", pattern=r"^([0-9]+(h|m|s))+$", wanted="a time as 168h"
        ),
        "service_tokens": Named(
            Items(Text("Service"), least=1),
            "Tokens for apps that cannot log in, and the services each opens",
            pattern=NAME,
            wanted=NAME_TEXT,
        ),
        "open": Items(Text("Service"), "Services whose name anybody may ask: their own login is all that guards them"),
        "records": Items(
            Table(
                {
                    "name": Text("Whole name", pattern=HOSTNAME, wanted="a DNS name"),
                    "type": Text("Type", default="CNAME", choices=("A", "AAAA", "CNAME", "TXT")),
                    "content": Text("Address, name or text"),
                    "proxied": Flag("Through Cloudflare"),
                    "ttl": Number("Seconds; 1 is automatic", default=1, least=1, most=86400),
                },
                "A further DNS record",
                required=("name", "content"),
            ),
            "Further DNS records",
        ),
    },
    "Cloudflare: the tunnel, who may come through it, DNS",
)

SITE = Table(
    {
        "site_name": Text("Short name of the site", pattern=f"^{NAME}$", wanted=NAME_TEXT),
        "site_domain": Text("Domain of the public names", pattern=HOSTNAME, wanted="a domain"),
        "site_email": Text(
            "Address for certificates and alerts", pattern=r"^[^@\s]+@[^@\s]+$", wanted="an e-mail address"
        ),
        "site_timezone": Text(
            "Time zone",
            default="Etc/UTC",
            pattern=r"^[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*$",
            wanted="a time zone as Europe/Paris",
        ),
        "site_admin": Table(
            {
                "user": Text("Login", pattern=r"^[a-z_][a-z0-9_-]*$", wanted="a login name"),
                "ssh_keys": Items(Text(), "Public keys"),
                "ssh_key_files": Items(Text(), "Files of public keys, relative to the inventory"),
                "ssh_port": Number("Port of SSH", default=22, least=1, most=65535),
                "reach": Items(ZONE, "Zones that may use SSH", default=("lan",)),
            },
            "Who administers the hosts",
            required=("user",),
            default={"user": "ops", "ssh_keys": [], "ssh_key_files": [], "ssh_port": 22, "reach": ["lan"]},
        ),
        "site_zones": Named(Items(NETWORK, least=1), "Zones and their networks", pattern=NAME, wanted=NAME_TEXT),
        "site_network": Table(
            {
                "gateway": ADDRESS,
                "prefix": Number("Prefix length", default=24, least=8, most=30),
                "gateway6": ADDRESS,
                "prefix6": Number("Prefix length of IPv6", default=64, least=16, most=128),
                "nameservers": Items(ADDRESS, "Resolvers"),
                "container_pool": Text(
                    "Networks of containers are taken from here",
                    default="172.20.0.0/16",
                    wanted="a network as 172.20.0.0/16",
                ),
            },
            "The local network",
            required=("gateway",),
            default={
                "gateway": None,
                "prefix": 24,
                "gateway6": None,
                "prefix6": 64,
                "nameservers": [],
                "container_pool": "172.20.0.0/16",
            },
        ),
        "site_services": Named(PLACEMENT, "Services and where they run"),
        "site_profiles": Named(Items(Text("Service"), least=1), "Groups of services", pattern=NAME, wanted=NAME_TEXT),
        "site_leave_out": Items(Text("Name of a profile"), "Profiles whose services are left out"),
        "site_storage": Named(STORAGE, "Storage classes", pattern=NAME, wanted=NAME_TEXT),
        "site_rclone": REMOTES,
        "site_registry": Text("Prefix of a registry mirror", default=""),
        "site_tls": Table(
            {"issuer": Text("Who signs certificates", default="letsencrypt", choices=("letsencrypt", "own_ca"))},
            "Certificates",
            default={"issuer": "letsencrypt"},
        ),
        "site_router": Table(
            {
                "public_address": Text("The home's address outside, or a name that leads to it"),
                "public_address6": Text("The same for IPv6"),
                "forwards": Items(
                    Anything(), "Derived by the plan; what is written here is compared with it", default=None
                ),
            },
            "The router",
            default={"public_address": None, "public_address6": None, "forwards": None},
        ),
        "site_cloudflare": CLOUDFLARE,
        "site_backup": BACKUP,
        "site_accept": Items(Text(), "Names of accepted warnings"),
        "site_secrets": Named(Anything(), "Values given by hand"),
        "site_paths": Table(
            {
                "root": Text(
                    "Folder of everything deployed", default="/opt/mediaserver", pattern="^/", wanted="an absolute path"
                )
            },
            "Paths",
            default={"root": "/opt/mediaserver"},
        ),
    },
    "The site",
    required=("site_name", "site_domain", "site_email", "site_zones", "site_network", "site_admin", "site_services"),
)
