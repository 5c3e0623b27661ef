# SPDX-License-Identifier: MIT
"""What virtual machines and containers have in common, for both kinds."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import pytest
from ansible_collections.homelab.mediaserver.plugins.modules import proxmox_lxc, proxmox_vm
from ansible_collections.homelab.mediaserver.tests.lab.fake_pve.errors import ApiError, TaskError
from ansible_collections.homelab.mediaserver.tests.unit.fake_pve import harness


@dataclass(frozen=True)
class Sort:
    """One kind of guest in its own words."""

    module: ModuleType
    word: str  # of messages
    short: str  # of Proxmox VE's messages
    stock: str  # where the fake keeps its kind
    vmid: int
    name: str  # the option of the name
    option: str  # the option of disks
    slot: str  # where a second one goes
    given: dict[str, Any]  # the smallest guest
    stale: str  # what is said of a digest that is none any more
    place: dict[str, Any] = field(default_factory=dict)  # what a disk needs besides storage and size

    @property
    def what(self) -> str:
        return f"{self.word} {self.vmid}"

    @property
    def at(self) -> dict[str, Any]:
        return {"node": "pve", "vmid": self.vmid}

    def disk(self, storage: str = "local-lvm", size: str = "1G") -> dict[str, Any]:
        return {self.option: {self.slot: {"storage": storage, "size": size, **self.place}}}

    def gone(self, **more: Any) -> dict[str, Any]:
        return {self.option: {self.slot: {"state": "absent", **more}}}


ROOT = {"storage": "local-lvm", "size": "1G"}
SORTS = [
    Sort(proxmox_vm, "VM", "VM", "vms", 101, "name", "disks", "scsi1",
         {"name": "web", "memory": "512M", "disks": {"scsi0": ROOT}, "networks": {"net0": {"bridge": "vmbr0"}}},
         "checksum mismatch (file change by other user?)"),
    Sort(proxmox_lxc, "container", "CT", "cts", 120, "hostname", "mounts", "mp0",
         {"hostname": "web", "memory": "512M", "rootfs": ROOT, "ostemplate": "local:vztmpl/debian-13.tar.zst",
          "networks": {"net0": {"bridge": "vmbr0", "ip": "dhcp"}}},
         "detected modified configuration - file changed by other user? Try again.", {"path": "/data"}),
]  # fmt: skip


class Both:
    """A lab and one kind of guest in it."""

    def __init__(self, lab, sort):
        self.lab, self.sort, self.world = lab, sort, lab.world
        lab.template()

    def small(self, **more):
        result = self.run(**self.sort.given, **more)
        assert not result.get("failed"), result
        return result

    def run(self, **more):
        return self.lab.run(self.sort.module, **{**self.sort.at, **more})

    def change(self, **more):
        return self.lab.order(self.sort.module, **{**self.sort.at, **more})

    @property
    def guest(self):
        return self.world.data[self.sort.stock][str(self.sort.vmid)]

    def conf(self, vmid=None):
        return self.world.data[self.sort.stock][str(vmid or self.sort.vmid)]["conf"]


@pytest.fixture(params=SORTS, ids=lambda sort: sort.word)
def both(request, lab):
    return Both(lab, request.param)


def test_present_does_not_start_started_stopped_absent(both):
    sort = both.sort
    done = both.change(**sort.given)
    assert (done["status"], done["exists"]) == ("stopped", True)
    assert both.change(state="started")["steps"] == [f"start {sort.what}"]
    assert both.change(state="stopped", force=True)["steps"] == [f"stop {sort.what}"]
    both.change(state="started")
    assert both.change(state="stopped")["steps"] == [f"shut down {sort.what}"]
    both.change(state="started")
    done = both.change(state="absent")
    assert done["steps"] == [f"shut down {sort.what}", f"destroy {sort.what} and its disks"]
    assert both.world.data[sort.stock] == both.world.data["volumes"] == {}


def test_exists_tells_what_is_so_now(both):
    assert both.run(check=True, **both.sort.given)["exists"] is False
    assert both.run(**both.sort.given)["exists"] is True
    assert both.run(check=True, state="absent")["exists"] is True
    assert both.run(state="absent")["exists"] is False


def test_not_made_by_mistake(both):
    sort = both.sort
    assert both.run(state="started")["msg"] == (
        f"Unable to find {sort.what}: it does not exist (it is created when {sort.name} is given)"
    )


def test_disk_detached_keeps_its_data_destroyed_does_not(both):
    sort = both.sort
    both.small()
    both.change(**sort.disk())
    both.change(**sort.gone())
    volume = both.conf()["unused0"]
    both.change(**{sort.option: {sort.slot: {"volume": volume, **sort.place}}})
    assert "unused0" not in both.conf()
    done = both.change(**sort.gone(destroy=True))
    assert (
        done["steps"]
        == {
            "VM": ["remove scsi1 of VM 101 with its data"],
            "container": ["remove mp0 of container 120", "destroy the data of mp0 of container 120"],
        }[sort.word]
    )
    assert volume not in both.world.data["volumes"]


def test_a_detached_disk_is_freed_only_if_both_words_are_said(both):
    sort = both.sort
    both.small()
    both.change(**sort.disk())
    both.change(**sort.gone())
    assert "can only be removed with its data" in both.run(**{sort.option: {"unused0": {"state": "absent"}}})["msg"]
    both.change(**{sort.option: {"unused0": {"state": "absent", "destroy": True}}})
    assert len(both.world.data["volumes"]) == 1


def test_disk_grows_and_never_shrinks(both):
    sort = both.sort
    both.small()
    both.change(**sort.disk())
    assert both.change(**sort.disk(size="2G"))["steps"] == [f"grow disk {sort.slot} of {sort.what} to 2G"]
    result = both.run(**sort.disk(size="512M"))
    assert result["msg"] == (
        f"Unable to shrink disk {sort.slot} of {sort.what} from 2G to 512M: Proxmox VE only grows disks"
    )
    result = both.run(**sort.disk(storage="local", size="2G"))
    assert not result["changed"]
    assert "lies on local-lvm, not on local: it stays there (move: true moves it)" in str(result["warnings"])


@pytest.mark.parametrize("size", ["700M", "100M", "0.1T", "0.3", "1500000K"])
def test_sizes_that_are_no_whole_gib_stay_as_they_are(both, size):
    """A rounded number of GiB makes a disk some KiB too large or a MiB too small, to be grown or never shrunk again."""
    both.small()
    both.change(**both.sort.disk(size=size))
    both.change(**both.sort.disk(size="0.2T"))


def test_what_lvm_adds_to_a_disk_is_no_wish_to_shrink_it(both):
    both.small()
    both.change(**both.sort.disk(size="1025M"))
    conf = both.conf()
    conf[both.sort.slot] = conf[both.sort.slot].replace("size=1025M", "size=1028M")
    assert not both.run(**both.sort.disk(size="1025M"))["changed"]
    assert "Unable to shrink" in both.run(**both.sort.disk(size="1024M"))["msg"]


def test_a_size_that_the_configuration_lost_is_told_again(both):
    """The node grew the volume: growing it again is refused (a container) or writes nothing (a VM)."""
    both.small()
    both.change(**both.sort.disk())
    volume = both.conf()[both.sort.slot].partition(",")[0]
    both.world.data["volumes"][volume]["size"] = 4 * 2**30
    both.change(**both.sort.disk(size="4G"))
    assert "size=4G" in both.conf()[both.sort.slot]


def test_removals_are_explicit(both):
    both.small(description="x", tags=["a"], onboot=True, startup={"order": 1})
    assert not both.run(startup={"order": 1}, tags=["a"])["changed"]
    both.change(description="", tags=[], startup={}, networks={"net0": {"state": "absent"}})
    assert not {"description", "tags", "startup", "net0"} & set(both.conf())


def test_an_empty_text_takes_a_property_away_and_the_mac_address_stays(both):
    both.small()
    before = both.conf()["net0"]
    both.change(networks={"net0": {"vlan": 5, "firewall": True, "rate": 3}})
    both.change(networks={"net0": {"vlan": "", "rate": ""}})
    assert both.conf()["net0"].replace(",firewall=1", "") == before


def test_protection_guards_and_is_lifted_before_what_it_guards(both):
    sort = both.sort
    both.small()
    both.change(**sort.disk(), protection=True)
    assert both.run(state="absent")["msg"] == (
        f"Unable to destroy {sort.what}: can't remove {sort.short} {sort.vmid} - protection mode enabled "
        "(set protection: false first)"
    )
    assert "protection mode enabled" in both.run(**sort.gone())["msg"]
    done = both.change(protection=False, **sort.gone(destroy=True))
    assert done["steps"][0] == f"set protection of {sort.what}"
    both.change(state="absent")


def test_failed_hotplug_waits_or_restarts(both):
    both.small(state="started")
    card = {"networks": {"net1": {"bridge": "vmbr9"}}}
    both.world.hotplug_fails["net1"] = "bridge 'vmbr9' does not exist"
    done = both.run(**card)
    assert not done.get("failed"), done
    assert done["pending"] == ["net1"]
    assert "bridge 'vmbr9' does not exist" in done["task_warnings"][0]
    assert done["warnings"] == done["task_warnings"]
    again = both.run(**card)
    assert not again["changed"] and again["restart_required"]
    assert both.change(**card, restart="if_needed")["pending"] == []


def test_pool_in_out_and_moved(both):
    both.world.data["pools"] = {"a": [], "b": []}
    both.small(pool="a")
    both.change(pool="b")
    assert both.world.data["pools"] == {"a": [], "b": [both.sort.vmid]}
    both.change(pool="")
    both.run(pool="")
    assert len(both.lab.service.requests) <= 3


def test_number_of_another_kind_or_of_another_node(both):
    sort = both.sort
    other = next(other for other in SORTS if other is not sort)
    rival = {"conf": {"name": "dns", "hostname": "dns"}, "pending": {}, "delete": [], "running": False, "started": 0}
    both.world.data[other.stock][str(sort.vmid)] = rival
    result = both.run(**sort.given)
    assert result["msg"] == f"Unable to use {sort.what} on pve: {sort.vmid} is the {other.word} dns of node pve"
    assert not both.run(state="absent")["changed"], "there is no such guest"
    both.world.data[other.stock].clear()
    kind = {"VM": "qemu"}.get(sort.word, "lxc")
    row = {"vmid": sort.vmid, "type": kind, "node": "pve2", "name": "dns", "status": "running"}
    both.world.data["elsewhere"] = [row]
    for state in ("present", "absent"):
        result = both.run(**sort.given, state=state)
        assert result["msg"] == f"Unable to use {sort.what} on pve: dns is on node pve2 (say node: pve2)"


def test_somebody_was_faster(both):
    """What runs, is stopped or is gone already is as wanted."""
    both.small()

    def faster(method, path):
        if path.endswith(("/status/start", "/status/shutdown")):
            starts = path.endswith("/start")
            if both.sort.word == "VM":
                (both.lab.driver.start(101, {}, {}, None) if starts else both.lab.driver.stop(101))
            else:
                both.guest["running"] = starts
        if method == "DELETE":
            both.world.data[both.sort.stock].clear()

    both.lab.service.fault = faster
    assert both.run(state="started")["status"] == "running"
    assert both.run(state="stopped")["status"] == "stopped"
    assert both.run(state="absent")["exists"] is False


def test_unknown_node_and_missing_right(both):
    assert "hostname lookup 'zzz' failed" in both.run(node="zzz")["msg"]
    both.small()
    both.lab.service.tokens[harness.TOKEN]["deny"] = ["VM.Config.Options"]
    result = both.run(memory="1G")
    assert result["msg"] == (f"Unable to set memory of {both.sort.what}: Permission check failed "
                             f"(/vms/{both.sort.vmid}, VM.Config.Options)")  # fmt: skip


# somebody else writes, too


def test_changed_by_somebody_else_before_the_first_write(both):
    both.small()
    both.lab.service.fault = lambda method, path: both.conf().update(tags="x") if method == "PUT" else None
    result = both.run(memory="1G")
    assert result["msg"] == f"Unable to set memory of {both.sort.what}: {both.sort.stale}"
    assert both.conf()["memory"] == "512"


MANY = {"memory": "1G", "protection": False, "description": "mine"}


def many(both):
    """A run of several writes: protection, growth, configuration, the removal of a disk with its data, a move."""
    sort = both.sort
    both.small()
    both.change(**sort.disk(), protection=True)
    root = {"size": "2G", "storage": "local", "move": True}
    both.world.data["storages"]["local"]["content"] += ",rootdir"
    disks = {"rootfs": root, **sort.gone(destroy=True)} if sort.word == "container" else {
        "disks": {"scsi0": root, "scsi1": {"state": "absent", "destroy": True}}}  # fmt: skip
    return {**MANY, **disks}


def digests(both):
    """What each write that can carry a digest carried, in their order."""
    return [(path.rpartition("/")[2], params.get("digest")) for method, path, params in both.lab.service.sent
            if method != "GET" and path.endswith(("/config", "/resize", "/move_disk", "/move_volume"))]  # fmt: skip


def test_every_write_that_can_carries_its_digest(both):
    wanted = many(both)
    both.lab.service.sent.clear()
    done = both.run(**wanted)
    assert not done.get("failed"), done
    sent = digests(both)
    assert len(sent) == 5, sent
    assert all(digest for _path, digest in sent), sent
    assert len({digest for _path, digest in sent}) == 5, "each is that of the state before it"


@pytest.mark.parametrize("number", range(5))
def test_changed_by_somebody_else_before_a_later_write(both, number):
    """Between a write and the look that follows it, or between that look and the next write."""
    for moment in ("GET", "write"):
        both.world.data["vms"].clear()
        both.world.data["cts"].clear()
        both.world.data["volumes"].clear()
        both.lab.service.fault = None
        wanted, writes, done = many(both), [], []

        def fault(method, path, writes=writes, done=done, moment=moment):
            if path.endswith(("/config", "/resize", "/move_disk", "/move_volume")) and method != "GET":
                if len(writes) == number and moment == "write" and not done:
                    done.append(both.conf().update(tags="x"))
                writes.append(path)
            looks = method == "GET" and path.endswith("/pending") and len(writes) == number > 0
            if looks and moment == "GET" and not done:
                done.append(both.conf().update(tags="x"))

        both.lab.service.fault = fault
        result = both.run(**wanted)
        if not done:
            continue  # the first write has no look of its own
        assert result.get("failed"), (moment, number, result)
        between, at_write = "somebody else changed tags in between", ("checksum mismatch", "detected modified config")
        assert between in result["msg"] if moment == "GET" else any(word in result["msg"] for word in at_write)
        assert both.conf()["tags"] == "x"
        both.lab.service.fault = None
        assert not both.run(**wanted).get("failed")
        assert not both.run(**wanted)["changed"]


# clones and templates


def copy(both, **more):
    return {"vmid": 200, both.sort.name: "copy", "clone_from": both.sort.vmid, **more}


def test_clone_of_a_template(both):
    sort = both.sort
    both.small(template=True, tags=["a"])
    wanted = copy(both, memory="1G", state="started", networks={"net0": {"bridge": "vmbr0", "firewall": True}})
    wanted |= {"rootfs": {"size": "2G"}} if sort.word == "container" else {"disks": {"scsi0": {"size": "2G"}}}
    done = both.change(**wanted)
    assert done["steps"][0] == f"clone {sort.word} {sort.vmid} as {sort.word} 200 copy"
    assert both.conf(200)["net0"] != both.conf()["net0"]
    assert {volume.get("base") for volume in both.world.data["volumes"].values()} == {
        None, f"local-lvm:base-{sort.vmid}-disk-0"}  # fmt: skip
    assert "still in use by linked cloned" in both.run(state="absent")["msg"]
    assert "a template" in both.run(state="started")["msg"]
    assert f"Unable to make template {sort.vmid} a {sort.word} again" in both.run(template=False)["msg"]


def test_template_of_what_is_there_and_not_of_what_runs(both):
    both.small(state="started")
    assert "a template: it runs" in both.run(template=True)["msg"]
    both.change(state="stopped", template=True)
    assert both.conf()["template"] == "1"


def test_a_template_that_is_not_made_is_a_failure(both, monkeypatch):
    """A container's answer is empty; how it ended stands in the node's list of tasks only."""
    both.small()
    original = both.world.task

    def task(kind, ident, user, work):
        def broken(_log):
            raise TaskError("unable to convert: no space left")

        return original(kind, ident, user, broken if kind.endswith("template") else work)

    monkeypatch.setattr(both.world, "task", task)
    result = both.run(template=True)
    assert result["msg"] == f"Unable to make {both.sort.what} a template: unable to convert: no space left"


def test_a_template_is_waited_for(both):
    both.small()
    both.world.task_delay = 0.3
    assert both.run(template=True)["config"]["template"] == "1"


def test_clone_to_another_storage_is_full_and_its_diff_exact(both):
    both.world.data["storages"]["local"]["content"] += ",rootdir"
    both.small(template=True)
    root = {"storage": "local", "size": "2G"}
    disks = {"rootfs": root} if both.sort.word == "container" else {"disks": {"scsi0": root}}
    done = both.change(**copy(both, clone_storage="local", **disks))
    assert done["warnings"] == []
    assert any(volume.startswith("local:200/") for volume in both.world.data["volumes"])
    result = both.run(**{**copy(both, clone_storage="local", clone_full=False), "vmid": 201})
    assert "parameter 'storage' not allowed for linked clones" in result["msg"]


def test_a_clone_is_of_what_runs_not_of_what_waits(both):
    both.small()
    both.guest["pending"] = {"nameserver": "9.9.9.9"}
    both.change(**copy(both))
    assert "nameserver" not in both.conf(200)


def test_clone_of_nothing_and_of_what_cannot_be_cloned(both):
    sort = both.sort
    result = both.run(**copy(both, clone_from=999))
    assert result["msg"] == f"Unable to clone {sort.word} 999: it does not exist on pve"
    if sort.word == "container":
        both.small(state="started")
        result = both.run(**copy(both))
        assert "Full clone of a running container is only possible from a snapshot" in result["msg"]
        both.change(state="stopped")
        both.conf()["mp0"] = "/tank/media,mp=/media"
        assert "unable to clone mountpoint 'mp0' (type bind)" in both.run(**copy(both))["msg"]
    assert "200" not in both.world.data[sort.stock]


def test_clone_killed_before_it_was_configured_converges(both):
    both.small(template=True)
    wanted = copy(both, memory="1G", state="started", networks={"net0": {"bridge": "vmbr0", "firewall": True}})
    wanted |= {"rootfs": {"size": "2G"}} if both.sort.word == "container" else {
        "disks": {"scsi0": {"size": "2G"}}, "cloud_init": {"password": "planted-secret"}}  # fmt: skip
    for stop in ("/clone", "/resize", "/config", "/status/start"):

        def fault(method, path, stop=stop):
            if method != "GET" and path.endswith(stop):
                raise ConnectionAbortedError

        both.lab.service.fault = fault
        assert both.run(**wanted).get("failed")
        both.lab.wait_tasks()
    both.lab.service.fault = None
    both.run(**wanted)
    again = both.run(**wanted)
    assert not again["changed"]
    assert (both.conf(200)["memory"], again["status"]) == ("1024", "running")
    assert both.sort.word == "container" or both.conf(200)["cipassword"] == "planted-secret"


def test_what_a_clone_of_a_container_keeps(lab):
    both = Both(lab, SORTS[1])
    both.small(template=True)
    result = both.run(**copy(both, unprivileged=False))
    assert result["msg"].startswith("Unable to make container 200 privileged: it is unprivileged")
    done = both.run(**copy(both, unprivileged=True, password="planted-secret", ssh_keys=[harness.KEY]))
    assert done["warnings"] == ["container 200 is a clone and keeps its template's password and ssh_keys"]
    assert "planted-secret" not in str({**done, "invocation": None})
    assert lab.container(200)["unprivileged"] == "1"


def test_a_linked_clone_that_the_storage_cannot_make(lab):
    """Containers are cloned linked from storages that clone raw volumes; a folder cannot."""
    both = Both(lab, SORTS[1])
    lab.world.data["storages"]["local"]["content"] += ",rootdir"
    both.small(template=True)
    both.conf()["rootfs"] = "local:120/base-120-disk-0.raw,size=1G"
    lab.world.data["volumes"]["local:120/base-120-disk-0.raw"] = {"size": 2**30, "format": "raw", "vmid": 120}
    result = both.run(**copy(both))
    assert "Linked clone feature for 'local:120/base-120-disk-0.raw' is not available" in result["msg"]
    both.change(**copy(both, clone_full=True))


def test_a_locked_guest_is_told(both):
    both.small()
    both.conf()["lock"] = "backup"
    assert both.run(memory="1G")["msg"] == (
        f"Unable to set memory of {both.sort.what}: {both.sort.short} is locked (backup)"
    )


def test_no_quorum_is_told(both):
    both.small()
    both.lab.service.fault = lambda method, path: ApiError(500, "cluster not ready - no quorum?")
    assert both.run()["msg"] == f"Unable to read {both.sort.what}: cluster not ready - no quorum?"
