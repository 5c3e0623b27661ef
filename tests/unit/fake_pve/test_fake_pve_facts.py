# SPDX-License-Identifier: MIT
"""The fake answers as Proxmox VE's own code was recorded to answer (8.4.19 and 9.1.9)."""

from __future__ import annotations

from urllib.parse import quote, quote_plus

import pytest
from ansible_collections.homelab.mediaserver.tests.unit.fake_pve import harness
from proxmoxer import ProxmoxAPI
from proxmoxer.core import ResourceException

NOT_DEFINED = "property is not defined in schema and the schema does not allow additional properties"


@pytest.fixture
def root(lab):
    """root@pam by password."""
    return ProxmoxAPI("127.0.0.1", port=lab.port, user="root@pam", password=harness.ROOT_PASSWORD,
                      verify_ssl=str(lab.cert[0]))  # fmt: skip


@pytest.fixture
def token(lab):
    user, _, name = harness.TOKEN.partition("!")
    return ProxmoxAPI("127.0.0.1", port=lab.port, user=user, token_name=name, token_value=harness.SECRET,
                      verify_ssl=str(lab.cert[0]))  # fmt: skip


def refused(call, status, text=None, **errors):
    with pytest.raises(ResourceException) as caught:
        call()
    assert caught.value.status_code == status
    if text is not None:
        assert caught.value.content == text
    for key, value in errors.items():
        assert caught.value.errors[key] == value


def ended(lab, upid):
    lab.wait_tasks()
    return lab.world.data["tasks"][upid]["exitstatus"]


@pytest.fixture
def vm(lab, root):
    """A VM 500 with a disk, a cloud-init drive and a network card."""
    data = {"name": "trap", "memory": "256", "net0": "virtio,bridge=vmbr0", "scsi0": "local:1,format=qcow2",
            "ide2": "local:cloudinit", "cipassword": "x", "tags": "B;a", "scsihw": "virtio-scsi-single"}  # fmt: skip
    assert ended(lab, root.nodes("pve").qemu.post(vmid=500, **data)) == "OK"
    return root.nodes("pve").qemu(500)


def test_version_says_what_it_is(lab, root):
    answer = root.version.get()
    assert answer["release"] == lab.release
    assert "stand-in" in answer["repoid"]


def test_answers_of_a_fresh_vm(vm):
    config = vm.config.get()
    assert config["memory"] == "256"
    assert config["boot"] == "order=scsi0;ide2;net0"
    assert config["scsi0"] == "local:500/vm-500-disk-0.qcow2,size=1G"
    assert config["ide2"] == "local:500/vm-500-cloudinit.qcow2,media=cdrom"
    assert config["cipassword"] == "**********"
    assert config["tags"] == "B;a"
    assert config["net0"].startswith("virtio=BC:24:11:")
    assert config["meta"].startswith("creation-qemu=10.0.13,ctime=")
    assert vm.status.current.get()["status"] == "stopped"


def test_efi_and_tpm_disks_and_their_order(lab, root):
    upid = root.nodes("pve").qemu.post(
        vmid=200, scsi0="local:1,discard=on,iothread=1,ssd=1", efidisk0="local:1,efitype=4m,pre-enrolled-keys=1",
        tpmstate0="local:1,version=v2.0", cores=1, onboot=1,
    )  # fmt: skip
    assert ended(lab, upid) == "OK"
    config = root.nodes("pve").qemu(200).config.get()
    assert config["efidisk0"] == "local:200/vm-200-disk-0.raw,efitype=4m,pre-enrolled-keys=1,size=528K"
    assert config["scsi0"] == "local:200/vm-200-disk-1.raw,discard=on,iothread=1,size=1G,ssd=1"
    assert config["tpmstate0"] == "local:200/vm-200-disk-2.raw,size=4M,version=v2.0"
    assert (config["cores"], config["onboot"]) == (1, 1)


def test_refused_parameters(lab, root):
    create = root.nodes("pve").qemu.post
    refused(lambda: create(vmid=100, bogus=1), 400, "Parameter verification failed.", bogus=NOT_DEFINED)
    memory = "invalid format - format error\nmemory.current: type check ('integer') failed - got 'lots'\n"
    refused(lambda: create(vmid=100, memory="lots"), 400, memory=memory)
    with pytest.raises(ResourceException) as caught:
        create(vmid=100, net0="virtioo,brdge=vmbr0")
    lines = caught.value.errors["net0"].splitlines()
    assert lines[1].startswith("net0.model: value 'virtioo' does not have a value in the enumeration 'e1000, ")
    assert lines[2] == f"net0.brdge: {NOT_DEFINED}"
    refused(lambda: create(vmid=5), 400, vmid="invalid format - value does not look like a valid VM ID\n")
    if lab.release == "8.4":
        refused(lambda: create(vmid=100, **{"allow-ksm": 1}), 400, **{"allow-ksm": NOT_DEFINED})
    else:
        assert ended(lab, create(vmid=100, **{"allow-ksm": 1})) == "OK"


def test_ssh_keys_take_one_encoding_only(vm):
    for wrong in (quote_plus(harness.KEY), harness.KEY, quote(harness.KEY, safe="/")):
        text = f"invalid format - invalid urlencoded string: {wrong}\n"
        refused(lambda wrong=wrong: vm.config.put(sshkeys=wrong), 400, sshkeys=text)
    refused(lambda: vm.config.put(sshkeys="nokey"), 500, "SSH public key validation error")
    vm.config.put(sshkeys=quote(harness.KEY + "\n", safe=""))
    assert vm.config.get()["sshkeys"].endswith("%0A")


def test_missing_things(lab, root):
    missing = "Configuration file 'nodes/pve/qemu-server/999.conf' does not exist"
    refused(root.nodes("pve").qemu(999).config.get, 500, missing)
    refused(root.nosuch.get, 501, "Method 'GET /nosuch' not implemented")
    node = "hostname lookup 'zzz' failed - failed to get address info for: zzz: Temporary failure in name resolution"
    refused(root.nodes("zzz").qemu.get, 500, node)
    assert root.cluster.nextid.get() == "100"


def test_disk_strings(vm):
    vm.config.put(scsi0="local:500/vm-500-disk-0.qcow2,discard=on")
    assert vm.config.get()["scsi0"] == "local:500/vm-500-disk-0.qcow2,discard=on,size=1G"
    vm.config.put(scsi0="local:500/vm-500-disk-0.qcow2,discard=on,size=9G")
    assert vm.config.get()["scsi0"] == "local:500/vm-500-disk-0.qcow2,discard=on,size=1G"
    vm.config.put(scsi0="local:1")
    assert vm.config.get()["scsi0"] == "local:500/vm-500-disk-1.raw,size=1G"
    assert vm.config.get()["unused0"] == "local:500/vm-500-disk-0.qcow2"
    vm.config.put(delete="unused0")
    assert "unused0" not in vm.config.get()


def test_resize(lab, vm):
    assert ended(lab, vm.resize.put(disk="scsi0", size="+1G")) == "OK"
    assert ended(lab, vm.resize.put(disk="scsi0", size="2G")) == "OK", "same size: nothing to do"
    assert "size=2G" in vm.config.get()["scsi0"]
    assert ended(lab, vm.resize.put(disk="scsi0", size="1G")) == "shrinking disks is not supported"
    assert ended(lab, vm.resize.put(disk="scsi7", size="1G")) != "OK"


def test_network_card_without_mac_gets_a_new_one(vm):
    before = vm.config.get()["net0"]
    vm.config.put(net0="virtio,bridge=vmbr0")
    assert vm.config.get()["net0"] != before


def test_digest(vm):
    before = vm.config.get()["digest"]
    vm.config.put(memory="256")
    assert vm.config.get()["digest"] == before, "an identical change is none"
    vm.config.put(memory="300")
    refused(lambda: vm.config.put(memory="301", digest=before), 500, "checksum mismatch (file change by other user?)")


def test_cloud_init_drive_twice(vm):
    text = "disk image '/var/lib/vz/images/500/vm-500-cloudinit.qcow2' already exists"
    refused(lambda: vm.config.put(ide2="local:cloudinit"), 500, text)


def test_delete_rules(vm):
    vm.config.put(delete="cores")
    text = "you can't use '-memory' and -delete memory' at the same time"
    refused(lambda: vm.config.put(memory="1", delete="memory"), 400, delete=text)
    refused(lambda: vm.config.put(boot="order=scsi5"), 500, "invalid bootorder: device 'scsi5' does not exist'")
    vm.config.put(protection=1)
    refused(lambda: vm.config.put(delete="scsi0"), 500, "can't remove drive 'scsi0' - protection mode enabled")
    refused(vm.delete, 500, "can't remove VM 500 - protection mode enabled")


def test_pending_of_a_running_vm_and_the_lost_size(lab, vm):
    """A cache change pending, then a resize: the restart brings the old size back (bpg #1909)."""
    assert ended(lab, vm.status.start.post()) == "OK"
    assert ended(lab, vm.status.start.post()) == "VM 500 already running"
    vm.config.put(memory="512", name="renamed", scsi0="local:500/vm-500-disk-0.qcow2,cache=writeback")
    pending = {item["key"]: item for item in vm.pending.get()}
    assert pending["memory"] == {"key": "memory", "value": "256", "pending": "512"}
    assert "pending" not in pending["name"]
    assert pending["scsi0"]["pending"] == "local:500/vm-500-disk-0.qcow2,cache=writeback,size=1G"
    assert vm.config.get()["memory"] == "512", "merged"
    assert vm.config.get(current=1)["memory"] == "256"
    assert ended(lab, vm.resize.put(disk="scsi0", size="3G")) == "OK"
    assert vm.config.get(current=1)["scsi0"].endswith("size=3G")
    refused(vm.delete, 500, "VM 500 is running - destroy failed")
    ended(lab, vm.status.stop.post())
    assert vm.config.get()["scsi0"].endswith("cache=writeback,size=1G")
    vm.config.put(revert="memory")


def test_revert_takes_a_pending_value_back(lab, vm):
    ended(lab, vm.status.start.post())
    vm.config.put(cores=2, memory="512")
    vm.config.put(revert="memory")
    pending = {item["key"]: item for item in vm.pending.get() if "pending" in item}
    assert list(pending) == ["cores"]


def test_template_and_linked_clone(lab, root, vm):
    assert ended(lab, vm.template.post()) == "OK"
    assert vm.config.get()["scsi0"].startswith("local:500/base-500-disk-0.qcow2")
    assert ended(lab, vm.clone.post(newid=501, name="lc")) == "OK"
    clone = root.nodes("pve").qemu(501).config.get()
    assert clone["net0"] != vm.config.get()["net0"]
    assert clone["vmgenid"] != vm.config.get()["vmgenid"]
    assert "is still in use by linked cloned" in ended(lab, vm.delete())
    refused(lambda: vm.clone.post(newid=501), 500, "unable to create VM 501: config file already exists")
    text = "unable to create VM 501 - VM 501 already exists on node 'pve'"
    refused(lambda: root.nodes("pve").qemu.post(vmid=501), 500, text)


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("hostpci1", "0000:00:1f.3", "only root can set 'hostpci1' config for non-mapped devices"),
        ("args", "-no-hpet", "only root can set 'args' config"),
        ("usb0", "host=1-1", "only root can set 'usb0' config for real devices"),
        ("serial1", "/dev/ttyS0", "only root can modify 'serial1' config for real devices"),
        ("vmgenid", "1", "only root can set 'vmgenid' config"),
    ],
)
def test_what_only_root_may(vm, token, key, value, text):
    own = token.nodes("pve").qemu(500)
    refused(lambda: own.config.put(**{key: value}), 500, text)
    own.config.put(usb1="spice", hostpci0="mapping=igpu", virtiofs0="dirid=foo")
    refused(lambda: own.config.put(skiplock=1), 400, skiplock="Only root may use this option.")
    line = "581" if token.version.get()["release"] == "8.4" else "651"
    path = f"Only root can pass arbitrary filesystem paths. at /usr/share/perl5/PVE/Storage.pm line {line}."
    refused(lambda: own.config.put(scsi1="/dev/sdb"), 500, path)
    missing = "script 'local:snippets/x.sh' does not exist\n"
    refused(lambda: own.config.put(hookscript="local:snippets/x.sh"), 400, hookscript=missing)


def test_mapping_checks_and_starts(lab, root, vm):
    full = "node=pve,path=0000:00:02.0,id=8086:1912,iommugroup=0,subsystem-id=1462:7972"
    root.cluster.mapping.pci.post(id="igpu", map=full)
    root.cluster.mapping.pci.post(id="igpu0", map="node=pve,path=0000:00:02.0,id=8086:1912")
    rows = {row["id"]: row for row in root.cluster.mapping.pci.get(**{"check-node": "pve"})}
    assert rows["igpu"]["checks"] == []
    missing = "missing expected property 'iommugroup' for device '0000:00:02.0'"
    assert rows["igpu0"]["checks"] == [{"severity": "error", "message": f"Invalid configuration: {missing}\n"}]
    assert "checks" not in root.cluster.mapping.pci.get()[0]
    vm.config.put(hostpci0="mapping=igpu0")
    assert ended(lab, vm.status.start.post()) == f"PCI device mapping invalid (hardware probably changed): {missing}"
    vm.config.put(hostpci0="mapping=igpu,pcie=1,legacy-igd=1", machine="q35")
    assert ended(lab, vm.status.start.post()) == "legacy IGD assignment is not compatible with q35"


def test_firewall_rules_are_inserted_first(root, vm):
    rules = vm.firewall.rules
    rules.post(type="in", action="ACCEPT", proto="tcp", dport="22", enable=1)
    rules.post(type="in", action="ACCEPT", proto="tcp", dport="80", enable=1)
    assert [[rule["pos"], rule["dport"]] for rule in rules.get()] == [[0, "80"], [1, "22"]]
    text = "missing property - 'dport' requires this property"
    refused(lambda: rules.post(type="in", action="ACCEPT", dport="22"), 400, proto=text)


def test_logins(lab):
    with pytest.raises(ResourceException) as caught:
        ProxmoxAPI("127.0.0.1", port=lab.port, user="a@pve", token_name="x", token_value="y",
                   verify_ssl=str(lab.cert[0])).version.get()  # fmt: skip
    assert caught.value.status_code == 401


def test_a_killed_fake_goes_on_where_it_was(lab, root, vm):
    again = lab.new_world()
    assert again.data["vms"]["500"]["conf"]["name"] == "trap"
    assert again.data["volumes"] == lab.world.data["volumes"]


def test_a_write_in_the_mode_that_refuses_them_is_recorded(lab, root, vm):
    lab.service.refuse_writes = True
    refused(lambda: vm.config.put(memory="300"), 500)
    assert lab.service.refused == [("PUT", "/nodes/pve/qemu/500/config")]
    assert vm.config.get()["memory"] == "256"


# containers


@pytest.fixture
def ct(lab, root):
    """A container 310 with nesting."""
    data = {"ostemplate": lab.template(), "rootfs": "local-lvm:1", "unprivileged": 1, "features": "nesting=1",
            "net0": "name=eth0,bridge=vmbr0", "hostname": "ct"}  # fmt: skip
    assert ended(lab, root.nodes("pve").lxc.post(vmid=310, **data)) == "OK"
    return root.nodes("pve").lxc(310)


def test_answers_of_a_fresh_container(ct):
    config = ct.config.get()
    assert (config["memory"], config["swap"], config["unprivileged"]) == (512, 512, 1), "numbers, not texts as of a VM"
    assert config["rootfs"] == "local-lvm:vm-310-disk-0,size=1G"
    assert "hwaddr=BC:24:11:" in config["net0"]
    assert "type=veth" in config["net0"]
    assert {"key": "digest", "value": config["digest"]} in ct.pending.get()


def test_what_a_token_may_not_of_a_container(lab, ct, token):
    mine = token.nodes("pve").lxc(310).config
    flags = "changing feature flags (except nesting)"
    for data, what in (
        ({"features": "nesting=1,keyctl=1"}, flags),
        ({"dev0": "/dev/dri/renderD128"}, "configuring device passthrough"),
        ({"mp0": "/tank,mp=/media"}, "mount point type bind"),
    ):
        text = f"Permission check failed ({what} is only allowed for root@pam)"
        refused(lambda data=data: mine.put(**data), 403, text)
        ct.config.put(**data)


def test_numbers_are_of_one_guest(lab, root, ct):
    refused(lambda: root.nodes("pve").qemu.post(vmid=310), 500,
            "unable to create VM 310 - CT 310 already exists on node 'pve'")  # fmt: skip
    refused(lambda: root.nodes("pve").lxc(999).config.get(), 500,
            "Configuration file 'nodes/pve/lxc/999.conf' does not exist")  # fmt: skip


def test_volumes_of_a_container_grow_only(lab, ct):
    """What is wrong is told at once; a VM's answer is a task that fails."""
    refused(lambda: ct.resize.put(disk="rootfs", size="512M"), 500, "unable to shrink disk size")
    refused(lambda: ct.resize.put(disk="rootfs", size="1G"), 500, "disk is already at specified size")
    assert ended(lab, ct.resize.put(disk="rootfs", size="2G")) == "OK"


def test_a_container_s_template_answers_before_it_is_made(lab, ct):
    lab.world.task_delay = 0.2
    assert ct.template.post() is None
    assert "template" not in ct.config.get()
    lab.wait_tasks()
    assert ct.config.get()["template"] == 1
    refused(lambda: ct.template.post(), 500, "you can't convert a template to a template")
    refused(lambda: ct.clone.post(newid=311, storage="local", full=0), 500,
            "parameter 'storage' not allowed for linked clones")  # fmt: skip
    assert ended(lab, ct.clone.post(newid=311, hostname="copy")) == "OK"
    assert "template" not in lab.container(311)


def test_what_waits_in_a_container_comes_with_its_start(lab, ct):
    assert ended(lab, ct.status.start.post()) == "OK"
    ct.config.put(nameserver="1.1.1.1", memory=256)
    assert ct.config.get(current=1)["memory"] == 256
    assert "nameserver" not in ct.config.get(current=1)
    assert ended(lab, ct.status.stop.post()) == "OK"
    assert "nameserver" not in ct.config.get(current=1)
    assert ended(lab, ct.status.start.post()) == "OK"
    assert ct.config.get(current=1)["nameserver"] == "1.1.1.1"
    refused(lambda: ct.delete(), 500, "unable to destroy CT 310 - container is running")


def test_tags_of_a_running_vm_are_written_small_and_a_hotplug_fails_with_400(lab, vm):
    vm.config.put(tags="Media;A")
    assert vm.config.get()["tags"] == "a;media"
    assert ended(lab, vm.status.start.post()) == "OK"
    lab.world.hotplug_fails["net0"] = "exit code 2"
    refused(lambda: vm.config.put(net0="virtio,bridge=vmbr0,rate=10"), 400, net0="hotplug problem - exit code 2\n")
    assert [row for row in vm.pending.get() if row["key"] == "net0" and "rate=10" in row["pending"]]
