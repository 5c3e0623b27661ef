# SPDX-License-Identifier: MIT
"""A set-up made by hand, as reference system 1 had it, on a machine of the lab, out of the lab's stand-ins.

The database is real: PostgreSQL 17, so the copy of the catalog that is used says 17 where the real one says 14. The
servers are stand-ins; the old Immich is one that behaves like 1.144.1, its database carries an extension `vectors` that
is a name without code.
"""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
LAB = ["python3", str(ROOT / "tests/lab/lab.py")]
PLANTED = {
    "db": "planted-database-password",
    "grafana": "planted-grafana-password",
    "restic": "planted-restic-password",
    "ddclient": "planted-ddclient-password",
}
STANDINS = {
    "jellyfin": ["jellyfin/jellyfin:latest", "jellyfin/jellyfin:10.11.11"],
    "nginx-proxy-manager": ["jc21/nginx-proxy-manager:latest", "jc21/nginx-proxy-manager:2.15.1"],
    "grafana": ["grafana/grafana:latest", "grafana/grafana:12.2.0"],
    "prometheus": ["prom/prometheus:latest", "prom/prometheus:v3.14.0"],
    "valkey": ["redis:6.2-alpine", "valkey/valkey:9"],
    "immich-server": ["ghcr.io/immich-app/immich-server:v3.1.0"],
    "immich-postgres": [],
}
MADE = {
    "ghcr.io/immich-app/immich-server:release": ("immich-server", "ENV LAB_TEST_VERSION=1\n"),
    "ghcr.io/immich-app/immich-server:v2.7.5": ("immich-server", "ENV LAB_TEST_VERSION=2\n"),
    "tensorchord/pgvecto-rs:pg17-v0.2.0": ("immich-postgres", "COPY vectors* /usr/share/postgresql/17/extension/\n"),
    "ghcr.io/immich-app/postgres:17-vectorchord0.4.3-pgvectors0.2.0": (
        "immich-postgres",
        "COPY vectors* /usr/share/postgresql/17/extension/\n",
    ),
    "lab/crash:1": ("jellyfin", 'ENTRYPOINT ["sh", "-c", "echo broken > /config/half-migrated; exit 3"]\n'),
}
INTRANET: dict[str, dict[str, Any]] = {
    "jellyfin": {
        "image": "jellyfin/jellyfin:latest",
        "container_name": "jellyfin",
        "ports": ["8096:8096"],
        "volumes": [
            "/mnt/appdata/jellyfin/config:/config",
            "/mnt/appdata/jellyfin/cache:/cache",
            "/mnt/media:/media:ro",
        ],
    },
    "immich-server": {
        "image": "ghcr.io/immich-app/immich-server:release",
        "ports": ["2283:2283"],
        "environment": {
            "DB_HOSTNAME": "database",
            "DB_USERNAME": "postgres",
            "DB_PASSWORD": PLANTED["db"],
            "DB_DATABASE_NAME": "immich",
            "REDIS_HOSTNAME": "redis",
        },
        "volumes": ["/mnt/photos:/usr/src/app/upload", "/etc/localtime:/etc/localtime:ro"],
        "depends_on": {"database": {"condition": "service_healthy"}, "redis": {"condition": "service_started"}},
    },
    "immich-microservices": {
        "image": "ghcr.io/immich-app/immich-server:release",
        "entrypoint": ["sh", "-c", "exec sleep infinity # start.sh microservices"],
        "stop_signal": "SIGKILL",
        "healthcheck": {"disable": True},
    },
    "redis": {"image": "redis:6.2-alpine"},
    "database": {
        "image": "tensorchord/pgvecto-rs:pg17-v0.2.0",
        "environment": {
            "POSTGRES_USER": "postgres",
            "POSTGRES_DB": "immich",
            "POSTGRES_PASSWORD": PLANTED["db"],
            "POSTGRES_INITDB_ARGS": "--data-checksums",
        },
        "ports": ["5432:5432"],
        "volumes": ["/mnt/postgres:/var/lib/postgresql/data"],
        "healthcheck": {"interval": "1s", "test": ["CMD", "/usr/local/bin/healthcheck.sh"]},
    },
    "prometheus": {
        "image": "prom/prometheus:latest",
        "ports": ["9090:9090"],
        "volumes": ["/mnt/appdata/prometheus:/prometheus", "./prometheus.yml:/etc/prometheus/prometheus.yml:ro"],
    },
    "grafana": {
        "image": "grafana/grafana:latest",
        "ports": ["3000:3000"],
        "environment": {"GF_SECURITY_ADMIN_PASSWORD": PLANTED["grafana"]},
        "volumes": ["/mnt/appdata/grafana:/var/lib/grafana"],
    },
}
EXTRANET: dict[str, dict[str, Any]] = {
    "npm": {
        "image": "jc21/nginx-proxy-manager:latest",
        "ports": ["80:80", "443:443", "81:81"],
        "volumes": ["/mnt/appdata/npm/data:/data", "/mnt/appdata/npm/letsencrypt:/etc/letsencrypt"],
    },
    "watcher": {
        "image": "lab/crash:1",
        "stop_signal": "SIGKILL",
        "entrypoint": ["sleep", "infinity"],
        "healthcheck": {"disable": True},
    },
}


def project(services: dict[str, dict[str, Any]]) -> str:
    return yaml.safe_dump({"services": {name: {"restart": "always", **body} for name, body in services.items()}})


class Machine:
    """The machine that has the old set-up; ``name`` as `lab.py machine up` knows it."""

    def __init__(self, name: str, work: Path) -> None:
        self.name, self.work = name, work
        self.container = f"mediaserver-lab-test-{name}"

    def up(self) -> None:
        file = self.work / "machine.yml"
        argv = [*LAB, "machine", "up", self.name, "--image", "prepared", "--disk", "2G", "--inventory", str(file)]
        subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)
        inventory = yaml.safe_load(file.read_text())
        hosts = inventory["all"].get("hosts") or next(iter(inventory["all"]["children"].values()))["hosts"]
        self.variables = {**(inventory["all"].get("vars") or {}), **hosts[self.name]}

    def down(self) -> None:
        subprocess.run([*LAB, "machine", "down", self.name], check=False, stdout=subprocess.DEVNULL)

    def run(self, script: str, check: bool = True) -> str:
        argv = ["docker", "exec", "--interactive", self.container, "bash", "-euo", "pipefail", "-c", script]
        done = subprocess.run(argv, check=False, capture_output=True, text=True)
        if check and done.returncode:
            raise SystemExit(f"on the machine: {script[:200]}: {done.stderr[-2000:]}")
        return done.stdout

    def put(self, path: str, text: str) -> None:
        argv = [
            "docker",
            "exec",
            "--interactive",
            self.container,
            "sh",
            "-c",
            f"mkdir -p $(dirname {path}); cat > {path}",
        ]
        subprocess.run(argv, check=True, input=text, text=True)

    def images(self) -> None:
        """The stand-ins as the host has them, and what is made of them, under the names of the real images."""
        listed = subprocess.run(
            ["docker", "images", "--format", "{{.Repository}}:{{.Tag}}", "mediaserver-lab/standin-*"],
            check=True, capture_output=True, text=True,
        ).stdout.split()  # fmt: skip
        newest = {
            name: next(one for one in listed if one.startswith(f"mediaserver-lab/standin-{name}:")) for name in STANDINS
        }
        saved = " ".join(newest.values())
        pipe = f"docker save {saved} | docker exec --interactive {self.container} docker load --quiet"
        subprocess.run(["bash", "-o", "pipefail", "-c", pipe], check=True, stdout=subprocess.DEVNULL)
        for name, tags in STANDINS.items():
            for tag in tags:
                self.run(f"docker tag {newest[name]} {tag}")
        self.put(
            "/build/vectors.control", "comment = 'stand-in: empty'\ndefault_version = '0.2.0'\nrelocatable = true\n"
        )
        self.put("/build/vectors--0.2.0.sql", "-- stand-in for pgvecto.rs: a name without code\n")
        for tag, (base, lines) in MADE.items():
            self.put("/build/Dockerfile", f"FROM {newest[base]}\n{lines}")
            self.run(f"cd /build && DOCKER_BUILDKIT=0 docker build --quiet --tag {tag} .")

    def old(self) -> None:
        """Disks and folders, the compose files, data, and everything running."""
        self.run(
            "disk=/dev/disk/by-id/scsi-0QEMU_QEMU_HARDDISK_drive-scsi1; mkfs.ext4 -q $disk; mkdir -p /mnt/postgres;"
            "mount $disk /mnt/postgres; rmdir /mnt/postgres/lost+found;"
            "mkdir -p /mnt/appdata/{npm/{data,letsencrypt},jellyfin/{config,cache},prometheus,grafana};"
            "mkdir -p /mnt/photos/library /mnt/media/movies /mnt/backups;"
            "chown 65534:65534 /mnt/appdata/prometheus; chown 472:0 /mnt/appdata/grafana;"
            "head -c 300000 /dev/urandom > /mnt/media/movies/film.mkv;"
            "for i in 1 2 3; do head -c 100000 /dev/urandom > /mnt/photos/library/$i.jpg; done;"
            "cd /mnt/appdata/jellyfin/config; echo precious > watched.txt; ln -s watched.txt link"
        )
        self.put("/opt/intranet/docker-compose.yml", project(INTRANET))
        self.put("/opt/intranet/prometheus.yml", "scrape_configs: []\n")
        self.put("/opt/extranet/docker-compose.yml", project(EXTRANET))
        self.put("/etc/restic/passwd", PLANTED["restic"] + "\n")
        self.put(
            "/etc/cron.d/backup",
            "0 2 * * * root restic -r /mnt/backups/restic-repo -p /etc/restic/passwd backup /mnt\n",
        )
        self.put(
            "/etc/ddclient.conf", f"protocol=dyndns2\nlogin=old-login\npassword='{PLANTED['ddclient']}'\nexample.org\n"
        )
        for folder in ("/opt/intranet", "/opt/extranet"):
            self.run(f"cd {folder} && docker compose up --detach --pull never")
        self.healthy(9)
        self.sql(
            "CREATE EXTENSION vectors; CREATE TABLE family AS SELECT n, md5(n::text) FROM generate_series(1, 1000) n"
        )

    def healthy(self, count: int) -> None:
        end = time.monotonic() + 180
        while True:
            seen = self.run("docker ps --format '{{.Names}} {{.Status}}'").splitlines()
            bad = [line for line in seen if "(health: starting)" in line or "unhealthy" in line or "Restarting" in line]
            if len(seen) >= count and not bad:
                return
            if time.monotonic() > end:
                raise SystemExit(f"the old set-up does not run: {seen}")
            time.sleep(1)

    def sql(self, text: str, container: str = "intranet-database-1") -> str:
        psql = f"docker exec --interactive {container} psql -qAt -v ON_ERROR_STOP=1 -U postgres -d immich"
        return self.run(f"{psql} <<'END'\n{text}\nEND")

    def rows(self, container: str = "intranet-database-1") -> str:
        return self.sql("SELECT count(*), md5(string_agg(t::text, ',' ORDER BY n)) FROM family t", container)

    def hashes(self) -> str:
        """Of what only people wrote: films, photographs, and their file in a service's folder."""
        return self.run(
            "find /mnt/media /mnt/photos/library/?.jpg /mnt/appdata/jellyfin/config/{watched.txt,link} ! -type d"
            " | sort | xargs sha256sum"
        )

    def containers(self) -> dict[str, dict[str, str]]:
        """Old ones by name: id, state, restart policy."""
        names = self.run("docker ps --all --quiet --filter label=com.docker.compose.project").split()
        found = json.loads(self.run(f"docker inspect {' '.join(names)}")) if names else []
        return {
            one["Name"].lstrip("/"): {
                "id": one["Id"],
                "state": one["State"]["Status"],
                "restart": one["HostConfig"]["RestartPolicy"]["Name"],
                "started": one["State"]["StartedAt"],
            }
            for one in found
            if "mediaserver.digest" not in (one["Config"]["Labels"] or {})
        }

    def new(self) -> list[str]:
        return self.run("docker ps --all --filter label=mediaserver.digest --format '{{.Names}}'").split()
