# SPDX-License-Identifier: MIT
"""What Proxmox VE does that a naive client trips over, each measured on the real code or read in its source."""

from __future__ import annotations

import threading
import time

import pytest
from ansible_collections.homelab.mediaserver.plugins.module_utils import _pve_guest
from ansible_collections.homelab.mediaserver.plugins.modules import proxmox_vm
from ansible_collections.homelab.mediaserver.tests.lab.fake_pve import qemu
from ansible_collections.homelab.mediaserver.tests.lab.fake_pve.errors import ApiError
from ansible_collections.homelab.mediaserver.tests.unit.fake_pve import harness

VM = {"node": "pve", "vmid": 101}
SMALL = {
    **VM, "name": "web", "cores": 1, "memory": "512M",
    "disks": {"scsi0": {"storage": "local", "size": "1G"}},
    "networks": {"net0": {"bridge": "vmbr0"}},
}  # fmt: skip
GIB = 2**30


def small(lab, **more):
    result = lab.run(proxmox_vm, **{**SMALL, **more})
    assert not result.get("failed"), result
    return result


def change(lab, **more):
    return lab.order(proxmox_vm, **VM, **more)


def conf(lab):
    return lab.world.data["vms"]["101"]["conf"]


# disks


def test_growing_a_disk_with_a_waiting_option_keeps_its_size_through_the_restart(lab):
    """bpg/terraform-provider-proxmox #1909: the waiting text holds the old size."""
    small(lab, state="started")
    change(lab, disks={"scsi0": {"cache": "writeback"}})
    assert "size=1G" in lab.world.data["vms"]["101"]["pending"]["scsi0"]
    change(lab, disks={"scsi0": {"size": "3G"}})
    change(lab, disks={"scsi0": {"size": "3G"}}, restart="if_needed")
    assert lab.config(101)["scsi0"] == "local:101/vm-101-disk-0.raw,cache=writeback,size=3G"


def test_a_disk_that_waits_is_grown_after_the_restart(lab):
    """sata is not hotplugged: the disk exists for the API, but cannot be resized yet."""
    small(lab, state="started")
    arguments = {"disks": {"sata0": {"storage": "local", "import_from": lab.image(size=GIB), "size": "4G"}}}
    first = lab.run(proxmox_vm, **VM, **arguments)
    assert not first.get("failed"), first
    assert first["pending"] == ["sata0"]
    assert "disk sata0 grows in the first run after its restart" in str(first["warnings"])
    again = lab.run(proxmox_vm, **VM, **arguments)
    assert not again["changed"]
    assert again["diff"]["before"] == again["diff"]["after"]
    done = change(lab, **arguments, restart="if_needed")
    assert done["steps"] == ["restart VM 101 for sata0", "grow disk sata0 of VM 101 to 4G"]
    assert lab.config(101)["sata0"].endswith("size=4G")


def test_a_disk_taken_away_by_mistake_comes_back_with_its_data(lab):
    small(lab, disks={"sata0": {"storage": "local", "size": "1G"}}, state="started")
    volume = conf(lab)["sata0"].partition(",")[0]
    change(lab, disks={"sata0": {"state": "absent"}})
    done = change(lab, disks={"sata0": {"storage": "local", "size": "2G"}})
    assert done["pending"] == []
    assert lab.config(101)["sata0"] == f"{volume},size=2G", "no new volume"


def test_a_disk_goes_to_another_bus_with_its_data(lab):
    small(lab)
    volume = conf(lab)["scsi0"].partition(",")[0]
    there = {"volume": volume, "size": "2G", "discard": True}
    change(lab, boot=["virtio0"], disks={"scsi0": {"state": "absent"}, "virtio0": there})
    assert lab.config(101)["virtio0"] == f"{volume},discard=on,size=2G"
    assert not {"scsi0", "unused0"} & set(lab.config(101))


def test_a_disk_moves_only_if_asked(lab):
    small(lab, state="started")
    told = lab.run(proxmox_vm, **VM, disks={"scsi0": {"storage": "local-lvm"}})
    assert not told["changed"]
    done = change(lab, disks={"scsi0": {"storage": "local-lvm", "move": True, "size": "2G"}})
    assert done["steps"] == ["grow disk scsi0 of VM 101 to 2G", "move scsi0 of VM 101 to local-lvm"]
    assert list(lab.world.data["volumes"]) == ["local-lvm:vm-101-disk-0"]


def test_a_disk_with_a_waiting_option_is_not_moved_below_it(lab):
    """The waiting text names the old volume, which the move destroys."""
    small(lab, state="started")
    arguments = {"disks": {"scsi0": {"storage": "local-lvm", "move": True, "cache": "writeback"}}}
    result = lab.run(proxmox_vm, **VM, **arguments)
    assert result["msg"].startswith("Unable to move scsi0 of VM 101 to local-lvm: it runs and would have to restart")
    done = change(lab, **arguments, restart="if_needed")
    assert done["steps"] == ["set scsi0 of VM 101", "restart VM 101 for scsi0", "move scsi0 of VM 101 to local-lvm"]


def test_cd_rom_comes_changes_and_goes(lab):
    iso = lab.root / "var/lib/vz/template/iso"
    iso.mkdir(parents=True)
    small(lab)
    change(lab, disks={"ide0": {"media": "cdrom", "volume": "local:iso/a.iso"}}, boot=["ide0", "scsi0"])
    change(lab, state="started")
    done = change(lab, disks={"ide0": {"media": "cdrom", "volume": "none"}}, boot=["scsi0"])
    assert done["diff"]["after"]["ide0"] == {"volume": "none", "media": "cdrom"}
    assert done["pending"] == ["boot"], "the medium is changed at once"
    result = lab.run(proxmox_vm, **VM, disks={"ide1": {"media": "cdrom", "storage": "local"}})
    assert "a CD-ROM takes volume only" in result["msg"]
    result = lab.run(proxmox_vm, **VM, disks={"scsi0": {"media": "cdrom", "volume": "none"}})
    assert "Unable to attach none as scsi0 of VM 101" in result["msg"]


def test_second_cloud_init_drive_is_never_made_nor_another_one_overwritten(lab):
    small(lab, cloud_init={"storage": "local", "drive": "sata1"})
    assert not lab.run(proxmox_vm, **VM, cloud_init={"storage": "local"})["changed"], "one is enough, wherever it is"
    small(lab, vmid=102)
    lab.run(proxmox_vm, node="pve", vmid=102, disks={"ide2": {"media": "cdrom", "volume": "none"}})
    result = lab.run(proxmox_vm, node="pve", vmid=102, cloud_init={"storage": "local"})
    assert result["msg"] == "Unable to make the cloud-init drive ide2 of VM 102: none,media=cdrom is there"


def test_a_new_cd_rom_drive_does_not_enter_a_boot_order_that_is_declared(lab):
    small(lab, boot=["scsi0"])
    done = change(lab, boot=["scsi0"], disks={"ide0": {"media": "cdrom", "volume": "none"}})
    assert done["steps"] == ["set ide0 of VM 101", "set boot of VM 101"]
    assert conf(lab)["boot"] == "order=scsi0"
    change(lab, disks={"ide1": {"media": "cdrom", "volume": "none"}})
    assert conf(lab)["boot"] == "order=scsi0;ide1", "Proxmox VE's own doing where nothing is declared"


# what a running VM takes, and what it does not


def test_failed_hotplug_waits_and_is_told(lab):
    """HTTP 400 'hotplug problem', but everything is written down and comes into force with the next start."""
    small(lab, state="started")
    lab.world.hotplug_fails["net0"] = "command '/sbin/tc filter add' failed: exit code 2"
    arguments = {"networks": {"net0": {"rate": 10}}, "memory": "1G", "tags": ["x"]}
    done = lab.run(proxmox_vm, **VM, **arguments)
    assert not done.get("failed"), done
    assert done["pending"] == ["memory", "net0"]
    assert "hotplug problem - command '/sbin/tc filter add' failed: exit code 2" in done["task_warnings"][0]
    assert done["warnings"] == done["task_warnings"]
    again = lab.run(proxmox_vm, **VM, **arguments)
    assert not again["changed"]
    assert again["restart_required"]
    assert conf(lab)["tags"] == "x"
    done = change(lab, **arguments, restart="if_needed")
    assert done["pending"] == []
    assert "rate=10" in conf(lab)["net0"]


def test_failed_hotplug_restarts_if_asked_and_only_once(lab):
    small(lab, state="started")
    lab.world.hotplug_fails["net0"] = "no"
    for arguments in ({"networks": {"net0": {"rate": 10}}}, {"networks": {"net0": {"rate": 20}}, "memory": "1G"}):
        lab.driver.calls.clear()
        done = lab.run(proxmox_vm, **VM, **arguments, restart="if_needed")
        assert not done.get("failed"), done
        assert done["pending"] == []
        assert [call for call, _vmid in lab.driver.calls if call in ("shutdown", "start")] == ["shutdown", "start"]
    assert "rate=20" in conf(lab)["net0"]


def test_failed_hotplug_in_a_task_waits_too(lab):
    small(lab, state="started")
    lab.world.hotplug_fails["scsi1"] = "can't hotplug device 'pci.3'"
    arguments = {"disks": {"scsi1": {"storage": "local", "import_from": lab.image(size=GIB), "size": "2G"}}}
    done = lab.run(proxmox_vm, **VM, **arguments)
    assert not done.get("failed"), done
    assert done["pending"] == ["scsi1"]
    assert not lab.run(proxmox_vm, **VM, **arguments)["changed"], "the image is not imported a second time"
    lab.run(proxmox_vm, **VM, **arguments, restart="if_needed")
    assert conf(lab)["scsi1"].endswith("size=2G")


def test_another_refusal_of_parameters_is_a_failure(lab):
    small(lab, state="started")
    result = lab.run(proxmox_vm, **VM, networks={"net0": {"model": "virtioo"}})
    assert result["failure"]["status"] == 400


def test_hotplug_off_makes_devices_wait(lab):
    small(lab, hotplug=[], state="started")
    assert conf(lab)["hotplug"] == "0"
    arguments = {"networks": {"net0": {"model": "e1000"}}, "disks": {"scsi1": {"storage": "local", "size": "1G"}}}
    checked = lab.run(proxmox_vm, check=True, **VM, **arguments)
    assert checked["pending"] == ["net0", "scsi1"]
    assert change(lab, **arguments)["pending"] == ["net0", "scsi1"]
    small(lab, vmid=102, hotplug=[], state="started")
    done = lab.run(proxmox_vm, node="pve", vmid=102, networks={"net0": {"vlan": 3}})
    assert done["pending"] == [], "a bridge and what belongs to it is changed without hotplug"
    assert not lab.run(proxmox_vm, **VM, hotplug=[])["changed"]


def test_backup_option_of_a_sata_disk_is_taken_at_once(lab):
    small(lab, disks={"sata0": {"storage": "local", "size": "1G"}}, state="started")
    done = change(lab, disks={"sata0": {"backup": False}}, restart="if_needed")
    assert done["steps"] == ["set sata0 of VM 101"], "no restart"


def test_a_serial_number_of_a_disk_wants_the_restart_that_proxmox_does_not_ask_for(lab):
    """The API writes it down as in force, but QEMU learns it when it starts."""
    small(lab, state="started")
    done = change(lab, disks={"scsi0": {"serial": "abc"}}, restart="if_needed")
    assert done["steps"] == ["set scsi0 of VM 101", "restart VM 101 for scsi0"]


def test_one_volume_is_never_two_disks(lab):
    small(lab, state="started")
    volume = conf(lab)["scsi0"].partition(",")[0]
    result = lab.run(proxmox_vm, **VM, disks={"virtio0": {"volume": volume}})
    assert result["msg"] == f"Unable to attach {volume} as virtio0 of VM 101: it is scsi0 already"
    result = lab.run(proxmox_vm, **VM, disks={"scsi0": {"state": "absent"}, "virtio0": {"volume": volume}})
    assert result["msg"] == (
        f"Unable to attach {volume} as virtio0 of VM 101: it is scsi0 of the running guest (use state: stopped)"
    )
    change(lab, state="stopped", disks={"scsi0": {"state": "absent"}, "virtio0": {"volume": volume}})


# one form for what means the same


@pytest.mark.parametrize(
    "arguments",
    [
        {"machine": "q35"},
        {"tags": ["B", "a"]},
        {"tags": ["b", "A", "a"]},
        {"description": "one  \ntwo\n"},
        {"bios": "seabios", "sockets": 1, "onboot": False, "protection": False, "numa": False, "tablet": True},
        {"agent": False, "hotplug": ["usb", "disk", "network"], "cpulimit": 0},
        {"cpu": "host"},
        {"boot": []},
        {"memory": 512},
        {"cloud_init": {"nameservers": ["1.1.1.1", "9.9.9.9"], "searchdomain": "home.test", "upgrade": True}},
        {"rng": {"source": "/dev/urandom", "max_bytes": 1024, "period": 1000}},
    ],
)
def test_no_change_for_what_is_so_already(lab, arguments):
    small(lab)
    conf(lab).update(
        machine="pc-q35-9.0", tags="a;b", description="one\ntwo", cpu="host,flags=+aes;-pcid", boot=" ",
        nameserver="1.1.1.1 9.9.9.9", searchdomain="home.test", rng0="source=/dev/urandom",
    )  # fmt: skip
    result = lab.run(proxmox_vm, **VM, **arguments)
    assert not result.get("failed"), result
    assert not result["changed"], result["steps"]


def test_tags_that_the_api_writes_small_are_no_change(lab):
    small(lab)
    change(lab, tags=["Media", "Home"])
    assert conf(lab)["tags"] == "home;media"


def test_machine_changes_between_kinds_and_keeps_its_other_properties(lab):
    small(lab)
    conf(lab)["machine"] = "pc-q35-9.0,viommu=intel"
    change(lab, machine="pc-i440fx-9.0")
    assert conf(lab)["machine"] == "pc-i440fx-9.0,viommu=intel"


def test_an_empty_text_takes_a_property_away(lab):
    small(lab, cpu="host,flags=+aes", cloud_init={"storage": "local", "vendor_snippet": "local:snippets/v.yml"},
          disks={"scsi0": {"storage": "local", "size": "1G", "serial": "abc"}},
          networks={"net0": {"bridge": "vmbr0", "vlan": 5, "rate": 3}})  # fmt: skip
    change(lab, cpu="host,flags=", cloud_init={"vendor_snippet": ""}, disks={"scsi0": {"serial": ""}},
           networks={"net0": {"vlan": "", "rate": ""}})  # fmt: skip
    assert conf(lab)["cpu"] == "host"
    assert "cicustom" not in conf(lab)
    assert conf(lab)["scsi0"].endswith("raw,size=1G")
    assert conf(lab)["net0"].endswith(",bridge=vmbr0")


def test_cloud_init_keys_go_explicitly(lab):
    first = {"user": "u", "ssh_keys": [harness.KEY], "nameservers": ["1.1.1.1"], "searchdomain": "a.test",
             "ipconfig": [{"ip": "dhcp"}]}  # fmt: skip
    small(lab, cloud_init=first)
    change(lab, cloud_init={"user": "", "ssh_keys": [], "nameservers": [], "searchdomain": "", "ipconfig": [{}]})
    assert not {"ciuser", "sshkeys", "nameserver", "searchdomain", "ipconfig0"} & set(conf(lab))


def test_password_is_set_where_there_is_none(lab):
    small(lab)
    done = change(lab, cloud_init={"password": "planted-secret"})
    assert "planted-secret" not in str(done)
    assert conf(lab)["cipassword"]


def test_mac_address_is_shown_where_it_is_wished(lab):
    small(lab)
    done = change(lab, networks={"net0": {"mac": "bc:24:11:00:00:01"}})
    assert done["diff"]["after"]["net0"]["macaddr"] == "BC:24:11:00:00:01"


def test_what_a_home_server_needs_besides(lab):
    small(lab, rng={"source": "/dev/urandom"}, watchdog={"model": "i6300esb", "action": "reset"}, tablet=False,
          cpulimit=1.5, cpuunits=200, localtime=True, keyboard="fr", hotplug=["disk", "network", "usb"])  # fmt: skip
    assert (conf(lab)["rng0"], conf(lab)["watchdog"]) == ("/dev/urandom", "i6300esb,action=reset")
    assert (conf(lab)["tablet"], conf(lab)["cpulimit"], conf(lab)["keyboard"]) == ("0", "1.5", "fr")
    change(lab, rng={"max_bytes": 2048}, watchdog={"state": "absent"}, cpulimit=2)
    assert conf(lab)["rng0"] == "/dev/urandom,max_bytes=2048"
    result = lab.run(proxmox_vm, **VM, args="-no-hpet")
    assert "only root can set 'args' config (Proxmox VE lets only root@pam" in result["msg"]


def test_boot_order_is_written_after_the_devices(lab):
    """A removed device leaves the order by itself; a new one must be there to be named."""
    small(lab, disks={"scsi0": {"storage": "local", "size": "1G"}, "scsi1": {"storage": "local", "size": "1G"}},
          boot=["scsi1", "scsi0"])  # fmt: skip
    done = change(lab, disks={"scsi1": {"state": "absent"}, "virtio0": {"storage": "local", "size": "1G"}},
                  boot=["virtio0", "scsi0"])  # fmt: skip
    assert done["steps"] == ["set virtio0 and remove scsi1 of VM 101", "set boot of VM 101"]


# numbers, nodes, high availability


def test_high_availability_starts_and_stops_later_and_is_waited_for(lab, monkeypatch):
    small(lab)
    lab.world.data["ha_managed"] = [101]
    monkeypatch.setattr(_pve_guest, "POLL", 0.01)

    def later(work):
        def ask(world, vmid):
            threading.Thread(target=lambda: (time.sleep(0.2), work(world, vmid)), daemon=True).start()

        return ask

    for verb, (kind, work) in list(qemu.ACTIONS.items()):
        monkeypatch.setitem(qemu.ACTIONS, verb, (kind.replace("qm", "ha"), later(work)))
    assert change(lab, state="started")["status"] == "running"
    assert change(lab, memory="1G", restart="if_needed")["pending"] == []
    assert change(lab, state="stopped")["status"] == "stopped"
    result = lab.run(proxmox_vm, **VM, state="absent")
    assert "used in HA resources and purge parameter not set" in result["msg"]
    change(lab, state="absent", purge=True)


def test_high_availability_that_does_nothing_is_a_failure(lab, monkeypatch):
    small(lab)
    lab.world.data["ha_managed"] = [101]
    monkeypatch.setattr(_pve_guest, "POLL", 0.01)
    monkeypatch.setitem(qemu.ACTIONS, "start", ("hastart", lambda world, vmid: None))
    result = lab.run(proxmox_vm, **VM, state="started", task_timeout=1)
    assert result["msg"] == "Unable to start VM 101: high availability was asked for it, but it is stopped"


def test_a_token_with_rights_on_a_pool_only_creates(lab):
    """It may not ask for a VM that is not in the pool, existing or not."""
    lab.world.data["pools"] = {"home": []}

    def fault(method, path):
        if "/qemu/101/" in path and 101 not in lab.world.data["pools"]["home"]:
            return ApiError(403, "Permission check failed (/vms/101, VM.Audit)")
        return None

    lab.service.fault = fault
    refused = "Unable to read VM 101: Permission check failed (/vms/101, VM.Audit)"
    assert lab.run(proxmox_vm, **SMALL)["msg"] == refused
    assert lab.run(proxmox_vm, **SMALL, pool="home", state="absent")["msg"] == refused
    lab.order(proxmox_vm, **SMALL, pool="home")


def test_firmware_on_another_storage_stays(lab):
    small(lab, bios="ovmf", efidisk={"storage": "local"}, tpm={"storage": "local"})
    result = lab.run(proxmox_vm, **VM, efidisk={"storage": "local-lvm"}, tpm={"storage": "local-lvm"})
    assert not result["changed"]
    assert result["warnings"] == []


def test_protection_is_lifted_before_what_it_guards(lab):
    small(lab, protection=True)
    done = change(lab, protection=False, disks={"scsi0": {"state": "absent", "destroy": True}}, boot=["net0"])
    assert done["steps"] == ["set protection of VM 101", "remove scsi0 of VM 101 with its data", "set boot of VM 101"]
    change(lab, protection=True, disks={"scsi1": {"storage": "local", "size": "1G"}})


@pytest.mark.parametrize("writes", [0, 1, 2, 3, 4, 5, 6])
def test_killed_between_two_writes_of_a_change_converges(lab, writes):
    small(lab, state="started", disks={"scsi0": {"storage": "local", "size": "1G"},
                                       "scsi1": {"storage": "local", "size": "1G"}})  # fmt: skip
    wanted = {
        **VM, "memory": "1G", "restart": "if_needed", "state": "started", "boot": ["scsi0", "net0"], "tags": ["t"],
        "disks": {"scsi0": {"size": "2G", "cache": "writeback", "storage": "local-lvm", "move": True},
                  "scsi1": {"state": "absent", "destroy": True}, "sata0": {"storage": "local", "size": "1G"}},
    }  # fmt: skip
    left = [writes]

    def fault(method, path):
        if method != "GET":
            left[0] -= 1
            if left[0] < 0:
                raise ConnectionAbortedError

    lab.service.fault = fault
    first = lab.run(proxmox_vm, **wanted)
    assert bool(first.get("failed")) == (left[0] < 0)
    lab.wait_tasks()
    lab.service.fault = None
    second = lab.run(proxmox_vm, **wanted)
    assert not second.get("failed"), second
    assert not lab.run(proxmox_vm, **wanted)["changed"]
    config = lab.config(101)
    assert config["scsi0"] == "local-lvm:vm-101-disk-0,cache=writeback,size=2G"
    assert (config["memory"], config["boot"]) == ("1024", "order=scsi0;net0")
    assert not {"scsi1", "unused0"} & set(config)
    assert lab.driver.running() == {101}
