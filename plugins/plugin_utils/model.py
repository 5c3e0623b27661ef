# Copyright (c) 2026 The homelab.mediaserver authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What was read, cleaned and placed: the typed middle between declarations and plan."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from .problems import Problems, Where

Tree = dict[str, Any]


@dataclass(frozen=True)
class Entry:
    """A service of the catalog."""

    name: str
    where: Where
    folder: str
    spec: Tree
    own: bool = False
    templates: tuple[str, ...] = ()
    secret_templates: frozenset[str] = frozenset()
    alerts: str = ""

    def provides(self) -> str:
        return str(self.spec.get("provides") or "")


@dataclass
class Host:
    """A host of the inventory."""

    name: str
    where: Where
    groups: list[str] = field(default_factory=list)
    address: str = ""
    address6: str = ""
    node: Tree | None = None
    guest: Tree | None = None
    prober_zone: str = ""
    gpu: bool = False
    memory: str | None = None
    windows: Tree | None = None
    wsl: str = ""
    """The Windows machine in which this host runs."""
    architecture: str = "amd64"
    root_disk: str = ""

    @property
    def addresses(self) -> list[str]:
        return [address for address in (self.address, self.address6) if address]


@dataclass(frozen=True)
class Port:
    """A port of a service: ``container`` is empty for what systemd runs; ``shared`` means the host's own network."""

    service: str
    name: str
    number: int
    inside: int
    protocol: str
    reach: tuple[str, ...]
    container: str = ""
    shared: bool = False
    silent: bool = False


@dataclass(frozen=True)
class Volume:
    """A volume of a service where it lies on a host."""

    name: str
    storage: str
    path: str
    mount: str
    mounted: bool = True

    @property
    def guard(self) -> str | None:
        """What must be mounted before anything is written there; nothing for a plain directory."""
        return self.mount if self.mounted else None


@dataclass(frozen=True)
class Folder:
    """A folder that the inventory names in a service's settings (list ``key``), as a container sees it."""

    key: str
    name: str
    volume: str
    path: str
    read_only: bool
    schedule: str | None
    values: Tree


@dataclass
class Service:
    """A placed service."""

    entry: Entry
    where: Where
    hosts: list[str]
    placement: Tree
    containers: dict[str, Tree] = field(default_factory=dict)
    settings: Tree = field(default_factory=dict)
    route: Tree | None = None
    ports: dict[str, Port] = field(default_factory=dict)
    volumes: dict[str, Volume] = field(default_factory=dict)
    folders: list[Folder] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.entry.name

    @property
    def spec(self) -> Tree:
        return self.entry.spec

    @property
    def kept(self) -> dict[str, str]:
        """Volumes in backups and how often, the inventory's folders included."""
        declared = (self.spec["backup"] or {}).get("volumes") or {}
        named = {folder.volume: folder.schedule for folder in self.folders if folder.schedule}
        changed = {**declared, **named, **self.placement["backup"]}
        return {volume: schedule for volume, schedule in changed.items() if schedule != "never"}

    @property
    def system(self) -> Tree | None:
        return self.entry.spec.get("system")

    @property
    def unit(self) -> str:
        """The systemd unit that starts and stops it."""
        return str(self.system["unit"]) if self.system else f"mediaserver-{self.name}.service"


@dataclass
class Site:
    """The whole: inventory, catalog and placement, with what is wrong about them."""

    values: Tree
    places: dict[str, str]
    hosts: dict[str, Host]
    catalog: dict[str, Entry]
    problems: Problems
    services: dict[str, Service] = field(default_factory=dict)
    zones: dict[str, list[str]] = field(default_factory=dict)
    public_keys: list[str] = field(default_factory=list)
    given_secrets: frozenset[str] = frozenset()

    def where(self, variable: str, *parts: object) -> Where:
        """The place of a ``site_*`` variable."""
        return Where(self.places.get(variable, "group_vars/all/site.yml"), variable).at(*parts)

    def on(self, host: str) -> list[Service]:
        """Services of a host, in the inventory's order."""
        return [service for service in self.services.values() if host in service.hosts]

    def provider(self, what: str) -> Service | None:
        """The placed service that provides ``proxy`` or ``monitoring``."""
        return next((service for service in self.services.values() if service.entry.provides() == what), None)

    def provider_hosts(self, what: str) -> list[str]:
        provider = self.provider(what)
        return [name for name in provider.hosts if name in self.hosts] if provider else []

    def doors(self) -> list[Service]:
        """What publishes names: the proxy and the tunnel, where they are placed."""
        return [service for service in map(self.provider, ("proxy", "tunnel")) if service is not None]

    def door_hosts(self) -> list[str]:
        """The hosts from which services are asked for their public names."""
        return list(dict.fromkeys([*self.provider_hosts("proxy"), *self.provider_hosts("tunnel")]))

    def managed(self) -> Iterator[Host]:
        """Linux hosts that run something of ours: all but nodes and probers."""
        for host in self.hosts.values():
            if host.node is None and host.windows is None and not host.prober_zone:
                yield host

    def windows_hosts(self) -> list[Host]:
        return [host for host in self.hosts.values() if host.windows is not None]

    def inside(self, host: Host) -> list[Host]:
        """The Debian inside a Windows machine."""
        return [one for one in self.hosts.values() if one.wsl == host.name]

    @property
    def root(self) -> str:
        return str(self.values["site_paths"]["root"]).rstrip("/")

    def directory(self, service: Service) -> str:
        """Where the service's compose project lies on its hosts."""
        return f"{self.root}/services/{service.name}"

    def storage(self, name: str) -> Tree | None:
        return self.values["site_storage"].get(name)


def is_mounted(body: Tree) -> bool:
    """Whether a class is a mount at all: a local one without another source is a plain directory."""
    source = str(body["source"]).rstrip("/")
    return body["as"] != "local" or bool(source and source != str(body["mount"]).rstrip("/"))
