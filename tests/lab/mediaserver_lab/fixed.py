# SPDX-License-Identifier: MIT
"""The machines that are always there: router, registry, Proxmox node and probers."""

from __future__ import annotations

import json
from typing import Any

from . import machines
from .driver import DRIVER_SETTINGS
from .images import Images
from .layout import (
    API_STATE,
    APT_CACHE_PORT,
    DOMAIN,
    DYNDNS_LOGIN,
    DYNDNS_PASSWORD,
    EXTRANET,
    FORWARDS,
    INTERNET,
    INTERNET6,
    LAB_DIR,
    LAN,
    MACHINES,
    NODE,
    NODE_MOUNTS,
    PREFIX,
    REGISTRY,
    REGISTRY_PORT,
    ROUTER_LAN,
    ROUTER_LAN6,
    ROUTER_WAN,
    ROUTER_WAN6,
    STATE,
    UPLINK,
    USER,
    WAN,
    Machine,
)
from .secrets import Secrets

ROUTER, INTERNET_MACHINE = (next(m for m in MACHINES if m.name == name) for name in ("router", "internet"))
APT_PROXY = f"http://{REGISTRY.addresses[0]}:{APT_CACHE_PORT}"


def nftables_conf() -> str:
    """The router's rules: what it forwards inside, everything out, nothing else in."""
    forwards = "\n".join(
        f'    iifname "wan0" ip daddr {ROUTER_WAN} {protocol} dport {port} dnat to {EXTRANET}'
        for protocol, port in FORWARDS
    )
    accepted = "\n".join(
        f'    iifname "wan0" ip daddr {EXTRANET} {protocol} dport {port} ct status dnat accept'
        for protocol, port in FORWARDS
    )
    return f"""#!/usr/sbin/nft -f
# The lab's router. Docker keeps rules of its own in this machine: touch only our tables.
table ip home_nat
delete table ip home_nat
table inet home
delete table inet home
table ip home_nat {{
  chain prerouting {{
    type nat hook prerouting priority dstnat;
{forwards}
  }}
  chain postrouting {{
    type nat hook postrouting priority srcnat;
    ip saddr {LAN.subnet} oifname "wan0" masquerade
  }}
}}
table inet home {{
  chain input {{
    type filter hook input priority filter; policy drop;
    ct state established,related accept
    iifname "lo" accept
    iifname "lan0" accept
    meta l4proto {{ icmp, ipv6-icmp }} accept
    iifname "wan0" ip saddr {WAN.gateway} tcp dport 22 accept comment "the lab's controller"
  }}
  chain forward {{
    type filter hook forward priority filter; policy drop;
    ct state established,related accept
    iifname "lan0" accept
{accepted}
  }}
}}
"""


def internet_nftables_conf() -> str:
    """What makes the Internet's machine the way out: the rest of the world sees the Docker host only."""
    return f"""#!/usr/sbin/nft -f
table ip world
delete table ip world
table ip world {{
  chain postrouting {{
    type nat hook postrouting priority srcnat;
    ip saddr {WAN.subnet} oifname "up0" masquerade
  }}
}}
"""


def dnsmasq_conf(card: str, extranet: str) -> str:
    """Name service for the machines behind this card; names of the site are this address, others Docker resolves."""
    return (
        f"interface={card}\nbind-dynamic\nno-resolv\nserver=127.0.0.11\n"
        f"address=/{DOMAIN}/{extranet}\nlocal=/{DOMAIN}/\n"
    )


def routes(machine: Machine) -> list[dict[str, str]]:
    if machine is INTERNET_MACHINE:
        return [{"to": "default", "via": UPLINK.gateway}]
    if machine is ROUTER:
        return [{"to": "default", "via": INTERNET}, {"to": "default", "via": INTERNET6}]
    if machine.lan:
        return [{"to": "default", "via": ROUTER_LAN}, {"to": "default", "via": ROUTER_LAN6}]
    return [
        {"to": "default", "via": INTERNET},
        {"to": "default", "via": INTERNET6},
        {"to": LAN.subnet, "via": ROUTER_WAN},
        {"to": LAN.subnet6, "via": ROUTER_WAN6},
    ]


def description(machine: Machine, secrets: Secrets) -> dict[str, Any]:
    """What the machine is told at boot."""
    _, public = secrets.ssh_key()
    forwards = machine in (ROUTER, INTERNET_MACHINE)
    interfaces = []
    for network, pair, name in machine.attached:
        addresses = [f"{pair[0]}/{network.subnet.split('/')[1]}", f"{pair[1]}/{network.subnet6.split('/')[1]}"]
        interface = machines.interface(network, *addresses)
        interfaces.append(interface | ({"name": name} if forwards else {}))
    return {
        "hostname": machine.name,
        "interfaces": interfaces,
        "routes": routes(machine),
        "nameservers": [ROUTER_LAN if machine.lan else INTERNET],
        # those that answer others' questions ask Docker's name service
        "keep_docker_dns": forwards,
        "apt_proxy": APT_PROXY if machine.lan and machine is not REGISTRY else None,
        "instance": {
            "user": USER,
            "ssh_keys": [public],
            "root_ssh_keys": [public] if machine.root_login else [],
            "host_keys": secrets.host_key(machine.name),
        },
    }


def container(machine: Machine, image: str) -> machines.Container:
    (network, pair, _), *others = machine.attached
    second = [(other.name, *addresses) for other, addresses, _ in others]
    node_binds = {"/var/run/docker.sock": "/.lab/docker.sock", f"{STATE}/pve/api": API_STATE}
    node_binds |= {host: path for path, host in NODE_MOUNTS.items()}
    volumes = {f"{PREFIX}-registry": "/var/lib/docker-registry", f"{PREFIX}-packages": "/var/cache/apt-cacher-ng"}
    return machines.Container(
        name=machine.container,
        image=image,
        role="machine",
        network=network.name,
        address=pair[0],
        address6=pair[1],
        second_network=second[0] if second else None,
        binds=node_binds if machine is NODE else {},
        volumes=volumes if machine is REGISTRY else {},
        publish=[f"127.0.0.1::{REGISTRY_PORT}"] if machine is REGISTRY else [],
        sysctls=["net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"]
        if machine in (ROUTER, INTERNET_MACHINE)
        else [],
    )


def dyndns_files(secrets: Secrets) -> dict[str, tuple[bytes, int]]:
    """The stand-in for the provider of dynamic names, and its service."""
    key, certificate = secrets.certificate(INTERNET_MACHINE.addresses, INTERNET_MACHINE.name)
    folder = "/usr/local/lib/mediaserver-lab/dyndns"
    unit = f"""[Unit]
Description=Stand-in for a provider of dynamic names

[Service]
Environment=LOGIN={DYNDNS_LOGIN} PASSWORD={DYNDNS_PASSWORD} DOMAIN={DOMAIN}
Environment=STATE=/var/lib/mediaserver-lab/dyndns.json
ExecStart=/usr/bin/python3 {folder}/dyndns.py {folder}/cert.pem {folder}/key.pem
Restart=always
RestartSec=1
"""
    return {
        f"{folder}/dyndns.py": ((LAB_DIR / "internet/dyndns.py").read_bytes(), 0o644),
        f"{folder}/cert.pem": (certificate.encode(), 0o644),
        f"{folder}/key.pem": (key.encode(), 0o600),
        "/etc/systemd/system/mediaserver-lab-dyndns.service": (unit.encode(), 0o644),
        # files only are copied in, no links: this is what `systemctl enable` would say
        "/etc/systemd/system/multi-user.target.d/dyndns.conf": (
            b"[Unit]\nWants=mediaserver-lab-dyndns.service\n",
            0o644,
        ),
    }


def files(machine: Machine, secrets: Secrets, images: Images) -> dict[str, tuple[bytes, int]]:
    """Configuration that is copied into the machine before each boot."""
    if machine in (ROUTER, INTERNET_MACHINE):
        rules = nftables_conf() if machine is ROUTER else internet_nftables_conf()
        names = dnsmasq_conf("lan0", EXTRANET) if machine is ROUTER else dnsmasq_conf("wan0", ROUTER_WAN)
        found = {
            "/etc/nftables.conf": (rules.encode(), 0o755),
            "/etc/dnsmasq.d/lab.conf": (names.encode(), 0o644),
        }
        return found | (dyndns_files(secrets) if machine is INTERNET_MACHINE else {})
    if machine is NODE:
        key, certificate = secrets.certificate(machine.addresses, machine.name)
        driver = {
            "image": images.get(images.guest),
            "mounts": NODE_MOUNTS,
            "network": LAN.name,
            "subnet": LAN.subnet,
            "apt_proxy": APT_PROXY,
        }
        return {
            DRIVER_SETTINGS: (json.dumps(driver, indent=1).encode(), 0o644),
            "/etc/pve/local/pve-ssl.key": (key.encode(), 0o600),
            "/etc/pve/local/pve-ssl.pem": (certificate.encode(), 0o644),
        }
    return {}


def up(machine: Machine, secrets: Secrets, images: Images) -> None:
    """Make sure the machine runs."""
    wanted = container(machine, images.get(machine.image))
    machines.ensure(wanted, description(machine, secrets), files(machine, secrets, images))
