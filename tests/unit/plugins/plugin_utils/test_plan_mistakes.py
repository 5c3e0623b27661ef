"""Every kind of mistake has its message: file, key, reason and remedy."""
# ruff: noqa: E501
# one case a line

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.homelab.mediaserver.plugins import plugin_utils

SITE = "group_vars/all/site.yml"
FILMS, PHOTOS = "catalog/films/service.yml", "catalog/photos/service.yml"


@dataclass(frozen=True)
class Case:
    kind: str
    change: Callable[[Any], Any]
    file: str
    key: str
    words: str
    between: bool = False
    """Each declaration is fine by itself: the mistake arises between two of them, or between two files."""
    name: str = ""

    @property
    def id(self) -> str:
        return self.name or self.kind


def put(*path: str, to: Any, where: str = "site") -> Callable[[Any], None]:
    """Set a value deep in the site, the hosts or the catalog."""

    def change(sample: Any) -> None:
        target = getattr(sample, where)
        for key in path[:-1]:
            target = target.setdefault(key, {})
        target[path[-1]] = to

    return change


def drop(*path: str, where: str = "site") -> Callable[[Any], None]:
    def change(sample: Any) -> None:
        target = getattr(sample, where)
        for key in path[:-1]:
            target = target[key]
        del target[path[-1]]

    return change


def both(*changes: Callable[[Any], Any]) -> Callable[[Any], None]:
    def change(sample: Any) -> None:
        for one in changes:
            one(sample)

    return change


def host(*path: str, to: Any) -> Callable[[Any], None]:
    return put(*path, to=to, where="hosts")


def pool(name: str, *path: str, to: Any) -> Callable[[Any], None]:
    return host("pve", "node", "pools", name, *path, to=to)


def devices(*names: str, kind: str = "disk") -> dict[str, Any]:
    return {"type": kind, "devices": [f"/dev/disk/by-id/{name}" for name in names]}


CLOUD = {
    "summary": "The way out",
    "provides": "tunnel",
    "containers": {"cloud": {"image": "docker.io/example/cloud:1.0", "secrets": ["token"], "memory": "64M"}},
    "secrets": {"token": {"later": True}},
}


def through_cloudflare(**more: Any) -> Callable[[Any], None]:
    """A tunnel on the front host, with an allow-list."""
    given = {"site_cloudflare": {"allow": ["mum@example.org"], **more}} if "site_cloudflare" not in more else {}

    def change(sample: Any) -> None:
        sample.catalog["cloud"] = CLOUD
        sample.site["site_services"]["cloud"] = {"hosts": ["front"]}
        sample.site["site_secrets"]["cloudflare.api_token"] = True
        sample.site |= given

    return change


def service(*path: str, to: Any) -> Callable[[Any], None]:
    return put(*path, to=to, where="catalog")


def films(*path: str, to: Any) -> Callable[[Any], None]:
    return service("films", "containers", "films", *path, to=to)


ALBUM = {"name": "Family", "storage": "media/albums"}


def albums(*entries: Any) -> Callable[[Any], None]:
    """The inventory's folders of the service photos."""
    return put("site_services", "photos", "settings", to={"albums": list(entries)})


UPLOAD = both(
    service("photos", "volumes", "upload", to={"class": "media", "folder": "photos"}),
    service("photos", "containers", "server", "volumes", to={"upload": "/data"}),
)
EXTRA = {
    "summary": "More",
    "containers": {"extra": {"image": "docker.io/example/extra:1", "ports": {"web": 8096}}},
    "reach": ["lan"],
}


def ingest(*hosts: str, **job: Any) -> Callable[[Any], None]:
    """A source whose copies lie where films' media, which is backed up, does."""
    whole = {"remote": "drive", "class": "media", **job}
    remotes = {"google": {"type": "google photos"}}
    return put(
        "site_services",
        "fetcher",
        to={"hosts": list(hosts or ["back"]), "settings": {"jobs": {"phone": whole}, "remotes": remotes}},
    )


FETCH = "site_services.fetcher.settings.jobs.phone"

REPOSITORY = "site_backup.repositories"


REPLICATION = "pve.node.replications.away"


def replication(source: str, target: str) -> Callable[[Any], None]:
    return put("pve", "node", "replications", to={"away": {"source": source, "target": target}}, where="hosts")


def dump_all(**body: Any) -> Callable[[Any], None]:
    return put(
        "site_backup", to={"dumps": {"all": {"service": "photos", "class": "backups", "folder": "dumps", **body}}}
    )


def offsite(**body: Any) -> Callable[[Any], None]:
    """A remote repository beside the local one."""
    default = {"url": "s3:https://s3.example.org/bucket/home"}
    return put("site_backup", to={"repositories": {"local": {"class": "backups"}, "offsite": {**default, **body}}})


def berry(sample: Any) -> None:
    """The private host is a Raspberry Pi whose images and SSD are right."""
    sample.hosts["back"] = {"ansible_host": "192.168.1.120"}
    sample.groups["back"] = ["raspberrypi"]
    for body in sample.catalog.values():
        for container in body.get("containers", {}).values():
            container["platforms"] = ["amd64", "arm64"]
    for name in ("appdata", "database", "media", "backups"):
        sample.site["site_storage"][name] = {
            "source": f"/dev/disk/by-id/usb-{name}",
            "as": "disk",
            "mount": f"/mnt/{name}",
        }


def cloudy(sample: Any) -> None:
    """Films keep their media in a cloud."""
    sample.site["site_rclone"] = {"azure": {"type": "azureblob", "options": {"account": "family"}}}
    sample.site["site_storage"]["media"] = {"source": "azure:films", "as": "rclone", "mount": "/mnt/media"}


CASES = [
    # one declaration by itself
    Case("missing-key", drop("site_domain"), SITE, "site_domain", "missing"),
    Case("unknown-key", put("site_domian", to="x"), SITE, "site_domian", "Did you mean site_domain"),
    Case("unknown-key", films("imag", to="x"), FILMS, "containers.films.imag", "Did you mean image", name="unknown-key-in-catalog"),
    Case("wrong-type", put("site_zones", to=["lan"]), SITE, "site_zones", "expected a mapping, found a list"),
    Case("bad-choice", put("site_tls", to={"issuer": "letsencript"}), SITE, "site_tls.issuer", "Did you mean letsencrypt"),
    Case("bad-form", put("site_email", to="nobody"), SITE, "site_email", "is not an e-mail address"),
    Case("bad-size", host("back", "guest", "memory", to="lots"), "hosts.yml", "back.guest.memory", "10G or 512M"),
    Case("out-of-range", films("ports", to={"web": 80960}), FILMS, "containers.films.ports.web.port", "between 1 and 65535"),
    Case("upgrade-unknown", put("films", "upgrade", "leave", to=["cach"], where="catalog"), FILMS, "upgrade.leave", "no volume 'cach'"),
    Case("upgrade-unknown", put("films", "upgrade", "majors", to=["film"], where="catalog"), FILMS, "upgrade.majors", "Did you mean films", name="upgrade-unknown-container"),
    Case("upgrade-pattern", put("films", "upgrade", "needs", to=[{"container": "films", "from": "3", "with": "films", "matches": "(", "remedy": "no"}], where="catalog"), FILMS, "upgrade.needs.0.matches", "no regular expression"),
    Case("upgrade-same", both(put("photos", "upgrade", "same", to=["server", "database"], where="catalog"), put("site_services", "photos", "images", to={"server": "ghcr.io/example/photos:v4"})), SITE, "site_services.photos.images", "server v4, database 14: they belong to one release", True),
    Case("image-without-tag", put("site_services", "photos", "images", to={"server": "ghcr.io/example/photos"}), SITE, "site_services.photos.images.server", "names no version", name="image-of-the-inventory"),
    Case("bad-name", films("ports", to={"Web": 80}), FILMS, "containers.films.ports.Web", "small letters|is not"),
    Case("empty-list", put("site_services", "films", "hosts", to=[]), SITE, "site_services.films.hosts", "Name at least 1"),
    Case("bad-yaml", lambda s: s.catalog.update(films="a: [b"), FILMS, "", "no valid YAML in line"),
    Case("unreadable-file", lambda s: s.write_bytes("catalog/films2/service.yml", b"\xff\xfe\xff"), "catalog/films2/service.yml", "", "UTF-8"),
    Case("bad-service-name", lambda s: s.catalog.update({"My Films": s.catalog["films"]}), "catalog/My Films/service.yml", "", "Rename the folder"),
    Case("empty-service", lambda s: s.catalog.update(bare={"summary": "Nothing"}), "catalog/bare/service.yml", "", "neither containers nor system"),
    Case("two-kinds", service("films", "system", to={"role": "a.b.c", "unit": "x.service"}), FILMS, "system", "either containers or system"),
    Case("image-without-tag", films("image", to="docker.io/example/films"), FILMS, "containers.films.image", "Pin a version"),
    Case("floating-tag", films("image", to="docker.io/example/films:latest"), FILMS, "containers.films.image", "'latest' is another image tomorrow"),
    Case("image-without-registry", films("image", to="example/films:1"), FILMS, "containers.films.image", "docker.io/example/films:1"),
    Case("health-unclear", films("health", to={"image": True, "command": ["x"]}), FILMS, "containers.films.health", "2 ways"),
    Case("bad-network", put("site_zones", "lan", to=["192.168.1.0/33"]), SITE, "site_zones.lan", "is no network"),
    Case("network-with-host", put("site_zones", "lan", to=["192.168.1.5/24", "fd00:1::/64"]), SITE, "site_zones.lan", "Write 192.168.1.0/24"),
    Case("zone-is-derived", put("site_zones", "edge", to=["10.9.0.0/24"]), SITE, "site_zones.edge", "derived by the plan"),
    Case("no-lan", put("site_zones", to={"house": ["192.168.1.0/24"]}), SITE, "site_zones", "no zone lan"),
    Case("bad-address", host("front", "ansible_host", to="front.local"), "hosts.yml", "front.ansible_host", "is no IP address"),
    Case("wrong-family", host("front", "ansible_host", to="fd00:1::111"), "hosts.yml", "front.ansible_host", "address6 is IPv6"),
    Case("no-address", drop("back", "ansible_host", where="hosts"), "hosts.yml", "back.ansible_host", "has no address"),
    Case("pool-too-small", put("site_network", "container_pool", to="172.20.0.0/24"), SITE, "site_network.container_pool", "too small"),
    Case("disk-without-size", drop("site_storage", "database", "size"), SITE, "site_storage.database.size", "Add size: 20G"),
    Case("no-source", drop("site_storage", "media", "source"), SITE, "site_storage.media.source", "where the data lies"),
    Case("mount-over-root", put("site_storage", "media", "mount", to="/opt"), SITE, "site_storage.media.mount", "would hide /opt/mediaserver"),
    Case("host-twice", put("site_services", "films", "hosts", to=["back", "back"]), SITE, "site_services.films.hosts", "named twice"),
    Case("unknown-warning", put("site_accept", to=["backup-on-protected-disc"]), SITE, "site_accept.0", "Did you mean backup-on-protected-disk"),
    Case("no-ssh-key", put("site_admin", "ssh_keys", to=[]), SITE, "site_admin.ssh_keys", "nobody could log in"),
    Case("bad-ssh-key", put("site_admin", "ssh_keys", to=["AAAA"]), SITE, "site_admin.ssh_keys.0", "no public SSH key"),
    Case("serial-too-long", both(put("site_storage", "database-of-the-photos-server", to={"source": "ssd", "as": "disk", "size": "1G", "mount": "/mnt/long"}), service("photos", "volumes", "database", to="database-of-the-photos-server")), SITE, "site_storage.database-of-the-photos-server.source", "longer than 20"),
    Case("node-closed", host("pve", "node", "reach", to=[]), "hosts.yml", "pve.node.reach", "the controller included.*reach: \\[lan\\]"),
    Case("arc-too-small", host("pve", "node", "arc_max", to="512M"), "hosts.yml", "pve.node.arc_max", "ignores a limit of 512M.*Write at least 1G"),
    Case("device-not-by-id", pool("hdd", "vdevs", to=[{"devices": ["/dev/sdb"]}]), "hosts.yml", "pve.node.pools.hdd.vdevs.0.devices.0", "another disk after the next start"),
    Case("device-placeholder", pool("hdd", "vdevs", to=[devices("ata-YOURS")]), "hosts.yml", "pve.node.pools.hdd.vdevs.0.devices.0", "only the owner knows.*will be erased"),
    Case("device-twice", pool("hdd", "vdevs", to=[devices("ata-A", "ata-A", kind="mirror")]), "hosts.yml", "pve.node.pools.hdd.vdevs.0.devices.1", "in pool hdd already"),
    Case("too-few-devices", pool("hdd", "vdevs", to=[devices("ata-A", kind="mirror")]), "hosts.yml", "pve.node.pools.hdd.vdevs.0.devices", "a mirror needs at least 2"),
    Case("vdevs-differ", pool("hdd", "vdevs", to=[devices("ata-A", "ata-B", kind="mirror"), devices("ata-C")]), "hosts.yml", "pve.node.pools.hdd.vdevs", "only as safe as the weakest"),
    Case("vdevs-missing", pool("ssd", "log", to=[devices("ata-C")]), "hosts.yml", "pve.node.pools.ssd.vdevs", "log cannot be a pool"),
    Case("bad-pool-name", pool("mirror-tank", to={"path": "/tank"}), "hosts.yml", "pve.node.pools.mirror-tank", "ZFS takes no pool of the name"),
    Case("bad-recordsize", pool("hdd", "datasets", "media", to={"recordsize": "100K"}), "hosts.yml", "pve.node.pools.hdd.datasets.media.recordsize", "no power of two"),
    Case("property-twice", pool("hdd", "datasets", "media", to={"quota": "1G", "properties": {"quota": "2G"}}), "hosts.yml", "pve.node.pools.hdd.datasets.media.properties.quota", "given twice"),
    Case("alerts-without-groups", lambda s: s.files.update({"films/alerts.yml": "rules: []\n"}), "catalog/films/alerts.yml", "groups", "list of groups"),
    # between two declarations of one service
    Case("volume-undeclared", films("volumes", "cache", to="/cache"), FILMS, "containers.films.volumes.cache", "no such volume", True),
    Case("secret-undeclared", films("secrets", to=["admin_pasword"]), FILMS, "containers.films.secrets", "Did you mean admin_password", True),
    Case("after-unknown", films("after", to=["database"]), FILMS, "containers.films.after", "no other container", True),
    Case("after-without-health", drop("photos", "containers", "database", "health", where="catalog"), PHOTOS, "containers.server.after", "no health check", True),
    Case("health-port", films("health", to={"http": "/", "port": "wob"}), FILMS, "containers.films.health.port", "Did you mean web", True),
    Case("port-name-twice", service("photos", "containers", "database", "ports", to={"web": 81}), PHOTOS, "containers.database.ports.web", "container server has a port of this name", True),
    Case("route-port", service("films", "route", "port", to="site"), FILMS, "route.port", "no port is named 'site'", True),
    Case("metrics-port", service("films", "metrics", to={"port": "figures"}), FILMS, "metrics.port", "no port is named 'figures'", True),
    Case("backup-volume", service("films", "backup", "volumes", "confg", to="daily"), FILMS, "backup.volumes.confg", "Did you mean config", True),
    Case("backup-container", service("photos", "backup", "databases", "main", "container", to="db"), PHOTOS, "backup.databases.main.container", "no container is named 'db'", True),
    Case("backup-volume", service("films", "backup", "databases", to={"main": {"kind": "sqlite", "volume": "confg", "file": "a.db"}}), FILMS, "backup.databases.main.volume", "Did you mean config", True, name="backup-volume-of-sqlite"),
    Case("backup-file", service("films", "backup", "databases", to={"main": {"kind": "sqlite", "volume": "config"}}), FILMS, "backup.databases.main.file", "Name it", True),
    Case("marker-volume", service("films", "setup_marker", to="data/.ready"), FILMS, "setup_marker", "no volume is named 'data'", True),
    Case("marker-without-role", drop("films", "configure", where="catalog"), FILMS, "setup_marker", "no role is named", True),
    Case("files-missing", lambda s: s.files.clear(), FILMS, "containers.films.files.etc", "templates/ has no such folder", True),
    Case("unknown-reference", films("environment", to={"A": "${tiemzone}"}), FILMS, "containers.films.environment.A", "Did you mean timezone", True),
    Case("folders-container", service("photos", "folders", "albums", "container", to="servr"), PHOTOS, "folders.albums.container", "Did you mean server", True),
    Case("folders-in-volume", service("films", "folders", to={"more": {"container": "films", "at": "/media/more"}}), FILMS, "folders.more.at", "the volume media at /media lie in each other", True),
    Case("bad-choice", service("photos", "folders", "albums", "keys", "owner", to="person"), PHOTOS, "folders.albums.keys.owner", "text, texts, flag, user|user", name="kind-of-folders-key"),
    # between files
    Case("wrong-type", put("site_services", "photos", "settings", to={"albums": "media/albums"}), SITE, "site_services.photos.settings.albums", "expected a list of folders, found text", True, name="folders-no-list"),
    Case("wrong-type", albums("media/albums"), SITE, "site_services.photos.settings.albums.0", "expected a mapping", True, name="folder-no-mapping"),
    Case("missing-key", albums({"name": "Family"}), SITE, "site_services.photos.settings.albums.0.storage", "Add it: Storage class and folder", True, name="folder-without-storage"),
    Case("unknown-key", albums({**ALBUM, "onwer": "x@example.org"}), SITE, "site_services.photos.settings.albums.0.onwer", "Did you mean owner", True, name="folder-unknown-key"),
    Case("bad-choice", albums({**ALBUM, "scan": "allways"}), SITE, "site_services.photos.settings.albums.0.scan", "Did you mean always", True, name="folder-choice"),
    Case("bad-choice", albums({**ALBUM, "backup": "yearly"}), SITE, "site_services.photos.settings.albums.0.backup", "'yearly' is not one of hourly, daily", True, name="folder-backup"),
    Case("bad-form", albums({**ALBUM, "storage": "media"}), SITE, "site_services.photos.settings.albums.0.storage", "a class and a folder as photos/albums", True, name="folder-is-a-class"),
    Case("bad-form", albums({**ALBUM, "storage": "media/../x"}), SITE, "site_services.photos.settings.albums.0.storage", "Write <class>/<folder>", True, name="folder-outside"),
    Case("unknown-class", albums({**ALBUM, "storage": "meda/albums"}), SITE, "site_services.photos.settings.albums.0.storage", "Did you mean media", True, name="folder-unknown-class"),
    Case("folder-name", albums({**ALBUM, "name": "???"}), SITE, "site_services.photos.settings.albums.0.name", "no letter or digit", True),
    Case("folder-twice", albums(ALBUM, {**ALBUM, "name": "family"}), SITE, "site_services.photos.settings.albums.1.name", "'family' and 'Family' would be the same", True),
    Case("unknown-user", albums({**ALBUM, "owner": "admn@example.org"}), SITE, "site_services.photos.settings.albums.0.owner", "Did you mean admin@example.org", True),
    Case("unknown-user", put("site_services", "photos", "settings", to={"albums": [{**ALBUM, "owner": "mum@x.org"}], "users": [{"email": "mum@x.org", "state": "absent"}]}), SITE, "site_services.photos.settings.albums.0.owner", "has no user mum@x.org", True, name="folder-of-a-deleted-user"),
    Case("folder-is-own", both(UPLOAD, albums({**ALBUM, "storage": "media/photos/upload"})), SITE, "site_services.photos.settings.albums.0.storage", "/mnt/media/photos, where photos keeps its own upload", True),
    Case("folder-is-own", both(service("photos", "settings", to={"albums": [{**ALBUM, "storage": "media/photos"}]}), UPLOAD), PHOTOS, "settings.albums.0.storage", "Choose a folder outside", True, name="folder-is-own-in-catalog"),
    Case("name-is-a-tag", lambda s: s.catalog.update(firewall=EXTRA), "catalog/firewall/service.yml", "", "also the tag of a concern", True),
    Case("service-twice", lambda s: s.own.update(films=EXTRA), FILMS, "", "my-films", True),
    Case("unknown-service", put("site_services", "flims", to={"hosts": ["back"]}), SITE, "site_services.flims", "Did you mean films", True),
    Case("unknown-host", put("site_services", "films", "hosts", to=["bakc"]), SITE, "site_services.films.hosts", "Did you mean back", True),
    Case("host-runs-nothing", put("site_services", "films", "hosts", to=["pve"]), SITE, "site_services.films.hosts", "pve is a Proxmox node", True),
    Case("unknown-container", put("site_services", "photos", "without", to=["lerning"]), SITE, "site_services.photos.without", "Did you mean learning", True),
    Case("after-left-out", put("site_services", "photos", "without", to=["database"]), SITE, "site_services.photos.without", "waits for database, which is left out", True),
    Case("unknown-port", put("site_services", "films", "ports", to={"wbe": 80}), SITE, "site_services.films.ports.wbe", "Did you mean web", True),
    Case("port-of-host-network", put("site_services", "gauge", "ports", to={"metrics": 9101}), SITE, "site_services.gauge.ports.metrics", "shares the host's network", True),
    Case("unknown-volume", put("site_services", "films", "volumes", to={"confg": {"class": "media"}}), SITE, "site_services.films.volumes.confg", "Did you mean config", True),
    Case("unknown-class", service("films", "volumes", "media", to="medias"), FILMS, "volumes.media", "Did you mean media", True),
    Case("provider-twice", both(lambda s: s.catalog.update(door={**EXTRA, "provides": "proxy"}), put("site_services", "door", to={"hosts": ["front"]})), SITE, "site_services.door", "both provide proxy", True),
    Case("provider-on-two-hosts", put("site_services", "watch", "hosts", to=["front", "back"]), SITE, "site_services.watch.hosts", "monitoring runs on 2 hosts", True),
    Case("zones-overlap", put("site_zones", "vpn", to=["192.168.1.128/25"]), SITE, "site_zones.vpn", "overlaps 192.168.1.0/24 of zone lan", True),
    Case("gateway-outside", put("site_network", "gateway", to="192.168.2.1"), SITE, "site_network.gateway", "none of the networks of zone lan", True),
    Case("gateway-unreachable", both(put("site_zones", "lan", to=["192.168.0.0/16", "fd00:1::/64"]), host("back", "ansible_host", to="192.168.7.101")), "hosts.yml", "back.ansible_host", "cannot reach the gateway", True),
    Case("address-outside", host("back", "ansible_host", to="192.168.7.101"), "hosts.yml", "back.ansible_host", "outside the zone lan", True),
    Case("address-twice", host("back", "ansible_host", to="192.168.1.111"), "hosts.yml", "back.ansible_host", "is the address of front too", True),
    Case("address-is-gateway", host("back", "ansible_host", to="192.168.1.1"), "hosts.yml", "back.ansible_host", "is the gateway's address", True),
    Case("pool-overlaps", put("site_network", "container_pool", to="192.168.0.0/16"), SITE, "site_network.container_pool", "overlaps 192.168.1.0/24 of zone lan", True),
    Case("unknown-profile", both(put("site_profiles", to={"media": ["films"]}), put("site_leave_out", to=["meda"])), SITE, "site_leave_out.0", "Did you mean media", True),
    Case("profile-of-nothing", put("site_profiles", to={"media": ["flims"]}), SITE, "site_profiles.media.0", "Did you mean films", True),
    Case("unknown-volume", put("site_services", "films", "backup", to={"meda": "daily"}), SITE, "site_services.films.backup.meda", "Did you mean media", True, name="unknown-volume-of-a-backup"),
    Case("tailnet-without-zone", both(service("tailnet", to={"summary": "Home", "provides": "tailnet", "system": {"role": "homelab.mediaserver.tailscale"}}), put("site_services", "tailnet", to={"hosts": ["front"]})), SITE, "site_zones", "would reach nothing", True),
    Case("unknown-zone", service("films", "reach", to=["lna", "edge"]), FILMS, "reach", "Did you mean lan", True),
    Case("mounts-overlap", put("site_storage", "media", "mount", to="/mnt/appdata/media"), SITE, "site_storage.media.mount", "lie in each other", True),
    Case("database-on-network-storage", put("site_storage", "database", to={"source": "ssd/appdata", "as": "nfs", "mount": "/mnt/database"}), SITE, "site_storage.database.as", "would lie on nfs.*accept the risk", True),
    Case("database-on-network-storage", both(cloudy, lambda s: s.catalog["films"]["backup"].update(databases={"own": {"kind": "sqlite", "volume": "media", "file": "a.db", "schedule": "daily"}})), SITE, "site_services.films.volumes.media", "SQLite database of films would lie on rclone", True, name="sqlite-on-rclone"),
    Case("data-on-sd-card", both(berry, put("site_storage", "appdata", to={"as": "local", "mount": "/mnt/appdata"})), SITE, "site_storage.appdata.as", "films.config writes there.*root_disk: ssd", True),
    Case("data-on-sd-card", both(berry, put("site_storage", "database", to={"as": "local", "mount": "/mnt/database", "source": "/srv/database"})), SITE, "site_storage.database.as", "class database of back lies on the SD card", True, name="database-on-sd-card"),
    Case("cache-on-sd-card", both(berry, cloudy, put("films", "containers", "films", "volumes", "media", to="/media", where="catalog")), SITE, "site_storage.media.cache_path", "waits at /var/cache/rclone", True),
    Case("no-image-for-platform", both(berry, put("films", "containers", "films", "platforms", to=["amd64"], where="catalog")), SITE, "site_services.films.hosts", "exists for amd64, not for arm64", True),
    Case("internet-on-raspberrypi", both(berry, put("films", "reach", to=["internet"], where="catalog")), FILMS, "containers.films.ports.web", "the tunnel brings its name", True),
    Case("database-on-network-storage", both(berry, cloudy, put("site_storage", "database", to={"source": "azure:database", "as": "rclone", "mount": "/mnt/database", "cache_path": "/mnt/appdata/cache"})), SITE, "site_storage.database.as", "photos.database would lie on rclone", True, name="postgresql-on-rclone"),
    Case("unknown-volume", put("site_services", "films", "backup", to={"medai": "never"}), SITE, "site_services.films.backup.medai", "Did you mean media", True, name="unknown-volume-of-backup"),
    Case("unknown-remote", both(cloudy, put("site_storage", "media", "source", to="azur:films")), SITE, "site_storage.media.source", "Did you mean azure", True),
    Case("unknown-remote", both(cloudy, put("site_rclone", "azure", "options", "remote", to="blob:films")), SITE, "site_rclone.azure.options", "no remote 'blob'", True, name="remote-on-nothing"),
    Case("rclone-source", both(cloudy, put("site_storage", "media", "source", to="/srv/films")), SITE, "site_storage.media.source", "Write it as azure:photos"),
    Case("rclone-google-photos", both(cloudy, put("site_rclone", "azure", "type", to="google photos")), SITE, "site_rclone.azure.type", "only what rclone itself uploaded", True),
    Case("rclone-secret-in-clear", both(cloudy, put("site_rclone", "azure", "options", "key", to="c2VjcmV0")), SITE, "site_rclone.azure.options.key", "azure_key"),
    Case("mount-option", both(cloudy, put("site_storage", "media", "options", to="--vfs-cache-mode=off")), SITE, "site_storage.media.options", "said by the role itself"),
    Case("mount-option", both(cloudy, put("site_storage", "media", "options", to="rw")), SITE, "site_storage.media.options", "is no option of `rclone mount`", name="no-option-of-rclone"),
    Case("mount-option", both(cloudy, put("site_storage", "media", "options", to="--webdav-pass=x1")), SITE, "site_storage.media.options", "looks like a secret", name="secret-as-option"),
    Case("mount-option", put("site_storage", "media", to={"source": "hdd/media", "as": "nfs", "mount": "/mnt/media", "options": "rw,soft"}), SITE, "site_storage.media.options", "with soft a write may be lost", name="soft-nfs"),
    Case("cache-without-rclone", put("site_storage", "media", "cache", to="5G"), SITE, "site_storage.media.cache", "as virtiofs it has no cache"),
    Case("cache-over-disk", both(cloudy, put("site_storage", "media", "cache", to="30G")), SITE, "site_storage.media.cache", "take 30G of its 40G", True),
    Case("rclone-of-two-users", both(cloudy, films("volumes", "media", to="/media"), service("photos", "volumes", "more", to={"class": "media"}), service("photos", "containers", "learning", "user", to="7:7"), service("photos", "containers", "learning", "volumes", to={"more": "/more"}), put("site_services", "photos", "with", to=["learning"])), SITE, "site_storage.media", "on back 1000:1000 and 7:7 would write", True),
    Case("nfs-without-server", both(put("box", to={"ansible_host": "192.168.1.120"}, where="hosts"), put("site_storage", "media", "as", to="nfs"), put("site_services", "films", "hosts", to=["box"])), SITE, "site_storage.media.server", "box is no guest", True),
    Case("nfs-to-itself", put("site_storage", "media", to={"source": "/srv", "as": "nfs", "mount": "/mnt/media", "server": "back"}), SITE, "site_storage.media.server", "from itself", True),
    Case("nfs-source", put("site_storage", "media", to={"source": "films", "as": "nfs", "mount": "/mnt/media", "server": "nas"}), SITE, "site_storage.media.source", "no path on the server"),
    Case("nfs-root-squashed", put("site_storage", "appdata", "as", to="nfs"), SITE, "site_storage.appdata.as", "works as root, whom NFS makes nobody", True),
    Case("folder-of-two-users", both(lambda s: s.catalog.update(extra={**EXTRA, "containers": {"extra": {"image": "docker.io/example/extra:1", "volumes": {"data": "/data"}}}, "volumes": {"data": {"class": "appdata", "folder": "films/config"}}}), put("site_services", "extra", to={"hosts": ["back"]})), "catalog/extra/service.yml", "volumes.data", "would belong to 1000:1000", True),
    Case("folder-in-folder", both(lambda s: s.catalog.update(extra={**EXTRA, "containers": {"extra": {"image": "docker.io/example/extra:1", "user": "1000:1000", "volumes": {"data": "/data"}}}, "volumes": {"data": {"class": "appdata", "folder": "films/config/extra"}}}), put("site_services", "extra", to={"hosts": ["back"]})), "catalog/extra/service.yml", "volumes.data", "lies inside", True),
    Case("port-taken", both(lambda s: s.catalog.update(extra=EXTRA), put("site_services", "extra", to={"hosts": ["back"]})), "catalog/extra/service.yml", "containers.extra.ports.web", "8096/tcp on back belongs to films", True),
    Case("port-taken", films("ports", to={"web": 22}), FILMS, "containers.films.ports.web", "belongs to SSH", True, name="port-of-ssh"),
    Case("database-published", service("photos", "containers", "database", "ports", to={"sql": {"port": 5432, "reach": ["lan"]}}), PHOTOS, "containers.database.ports.sql", "PostgreSQL of photos would be reachable from lan", True),
    Case("database-published", films("ports", to={"web": 8096, "cache": {"port": 6379, "reach": ["lan"]}}), FILMS, "containers.films.ports.cache", "Redis of films", True, name="redis-published"),
    Case("past-the-proxy", service("films", "reach", to=["internet", "edge"]), FILMS, "containers.films.ports.web", "past the proxy", True),
    Case("setup-in-public", both(service("films", "reach", to=["internet"]), drop("films", "route", where="catalog"), drop("films", "setup_marker", where="catalog")), FILMS, "containers.films.ports.web", "set up films before its owner", True),
    Case("container-name-shared", both(lambda s: s.catalog.update(other={**EXTRA, "containers": {"films": {"image": "docker.io/example/extra:1", "ports": {"web": 9999}}}, "metrics": {"port": "web"}}), put("site_services", "other", to={"hosts": ["back"]}), service("films", "metrics", to={"port": "web"})), "catalog/other/service.yml", "containers.films", "the name would lead to either", True),
    Case("route-without-proxy", drop("site_services", "proxy"), FILMS, "route", "no placed service is a proxy", True),
    Case("name-twice", put("site_services", "photos", "route", to={"name": "media"}), SITE, "site_services.photos.route.name", "media.example.org is the name of films", True),
    Case("internet-without-login", put("site_services", "films", "route", to={"login": "none"}), SITE, "site_services.films.route.login", "open to the Internet without login", True),
    Case("internet-without-login", both(service("photos", "route", "login", to="none"), service("photos", "route", "allow", to=["internet"])), PHOTOS, "route.login", "open to the Internet without login", True, name="internet-without-login-in-catalog"),
    Case("proxy-cannot-reach", both(service("films", "reach", to=["vpn"])), FILMS, "reach", "the proxy on front may not reach films", True),
    Case("forward-twice", put("site_services", "tunnel", "hosts", to=["front", "back"]), SITE, "site_services.tunnel.hosts", "to one machine", True),
    Case("forward-unneeded", put("site_router", "forwards", to=[{"protocol": "tcp", "port": 8096, "to": "192.168.1.101"}]), SITE, "site_router.forwards.0", "no service wants", True),
    Case("vmid-twice", host("back", "guest", "vmid", to=100), "hosts.yml", "back.guest.vmid", "number of front too", True),
    Case("unknown-node", host("back", "guest", "node", to="pev"), "hosts.yml", "back.guest.node", "Did you mean pve", True),
    Case("unknown-image", host("back", "guest", "image", to="debian-ful"), "hosts.yml", "back.guest.image", "Did you mean debian-full", True),
    Case("gpu-with-cloud-kernel", host("back", "guest", "image", to="debian"), "hosts.yml", "back.guest.image", "no GPU drivers.*Use debian-full", True),
    Case("gpu-twice", both(host("front", "guest", "gpu", to=True), host("front", "guest", "image", to="debian-full")), "hosts.yml", "back.guest.gpu", "goes to front already", True),
    Case("gpu-missing", both(films("gpu", to="required"), host("back", "guest", "gpu", to=False)), "hosts.yml", "back.guest.gpu", "films needs a GPU", True),
    Case("node-without-gpu", drop("pve", "node", "gpu", where="hosts"), "hosts.yml", "back.guest.gpu", "node pve has no `gpu`", True),
    Case("unknown-pool", put("site_storage", "media", "source", to="hddd/media"), SITE, "site_storage.media.source", "Did you mean hdd", True),
    Case("unknown-dataset", put("site_storage", "media", "source", to="hdd/meda"), SITE, "site_storage.media.source", "Did you mean media", True),
    Case("guest-storage-on-machine", drop("back", "guest", where="hosts"), SITE, "site_storage.appdata.as", "back is no guest", True),
    Case("memory-over-node", both(host("front", "guest", "memory", to="4G"), host("back", "guest", "memory", to="12G")), "hosts.yml", "pve.node.memory", "front 4G and back 12G.* want 16G.*13G are left.*Give back at most 9G", True),
    Case("cores-over-node", host("back", "guest", "cores", to=8), "hosts.yml", "back.guest.cores", "pve has 4", True),
    Case("disks-over-storage", host("back", "guest", "disk", to="60G"), "hosts.yml", "pve.node.disk_storage_size", "want 80G", True),
    Case("datasets-over-pool", host("pve", "node", "pools", "ssd", "datasets", "appdata", to="140G"), "hosts.yml", "pve.node.pools.ssd.size", "are 160G, the pool has 150G", True),
    Case("disk-over-dataset", both(host("pve", "node", "pools", "ssd", "datasets", "db", to="10G"), put("site_storage", "database", "source", to="ssd/db")), SITE, "site_storage.database.size", "does not fit", True),
    Case("device-twice", pool("old", "vdevs", to=[devices("ata-A")]), "hosts.yml", "pve.node.pools.old.vdevs.0.devices.0", "in pool hdd already", True, name="device-in-two-pools"),
    Case("device-twice", pool("old", "vdevs", to=[devices("ata-A-part2")]), "hosts.yml", "pve.node.pools.old.vdevs.0.devices.0", "ata-A in pool hdd is on it", True, name="disk-and-its-partition"),
    Case("only-for-zfs", pool("hdd", "kind", to="directory"), "hosts.yml", "pve.node.pools.hdd.vdevs", "plain directory", True),
    Case("only-for-zfs", both(pool("hdd", "kind", to="directory"), pool("hdd", "vdevs", to=[])), "hosts.yml", "pve.node.pools.hdd.datasets.media", "plain directory", True, name="snapshots-of-a-directory"),
    Case("dataset-without-parent", pool("hdd", "datasets", "photos/thumbs", to={}), "hosts.yml", "pve.node.pools.hdd.datasets.photos/thumbs", "parent hdd/photos is not listed", True),
    Case("unknown-snapshot-policy", pool("hdd", "datasets", "media", to={"snapshots": "breif"}), "hosts.yml", "pve.node.pools.hdd.datasets.media.snapshots", "Did you mean brief", True),
    Case("unknown-snapshot-policy", pool("ssd", "snapshots", to="standart"), "hosts.yml", "pve.node.pools.ssd.snapshots", "Did you mean standard", True, name="unknown-snapshot-policy-of-pool"),
    Case("services-over-host", films("memory", to="9G"), "hosts.yml", "back.guest.memory", "the containers on back", True),
    Case("repository-class", put("site_backup", to={"repositories": {"local": {"class": "backup"}}}), SITE, "site_backup.repositories.local.class", "Did you mean backups|no storage class", True),
    Case("repository-key", put("site_backup", to={"repositories": {"local": {"class": "backups", "append_only": True}}}), SITE, f"{REPOSITORY}.local.append_only", "say url instead of class", True),
    Case("repository-url", offsite(url="ftp://host/backups"), SITE, f"{REPOSITORY}.offsite.url", "Begin it with s3:, azure:, b2:, sftp:, rest: or rclone:"),
    Case("repository-url", offsite(url="/mnt/usb"), SITE, f"{REPOSITORY}.offsite.url", "Say class and folder", name="repository-url-of-a-disk"),
    Case("repository-url", offsite(url="s3:bucket"), SITE, f"{REPOSITORY}.offsite.url", "no address of S3. Write it as s3:https", name="repository-url-of-s3"),
    Case("repository-url-secret", offsite(url="rest:https://me:hunter2@host/me/"), SITE, f"{REPOSITORY}.offsite.url", "^(?!.*hunter2).*the address holds a password.*Leave user and password out"),
    Case("repository-credentials", offsite(credentials={"AWS_ACCESS_KEY_ID": "offsite.id"}), SITE, f"{REPOSITORY}.offsite.credentials", "S3 wants AWS_SECRET_ACCESS_KEY. Name the secret"),
    Case("repository-credentials", offsite(url="azure:box:/", credentials={"AZURE_ACCOUNT_NAME": "offsite.name"}), SITE, f"{REPOSITORY}.offsite.credentials", "wants AZURE_ACCOUNT_KEY or AZURE_ACCOUNT_SAS", name="repository-credentials-of-azure"),
    Case("bad-name", offsite(credentials={"LD_PRELOAD": "offsite.id"}), SITE, f"{REPOSITORY}.offsite.credentials.LD_PRELOAD", "environment variable of restic's backends", name="foreign-variable"),
    Case("repository-known-host", offsite(url="sftp:me@box.example.org:/backups"), SITE, f"{REPOSITORY}.offsite.known_host", "ssh-keyscan -t ed25519 box.example.org"),
    Case("repository-append-only", offsite(url="sftp:me@box.example.org:/backups", append_only=True), SITE, f"{REPOSITORY}.offsite.append_only", "Use a REST server"),
    Case("repository-prune", offsite(prune={"credentials": {}}), SITE, f"{REPOSITORY}.offsite.prune", "Say append_only: true"),
    Case("repository-prune", offsite(append_only=True, prune={"credentials": {"AWS_ACCESS_KEY_ID": "offsite.aws_access_key_id", "AWS_SECRET_ACCESS_KEY": "offsite.aws_secret_access_key"}}), SITE, f"{REPOSITORY}.offsite.prune.credentials", "credentials that the hosts have. Make others", name="prune-with-the-hosts-credentials"),
    Case("secret-missing", offsite(), SITE, "site_secrets.offsite.aws_access_key_id", "AWS_ACCESS_KEY_ID of S3 for repository offsite", True, name="secret-missing-of-a-repository"),
    Case("objective-too-short", put("site_backup", to={"objectives": {"services": {"films": {"rpo": "5m"}}}}), SITE, "site_backup.objectives.services.films.rpo", "each hour at most, not each 5m. Say 1h"),
    Case("objective-of-nothing", put("site_backup", to={"objectives": {"services": {"fillms": {"rpo": "1d"}}}}), SITE, "site_backup.objectives.services.fillms", "Did you mean films", True),
    Case("bad-form", put("site_backup", to={"objectives": {"rto": "4 hours"}}), SITE, "site_backup.objectives.rto", "a duration as 30m, 4h or 2d", name="objective-form"),
    Case("backup-guest", host("pve", "node", "backup", to={"storage": "pbs", "exclude": ["bakc"]}), "hosts.yml", "pve.node.backup.exclude.0", "Did you mean back", True),
    Case("replication-pool", replication("hdd/media", "hhd/copy"), "hosts.yml", f"{REPLICATION}.target", "no pool 'hhd'. Did you mean hdd", True),
    Case("replication-same-pool", replication("hdd/media", "hdd/copy"), "hosts.yml", f"{REPLICATION}.target", "one broken pool takes both"),
    Case("replication-elsewhere", replication("root@a:p/x", "root@b:p/x"), "hosts.yml", f"{REPLICATION}.target", "neither side is on this node"),
    Case("replication-without-snapshots", replication("ssd/appdata", "old/copy"), "hosts.yml", f"{REPLICATION}.source", "Give it a policy: pools.ssd.datasets.appdata.snapshots", True),
    Case("secret-missing", host("pve", "node", "backup", to={"storage": "pbs", "server": {"host": "192.168.1.9", "datastore": "home"}}), SITE, "site_secrets.pve.backup_server_password", "Proxmox Backup Server", True, name="secret-missing-of-a-backup-server"),
    Case("dump-class", dump_all(**{"class": "bakups"}), SITE, "site_backup.dumps.all.class", "Did you mean backups", True),
    Case("dump-service", dump_all(service="films"), SITE, "site_backup.dumps.all.service", "no placed service 'films' has a PostgreSQL", True),
    Case("dump-database", dump_all(database="mian"), SITE, "site_backup.dumps.all.database", "Did you mean main", True),
    Case("backup-volume", service("films", "backup", "exclude", to={"confg": ["x"]}), FILMS, "backup.exclude.confg", "Did you mean config", True, name="backup-volume-of-exclude"),
    Case("ingest-google-photos", ingest(remote="google"), SITE, f"{FETCH}.remote", "OneDrive, Google Drive or Dropbox.*Takeout and immich-go", True),
    Case("ingest-copied-and-moved", ingest(copy=["photos", "videos"]), SITE, f"{FETCH}.move", "videos are copied and moved"),
    Case("ingest-nothing", ingest(copy=[], move=[]), SITE, FETCH, "it fetches nothing"),
    Case("unknown-class", ingest(**{"class": "medai"}), SITE, f"{FETCH}.class", "Did you mean media", True, name="unknown-class-of-ingest"),
    Case("ingest-target", both(put("site_storage", "cloud", to={"source": "x:", "as": "rclone", "mount": "/mnt/cloud"}), ingest(**{"class": "cloud"})), SITE, f"{FETCH}.class", "is a cloud itself", True),
    Case("ingest-move-without-backup", ingest(folder="elsewhere"), SITE, f"{FETCH}.move", "no backup of back holds /mnt/media/elsewhere", True),
    Case("ingest-move-without-backup", both(put("site_services", "saver", "hosts", to=["front"]), ingest()), SITE, f"{FETCH}.move", "Place restic on back", True, name="ingest-without-restic"),
    Case("ingest-copies", ingest(copies=2), SITE, f"{FETCH}.copies", "there are 1", True),
    Case("ingest-on-two-hosts", ingest("front", "back"), SITE, "site_services.fetcher.hosts", "delete them for each other", True),
    Case("unknown-key", ingest(mov=["videos"]), SITE, f"{FETCH}.mov", "Did you mean move", name="unknown-key-of-ingest"),
    Case("bad-choice", ingest(move=["video"]), SITE, f"{FETCH}.move.0", "Did you mean videos", name="bad-choice-of-ingest"),
    Case("internet-on-private-host", both(service("films", "reach", to=["internet"]), drop("films", "route", where="catalog")), FILMS, "containers.films.ports.web", "on back, a private host", True),
    Case("internet-beside-the-proxy", both(service("films", "reach", to=["internet"]), drop("films", "route", where="catalog"), lambda s: s.groups.update(back=["single"])), FILMS, "containers.films.ports.web", "on back, which holds everything", True),
    Case("private-data-on-edge", put("site_services", "films", "hosts", to=["front"]), SITE, "site_services.films.hosts", "films keeps media on front, which the Internet reaches", True),
    Case("tunnel-without-cloudflare", through_cloudflare(site_cloudflare=None), SITE, "site_services.cloud", "nothing says for whom.*allow: \\[you@example.org\\]", True),
    Case("cloudflare-without-tunnel", put("site_cloudflare", to={"allow": ["mum@example.org"]}), SITE, "site_cloudflare", "no placed service is a tunnel.*Place cloudflared", True),
    Case("domain-outside-zone", through_cloudflare(zone="example.com"), SITE, "site_cloudflare.zone", "example.org, which is not in zone example.com", True),
    Case("tunnel-for-nobody", through_cloudflare(allow=[]), SITE, "site_cloudflare.allow", "nobody may log in, so films could not be used", True),
    Case("not-published", through_cloudflare(open=["photos"]), SITE, "site_cloudflare.open.0", "publishes no service 'photos'", True),
    Case("not-published", through_cloudflare(service_tokens={"phones": ["flims"]}), SITE, "site_cloudflare.service_tokens.phones.0", "Did you mean films", True, name="token-not-published"),
    Case("open-without-login", both(through_cloudflare(open=["films"]), put("site_services", "films", "route", to={"login": "proxy"})), SITE, "site_cloudflare.open.0", "asks for no login itself.*Cloudflare Access then asks", True),
    Case("token-for-open", through_cloudflare(open=["films"], service_tokens={"phones": ["films"]}), SITE, "site_cloudflare.service_tokens.phones.0", "open to everybody already", True),
    Case("record-of-tunnel", through_cloudflare(records=[{"name": "media.example.org", "type": "A", "content": "198.51.100.7"}]), SITE, "site_cloudflare.records.0.name", "leads into the tunnel already", True),
    Case("record-outside-zone", through_cloudflare(records=[{"name": "office.example.com", "type": "A", "content": "198.51.100.7"}]), SITE, "site_cloudflare.records.0.name", "Write the whole name, as office.example.org", True),
    Case("bad-form", through_cloudflare(allow=["mum"]), SITE, "site_cloudflare.allow.0", "an e-mail address", name="nobody-in-allow"),
    Case("proxy-cannot-reach", both(through_cloudflare(), drop("site_services", "proxy"), service("films", "reach", to=["vpn"])), FILMS, "reach", "the tunnel on front may not reach films", True, name="tunnel-cannot-reach"),
    Case("secret-missing", both(through_cloudflare(), drop("site_secrets", "cloudflare.api_token")), SITE, "site_secrets.cloudflare.api_token", "Cloudflare needs a secret.*docs/guides/cloudflare.md", True, name="no-token-of-cloudflare"),
    Case("secret-missing", drop("site_secrets", "tunnel.account"), SITE, "site_secrets.tunnel.account", "only the owner has \\(from the provider\\)", True),
    Case("unknown-secret", put("site_secrets", "tunnel.acount", to=True), SITE, "site_secrets.tunnel.acount", "Did you mean tunnel.account", True),
]  # fmt: skip


@pytest.fixture
def with_bytes(sample: Any) -> Any:
    def write_bytes(name: str, data: bytes) -> None:
        path = sample.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    sample.write_bytes = write_bytes
    return sample


@pytest.mark.parametrize("case", CASES, ids=[case.id for case in CASES])
def test_mistake_is_told(with_bytes: Any, case: Case) -> None:
    case.change(with_bytes)
    found = [problem for problem in with_bytes.plan().problems.found if problem.kind == case.kind]
    assert found, f"nothing of kind {case.kind} was reported"
    places = [(problem.where.file, problem.where.key) for problem in found]
    assert (case.file, case.key) in places
    problem = found[places.index((case.file, case.key))]
    assert re.search(case.words, problem.text()), problem.text()
    assert problem.reason and problem.remedy
    assert problem.text() == f"{case.file}: {case.key + ': ' if case.key else ''}{problem.reason}. {problem.remedy}."


def test_there_are_enough_and_each_has_its_test() -> None:
    folder = Path(next(iter(plugin_utils.__path__)))
    told = set()
    for path in folder.glob("*.py"):
        told |= set(re.findall(r"\bproblems\.add\(\s*\"([a-z0-9-]+)\"", path.read_text(encoding="utf-8")))
    tested = {case.kind for case in CASES}
    elsewhere = Path(__file__).with_name("test_plan_windows.py").read_text(encoding="utf-8")  # its table MISTAKES
    assert {kind for kind in told - tested if f'"{kind}", "' not in elsewhere} == set()
    assert len(tested) >= 50
    assert len({case.kind for case in CASES if case.between}) >= 25
    assert len({case.id for case in CASES}) == len(CASES)


def test_all_mistakes_at_once(sample: Any) -> None:
    put("site_email", to="nobody")(sample)
    host("back", "guest", "cores", to=8)(sample)
    films("image", to="docker.io/example/films:latest")(sample)
    kinds = {problem.kind for problem in sample.plan().problems.found}
    assert {"bad-form", "cores-over-node", "floating-tag"} <= kinds


def leaves(tree: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path] if path else []
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in items:
        found += leaves(value, (*path, key))
    return found


@pytest.mark.parametrize("value", [None, 7, "x y/..", [None], {"a": None}], ids=str)
def test_wrong_values_anywhere_are_no_traceback(make_sample: Any, value: Any) -> None:
    sample = make_sample()
    for where in ("site", "hosts", "catalog"):
        tree = getattr(sample, where)
        for path in leaves(tree):
            target = tree
            for key in path[:-1]:
                target = target[key]
            before = target[path[-1]]
            target[path[-1]] = value
            sample.plan()
            target[path[-1]] = before
