# SPDX-License-Identifier: MIT
"""proxmox_host against a node's files below a folder: GRUB, systemd-boot and a container without a boot loader."""

from __future__ import annotations

import contextlib
import os

import pytest
from ansible_collections.homelab.mediaserver.plugins.module_utils import _lock, _passthrough
from ansible_collections.homelab.mediaserver.plugins.modules import proxmox_host
from ansible_collections.homelab.mediaserver.tests.unit.fakes.host_fake import Commands, files_below, run_module

GPU = "0000:00:02.0"
GIB = 1024**3
INTEL = "vendor_id\t: GenuineIntel\n"
MODPROBE = (
    "# Written by homelab.mediaserver.\noptions vfio-pci ids=8086:1912\n"
    "softdep i915 pre: vfio-pci\nsoftdep xe pre: vfio-pci\n"
)
INITRAMFS, GRUB, REFRESH = "run update-initramfs -u -k all", "run update-grub", "run proxmox-boot-tool refresh"


class Killed(BaseException):
    """The process ends here."""


class Node(Commands):
    """A node below ``root``. Boot loaders and initramfs are what they were built from."""

    def __init__(self, root):
        super().__init__()
        self.root = root
        self.built = {}
        self.clock = 1000
        self.put("proc/cmdline", "BOOT_IMAGE=/boot/vmlinuz root=/dev/mapper/pve-root ro quiet\n")
        self.put("proc/cpuinfo", INTEL)
        self.put("proc/sys/kernel/osrelease", "6.8.12-4-pve\n")
        self.put("boot/initrd.img-6.8.12-4-pve", "")
        self.tool("update-initramfs")
        self.device(GPU, "8086", "1912", "030000", "0", "i915")
        self.device("0000:00:00.0", "8086", "191f", "060000", "1", "")

    def put(self, path, text):
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        self.clock += 1
        os.utime(file, (self.clock, self.clock))

    def tool(self, *names):
        for name in names:
            self.put(f"usr/sbin/{name}", "")

    def grub(self):
        self.tool("update-grub")
        self.put("etc/default/grub", 'GRUB_CMDLINE_LINUX_DEFAULT="quiet"\nGRUB_CMDLINE_LINUX=""\n')
        return self

    def esp(self):
        self.tool("proxmox-boot-tool")
        self.put("etc/kernel/proxmox-boot-uuids", "1234-ABCD\n")
        self.put("etc/kernel/cmdline", "root=ZFS=rpool/ROOT/pve-1 boot=zfs\n")
        return self

    def device(self, path, vendor, product, kind, group, driver):
        folder = f"sys/bus/pci/devices/{path}"
        for name, text in (("vendor", vendor), ("device", product), ("class", kind)):
            self.put(f"{folder}/{name}", f"0x{text}\n")
        for link, target in (("iommu_group", f"sys/kernel/iommu_groups/{group}"), ("driver", f"sys/drivers/{driver}")):
            if target.rpartition("/")[2]:
                (self.root / target).mkdir(parents=True, exist_ok=True)
                (self.root / folder / link).unlink(missing_ok=True)
                (self.root / folder / link).symlink_to(self.root / target)

    def text(self, path):
        file = self.root / path
        return file.read_text() if file.exists() else None

    def zfs(self, live, least=512 * 1024**2):
        self.put("sys/module/zfs/parameters/zfs_arc_max", f"{live}\n")
        self.put("proc/spl/kstat/zfs/arcstats", f"13 1 0x01 147 39984\nname type data\nc_min    4    {least}\n")

    def call(self, argv):
        self.write(*argv)
        if argv[0] == "update-initramfs":
            self.built["initramfs"] = (
                self.text("etc/modprobe.d/mediaserver-vfio.conf"),
                self.text("etc/modprobe.d/zfs.conf"),
            )
            self.put("boot/initrd.img-6.8.12-4-pve", "")
        else:
            self.built["boot"] = self.text("etc/default/grub"), self.text("etc/kernel/cmdline")
        return 0

    def reboot(self):
        """What a restart makes of it: the command line of the loader, drivers as modprobe.d says."""
        grub, cmdline = self.built.get("boot", (self.text("etc/default/grub"), self.text("etc/kernel/cmdline")))
        line = cmdline.strip() if cmdline else grub.splitlines()[0].partition('"')[2].rstrip('"')
        self.put("proc/cmdline", f"BOOT_IMAGE=/boot/vmlinuz {line}\n")
        taken = "8086:1912" in (self.built.get("initramfs", ("", ""))[0] or "")
        self.device(GPU, "8086", "1912", "030000", "0", "vfio-pci" if taken else "i915")


@pytest.fixture
def node(tmp_path, monkeypatch):
    root = tmp_path / "root"
    root.mkdir()
    monkeypatch.setattr(proxmox_host, "ROOT", root)
    monkeypatch.setattr(proxmox_host, "SPEC", proxmox_host.ARGUMENTS, raising=False)
    monkeypatch.setattr(_lock, "FOLDER", tmp_path / "lock")
    return Node(root)


@pytest.fixture
def run(monkeypatch):
    def go(node, check=False, **args):
        before = files_below(node.root) if check else None
        result = run_module(proxmox_host, node, args, monkeypatch, check)
        if check:
            assert files_below(node.root) == before
        return result

    return go


def both(run, node, **args):
    """A dry run that tells the same as the real one, the real one, and both again without a change."""
    checked = run(node, check=True, **args)
    made = run(node, **args)
    assert (made["steps"], made["diff"]) == (checked["steps"], checked["diff"])
    for check in (True, False):
        again = run(node, check=check, **args)
        assert (again["changed"], again["steps"]) == (False, [])
        assert again["diff"]["before"] == again["diff"]["after"]
    return made


def test_nothing_asked_nothing_done(run, node):
    result = both(run, node.grub())
    assert (result["changed"], result["problems"], result["reboot_required"]) == (False, [], [])


def test_gpu_by_grub(run, node):
    made = both(run, node.grub(), passthrough=[GPU])
    assert made["steps"] == [
        "write /etc/modules-load.d/mediaserver-vfio.conf",
        "write /etc/modprobe.d/mediaserver-vfio.conf",
        "write /etc/default/grub",
        INITRAMFS,
        GRUB,
    ]
    assert node.text("etc/modprobe.d/mediaserver-vfio.conf") == MODPROBE
    assert node.text("etc/default/grub").startswith('GRUB_CMDLINE_LINUX_DEFAULT="quiet iommu=pt"\n')
    assert made["reboot_required"] == [
        "the kernel runs without iommu=pt",
        f"{GPU} still belongs to the host's driver i915",
    ]
    node.reboot()
    after = run(node, passthrough=[GPU])
    assert (after["changed"], after["reboot_required"], after["problems"]) == (False, [], [])


def test_gpu_by_systemd_boot(run, node):
    made = both(run, node.esp(), passthrough=[GPU])
    assert made["steps"][-1] == REFRESH
    assert node.text("etc/kernel/cmdline") == "root=ZFS=rpool/ROOT/pve-1 boot=zfs iommu=pt\n"
    assert made["boot_files"] == ["/etc/kernel/cmdline"]
    node.reboot()
    assert run(node, passthrough=[GPU])["reboot_required"] == []


def test_grub_on_proxmox_boot_partitions_gets_both_files(run, node):
    made = both(run, node.grub().esp(), passthrough=[GPU])
    assert made["steps"][-3:] == ["write /etc/kernel/cmdline", INITRAMFS, REFRESH]
    assert "iommu=pt" in node.text("etc/default/grub")


@pytest.mark.parametrize(
    ("release", "cpu", "tokens"),
    [
        ("6.8.12-4-pve", INTEL, "iommu=pt"),
        ("6.14.8-2-pve", INTEL, "iommu=pt"),
        ("6.5.13-5-pve", INTEL, "intel_iommu=on iommu=pt"),
        ("6.5.13-5-pve", "vendor_id\t: AuthenticAMD\n", "iommu=pt"),
        ("unknown", INTEL, "iommu=pt"),
    ],
)
def test_what_the_kernel_must_be_told(release, cpu, tokens):
    assert " ".join(_passthrough.iommu_tokens(release, cpu)) == tokens


def test_own_tokens_and_what_must_go(run, node):
    made = both(run, node.grub(), cmdline=["iommu=on", "nomodeset"], cmdline_absent=["quiet"], passthrough=[GPU])
    assert 'DEFAULT="iommu=on nomodeset"' in node.text("etc/default/grub")
    assert "the kernel runs with quiet" in made["reboot_required"]


def test_a_container_has_no_boot_loader(run, node):
    (node.root / "usr/sbin/update-initramfs").unlink()
    made = both(run, node, passthrough=[GPU], arc_max=GIB)
    assert made["steps"] == [
        "write /etc/modules-load.d/mediaserver-vfio.conf",
        "write /etc/modprobe.d/mediaserver-vfio.conf",
        "write /etc/modprobe.d/zfs.conf",
    ]
    assert made["problems"] == [
        "no boot loader that we know: the kernel's command line is not managed",
        "no update-initramfs here: modules take their options when they are loaded the next time",
    ]
    assert made["boot_files"] == []


def test_passthrough_is_taken_back(run, node):
    run(node.grub(), passthrough=[GPU])
    node.reboot()
    made = both(run, node, passthrough=[], cmdline_absent=["iommu"])
    assert node.text("etc/modprobe.d/mediaserver-vfio.conf") is None
    assert node.text("etc/modules-load.d/mediaserver-vfio.conf") is None
    assert node.built["initramfs"] == (None, None)
    assert made["reboot_required"] == ["the kernel runs with iommu=pt"]


def test_unset_leaves_alone(run, node):
    node.grub().put("etc/modprobe.d/mediaserver-vfio.conf", "options vfio-pci ids=1:2\n")
    assert not run(node, arc_max=None)["changed"]


def test_sound_of_a_card_comes_along_and_strangers_are_told(run, node):
    node.grub().device("0000:01:00.0", "10de", "1c82", "030000", "5", "nouveau")
    node.device("0000:01:00.1", "10de", "0fb9", "040300", "5", "snd_hda_intel")
    node.device("0000:00:01.0", "8086", "1901", "060400", "5", "pcieport")
    node.device("0000:02:00.0", "1b21", "0612", "010601", "5", "ahci")
    made = both(run, node, passthrough=["0000:01:00.0"])
    text = node.text("etc/modprobe.d/mediaserver-vfio.conf")
    assert "ids=10de:1c82,10de:0fb9\n" in text
    assert "softdep snd_hda_intel pre: vfio-pci\n" in text and "softdep nouveau pre: vfio-pci\n" in text
    assert len([problem for problem in made["problems"] if problem.startswith("0000:02:00.0 (1b21:0612)")]) == 1
    assert "0000:00:01.0" not in str(made["problems"])


def test_a_sound_device_of_another_group_stays(run, node):
    node.grub().device("0000:00:1f.3", "8086", "a170", "040300", "8", "snd_hda_intel")
    run(node, passthrough=[GPU])
    assert node.text("etc/modprobe.d/mediaserver-vfio.conf") == MODPROBE


def test_missing_device_and_iommu_are_told(run, node):
    node.grub()
    made = run(node, passthrough=["0000:09:00.0"])
    assert made["problems"][0].startswith("there is no PCI device 0000:09:00.0")
    run(node, passthrough=[GPU])
    node.reboot()
    for device in (GPU, "0000:00:00.0"):
        (node.root / "sys/bus/pci/devices" / device / "iommu_group").unlink()
    for group in (node.root / "sys/kernel/iommu_groups").iterdir():
        group.rmdir()
    assert [one for one in run(node, passthrough=[GPU])["problems"] if "switch on VT-d" in one]


def test_limit_of_the_cache_keeps_the_installers_file(run, node):
    node.grub().zfs(1610612736)
    node.put("etc/modprobe.d/zfs.conf", "options zfs zfs_arc_max=1610612736 zfs_txg_timeout=10\n")
    node.put("boot/initrd.img-6.8.12-4-pve", "")
    made = both(run, node, arc_max=GIB)
    assert made["steps"] == ["write /etc/modprobe.d/zfs.conf", INITRAMFS, f"limit the running ZFS cache to {GIB} bytes"]
    assert node.text("etc/modprobe.d/zfs.conf") == f"options zfs zfs_arc_max={GIB} zfs_txg_timeout=10\n"
    assert node.text("sys/module/zfs/parameters/zfs_arc_max") == str(GIB)
    assert (made["diff"]["before"]["arc_max"], made["diff"]["after"]["arc_max"]) == (1610612736, GIB)
    assert made["reboot_required"] == []


def test_another_files_limit_is_told(run, node):
    node.grub().put("etc/modprobe.d/zzz.conf", "options zfs zfs_arc_max=5\n")
    assert run(node, arc_max=GIB)["problems"] == [
        "/etc/modprobe.d/zzz.conf limits the ZFS cache as well: remove its zfs_arc_max"
    ]


def test_a_limit_that_zfs_would_ignore_is_refused(run, node):
    node.grub().zfs(0, least=GIB)
    before = files_below(node.root)
    made = run(node, arc_max=GIB)
    assert made.failed and "ZFS ignores a limit that is not above its least size" in made["msg"]
    assert files_below(node.root) == before


def test_what_is_right_already_is_adopted(run, node):
    """Made by hand after the guide: files, an initramfs built after them, a kernel that runs with the tokens."""
    node.grub().put("etc/default/grub", 'GRUB_CMDLINE_LINUX_DEFAULT="quiet iommu=pt"\n')
    node.put("proc/cmdline", "quiet iommu=pt\n")
    node.put("etc/modules-load.d/mediaserver-vfio.conf", f"{_passthrough.HEADER}vfio\nvfio_iommu_type1\nvfio_pci\n")
    node.put("etc/modprobe.d/mediaserver-vfio.conf", MODPROBE)
    node.put("boot/initrd.img-6.8.12-4-pve", "")
    assert not run(node, passthrough=[GPU])["changed"]
    node.put("etc/modprobe.d/mediaserver-vfio.conf", MODPROBE)  # now newer than the initramfs
    assert run(node, passthrough=[GPU])["steps"] == [INITRAMFS]


def test_edited_but_not_refreshed_by_hand(run, node):
    node.grub().put("etc/default/grub", 'GRUB_CMDLINE_LINUX_DEFAULT="quiet iommu=pt"\n')
    assert run(node, cmdline=["iommu=pt"])["steps"] == [GRUB]


@pytest.mark.parametrize("after", range(7))
def test_a_run_killed_between_two_writes_converges(run, node, monkeypatch, after):
    node.grub().zfs(GIB * 4)
    args = {"passthrough": [GPU], "arc_max": GIB}
    writes = {"left": after}

    def counted(original):
        def call(*given):
            if writes["left"] == 0:
                raise Killed
            writes["left"] -= 1
            return original(*given)

        return call

    with monkeypatch.context() as patch:
        for name in ("write", "rebuild"):
            patch.setattr(proxmox_host, name, counted(getattr(proxmox_host, name)))
        with pytest.raises(Killed) if after < 6 else contextlib.nullcontext():
            run(node, **args)
    run(node, **args)
    assert node.built["initramfs"] == (MODPROBE, f"options zfs zfs_arc_max={GIB}\n")
    assert "iommu=pt" in node.built["boot"][0]
    assert node.text("sys/module/zfs/parameters/zfs_arc_max") == str(GIB)
    assert not run(node, **args)["changed"]


@pytest.mark.parametrize(("command", "built"), [("update-initramfs", "initramfs"), ("update-grub", "boot")])
def test_a_failed_command_is_named_and_repeated(run, node, command, built):
    node.grub().fail[command] = "no space left on device"
    made = run(node, passthrough=[GPU])
    assert made.failed and "no space left on device" in made["msg"]
    assert made["failure"]["step"].startswith(f"run {command}")
    node.fail.clear()
    run(node, passthrough=[GPU])
    assert "8086:1912" in node.built["initramfs"][0] and "iommu=pt" in node.built["boot"][0]
    assert not run(node, passthrough=[GPU])["changed"]


def test_running_guests_are_counted(run, node):
    node.grub().put("run/qemu-server/101.pid", "4711\n")
    node.put("proc/4711/cmdline", "kvm")
    node.put("run/qemu-server/102.pid", "4712\n")  # left over
    node.put("proc/net/unix", "0000: 00000002 0 00010000 0001 01 555 @/var/lib/lxc/200/command\n")
    assert run(node)["guests_running"] == [101, 200]
