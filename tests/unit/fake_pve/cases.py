# SPDX-License-Identifier: MIT
"""One line for each Proxmox module: a run that reads and writes, for the tests that every module must stand.

``before`` brings the fake to where the run starts, ``arguments`` is the run. ``vanish`` takes the object away while the
run is under way, at the first request whose path contains ``at``, and ``word`` is what the module then says.
``LONG`` has further runs of many writes, only for the test that kills them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from ansible_collections.homelab.mediaserver.plugins.modules import (
    proxmox_acl,
    proxmox_backup_job,
    proxmox_dir_mapping,
    proxmox_firewall,
    proxmox_group,
    proxmox_ha,
    proxmox_image,
    proxmox_lxc,
    proxmox_pci_mapping,
    proxmox_pool,
    proxmox_preflight,
    proxmox_replication,
    proxmox_repositories,
    proxmox_role,
    proxmox_storage,
    proxmox_token,
    proxmox_user,
    proxmox_vm,
    proxmox_vm_info,
)
from ansible_collections.homelab.mediaserver.tests.lab.fake_pve import access

Lab = Any


def nothing(_lab: Lab) -> None:
    """The fake as it is."""


@dataclass(frozen=True)
class Case:
    module: ModuleType
    arguments: dict[str, Any]
    before: Callable[[Lab], Any] = nothing
    vanish: Callable[[Lab], Any] | None = None
    at: tuple[str, str] = ("", "")  # method, part of the path
    word: str = ""
    writes: bool = True
    differs: bool = False  # whether the requests differ between the releases

    @property
    def releases(self) -> tuple[str, ...]:
        return ("8.4", "9.1") if self.differs else ("9.1",)

    @property
    def name(self) -> str:
        return self.module.__name__.rpartition(".")[2]


def guests(lab: Lab) -> None:
    lab.world.data["other_nodes"] = ["pve2"]
    for vmid in ("101", "102", "103"):
        lab.world.data["vms"][vmid] = {"conf": {"name": "x"}, "pending": {}, "delete": [], "started": 0}


def people(lab: Lab) -> None:
    guests(lab)
    state = access.state(lab.world)
    state["users"]["bob@pve"] = {"enable": 1, "expire": 0, "groups": [], "tokens": {}}
    state["roles"] |= {"Store": ["Datastore.Audit"], "Guest": ["VM.Audit"]}


def has_token(lab: Lab) -> None:
    people(lab)
    access.state(lab.world)["users"]["bob@pve"]["tokens"]["site"] = {"privsep": 1, "comment": "x"}


def first(module: ModuleType, **arguments: Any) -> Callable[[Lab], Any]:
    """A run before the run."""

    def before(lab: Lab) -> None:
        people(lab)
        done = lab.run(module, **arguments)
        assert done.get("changed") and not done.get("failed"), done

    return before


def no_images(lab: Lab) -> None:
    for file in (lab.root / "var/lib/vz/import").iterdir():
        file.unlink()
    lab.image("old.qcow2")


ACCEPT = {"action": "ACCEPT", "proto": "tcp"}
OLD_FIREWALL = {
    "level": "datacenter", "options": {"enable": True, "policy_in": "DROP"},
    "aliases": [{"name": "lan", "cidr": "10.0.0.0/8"}, {"name": "old", "cidr": "10.0.0.1"}],
    "ipsets": [{"name": "admins", "members": [{"cidr": "10.0.0.1"}, {"cidr": "old"}]}, {"name": "gone", "members": []}],
    "groups": [{"name": "web", "rules": [{**ACCEPT, "dport": "80"}, {**ACCEPT, "dport": "81"}]},
               {"name": "gone", "rules": [{**ACCEPT, "dport": "82"}]}],
    "rules": [{"type": "group", "action": "gone"}, {**ACCEPT, "dport": "22", "source": "+admins"}, {"action": "DROP"}],
}  # fmt: skip
NEW_FIREWALL = {
    "level": "datacenter", "options": {"policy_in": "REJECT"},
    "aliases": [{"name": "lan", "cidr": "10.1.0.0/16", "comment": "home"}, {"name": "new", "cidr": "10.0.0.2"}],
    "ipsets": [{"name": "admins", "comment": "x", "members": [{"cidr": "10.0.0.1", "nomatch": True}, {"cidr": "new"}]},
               {"name": "more", "members": [{"cidr": "lan"}]}],
    "groups": [{"name": "web", "comment": "pages", "rules": [{**ACCEPT, "dport": "80"}, {**ACCEPT, "dport": "443"}]},
               {"name": "new", "rules": [{**ACCEPT, "macro": "ssh", "proto": None}]}],
    "rules": [{**ACCEPT, "dport": "22", "source": "+admins"}, {**ACCEPT, "dport": "8006", "source": "+more"},
              {"type": "group", "action": "new"}, {"action": "DROP", "comment": "rest"}],
}  # fmt: skip
SHORT_FIREWALL = {
    "level": "datacenter", "options": {"enable": True}, "aliases": [{"name": "lan", "cidr": "10.0.0.0/8"}],
    "ipsets": [{"name": "admins", "members": [{"cidr": "lan"}]}],
    "groups": [{"name": "web", "rules": [{**ACCEPT, "dport": "81"}, {**ACCEPT, "macro": "ssh", "proto": None}]},
               {"name": "gone"}],
    "rules": [{**ACCEPT, "dport": "22", "source": "+admins"}],
}  # fmt: skip
JOB = {"id": "nightly", "schedule": "02:30", "all": True, "comment": "x"}
OLD_HA = {
    "resources": [{"sid": "vm:101"}, {"sid": "vm:102"}],
    "node_affinity": [{"name": "a1", "resources": ["vm:101"], "nodes": ["pve"]},
                      {"name": "b1", "resources": ["vm:102"], "nodes": ["pve2"]}],
}  # fmt: skip
NEW_HA = {
    "resources": [{"sid": "vm:101", "max_restart": 3}, {"sid": "vm:103", "state": "stopped"}],
    "node_affinity": [{"name": "a1", "resources": ["vm:102", "vm:103"], "strict": True},
                      {"name": "b1", "resources": ["vm:101"], "failback": False}],
}  # fmt: skip
MEDIA = {"id": "media", "node": "pve", "path": "/tank-hdd/media"}
GPU = {"id": "igpu", "node": "pve", "path": "0000:00:02.0"}
OLD_IMAGE = {"node": "pve", "storage": "local", "file": "old.qcow2", "state": "absent"}
REPLICA = {"guest": 101, "target": "pve2"}

BOB: dict[str, Any] = {"userid": "bob@pve", "tokenid": "site"}
HELD = [
    {"path": "/storage/local", "role": "Store", "user": "bob@pve"},
    {"path": "/vms", "role": "Guest", "user": "bob@pve"},
]
CT: dict[str, Any] = {"node": "pve", "vmid": 120}
SMALL = {**CT, "hostname": "dns", "memory": "256M", "rootfs": {"storage": "local-lvm", "size": "2G"},
         "ostemplate": "local:vztmpl/debian-13.tar.zst"}  # fmt: skip


def container(lab: Lab) -> None:
    lab.template()
    first(proxmox_lxc, **SMALL)(lab)


CASES = [
    Case(proxmox_backup_job, {**JOB, "vmids": [101], "all": None, "comment": ""}, first(proxmox_backup_job, **JOB),
         lambda lab: lab.world.data["backup_jobs"].clear(), ("PUT", "/backup/"), "no such vzdump job"),
    Case(proxmox_dir_mapping, {**MEDIA, "path": "/tank-hdd/films"}, first(proxmox_dir_mapping, **MEDIA),
         lambda lab: lab.world.data["mappings"]["dir"].clear(), ("PUT", "/mapping/"), "mapping 'media' not found"),
    Case(proxmox_firewall, SHORT_FIREWALL, first(proxmox_firewall, level="datacenter", groups=OLD_FIREWALL["groups"]),
         lambda lab: lab.world.data["firewall"]["cluster"]["groups"].clear(), ("POST", "/ipset"),
         "no such security group 'web'"),
    Case(proxmox_ha, NEW_HA, first(proxmox_ha, **OLD_HA), lambda lab: lab.world.data["ha"]["resources"].clear(),
         ("PUT", "/ha/resources"), "detected modified configuration", differs=True),
    Case(proxmox_image, OLD_IMAGE, no_images, lambda lab: lab.world.data["storages"].pop("local"),
         ("DELETE", "/content/"), "storage 'local' does not exist"),
    Case(proxmox_pci_mapping, {**GPU, "description": "card"}, first(proxmox_pci_mapping, **GPU),
         lambda lab: lab.world.data["mappings"]["pci"].clear(), ("PUT", "/mapping/"), "mapping 'igpu' not found"),
    Case(proxmox_preflight, {"node": "pve", "devices": ["0000:00:02.0"]}, writes=False),
    Case(proxmox_replication, {**REPLICA, "rate": 10, "comment": "x"}, first(proxmox_replication, **REPLICA),
         lambda lab: lab.world.data["replication"].clear(), ("PUT", "/replication/"),
         "detected modified configuration"),
    Case(proxmox_acl, {"entries": [*HELD[:1], {**HELD[1], "propagate": False}]}, first(proxmox_acl, entries=HELD),
         lambda lab: access.state(lab.world)["users"].pop("bob@pve"), ("PUT", "/acl"), "bob@pve"),
    Case(proxmox_group, {"groupid": "family", "comment": "y"}, first(proxmox_group, groupid="family", comment="x"),
         lambda lab: access.state(lab.world)["groups"].remove("family"), ("PUT", "/groups/"), "family"),
    Case(proxmox_lxc, {**CT, "memory": "512M", "tags": ["a"]}, container, lambda lab: lab.world.data["cts"].clear(),
         ("PUT", "/config"), "does not exist"),
    Case(proxmox_pool, {"poolid": "media", "comment": "y", "guests": [102], "storages": ["local"]},
         first(proxmox_pool, poolid="media", comment="x", guests=[101]),
         lambda lab: lab.world.data["pools"].clear(), ("PUT", "/pools"), "media"),
    Case(proxmox_repositories, {"node": "pve", "channel": "no-subscription"}, differs=True),
    Case(proxmox_role, {"roleid": "Mine", "privileges": ["VM.Audit"]},
         first(proxmox_role, roleid="Mine", privileges=[]),
         lambda lab: access.state(lab.world)["roles"].pop("Mine"), ("PUT", "/roles/"), "Mine"),
    Case(proxmox_storage, {"storage": "tank", "type": "zfspool", "content": ["images"], "disable": True},
         first(proxmox_storage, storage="tank", type="zfspool", pool="tank"),
         lambda lab: lab.world.data["storages"].pop("tank"), ("PUT", "/storage/"), "tank"),
    Case(proxmox_token, {**BOB, "comment": "y"}, has_token,
         lambda lab: access.state(lab.world)["users"]["bob@pve"]["tokens"].clear(), ("PUT", "/token/"), "site"),
    Case(proxmox_user, {"userid": "eve@pve", "comment": "y"}, first(proxmox_user, userid="eve@pve", comment="x"),
         lambda lab: access.state(lab.world)["users"].pop("eve@pve"), ("PUT", "/users/"), "eve@pve"),
    Case(proxmox_vm, {"node": "pve", "vmid": 101, "memory": "1G", "tags": ["a"]}, guests,
         lambda lab: lab.world.data["vms"].clear(), ("PUT", "/config"), "does not exist"),
    Case(proxmox_vm_info, {"node": "pve", "vmid": 101, "config": True}, guests,
         lambda lab: lab.world.data["vms"].clear(), ("GET", "/pending"), "does not exist", writes=False),
]  # fmt: skip
LONG = [Case(proxmox_firewall, NEW_FIREWALL, first(proxmox_firewall, **OLD_FIREWALL))]
