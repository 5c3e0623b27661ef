# SPDX-License-Identifier: MIT
"""What vainfo says is written after libva's vainfo, not recorded from a GPU of ours."""

from __future__ import annotations

import grp

import pytest
from ansible.module_utils import basic
from ansible_collections.homelab.mediaserver.plugins.module_utils import _gpu
from ansible_collections.homelab.mediaserver.plugins.modules import gpu_info
from ansible_collections.homelab.mediaserver.tests.unit.fakes.host_fake import Commands, run_module

SKYLAKE = """Trying display: drm
vainfo: VA-API version: 1.22 (libva 2.22.0)
vainfo: Driver version: Intel iHD driver for Intel(R) Gen Graphics - 25.2.3 ()
vainfo: Supported profile and entrypoints
      VAProfileNone                   :\tVAEntrypointVideoProc
      VAProfileMPEG2Simple            :\tVAEntrypointVLD
      VAProfileH264Main               :\tVAEntrypointVLD
      VAProfileH264Main               :\tVAEntrypointEncSliceLP
      VAProfileH264High               :\tVAEntrypointVLD
      VAProfileJPEGBaseline           :\tVAEntrypointVLD
      VAProfileJPEGBaseline           :\tVAEntrypointEncPicture
      VAProfileHEVCMain               :\tVAEntrypointVLD
      VAProfileVP8Version0_3          :\tVAEntrypointVLD
"""
BROKEN = """Trying display: drm
libva info: VA-API version 1.22.0
libva error: vaGetDriverNames() failed with unknown libva error
vaInitialize failed with error code -1 (unknown libva error),exit
"""
CLOUD, FULL = "6.12.48+deb13-cloud-amd64", "6.12.48+deb13-amd64"


class Host(Commands):
    def __init__(self, root):
        super().__init__()
        self.root, self.answer = root, (0, SKYLAKE, "")
        self.device("0000:00:01.0", "1234", "1111", "030000")  # the hypervisor's own display

    def device(self, path, vendor, product, kind, driver=""):
        folder = self.root / "sys/bus/pci/devices" / path
        folder.mkdir(parents=True)
        for name, text in (("vendor", vendor), ("device", product), ("class", kind)):
            (folder / name).write_text(f"0x{text}\n")
        if driver:
            (self.root / "sys/drivers" / driver).mkdir(parents=True)
            (folder / "driver").symlink_to(self.root / "sys/drivers" / driver)

    def kernel(self, release, *modules):
        folder = self.root / "lib/modules" / release
        folder.mkdir(parents=True)
        (folder / "modules.dep").write_text("".join(f"kernel/drivers/gpu/drm/{m}/{m}.ko.xz: x\n" for m in modules))

    def render(self):
        (self.root / "dev/dri").mkdir(parents=True)
        (self.root / "dev/dri/renderD128").touch()

    def call(self, argv):
        assert argv[1:] == ["--display", "drm", "--device", "/dev/dri/renderD128"]
        return self.answer


@pytest.fixture
def host(tmp_path, monkeypatch):
    monkeypatch.setattr(gpu_info, "ROOT", tmp_path)
    monkeypatch.setattr(gpu_info.grp, "getgrgid", lambda gid: grp.struct_group(("render", "x", gid, [])))
    monkeypatch.setattr(basic.AnsibleModule, "get_bin_path", lambda _self, name, **_more: f"/usr/bin/{name}")
    return Host(tmp_path)


@pytest.fixture
def run(monkeypatch):
    def go(host, release=FULL, check=False, **args):
        monkeypatch.setattr(gpu_info.os, "uname", lambda: type("Uname", (), {"release": release}))
        return run_module(gpu_info, host, args, monkeypatch, check)

    return go


@pytest.mark.parametrize("check", [False, True])
def test_a_gpu_that_works(run, host, check):
    host.device("0000:01:00.0", "8086", "1912", "030000", "i915")
    host.render()
    found = run(host, check=check)
    assert found["problems"] == [] and found["changed"] is False
    assert found["gpus"] == [{"path": "0000:01:00.0", "id": "8086:1912", "vendor": "intel", "driver": "i915"}]
    assert (found["vendors"], found["render_devices"]) == (["intel"], ["/dev/dri/renderD128"])
    assert found["vaapi"] == {
        "driver": "Intel iHD driver for Intel(R) Gen Graphics - 25.2.3 ()",
        "decode": ["h264", "hevc", "jpeg", "mpeg2", "vp8"],
        "encode": ["h264", "jpeg"],
    }


def test_no_gpu_on_the_bus(run, host):
    text = run(host)["problems"][0]
    assert "no GPU on the PCI bus" in text and "shut down and started again from Proxmox VE" in text
    failed = run(host, required=True)
    assert failed.failed and failed["msg"].startswith("Unable to use the GPU: there is no GPU")


def test_a_cloud_kernel_has_no_driver(run, host):
    host.device("0000:01:00.0", "8086", "1912", "030000")
    host.kernel(CLOUD)
    text = run(host, CLOUD)["problems"][0]
    assert f"kernel {CLOUD} has no driver i915 or xe for the GPU 0000:01:00.0" in text
    assert "install linux-image-amd64, remove the cloud kernel" in text


def test_a_driver_that_is_there_and_not_loaded(run, host):
    host.device("0000:01:00.0", "8086", "1912", "030000")
    host.kernel(FULL, "i915")
    assert "has no driver, though the kernel has i915: restart" in run(host)["problems"][0]


def test_a_driver_without_a_render_device(run, host):
    host.device("0000:01:00.0", "1002", "15d8", "030000", "amdgpu")
    found = run(host)
    assert found["vendors"] == ["amd"]
    assert "driver amdgpu has the GPU 0000:01:00.0 and made no render device" in found["problems"][0]


def test_va_api_that_does_not_work(run, host):
    host.render()
    host.answer = (3, "", BROKEN)
    found = run(host)
    assert found["vaapi"] == {}
    assert found["problems"] == [
        "VA-API does not work on /dev/dri/renderD128: libva error: vaGetDriverNames() failed with unknown libva error"
    ]
    assert run(host, required=True).failed
    assert run(host, probe=False, required=True)["problems"] == []


def test_a_driver_that_decodes_nothing(run, host):
    host.render()
    host.answer = (0, "vainfo: Driver version: none\n", "")
    assert "decodes nothing" in run(host)["problems"][0]


def test_without_vainfo(run, host, monkeypatch):
    host.render()
    monkeypatch.setattr(basic.AnsibleModule, "get_bin_path", lambda _self, name, **_more: None)
    assert run(host)["problems"] == ["vainfo is not installed: what VA-API can do is not known"]


def test_a_render_device_of_a_strange_group(run, host, monkeypatch):
    host.render()

    def unknown(gid):
        raise KeyError(gid)

    monkeypatch.setattr(gpu_info.grp, "getgrgid", unknown)
    gid = (host.root / "dev/dri/renderD128").stat().st_gid
    assert f"belongs to group {gid}, not to render" in run(host)["problems"][0]


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("kernel/drivers/gpu/drm/i915/i915.ko.xz: a.ko", {"i915"}),
        ("kernel/drivers/gpu/drm/xe/xe.ko", {"xe"}),
        ("kernel/drivers/gpu/drm/xen/drm_xen_front.ko", set()),
        ("", set()),
    ],
)
def test_modules_of_a_kernel(line, found):
    assert _gpu.loadable([line], ["i915", "xe"]) == found
