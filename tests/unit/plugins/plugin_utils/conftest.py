"""A small valid site and its catalog, and a way to change and plan it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.homelab.mediaserver.plugins.plugin_utils import build

CATALOG: dict[str, Any] = {
    "proxy": {
        "summary": "The door",
        "provides": "proxy",
        "containers": {
            "proxy": {
                "image": "docker.io/example/proxy:1.0",
                "fixed_user": True,
                "ports": {
                    "https": {"port": 443, "reach": ["internet", "lan"]},
                    "admin": {"port": 81, "reach": ["lan"]},
                },
                "volumes": {"data": "/data"},
                "memory": "256M",
            }
        },
        "volumes": {"data": {"class": "appdata"}},
        "secrets": {"admin_password": {"length": 32}},
        "configure": "homelab.mediaserver.npm",
        "setup_marker": "data/.ready",
    },
    "films": {
        "summary": "Films",
        "containers": {
            "films": {
                "image": "docker.io/example/films:2.1",
                "user": "1000:1000",
                "environment": {"TZ": "${timezone}", "URL": "${url}", "PRICE": "5$"},
                "ports": {"web": 8096},
                "volumes": {"config": "/config", "media": {"at": "/media", "read_only": True}},
                "files": {"etc": "/etc/films"},
                "gpu": "optional",
                "health": {"http": "/health", "port": "web"},
                "memory": "2G",
            }
        },
        "volumes": {"config": {"class": "appdata"}, "media": {"class": "media", "folder": "library"}},
        "secrets": {"admin_password": {}},
        "settings": {"where": "${zone.lan}", "list": [1, 2]},
        "route": {"name": "media", "port": "web", "login": "application", "allow": ["internet"]},
        "reach": ["lan", "edge"],
        "backup": {"volumes": {"config": "daily", "media": "monthly"}},
        "configure": "homelab.mediaserver.jellyfin",
        "setup_marker": "config/.ready",
        "tile": {"group": "Media", "icon": "films"},
    },
    "photos": {
        "summary": "Photos",
        "containers": {
            "server": {
                "image": "ghcr.io/example/photos:v3",
                "user": "1000:1000",
                "ports": {"web": 2283},
                "secrets": ["db_password"],
                "after": ["database"],
                "health": {"image": True},
                "memory": "1G",
            },
            "database": {
                "image": "ghcr.io/example/postgres:14",
                "user": "999:999",
                "fixed_user": True,
                "volumes": {"database": "/var/lib/postgresql/data"},
                "secrets": ["db_password"],
                "health": {"image": True},
                "memory": "1G",
            },
            "learning": {"image": "ghcr.io/example/learning:v3", "memory": "3G", "optional": True},
        },
        "volumes": {"database": {"class": "database"}},
        "folders": {
            "albums": {
                "container": "server",
                "at": "/mnt/albums",
                "backup": "weekly",
                "keys": {"owner": "user", "exclude": "texts"},
                "choices": {"scan": ["never", "always"]},
            }
        },
        "secrets": {"db_password": {"length": 32}},
        "route": {"name": "photos", "port": "web", "allow": ["lan"]},
        "reach": ["lan", "edge"],
        "backup": {
            "databases": {"main": {"container": "database", "kind": "postgresql", "name": "photos", "user": "postgres"}}
        },
    },
    "watch": {
        "summary": "Measures",
        "provides": "monitoring",
        "containers": {"watch": {"image": "docker.io/example/watch:v3", "ports": {"web": 9090}, "memory": "256M"}},
        "reach": ["edge"],
        "metrics": {"port": "web"},
    },
    "gauge": {
        "summary": "Tells how a host does",
        "containers": {
            "gauge": {
                "image": "docker.io/example/gauge:v1",
                "ports": {"metrics": 9100},
                "host_network": True,
                "memory": "64M",
            }
        },
        "reach": ["monitoring"],
        "metrics": {"port": "metrics"},
    },
    "meter": {
        "summary": "Tells how containers do",
        "containers": {"meter": {"image": "docker.io/example/meter:v1", "ports": {"metrics": 8080}, "memory": "64M"}},
        "reach": ["monitoring"],
        "metrics": {"port": "metrics"},
    },
    "tunnel": {
        "summary": "Brings devices home",
        "system": {
            "role": "homelab.mediaserver.openvpn",
            "unit": "openvpn-server@server.service",
            "ports": {"vpn": {"port": 1194, "protocol": "udp", "reach": ["internet", "lan"]}},
        },
        "secrets": {"account": {"ask": True, "help": "from the provider"}},
        "backup": {"paths": {"pki": {"path": "/etc/openvpn", "schedule": "daily"}}},
    },
    "fetcher": {
        "summary": "Brings photos home",
        "provides": "ingest",
        "system": {"role": "homelab.mediaserver.ingest", "unit": "mediaserver-ingest.timer"},
        "settings": {"remotes": {"drive": "drive"}},
    },
    "saver": {
        "summary": "Backups",
        "provides": "backup",
        "system": {"role": "homelab.mediaserver.backup", "unit": "mediaserver-backup.timer"},
        "secrets": {"password": {"length": 48}},
    },
}

SITE: dict[str, Any] = {
    "site_name": "home",
    "site_domain": "example.org",
    "site_email": "admin@example.org",
    "site_timezone": "Europe/Paris",
    "site_admin": {"user": "ops", "ssh_keys": ["ssh-ed25519 AAAA ops"]},
    "site_zones": {"lan": ["192.168.1.0/24", "fd00:1::/64"], "vpn": ["10.8.0.0/24"]},
    "site_network": {"gateway": "192.168.1.1", "gateway6": "fd00:1::1", "nameservers": ["192.168.1.1"]},
    "site_services": {
        "proxy": {"hosts": ["front"]},
        "tunnel": {"hosts": ["front"]},
        "films": {"hosts": ["back"]},
        "photos": {"hosts": ["back"]},
        "watch": {"hosts": ["back"]},
        "gauge": {"hosts": ["front", "back"]},
        "meter": {"hosts": ["front", "back"]},
        "saver": {"hosts": ["front", "back"]},
    },
    "site_storage": {
        "appdata": {"source": "ssd/appdata", "as": "virtiofs", "mount": "/mnt/appdata"},
        "database": {"source": "ssd", "as": "disk", "size": "20G", "mount": "/mnt/database"},
        "media": {"source": "hdd/media", "as": "virtiofs", "mount": "/mnt/media"},
        "backups": {"source": "old/backups", "as": "virtiofs", "mount": "/mnt/backups"},
    },
    "site_router": {"public_address": "198.18.77.2"},
    "site_accept": ["backup-without-off-site", "storage-shared-with-edge"],
    "site_secrets": {"tunnel.account": True, "pve.api_token_secret": True},
}

HOSTS: dict[str, Any] = {
    "pve": {
        "ansible_host": "192.168.1.100",
        "node": {
            "name": "pve",
            "cores": 4,
            "memory": "16G",
            "reserved_memory": "2G",
            "arc_max": "1G",
            "gpu": {"address": "0000:00:02.0", "mapping": "igpu"},
            "api": {"host": "192.168.1.100", "user": "automation@pve", "token_id": "mediaserver"},
            "disk_storage_size": "60G",
            "images": {
                "debian": {"url": "https://example.org/d.qcow2", "file": "d.qcow2"},
                "debian-full": {"url": "https://example.org/f.qcow2", "file": "f.qcow2"},
            },
            "pools": {
                "ssd": {"path": "/ssd", "size": "150G", "datasets": {"appdata": "30G"}},
                "hdd": {
                    "path": "/hdd",
                    "size": "450G",
                    "vdevs": [{"type": "mirror", "devices": ["/dev/disk/by-id/ata-A", "/dev/disk/by-id/ata-B"]}],
                    "datasets": {"media": {"quota": "100G", "snapshots": "brief"}},
                },
                "old": {"path": "/old", "size": "300G", "datasets": {"backups": "280G"}},
            },
        },
    },
    "front": {
        "ansible_host": "192.168.1.111",
        "address6": "fd00:1::111",
        "guest": {"node": "pve", "vmid": 100, "cores": 2, "memory": "3G", "disk": "20G", "image": "debian",
                  "start_order": 1},
    },
    "back": {
        "ansible_host": "192.168.1.101",
        "guest": {"node": "pve", "vmid": 101, "cores": 3, "memory": "10G", "disk": "40G", "image": "debian-full",
                  "gpu": True, "start_order": 2},
    },
    "outsider": {"ansible_host": "198.18.77.50", "prober_zone": "internet"},
}  # fmt: skip


class Sample:
    """The site, to be changed by a test and then planned."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.site = copy.deepcopy(SITE)
        self.hosts = copy.deepcopy(HOSTS)
        self.catalog = copy.deepcopy(CATALOG)
        self.own: dict[str, Any] = {}
        self.groups: dict[str, list[str]] = {"front": ["extranet"], "back": ["intranet"]}
        self.written: dict[str, str] = {}
        self.files: dict[str, str] = {
            "films/templates/etc/films.conf": "plain\n",
            "films/templates/etc/films.ini.j2": "where = {{ settings.where }}\n",
        }

    def plan(self) -> build.Result:
        for root, services in (("catalog", self.catalog), ("own", self.own)):
            for name, body in services.items():
                self.write(
                    f"{root}/{name}/service.yml",
                    body if isinstance(body, str) else yaml.safe_dump(body, sort_keys=False),
                )
            (self.folder / root).mkdir(exist_ok=True)
        for name, text in self.files.items():
            self.write(f"catalog/{name}", text)
        hosts = {
            name: {"file": "hosts.yml", "groups": self.groups.get(name, []), "vars": body}
            for name, body in self.hosts.items()
        }
        catalogs = [(self.folder / "catalog", False), (self.folder / "own", True)]
        return build.build(build.Inputs(values=self.site, hosts=hosts, catalogs=catalogs))

    def write(self, name: str, text: str) -> None:
        path = self.folder / name
        if self.written.get(name) != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            self.written[name] = text


@pytest.fixture
def sample(tmp_path: Path) -> Sample:
    return Sample(tmp_path)


@pytest.fixture(scope="session")
def make_sample(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Sample]:
    return lambda: Sample(tmp_path_factory.mktemp("site"))
