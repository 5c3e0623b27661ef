# SPDX-License-Identifier: MIT
from __future__ import annotations

import pytest
from ansible_collections.homelab.mediaserver.plugins.modules import proxmox_vm
from ansible_collections.homelab.mediaserver.tests.unit.fake_pve import harness

VM = {"node": "pve", "vmid": 101}


def full(lab):
    """What the plan asks for, in the shape of the reference system."""
    (lab.root / "tank-hdd/media").mkdir(parents=True, exist_ok=True)
    (lab.root / "var/lib/vz/snippets/intranet-vendor.yml").write_text("#cloud-config\n")
    with lab.world.changing():
        lab.world.data["mappings"]["dir"]["media"] = {"map": ["node=pve,path=/tank-hdd/media"]}
        lab.world.data["mappings"]["pci"]["igpu"] = {
            "map": ["node=pve,path=0000:00:02.0,id=8086:1912,iommugroup=0,subsystem-id=1462:7972"]
        }
    flags = {"discard": True, "ssd": True, "iothread": True}
    return {
        **VM, "name": "intranet", "state": "started", "cores": 3, "memory": "10G", "cpu": "host",
        "machine": "q35", "bios": "ovmf", "efidisk": {"storage": "local-lvm"}, "scsihw": "virtio-scsi-single",
        "disks": {
            "scsi0": {"storage": "local-lvm", "import_from": lab.image(), "size": "40G", **flags},
            "scsi1": {"storage": "local-lvm", "size": "20G", "serial": "database", **flags},
        },
        "networks": {"net0": {"model": "virtio", "bridge": "vmbr0", "firewall": True}},
        "cloud_init": {
            "storage": "local-lvm", "user": "ops", "ssh_keys": [harness.KEY], "nameservers": ["192.168.1.1"],
            "ipconfig": [{"ip": "192.168.1.101/24", "gateway": "192.168.1.1"}],
            "vendor_snippet": "local:snippets/intranet-vendor.yml",
        },
        "virtiofs": {"virtiofs0": {"mapping": "media", "cache": "auto"}},
        "pci": {"hostpci0": {"mapping": "igpu", "pcie": True}},
        "agent": True, "onboot": True, "startup": {"order": 2, "up": 30}, "tags": ["mediaserver", "b"],
        "description": "line one\nline two", "serial": {"serial0": "socket"}, "vga": "serial0",
    }  # fmt: skip


def test_missing_arguments(lab):
    result = lab.run(proxmox_vm, vmid=101)
    assert result["failed"]
    assert "node" in result["msg"]


def test_full_vm_check_create_again(lab):
    done = lab.order(proxmox_vm, **full(lab))
    assert done["steps"] == ["create VM 101 intranet", "grow disk scsi0 of VM 101 to 40G", "start VM 101"]
    assert done["status"] == "running"
    assert lab.driver.running() == {101}
    config = lab.config(101)
    assert config["scsi0"] == "local-lvm:vm-101-disk-1,discard=on,iothread=1,size=40G,ssd=1"
    assert config["memory"] == "10240"
    assert config["ide2"] == "local-lvm:vm-101-cloudinit,media=cdrom"


def test_no_change_needs_three_calls_at_most(lab):
    arguments = full(lab)
    lab.run(proxmox_vm, **arguments)
    lab.run(proxmox_vm, **arguments)
    assert len(lab.service.requests) <= 3, lab.service.requests


SMALL = {
    **VM, "name": "web", "cores": 1, "memory": "512M",
    "disks": {"scsi0": {"storage": "local", "size": "1G"}},
    "networks": {"net0": {"bridge": "vmbr0"}},
}  # fmt: skip


def small(lab, **more):
    result = lab.run(proxmox_vm, **{**SMALL, **more})
    assert not result.get("failed"), result
    return result


def change(lab, **more):
    return lab.order(proxmox_vm, **VM, **more)


def test_live_and_waiting_changes_of_a_running_vm(lab):
    small(lab, state="started", agent=True)
    done = change(lab, memory="1G", cores=2, tags=["b", "a"], description="new")
    assert done["pending"] == ["cores", "memory"]
    assert done["restart_required"]
    assert lab.config(101)["tags"] == "a;b", "live"
    assert lab.config(101)["memory"] == "512", "waits"
    checked = lab.run(proxmox_vm, check=True, **VM, memory="1G")
    assert not checked["changed"], "compares against what is pending"
    assert checked["pending"] == ["cores", "memory"]
    done = change(lab, memory="1G", restart="if_needed")
    assert done["steps"] == ["restart VM 101 for cores, memory"]
    assert done["pending"] == []
    assert lab.config(101)["memory"] == "1024"


def test_going_back_to_what_runs_needs_no_restart(lab):
    small(lab, state="started")
    change(lab, memory="1G")
    done = change(lab, memory="512M", restart="if_needed")
    assert done["steps"] == ["set memory of VM 101"]
    assert done["pending"] == []


def test_mac_addresses_are_kept(lab):
    small(lab)
    before = lab.config(101)["net0"]
    change(lab, networks={"net0": {"bridge": "vmbr1", "vlan": 20, "firewall": True, "rate": 10}})
    after = lab.config(101)["net0"]
    assert after.split(",")[0] == before.split(",")[0]
    assert after.endswith("bridge=vmbr1,firewall=1,rate=10,tag=20")


def test_disk_grows_and_keeps_its_size_through_a_restart(lab):
    small(lab, state="started")
    done = change(lab, disks={"scsi0": {"size": "3G", "cache": "writeback"}}, restart="if_needed")
    assert done["steps"][0] == "grow disk scsi0 of VM 101 to 3G", "before the pending value"
    assert lab.config(101)["scsi0"] == "local:101/vm-101-disk-0.raw,cache=writeback,size=3G"


def test_properties_not_named_stay(lab):
    small(lab)
    with lab.world.changing():
        lab.world.data["vms"]["101"]["conf"].update(
            startup="order=1,down=5", agent="1,fstrim_cloned_disks=1", hostpci0="mapping=igpu,pcie=1,rombar=0"
        )
    assert not lab.run(proxmox_vm, **VM, agent=True, startup={"order": 1})["changed"]
    assert not lab.run(proxmox_vm, **VM, pci={"hostpci0": {"mapping": "igpu", "pcie": "yes"}})["changed"]
    change(lab, startup={"order": 2})
    assert sorted(lab.config(101)["startup"].split(",")) == ["2", "down=5"]


def test_hardware_goes_back_to_the_default_if_said(lab):
    small(lab, serial={"serial0": "socket"}, cpu="host", machine="q35", vga="serial0")
    change(lab, serial={"serial0": ""}, cpu="", machine="", vga="")
    assert not {"serial0", "cpu", "machine", "vga"} & set(lab.config(101))


def test_cloud_init_keys_are_compared_decoded(lab):
    small(lab, cloud_init={"storage": "local", "user": "u", "ssh_keys": [harness.KEY], "password": "s3cret-planted"})
    with lab.world.changing():
        lab.world.data["vms"]["101"]["conf"]["sshkeys"] += "%0A"
    arguments = {"storage": "local", "ssh_keys": [harness.KEY + "\n"], "password": "s3cret-planted"}
    again = lab.run(proxmox_vm, **VM, cloud_init=arguments)
    assert not again["changed"], "a trailing newline is no difference, a password is not compared"
    assert "s3cret-planted" not in str(again)
    forced = lab.run(proxmox_vm, **VM, cloud_init=arguments, update_password="always")
    assert forced["changed"]
    assert "s3cret-planted" not in str(forced)
    result = lab.run(proxmox_vm, **VM, cloud_init={"ssh_keys": ["no key"]})
    assert result["msg"] == "Unable to set sshkeys of VM 101: SSH public key validation error"


@pytest.mark.parametrize("after", ["create VM", "grow disk", "start VM"])
def test_killed_between_two_writes_converges(lab, after):
    """The client dies at a step: what the next run makes is what an undisturbed one had made."""
    arguments = full(lab)
    steps = {"create VM": "/resize", "grow disk": "/status/start", "start VM": "/nothing"}

    def fault(method, path):
        if method != "GET" and path.endswith(steps[after]):
            raise ConnectionAbortedError

    lab.service.fault = fault
    first = lab.run(proxmox_vm, **arguments)
    assert bool(first.get("failed")) == (after != "start VM")
    lab.wait_tasks()
    lab.service.fault = None
    lab.run(proxmox_vm, **arguments)
    assert not lab.run(proxmox_vm, **arguments)["changed"]
    assert "size=40G" in lab.config(101)["scsi0"]
    assert lab.driver.running() == {101}


def test_create_still_going_on_at_the_server_is_waited_for(lab, monkeypatch):
    from ansible_collections.homelab.mediaserver.plugins.module_utils import _pve_guest

    small(lab)
    lab.world.data["vms"]["101"]["conf"]["lock"] = "create"
    waits = []

    def sleep(seconds):
        waits.append(seconds)
        lab.world.data["vms"]["101"]["conf"].pop("lock", None)

    monkeypatch.setattr(_pve_guest.time, "sleep", sleep)
    assert not lab.run(proxmox_vm, **SMALL)["changed"]
    assert waits


def test_failed_start_is_a_failure_with_the_log(lab):
    lab.driver.fail_start = "QEMU exited with code 1"
    result = lab.run(proxmox_vm, **{**SMALL, "state": "started"})
    assert result["msg"] == "Unable to start VM 101: start failed: QEMU exited with code 1"
    assert result["failure"]["done"] == ["create VM 101 web"]
    assert result["failure"]["log"][-1].startswith("TASK ERROR: start failed")


def test_missing_image_is_a_failed_task(lab):
    result = lab.run(
        proxmox_vm, **{**SMALL, "disks": {"scsi0": {"storage": "local", "import_from": "local:import/no.qcow2"}}}
    )
    assert result["msg"] == (
        "Unable to create VM 101 web: unable to create VM 101 - volume 'local:import/no.qcow2' does not exist"
    )
    assert lab.world.data["vms"] == {}


def test_raw_passthrough_is_root_s_only(lab):
    small(lab)
    raw = {"hostpci0": {"address": "0000:00:02.0"}}
    result = lab.run(proxmox_vm, **VM, pci=raw)
    assert "only root can set 'hostpci0' config for non-mapped devices (Proxmox VE lets only root@pam" in result["msg"]
    change(lab, pci=raw, **lab.as_root())
    for other in ({"mapping": "igpu"}, {"state": "absent"}):
        result = lab.run(proxmox_vm, **VM, pci={"hostpci0": other})
        assert "only root can set 'hostpci0' config for non-mapped devices (Proxmox VE lets only" in result["msg"]
    change(lab, pci={"hostpci0": {"mapping": "igpu"}}, **lab.as_root())
    assert lab.config(101)["hostpci0"] == "mapping=igpu"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"disks": {"scsi31": {"size": "1G"}}}, "Unable to use disks.scsi31: no such slot in Proxmox VE"),
        ({"disks": {"scsi0": {"sise": "1G"}}}, "Unable to use disks.scsi0: unknown option sise"),
        ({"disks": {"scsi0": {"size": "much"}}}, "Unable to understand the size 'much'"),
        ({"disks": {"scsi5": {"storage": "local"}}}, "Unable to make disk scsi5: it does not exist and no size"),
        ({"disks": {"scsi5": {"size": "1G"}}}, "Unable to make disk scsi5: it does not exist and no storage"),
        ({"networks": {"net0": "vmbr0"}}, "Unable to use networks.net0: it must be a dictionary of"),
        ({"networks": {"net0": {"firewall": "maybe"}}}, "Unable to understand 'maybe': it must be true or false"),
        ({"memory": "lots"}, "Unable to understand the size 'lots'"),
        ({"boot": ["scsi7"]}, "Unable to set boot of VM 101: invalid bootorder: device 'scsi7' does not exist"),
        ({"networks": {"net1": {"model": "virtioo"}}}, "net1.model: value 'virtioo' does not have a value"),
        ({"hookscript": "local:snippets/x.sh"}, "hookscript: script 'local:snippets/x.sh' does not exist"),
    ],
)
def test_mistakes(lab, arguments, message):
    small(lab)
    result = lab.run(proxmox_vm, **VM, **arguments)
    assert result.get("failed")
    assert message in result["msg"]


# what goes wrong between here and there


def test_wrong_password(lab):
    result = lab.run(proxmox_vm, **{**VM, **lab.as_root(), "api_password": "nope-planted"})
    assert "as root@pam: user or password is wrong" in result["msg"]
    assert "nope-planted" not in str(result)


def test_no_credentials(lab):
    result = lab.run(proxmox_vm, **VM, api_token_id=None)
    assert "give api_password, or api_token_id and api_token_secret" in result["msg"]


def test_missing_right(lab):
    small(lab)
    lab.service.tokens[harness.TOKEN]["deny"] = ["Sys.Modify"]
    result = lab.run(proxmox_vm, **VM, startup={"order": 1})
    assert result["msg"] == "Unable to set startup of VM 101: Permission check failed (/, Sys.Modify)"
    assert result["failure"]["status"] == 403


def test_untrusted_certificate(lab):
    result = lab.run(proxmox_vm, **VM, ca_path=None)
    assert "is not trusted" in result["msg"]
    assert not lab.run(proxmox_vm, **SMALL, ca_path=None, validate_certs=False).get("failed")


def test_nothing_listens(lab):
    result = lab.run(proxmox_vm, **VM, api_port=1)
    assert "127.0.0.1:1 is not reached" in result["msg"]


def test_task_warnings_are_accepted_and_returned(lab, monkeypatch):
    from ansible_collections.homelab.mediaserver.tests.lab.fake_pve import qemu

    start = qemu._start

    def warned(world, vmid):
        start(world, vmid)

    monkeypatch.setitem(qemu.ACTIONS, "start", ("qmstart", warned))
    original = lab.world.task

    def task(kind, ident, user, work):
        return original(kind, ident, user, lambda log: (log.append("WARN: iothread is only valid with…"), work(log)))

    monkeypatch.setattr(lab.world, "task", task)
    result = lab.run(proxmox_vm, **{**SMALL, "state": "started"})
    assert not result.get("failed")
    assert result["task_warnings"][0].startswith("WARN: iothread")
