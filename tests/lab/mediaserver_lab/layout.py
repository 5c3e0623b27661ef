# SPDX-License-Identifier: MIT
"""Names, addresses and paths of the lab. inventories/lab speaks of the same addresses."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

LAB_DIR = Path(__file__).resolve().parents[1]
ROOT = LAB_DIR.parents[1]
SECRETS = Path(os.environ.get("MEDIASERVER_LAB_SECRETS", ROOT / "inventories/lab/.secrets"))
STATE = os.environ.get("MEDIASERVER_LAB_STATE", "/var/lib/mediaserver-lab")
"""Folder of the Docker host (made by Docker, owned by root) that holds what lies on the node's disks."""

PREFIX = "mediaserver-lab"
LABEL = "mediaserver.lab"
"""Every container, volume and network of the lab carries this label; its value says what it is for."""


TEST_SECRETS = ROOT / ".lab" / "test-secrets"
FIRST_LOOP, FIRST_TEST_LOOP, LAST_LOOP = 64, 60000, 70000
"""Numbers of loop devices, which the whole Docker host shares: guests' from the first, tests' from the second."""
DISK_MARK = "mediaserver-lab_"
"""Begins the name of every disk's file, so that nobody else's loop device is ever touched."""


@dataclass(frozen=True)
class Network:
    name: str
    subnet: str
    gateway: str
    subnet6: str
    gateway6: str
    automatic: str
    """Where Docker takes addresses that nobody asked for."""
    automatic6: str
    masquerade: bool


LAN = Network(
    f"{PREFIX}-lan",
    "10.77.1.0/24",
    "10.77.1.254",
    "fd77:77:1::/64",
    "fd77:77:1::fe",
    "10.77.1.192/27",
    "fd77:77:1::ffff:0/112",
    False,
)
WAN = Network(
    f"{PREFIX}-wan",
    "198.18.77.0/24",
    "198.18.77.254",
    "fd77:77:2::/64",
    "fd77:77:2::fe",
    "198.18.77.192/27",
    "fd77:77:2::ffff:0/112",
    False,
)
UPLINK = Network(
    f"{PREFIX}-uplink",
    "10.77.9.0/24",
    "10.77.9.254",
    "fd77:77:9::/64",
    "fd77:77:9::fe",
    "10.77.9.192/27",
    "fd77:77:9::ffff:0/112",
    True,
)
TEST = Network(
    f"{PREFIX}-test",
    "10.77.3.0/24",
    "10.77.3.254",
    "fd77:77:3::/64",
    "fd77:77:3::fe",
    "10.77.3.0/25",
    "fd77:77:3::ffff:0/112",
    True,
)

INTERNET, INTERNET6 = "198.18.77.1", "fd77:77:2::1"
ROUTER_LAN, ROUTER_LAN6 = "10.77.1.1", "fd77:77:1::1"
ROUTER_WAN, ROUTER_WAN6 = "198.18.77.2", "fd77:77:2::2"
EXTRANET = "10.77.1.111"
FORWARDS: tuple[tuple[str, int], ...] = (("tcp", 80), ("tcp", 443), ("udp", 1194))
DOMAIN = "lab.test"
"""Names below it are the extranet's LAN address inside (split DNS) and the router's public one outside."""
DYNDNS_LOGIN, DYNDNS_PASSWORD = "lab.test-home", "lab-only"
"""Who may update dynamic names at the machine ``internet``; inventories/lab says the same."""
REGISTRY_PORT = 5000
IMAGES_PORT = 8080
APT_CACHE_PORT = 3142
USER = "ops"


@dataclass(frozen=True)
class Machine:
    """A machine of the lab that is always there."""

    name: str
    image: str
    lan: tuple[str, str] | None = None
    wan: tuple[str, str] | None = None
    uplink: tuple[str, str] | None = None
    root_login: bool = False

    @property
    def container(self) -> str:
        return f"{PREFIX}-{self.name}"

    @property
    def attached(self) -> list[tuple[Network, tuple[str, str], str]]:
        """Its networks with its addresses there (IPv4, IPv6) and the name of the card."""
        pairs = ((LAN, self.lan, "lan0"), (WAN, self.wan, "wan0"), (UPLINK, self.uplink, "up0"))
        return [(network, pair, name) for network, pair, name in pairs if pair]

    @property
    def addresses(self) -> list[str]:
        return [address for network, pair, _ in self.attached if network is not UPLINK for address in pair]


MACHINES: tuple[Machine, ...] = (
    Machine("internet", "router", wan=(INTERNET, INTERNET6), uplink=("10.77.9.2", "fd77:77:9::2")),
    Machine("router", "router", lan=(ROUTER_LAN, ROUTER_LAN6), wan=(ROUTER_WAN, ROUTER_WAN6)),
    Machine("registry", "registry", lan=("10.77.1.5", "fd77:77:1::5")),
    Machine("pve", "node", lan=("10.77.1.100", "fd77:77:1::100"), root_login=True),
    Machine("lan-client", "prober", lan=("10.77.1.50", "fd77:77:1::50")),
    Machine("outsider", "prober", wan=("198.18.77.50", "fd77:77:2::50")),
)
REGISTRY = next(m for m in MACHINES if m.name == "registry")
NODE = next(m for m in MACHINES if m.name == "pve")

NODE_MOUNTS: dict[str, str] = {
    "/tank-hdd": f"{STATE}/pve/tank-hdd",
    "/tank-ssd": f"{STATE}/pve/tank-ssd",
    "/tank": f"{STATE}/pve/tank",
    "/var/lib/vz": f"{STATE}/pve/vz",
}
"""Folders of the node that guests may get by virtiofs or that hold images: path on the node -> on the Docker host."""
API_STATE = "/var/lib/fake-pve"
"""Where the fake API keeps its state on the node."""
NODE_FOLDERS: tuple[str, ...] = (
    "/tank-hdd/media", "/tank-hdd/photos", "/tank-hdd/backups", "/tank-hdd/logs", "/tank-ssd/appdata",
    "/tank/media", "/tank/photos", "/tank/backups", "/tank/appdata",
    "/var/lib/vz/images", "/var/lib/vz/import", "/var/lib/vz/snippets", "/var/lib/vz/template/iso",
)  # fmt: skip
