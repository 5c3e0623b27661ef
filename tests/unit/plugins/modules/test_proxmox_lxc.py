# SPDX-License-Identifier: MIT
from __future__ import annotations

import pytest
from ansible_collections.homelab.mediaserver.plugins.modules import proxmox_lxc
from ansible_collections.homelab.mediaserver.tests.unit.fake_pve import harness

CT = {"node": "pve", "vmid": 120}
SMALL = {**CT, "hostname": "dns", "memory": "256M", "rootfs": {"storage": "local-lvm", "size": "2G"},
         "networks": {"net0": {"bridge": "vmbr0", "ip": "dhcp"}}}  # fmt: skip


def small(lab, **more):
    result = lab.run(proxmox_lxc, **{**SMALL, "ostemplate": lab.template(), **more})
    assert not result.get("failed"), result
    return result


def change(lab, **more):
    return lab.order(proxmox_lxc, **CT, **more)


def full(lab):
    return {
        **SMALL, "ostemplate": lab.template(), "state": "started", "cores": 2, "cpulimit": 1.5, "memory": "1G",
        "swap": 0,
        "rootfs": {"storage": "local-lvm", "size": "8G", "mount_options": ["noatime"]},
        "mounts": {"mp0": {"storage": "local-lvm", "size": "20G", "path": "/srv/data", "backup": True}},
        "networks": {"net0": {"bridge": "vmbr0", "ip": "192.168.1.120/24", "gateway": "192.168.1.1", "ip6": "auto",
                              "vlan": 20, "firewall": True, "rate": 10}},
        "nameservers": ["192.168.1.1", "9.9.9.9"], "searchdomain": "home.test", "features": {"nesting": True},
        "ssh_keys": [harness.KEY], "password": "planted-secret", "onboot": True, "startup": {"order": 3, "down": 30},
        "protection": False, "tags": ["Media", "b"], "description": "one\ntwo\n", "timezone": "Europe/Paris",
        "console": True, "console_mode": "shell", "tty": 1, "unprivileged": True,
    }  # fmt: skip


def test_missing_arguments(lab):
    assert "node" in lab.run(proxmox_lxc, vmid=120)["msg"]


def test_full_container_check_create_again_absent(lab):
    done = lab.order(proxmox_lxc, **full(lab))
    assert done["steps"] == ["create container 120 dns", "start container 120"]
    assert done["status"] == "running"
    assert "planted-secret" not in str(done)
    config = lab.container(120)
    assert config["rootfs"] == "local-lvm:vm-120-disk-0,mountoptions=noatime,size=8G"
    assert config["mp0"] == "local-lvm:vm-120-disk-1,backup=1,mp=/srv/data,size=20G"
    assert config["unprivileged"] == "1"
    assert config["memory"] == "1024"
    assert config["net0"].startswith("bridge=vmbr0,firewall=1,gw=192.168.1.1,hwaddr=BC:24:11:")
    lab.run(proxmox_lxc, **full(lab))
    assert len(lab.service.requests) <= 3, lab.service.requests
    gone = change(lab, state="absent")
    assert gone["steps"] == ["shut down container 120", "destroy container 120 and its disks"]
    assert lab.world.data["volumes"] == {}


def test_unprivileged_unless_said_and_for_good(lab):
    small(lab)
    assert lab.container(120)["unprivileged"] == "1", "8.4 would make it privileged"
    result = lab.run(proxmox_lxc, **CT, unprivileged=False)
    assert result["msg"] == ("Unable to make container 120 privileged: it is unprivileged, and Proxmox VE lets that be "
                             "chosen at creation only")  # fmt: skip
    assert not lab.run(proxmox_lxc, **CT, unprivileged=True)["changed"]


def test_not_made_without_name_or_template(lab):
    assert "it is created when hostname is given" in lab.run(proxmox_lxc, **CT)["msg"]
    assert lab.run(proxmox_lxc, **SMALL)["msg"] == "Unable to create container 120: ostemplate is not given"
    result = lab.run(proxmox_lxc, **SMALL, ostemplate="local:vztmpl/none.tar.zst")
    assert result["msg"] == ("Unable to create container 120 dns: unable to create CT 120 - "
                             "volume 'local:vztmpl/none.tar.zst' does not exist")  # fmt: skip
    assert lab.world.data["cts"] == {}


def test_what_a_running_container_takes_at_once(lab):
    small(lab, state="started")
    done = change(lab, memory="512M", cores=1, hostname="other", tags=["x"], onboot=True)
    assert done["pending"] == []
    assert lab.container(120)["memory"] == "512"
    before = lab.container(120)["net0"]
    change(lab, networks={"net0": {"vlan": 7}, "net1": {"bridge": "vmbr1"}})
    assert "tag=7" in lab.container(120)["net0"]
    assert before.partition("hwaddr=")[2][:17] in lab.container(120)["net0"], "the MAC address stays"
    assert lab.container(120)["net1"].startswith("bridge=vmbr1,hwaddr=BC:24:11:")


def test_what_waits_for_a_restart(lab):
    small(lab, state="started")
    done = change(lab, nameservers=["9.9.9.9"], timezone="host", features={"nesting": True})
    assert done["pending"] == ["features", "nameserver", "timezone"]
    again = lab.run(proxmox_lxc, check=True, **CT, nameservers=["9.9.9.9"])
    assert not again["changed"]
    assert again["restart_required"]
    done = change(lab, nameservers=["9.9.9.9"], restart="if_needed")
    assert done["steps"] == ["restart container 120 for features, nameserver, timezone"]
    assert lab.container(120)["nameserver"] == "9.9.9.9"


def test_volumes_grow_and_never_shrink(lab):
    small(lab, mounts={"mp0": {"storage": "local-lvm", "size": "1G", "path": "/data"}})
    done = change(lab, rootfs={"size": "3G"}, mounts={"mp0": {"size": "2G", "backup": True}})
    assert done["steps"] == ["grow disk mp0 of container 120 to 2G", "grow disk rootfs of container 120 to 3G",
                             "set mp0 of container 120"]  # fmt: skip
    assert lab.container(120)["rootfs"].endswith("size=3G")
    result = lab.run(proxmox_lxc, **CT, rootfs={"size": "1G"})
    assert result["msg"].startswith("Unable to shrink disk rootfs of container 120 from 3G to 1G")


def test_a_waiting_root_volume_does_not_bring_its_old_size_back(lab):
    small(lab, state="started")
    change(lab, rootfs={"mount_options": ["noatime"]})
    done = change(lab, rootfs={"size": "5G"})
    assert done["steps"] == ["grow disk rootfs of container 120 to 5G"]
    change(lab, rootfs={"size": "5G"}, restart="if_needed")
    assert lab.container(120)["rootfs"] == "local-lvm:vm-120-disk-0,mountoptions=noatime,size=5G"


def test_destroying_data_of_a_running_container_wants_a_restart(lab):
    small(lab, state="started", mounts={"mp0": {"storage": "local-lvm", "size": "1G", "path": "/data"}})
    gone = {"mp0": {"state": "absent", "destroy": True}}
    result = lab.run(proxmox_lxc, **CT, mounts=gone)
    assert result["msg"].startswith("Unable to destroy the data of mp0 of container 120: it runs and would have to")
    assert "mp0" in lab.container(120)
    done = change(lab, mounts=gone, restart="if_needed")
    assert done["steps"] == ["remove mp0 of container 120", "restart container 120 for mp0",
                             "destroy the data of mp0 of container 120"]  # fmt: skip
    assert list(lab.world.data["volumes"]) == ["local-lvm:vm-120-disk-0"]


def test_a_mount_point_taken_away_by_mistake_comes_back_with_its_data(lab):
    small(lab, state="started", mounts={"mp0": {"storage": "local-lvm", "size": "1G", "path": "/data"}})
    volume = lab.container(120)["mp0"].partition(",")[0]
    change(lab, mounts={"mp0": {"state": "absent"}})
    done = change(lab, mounts={"mp0": {"storage": "local-lvm", "size": "1G", "path": "/data"}})
    assert done["pending"] == []
    assert lab.container(120)["mp0"].startswith(volume), "no new volume"


def test_volume_moves_on_request_while_it_is_not_used(lab):
    lab.world.data["storages"]["local"]["content"] += ",rootdir"
    small(lab)
    told = lab.run(proxmox_lxc, **CT, rootfs={"storage": "local"})
    assert not told["changed"]
    assert "lies on local-lvm, not on local: it stays there (move: true moves it)" in str(told["warnings"])
    change(lab, state="started")
    result = lab.run(proxmox_lxc, **CT, rootfs={"storage": "local", "move": True})
    assert result["msg"] == "Unable to move rootfs of container 120: it runs (use state: stopped)"
    done = change(lab, state="stopped", rootfs={"storage": "local", "move": True})
    assert done["steps"] == ["shut down container 120", "move rootfs of container 120 to local"]
    assert list(lab.world.data["volumes"]) == ["local:120/vm-120-disk-0.raw"]


ROOT_HINT = "(Proxmox VE lets only root@pam with a password do this"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"mounts": {"mp0": {"volume": "/tank/media", "path": "/media"}}}, "mount point type bind is only allowed for"),
        ({"mounts": {"mp0": {"volume": "/dev/sdb", "path": "/media"}}}, "mount point type device is only allowed for"),
        ({"devices": {"dev0": {"path": "/dev/dri/renderD128", "gid": 104}}}, "configuring device passthrough is only"),
        ({"features": {"keyctl": True}}, "changing feature flags (except nesting) is only allowed for root@pam"),
        ({"hookscript": "local:snippets/x.sh"}, "changing the hookscript is only allowed for root@pam"),
    ],
)
def test_what_only_root_may_is_said_and_done_by_root(lab, arguments, message):
    small(lab)
    result = lab.run(proxmox_lxc, **CT, **arguments)
    assert message in result["msg"]
    assert ROOT_HINT in result["msg"]
    assert result["failure"]["status"] == 403
    change(lab, **arguments, **lab.as_root())


def test_a_token_may_say_no_to_a_feature_that_is_not_there(lab):
    small(lab, features={"nesting": True, "fuse": False, "keyctl": False})
    assert lab.container(120)["features"] == "nesting=1"
    assert change(lab, features={"nesting": False})["steps"] == ["remove features of container 120"]


def test_bind_mounts_of_root_change_their_folder_and_device_modes_are_octal(lab):
    small(lab, **lab.as_root(), mounts={"mp0": {"volume": "/tank/a", "path": "/media", "read_only": True}},
          devices={"dev0": {"path": "/dev/dri/renderD128", "mode": 0o660}})  # fmt: skip
    assert lab.container(120)["dev0"] == "/dev/dri/renderD128,mode=0660"
    done = change(lab, mounts={"mp0": {"volume": "/tank/b"}}, **lab.as_root())
    assert done["diff"]["after"]["mp0"] == {"volume": "/tank/b", "mp": "/media", "ro": "1"}
    change(lab, mounts={"mp0": {"state": "absent"}}, **lab.as_root())
    assert not [key for key in lab.container(120) if key.startswith("unused")], "a folder of the node is no volume"


def test_an_empty_text_takes_a_property_away(lab):
    small(lab, networks={"net0": {"bridge": "vmbr0", "ip": "10.0.0.2/24", "gateway": "10.0.0.1", "vlan": 5}})
    change(lab, networks={"net0": {"ip": "dhcp", "gateway": "", "vlan": ""}})
    assert "gw=" not in lab.container(120)["net0"]
    assert "tag=" not in lab.container(120)["net0"]


def test_removals_are_explicit(lab):
    small(lab, description="x", tags=["a"], nameservers=["9.9.9.9"], searchdomain="a.test", timezone="host")
    change(lab, description="", tags=[], nameservers=[], searchdomain="", timezone="",
           networks={"net0": {"state": "absent"}})  # fmt: skip
    assert not {"description", "tags", "nameserver", "searchdomain", "timezone", "net0"} & set(lab.container(120))


def test_protection(lab):
    small(lab, protection=True)
    assert "can't remove CT 120 - protection mode enabled" in lab.run(proxmox_lxc, **CT, state="absent")["msg"]
    result = lab.run(proxmox_lxc, **CT, rootfs={"mount_options": ["noatime"]})
    assert "can't update CT 120 drive 'rootfs' - protection mode enabled" in result["msg"]
    change(lab, protection=False)
    change(lab, state="absent")


def test_a_folder_of_the_node_is_never_destroyed(lab):
    small(lab, **lab.as_root(), state="started", mounts={"mp0": {"volume": "/tank/a", "path": "/media"}})
    done = change(lab, mounts={"mp0": {"state": "absent", "destroy": True}}, **lab.as_root())
    assert done["steps"] == ["remove mp0 of container 120"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"mounts": {"mp256": {"path": "/x"}}}, "Unable to use mounts.mp256: no such slot in Proxmox VE"),
        ({"mounts": {"mp0": {"storage": "local-lvm", "path": "/x"}}}, "Unable to make disk mp0: it does not exist and"),
        ({"mounts": {"mp0": {"volume": "/a", "size": "1G", "path": "/x"}}}, "a folder of the node has no storage and"),
        ({"mounts": {"mp0": {"storage": "s", "size": "1G", "path": "x"}}}, "path must be absolute in the container"),
        ({"networks": {"net0": {"brige": "vmbr0"}}}, "Unable to use networks.net0: unknown option brige"),
        ({"networks": {"net0": {"ip": "dhcp", "firewall": "maybe"}}}, "it must be true or false"),
        ({"memory": "lots"}, "Unable to understand the size 'lots'"),
    ],
)
def test_mistakes(lab, arguments, message):
    small(lab)
    result = lab.run(proxmox_lxc, **CT, **arguments)
    assert result.get("failed")
    assert message in result["msg"]


# what goes wrong between here and there


@pytest.mark.parametrize("writes", [0, 1, 2, 3, 4, 5])
def test_killed_between_two_writes_converges(lab, writes):
    """The client dies before a write: what the next run makes is what an undisturbed one had made."""
    lab.run(proxmox_lxc, **full(lab))
    wanted = {**full(lab), "restart": "if_needed", "rootfs": {"size": "9G", "mount_options": ["noexec"]},
              "mounts": {"mp0": {"state": "absent"}, "mp1": {"storage": "local-lvm", "size": "1G", "path": "/one"}},
              "timezone": "host", "memory": "2G", "networks": {"net0": {"vlan": ""}}}  # fmt: skip
    left = [writes]

    def fault(method, path):
        if method != "GET":
            left[0] -= 1
            if left[0] < 0:
                raise ConnectionAbortedError

    lab.service.fault = fault
    first = lab.run(proxmox_lxc, **wanted)
    assert bool(first.get("failed")) == (left[0] < 0)
    lab.wait_tasks()
    lab.service.fault = None
    second = lab.run(proxmox_lxc, **{**wanted, "state": "started"})
    assert not second.get("failed"), second
    assert not lab.run(proxmox_lxc, **wanted)["changed"]
    config = lab.container(120)
    assert (config["timezone"], config["memory"], config["unused0"]) == ("host", "2048", "local-lvm:vm-120-disk-1")
    assert config["rootfs"] == "local-lvm:vm-120-disk-0,mountoptions=noexec,size=9G"
    assert config["mp1"].endswith("mp=/one,size=1G")
    assert "tag" not in config["net0"]
    assert lab.world.data["cts"]["120"]["running"]
    assert lab.world.data["cts"]["120"]["pending"] == {}


def test_a_start_that_fails_is_a_failure(lab, monkeypatch):
    """Recorded: 'unable to get PID for CT 311 (not running?)'. It is not the answer to a stop."""
    from ansible_collections.homelab.mediaserver.tests.lab.fake_pve import lxc
    from ansible_collections.homelab.mediaserver.tests.lab.fake_pve.errors import TaskError

    small(lab)

    def broken(*_arguments):
        raise TaskError("unable to get PID for CT 120 (not running?)")

    monkeypatch.setattr(lxc, "_apply", broken)
    result = lab.run(proxmox_lxc, **CT, state="started")
    assert result["msg"] == "Unable to start container 120: unable to get PID for CT 120 (not running?)"
    assert result["failure"]["log"][-1].startswith("TASK ERROR")
